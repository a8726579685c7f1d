"""Finer triangles on a smooth surface through the vertices of a mesh: each edge gets a middle.

Source: Zorin, Schroeder, Sweldens, "Interpolating Subdivision for Meshes with Arbitrary Topology",
SIGGRAPH 1996 (the modified butterfly), for vertices; the four-point rule for borders.
"""

from __future__ import annotations

import numpy as np

from synergynet.meshes.sums import Sums

BORDER_NEAR, BORDER_FAR = 9 / 16, -1 / 16  # of the four-point rule, Dyn, Gregory and Levin 1987


def subdivide(triangles: np.ndarray, n_vertices: int) -> tuple[Sums, np.ndarray]:
    """Middles of the edges, on a smooth surface through the vertices.

    Args:
        triangles: (T, 3), each edge in two of them at most, once in either direction.
        n_vertices: V.
    Returns:
        the new vertices, one of each edge, as sums of the old; and which of them, counted from V
        on, halves each side of the triangles, from each corner to the next, (T, 3).
    """
    halves = HalfEdges(triangles, n_vertices)
    first = np.flatnonzero((halves.twin < 0) | (np.arange(len(halves.twin)) < halves.twin))
    edge = np.empty(len(halves.twin), np.int64)  # which edge each half belongs to
    edge[first] = np.arange(len(first))
    paired = first[halves.twin[first] >= 0]
    edge[halves.twin[paired]] = edge[paired]
    return _middles(halves, first), n_vertices + edge.reshape(3, -1).T


# The corners of a triangle are 0 1 2, the middles of the sides from each to the next 3 4 5.
_PIECES = (  # by how many sides are halved: none, the first, all but the first, all
    ((0, 1, 2),),
    ((0, 3, 2), (3, 1, 2)),
    ((0, 4, 5), (0, 1, 4), (5, 4, 2)),
    ((0, 3, 5), (1, 4, 3), (2, 5, 4), (3, 4, 5)),
)


def split(triangles: np.ndarray, middles: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Triangles (M, 3) with some of their sides halved, without gaps between them.

    Args:
        triangles: (T, 3).
        middles: (T, 3) vertices in the middle of the sides, as from `subdivide`.
        wanted: (T, 3) bool, which sides; the same for both triangles of an edge.
    """
    count = wanted.sum(axis=1)
    odd = np.where(count == 1, wanted.argmax(axis=1), (~wanted).argmax(axis=1))
    odd[(count == 0) | (count == 3)] = 0
    turned = (odd[:, None] + np.arange(3)) % 3
    corners = [np.take_along_axis(table, turned, axis=1) for table in (triangles, middles)]
    table = np.concatenate(corners, axis=1)  # (T, 6)
    return np.concatenate(
        [table[count == n][:, pieces].reshape(-1, 3) for n, pieces in enumerate(_PIECES)]
    )


class HalfEdges:
    """The sides of the triangles (T, 3), each from its start to its end around the triangle.

    Half h is side `h // T` of triangle `h % T`, from that corner to the next.

    Attributes:
        start, end: (3T,) vertices.
        twin: (3T,) the half that runs the other way, -1 on a border.
        on_border: (V,) bool of the vertices.
    """

    def __init__(self, triangles: np.ndarray, n_vertices: int) -> None:
        self.start = triangles.T.ravel()
        self.end = np.roll(triangles, -1, axis=1).T.ravel()
        keys = self.start * n_vertices + self.end
        order = np.argsort(keys)
        place = np.searchsorted(keys[order], self.end * n_vertices + self.start)
        found = order[np.minimum(place, len(order) - 1)]
        has_twin = (self.start[found] == self.end) & (self.end[found] == self.start)
        self.twin = np.where(has_twin, found, -1)
        self.on_border = np.zeros(n_vertices, bool)
        self.on_border[self.start[~has_twin]] = self.on_border[self.end[~has_twin]] = True
        self.valence = np.bincount(self.start, minlength=n_vertices)  # inside
        self._count = len(triangles)

    def turn(self, halves: np.ndarray) -> np.ndarray:
        """The next half about the same start, where that is inside."""
        before = (halves - self._count) % len(self.start)  # its end is the start of `halves`
        return self.twin[before]


def _middles(halves: HalfEdges, first: np.ndarray) -> Sums:
    """One sum for each edge, given by one of its halves `first` (E,)."""
    number = np.arange(len(first))
    start, end, twin = halves.start[first], halves.end[first], halves.twin[first]
    inside = [~halves.on_border[start], ~halves.on_border[end]]
    entries = []
    share = 1 / np.maximum(inside[0] + inside[1].astype(int), 1)  # the mean of both ends' rules
    for has_rule, half in zip(inside, (first, twin), strict=True):
        entries += _about_start(halves, half[has_rule], number[has_rule], share[has_rule])
    bare = ~inside[0] & ~inside[1]
    border = bare & (twin < 0)
    across = bare & (twin >= 0)  # from border to border through the inside
    entries += [(number[across], v[across], np.full(across.sum(), 0.5)) for v in (start, end)]
    entries += _along_border(halves, first[border], number[border])
    return Sums.of_triplets(*(np.concatenate(column) for column in zip(*entries, strict=True)))


Entry = tuple[np.ndarray, np.ndarray, np.ndarray]  # sum, source, weight


def _about_start(
    halves: HalfEdges, half: np.ndarray, number: np.ndarray, share: np.ndarray
) -> list[Entry]:
    """The modified butterfly about the starts of half edges: of the start and its neighbours."""
    valence = halves.valence[halves.start[half]]
    entries = [(number, halves.start[half], 0.75 * share)]
    for step in range(valence.max(initial=0)):
        on = valence > step
        half, number, share, valence = half[on], number[on], share[on], valence[on]
        entries.append((number, halves.end[half], share * _ring_weight(valence, step)))
        half = halves.turn(half)
    return entries


def _ring_weight(valence: np.ndarray, step: int) -> np.ndarray:
    """Zorin's weights of the neighbours; the one across the edge is number 0."""
    angle = 2 * np.pi * step / valence
    many = (0.25 + np.cos(angle) + 0.5 * np.cos(2 * angle)) / valence
    three = 5 / 12 if step == 0 else -1 / 12
    four = (3 / 8, 0, -1 / 8, 0)[min(step, 3)]
    return np.select([valence == 3, valence == 4], [three, four], many)


def _along_border(halves: HalfEdges, half: np.ndarray, number: np.ndarray) -> list[Entry]:
    """The four-point rule along the border, the mean of both ends where that branches."""
    border = np.flatnonzero(halves.twin < 0)
    uses = np.bincount(halves.start[border], minlength=len(halves.on_border))
    after, before = (np.full(len(uses), -1) for _ in range(2))
    after[halves.start[border]] = halves.end[border]
    before[halves.end[border]] = halves.start[border]
    start, end = halves.start[half], halves.end[half]
    simple = (uses[start] == 1) & (uses[end] == 1)
    near = np.where(simple, BORDER_NEAR, 0.5)
    far = np.where(simple, BORDER_FAR, 0.0)
    ends = [(number, vertex, near) for vertex in (start, end)]
    return ends + [(number, vertex, far) for vertex in (before[start], after[end])]
