"""Normals of meshes."""

from __future__ import annotations

import numpy as np


def vertex_normals(verts: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Unit normals (V, 3) float32 of vertices (V, 3), each the mean of its triangles' by area.

    They point outside where y is up; vertices without a triangle get (0, 0, 0).
    """
    a, b, c = (verts.T.take(corner, axis=1) for corner in triangles.T)  # (3, T) each
    (bx, by, bz), (cx, cy, cz) = b - a, c - a
    axes = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx  # (T,) each, cross product
    corners = triangles.T.reshape(-1)  # all first corners, all second, all third
    sums = [np.bincount(corners, np.tile(axis, 3), len(verts)) for axis in axes]
    normals = np.column_stack(sums).astype(np.float32)
    length = np.sqrt(np.einsum("ij,ij->i", normals, normals))[:, None]
    return normals / np.maximum(length, np.finfo(np.float32).tiny)
