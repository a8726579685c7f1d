"""The mirror of a face model, from its mean and bases; see `synergynet.geometry.mirror`."""

from __future__ import annotations

import numpy as np
import scipy.linalg
from scipy.spatial import cKDTree
from torch import Tensor, nn

from synergynet.face_model import MorphableModel
from synergynet.geometry.mirror import MIRRORED_LANDMARKS, REFLECTION, FaceMirror, mirror_params


def derive_mirror(face: MorphableModel | nn.Module) -> FaceMirror:
    """Mirror of a linear face model, from its mean and bases in vertex space.

    Each vertex is paired with the one nearest to its reflection, each landmark with its
    counterpart; all vertices together count as much as all landmarks. Restricted to the span of
    the bases, the reflection is a symmetric operator whose eigenvalues are +-1 where the span
    contains the reflected faces and smaller where not; their signs are the nearest operator that
    is its own inverse.

    Args:
        face: a morphable model of tensors, or a SynergyNet, which carries the same. Not modified.
    """
    mean, w_shp, w_exp = (t.double().cpu().numpy() for t in (face.u, face.w_shp, face.w_exp))
    mean = mean.reshape(-1, 3)  # (V, 3)
    basis = np.concatenate([w_shp, w_exp], axis=1).reshape(len(mean), 3, -1)  # (V, 3, 50)
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
    # vectors' gram vectors = 1
    eigenvalues, vectors = scipy.linalg.eigh((cross + cross.T) / 2, gram)
    linear = vectors * np.sign(eigenvalues) @ vectors.T @ gram
    offset = vectors @ vectors.T @ drift
    offset = (offset - linear @ offset) / 2  # the part that a second reflection takes back
    return FaceMirror(linear, offset, float(plane_um))


def mirror_targets(params_w: Tensor, face: MorphableModel | nn.Module) -> Tensor:
    """Whitened parameters of the flipped crops, (N, 62) float32; see `mirror_params`.

    Args:
        params_w: (N, 62) whitened. Not modified.
        face: their morphable model of tensors, or a SynergyNet, which carries the same.
    """
    mean, std = face.param_mean.double().cpu(), face.param_std.double().cpu()
    mirrored = mirror_params(params_w * std + mean, derive_mirror(face))
    return ((mirrored - mean) / std).float()
