"""Head pose as Euler angles, from a rotation and back.

Angles are those of 300W-LP and AFLW2000-3D: R = Rx(pitch) Ry(yaw) Rz(roll), in degrees, with
Rx = [1 0 0; 0 c s; 0 -s c], Ry = [c 0 -s; 0 1 0; s 0 c], Rz = [c s 0; -s c 0; 0 0 1].
R maps the model frame to the crop frame before the y axis is turned down.

Two decodings are kept. `published` is what SynergyNet reports: 3DDFA's yaw, which reads R[2, 0] and
is sin(yaw) only where pitch and roll are zero, with 300W-LP's pitch and roll. `exact` inverts the
product above. (3DDFA's own pitch and roll are others: geometry/conventions.py.)
Functions take numpy arrays or torch tensors.
Sources: SynergyNet, section 4.3; 3DDFA for the yaw; 300W-LP for the convention.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from synergynet.geometry.arrays import Array, namespace
from synergynet.geometry.camera import camera_of, decompose_camera

DEGREES = 180 / math.pi  # per radian


class Pose(NamedTuple):
    """Euler angles, each (...) in degrees."""

    yaw: Array
    pitch: Array
    roll: Array


def compose_rotation(pose: Pose) -> Array:
    """R = Rx(pitch) Ry(yaw) Rz(roll), (..., 3, 3); inverse of `exact_angles`."""
    xp = namespace(*pose)
    (sy, cy), (sx, cx), (sz, cz) = ((xp.sin(a / DEGREES), xp.cos(a / DEGREES)) for a in pose)
    rows = [
        [cy * cz, cy * sz, -sy],
        [sx * sy * cz - cx * sz, sx * sy * sz + cx * cz, sx * cy],
        [cx * sy * cz + sx * sz, cx * sy * sz - sx * cz, cx * cy],
    ]
    return xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)


def exact_angles(rotation: Array) -> Pose:
    """Invert `compose_rotation`: yaw in [-90, 90], pitch and roll in (-180, 180].

    At yaw = +-90 only the sum or difference of pitch and roll is defined; roll is set to 0. Where
    c = cos(yaw) is small, rounding by e moves pitch and roll by e / c, and taking c for 0 moves the
    rotation by c: below c = sqrt(e) the second is less. That is 1e-6 degrees from 90 in float64.

    Args:
        rotation: (..., 3, 3), rows of unit length.
    """
    xp, r = namespace(rotation), rotation
    cos_yaw = xp.linalg.vector_norm(r[..., 0, :2], axis=-1)
    yaw = xp.atan2(-r[..., 0, 2], cos_yaw)  # -asin(R[0, 2]), but accurate near 90 degrees too
    pitch = xp.atan2(r[..., 1, 2], r[..., 2, 2])
    roll = xp.atan2(r[..., 0, 1], r[..., 0, 0])
    gimbal = cos_yaw < xp.finfo(r.dtype).eps ** 0.5
    pitch = xp.where(gimbal, xp.atan2(-r[..., 2, 1], r[..., 1, 1]), pitch)
    roll = xp.where(gimbal, xp.zeros_like(roll), roll)
    return Pose(yaw * DEGREES, pitch * DEGREES, roll * DEGREES)


def published_angles(rotation: Array) -> Pose:
    """Angles as the published system decodes them; needed to reproduce its figures.

    NOTE(released): yaw is asin(R[2, 0]), and its sign flips where R[2, 0] is exactly -1 or +1.

    Args:
        rotation: (..., 3, 3), rows of unit length.
    """
    xp, r = namespace(rotation), rotation
    sin_yaw = xp.clip(r[..., 2, 0], -1, 1)
    yaw = xp.asin(sin_yaw)
    cos_yaw = xp.cos(yaw)
    gimbal = xp.abs(sin_yaw) == 1
    pitch = xp.atan2(r[..., 1, 2] / cos_yaw, r[..., 2, 2] / cos_yaw)
    roll = xp.atan2(r[..., 0, 1] / cos_yaw, r[..., 0, 0] / cos_yaw)
    pitch_at_pole = xp.atan2(-sin_yaw * r[..., 0, 1], -sin_yaw * r[..., 0, 2])
    yaw = xp.where(gimbal, -yaw, yaw)
    pitch = xp.where(gimbal, pitch_at_pole, pitch)
    roll = xp.where(gimbal, xp.zeros_like(roll), roll)
    return Pose(yaw * DEGREES, pitch * DEGREES, roll * DEGREES)


ANGLES = {"published": published_angles, "exact": exact_angles}


def in_plane_angle(params: Array) -> Array:
    """How far heads are turned in the image plane, clockwise as seen, (...) degrees.

    The head's own vertical axis is meant, not Euler's roll, which is another angle in profile.

    Args:
        params: (..., 62) real, or (..., 12) pose blocks.
    """
    camera = camera_of(params)
    xp = namespace(camera)
    return xp.atan2(camera[..., 0, 1], camera[..., 1, 1]) * DEGREES


def decode_pose(params: Array, method: Literal["published", "exact"] = "exact") -> Pose:
    """Euler angles of real (de-whitened) parameters, (B, 62) or (B, 12)."""
    _, rotation, _ = decompose_camera(camera_of(params))
    return ANGLES[method](rotation)
