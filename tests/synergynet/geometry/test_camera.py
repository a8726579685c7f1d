"""Cameras: exact splits, moves between crop and photo, and rotations by their axes."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from synergynet.geometry.camera import (
    camera_of,
    params_to_crop,
    params_to_photo,
    rotation_from_vector,
    rotation_vector,
    split_rotation,
)
from synergynet.geometry.crop import crop_to_photo
from synergynet.geometry.decoding import turn_y


def test_photo_parameters_put_points_where_the_crop_maps_them_and_back():
    rng = np.random.default_rng(0)
    params, points = rng.normal(size=62), rng.normal(size=(3, 5))
    box = np.array([13.0, -20.0, 133.0, 280.0])  # not square: x and y have scales of their own

    def place(params: np.ndarray) -> np.ndarray:
        camera = camera_of(params)
        return turn_y(camera[:, :3] @ points + camera[:, 3:])

    photo = params_to_photo(params, box)
    np.testing.assert_allclose(place(photo), crop_to_photo(place(params), box), atol=1e-12)
    np.testing.assert_allclose(params_to_crop(photo, box), params, atol=1e-12)


def test_split_rotation():
    rng = np.random.default_rng(0)
    turn = Rotation.random(rng=rng).as_matrix()
    noise = rng.normal(0, 0.05, (3, 3))
    matrix = 5e-4 * (np.eye(3) + noise + noise.T) @ turn
    rotation, stretch = split_rotation(matrix)
    np.testing.assert_allclose(rotation, turn, atol=1e-12)
    np.testing.assert_allclose(stretch, stretch.T, atol=1e-12)
    np.testing.assert_allclose(stretch @ rotation, matrix, atol=1e-12)
    flat = matrix * [[1], [1], [-1e-3]]  # a network's third row may even point backwards
    rotation, stretch = split_rotation(flat)
    assert np.linalg.det(rotation) == pytest.approx(1)
    np.testing.assert_allclose(stretch @ rotation, flat, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-12, 1e-5, 1e-3, 1.0, np.pi - 1e-7, np.pi])
def test_rotation_vectors_as_scipy_has_them(scale):
    rng = np.random.default_rng(1)
    axes = rng.normal(size=(40, 3))
    vectors = scale * axes / np.linalg.norm(axes, axis=1, keepdims=True)
    expected = Rotation.from_rotvec(vectors)
    matrices = rotation_from_vector(vectors)
    np.testing.assert_allclose(matrices, expected.as_matrix(), atol=1e-15)
    back = rotation_vector(expected.as_matrix())
    if scale == np.pi:  # both directions of the axis are right
        back *= np.sign((back * vectors).sum(1, keepdims=True))
    np.testing.assert_allclose(back, vectors, rtol=1e-9, atol=1e-15)


def test_no_rotation_has_no_vector():
    np.testing.assert_array_equal(rotation_vector(np.eye(3)), np.zeros(3))
    np.testing.assert_array_equal(rotation_from_vector(np.zeros(3)), np.eye(3))
