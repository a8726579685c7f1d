"""Cuts the face out of a head as the Basel model is cut: ears, no neck, the eyes closed."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from synergynet.drawing.rasterize import rasterize
from utils.synthetic.building.anny_head import AnnyHead
from utils.synthetic.head import EYE_LEFT, EYE_RIGHT, MOUTH, SKIN


def head_triangles(source: AnnyHead) -> tuple[np.ndarray, np.ndarray]:
    """Triangles (T, 3) of the head and the part (T,) of each: skin that is seen from nowhere lines
    the mouth, the nose and the eye sockets, and counts as mouth."""
    triangles = source.triangles()
    part = source.component[triangles[:, 0]]
    seen = _seen_from_outside(source.adult, triangles)
    return triangles, np.where((part == SKIN) & ~seen, MOUTH, part)


def _seen_from_outside(verts: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(T,) whether a triangle's centre is seen from any of many directions around the head."""
    pixel = 300.0  # micrometres
    size = 1500  # 45 cm
    seen = np.zeros(len(triangles), bool)
    centres = verts[triangles].mean(1)
    middle = verts.mean(0)
    for yaw in np.radians(np.arange(0, 360, 20)):
        for pitch in np.radians((-60, -40, -20, 0, 20, 40, 60)):
            view = _view(yaw, pitch)

            def project(points: np.ndarray, view: np.ndarray = view) -> np.ndarray:
                return (points - middle) @ view.T / pixel * (1, -1, 1) + (size / 2, size / 2, 0)

            _, depth = rasterize(project(verts), triangles, np.zeros_like(verts), size, size)
            x, y, z = project(centres).T
            seen |= z > depth[y.astype(int), x.astype(int)] - 2.0
    return seen


def _view(yaw: float, pitch: float) -> np.ndarray:
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    c, s = np.cos(pitch), np.sin(pitch)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ turn


def cut_face(
    adult: np.ndarray,
    triangles: np.ndarray,
    part: np.ndarray,
    landmarks: list[list[tuple[int, float]]],
) -> tuple[csr_matrix, np.ndarray]:
    """Cut the face out of the head as the Basel model is cut, eyes closed, landmarks appended.

    Returns:
        embedding (V, N): face vertices as weighted head vertices; triangles (T, 3) of the face.
    """
    _, y, z = adult.T
    inside = (z > -17_000) & (y < 92_000) & (y < 45_000 + 0.6 * z)  # ears, hairline, temples
    inside &= y > -105_000 + 0.42 * (110_000 - z)  # jaw
    face = triangles[(part == SKIN) & inside[triangles].all(1)]
    face = face[_largest_component(face, len(adult))]
    face = np.concatenate([face, *_close_eyes(adult, face, triangles, part)])
    used = np.unique(face)
    row = np.full(len(adult), -1)
    row[used] = np.arange(len(used))
    points = [[(int(vertex), 1.0)] for vertex in used] + landmarks
    entries = [(i, vertex, w) for i, point in enumerate(points) for vertex, w in point]
    i, j, weights = (np.array(column) for column in zip(*entries, strict=True))
    return csr_matrix((weights, (i, j)), (len(points), len(adult))), row[face]


def _largest_component(triangles: np.ndarray, n_vertices: int) -> np.ndarray:
    """(T,) mask of the triangles in the component with the most vertices."""
    ends = triangles[:, [0, 1, 2]].ravel(), triangles[:, [1, 2, 0]].ravel()
    graph = csr_matrix((np.ones(len(ends[0])), ends), (n_vertices, n_vertices))
    _, label = connected_components(graph, directed=False)
    return label[triangles[:, 0]] == np.bincount(label[np.unique(triangles)]).argmax()


def _close_eyes(
    verts: np.ndarray, face: np.ndarray, triangles: np.ndarray, part: np.ndarray
) -> list[np.ndarray]:
    """Fans from the front of each eyeball to the edge of its lids."""
    edges = np.concatenate([face[:, [0, 1]], face[:, [1, 2]], face[:, [2, 0]]])
    known = set(map(tuple, edges))
    border = np.array([edge for edge in edges if (edge[1], edge[0]) not in known])
    fans = []
    for eye in (EYE_LEFT, EYE_RIGHT):
        eyeball = np.unique(triangles[part == eye])
        pole = eyeball[verts[eyeball, 2].argmax()]
        near = np.linalg.norm(verts[border[:, 0]] - verts[pole], axis=1) < 25_000
        lid = border[near]
        fans.append(np.stack([lid[:, 1], lid[:, 0], np.full(len(lid), pole)], 1))
    return fans
