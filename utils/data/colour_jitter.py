"""Brightness, contrast and saturation of training crops, as PIL's ImageEnhance changes them.

Source: SynergyNet, section 4.
"""

from __future__ import annotations

import cv2
import numpy as np

ROUND_TO_FLOOR = -0.5 + 1e-4  # added before rounding; the rest keeps whole numbers as they are


def jitter_colours(
    image: np.ndarray, factors: np.ndarray, order: np.ndarray | tuple[int, ...]
) -> np.ndarray:
    """Change brightness, contrast and saturation, one after the other.

    Args:
        image: (H, W, 3) uint8 BGR. Not modified.
        factors: (3,) of brightness, contrast and saturation; 1 changes nothing.
        order: permutation of 0, 1, 2, the operations in turn.
    Returns:
        (H, W, 3) uint8 BGR, as PIL's ImageEnhance makes it from the same array; one value in a
        few hundred is off by one level, since OpenCV rounds where PIL truncates.
    """
    operations = (adjust_brightness, adjust_contrast, adjust_saturation)
    for index in order:
        image = operations[index](image, factors[index])
    return image


def adjust_brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """Blend with black; semantics of PIL.ImageEnhance.Brightness on (H, W, 3) uint8."""
    return cv2.addWeighted(image, factor, image, 0, ROUND_TO_FLOOR)


def adjust_contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Blend with the mean grey; semantics of PIL.ImageEnhance.Contrast on (H, W, 3) uint8."""
    mean = int(cv2.mean(_luma(image))[0] + 0.5)
    return cv2.addWeighted(image, factor, image, 0, mean * (1 - factor) + ROUND_TO_FLOOR)


def adjust_saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """Blend with each pixel's grey; semantics of PIL.ImageEnhance.Color on (H, W, 3) uint8."""
    grey = cv2.cvtColor(_luma(image), cv2.COLOR_GRAY2BGR)
    return cv2.addWeighted(image, factor, grey, 1 - factor, ROUND_TO_FLOOR)


def _luma(image: np.ndarray) -> np.ndarray:
    """Grey of (H, W, 3) uint8 in array order, (H, W) uint8.

    NOTE(released): the published pipeline hands a BGR array to PIL as if it were RGB, so blue has
    red's weight here.
    """
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
