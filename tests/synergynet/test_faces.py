"""Faces as arrays: against the published system's helpers, and against themselves."""

from __future__ import annotations

import json

import numpy as np
import pytest

from synergynet.face_model import MorphableModel
from synergynet.faces import Faces, decode_faces, describe_faces

PHOTO_TOLERANCE_PX = 0.02  # float32 on coordinates of hundreds
ANGLE_TOLERANCE_DEG = 0.01


@pytest.fixture(scope="module")
def model(tiny_morphable) -> MorphableModel:
    """The tiny face model, in numpy."""
    return tiny_morphable.convert(lambda tensor: tensor.numpy())


@pytest.fixture(scope="module")
def faces(model, reference) -> Faces:
    """The 12 faces of the published helpers, all in one crop box, as if of three images."""
    params = model.unwhiten(reference.arrays["helper_params"].astype(np.float32))
    roi_boxes = np.tile(reference.arrays["helper_roi_box"][:4].astype(np.float64), (12, 1))
    image_index = np.repeat([0, 1, 2], 4)
    return decode_faces(model, params, roi_boxes, roi_boxes, image_index)


def test_everything_equals_the_published_system(faces, reference):
    expected = reference.arrays
    assert abs(faces.landmarks - expected["helper_landmarks"]).max() < PHOTO_TOLERANCE_PX
    assert abs(faces.vertices[:2] - expected["helper_dense_first"]).max() < PHOTO_TOLERANCE_PX
    assert abs(faces.translations - expected["helper_translation"]).max() < PHOTO_TOLERANCE_PX
    angles = np.stack(faces.pose("published"), axis=1)  # (N, 3) yaw, pitch, roll
    assert abs(angles - expected["helper_angles"]).max() < ANGLE_TOLERANCE_DEG


def test_landmarks_are_vertices(faces, model):
    rows = model.keypoints[::3] // 3
    assert abs(faces.vertices[:, :, rows] - faces.landmarks).max() < PHOTO_TOLERANCE_PX
    assert faces.vertices.shape == (12, 3, len(model.u) // 3)
    assert faces.triangles.max() < len(model.u) // 3


def test_whitening_is_undone(faces, model, reference):
    params_w = reference.arrays["helper_params"].astype(np.float32)
    np.testing.assert_allclose(model.whiten(faces.params), params_w, rtol=0, atol=1e-4)


def test_rotations_agree_with_the_exact_angles(faces):
    yaw = faces.pose("exact").yaw
    np.testing.assert_allclose(faces.rotations[:, 0, 2], -np.sin(np.deg2rad(yaw)), atol=1e-5)


def test_some_of_the_faces(faces):
    assert len(faces) == 12
    middle = faces.of_image(1)
    assert len(middle) == 4
    np.testing.assert_array_equal(middle.landmarks, faces.landmarks[4:8])
    np.testing.assert_array_equal(middle.vertices, faces.vertices[4:8])
    assert len(faces[faces.image_index > 5]) == 0
    none = faces[:0]
    assert none.vertices.shape == (0, *faces.vertices.shape[1:])
    assert [len(angle) for angle in none.pose()] == [0, 0, 0]
    assert describe_faces(none) == []


def test_json_holds_the_same_numbers(faces):
    described = json.loads(json.dumps(describe_faces(faces), allow_nan=False))
    assert len(described) == 12
    for index, face in enumerate(described):
        np.testing.assert_allclose(np.array(face["landmarks"]).T, faces.landmarks[index], atol=1e-3)
        np.testing.assert_array_equal(np.float32(face["params"]), faces.params[index])
        np.testing.assert_array_equal(face["roi_box"], faces.roi_boxes[index])
        for method in ("exact", "published"):
            angles = face["pose"][method]
            expected = faces.pose(method)._asdict()
            assert angles == pytest.approx(
                {name: values[index] for name, values in expected.items()}, abs=1e-3
            )
