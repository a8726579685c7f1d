"""Boxes x0 y0 x1 y1 of faces: which are wanted, which are the same, which belong together."""

from __future__ import annotations

import dataclasses

import numpy as np

MAX_OVERLAP = 0.3  # of two boxes of one face, intersection over union


@dataclasses.dataclass(frozen=True)
class Choice:
    """Which of the faces found are wanted.

    Attributes:
        min_score: least score of a face.
        min_height_px: least height of its box, photo px.
        max_faces: of these the largest; None is all.
    """

    min_score: float = 0.0
    min_height_px: float = 0.0
    max_faces: int | None = None

    def of(self, boxes: np.ndarray) -> np.ndarray:
        """Those of boxes (M, 5) x0 y0 x1 y1 score that are wanted, (N, 5), in their order."""
        return boxes[self.rows(boxes[:, :4], boxes[:, 4])]

    def rows(self, boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Which of boxes (M, 4) with scores (M,) are wanted: indices, rising."""
        heights = boxes[:, 3] - boxes[:, 1]
        wanted = np.flatnonzero((scores >= self.min_score) & (heights >= self.min_height_px))
        by_height = wanted[np.argsort(-heights[wanted], kind="stable")]
        return np.sort(by_height[: self.max_faces])


def suppress_overlaps(boxes: np.ndarray, max_overlap: float = MAX_OVERLAP) -> np.ndarray:
    """Non-maximum suppression: drop boxes that overlap a surer one.

    Args:
        boxes: (M, 5) x0 y0 x1 y1 score. Not modified.
        max_overlap: intersection over union up to which both stay.
    Returns:
        (N, 5), surest first.
    """
    boxes = boxes[np.argsort(-boxes[:, 4], kind="stable")]
    kept = []
    while len(boxes):
        kept.append(boxes[0])
        boxes = boxes[1:][overlap(boxes[0], boxes[1:]) <= max_overlap]
    return np.array(kept).reshape(-1, 5)


def overlap(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of one box with (M, 4 or more) others, (M,)."""
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[2:4], others[:, 2:4])
    shared = (high - low).clip(0).prod(1)
    areas = (others[:, 2:4] - others[:, :2]).prod(1)
    return shared / ((box[2:4] - box[:2]).prod() + areas - shared)


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersections over unions of (T, 4 or more) boxes with (D, 4 or more) others, (T, D)."""
    table = [overlap(box, others) for box in boxes]
    return np.array(table).reshape(len(boxes), len(others))


def match(table: np.ndarray, least: float) -> dict[int, int]:
    """Pair boxes of one list with those of another, the pairs that overlap most first.

    Args:
        table: (T, D) overlaps.
        least: overlap of a pair.
    Returns:
        row by column; none stands twice.
    """
    pairs: dict[int, int] = {}
    for flat in np.argsort(-table, axis=None, kind="stable").tolist():
        row, column = divmod(flat, table.shape[1])
        if table[row, column] < least:
            break
        if column not in pairs and row not in pairs.values():
            pairs[column] = row
    return pairs
