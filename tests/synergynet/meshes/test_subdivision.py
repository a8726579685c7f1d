"""Subdivision: planes stay planes, balls become rounder, and there are no gaps."""

from __future__ import annotations

import numpy as np
import pytest

from synergynet.meshes.borders import border_loops, on_border
from synergynet.meshes.subdivision import split, subdivide
from synergynet.weights import read_weights


def finer(points, triangles):
    """All sides halved."""
    sums, middles = subdivide(triangles, len(points))
    finer = split(triangles, middles, np.ones(middles.shape, bool))
    return np.concatenate([points, sums.apply(points.T).T]), finer


def is_manifold(triangles, n_vertices):
    """Every side once in a direction, every edge in two triangles at most."""
    sides = triangles * n_vertices + np.roll(triangles, -1, axis=1)
    return len(np.unique(sides)) == sides.size


@pytest.mark.parametrize("jitter", [0.0, 0.3])
def test_a_plane_stays_a_plane_and_its_outline_a_square(sheet, jitter):
    points, triangles = sheet(6, jitter)
    points[:, 2] = 0.3 * points[:, 0] - 0.2 * points[:, 1]
    new, finer_triangles = finer(points, triangles)
    np.testing.assert_allclose(new[:, 2], 0.3 * new[:, 0] - 0.2 * new[:, 1], atol=1e-6)
    assert len(finer_triangles) == 4 * len(triangles)
    assert is_manifold(finer_triangles, len(new))
    a, b, c = (new[corner] for corner in finer_triangles.T)
    assert (np.cross(b - a, c - a)[:, 2] > 0).all()  # none is turned over


def test_a_ball_becomes_rounder(icosahedron):
    points, triangles = icosahedron
    flat = (points[triangles] + np.roll(points[triangles], -1, axis=1)).reshape(-1, 3) / 2
    new, finer_triangles = finer(points, triangles)
    before = np.abs(np.linalg.norm(flat, axis=1) - 1).max()
    after = np.abs(np.linalg.norm(new, axis=1) - 1).max()
    assert after < before / 3
    again, _ = finer(new, finer_triangles)
    assert np.abs(np.linalg.norm(again, axis=1) - 1).max() < before / 3
    assert not on_border(finer_triangles, len(new)).any()


def test_a_patch_of_a_ball_is_nearer_to_the_ball(sheet):
    points, triangles = sheet(6)
    points[:, :2] *= 0.5
    points[:, 2] = np.sqrt(1 - (points[:, :2] ** 2).sum(axis=1))
    sums, middles = subdivide(triangles, len(points))
    new = sums.apply(points.T).T
    straight = np.empty_like(new)
    ends = points[triangles]
    straight[middles - len(points)] = (ends + np.roll(ends, -1, axis=1)) / 2
    off, off_straight = (np.abs(np.linalg.norm(p, axis=1) - 1) for p in (new, straight))
    assert off.mean() < off_straight.mean() / 5
    assert off.max() < off_straight.max()  # beside corners sides stay straight


def test_sums_of_weights_are_one_and_a_turned_mesh_gives_turned_middles(icosahedron):
    points, triangles = icosahedron
    sums, _ = subdivide(triangles, len(points))
    np.testing.assert_allclose(sums.apply(np.ones(len(points))), 1, atol=1e-6)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    np.testing.assert_allclose(sums.apply(turn @ points.T), turn @ sums.apply(points.T), atol=1e-6)


def test_any_choice_of_sides_gives_no_gaps():
    """The open model's triangles, a third of its edges halved: the border is what it was."""
    face = read_weights().face_model
    triangles, count = face.triangles, face.n_vertices
    _, middles = subdivide(triangles, count)
    chosen = np.random.default_rng(0).random(middles.max() + 1) < 0.3
    chosen[middles[on_border(triangles, count)]] = False
    got = split(triangles, middles, chosen[middles])
    assert is_manifold(got, middles.max() + 1)
    before = {frozenset(loop.tolist()) for loop in border_loops(triangles, count)}
    assert {frozenset(loop.tolist()) for loop in border_loops(got, middles.max() + 1)} == before
    assert len(got) == len(triangles) + chosen[middles].sum()
