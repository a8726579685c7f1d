"""Borders: where they are, what is ragged, and what is sewn between them."""

from __future__ import annotations

import numpy as np

from synergynet.meshes.borders import (
    border_loops,
    fan,
    on_border,
    sew,
    strip,
    without_crumbs,
)


def test_a_sheet_with_a_hole_has_two_borders_along_its_triangles(sheet):
    points, triangles = sheet(5)
    middle = np.linalg.norm(points[triangles].mean(axis=1), axis=1) < 0.25
    triangles = triangles[~middle]
    assert on_border(triangles, len(points)).sum() == 20 + 4
    outer, inner = sorted(border_loops(triangles, len(points)), key=len, reverse=True)
    assert (len(outer), len(inner)) == (20, 4)
    sides = set(map(tuple, np.concatenate([triangles[:, [i, (i + 1) % 3]] for i in range(3)])))
    for loop in (outer, inner):
        assert set(zip(loop, np.roll(loop, -1), strict=True)) <= sides
    closed = np.concatenate([triangles, fan(inner, len(points))])
    assert len(border_loops(closed, len(points) + 1)) == 1


def test_crumbs_and_battlements_go_and_straight_borders_stay(sheet):
    points, triangles = sheet(6)
    top = points[:, 1].max()
    merlon = (points[triangles][:, :, 1].max(axis=1) == top) & (
        np.abs(points[triangles][:, :, 0].mean(axis=1)) < 0.2
    )
    below = points[triangles][:, :, 1].max(axis=1) < top - 0.1
    everywhere, nowhere = np.ones(len(points), bool), np.zeros(len(points), bool)
    ragged = triangles[below | merlon]
    crumb = np.array([[points[:, 0].argmax(), len(points), len(points) + 1]])
    middle = np.abs(points[:, 0]) < 0.5
    got = without_crumbs(
        np.concatenate([ragged, crumb]), len(points) + 2, np.append(middle, [1, 1])
    )
    assert set(map(tuple, got)) == set(map(tuple, triangles[below]))
    kept = without_crumbs(ragged, len(points), nowhere)
    assert len(kept) == len(ragged)
    assert len(without_crumbs(triangles, len(points), everywhere)) < len(triangles)  # its corners


def test_a_strip_and_a_fan_close_a_hole(sheet):
    points, triangles = sheet(5)
    triangles = triangles[np.linalg.norm(points[triangles].mean(axis=1), axis=1) > 0.25]
    inner = min(border_loops(triangles, len(points)), key=len)
    ring = len(points) + np.arange(4)
    closed = np.concatenate([triangles, strip(inner, ring), fan(ring, len(points) + 4)])
    sides = closed * 99 + np.roll(closed, -1, axis=1)
    assert len(np.unique(sides)) == sides.size
    assert len(border_loops(closed, len(points) + 5)) == 1


def test_two_lines_are_sewn_without_a_gap():
    upper, lower = np.array([0, 1, 2, 3]), np.array([0, 4, 5, 6, 7, 3])
    triangles = sew(upper, lower, np.linspace(0, 1, 4), np.linspace(0, 1, 6))
    (loop,) = border_loops(triangles, 8)
    assert sorted(loop.tolist()) == list(range(8))
    assert len(triangles) == 8 - 2
