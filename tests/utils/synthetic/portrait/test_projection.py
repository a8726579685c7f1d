"""Cameras: perspective against plain arithmetic, its limit from afar, the weak-perspective fit."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from utils.synthetic.portrait.projection import fit_face, perspective_camera, project


def scene(seed):
    """Points (68, 3), a rotation and a centre."""
    rng = np.random.default_rng(seed)
    return (
        rng.normal(0, 50, (68, 3)),
        Rotation.random(random_state=rng).as_matrix(),
        rng.normal(size=3),
    )


def fit_camera(points, image, start):
    """The camera alone: a face that cannot change."""
    return fit_face(points, np.empty((*points.shape, 0)), np.empty(0), image, start)[0]


def test_perspective_is_similar_triangles():
    points, rotation, centre = scene(0)
    seen = project(perspective_camera(rotation, centre, 400.0), points)
    for point, found in zip(points, seen, strict=True):
        x, y, z = rotation @ (point - centre)
        expected = [x * 400 / (400 - z), y * 400 / (400 - z)]
        np.testing.assert_allclose(found[:2], expected)


def test_from_afar_it_is_weak_perspective():
    points, rotation, centre = scene(1)
    seen = project(perspective_camera(rotation, centre, 1e12), points)
    np.testing.assert_allclose(seen, (points - centre) @ rotation.T, atol=1e-7)
    camera = perspective_camera(rotation, centre, np.inf)
    np.testing.assert_array_equal(camera[3], [0, 0, 0, 1])
    np.testing.assert_array_equal(project(camera, points), project(camera[:3], points))


def test_planes_stay_planes_and_what_is_in_front_stays_there():
    points, rotation, centre = scene(2)
    camera = perspective_camera(rotation, centre, 400.0)
    plane = np.array([[1.0, 2, 0.5], [0.3, -1, 2]])
    seen = project(camera, 30 * np.random.default_rng(0).normal(size=(20, 2)) @ plane)
    assert np.linalg.svd(seen - seen.mean(0))[1][2] < 1e-9 * np.ptp(seen)
    depth = ((points - centre) @ rotation.T)[:, 2]
    np.testing.assert_array_equal(project(camera, points)[:, 2].argsort(), depth.argsort())


def test_what_lies_beside_the_camera_stays_finite():
    camera = perspective_camera(np.eye(3), np.zeros(3), 350.0)
    seen = project(camera, np.array([[0, -400, 349.0], [0, -400, 350], [0, -400, 500]]))
    assert (seen[:, 1] < -3000).all()
    assert np.isfinite(seen).all()


@pytest.mark.parametrize("seed", range(3))
def test_fit_finds_a_weak_perspective_camera(seed):
    points, rotation, _ = scene(seed)
    turned = 1.2 * Rotation.from_rotvec([0.05, -0.08, 0.06]).as_matrix() @ rotation
    image = points @ turned[:2].T + (3, -4)
    camera = fit_camera(points, image, rotation)
    np.testing.assert_allclose(camera[:3, :3], turned, atol=1e-6)
    np.testing.assert_allclose(camera[:2, 3], [3, -4], atol=1e-4)
    np.testing.assert_allclose(project(camera, points)[:, 2].mean(), 0, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_no_camera_close_by_fits_better(seed):
    points, rotation, centre = scene(seed)
    image = project(perspective_camera(rotation, centre, 700.0), points)[:, :2]
    camera = fit_camera(points, image, rotation)

    def error(changed):
        return ((project(changed, points)[:, :2] - image) ** 2).sum()

    best = error(camera)
    rng = np.random.default_rng(seed)
    for _ in range(50):
        changed = camera.copy()
        turn = Rotation.from_rotvec(rng.normal(0, 0.003, 3)).as_matrix()
        changed[:3, :3] = np.exp(rng.normal(0, 0.003)) * turn @ camera[:3, :3]
        changed[:2, 3] += rng.normal(0, 0.1, 2)
        assert error(changed) > best


@pytest.mark.parametrize("stiffness", [1e-3, 1e6])
def test_fit_finds_a_changed_face_or_none(stiffness):
    points, rotation, _ = scene(3)
    basis = np.random.default_rng(1).normal(size=(68, 3, 5))
    planted = np.array([1.0, -2, 0.5, 0, 3])
    image = (points + basis @ planted) @ rotation[:2].T
    camera, change = fit_face(points, basis, np.full(5, stiffness), image, rotation)
    if stiffness < 1:
        np.testing.assert_allclose(change, planted, atol=1e-5)
        np.testing.assert_allclose(camera[:3, :3], rotation, atol=1e-6)
    else:
        assert np.abs(change).max() < 1e-3
    seen = project(camera, points + basis @ change)
    np.testing.assert_allclose(seen[:, 2].mean(), 0, atol=1e-9)


def test_a_fit_goes_on_where_another_stopped():
    points, rotation, centre = scene(5)
    basis, stiffness = np.random.default_rng(1).normal(size=(68, 3, 5)), np.full(5, 2.0)
    image = project(perspective_camera(rotation, centre, 700.0), points)[:, :2]
    whole = fit_face(points, basis, stiffness, image, rotation, rounds=3)
    camera, change = fit_face(points, basis, stiffness, image, rotation, rounds=1)
    assert np.abs(change - whole[1]).max() > 1e-4
    resumed = fit_face(points, basis, stiffness, image, camera[:3, :3], change, rounds=2)
    for one, other in zip(resumed, whole, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


def test_no_face_close_by_costs_less():
    points, rotation, centre = scene(4)
    basis, stiffness = np.random.default_rng(1).normal(size=(68, 3, 5)), np.full(5, 2.0)
    image = project(perspective_camera(rotation, centre, 700.0), points)[:, :2]
    camera, change = fit_face(points, basis, stiffness, image, rotation)

    def cost(changed):
        left = project(camera, points + basis @ changed)[:, :2] - image
        left -= left.mean(0)  # the translation follows
        return (left**2).sum() + ((stiffness * changed) ** 2).sum()

    rng = np.random.default_rng(0)
    best = cost(change)
    assert best < cost(np.zeros(5))
    assert all(cost(change + rng.normal(0, 0.02, 5)) > best for _ in range(50))
