"""Crop boxes, cutting them out, and the maps between crop and photo, each beside its inverse.

A roi box is (sx, sy, ex, ey) in photo px; the network sees it resized to 120 x 120. x and y may
have different scales: boxes that were clipped at the photo's edge are not square.

Sources: 3DDFA (Zhu et al., PAMI 2017); the box was checked against all 2,000 of AFLW2000-3D.
"""

from __future__ import annotations

import cv2
import numpy as np

from synergynet.params import IMG_SIZE

CROP_FACTOR = np.sqrt(2)  # side of the crop over the longer side of the landmarks' tight box
BOX_FACTOR = 1.2  # side of the crop over the height of a face detector's box


def roi_box_from_landmarks(landmarks: np.ndarray, width: int, height: int) -> np.ndarray:
    """The crop box AFLW2000-3D and 300W-LP were cut with.

    `square_box_from_landmarks`, clipped to the photo (from 1 on).

    Args:
        landmarks: (..., 2 or 3, 68) photo px, y down.
        width: of the photo, px.
        height: of the photo, px.
    Returns:
        (..., 4) float64 whole numbers sx sy ex ey.
    """
    return square_box_from_landmarks(landmarks).clip(1, [width, height, width, height])


def square_box_from_landmarks(landmarks: np.ndarray) -> np.ndarray:
    """The crop box around landmarks: the tight box's longer side times sqrt(2), may reach outside.

    Args:
        landmarks: (..., 2 or 3, 68) photo px, y down.
    Returns:
        (..., 4) float64 whole numbers sx sy ex ey.
    """
    points = np.asarray(landmarks, np.float64)[..., :2, :]
    low, high = points.min(-1), points.max(-1)  # (..., 2)
    return _square(low + high, (high - low).max(-1, keepdims=True) * CROP_FACTOR)


def roi_box_from_face_box(face_box: np.ndarray) -> np.ndarray:
    """The crop box around a face detector's box: 1.2 times its height, may reach outside.

    Args:
        face_box: (..., 4 or more) x0 y0 x1 y1 photo px.
    Returns:
        (..., 4) float64 whole numbers sx sy ex ey.
    """
    low, high = np.split(np.asarray(face_box, np.float64)[..., :4], 2, -1)  # (..., 2)
    return _square(low + high, (high - low)[..., 1:] * BOX_FACTOR)


def _square(twice_centre: np.ndarray, side: np.ndarray) -> np.ndarray:
    """The box (..., 4) of whole numbers around a centre (..., 2), its side (..., 1) at least 1."""
    start = np.round((twice_centre - side) / 2)  # (..., 2)
    return np.concatenate([start, start + np.round(side).clip(1)], -1)


def cut_out(image: np.ndarray, roi_box: np.ndarray) -> np.ndarray:
    """Cut a box out of a photo; what lies outside the photo is black.

    Args:
        image: (H, W, 3) uint8. Not modified.
        roi_box: (4,) sx sy ex ey, rounded half to even; may reach outside.
    Returns:
        (ey - sy, ex - sx, 3) uint8.
    Raises:
        ValueError: the box has no area.
    """
    sx, sy, ex, ey = np.round(np.asarray(roi_box, np.float64)[:4]).astype(int)
    if ex <= sx or ey <= sy:
        raise ValueError(f"crop box {(sx, sy, ex, ey)} has no area")
    height, width = image.shape[:2]
    left, right = np.clip([sx, ex], 0, width)
    top, bottom = np.clip([sy, ey], 0, height)
    crop = np.zeros((ey - sy, ex - sx, *image.shape[2:]), image.dtype)
    crop[top - sy : bottom - sy, left - sx : right - sx] = image[top:bottom, left:right]
    return crop


def network_crop(image: np.ndarray, roi_box: np.ndarray) -> np.ndarray:
    """Cut a box out of a photo and resize it bilinearly to the network's (120, 120, 3) uint8."""
    return cv2.resize(cut_out(image, roi_box), (IMG_SIZE, IMG_SIZE), interpolation=cv2.INTER_LINEAR)


def crop_to_photo(points: np.ndarray, roi_box: np.ndarray) -> np.ndarray:
    """Map points of the 120-px crop to the photo; z takes the mean of the two scales.

    Args:
        points: (..., 2 or 3, N) crop px, y down. Not modified.
        roi_box: (..., 4) sx sy ex ey, broadcast over the leading axes.
    Returns:
        (..., 2 or 3, N) photo px, y down.
    """
    scale, shift = _scale_and_shift(roi_box, points.shape[-2])
    return points * scale + shift


def photo_to_crop(points: np.ndarray, roi_box: np.ndarray) -> np.ndarray:
    """The inverse of `crop_to_photo`."""
    scale, shift = _scale_and_shift(roi_box, points.shape[-2])
    return (points - shift) / scale


def _scale_and_shift(roi_box: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Photo px per crop px and the crop's origin in the photo, each (..., rows, 1)."""
    roi_box = np.asarray(roi_box)
    start, end = roi_box[..., :2], roi_box[..., 2:4]  # (..., 2)
    scale = (end - start) / IMG_SIZE  # (..., 2)
    scale = np.concatenate([scale, scale.mean(-1, keepdims=True)], -1)  # (..., 3)
    shift = np.concatenate([start, np.zeros_like(start[..., :1])], -1)  # (..., 3)
    return scale[..., :rows, None], shift[..., :rows, None]
