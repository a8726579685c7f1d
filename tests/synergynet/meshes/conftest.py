"""Meshes whose smooth surface is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

Mesh = tuple[np.ndarray, np.ndarray]  # vertices (V, 3), triangles (T, 3)


@pytest.fixture(scope="package")
def sheet() -> Callable[..., Mesh]:
    """A square sheet of so many cells a side, from -1 to 1, z towards the viewer."""

    def make(cells: int = 8, jitter: float = 0.0) -> Mesh:
        steps = np.linspace(-1, 1, cells + 1)
        x, y = map(np.ravel, np.meshgrid(steps, steps))
        shift = np.random.default_rng(0).uniform(-jitter, jitter, (len(x), 2)) / cells
        points = np.column_stack([x, y, 0 * x])
        points[:, :2] += shift
        index = np.arange(len(x)).reshape(cells + 1, cells + 1)
        a, b = index[:-1, :-1].ravel(), index[:-1, 1:].ravel()
        c, d = index[1:, :-1].ravel(), index[1:, 1:].ravel()
        return points, np.concatenate([np.column_stack([a, b, d]), np.column_stack([a, d, c])])

    return make


@pytest.fixture(scope="package")
def icosahedron() -> Mesh:
    """Twelve points of a unit ball."""
    golden = (1 + 5**0.5) / 2
    points = [
        np.roll([0, first, second * golden], turn)
        for turn in range(3)
        for first in (-1, 1)
        for second in (-1, 1)
    ]
    points = np.array(points) / np.hypot(1, golden)
    side = np.linalg.norm(points[:, None] - points, axis=2)
    near = (side > 0) & (side < 1.1)
    triangles = [
        (a, b, c) if np.linalg.det(points[[a, b, c]]) > 0 else (a, c, b)
        for a in range(12)
        for b in range(a + 1, 12)
        for c in range(b + 1, 12)
        if near[a, b] and near[b, c] and near[a, c]
    ]
    return points, np.array(triangles)
