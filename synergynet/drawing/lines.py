"""Lines over pictures: landmarks and head pose of a face, captions.

Everything returns (H, W, 3) uint8 BGR images; callers write them.
"""

from __future__ import annotations

import cv2
import numpy as np

# runs of the 68 landmarks that are joined by lines; True closes the run
FACE_PARTS = {
    "jaw": (range(0, 17), False),
    "right brow": (range(17, 22), False),
    "left brow": (range(22, 27), False),
    "nose bridge": (range(27, 31), False),
    "nose base": (range(31, 36), False),
    "right eye": (range(36, 42), True),
    "left eye": (range(42, 48), True),
    "outer lips": (range(48, 60), True),
    "inner lips": (range(60, 68), True),
}
PREDICTION_BGR = (120, 220, 60)
TRUTH_BGR = (255, 170, 60)
DOT_BGR, HOLLOW_BGR = (255, 255, 255), (0, 0, 0)
AXES_BGR = ((60, 60, 235), (70, 200, 70), (235, 130, 40))  # x red, y green, z blue
BACKGROUND_BGR = (32, 28, 26)
TEXT_BGR = (235, 235, 235)
SUBPIXEL_BITS = 4  # cv2 draws at 1/16 px


def enlarge(image: np.ndarray, size_px: int) -> np.ndarray:
    """Resize a square picture smoothly to (size_px, size_px, 3)."""
    return cv2.resize(image, (size_px, size_px), interpolation=cv2.INTER_CUBIC)


def draw_landmarks(
    image: np.ndarray,
    landmarks: np.ndarray,
    colour: tuple[int, int, int] = PREDICTION_BGR,
    crop_px: float | None = None,
    *,
    visible: np.ndarray | None = None,
    in_place: bool = False,
) -> np.ndarray:
    """Draw 68 landmarks as dots joined by lines part by part, anti-aliased.

    Args:
        image: (H, W, 3) uint8 BGR. Not modified, but for `in_place`.
        landmarks: (2 or 3, 68) px of this image, y down.
        colour: BGR of the lines.
        crop_px: side of the face's crop, for the width of lines; None is the whole picture's.
        visible: (68,) bool; dots of the others are hollow. Small faces have no dots.
        in_place: draw on `image` itself; for many faces, whose copies would cost more than lines.
    """
    image = image if in_place else image.copy()
    unit = (crop_px or min(image.shape[:2])) / 480  # line widths are made for 480 px
    points = fixed_point(landmarks[:2].T)  # (68, 2)
    thickness = max(1, round(2 * unit))
    is_small = unit < 0.3  # no room for black edges and dots
    edge = thickness + 2 * (not is_small)
    for part, closed in FACE_PARTS.values():
        run = [points[list(part)]]
        cv2.polylines(image, run, closed, (0, 0, 0), edge, cv2.LINE_AA, SUBPIXEL_BITS)
        cv2.polylines(image, run, closed, colour, thickness, cv2.LINE_AA, SUBPIXEL_BITS)
    radius = round(2.6 * unit * 2**SUBPIXEL_BITS)
    ring = max(1, round(unit))
    hollow = round(1.2 * radius) + 2 ** (SUBPIXEL_BITS - 1)  # larger, for the hollow to be seen
    for index, point in enumerate(points if not is_small else ()):
        if visible is None or visible[index]:
            cv2.circle(image, point, radius, DOT_BGR, -1, cv2.LINE_AA, SUBPIXEL_BITS)
        else:
            cv2.circle(image, point, hollow, HOLLOW_BGR, -1, cv2.LINE_AA, SUBPIXEL_BITS)
            cv2.circle(image, point, hollow, DOT_BGR, ring, cv2.LINE_AA, SUBPIXEL_BITS)
    return image


def draw_pose_axes(
    image: np.ndarray,
    rotation: np.ndarray,
    origin: np.ndarray,
    length_px: float,
    crop_px: float | None = None,
    *,
    in_place: bool = False,
) -> np.ndarray:
    """Draw the head's axes: x (red) to its left, y (green) down, z (blue) out of the face.

    Args:
        image: (H, W, 3) uint8 BGR. Not modified, but for `in_place`.
        rotation: (3, 3) model frame to crop frame, y up, as in `synergynet.geometry.pose`.
        origin: (2,) px of this image.
        length_px: of an axis seen from the side.
        crop_px, in_place: as for `draw_landmarks`.
    """
    image = image if in_place else image.copy()
    unit = (crop_px or min(image.shape[:2])) / 480
    axes_model = np.diag([1.0, -1.0, 1.0])  # y down the face, as head-pose pictures have it
    ends = (rotation @ axes_model)[:2].T * [1, -1] * length_px + origin  # (3, 2), y down
    depth = (rotation @ axes_model)[2]  # towards the camera
    start = fixed_point(np.asarray(origin, np.float64)).tolist()
    for axis in np.argsort(depth):  # nearest last
        end = fixed_point(ends[axis]).tolist()
        for colour, width in (((0, 0, 0), 5.5), (AXES_BGR[axis], 3.5)):
            thickness = max(1, round(width * unit))
            cv2.line(image, start, end, colour, thickness, cv2.LINE_AA, SUBPIXEL_BITS)
    return image


def add_caption(image: np.ndarray, lines: list[str]) -> np.ndarray:
    """Put text lines on a dark strip below a picture."""
    scale = image.shape[0] / 480
    line_px = round(24 * scale)
    strip = np.full((line_px * len(lines) + round(12 * scale), image.shape[1], 3), 0, np.uint8)
    strip[:] = BACKGROUND_BGR
    for index, line in enumerate(lines, start=1):
        place = (round(12 * scale), line_px * index)
        cv2.putText(
            strip, line, place, cv2.FONT_HERSHEY_SIMPLEX, 0.55 * scale, TEXT_BGR, 1, cv2.LINE_AA
        )
    return np.concatenate([image, strip])


def side_by_side(images: list[np.ndarray], gap_px: int = 6) -> np.ndarray:
    """Join pictures of one height with a dark gap."""
    gap = np.full((images[0].shape[0], gap_px, 3), BACKGROUND_BGR, np.uint8)
    row = [part for image in images for part in (image, gap)][:-1]
    return np.concatenate(row, axis=1)


def fixed_point(points: np.ndarray) -> np.ndarray:
    """Pixel-centre coordinates as cv2's fixed-point integers, kept in the range it can draw."""
    return (points * 2**SUBPIXEL_BITS).round().clip(-(2**20), 2**20).astype(np.int32)
