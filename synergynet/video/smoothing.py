"""Smoothing a face's parameters over time: a One-Euro filter, with the rotation on SO(3).

Crops move with the face, so that parameters of two frames do not compare; what is filtered is the
camera of the whole photo. Its 3x3 part is split into rotation and stretch, P = S R, S symmetric: R
moves along geodesics, S, translation, shape and expression along straight lines. All share one
cutoff, set by how fast the landmarks move: landmarks are nearly linear in the parameters, so they
come out filtered as a whole, and errors that cancel in them keep cancelling.

Source: Casiez, Roussel, Vogel, "1 Euro Filter", CHI 2012.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.spatial.transform import Rotation

from synergynet.params import IMG_SIZE, N_POSE, POSE

MIN_CUTOFF_HZ = 1.0  # at rest: lower is steadier
CUTOFF_PER_SPEED = 20.0  # Hz per crop side a second: higher lags less in motion
SPEED_CUTOFF_HZ = 1.0


class FaceSmoother:
    """The filter of one face, which has seen all its frames so far.

    Args:
        min_cutoff_hz: cutoff frequency of a face at rest.
        cutoff_per_speed: Hz that one crop side a second adds.
    """

    def __init__(
        self, min_cutoff_hz: float = MIN_CUTOFF_HZ, cutoff_per_speed: float = CUTOFF_PER_SPEED
    ) -> None:
        self.min_cutoff_hz = min_cutoff_hz
        self.cutoff_per_speed = cutoff_per_speed
        self._last: _Frame | None = None

    def __call__(
        self, params: np.ndarray, landmarks: np.ndarray, roi_box: np.ndarray, seconds: float
    ) -> np.ndarray:
        """Smoothed parameters of the next frame; those of the first are returned as they are.

        Args:
            params: (62,) real. Not modified.
            landmarks: (2 or 3, 68) photo px, of the same parameters.
            roi_box: (4,) crop they decode into.
            seconds: time of the frame; not after the last one's, it passes through unfiltered.
        Returns:
            (62,) float32 real parameters for the same crop.
        """
        camera = photo_camera(params[POSE].reshape(3, 4), roi_box)
        rotation, stretch = split_rotation(camera[:, :3])
        rest = np.concatenate([stretch.ravel(), camera[:, 3], params[N_POSE:]])  # (62,)
        velocity = np.zeros((2, landmarks.shape[1]))
        last = self._last
        if last is not None and seconds > last.seconds:
            step = seconds - last.seconds
            side = roi_box[2] - roi_box[0]
            velocity = (landmarks[:2] - last.landmarks) / (side * step)  # (2, 68) sides a second
            velocity = last.velocity + _weight(SPEED_CUTOFF_HZ, step) * (velocity - last.velocity)
            speed = np.sqrt((velocity**2).sum(0).mean())
            weight = _weight(self.min_cutoff_hz + self.cutoff_per_speed * speed, step)
            rest = last.rest + weight * (rest - last.rest)
            turn = Rotation.from_matrix(last.rotation.T @ rotation).as_rotvec()
            rotation = last.rotation @ Rotation.from_rotvec(weight * turn).as_matrix()
        self._last = _Frame(seconds, landmarks[:2], velocity, rotation, rest)
        camera = np.column_stack([rest[:9].reshape(3, 3) @ rotation, rest[9:12]])
        smooth = np.concatenate([crop_camera(camera, roi_box).ravel(), rest[N_POSE:]])
        return smooth.astype(np.float32)


@dataclasses.dataclass(frozen=True)
class _Frame:
    """What the filter remembers: landmarks as seen, the rest smoothed."""

    seconds: float
    landmarks: np.ndarray
    velocity: np.ndarray
    rotation: np.ndarray
    rest: np.ndarray  # (62,) stretch, translation, shape, expression


def _weight(cutoff_hz: float, step: float) -> float:
    """Weight of the newest value in a first-order low-pass filter, `step` seconds after the last.

    1 / (1 + 1 / (2 pi cutoff step)).
    """
    phase = 2 * np.pi * cutoff_hz * step
    return phase / (phase + 1)


def split_rotation(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Polar decomposition matrix = stretch @ rotation.

    Args:
        matrix: (3, 3) of positive determinant, or nearly so.
    Returns:
        the nearest rotation (3, 3), and the stretch (3, 3).
    """
    left, _, right = np.linalg.svd(matrix)
    left[:, 2] *= np.linalg.det(left @ right)  # no reflection
    rotation = left @ right
    return rotation, matrix @ rotation.T


def photo_camera(camera: np.ndarray, roi_box: np.ndarray) -> np.ndarray:
    """The camera that decodes into the photo instead of a crop, y up in both: y_up = -y of a photo.

    Args:
        camera: (3, 4) [P | t] into the 120-px crop. Not modified.
        roi_box: (4,) sx sy ex ey.
    """
    scale, shift = _scale_and_shift(roi_box)
    camera = scale[:, None] * np.asarray(camera, np.float64)
    camera[:, 3] += shift
    return camera


def crop_camera(camera: np.ndarray, roi_box: np.ndarray) -> np.ndarray:
    """The inverse of `photo_camera`."""
    scale, shift = _scale_and_shift(roi_box)
    camera = np.array(camera, np.float64)
    camera[:, 3] -= shift
    return camera / scale[:, None]


def _scale_and_shift(roi_box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Photo px per crop px, and what moves the crop's origin, y up, to the photo's, (3,) each."""
    x, y = (roi_box[2:4] - roi_box[:2]) / IMG_SIZE
    scale = np.array([x, y, (x + y) / 2])
    return scale, np.array([roi_box[0], -roi_box[1] - (IMG_SIZE + 1) * y, 0])
