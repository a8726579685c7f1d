"""The mirror image of a face: landmarks, rotation, and all 62 parameters.

    mirror = derive_mirror(load_morphable("3dmm_data/open"))
    params_of_mirror_image = mirror_params(params, mirror)  # real (de-whitened) ones, (B, 62)

A crop's pixel j is the interval [j, j + 1] of the crop frame, so that flipping its 120 columns
maps x to 120 - x, though it maps pixel j to 119 - j. Measured on the open test set, whose labels
are exact, as the mean of x(image) + x(flipped image) over landmarks: 119.92 +- 0.07 for the open
weights, 120.84 +- 0.06 for 3DDFA_V2's, whose training labels lie 0.4 px to the right of the
pictures. Of 119, 119.5, ..., 121 flip averaging gains most with 120 there, for both.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.linalg
import torch
from scipy.spatial import cKDTree
from torch import Tensor, nn

from synergynet.geometry.pose import compose_camera, decompose_camera
from synergynet.params import IMG_SIZE, N_POSE, POSE, MorphableModel

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


# ---------------------------------------------------------------- points and rotations


def mirror_landmarks(landmarks: Tensor) -> Tensor:
    """Landmarks of the flipped crop: x to 120 - x, and left and right change their numbers.

    Args:
        landmarks: (..., 2 or 3, 68) crop px, either direction of y. Not modified.
    """
    mirrored = landmarks[..., torch.from_numpy(MIRRORED_LANDMARKS)]
    mirrored[..., 0, :] = IMG_SIZE - mirrored[..., 0, :]
    return mirrored


def mirror_rotation(rotation: Tensor) -> Tensor:
    """M R M with M = diag(-1, 1, 1), (..., 3, 3): yaw and roll change sign, pitch stays."""
    signs = rotation.new_tensor(REFLECTION)
    return signs[:, None] * rotation * signs


def mean_rotation(first: Tensor, second: Tensor) -> Tensor:
    """The rotation halfway between two, (..., 3, 3): their mean projected onto SO(3)."""
    u, _, vh = torch.linalg.svd(first + second)
    handedness = torch.ones_like(u[..., 0])
    handedness[..., 2] = torch.linalg.det(u @ vh)
    return u * handedness[..., None, :] @ vh


# ---------------------------------------------------------------- parameters


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

    linear: Tensor
    offset: Tensor
    plane_um: float


def derive_mirror(face: MorphableModel | nn.Module) -> FaceMirror:
    """Mirror of a linear face model, from its mean and bases in vertex space.

    Each vertex is paired with the one nearest to its reflection, each landmark with its
    counterpart; all vertices together count as much as all landmarks. Restricted to the span of
    the bases, the reflection is a symmetric operator whose eigenvalues are +-1 where the span
    contains the reflected faces and smaller where not; their signs are the nearest operator that
    is its own inverse.

    Args:
        face: a morphable model, or a SynergyNet, which carries the same tensors. Not modified.
    """
    mean = face.u.double().cpu().numpy().reshape(-1, 3)  # (V, 3)
    basis = torch.cat([face.w_shp, face.w_exp], 1).double().cpu().numpy()
    basis = basis.reshape(len(mean), 3, -1)  # (V, 3, 50)
    landmarks = face.keypoints.cpu().numpy()[::3] // 3  # (68,) vertices
    plane_um = mean[landmarks, 0].mean()
    mean = mean - [plane_um, 0, 0]
    twins = cKDTree(mean).query(mean * REFLECTION)[1]  # (V,)
    gram, cross, drift = 0.0, 0.0, 0.0
    for points, mirrored in (
        (np.arange(len(mean)), twins),
        (landmarks, landmarks[MIRRORED_LANDMARKS]),
    ):
        ours = basis[points].reshape(3 * len(points), -1)  # (3N, 50)
        theirs = (basis[mirrored] * np.array(REFLECTION)[:, None]).reshape(ours.shape)
        change = (mean[mirrored] * REFLECTION - mean[points]).ravel()  # (3N,)
        gram = gram + ours.T @ ours / len(points)
        cross = cross + ours.T @ theirs / len(points)
        drift = drift + ours.T @ change / len(points)
    eigenvalues, vectors = scipy.linalg.eigh(
        (cross + cross.T) / 2, gram
    )  # vectors' gram vectors = 1
    linear = vectors * np.sign(eigenvalues) @ vectors.T @ gram
    offset = vectors @ vectors.T @ drift
    offset = (offset - linear @ offset) / 2  # the part that a second reflection takes back
    return FaceMirror(torch.from_numpy(linear), torch.from_numpy(offset), float(plane_um))


def mirror_params(params: Tensor, mirror: FaceMirror) -> Tensor:
    """Parameters of the flipped crop.

    With X' = M X + 2 x0 e1 for the reflected face, v' = M v + 120 e1 needs the camera
    P' = M P M and t' = M t + 120 e1 - 2 x0 P' e1.

    Args:
        params: (B, 62) real (de-whitened). Not modified.
        mirror: of the same morphable model.
    """
    camera = params[:, POSE].reshape(-1, 3, 4)
    matrix = mirror_rotation(camera[:, :, :3])  # (B, 3, 3)
    translation = camera[:, :, 3] * camera.new_tensor(REFLECTION)  # (B, 3)
    translation = translation - 2 * mirror.plane_um * matrix[:, :, 0]
    translation[:, 0] += IMG_SIZE
    face = params[:, N_POSE:] @ mirror.linear.to(params).T + mirror.offset.to(params)  # (B, 50)
    camera = torch.cat([matrix, translation[:, :, None]], dim=2)
    return torch.cat([camera.flatten(1), face], dim=1)


def mirror_targets(params_w: Tensor, face: MorphableModel | nn.Module) -> Tensor:
    """Whitened parameters of the flipped crops, (N, 62) float32; see `mirror_params`.

    Args:
        params_w: (N, 62) whitened. Not modified.
        face: their morphable model, or a SynergyNet, which carries the same tensors.
    """
    mean, std = face.param_mean.double().cpu(), face.param_std.double().cpu()
    mirrored = mirror_params(params_w * std + mean, derive_mirror(face))
    return ((mirrored - mean) / std).float()


def mean_params(first: Tensor, second: Tensor) -> Tensor:
    """The face halfway between two: cameras by scale, rotation on SO(3) and translation.

    Args:
        first, second: (B, 62) real (de-whitened). Not modified.
    """
    cameras = [decompose_camera(p[:, POSE].reshape(-1, 3, 4)) for p in (first, second)]
    (scale_a, rotation_a, shift_a), (scale_b, rotation_b, shift_b) = cameras
    rotation = mean_rotation(rotation_a, rotation_b)
    camera = compose_camera((scale_a + scale_b) / 2, rotation, (shift_a + shift_b) / 2)
    face = (first[:, N_POSE:] + second[:, N_POSE:]) / 2
    return torch.cat([camera.flatten(1), face], dim=1)
