"""Faces cut out of photos as the network sees them: 120 x 120 px, BGR, with or without a border.

A network was trained on crops with a black border, or without: that belongs to its weights and to
how a crop was found, see `SynergyNet`. Source: 3DDFA (Zhu et al., PAMI 2017).
"""

from __future__ import annotations

import cv2
import numpy as np

from synergynet.geometry.parameters import IMG_SIZE

PIXEL_MEAN, PIXEL_STD = 127.5, 128.0  # networks see (x - PIXEL_MEAN) / PIXEL_STD
MOST_CROP_PX = 8192  # of a box's side that is cut out and then resized
FINE = 4  # px per px of the crop, of larger boxes
BORDER_PX = 5  # black, of training and benchmark crops


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


def network_crop(
    image: np.ndarray, roi_box: np.ndarray, interpolation: int = cv2.INTER_LINEAR
) -> np.ndarray:
    """Cut a box out of a photo and resize it to the network's (120, 120, 3) uint8.

    Args:
        image, roi_box: as for `cut_out`.
        interpolation: of OpenCV.
    """
    roi_box = np.asarray(roi_box, np.float64)[:4]
    if (roi_box[2:] - roi_box[:2]).max() > MOST_CROP_PX:
        return _crop_of_huge_box(image, roi_box)
    return cv2.resize(cut_out(image, roi_box), (IMG_SIZE, IMG_SIZE), interpolation=interpolation)


def _crop_of_huge_box(image: np.ndarray, roi_box: np.ndarray) -> np.ndarray:
    """`network_crop` of a box that is too large to be cut out before it is resized."""
    size = np.array(image.shape[1::-1])
    start = np.floor(roi_box[:2]).clip(0, size - 1).astype(int)
    end = np.ceil(roi_box[2:]).clip(start + 1, size).astype(int)
    part = image[start[1] : end[1], start[0] : end[0]]  # what the photo has of it
    to_crop = IMG_SIZE / (roi_box[2:] - roi_box[:2])  # (2,) crop px per photo px
    few = np.ceil((end - start) * to_crop * FINE).astype(int)
    part = cv2.resize(part, few.tolist(), interpolation=cv2.INTER_AREA)
    scale = to_crop * (end - start) / few  # crop px per px of the part
    shift = (start - roi_box[:2]) * to_crop + (scale - 1) / 2  # of the middles of pixels
    matrix = np.column_stack([np.diag(scale), shift])
    return cv2.warpAffine(part, matrix, (IMG_SIZE, IMG_SIZE), flags=cv2.INTER_LINEAR)


def blacken_border(crops: np.ndarray, border_px: int = BORDER_PX) -> np.ndarray:
    """Crops (B, 120, 120, 3) with a black border; modified in place, and returned."""
    if border_px:
        crops[:, :border_px] = crops[:, -border_px:] = 0
        crops[:, :, :border_px] = crops[:, :, -border_px:] = 0
    return crops
