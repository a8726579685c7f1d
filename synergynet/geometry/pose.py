"""Head pose: rotation and scale from a weak-perspective camera, and Euler angles from a rotation.

Angles are those of 300W-LP and AFLW2000-3D: R = Rx(pitch) Ry(yaw) Rz(roll), in degrees, with
Rx = [1 0 0; 0 c s; 0 -s c], Ry = [c 0 -s; 0 1 0; s 0 c], Rz = [c s 0; -s c 0; 0 0 1].
R maps the model frame to the crop frame before the y axis is turned down.

Two decodings are kept. `published` is what SynergyNet reports: 3DDFA's yaw, which reads R[2, 0] and
is sin(yaw) only where pitch and roll are zero, with 300W-LP's pitch and roll. `exact` inverts the
product above. (3DDFA's own pitch and roll are others: synergynet/geometry/conventions.py.)
Sources: SynergyNet, section 4.3; 3DDFA for the yaw; 300W-LP for the convention.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from synergynet.params import N_POSE

GIMBAL_COS = 1e-6  # below this cos(yaw), pitch and roll turn about the same axis


class Pose(NamedTuple):
    """Euler angles, each (...) in degrees."""

    yaw: Tensor
    pitch: Tensor
    roll: Tensor


def decompose_camera(camera: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Split weak-perspective cameras [s R | t] into scale, rotation and translation.

    Convention: camera is the real (de-whitened) pose block reshaped (3, 4), row-major. Rows 1 and 2
    are normalised, not orthogonalised; row 3 of R is their cross product.

    Args:
        camera: (..., 3, 4). Not modified.
    Returns:
        scale (...) in crop px per model unit, R (..., 3, 3), t (..., 3) in crop px, y up.
    Raises:
        ValueError: wrong shape, or row 1 or 2 is zero.
    Source: 3DDFA; SynergyNet, section 3.
    """
    if camera.shape[-2:] != (3, 4):
        raise ValueError(f"camera of shape {tuple(camera.shape)}, expected (..., 3, 4)")
    norms = camera[..., :2, :3].norm(dim=-1)  # (..., 2)
    if (norms == 0).any():
        raise ValueError("camera with a zero row: it has no rotation")
    return norms.mean(dim=-1), camera_rotation(camera), camera[..., 3]


def camera_rotation(camera: Tensor) -> Tensor:
    """R (..., 3, 3) of `decompose_camera` alone; it checks nothing, as exported graphs cannot."""
    r1, r2 = (camera[..., :2, :3] / camera[..., :2, :3].norm(dim=-1, keepdim=True)).unbind(dim=-2)
    return torch.stack([r1, r2, torch.linalg.cross(r1, r2)], dim=-2)


def compose_camera(scale: Tensor, rotation: Tensor, translation: Tensor) -> Tensor:
    """The (..., 3, 4) camera [s R | t]; inverse of `decompose_camera` for orthonormal R."""
    return torch.cat([scale[..., None, None] * rotation, translation[..., None]], dim=-1)


def compose_rotation(pose: Pose) -> Tensor:
    """R = Rx(pitch) Ry(yaw) Rz(roll), (..., 3, 3); inverse of `exact_angles`."""
    (sy, cy), (sx, cx), (sz, cz) = ((a.deg2rad().sin(), a.deg2rad().cos()) for a in pose)
    rows = [
        [cy * cz, cy * sz, -sy],
        [sx * sy * cz - cx * sz, sx * sy * sz + cx * cz, sx * cy],
        [cx * sy * cz + sx * sz, cx * sy * sz - sx * cz, cx * cy],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def exact_angles(rotation: Tensor) -> Pose:
    """Invert `compose_rotation`: yaw in [-90, 90], pitch and roll in (-180, 180].

    At yaw = +-90 only the sum or difference of pitch and roll is defined; roll is set to 0.

    Args:
        rotation: (..., 3, 3), rows of unit length.
    """
    r = rotation
    cos_yaw = r[..., 0, :2].norm(dim=-1)
    yaw = torch.atan2(-r[..., 0, 2], cos_yaw)  # -asin(R[0, 2]), but accurate near 90 degrees too
    pitch = torch.atan2(r[..., 1, 2], r[..., 2, 2])
    roll = torch.atan2(r[..., 0, 1], r[..., 0, 0])
    gimbal = cos_yaw < GIMBAL_COS
    pitch = torch.where(gimbal, torch.atan2(-r[..., 2, 1], r[..., 1, 1]), pitch)
    roll = roll.masked_fill(gimbal, 0.0)
    return Pose(yaw.rad2deg(), pitch.rad2deg(), roll.rad2deg())


def published_angles(rotation: Tensor) -> Pose:
    """Angles as the published system decodes them; needed to reproduce its figures.

    NOTE(released): yaw is asin(R[2, 0]), and its sign flips where R[2, 0] is exactly -1 or +1.

    Args:
        rotation: (..., 3, 3), rows of unit length.
    """
    r = rotation
    sin_yaw = r[..., 2, 0].clamp(-1, 1)
    yaw = torch.asin(sin_yaw)
    pitch = torch.atan2(r[..., 1, 2] / yaw.cos(), r[..., 2, 2] / yaw.cos())
    roll = torch.atan2(r[..., 0, 1] / yaw.cos(), r[..., 0, 0] / yaw.cos())
    gimbal = sin_yaw.abs() == 1
    pitch_at_pole = torch.atan2(-sin_yaw * r[..., 0, 1], -sin_yaw * r[..., 0, 2])
    yaw = torch.where(gimbal, -yaw, yaw)
    pitch = torch.where(gimbal, pitch_at_pole, pitch)
    roll = roll.masked_fill(gimbal, 0.0)
    return Pose(yaw.rad2deg(), pitch.rad2deg(), roll.rad2deg())


ANGLES = {"published": published_angles, "exact": exact_angles}


def decode_pose(params: Tensor, method: Literal["published", "exact"] = "exact") -> Pose:
    """Euler angles of real (de-whitened) parameters, (B, 62) or (B, 12)."""
    camera = params[:, :N_POSE].reshape(-1, 3, 4)  # (B, 3, 4)
    _, rotation, _ = decompose_camera(camera)
    return ANGLES[method](rotation)
