"""Cuts: along straight lines where they are asked for, and smooth where a border is jagged."""

from __future__ import annotations

import numpy as np

from synergynet.meshes.borders import border_loops
from synergynet.meshes.rim import cut, rim_distance
from synergynet.weights import read_weights


def area(points, triangles):
    a, b, c = (points[corner] for corner in triangles.T)
    return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2


def test_a_cut_sheet_ends_at_the_line_and_has_the_area_that_is_left(sheet):
    points, triangles = sheet(8, 0.2)
    for offset in (0.31, 0.0, -0.77):
        inside = points[:, 0] + 0.5 * points[:, 1] - offset
        sums, kept = cut(triangles, inside)
        new = np.concatenate([points, sums.apply(points.T).T])
        left = np.concatenate([inside, sums.apply(inside)])[np.unique(kept)]
        cell = np.sqrt(1.25) * 2 / 8
        assert left.min() > -0.1 * cell  # cuts that come near to vertices go through them
        want = area(*refined(sheet, offset)).sum()
        assert abs(area(new, kept).sum() - want) < 0.03
        assert area(new, kept).min() > 1e-5
        assert len(border_loops(kept, len(new))) == 1


def refined(sheet, offset):
    """A fine sheet of whole triangles on the kept side."""
    points, triangles = sheet(200)
    inside = points[:, 0] + 0.5 * points[:, 1] - offset
    return points, triangles[inside[triangles].mean(axis=1) > 0]


def test_all_or_nothing_is_kept_and_a_cut_through_vertices_makes_none(sheet):
    points, triangles = sheet(4)
    for value, count in ((1.0, len(triangles)), (-1.0, 0)):
        sums, kept = cut(triangles, np.full(len(points), value))
        assert (len(sums), len(kept)) == (0, count)
    sums, kept = cut(triangles, points[:, 0])
    assert (len(sums), len(kept)) == (0, len(triangles) // 2)


def turns(loop_points):
    """Angles (L,) in degrees by which a closed line turns at its points."""
    steps = np.diff(loop_points, axis=0, append=loop_points[:1])
    steps /= np.linalg.norm(steps, axis=1, keepdims=True)
    cosine = (steps * np.roll(steps, 1, axis=0)).sum(axis=1)
    return np.degrees(np.arccos(cosine.clip(-1, 1)))


def test_the_open_models_rim_is_smooth_where_its_border_is_jagged():
    model = read_weights().face_model
    mean = model.mean_face.astype(float)
    dense = model.dense.apply(mean.T).T
    border = max(border_loops(model.triangles, model.n_vertices), key=len)
    jagged, smooth = turns(mean[border]), turns(dense[model.dense.rim])
    lengths = np.linalg.norm(np.diff(dense[model.dense.rim], axis=0), axis=1)
    assert jagged.mean() > 40
    assert smooth.mean() < 12
    assert lengths.max() < 10_000  # micrometres
    inside = rim_distance(mean, model.triangles, dense[model.dense.rim])
    assert np.abs(inside).max() < 0.03  # radians: 3 mm
