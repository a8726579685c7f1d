"""Which vertices of a posed face the camera sees: not turned away, nor behind the face itself.

The triangles that look at the camera are drawn into a small z-buffer. A vertex is hidden where that
holds a surface nearer by more than a tolerance, or where its normal points away from the camera.
Hair, hands, and the head beyond the mesh's rim, are no part of the mesh and hide nothing.
`python benchmarks/visibility.py` compares it with the depth buffers of drawn heads.
"""

from __future__ import annotations

import numpy as np

from synergynet.drawing.rasterize import rasterize_depth
from synergynet.meshes.normals import vertex_normals

BUFFER_PX = 192  # side of the z-buffer, whatever the face's size in the photo
# A surface nearer by less than this, relative to the face's size (5 mm), is the vertex's own: a
# pixel of the buffer is 1 mm wide, and slopes are steep beside silhouettes.
HIDDEN_BEHIND = 0.025
# Cosine between normal and direction to the camera. The z-buffer decides but for what nothing
# covers: the far side of an open mesh. Normals on its rim and of a coarse mesh are off by much.
TURNED_AWAY = -0.35


def visible_vertices(
    verts: np.ndarray, triangles: np.ndarray, surface: np.ndarray | None = None
) -> np.ndarray:
    """Whether the camera sees the vertices of one face, (V,) bool.

    Args:
        verts: (3, V) crop or photo px, y down, z towards the camera. Not modified.
        triangles: (T, 3), counter-clockwise from outside.
        surface: (V,) vertices whose normals count, as of `MorphableModel.surface_vertices`; None
            takes each vertex's own, and one without a triangle is not turned away.
    """
    low, high = verts.min(axis=1), verts.max(axis=1)
    scale = (BUFFER_PX - 2) / max(float((high - low).max()), 1e-6)  # one pixel of margin
    origin = np.array([low[0], low[1], (low[2] + high[2]) / 2])
    placed = (verts.T - origin) * scale + (1, 1, 0)  # (V, 3) px of the buffer
    a, b, c = (placed[:, :2].T.take(corner, axis=1) for corner in triangles.T)  # (2, T) each
    (bx, by), (cx, cy) = b - a, c - a
    depth = rasterize_depth(placed, triangles[bx * cy < by * cx], BUFFER_PX, BUFFER_PX)
    columns, rows = placed[:, :2].T.astype(int)
    is_behind = placed[:, 2] < depth[rows, columns] - HIDDEN_BEHIND * BUFFER_PX
    normals = vertex_normals(placed * (1, -1, 1), triangles)  # y up
    facing = normals[:, 2] if surface is None else normals[surface, 2]
    return (facing > TURNED_AWAY) & ~is_behind
