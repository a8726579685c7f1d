"""Borders of meshes: sides of one triangle only, the loops they form, and what is ragged there."""

from __future__ import annotations

import numpy as np

BATTLEMENT = 3  # triangles


def on_border(triangles: np.ndarray, n_vertices: int) -> np.ndarray:
    """(T, 3) whether sides, from each corner to the next, are of one triangle only."""
    ends = np.roll(triangles, -1, axis=1)
    keys = np.minimum(triangles, ends) * n_vertices + np.maximum(triangles, ends)
    order = np.argsort(keys, axis=None)
    differs = np.diff(keys.ravel()[order], prepend=-1, append=-1) != 0
    single = np.empty(keys.size, bool)
    single[order] = differs[1:] & differs[:-1]
    return single.reshape(keys.shape)


def border_loops(triangles: np.ndarray, n_vertices: int) -> list[np.ndarray]:
    """The closed borders of a mesh along its triangles' sides; those that touch are left out."""
    ends = np.roll(triangles, -1, axis=1)
    single = on_border(triangles, n_vertices)
    following: dict[int, list[int]] = {}
    for start, end in zip(triangles[single].tolist(), ends[single].tolist(), strict=True):
        following.setdefault(start, []).append(end)
    loops = []
    while following:
        path = [next(iter(following))]
        is_simple = True
        while ahead := following.pop(path[-1], None):
            is_simple &= len(ahead) == 1
            path.append(ahead[0])
        if is_simple and path[-1] == path[0]:
            loops.append(np.array(path[:-1], np.int64))
    return loops


def without_crumbs(triangles: np.ndarray, n_vertices: int, near: np.ndarray) -> np.ndarray:
    """The triangles but those that share no side with another, and battlements on borders.

    A model whose mouth and eyes were cut out triangle by triangle has both.

    Args:
        triangles: (T, 3).
        n_vertices: V.
        near: (V,) bool where battlements, of BATTLEMENT triangles at most, are taken away.
    """
    triangles = triangles[~on_border(triangles, n_vertices).all(axis=1)]
    is_near = near[triangles]
    local, far = triangles[is_near.any(axis=1)], triangles[~is_near.any(axis=1)]
    for _ in range(BATTLEMENT):
        sides = on_border(local, n_vertices).sum(axis=1)
        local = local[(sides < 2) | ~near[local].all(axis=1)]
    return np.concatenate([far, local])


# ---------------------------------------------------------------- between lines of vertices


def strip(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Triangles from a border (L,), along its triangles' sides, to a ring (L,) inside it."""
    a, b, c, d = outer, np.roll(outer, -1), inner, np.roll(inner, -1)
    return np.concatenate([np.column_stack([b, a, c]), np.column_stack([b, c, d])])


def fan(ring: np.ndarray, hub: int) -> np.ndarray:
    """Triangles that close a border, as `strip`, with a point."""
    return np.column_stack([np.roll(ring, -1), ring, np.full(len(ring), hub)])


def sew(
    upper: np.ndarray, lower: np.ndarray, t_upper: np.ndarray, t_lower: np.ndarray
) -> np.ndarray:
    """Triangles between two lines of vertices, in the order of a share of each, 0 to 1.

    Args:
        upper: (U,) along the sides of the triangles above it.
        lower: (L,) against the sides of those below; ends may be shared.
        t_upper, t_lower: (U,) and (L,) rising.
    """
    i = j = 0
    triangles = []
    while i + j < len(upper) + len(lower) - 2:
        if j == len(lower) - 1 or (i < len(upper) - 1 and t_upper[i + 1] <= t_lower[j + 1]):
            triangles.append((upper[i + 1], upper[i], lower[j]))
            i += 1
        else:
            triangles.append((lower[j], lower[j + 1], upper[i]))
            j += 1
    return whole(np.array(triangles))


def whole(triangles: np.ndarray) -> np.ndarray:
    """Those with three different corners."""
    a, b, c = triangles.T
    return triangles[(a != b) & (b != c) & (c != a)]
