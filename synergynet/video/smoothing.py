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

from synergynet.geometry.camera import (
    camera_of,
    params_to_crop,
    params_to_photo,
    rotation_from_vector,
    rotation_vector,
    split_rotation,
    with_camera,
)
from synergynet.geometry.parameters import N_POSE

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
        in_photo = params_to_photo(params.astype(np.float64), roi_box)
        camera = camera_of(in_photo)
        rotation, stretch = split_rotation(camera[:, :3])
        rest = np.concatenate([stretch.ravel(), camera[:, 3], in_photo[N_POSE:]])  # (62,)
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
            turn = rotation_vector(last.rotation.T @ rotation)
            rotation = last.rotation @ rotation_from_vector(weight * turn)
        self._last = _Frame(seconds, landmarks[:2], velocity, rotation, rest)
        camera = np.column_stack([rest[:9].reshape(3, 3) @ rotation, rest[9:12]])
        return params_to_crop(with_camera(rest, camera), roi_box).astype(np.float32)


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
