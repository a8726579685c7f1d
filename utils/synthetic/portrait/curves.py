"""Smooth curves, and drawing them with a sixteenth of a pixel."""

from __future__ import annotations

import cv2
import numpy as np

SHIFT = 4  # fractional bits of OpenCV's drawing coordinates


def fixed_point(points: np.ndarray) -> np.ndarray:
    """Points in OpenCV's fixed-point drawing coordinates."""
    return np.rint(points * (1 << SHIFT)).astype(np.int32)


def draw_line(image: np.ndarray, points: np.ndarray, value: int, width_px: int) -> None:
    """Draw an anti-aliased line through points (K, 2) px, in place."""
    cv2.polylines(image, [fixed_point(points)], False, value, width_px, cv2.LINE_AA, SHIFT)


def fill_polygon(image: np.ndarray, points: np.ndarray) -> None:
    """Fill the polygon of points (K, 2) px with 255, anti-aliased, in place."""
    cv2.fillPoly(image, [fixed_point(points)], 255, cv2.LINE_AA, SHIFT)


def smooth_curve(points: np.ndarray, count: int) -> np.ndarray:
    """Smooth curves through points (..., K, D) as (..., count, D): Catmull-Rom."""
    before = 2 * points[..., :1, :] - points[..., 1:2, :]
    after = 2 * points[..., -1:, :] - points[..., -2:-1, :]
    padded = np.concatenate([before, points, after], axis=-2)
    last = points.shape[-2] - 1
    t = np.linspace(0, last, count)
    k = np.minimum(t.astype(int), last - 1)
    f = (t - k)[:, None]
    p0, p1, p2, p3 = (padded[..., k + i, :] for i in range(4))
    curve = 2 * p1 + (p2 - p0) * f + (2 * p0 - 5 * p1 + 4 * p2 - p3) * f**2
    return (0.5 * (curve + (3 * p1 - p0 - 3 * p2 + p3) * f**3)).astype(np.float32)
