"""Visibility of meshes: made-up shapes whose answer is known, and the open model's mean face."""

from __future__ import annotations

import numpy as np
import pytest

from synergynet.geometry.pose import Pose, compose_rotation
from synergynet.meshes.visibility import visible_points, visible_vertices
from synergynet.weights import read_weights

SILHOUETTE = 0.1  # cosine below which a vertex may count as seen or not


def sphere(rows: int = 40, columns: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (3, V), y down, and triangles of a ball, counter-clockwise from outside."""
    polar = np.linspace(0.02, np.pi - 0.02, rows)[:, None]
    around = np.linspace(0, 2 * np.pi, columns, endpoint=False)[None]
    x, z = np.sin(polar) * np.sin(around), np.sin(polar) * np.cos(around)
    y_up = np.cos(polar) + 0 * around
    verts = np.stack([x.ravel(), -y_up.ravel(), z.ravel()])
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b = index[:-1], np.roll(index, -1, axis=1)[:-1]
    c, d = index[1:], np.roll(index, -1, axis=1)[1:]
    triangles = [np.stack([a, c, b], -1), np.stack([b, c, d], -1)]
    return verts, np.concatenate(triangles).reshape(-1, 3)


def test_half_of_a_ball_is_seen():
    verts, triangles = sphere()
    seen = visible_vertices(verts, triangles)
    sure = np.abs(verts[2]) > 2 * SILHOUETTE
    np.testing.assert_array_equal(seen[sure], verts[2, sure] > 0)
    exact = visible_points(verts, triangles, *[np.flatnonzero(sure)] * 2, triangles)
    np.testing.assert_array_equal(exact, verts[2, sure] > 0)


def test_what_lies_behind_a_plate_is_hidden_and_what_lies_beside_it_is_not():
    x, y = map(np.ravel, np.meshgrid(np.arange(21.0), np.arange(21.0)))
    index = np.arange(441).reshape(21, 21)
    a, b, c, d = (
        part.ravel() for part in (index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:])
    )
    grid = np.concatenate([np.stack([a, c, b], -1), np.stack([b, c, d], -1)])
    back = np.stack([x, y, 0 * x])
    front = np.stack([5 + x / 4, 5 + y / 4, 0 * x + 3])
    seen = visible_vertices(np.hstack([back, front]), np.concatenate([grid, grid + 441]))
    inside = (x > 5.3) & (x < 9.7) & (y > 5.3) & (y < 9.7)
    outside = (x < 4.7) | (x > 10.3) | (y < 4.7) | (y > 10.3)
    assert not seen[:441][inside].any()
    assert seen[:441][outside].all()
    assert seen[441:].all()
    every = np.arange(882)
    exact = visible_points(
        np.hstack([back, front]),
        np.concatenate([grid, grid + 441]),
        every,
        every,
        np.concatenate([grid, grid + 441]),
    )
    sure = np.concatenate([inside | outside, front[0] > 0])
    np.testing.assert_array_equal(exact[sure], seen[sure])
    flipped = visible_vertices(
        np.hstack([back, front]), np.concatenate([grid, grid + 441])[:, ::-1]
    )
    assert not flipped.any()  # turned away


@pytest.fixture(scope="module")
def model():
    return read_weights().face_model


def photograph(model, yaw: float, scale: float = 1e-3) -> np.ndarray:
    rotation = compose_rotation(Pose(*map(np.float64, (yaw, 0.0, 0.0))))
    return scale * (rotation @ model.mean_face.T) * [[1], [-1], [1]]


def of_landmarks(model, verts: np.ndarray) -> np.ndarray:
    rows = model.landmark_vertices
    surface, around = model.on_surface[rows], model.landmark_triangles
    return visible_points(verts, model.triangles, rows, surface, around)


def test_a_face_from_the_front_from_the_side_and_from_behind(model):
    front, left, back = (of_landmarks(model, photograph(model, yaw)) for yaw in (0, 90, 180))
    assert front[17:].all()  # all but the jaw, which is the silhouette
    side = model.mean_face[model.landmark_vertices, 0]
    towards = photograph(model, 90)[2, model.landmark_vertices]
    away = (side * np.sign(np.corrcoef(side, towards)[0, 1])) < -20_000  # micrometres
    assert away.sum() > 15
    assert not left[away].any()
    assert left[(side * np.sign(np.corrcoef(side, towards)[0, 1])) > 20_000].mean() > 0.9
    assert not back[17:].any()  # the chin's underside has no neck that would hide it


@pytest.mark.parametrize("yaw", [-70, -35, 0, 50, 85])
def test_the_z_buffer_says_nearly_the_same_as_the_triangles_themselves(model, yaw):
    verts = photograph(model, yaw)
    rows = np.unique(model.triangles)[::5]
    exact = visible_points(verts, model.triangles, rows, rows, model.triangles)
    assert (exact == visible_vertices(verts, model.triangles)[rows]).mean() > 0.97


def test_neither_size_nor_place_in_the_photo_matters(model):
    expected = visible_vertices(photograph(model, 40), model.triangles)
    for scale, shift in ((1e-5, 1000), (0.02, -300)):
        verts = photograph(model, 40, scale) + shift
        found = visible_vertices(verts, model.triangles)
        assert (found == expected).mean() > 0.999
    of_no_size = visible_vertices(np.zeros((3, model.n_vertices)), model.triangles)
    assert of_no_size.shape == (model.n_vertices,)


def test_landmarks_without_triangles_have_their_neighbours_surface(model):
    rows = model.on_surface
    used = np.unique(model.triangles)
    np.testing.assert_array_equal(rows[used], used)
    assert np.isin(rows, used).all()
    bare = np.setdiff1d(model.landmark_vertices, used)
    distance = np.linalg.norm(model.mean_face[bare] - model.mean_face[rows[bare]], axis=1)
    assert distance.max() < 6000  # micrometres
