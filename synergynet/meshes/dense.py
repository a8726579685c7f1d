"""A dense, smooth surface of a coarse face model: a smooth rim, closed eyes and lips.

    dense = build_dense(mean, triangles, landmark_vertices)
    dense.apply(verts)  # (..., V) of any posed face -> (..., W); the first V are as they were

It is derived from mean face and triangles alone. The new vertices are weighted sums of the model's.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import numpy as np

from synergynet.meshes.borders import border_loops, on_border, without_crumbs
from synergynet.meshes.normals import vertex_normals
from synergynet.meshes.openings import Filling, MeanFace, dome, eyeball, inner_mouth, lips
from synergynet.meshes.rim import cut, rim_distance
from synergynet.meshes.subdivision import split, subdivide
from synergynet.meshes.sums import Sums
from synergynet.meshes.topology import outer_border

FINE_ENOUGH = 8_000  # models with so many vertices are not refined
_FLIP_Y = np.array([[1], [-1], [1]], np.float32)
SKIN, EYES, MOUTH = range(3)  # parts
HUB = 20  # triangles about one vertex: it closes an eye
BEND = 0.0021  # of the face's height: edges whose middle lies so far beside them are halved first
# In a photo faces of this height show all triangles; below the lower one the model's own will do.
MANY_PX, FEW_PX = 800, 340


class Drawn(NamedTuple):
    """What is drawn of a face.

    Attributes:
        verts: (3, N).
        triangles: (T, 3).
        normals: (N, 3) unit vectors, y up; None for those that the triangles give.
    """

    verts: np.ndarray
    triangles: np.ndarray
    normals: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class DenseSurface:
    """Triangles of W vertices that follow the V of a face model.

    Attributes:
        stages: each adds vertices that are sums of those before; `fewer` needs all but the last.
        triangles: (T, 3) int64, counter-clockwise from outside.
        part: (T,) SKIN, EYES or MOUTH.
        fewer: (M, 3) triangles of the same vertices and outlines, where the surface bends most.
        fewest: (L, 3) triangles of the model's own vertices, some of them beyond the rim.
        light: (W,) float32, 0 to 1: how light the vertices are, which the depth of a mouth is not.
        rim: (R,) vertices of the edge where the face was cut out of its head.
        beyond: (B,) the model's vertices outside the rim.
        n_vertices: W.
    """

    stages: tuple[Sums, ...]
    triangles: np.ndarray
    part: np.ndarray
    fewer: np.ndarray
    fewest: np.ndarray
    light: np.ndarray
    rim: np.ndarray
    beyond: np.ndarray
    n_vertices: int

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Values (..., W) of all vertices from those of the model's, (..., V): places or others."""
        return _extend(values, self.stages)

    def vertices_of(self, part: int) -> np.ndarray:
        """The vertices (N,) that are of one part only."""
        is_part = self.part == part
        return np.setdiff1d(self.triangles[is_part], self.triangles[~is_part])

    def for_drawing(self, verts_photo: np.ndarray) -> Drawn:
        """As much of the surface as a face (3, V) shows in its photo, px, y down."""
        height_px = float(np.ptp(verts_photo[1]))
        if height_px < FEW_PX or not self.stages:
            return Drawn(verts_photo, self.fewest)
        is_whole = height_px >= MANY_PX
        stages = self.stages if is_whole else self.stages[:-1]
        verts, normals = self._extend_with_normals(verts_photo * _FLIP_Y, stages)
        return Drawn(verts * _FLIP_Y, self.triangles if is_whole else self.fewer, normals)

    def with_normals(self, verts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All vertices (W, 3) of a face (V, 3), y up, and their unit normals (W, 3)."""
        if not self.stages:
            return verts, vertex_normals(verts, self.triangles)
        extended, normals = self._extend_with_normals(verts.T, self.stages)
        return extended.T, normals

    def _extend_with_normals(
        self, verts: np.ndarray, stages: tuple[Sums, ...]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Vertices (3, N) and unit normals (N, 3) of a face (3, V), y up.

        The normals of the model's own triangles are carried on as places are: triangles of mixed
        sizes would show. Where openings are filled they are the filling's own.
        """
        own = vertex_normals(verts.T, self.fewest).T
        values = _extend(np.concatenate([verts, own.astype(verts.dtype)]), stages)  # (6, N)
        verts, normals = values[:3], values[3:].T
        filling, filled, is_inner = self._filling
        normals[filled[is_inner]] = vertex_normals(verts.T[filled], filling)[is_inner]
        length = np.sqrt(np.einsum("ij,ij->i", normals, normals))[:, None]
        return verts, np.asarray(normals / np.maximum(length, np.finfo(np.float32).tiny))

    @functools.cached_property
    def _filling(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Triangles (K, 3) that fill openings, as rows of their vertices (F,), and which of those
        no other triangle has, (F,) bool."""
        is_filling = self.part != SKIN
        filled, rows = np.unique(self.triangles[is_filling], return_inverse=True)
        is_inner = ~np.isin(filled, self.triangles[~is_filling])
        return rows.reshape(-1, 3), filled, is_inner


def _extend(values: np.ndarray, stages: tuple[Sums, ...]) -> np.ndarray:
    for stage in stages:
        values = np.concatenate([values, stage.apply(values)], axis=-1)
    return values


def build_dense(
    mean: np.ndarray,
    triangles: np.ndarray,
    landmark_vertices: np.ndarray,
    *,
    with_parts: bool = False,
) -> DenseSurface:
    """The dense surface of a face model; its own triangles where they are fine or no surface.

    Args:
        mean: (V, 3) mean face, y up.
        triangles: (T, 3).
        landmark_vertices: (68,).
        with_parts: eyeballs and an inner mouth take the place of closed eyes and lips.
    """
    count = len(mean)
    if count >= FINE_ENOUGH or not _is_surface(triangles, count):
        part, rim = np.full(len(triangles), SKIN), outer_border(triangles, count)
        light = np.ones(count, np.float32)
        none = np.empty(0, np.int64)
        return DenseSurface((), triangles, part, triangles, triangles, light, rim, none, count)
    growing = _Growing(np.asarray(mean, np.float64), landmark_vertices)
    face = growing.face
    hubs = np.flatnonzero(np.bincount(triangles.ravel(), minlength=count) >= HUB)
    fans = {int(hub): triangles[(triangles == hub).any(axis=1)] for hub in hubs}
    skin = triangles[~np.isin(triangles, hubs).any(axis=1)]
    near = face.from_mouth(face.points) < 1
    simple = without_crumbs(skin, count, near)
    for hub in fans:
        near |= np.linalg.norm(face.points - face.points[hub], axis=1) < face.mouth_width / 2
    skin = without_crumbs(simple, count, near)

    sums, middles = subdivide(skin, count)
    growing.add(sums)
    inside = rim_distance(face.points, skin, growing.points)
    bends = _bends(growing.points, skin, middles, inside)
    sums, fine = cut(split(skin, middles, np.ones_like(bends)), inside)
    growing.add(sums)
    _, fewer = cut(split(skin, middles, bends), inside)

    pieces = [(SKIN, fine)]
    loops = border_loops(fine, len(growing.points))
    for loop in loops:
        inside_it = [hub for hub, fan in fans.items() if np.isin(fan, loop).any()]
        if inside_it:
            fill_eye = eyeball if with_parts else dome
            pieces.append((EYES, growing.fill(fill_eye(growing.face, loop, inside_it[0]))))
        elif face.from_mouth(growing.points[loop].mean(axis=0)) < 0.5:
            fill_mouth = inner_mouth if with_parts else lips
            pieces.append((MOUTH, growing.fill(fill_mouth(growing.face, loop))))
    fewest = [simple, *fans.values()]
    for loop in border_loops(simple, count):
        if face.from_mouth(face.points[loop].mean(axis=0)) < 0.5:
            fewest.append(lips(face, loop, ())[1])
    needed = np.zeros(len(growing.stages[0]), bool)
    needed[middles[bends] - count] = True
    order = growing.put_last(count + np.flatnonzero(~needed))
    parts = np.concatenate([np.full(len(piece), part) for part, piece in pieces])
    dense = order[np.concatenate([piece for _, piece in pieces])]
    by_height = _by_height(growing.points, dense)
    light = np.ones(len(growing.points), np.float32)
    if with_parts:
        inner = np.setdiff1d(dense[parts == MOUTH], dense[parts != MOUTH])
        light[inner] = face.mouth_light(growing.points[inner])
    fewer = order[np.concatenate([fewer, *(piece for _, piece in pieces[1:])])]
    return DenseSurface(
        stages=tuple(growing.stages),
        triangles=dense[by_height],
        part=parts[by_height],
        fewer=fewer[_by_height(growing.points, fewer)],
        fewest=np.concatenate(fewest),
        light=light,
        rim=order[max(loops, key=len)],
        beyond=np.setdiff1d(np.flatnonzero(inside[:count] < 0), fine),
        n_vertices=len(growing.points),
    )


class _Growing:
    """The mean face as it grows, stage by stage."""

    def __init__(self, points: np.ndarray, landmarks: np.ndarray) -> None:
        self.points = points
        self.stages: list[Sums] = []
        self._landmarks = landmarks
        self._count = len(points)

    @property
    def face(self) -> MeanFace:
        return MeanFace(self.points, self._landmarks)

    def add(self, sums: Sums) -> None:
        self.stages.append(sums)
        self.points = np.concatenate([self.points, sums.apply(self.points.T).T])

    def fill(self, filling: Filling) -> np.ndarray:
        """Add the vertices of a filling; its triangles."""
        self.add(filling[0])
        return filling[1]

    def put_last(self, vertices: np.ndarray) -> np.ndarray:
        """Make some of the first stage's vertices, of which no other is made, the last stage.

        Returns:
            (W,) the new numbers of the vertices.
        """
        order = np.append(np.delete(np.arange(len(self.points)), vertices), vertices)
        numbers = np.argsort(order)
        self.points = self.points[order]
        first, *others = self.stages
        is_last = np.zeros(len(first), bool)
        is_last[vertices - self._count] = True
        self.stages = [first.chosen(~is_last), *(stage.renumbered(numbers) for stage in others)]
        self.stages.append(first.chosen(is_last))
        return numbers


def _is_surface(triangles: np.ndarray, n_vertices: int) -> bool:
    """Whether no edge runs twice in one direction, and there is a border."""
    sides = triangles * n_vertices + np.roll(triangles, -1, axis=1)
    is_once = bool(np.diff(np.sort(sides, axis=None)).all())
    return is_once and bool(on_border(triangles, n_vertices).any())


def _by_height(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Order (T,) from top to bottom: what is drawn one after the other lies near in the picture."""
    return np.argsort(-points[triangles, 1].mean(axis=1), kind="stable")


def _bends(
    points: np.ndarray, triangles: np.ndarray, middles: np.ndarray, inside: np.ndarray
) -> np.ndarray:
    """(T, 3) bool: sides that bend away from a straight line, or lie on a border or at the rim."""
    ends = points[triangles]
    straight = (ends + np.roll(ends, -1, axis=1)) / 2
    bends = np.linalg.norm(points[middles] - straight, axis=2) > BEND * np.ptp(points[:, 1])
    is_cut = (inside[np.concatenate([triangles, middles], axis=1)] < 0).any(axis=1)
    needed = np.bincount(middles.ravel()) == 1  # on borders
    needed[middles[is_cut]] = True
    return bends | needed[middles]
