"""A dense, smooth surface of a coarse face model: more vertices, a smooth rim, closed eyes and lips.

    dense = build_dense(mean, triangles, landmark_vertices)
    dense.apply(verts)  # (..., V) of any posed face -> (..., W); the first V are as they were

It is derived from mean face and triangles alone. The new vertices are weighted sums of the model's.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from synergynet.meshes import openings
from synergynet.meshes.rim import cut, rim_distance
from synergynet.meshes.subdivision import subdivide
from synergynet.meshes.sums import Sums

FINE_ENOUGH = 8_000  # models with so many vertices are not refined
SKIN, EYES, MOUTH = range(3)  # parts


@dataclasses.dataclass(frozen=True, eq=False)
class DenseSurface:
    """Triangles of W vertices that follow the V of a face model.

    Attributes:
        stages: each adds vertices that are sums of those before.
        triangles: (T, 3) int64, counter-clockwise from outside.
        part: (T,) SKIN, EYES or MOUTH.
        coarse: (M, 3) fewer triangles of the same vertices, for faces of few pixels.
        n_vertices: W.
    """

    stages: tuple[Sums, ...]
    triangles: np.ndarray
    part: np.ndarray
    coarse: np.ndarray
    n_vertices: int

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Values (..., W) of all vertices from those of the model's, (..., V): places or others."""
        for stage in self.stages:
            values = np.concatenate([values, stage.apply(values)], axis=-1)
        return values


def build_dense(
    mean: np.ndarray,
    triangles: np.ndarray,
    landmark_vertices: np.ndarray,
    *,
    with_parts: bool = False,
) -> DenseSurface:
    """The dense surface of a face model.

    Args:
        mean: (V, 3) mean face, y up.
        triangles: (T, 3).
        landmark_vertices: (68,).
        with_parts: eyeballs and an inner mouth take the place of closed eyes and lips.
    """
    if len(mean) >= FINE_ENOUGH:
        part = np.full(len(triangles), SKIN)
        return DenseSurface((), triangles, part, triangles, len(mean))
    grower = _Grower(np.asarray(mean, np.float64))
    hubs = np.flatnonzero(np.bincount(triangles.ravel(), minlength=len(mean)) >= openings.HUB)
    skin = triangles[~np.isin(triangles, hubs).any(axis=1)]
    mouth = mean[landmark_vertices[60:68]].mean(axis=0)
    width = np.linalg.norm(np.subtract(*mean[landmark_vertices[list(openings.MOUTH_CORNERS)]]))
    near_mouth = np.linalg.norm(mean - mouth, axis=1) < width
    skin = openings.without_crumbs(skin, len(mean), near_mouth)
    sums, fine = subdivide(skin, len(mean))
    grower.add(sums)
    inside = rim_distance(grower.points, fine)
    sums, fine = cut(fine, inside)
    grower.add(sums)
    pieces = [(SKIN, fine)]
    for loop in openings.border_loops(fine, len(grower.points)):
        hub = [h for h in hubs if np.isin(triangles[(triangles == h).any(axis=1)], loop).any()]
        if hub and with_parts:
            to_hub = mean[landmark_vertices[list(openings.EYE_CORNERS)]].mean(1) - mean[hub[0]]
            eye = openings.EYE_CORNERS[np.linalg.norm(to_hub, axis=1).argmin()]
            corners = landmark_vertices[list(eye)]
            filling = grower.fill(openings.eyeball, np.append(loop, hub), corners, landmark_vertices)
        elif hub:
            filling = grower.fill(openings.dome, loop, hub[0], landmark_vertices)
        elif np.linalg.norm(grower.points[loop].mean(axis=0) - mouth) < width / 2:
            fill = openings.inner_mouth if with_parts else openings.lips
            filling = grower.fill(fill, loop, landmark_vertices)
        else:
            continue
        pieces.append((EYES if hub else MOUTH, filling))
    seen = (inside[: len(mean)] > 0)[triangles].all(axis=1)
    coarse = [triangles[seen], *(piece for part, piece in pieces if part == MOUTH)]
    return DenseSurface(
        tuple(grower.stages),
        np.concatenate([piece for _, piece in pieces]),
        np.concatenate([np.full(len(piece), part) for part, piece in pieces]),
        np.concatenate(coarse),
        len(grower.points),
    )


class _Grower:
    """The mean face as it grows, stage by stage."""

    def __init__(self, points: np.ndarray) -> None:
        self.points = points
        self.stages: list[Sums] = []

    def add(self, sums: Sums) -> None:
        self.stages.append(sums)
        self.points = np.concatenate([self.points, sums.apply(self.points.T).T])

    def fill(self, make, *args: np.ndarray) -> np.ndarray:
        sums, triangles = make(self.points, *args, len(self.points))
        self.add(sums)
        return triangles
