"""Heads before a pinhole camera: what weak perspective leaves out, where the lens is known.

A weak-perspective camera sees every head as if it were in the middle of the picture. A pinhole
camera sees one beside the middle along a slanted ray: it looks turned by the ray's angle, and is
stretched away from the middle, by 1 / cos along the radius and once more all over. `to_pinhole`
takes both back, to first order in the head's size over its distance.

Frames are OpenCV's: x right, y down, z away from the camera, which is at the origin. The head's
frame has its origin between the pupils, x to the subject's left, y up, z out of the face; its unit
is the distance between the pupils, the *head unit*.
Functions take numpy arrays or torch tensors.
Source: Hartley and Zisserman, "Multiple View Geometry", 2nd edition, 6.3, for affine cameras.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from synergynet.geometry.arrays import Array, namespace
from synergynet.geometry.camera import nearest_rotation, rotation_from_vector

# Mean distance between adults' pupils; theirs are from 50 to 75 mm, children's from 40.
# Source: Dodgson, "Variation and extrema of human interpupillary distance", Proc. SPIE 5291, 2004.
PUPILS_MM = 63.0
METRIC_CONVENTION = (
    "OpenCV's rvec and tvec in mm, from the head's frame (origin between the pupils, x to the "
    f"subject's left, y up, z out of the face) to the camera's; assumes pupils {PUPILS_MM:.0f} mm "
    "apart (mean of adults, Dodgson 2004: a person with 60 is 5 % nearer), a lens without "
    "distortion, and a picture that was not cropped to one side"
)


class Lens(NamedTuple):
    """A pinhole camera without distortion.

    Attributes:
        focal_px: (...) focal length in px.
        centre_px: (..., 2) where the optical axis meets the picture, px, y down.
    """

    focal_px: Array
    centre_px: Array

    @classmethod
    def of_photo(cls, focal_px: float, shape: Sequence[int]) -> Lens:
        """One whose axis goes through the middle of a photo of this height and width (and more)."""
        return cls(focal_px, (shape[1] / 2, shape[0] / 2))


def turn_to_ray(ray: Array) -> Array:
    """The least rotation (..., 3, 3) that takes the optical axis z to a unit ray (..., 3).

    Args:
        ray: before the camera: z above 0.
    """
    xp = namespace(ray)
    x, y, z = ray[..., 0], ray[..., 1], ray[..., 2]
    sine = xp.hypot(x, y)
    angle = xp.atan2(sine, z)
    factor = xp.where(sine > 0, angle / xp.where(sine > 0, sine, xp.ones_like(sine)), sine + 1)
    return rotation_from_vector(xp.stack([-y * factor, x * factor, xp.zeros_like(x)], axis=-1))


def to_pinhole(rows: Array, seen: Array, centroid: Array, focal_px: Array) -> tuple[Array, Array]:
    """Rotation and translation of a head before a pinhole camera, from its affine image.

    Args:
        rows: (..., 2, 3) the first two rows of its weak-perspective camera, y down: px per unit.
        seen: (..., 2) where the middle of its points is seen, px from the optical axis, y down.
        centroid: (..., 3) the middle of its points in the head's frame.
        focal_px: (...).
    Returns:
        rotation (..., 3, 3) and translation (..., 3) in head units, both from the head's frame to
        the camera's.
    """
    xp = namespace(rows)
    ray = xp.concat([seen / focal_px[..., None], xp.ones_like(seen[..., :1])], axis=-1)
    ray = ray / xp.linalg.vector_norm(ray, axis=-1, keepdims=True)
    cosine = ray[..., 2]
    # What one px of a picture taken along the ray is here: 1 / cos px, and as much more along the
    # radius u. The inverse is cos (I - (1 - cos) u u'); u = (x, y) / sin.
    flat = ray[..., :2]
    outer = flat[..., :, None] * flat[..., None, :] / (1 + cosine)[..., None, None]
    identity = xp.eye(2, dtype=rows.dtype, device=rows.device)
    along = cosine[..., None, None] * (identity - outer) @ rows  # (..., 2, 3)
    first, second = along[..., 0, :], along[..., 1, :]
    area = xp.linalg.vector_norm(xp.linalg.cross(first, second), axis=-1)
    lengths = xp.linalg.vector_norm(along, axis=-1, keepdims=True)
    first, second = (along / lengths)[..., 0, :], (along / lengths)[..., 1, :]
    turned = xp.stack([first, second, xp.linalg.cross(first, second)], axis=-2)
    rotation = turn_to_ray(ray) @ nearest_rotation(turned)
    distance = focal_px / xp.sqrt(area)
    translation = distance[..., None] * ray - (rotation @ centroid[..., None])[..., 0]
    return rotation, translation


def to_affine(
    rotation: Array, translation: Array, centroid: Array, focal_px: Array
) -> tuple[Array, Array]:
    """The inverse of `to_pinhole`: rows (..., 2, 3) and where the centroid is seen (..., 2).

    It is the derivative of the projection at the centroid.
    """
    middle = (rotation @ centroid[..., None])[..., 0] + translation  # (..., 3)
    depth = middle[..., 2:]
    seen = focal_px[..., None] * middle[..., :2] / depth
    slope = rotation[..., :2, :] - (middle[..., :2] / depth)[..., None] * rotation[..., 2:, :]
    return (focal_px[..., None] / depth)[..., None] * slope, seen
