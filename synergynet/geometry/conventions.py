"""Head rotations as other projects write them: each convention's two directions side by side.

    convert(np.array([0.1, 0.5, -0.2]), "300w-lp", "opencv")

All go through R of `geometry.pose`, which maps the head's frame (x to the subject's left, y up,
z out of the face) to the picture's (x right, y up, z towards the viewer). Seen by the viewer,
positive pitch looks up, positive yaw looks to the picture's left, positive roll tilts the head
clockwise.

With X, Y, Z the right-handed (counter-clockwise) turns about the axes, p pitch, y yaw, r roll:

- 300w-lp: (p, y, r) in radians, R = X(-p) Y(-y) Z(-r); Pose_Para of 300W-LP and AFLW2000-3D.
- fsa-net: the same angles in degrees in the order (y, p, r); Hopenet too.
- 3ddfa: (y, p, r) in degrees, R = Z(r) Y(-y) X(p): its pitch and roll have the opposite sign, and
  none of the three equals 300W-LP's where more than one differs from zero. SynergyNet mixes this
  yaw with 300W-LP's pitch and roll; that is no rotation's angles (geometry.pose, `published`).
- 6drepnet: the (3, 3) matrix Z(r) Y(y) X(p), which is R transposed; its angles are 300W-LP's.
- opencv: Rodrigues vector of the pose that cv2.solvePnP finds for points of the head's frame; the
  camera's y points down and its z away from it: diag(1, -1, -1) R. A frontal face has (pi, 0, 0).
- opengl: (4, 4) modelview matrix for column vectors; eye space has R's axes.
- mediapipe: (4, 4) facial transformation matrix of Face Landmarker, in centimetres; the same axes.
  Its camera is a perspective one: a face at the picture's edge is turned by the viewing ray.

Where pitch and roll turn about one axis (gimbal lock) roll is 0, and the rotation is kept.
Functions take numpy arrays or torch tensors.
Sources: 300W-LP (Zhu et al., CVPR 2016); FSA-Net (Yang et al., CVPR 2019); 3DDFA (PAMI 2017);
6DRepNet (Hempel et al., ICIP 2022), compared with its package 0.1.6; OpenCV's calib3d.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from synergynet.geometry.arrays import Array, namespace
from synergynet.geometry.camera import rotation_from_vector, rotation_vector
from synergynet.geometry.pose import DEGREES, Pose, compose_rotation, exact_angles

ROTATION_TOLERANCE = 1e-2  # of R R^T: admits numbers of three decimals
CAMERA_OF_PICTURE = (1.0, -1.0, -1.0)  # diagonal: y and z change direction


class Convention(NamedTuple):
    """One way to write a rotation.

    Attributes:
        form: what the numbers are, for people.
        shape: of one rotation's numbers.
        from_rotation: (..., 3, 3) -> (..., *shape).
        to_rotation: its inverse.
    """

    form: str
    shape: tuple[int, ...]
    from_rotation: Callable[[Array], Array]
    to_rotation: Callable[[Array], Array]


def to_300w_lp(rotation: Array) -> Array:
    """Pitch, yaw, roll in radians, (..., 3)."""
    yaw, pitch, roll = exact_angles(rotation)
    return namespace(rotation).stack([pitch, yaw, roll], axis=-1) / DEGREES


def from_300w_lp(angles: Array) -> Array:
    """The inverse of `to_300w_lp`."""
    pitch, yaw, roll = (angles[..., i] * DEGREES for i in range(3))
    return compose_rotation(Pose(yaw, pitch, roll))


def to_fsa_net(rotation: Array) -> Array:
    """Yaw, pitch, roll in degrees, (..., 3)."""
    return namespace(rotation).stack(exact_angles(rotation), axis=-1)


def from_fsa_net(angles: Array) -> Array:
    """The inverse of `to_fsa_net`."""
    return compose_rotation(Pose(*(angles[..., i] for i in range(3))))


def to_3ddfa(rotation: Array) -> Array:
    """Yaw, pitch, roll in degrees as `asin(R[2, 0])` and so on have them, (..., 3)."""
    yaw, pitch, roll = exact_angles(rotation.mT)
    return namespace(rotation).stack([-yaw, pitch, roll], axis=-1)


def from_3ddfa(angles: Array) -> Array:
    """The inverse of `to_3ddfa`."""
    yaw, pitch, roll = (angles[..., i] for i in range(3))
    return compose_rotation(Pose(-yaw, pitch, roll)).mT


def to_6drepnet(rotation: Array) -> Array:
    """The matrix that its network puts out, (..., 3, 3)."""
    return rotation.mT


from_6drepnet = to_6drepnet


def to_opencv(rotation: Array) -> Array:
    """Rodrigues vector, (..., 3)."""
    return rotation_vector(_turn_rows(rotation))


def from_opencv(rvec: Array) -> Array:
    """The inverse of `to_opencv`, from (..., 3)."""
    return _turn_rows(rotation_from_vector(rvec))


def _turn_rows(matrix: Array) -> Array:
    """diag(CAMERA_OF_PICTURE) times a matrix (..., 3, 3)."""
    rows = [sign * matrix[..., row, :] for row, sign in enumerate(CAMERA_OF_PICTURE)]
    return namespace(matrix).stack(rows, axis=-2)


def to_matrix4(rotation: Array) -> Array:
    """Modelview or facial transformation matrix without translation, (..., 4, 4)."""
    xp = namespace(rotation)
    column = xp.zeros_like(rotation[..., :1])  # (..., 3, 1)
    upper = xp.concat([rotation, column], axis=-1)  # (..., 3, 4)
    last = xp.concat([xp.zeros_like(rotation[..., :1, :]), 1 + column[..., :1, :]], axis=-1)
    return xp.concat([upper, last], axis=-2)


def from_matrix4(matrix: Array) -> Array:
    """R of a (..., 4, 4) matrix; translation and uniform scale are dropped."""
    scaled = matrix[..., :3, :3]
    return scaled / namespace(matrix).linalg.det(scaled)[..., None, None] ** (1 / 3)


CONVENTIONS = {
    "300w-lp": Convention("pitch, yaw, roll in radians", (3,), to_300w_lp, from_300w_lp),
    "fsa-net": Convention("yaw, pitch, roll in degrees", (3,), to_fsa_net, from_fsa_net),
    "3ddfa": Convention("yaw, pitch, roll in degrees", (3,), to_3ddfa, from_3ddfa),
    "6drepnet": Convention("3x3 matrix", (3, 3), to_6drepnet, from_6drepnet),
    "opencv": Convention("Rodrigues vector", (3,), to_opencv, from_opencv),
    "opengl": Convention("4x4 modelview matrix", (4, 4), to_matrix4, from_matrix4),
    "mediapipe": Convention("4x4 facial transformation", (4, 4), to_matrix4, from_matrix4),
}


def is_rotation(matrix: Array) -> bool:
    """Whether all of (..., 3, 3) are rotations, to ROTATION_TOLERANCE; `to_rotation` trusts."""
    xp = namespace(matrix)
    off = matrix @ matrix.mT - xp.eye(3, dtype=matrix.dtype, device=matrix.device)
    is_orthonormal = xp.all(xp.abs(off) < ROTATION_TOLERANCE)
    return bool(is_orthonormal) and bool(xp.all(xp.linalg.det(matrix) > 0))


def convert(values: Array, source: str, target: str) -> Array:
    """Rewrite rotations from one of CONVENTIONS in another.

    Args:
        values: (..., *shape of the source convention). Not modified.
        source, target: keys of CONVENTIONS.
    Raises:
        ValueError: another shape than the source convention has.
    """
    shape = CONVENTIONS[source].shape
    if values.shape[-len(shape) :] != shape:
        raise ValueError(
            f"{source}: numbers of shape {tuple(values.shape)}, expected (..., {shape})"
        )
    return CONVENTIONS[target].from_rotation(CONVENTIONS[source].to_rotation(values))
