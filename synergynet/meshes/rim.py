"""Cut a mesh along a smooth curve through its triangles, a little inside its jagged border."""

from __future__ import annotations

import numpy as np

from synergynet.meshes.borders import whole
from synergynet.meshes.sums import Sums
from synergynet.meshes.topology import outer_border

AZIMUTHS = 360  # of the curve around the face, a degree apart
TOOTH = 9  # azimuths to either side over which the deepest notch counts
SOFT = 7.0  # azimuths, sigma of the smoothing
SNAP = 0.08  # of an edge: a cut so near to a vertex goes through it, so that no slivers are made


def rim_distance(mean: np.ndarray, triangles: np.ndarray, points: np.ndarray) -> np.ndarray:
    """How far inside a smooth rim points lie (N,): radians from the cone that cuts it, 0 on it.

    From a point in the middle of the outer border, that border is an angle from the face's axis at
    every azimuth; the cone is a smooth curve of them that stays inside the notches.

    Args:
        mean: (V, 3) mean face.
        triangles: (T, 3).
        points: (N, 3) on its surface.
    """
    border = mean[outer_border(triangles, len(mean))]
    middle = border.mean(axis=0)
    axis = mean[np.unique(triangles)].mean(axis=0) - middle
    axis /= np.linalg.norm(axis)
    side = np.eye(3)[np.abs(axis).argmin()]
    side = side - axis * (side @ axis)
    side /= np.linalg.norm(side)
    frame = np.stack([side, np.cross(axis, side), axis])  # (3, 3)

    def angles(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        u, v, w = frame @ (points - middle).T
        return np.arctan2(v, u), np.arctan2(np.hypot(u, v), w)

    azimuth, angle = angles(border)
    order = np.argsort(azimuth)
    grid = (np.arange(AZIMUTHS) + 0.5) / AZIMUTHS * 2 * np.pi - np.pi
    curve = np.interp(grid, azimuth[order], angle[order], period=2 * np.pi)
    window = np.arange(-TOOTH, TOOTH + 1)
    curve = curve[(np.arange(AZIMUTHS)[:, None] + window) % AZIMUTHS].min(axis=1)
    reach = np.arange(-int(4 * SOFT), int(4 * SOFT) + 1)
    bell = np.exp(-0.5 * (reach / SOFT) ** 2)
    curve = curve[(np.arange(AZIMUTHS)[:, None] + reach) % AZIMUTHS] @ (bell / bell.sum())
    azimuth, angle = angles(points)
    return np.interp(azimuth, grid, curve, period=2 * np.pi) - angle


def cut(triangles: np.ndarray, inside: np.ndarray) -> tuple[Sums, np.ndarray]:
    """Keep what of triangles has a positive value.

    Args:
        triangles: (T, 3).
        inside: (V,) values of the vertices; the cut is where they are 0.
    Returns:
        the new vertices on the cut as sums of the old; triangles (M, 3) of both.
    """
    inside = _snap(triangles, inside)
    kept = inside >= 0
    triangles = triangles[(inside[triangles] > 0).any(axis=1)]
    count = kept[triangles].sum(axis=1)
    one = _rolled(triangles[count == 1], kept)  # the corner that is kept comes first
    two = _rolled(triangles[count == 2], ~kept)  # the one that is not
    sides = [one[:, [0, 1]], one[:, [0, 2]], two[:, [0, 1]], two[:, [0, 2]]]
    ends = np.sort(np.concatenate(sides), axis=1)  # (E, 2) of edges that reach across the cut
    low, high = inside[ends].T
    is_crossed = low * high < 0
    edges, place = np.unique(ends[is_crossed], axis=0, return_inverse=True)
    at = np.where(low == 0, *ends.T)  # others end on the cut
    at[is_crossed] = len(inside) + place.reshape(-1)
    lengths = np.cumsum([len(side) for side in sides])[:-1]
    ab, ac, from_b, from_c = np.split(at, lengths)
    b, c = two[:, 1:].T
    pieces = ((one[:, 0], ab, ac), (b, c, from_c), (b, from_c, from_b))
    parts = whole(np.concatenate([np.column_stack(piece) for piece in pieces]))
    low, high = inside[edges].T
    weights = np.column_stack([high, -low]) / (high - low)[:, None]
    return Sums.of_columns(edges, weights), np.concatenate([triangles[count == 3], parts])


def _snap(triangles: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """0 for vertices to which a cut comes very near."""
    ends = triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    low, high = inside[ends].T
    crossing = low * high < 0
    ends, low, high = ends[crossing], low[crossing], high[crossing]
    share = low / (low - high)  # of the edge, from its first end
    snapped = inside.copy()
    snapped[ends[share < SNAP, 0]] = 0
    snapped[ends[share > 1 - SNAP, 1]] = 0
    return snapped


def _rolled(triangles: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """Triangles (T, 3) with their one marked corner first; marks are of vertices (V,)."""
    first = marked[triangles].argmax(axis=1)[:, None]
    return np.take_along_axis(triangles, (first + np.arange(3)) % 3, axis=1)
