"""Which points of a posed face the camera sees: not turned away, nor behind the face itself.

A point is hidden where a triangle that looks at the camera lies before it by more than a tolerance:
for some points that is computed exactly, for all of a mesh's vertices by a z-buffer. What neither
finds is the far side of a mesh that is open behind: there normals point away from the camera.
Hair, hands, and the head beyond the mesh's rim, are no part of the mesh and hide nothing.
`python benchmarks/visibility.py` compares both with the depth buffers of drawn heads.
"""

from __future__ import annotations

import numpy as np

from synergynet.drawing.rasterize import rasterize_depth
from synergynet.drawing.surface import front_triangles
from synergynet.meshes.normals import vertex_normals

# A surface nearer by less than this, relative to the face's size (5 mm), is the point's own:
# landmarks lie up to 3 mm beneath the open model's, and slopes are steep beside silhouettes.
HIDDEN_BEHIND = 0.025
# Cosine between normal and direction to the camera; of a coarse mesh and on its rim normals are off
# by much.
TURNED_AWAY = -0.35
BUFFER_PX = 192  # side of the z-buffer, whatever the face's size in the photo


def visible_points(
    verts: np.ndarray,
    triangles: np.ndarray,
    rows: np.ndarray,
    surface: np.ndarray,
    around: np.ndarray,
) -> np.ndarray:
    """Whether the camera sees some vertices of one face, (K,) bool.

    Args:
        verts: (3, V) crop or photo px, y down, z towards the camera. Not modified.
        triangles: (T, 3), counter-clockwise from outside.
        rows: (K,) of the vertices.
        surface: (K,) vertices whose normals count for them, see `MorphableModel.on_surface`.
        around: (M, 3) at least all triangles about those.
    """
    hidden = _lie_behind(verts[:, rows], verts, triangles)
    return (_facing(verts, around)[surface] > TURNED_AWAY) & ~hidden


def visible_vertices(
    verts: np.ndarray, triangles: np.ndarray, surface: np.ndarray | None = None
) -> np.ndarray:
    """Whether the camera sees the vertices of one face, (V,) bool.

    Args:
        verts, triangles: as for `visible_points`.
        surface: (V,) vertices whose normals count; None takes each vertex's own, and one without a
            triangle is not turned away.
    """
    scale = (BUFFER_PX - 2) / _size(verts)  # one pixel of margin
    low, high = verts.min(axis=1), verts.max(axis=1)
    origin = np.array([low[0], low[1], (low[2] + high[2]) / 2])
    placed = (verts.T - origin) * scale + (1, 1, 0)  # (V, 3) px of the buffer
    depth = rasterize_depth(placed, front_triangles(verts, triangles), BUFFER_PX, BUFFER_PX)
    columns, rows = placed[:, :2].T.astype(int)
    is_behind = placed[:, 2] < depth[rows, columns] - HIDDEN_BEHIND * BUFFER_PX
    facing = _facing(verts, triangles)
    facing = facing if surface is None else facing[surface]
    return (facing > TURNED_AWAY) & ~is_behind


def _lie_behind(points: np.ndarray, verts: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Whether points (3, K) lie behind a triangle that looks at the camera, (K,) bool."""
    tolerance = verts.dtype.type(HIDDEN_BEHIND * _size(verts))
    a, b, c = (verts.take(corner, axis=1) for corner in triangles.T)  # (3, T) each
    low, high = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
    x, y, z = points[:, :, None]  # (K, 1) each
    near = (x >= low[0]) & (x <= high[0]) & (y >= low[1]) & (y <= high[1])  # (K, T)
    near &= z + tolerance < high[2]
    point, triangle = np.divmod(np.flatnonzero(near), len(triangles))  # few pairs are left
    a, b, c = (corner[:, triangle] for corner in (a, b, c))
    (bx, by, bz), (cx, cy, cz), (px, py, pz) = b - a, c - a, points[:, point] - a
    area = by * cx - bx * cy  # twice, above 0 where the triangle looks at the camera
    second, third = py * cx - px * cy, by * px - bx * py  # weights of b and c, times that
    inside = (area > 0) & (second >= 0) & (third >= 0) & (second + third <= area)
    behind = inside & (second * bz + third * cz > (pz + tolerance) * area)
    hidden = np.zeros(points.shape[1], bool)
    hidden[point[behind]] = True
    return hidden


def _facing(verts: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Cosine (V,) between the vertices' normals and the direction to the camera."""
    return vertex_normals(verts.T * np.array([1, -1, 1], verts.dtype), triangles)[:, 2]  # y up


def _size(verts: np.ndarray) -> float:
    return max(float(np.ptp(verts, axis=1).max()), 1e-6)
