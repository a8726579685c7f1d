"""Crop boxes, and the maps between crop and photo, each beside its inverse.

A roi box is (sx, sy, ex, ey) in photo px; the network sees it resized to 120 x 120. x and y may
have different scales: boxes that were clipped at the photo's edge are not square. Functions take
numpy arrays or torch tensors; boxes may be lists.

Sources: 3DDFA (Zhu et al., PAMI 2017); the box was checked against all 2,000 of AFLW2000-3D.
"""

from __future__ import annotations

import math

from synergynet.geometry.arrays import Array, as_float64, namespace
from synergynet.geometry.parameters import IMG_SIZE

CROP_FACTOR = math.sqrt(2)  # side of the crop over the longer side of the landmarks' tight box
BOX_FACTOR = 1.2  # side of the crop over the height of a face detector's box


def roi_box_from_landmarks(landmarks: Array, width: int, height: int) -> Array:
    """The crop box AFLW2000-3D and 300W-LP were cut with.

    `square_box_from_landmarks`, clipped to the photo (from 1 on).

    Args:
        landmarks: (..., 2 or 3, 68) photo px, y down.
        width: of the photo, px.
        height: of the photo, px.
    Returns:
        (..., 4) float64 whole numbers sx sy ex ey.
    """
    box = square_box_from_landmarks(landmarks)
    xp = namespace(box)
    x, y = xp.clip(box[..., 0::2], 1, width), xp.clip(box[..., 1::2], 1, height)  # (..., 2) each
    return xp.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], axis=-1)


def square_box_from_landmarks(landmarks: Array) -> Array:
    """The crop box around landmarks: the tight box's longer side times sqrt(2), may reach outside.

    Args:
        landmarks: (..., 2 or 3, 68) photo px, y down.
    Returns:
        (..., 4) float64 whole numbers sx sy ex ey.
    """
    box = tight_box(as_float64(landmarks))
    xp = namespace(box)
    low, high = box[..., :2], box[..., 2:]
    return _square(low + high, xp.max(high - low, axis=-1, keepdims=True) * CROP_FACTOR)


def roi_box_from_face_box(face_box: Array) -> Array:
    """The crop box around a face detector's box: 1.2 times its height, may reach outside.

    Args:
        face_box: (..., 4 or more) x0 y0 x1 y1 photo px.
    Returns:
        (..., 4) float64 whole numbers sx sy ex ey.
    """
    box = as_float64(face_box)
    low, high = box[..., :2], box[..., 2:4]
    return _square(low + high, (high - low)[..., 1:] * BOX_FACTOR)


def tight_box(landmarks: Array) -> Array:
    """The box (..., 4) x0 y0 x1 y1 that just holds landmarks (..., 2 or 3, N)."""
    xp = namespace(landmarks)
    points = landmarks[..., :2, :]
    return xp.concat([xp.min(points, axis=-1), xp.max(points, axis=-1)], axis=-1)


def _square(twice_centre: Array, side: Array) -> Array:
    """The box (..., 4) of whole numbers around a centre (..., 2), its side (..., 1) at least 1."""
    xp = namespace(side)
    start = xp.round((twice_centre - side) / 2)  # (..., 2)
    return xp.concat([start, start + xp.clip(xp.round(side), 1, None)], axis=-1)


def crop_to_photo(points: Array, roi_box: Array) -> Array:
    """Map points of the 120-px crop to the photo; z takes the mean of the two scales.

    Args:
        points: (..., 2 or 3, N) crop px, y down. Not modified.
        roi_box: (..., 4) sx sy ex ey, broadcast over the leading axes.
    Returns:
        (..., 2 or 3, N) photo px, y down.
    """
    scale, shift = _scale_and_shift(roi_box, points.shape[-2])
    return points * scale + shift


def photo_to_crop(points: Array, roi_box: Array) -> Array:
    """The inverse of `crop_to_photo`."""
    scale, shift = _scale_and_shift(roi_box, points.shape[-2])
    return (points - shift) / scale


def photo_px_per_crop_px(roi_box: Array) -> Array:
    """The scales (..., 3) of x, y and z; z has the mean of the others."""
    box = as_float64(roi_box)
    xp = namespace(box)
    scale = (box[..., 2:4] - box[..., :2]) / IMG_SIZE  # (..., 2)
    return xp.concat([scale, xp.mean(scale, axis=-1, keepdims=True)], axis=-1)


def _scale_and_shift(roi_box: Array, rows: int) -> tuple[Array, Array]:
    """Photo px per crop px and the crop's origin in the photo, each (..., rows, 1)."""
    scale = photo_px_per_crop_px(roi_box)
    xp = namespace(scale)
    start = as_float64(roi_box)[..., :2]
    shift = xp.concat([start, xp.zeros_like(start[..., :1])], axis=-1)  # (..., 3)
    return scale[..., :rows, None], shift[..., :rows, None]
