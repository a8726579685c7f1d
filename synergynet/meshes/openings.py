"""What fills the openings of a face: closed eyes and lips, or eyeballs and an inner mouth.

Every point is a weighted sum of points of the face, so that it follows shape, expression and pose.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from synergynet.meshes.borders import fan, sew, strip, whole
from synergynet.meshes.sums import Sums

DOME_RINGS = (0.12, 0.4, 0.7)  # of vertices, from the lids to the middle of the dome
LID_TAPS = 4  # vertices to either side over which the lids are smoothed for them
SPOKES, RINGS = 24, 12  # of an eyeball: around its axis, and from front to back
EYEBALL_INSIDE = 0.97  # of the radius to the lids, so that they lie over it
GROOVE = 0.1  # depth of the groove between the lips, in widths of the mouth
LIP_ROWS = (0.2, 0.5, 0.8)  # of its vertices, from one lip to the other
# of the inner mouth's rings: depth, half height and half width in widths of the mouth, and how
# little they follow the lips
MOUTH_RINGS = ((0.1, 0.35, 0.5, 0.3), (0.35, 0.4, 0.48, 0.5), (0.7, 0.25, 0.3, 1.0))
MOUTH_DARKEST, MOUTH_DARK_AT = 0.15, 0.4  # of its colours, at this depth in widths of the mouth

# of the 68 landmarks
EYE_CORNERS = ((36, 39), (42, 45))
MOUTH_CORNERS = (60, 64)
INNER_LIPS = slice(60, 68)
STEADY = (0, 1, 15, 16, *range(27, 36), 36, 39, 42, 45)  # expressions hardly move them

Filling = tuple[Sums, np.ndarray]  # new vertices, numbered from V on; triangles of them and others


@dataclasses.dataclass(frozen=True, eq=False)
class MeanFace:
    """A mean face whose openings are to be filled.

    Attributes:
        points: (V, 3), y up.
        landmarks: (68,) vertices.
    """

    points: np.ndarray
    landmarks: np.ndarray

    def eye_corners(self, hub: int) -> np.ndarray:
        """The vertices (2,) at the corners of the eye on whose front a vertex is."""
        corners = self.landmarks[np.array(EYE_CORNERS)]  # (2, 2)
        away = self.points[corners].mean(axis=1) - self.points[hub]
        return np.asarray(corners[np.linalg.norm(away, axis=1).argmin()])

    @property
    def mouth_corners(self) -> np.ndarray:
        """The vertices (2,) at the corners of the mouth."""
        return self.landmarks[list(MOUTH_CORNERS)]

    @property
    def mouth_width(self) -> float:
        """Between its corners."""
        return float(np.linalg.norm(np.subtract(*self.points[self.mouth_corners])))

    def from_mouth(self, points: np.ndarray) -> np.ndarray:
        """Distances (...) of points (..., 3) from the middle of the mouth, in its widths."""
        middle = self.points[self.landmarks[INNER_LIPS]].mean(axis=0)
        return np.asarray(np.linalg.norm(points - middle, axis=-1) / self.mouth_width)

    def mouth_light(self, points: np.ndarray) -> np.ndarray:
        """How light it is at points (N, 3) inside the mouth, 0 to 1."""
        lips = self.points[self.landmarks[INNER_LIPS], 2].mean()
        depth = (lips - points[:, 2]) / self.mouth_width
        return np.asarray(np.clip(1 - depth / MOUTH_DARK_AT, MOUTH_DARKEST, 1))

    def follow(self, sources: np.ndarray, weights: np.ndarray, places: np.ndarray) -> Sums:
        """Sums that are at the places on the mean face, and follow some vertices of others.

        What is between the place and those vertices turns, moves and scales with the head: it is a
        sum of the landmarks in STEADY with weights that add up to 0, the smallest ones.

        Args:
            sources, weights: (N, K) the vertices, and how much of each; a row adds up to 1.
            places: (N, 3).
        """
        steady = self.landmarks[list(STEADY)]
        anchors = self.points[steady]
        size = np.ptp(anchors, axis=0).max()
        known = np.column_stack([(anchors - anchors.mean(axis=0)) / size, np.ones(len(anchors))])
        offsets = places - np.einsum("nk,nkc->nc", weights, self.points[sources])
        wanted = np.column_stack([offsets / size, np.zeros(len(offsets))])
        return Sums.of_columns(
            np.column_stack([sources, np.tile(steady, (len(places), 1))]),
            np.column_stack([weights, wanted @ np.linalg.pinv(known)]),
        )


# ---------------------------------------------------------------- eyes


def dome(face: MeanFace, loop: np.ndarray, hub: int) -> Filling:
    """The front of an eyeball, joined to the lids.

    Args:
        face: with the opening.
        loop: (L,) vertices of the lids' border, along its triangles' sides.
        hub: a vertex on the front of the eye.
    """
    centre, radius = _ball(face.points[np.append(loop, hub)])
    corners = face.eye_corners(hub)
    near = (np.arange(len(loop))[:, None] + np.arange(-LID_TAPS, LID_TAPS + 1)) % len(loop)
    lids = face.points[loop[near]].mean(axis=1)  # without the folds of the inner corner
    count, first = len(loop), len(face.points)
    sources = np.column_stack([loop, np.tile(corners, (count, 1))])
    sums, rings = [], [loop]
    for number, t in enumerate((*DOME_RINGS, 1.0)):
        out = (1 - t) * lids + t * lids.mean(axis=0) - centre
        out *= radius / np.linalg.norm(out, axis=1, keepdims=True)
        weights = np.tile((1 - t, t / 2, t / 2), (count, 1))
        shown = slice(None) if t < 1 else slice(1)  # the last ring is a point
        sums.append(face.follow(sources[shown], weights[shown], centre + out[shown]))
        rings.append(first + number * count + np.arange(count))
    strips = [strip(outer, inner) for outer, inner in itertools.pairwise(rings[:-1])]
    return Sums.joined(sums), np.concatenate([*strips, fan(rings[-2], rings[-1][0])])


def eyeball(face: MeanFace, loop: np.ndarray, hub: int) -> Filling:
    """A ball behind the lids, which moves with the corners of the eye; arguments as for `dome`."""
    centre, radius = _ball(face.points[np.append(loop, hub)])
    polar = np.pi * np.arange(1, RINGS)[:, None] / RINGS
    around = 2 * np.pi * np.arange(SPOKES) / SPOKES
    x, y = np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around)
    ball = np.stack([x, y, np.cos(polar) + 0 * around], axis=2).reshape(-1, 3)
    ball = np.concatenate([ball, [(0, 0, 1), (0, 0, -1)]])  # front and back
    sources = np.tile(face.eye_corners(hub), (len(ball), 1))
    sums = face.follow(sources, np.full(sources.shape, 0.5), centre + radius * ball)
    front = len(face.points) + len(ball) - 2
    rings = np.arange(len(face.points), front).reshape(-1, SPOKES)
    strips = [strip(before, behind) for before, behind in itertools.pairwise(rings)]
    caps = fan(rings[0][::-1], front), fan(rings[-1], front + 1)
    return sums, np.concatenate([*strips, *caps])


def _ball(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Centre and radius of the eyeball behind points (N, 3) of lids and dome: least squares."""
    known = np.column_stack([2 * points, np.ones(len(points))])
    solved = np.linalg.lstsq(known, (points**2).sum(axis=1), rcond=None)[0]
    centre = solved[:3]
    return centre, EYEBALL_INSIDE * float(np.sqrt(solved[3] + centre @ centre))


# ---------------------------------------------------------------- mouth


def lips(face: MeanFace, loop: np.ndarray, rows: tuple[float, ...] = LIP_ROWS) -> Filling:
    """The surface between the lips: a shallow groove, which is shut where they meet.

    Args:
        face: with the opening.
        loop: (L,) vertices of the mouth's border, along its triangles' sides.
        rows: of new vertices, where from one lip to the other; none for a flat surface.
    """
    one, other = _two_lips(face, loop)
    t_one, t_other = (_shares(face.points[lip]) for lip in (one, other))
    inner = t_one[1:-1]
    right = np.clip(np.searchsorted(t_other, inner), 1, len(other) - 1)
    share = (inner - t_other[right - 1]) / (t_other[right] - t_other[right - 1])
    sources = np.column_stack([one[1:-1], other[right - 1], other[right]])
    deep = np.sin(np.pi * inner)[:, None] * (0, 0, -GROOVE * face.mouth_width)
    count, first = len(inner), len(face.points)
    sums, lines = [], [one]
    for number, t in enumerate(rows):
        weights = np.column_stack([np.full(count, 1 - t), t * (1 - share), t * share])
        across = np.einsum("nk,nkc->nc", weights, face.points[sources])
        sums.append(face.follow(sources, weights, across + np.sin(np.pi * t) * deep))
        lines.append(np.array([one[0], *(first + number * count + np.arange(count)), one[-1]]))
    strips = [sew(lines[-1], other, t_one, t_other)]
    for upper, lower in itertools.pairwise(lines):
        strips.append(np.column_stack([upper[1:], upper[:-1], lower[:-1]]))
        strips.append(np.column_stack([upper[1:], lower[:-1], lower[1:]]))
    return Sums.joined(sums), whole(np.concatenate(strips))


def inner_mouth(face: MeanFace, loop: np.ndarray) -> Filling:
    """A closed pocket behind the lips; arguments as for `lips`."""
    one, other = _two_lips(face, loop)
    border = np.concatenate([one[:-1], other[:0:-1]])
    points = face.points[border]
    along = np.subtract(*face.points[one[[-1, 0]]]) / np.linalg.norm(
        points[0] - points[len(one) - 1]
    )
    up = np.sign(face.points[one, 1].mean() - face.points[other, 1].mean())
    t_one, t_other = (np.pi * _shares(face.points[lip]) for lip in (one, other))
    angle = np.append(t_one[:-1], -t_other[:0:-1])[:, None]  # around the mouth from a corner
    width, middle = face.mouth_width, points.mean(axis=0)
    count, first = len(border), len(face.points)
    sources = np.column_stack([border, np.tile(face.mouth_corners, (count, 1))])
    sums, rings = [], [border]
    for number, (depth, high, wide, stiff) in enumerate(MOUTH_RINGS):
        ring = -wide * np.cos(angle) * along + up * high * np.sin(angle) * (0, 1, 0)
        ring = middle + width * (ring - np.array([0, 0, depth]))
        weights = np.tile((1 - stiff, stiff / 2, stiff / 2), (count, 1))
        sums.append(face.follow(sources, weights, (1 - stiff) * points + stiff * ring))
        rings.append(first + number * count + np.arange(count))
    end = middle - width * np.array([0, 0, MOUTH_RINGS[-1][0]])
    sums.append(face.follow(face.mouth_corners[None], np.full((1, 2), 0.5), end[None]))
    strips = [strip(outer, inner) for outer, inner in itertools.pairwise(rings)]
    cap = fan(rings[-1], first + len(MOUTH_RINGS) * count)
    return Sums.joined(sums), np.concatenate([*strips, cap])


def _two_lips(face: MeanFace, loop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The loop cut at the mouth's corners: a part along it, the other against it, (A,) and (B,)."""
    a, b = (
        np.linalg.norm(face.points[loop] - face.points[corner], axis=1).argmin()
        for corner in face.mouth_corners
    )
    rolled = np.roll(loop, -a)
    length = (b - a) % len(loop)
    return rolled[: length + 1], np.append(rolled[length:], rolled[0])[::-1]


def _shares(points: np.ndarray) -> np.ndarray:
    """How much of a line of points (N, 3) lies before each, 0 to 1."""
    length = np.cumsum(np.append(0, np.linalg.norm(np.diff(points, axis=0), axis=1)))
    return np.asarray(length / length[-1])
