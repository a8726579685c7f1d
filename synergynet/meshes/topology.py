"""Where a mesh ends, and which of its points are nearest to others."""

from __future__ import annotations

import cv2
import numpy as np

KDTREE_SINGLE = 4  # of OpenCV's FLANN: one tree, whose search is exact
LEAF_SIZE = 10


def outer_border(triangles: np.ndarray, n_vertices: int) -> np.ndarray:
    """Vertices (M,) of the longest border of a mesh; a face's others run around eyes and mouth.

    Args:
        triangles: (T, 3).
        n_vertices: V.
    """
    edges = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)  # (3T, 2)
    keys, uses = np.unique(edges @ (n_vertices, 1), return_counts=True)
    border = np.divmod(keys[uses == 1], n_vertices)  # edges of one triangle only
    neighbours: dict[int, list[int]] = {}
    for a, b in zip(*(ends.tolist() for ends in border), strict=True):
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    longest: list[int] = []
    while neighbours:
        loop, waiting = [], [next(iter(neighbours))]
        while waiting:
            vertex = waiting.pop()
            if vertex in neighbours:
                loop.append(vertex)
                waiting += neighbours.pop(vertex)
        longest = max(longest, loop, key=len)
    return np.array(longest, np.int64)


def nearest_points(
    points: np.ndarray, queries: np.ndarray, count: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """The points nearest to each query, nearest first.

    Args:
        points: (N, 3), N at least `count`.
        queries: (M, 3).
        count: how many.
    Returns:
        distances (M, count) float32 and rows of `points` (M, count).
    """
    tree: dict[str, bool | int | float | str] = {
        "algorithm": KDTREE_SINGLE,
        "leaf_max_size": LEAF_SIZE,
    }
    index = cv2.flann.Index(np.ascontiguousarray(points, np.float32), tree)
    queries = np.ascontiguousarray(queries, np.float32)
    rows, squares = index.knnSearch(queries, count, params={"checks": -1})
    return np.sqrt(squares), rows
