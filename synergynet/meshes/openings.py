"""What fills the openings of a face: eyes as domes, lips that close, eyeballs, an inner mouth.

Every point is a weighted sum of points of the face, so that it follows shape, expression and pose.
"""

from __future__ import annotations

import numpy as np

from synergynet.meshes.sums import Sums

HUB = 20  # triangles about one vertex: it closes an eye
MOUTH_DARKEST, MOUTH_DARK_AT = 0.15, 0.4  # of its colours, at this depth in widths of the mouth
DOME_RINGS = (0.12, 0.4, 0.7)  # of vertices, from the lids to the middle of the dome
SPOKES, RINGS = 24, 12  # of an eyeball: around its axis, and from front to back
EYEBALL_INSIDE = 0.97  # of the radius to the lids, so that they lie over it
GROOVE = 0.1  # depth of the groove between the lips, in widths of the mouth
LIP_ROWS = (0.2, 0.5, 0.8)  # of its vertices, from one lip to the other
# of the inner mouth's rings: depth and half height in widths of the mouth, width in widths of it,
# and how little they follow the lips
MOUTH_RINGS = ((0.1, 0.35, 1.0, 0.3), (0.35, 0.4, 0.95, 0.5), (0.7, 0.25, 0.6, 1.0))

EYE_CORNERS = ((36, 39), (42, 45))  # of the 68 landmarks
MOUTH_CORNERS = (60, 64)
Filling = tuple[Sums, np.ndarray]  # new vertices, and triangles of them and the old

HEAD_ANCHORS = (0, 1, 15, 16, *range(27, 36), 36, 39, 42, 45)  # which expressions hardly move


def without_crumbs(triangles: np.ndarray, n_vertices: int, near: np.ndarray) -> np.ndarray:
    """The triangles but those that share no side with another, and battlements on borders.

    A model whose mouth and eyes were cut out triangle by triangle has both.

    Args:
        triangles: (T, 3).
        n_vertices: V.
        near: (V,) bool where battlements, of three triangles at most, are taken away.
    """
    triangles = triangles[~_on_border(triangles, n_vertices).all(axis=1)]
    for _ in range(3):
        sides = _on_border(triangles, n_vertices).sum(axis=1)
        triangles = triangles[(sides < 2) | ~near[triangles].all(axis=1)]
    return triangles


def border_loops(triangles: np.ndarray, n_vertices: int) -> list[np.ndarray]:
    """The closed borders of a mesh along its triangles' sides; those that touch are left out."""
    following = _following(triangles, n_vertices)
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


def _following(triangles: np.ndarray, n_vertices: int) -> dict[int, list[int]]:
    """The vertices that border sides lead to, by the one where they start."""
    starts, ends = triangles, np.roll(triangles, -1, axis=1)
    single = _on_border(triangles, n_vertices)
    following: dict[int, list[int]] = {}
    for start, end in zip(starts[single].tolist(), ends[single].tolist(), strict=True):
        following.setdefault(start, []).append(end)
    return following


def _on_border(triangles: np.ndarray, n_vertices: int) -> np.ndarray:
    """(T, 3) whether sides, of each corner to the next, are of one triangle only."""
    ends = np.roll(triangles, -1, axis=1)
    keys = np.minimum(triangles, ends) * n_vertices + np.maximum(triangles, ends)
    order = np.argsort(keys, axis=None)
    differs = np.diff(keys.ravel()[order], prepend=-1, append=-1) != 0
    single = np.empty(keys.size, bool)
    single[order] = differs[1:] & differs[:-1]
    return single.reshape(keys.shape)


def dome(
    mean: np.ndarray, loop: np.ndarray, hub: int, anchors: np.ndarray, first: int
) -> Filling:
    """The front of an eyeball, joined to the lids.

    Args:
        mean: (V, 3) mean face.
        loop: (L,) vertices of the lids' border, along its triangles' sides.
        hub: a vertex on the front of the eye.
        anchors: (68,) vertices of the landmarks.
        first: number of the first new vertex.
    """
    centre, radius = _ball(mean[np.append(loop, hub)])
    corners = _eye_corners(mean, hub, anchors)
    middle = mean[corners].mean(axis=0)
    to_middle = mean[loop].mean(axis=0) - middle
    head = anchors[list(HEAD_ANCHORS)]
    count = len(loop)
    sources = np.column_stack([loop, np.tile([*corners, *head], (count, 1))])
    sums, rings = [], [loop]
    for t in (*DOME_RINGS, 1.0):
        moved = (1 - t) * mean[loop] + t * middle  # which follows the lids, then the corners
        out = moved + t * to_middle - centre
        out *= radius / np.linalg.norm(out, axis=1, keepdims=True)
        offsets = offset_weights(mean[head], centre + out - moved)
        weights = np.column_stack([np.tile((1 - t, t / 2, t / 2), (count, 1)), offsets])
        ring = Sums.of_columns(sources, weights) if t < 1 else Sums.of_columns(sources[:1], weights[:1])
        sums.append(ring)
        rings.append(first + len(sums[:-1]) * count + np.arange(len(ring)))
    strips = [_between(outer, inner) for outer, inner in zip(rings[:-2], rings[1:-1], strict=True)]
    return Sums.joined(sums), np.concatenate([*strips, _fan(rings[-2], rings[-1][0])])


def lips(
    mean: np.ndarray,
    loop: np.ndarray,
    anchors: np.ndarray,
    first: int,
    down_rows: tuple[float, ...] = LIP_ROWS,
) -> Filling:
    """The surface between the lips: a shallow groove, which is shut where they meet.

    Args:
        mean: (V, 3) mean face.
        loop: (L,) vertices of the mouth's border, along its triangles' sides.
        anchors: (68,) vertices of the landmarks.
        first: number of the first new vertex.
        down_rows: of new vertices, where from one lip to the other; none for a flat surface.
    """
    one, other = _two_sides(mean, loop, anchors)
    t_one, t_other = (_shares(mean[side]) for side in (one, other))
    inner = t_one[1:-1]
    right = np.clip(np.searchsorted(t_other, inner), 1, len(other) - 1)
    share = (inner - t_other[right - 1]) / (t_other[right] - t_other[right - 1])
    width = np.linalg.norm(mean[one[0]] - mean[one[-1]])
    head = anchors[list(HEAD_ANCHORS)]
    back = offset_weights(mean[head], np.outer(np.sin(np.pi * inner), (0, 0, -GROOVE * width)))
    n = len(inner)
    sources = np.column_stack([one[1:-1], other[right - 1], other[right], np.tile(head, (n, 1))])
    sums, rows = [], [one]
    for down in down_rows:
        across = np.column_stack([np.full(n, 1 - down), down * (1 - share), down * share])
        weights = np.column_stack([across, np.sin(np.pi * down) * back])
        sums.append(Sums.of_columns(sources, weights))
        rows.append(np.array([one[0], *(first + len(sums[:-1]) * n + np.arange(n)), one[-1]]))
    strips = [_zip(rows[-1], other, t_one, t_other)]
    for upper, lower in zip(rows, rows[1:], strict=False):
        strips.append(np.column_stack([upper[1:], upper[:-1], lower[:-1]]))
        strips.append(np.column_stack([upper[1:], lower[:-1], lower[1:]]))
    return Sums.joined(sums), _whole(np.concatenate(strips))


def inner_mouth(mean: np.ndarray, loop: np.ndarray, anchors: np.ndarray, first: int) -> Filling:
    """A closed pocket behind the lips; arguments as for `lips`."""
    one, other = _two_sides(mean, loop, anchors)
    ends = mean[one[0]], mean[one[-1]]
    width = np.linalg.norm(ends[1] - ends[0])
    along = (ends[1] - ends[0]) / width
    angle = np.concatenate([np.pi * _shares(mean[one])[:-1], -np.pi * _shares(mean[other])[:0:-1]])
    up = np.sign((mean[one] - mean[other].mean(0))[:, 1].mean())
    ring = np.column_stack([-np.cos(angle) / 2, up * np.sin(angle)])  # (L, 2) x, y
    corners = anchors[list(MOUTH_CORNERS)]
    head = anchors[list(HEAD_ANCHORS)]
    middle = mean[corners].mean(axis=0)
    border = np.concatenate([one[:-1], other[:0:-1]])
    shift = mean[border].mean(axis=0) - middle
    tables, rings = [], [border]
    n = len(border)
    for depth, height, broad, stiff in MOUTH_RINGS:
        places = shift + broad * width * ring[:, :1] * along
        places = places + width * (ring[:, 1:] * (0, height, 0) - np.array([0, 0, depth]))
        offsets = stiff * offset_weights(mean[head], places)
        own = np.column_stack([np.full(n, 1 - stiff), np.full((n, 2), stiff / 2)])
        tables.append((border, np.column_stack([own, offsets])))
        rings.append(first + len(rings[1:]) * n + np.arange(n))
    deep = offset_weights(mean[head], (shift - (0, 0, MOUTH_RINGS[-1][0] * width))[None])
    sums = [
        Sums.of_columns(np.column_stack([own, np.tile([*corners, *head], (n, 1))]), weights)
        for own, weights in tables
    ]
    end = np.array([[*corners, *head]]), np.column_stack([[[0.5, 0.5]], deep])
    strips = [_between(outer, inner) for outer, inner in zip(rings, rings[1:], strict=False)]
    cap = _fan(rings[-1], first + len(MOUTH_RINGS) * n)
    return Sums.joined([*sums, Sums.of_columns(*end)]), np.concatenate([*strips, cap])


def eyeball(
    mean: np.ndarray, loop: np.ndarray, hub: int, anchors: np.ndarray, first: int
) -> Filling:
    """A ball behind the lids, which moves with the corners of the eye; arguments as for `dome`."""
    centre, radius = _ball(mean[np.append(loop, hub)])
    corners = _eye_corners(mean, hub, anchors)
    polar, around = np.meshgrid(
        np.pi * np.arange(1, RINGS) / RINGS, 2 * np.pi * np.arange(SPOKES) / SPOKES, indexing="ij"
    )
    x, y, z = np.cos(around) * np.sin(polar), np.sin(around) * np.sin(polar), np.cos(polar)
    unit = np.concatenate([np.stack([x, y, z], -1).reshape(-1, 3), [(0, 0, 1), (0, 0, -1)]])
    head = anchors[list(HEAD_ANCHORS)]
    offsets = offset_weights(mean[head], centre + radius * unit - mean[corners].mean(axis=0))
    n = len(unit)
    sums = Sums.of_columns(
        np.tile([*corners, *head], (n, 1)), np.column_stack([np.full((n, 2), 0.5), offsets])
    )
    rings = first + np.arange(n - 2).reshape(RINGS - 1, SPOKES)
    strips = [_between(back, front) for front, back in zip(rings, rings[1:], strict=False)]
    return sums, np.concatenate(
        [*strips, _fan(rings[0], first + n - 2), _fan(rings[-1][::-1], first + n - 1)]
    )


def _eye_corners(mean: np.ndarray, hub: int, anchors: np.ndarray) -> np.ndarray:
    """The vertices (2,) at the corners of the eye on whose front a hub is."""
    corners = anchors[np.array(EYE_CORNERS)]  # (2, 2)
    nearest = np.linalg.norm(mean[corners].mean(axis=1) - mean[hub], axis=1).argmin()
    return np.asarray(corners[nearest])


def _ball(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Centre and radius of the eyeball behind points (N, 3) of lids and dome: least squares."""
    known = np.column_stack([2 * points, np.ones(len(points))])
    solved = np.linalg.lstsq(known, (points**2).sum(axis=1), rcond=None)[0]
    centre = solved[:3]
    return centre, EYEBALL_INSIDE * float(np.sqrt(solved[3] + centre @ centre))


def offset_weights(anchors: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Offsets (M, 3) as sums of anchors (K, 3), weights (M, K) that add up to 0: the smallest ones.

    They are exact where anchors are turned, moved and scaled, and average their other motion.
    """
    size = np.ptp(anchors, axis=0).max()
    known = np.column_stack([(anchors - anchors.mean(axis=0)) / size, np.ones(len(anchors))])
    wanted = np.column_stack([offsets / size, np.zeros(len(offsets))])
    return wanted @ np.linalg.pinv(known)


# ---------------------------------------------------------------- triangles between rows of vertices


def _between(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """A strip from the border `outer` of a mesh, along its triangles' sides, to a ring inside."""
    a, b, c, d = outer, np.roll(outer, -1), inner, np.roll(inner, -1)
    return np.concatenate([np.column_stack([b, a, c]), np.column_stack([b, c, d])])


def _fan(ring: np.ndarray, hub: int) -> np.ndarray:
    """Triangles that close a border, as `_between`, with a point."""
    return np.column_stack([np.roll(ring, -1), ring, np.full(len(ring), hub)])


def _two_sides(
    mean: np.ndarray, loop: np.ndarray, anchors: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The loop cut at the mouth's corners: a part along it, and the other against it, (A,) (B,)."""
    corners = mean[anchors[list(MOUTH_CORNERS)]]
    a, b = (np.linalg.norm(mean[loop] - corner, axis=1).argmin() for corner in corners)
    rolled = np.roll(loop, -a)
    length = (b - a) % len(loop)
    return rolled[: length + 1], np.append(rolled[length:], rolled[0])[::-1]


def _shares(points: np.ndarray) -> np.ndarray:
    """How much of a line of points (N, 3) lies before each, 0 to 1."""
    length = np.cumsum(np.append(0, np.linalg.norm(np.diff(points, axis=0), axis=1)))
    return length / length[-1]


def _zip(
    upper: np.ndarray, lower: np.ndarray, t_upper: np.ndarray, t_lower: np.ndarray
) -> np.ndarray:
    """Triangles between two lines of vertices with a share each, in the order of the shares."""
    i = j = 0
    triangles = []
    while i + j < len(upper) + len(lower) - 2:
        if j == len(lower) - 1 or (i < len(upper) - 1 and t_upper[i + 1] <= t_lower[j + 1]):
            triangles.append((upper[i + 1], upper[i], lower[j]))
            i += 1
        else:
            triangles.append((lower[j], lower[j + 1], upper[i]))
            j += 1
    return np.array(triangles)


def _whole(triangles: np.ndarray) -> np.ndarray:
    """Those with three different corners."""
    a, b, c = triangles.T
    return triangles[(a != b) & (b != c) & (c != a)]
