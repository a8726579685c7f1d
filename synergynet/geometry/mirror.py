"""The mirror image of a face: landmarks, rotation, and all 62 parameters.

    params_of_mirror_image = mirror_params(params, mirror)  # real (de-whitened) ones, (B, 62)

A crop's pixel j is the interval [j, j + 1] of the crop frame, so that flipping its 120 columns
maps x to 120 - x, though it maps pixel j to 119 - j. Measured on the open test set, whose labels
are exact, as the mean of x(image) + x(flipped image) over landmarks: 119.92 +- 0.07 for the open
weights, 120.84 +- 0.06 for 3DDFA_V2's, whose training labels lie 0.4 px to the right of the
pictures. Of 119, 119.5, ..., 121 flip averaging gains most with 120 there, for both.
Functions take numpy arrays or torch tensors.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from synergynet.geometry.arrays import Array, namespace
from synergynet.geometry.camera import (
    camera_of,
    compose_camera,
    decompose_camera,
    nearest_rotation,
)
from synergynet.geometry.parameters import IMG_SIZE, N_POSE

REFLECTION = (-1.0, 1.0, 1.0)  # x changes sign, in the model frame and in the crop's

# Landmark i of a mirror image is landmark MIRRORED_LANDMARKS[i] of the image: runs are swapped
# with their counterparts of the other side, which are counted from the other end.
MIRRORED_LANDMARKS = np.array(
    [
        *range(16, -1, -1),  # jaw
        *range(26, 16, -1),  # brows
        *(27, 28, 29, 30, 35, 34, 33, 32, 31),  # nose
        *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),  # eyes, each from its left end
        *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),  # outer lips
        *(64, 63, 62, 61, 60, 67, 66, 65),  # inner lips
    ]
)


@dataclasses.dataclass(frozen=True)
class FaceMirror:
    """How a morphable model's shape and expression change under reflection.

    The face of `linear @ a + offset` is nearest to the mirror image of the face of `a`; doing it
    twice changes nothing.

    Attributes:
        linear: (50, 50) float64 on real shape and expression parameters, a = (shape, expression).
        offset: (50,) float64.
        plane_um: x of the model frame's symmetry plane, micrometres.
    """

    linear: np.ndarray
    offset: np.ndarray
    plane_um: float


def mirror_landmarks(landmarks: Array) -> Array:
    """Landmarks of the flipped crop: x to 120 - x, and left and right change their numbers.

    Args:
        landmarks: (..., 2 or 3, 68) crop px, either direction of y. Not modified.
    """
    xp = namespace(landmarks)
    mirrored = landmarks[..., MIRRORED_LANDMARKS.tolist()]
    return xp.concat([IMG_SIZE - mirrored[..., :1, :], mirrored[..., 1:, :]], axis=-2)


def mirror_rotation(rotation: Array) -> Array:
    """M R M with M = diag(-1, 1, 1), (..., 3, 3): yaw and roll change sign, pitch stays."""
    signs = _like(rotation, REFLECTION)
    return signs[:, None] * rotation * signs


def mean_rotation(first: Array, second: Array) -> Array:
    """The rotation halfway between two, (..., 3, 3): their mean projected onto SO(3)."""
    return nearest_rotation(first + second)


def mirror_params(params: Array, mirror: FaceMirror) -> Array:
    """Parameters of the flipped crop.

    With X' = M X + 2 x0 e1 for the reflected face, v' = M v + 120 e1 needs the camera
    P' = M P M and t' = M t + 120 e1 - 2 x0 P' e1.

    Args:
        params: (B, 62) real (de-whitened). Not modified.
        mirror: of the same morphable model.
    """
    xp = namespace(params)
    camera = camera_of(params)
    matrix = mirror_rotation(camera[:, :, :3])  # (B, 3, 3)
    translation = camera[:, :, 3] * _like(params, REFLECTION)  # (B, 3)
    translation = translation - 2 * mirror.plane_um * matrix[:, :, 0]
    translation = translation + _like(params, (IMG_SIZE, 0, 0))
    face = params[:, N_POSE:] @ _like(params, mirror.linear).T + _like(params, mirror.offset)
    camera = xp.concat([matrix, translation[:, :, None]], axis=2)
    return xp.concat([camera.reshape(-1, N_POSE), face], axis=1)


def mean_params(first: Array, second: Array) -> Array:
    """The face halfway between two: cameras by scale, rotation on SO(3) and translation.

    Args:
        first, second: (B, 62) real (de-whitened). Not modified.
    """
    xp = namespace(first, second)
    cameras = [decompose_camera(camera_of(params)) for params in (first, second)]
    (scale_a, rotation_a, shift_a), (scale_b, rotation_b, shift_b) = cameras
    rotation = mean_rotation(rotation_a, rotation_b)
    camera = compose_camera((scale_a + scale_b) / 2, rotation, (shift_a + shift_b) / 2)
    face = (first[:, N_POSE:] + second[:, N_POSE:]) / 2
    return xp.concat([camera.reshape(-1, N_POSE), face], axis=1)


def _like(array: Array, values: object) -> Array:
    """Numbers as an array of the kind, dtype and device of another."""
    return namespace(array).asarray(values, dtype=array.dtype, device=array.device)
