"""Faces as arrays: against the published system's helpers, and against themselves."""

from __future__ import annotations

import dataclasses
import json
import pickle

import numpy as np
import pytest

from synergynet import table
from synergynet.blendshapes import ARKIT_NAMES
from synergynet.face_model import MorphableModel
from synergynet.faces import Faces, decode_faces, describe_faces
from synergynet.geometry.parameters import EXPR
from synergynet.geometry.pinhole import PUPILS_MM, Lens
from synergynet.geometry.pose import Pose, compose_rotation
from synergynet.weights import read_weights

PHOTO_TOLERANCE_PX = 0.02  # float32 on coordinates of hundreds
ANGLE_TOLERANCE_DEG = 0.01
LENS = Lens.of_photo(900.0, (450, 450))


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
        assert face["visible"] == faces.visible[index].tolist()
        assert face["head_unit_px"] == pytest.approx(faces.head_unit_px[index], abs=1e-3)
        assert face["metric_pose"] is None


def test_json_of_a_known_lens_holds_the_metric_pose(faces):
    metric = faces.metric_pose(LENS)
    for index, face in enumerate(describe_faces(faces, LENS)):
        found = face["metric_pose"]
        np.testing.assert_allclose(found["rvec"], metric.rvec[index], atol=1e-6)
        np.testing.assert_allclose(found["tvec_mm"], metric.tvec_mm[index], atol=0.01)
        assert found["yaw"] == pytest.approx(metric.angles.yaw[index], abs=1e-3)
        distance = PUPILS_MM * found["distance_head_units"]
        assert distance == pytest.approx(np.linalg.norm(found["tvec_mm"]), rel=1e-3)


# ---------------------------------------------------------------- visibility


def test_landmarks_are_seen_where_their_vertices_are(faces, model):
    assert faces.visible.shape == (12, 68)
    assert faces.visible.dtype == faces.visible_vertices.dtype == bool
    seen = faces.visible_vertices[:, model.landmark_vertices]
    np.testing.assert_array_equal(faces.visible, seen)
    assert faces[:0].visible.shape == (0, 68)


def test_faces_are_seen_one_by_one_as_together(faces):
    apart = np.concatenate([faces[i : i + 1].visible_vertices for i in range(12)])
    np.testing.assert_array_equal(apart, faces.visible_vertices)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(faces)).visible, faces.visible)


def test_without_triangles_nothing_is_said_of_visibility(faces, model):
    bare = dataclasses.replace(faces, model=dataclasses.replace(model, triangles=None))
    assert bare.visible is None
    assert bare.visible_vertices is None
    assert {face["visible"] for face in describe_faces(bare)} == {None}
    assert bare.to_dict()["visible0"] == [None] * 12
    with pytest.raises(ValueError, match="no surface"):
        _ = bare.model.on_surface


# ---------------------------------------------------------------- sizes and columns


def test_head_units_do_not_depend_on_pose_and_crop(model):
    rng = np.random.default_rng(0)
    params = np.zeros((3, 62), np.float32)
    rotations = compose_rotation(Pose(*rng.uniform(-60, 60, (3, 3))))
    params[:, :12] = np.concatenate([5e-4 * rotations, np.full((3, 3, 1), 60)], 2).reshape(3, 12)
    params[:, 12:] = rng.normal(size=50)  # one person
    boxes = np.array([[0, 0, 120, 120], [10, 20, 250, 260], [-50, 0, 10, 60]], float)
    faces = decode_faces(model, params, boxes, boxes, np.arange(3))
    np.testing.assert_allclose(faces.landmarks_head - faces.landmarks_head[:1], 0, atol=1e-4)
    units = faces.head_unit_px
    np.testing.assert_allclose(units / units[0], [1, 2, 0.5], rtol=1e-5)
    apart = faces.landmarks[:, :, 0] - faces.landmarks[:, :, 16]  # (3, 3) photo px
    lengths = np.linalg.norm(apart, axis=1) / units
    own = np.linalg.norm(faces.landmarks_head[:, :, 0] - faces.landmarks_head[:, :, 16], axis=1)
    np.testing.assert_allclose(lengths, own, rtol=1e-4)


def test_pupils_at_rest_are_one_unit_apart_about_the_origin(model):
    params = np.zeros((1, 62), np.float32)
    params[0, [0, 5]] = 1e-3  # looks straight ahead
    box = np.array([[0.0, 0, 120, 120]])
    points = decode_faces(model, params, box, box, np.zeros(1, int)).landmarks_head[0]
    right, left = points[:, 36:42].mean(axis=1), points[:, 42:48].mean(axis=1)
    np.testing.assert_allclose(left + right, 0, atol=1e-5)
    assert np.linalg.norm(left - right) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("lens", [None, LENS])
def test_columns_are_ready_for_pandas(faces, lens):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(faces.to_dict(lens))
    assert list(frame) == ["image_index", *table.COLUMNS]
    assert len(set(frame)) == len(list(frame))
    assert len(frame) == 12
    points = frame[[f"{axis}{i}" for axis in "xyz" for i in range(68)]].to_numpy()
    np.testing.assert_allclose(points.reshape(12, 3, 68), faces.landmarks, atol=1e-3)
    params = frame[[f"param{i}" for i in range(62)]].to_numpy(np.float32)
    np.testing.assert_array_equal(params, faces.params)
    seen = frame[[f"visible{i}" for i in range(68)]].to_numpy()
    np.testing.assert_array_equal(seen, faces.visible)
    np.testing.assert_array_equal(frame["image_index"], faces.image_index)
    np.testing.assert_allclose(frame["yaw"], faces.pose().yaw, atol=1e-3)
    np.testing.assert_allclose(frame["roi_x1"], faces.roi_boxes[:, 2])
    if lens is None:
        assert frame["tvec_z_mm"].isna().all()
    else:
        np.testing.assert_allclose(
            frame["tvec_z_mm"], faces.metric_pose(lens).tvec_mm[:, 2], atol=0.01
        )
        assert (frame["distance_head_units"] > 0).all()
    assert list(faces[:0].to_dict().values()) == [[]] * len(list(frame))


# ---------------------------------------------------------------- blendshapes


@pytest.fixture(scope="module")
def open_faces() -> Faces:
    """Four faces of the open model: two at rest, one with an open jaw, one smiling."""
    model = read_weights().face_model
    smiling = [name.startswith("mouthSmile") for name in ARKIT_NAMES]
    strengths = np.zeros((4, 52))
    strengths[2, ARKIT_NAMES.index("jawOpen")] = 0.8
    strengths[3, smiling] = 1
    params = np.zeros((4, 62), np.float32)
    params[:, [0, 5]] = 5e-4
    params[:, EXPR] = model.actions.answers(strengths)
    boxes = np.tile([0.0, 0, 120, 120], (4, 1))
    return decode_faces(model, params, boxes, boxes, np.arange(4))


def test_blendshapes_are_those_that_were_shown(open_faces):
    found = open_faces.blendshapes
    assert found.shape == (4, 52)
    assert found[:2].max() == 0
    names = [ARKIT_NAMES[i] for i in found[2:].argmax(axis=1)]
    assert names[0] == "jawOpen"
    assert names[1] in ("mouthSmileLeft", "mouthSmileRight")
    assert found[2].max() == pytest.approx(0.8, abs=0.2)
    np.testing.assert_array_equal(open_faces[2:].blendshapes, found[2:])
    assert open_faces[:0].blendshapes.shape == (0, 52)
    assert {"jawOpen", "mouthSmileLeft"} <= set(open_faces.reliable_blendshapes)


def test_blendshapes_do_not_depend_on_pose_and_person(open_faces):
    params = open_faces.params.copy()
    rng = np.random.default_rng(0)
    params[:, : EXPR.start] = rng.normal(size=params[:, : EXPR.start].shape)
    turned = dataclasses.replace(open_faces, params=params)
    np.testing.assert_array_equal(turned.blendshapes, open_faces.blendshapes)


def test_json_names_the_blendshapes(open_faces):
    for face, found in zip(describe_faces(open_faces), open_faces.blendshapes, strict=True):
        assert tuple(face["blendshapes"]) == ARKIT_NAMES
        np.testing.assert_allclose(list(face["blendshapes"].values()), found, atol=1e-4)


def test_other_face_models_have_no_blendshapes(faces):
    assert faces.blendshapes is None
    assert faces.reliable_blendshapes is None
    assert {face["blendshapes"] for face in describe_faces(faces)} == {None}
