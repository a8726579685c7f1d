"""The library: batches, boxes and crops, the second look, and the published way to call it."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import synergy3DMM
from synergy3DMM import SynergyNet
from synergynet import fileio
from synergynet.detection.detectors import whole_photo
from synergynet.geometry.crop import photo_to_crop, square_box_from_landmarks
from synergynet.weights import BUILT_IN
from utils.data.evaluation_crops import OPEN_TEST_FOLDER, EvaluationCrops
from utils.data.folders import OPEN_WEIGHTS
from utils.data.preprocessing import IN_THE_WILD, preprocess
from utils.evaluation.metrics import landmark_nme
from utils.inference.loading import load_model

BATCH_TOLERANCE_PX = 0.01  # sums of a batch run in another order


@pytest.fixture(scope="module")
def net() -> SynergyNet:
    """The shipped weights; every photo is taken for a crop of a face."""
    return SynergyNet(device="cpu", detector=whole_photo)


@pytest.fixture(scope="module")
def crops() -> list[np.ndarray]:
    """Crops of the test set that ships."""
    faces = EvaluationCrops(OPEN_TEST_FOLDER)
    return [faces[index].numpy() for index in range(16)]


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    """Their landmarks, (N, 3, 68) crop px."""
    labels = EvaluationCrops(OPEN_TEST_FOLDER).labels
    return photo_to_crop(labels.landmarks[:16], labels.roi_box[:16])


def test_a_crop_goes_through_as_it_is(net, crops):
    faces = net.predict(crops)
    network = load_model(OPEN_WEIGHTS).eval()
    with torch.inference_mode():
        images = preprocess(torch.from_numpy(np.stack(crops)), IN_THE_WILD)
        expected = network.landmarks(network.regress(images)).numpy()
    np.testing.assert_allclose(faces.landmarks, expected, atol=BATCH_TOLERANCE_PX)
    np.testing.assert_array_equal(faces.roi_boxes, np.tile([0, 0, 120, 120], (16, 1)))


def test_many_photos_of_many_sizes_with_many_faces_are_as_one_by_one(net, crops):
    collage = np.zeros((200, 300, 3), np.uint8)
    collage[40:160, 10:130], collage[50:170, 150:270] = crops[0], crops[1]
    boxes = [
        np.array([[20, 50, 120, 150], [160, 60, 260, 160]]),
        np.empty((0, 4)),
        np.array([[10, 10, 110, 110, 0.9]]),  # with its score
        np.array([[-40, 30, 60, 130]]),  # cut by the border
    ]
    photos = [collage, crops[2], crops[3], crops[4]]
    faces = net.predict(photos, boxes)
    np.testing.assert_array_equal(faces.image_index, [0, 0, 2, 3])
    for index, (photo, rows) in enumerate(zip(photos, boxes, strict=True)):
        alone = net.predict([photo], [rows])
        together = faces.of_image(index)
        np.testing.assert_allclose(together.landmarks, alone.landmarks, atol=BATCH_TOLERANCE_PX)
        np.testing.assert_array_equal(together.boxes, rows[:, :4])
    expected = net.predict([crops[0]]).landmarks[0] + [[10], [40], [0]]
    np.testing.assert_allclose(faces.landmarks[0], expected, atol=BATCH_TOLERANCE_PX)


def test_a_second_look_repairs_boxes_that_are_off(net, crops, truth):
    off = [whole_photo(crop) + np.array([-14, -24, 14, 4, 0]) for crop in crops]
    twice = copy.copy(net)
    twice.refine_crop = True
    once_nme, twice_nme = (
        landmark_nme(n.predict(crops, off).landmarks, truth).mean() for n in (net, twice)
    )
    assert twice_nme < 0.9 * once_nme
    first = net.predict(crops, off).landmarks
    roi_boxes = twice.predict(crops, off).roi_boxes
    np.testing.assert_array_equal(roi_boxes, square_box_from_landmarks(first))


def test_the_published_call(net, crops):
    landmarks, vertices, poses = net.get_all_outputs(crops[0])
    faces = net.predict(crops[:1])
    np.testing.assert_array_equal(landmarks, faces.landmarks)
    np.testing.assert_array_equal(vertices, faces.vertices)
    ((angles, translation),) = poses
    np.testing.assert_array_equal(angles, np.ravel(faces.pose("published")))
    np.testing.assert_array_equal(translation, faces.translations[0])


def test_no_photo_and_no_face_are_empty(net, crops):
    assert len(net.predict([])) == 0
    faceless = copy.copy(net)
    faceless.detect = lambda photo: np.empty((0, 5))
    assert faceless.get_all_outputs(crops[0]) == ([], [], [])
    assert faceless.predict(crops).vertices.shape[0] == 0


def test_boxes_need_no_detector(crops):
    net = SynergyNet(device="cpu", detector="unknown")
    assert len(net.predict(crops[:1], [np.array([[10, 10, 110, 110]])])) == 1
    with pytest.raises(fileio.InputError, match="unknown detector 'unknown'"):
        net.predict(crops[:1])


@pytest.mark.parametrize(
    "photo", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9, 3))]
)
def test_photos_of_another_kind_are_refused(net, photo):
    with pytest.raises(ValueError, match=r"expected \(H, W, 3\) uint8"):
        net.predict([photo])


def test_boxes_of_another_count_are_refused(net, crops):
    with pytest.raises(ValueError, match="photos: 2, lists of boxes: 1"):
        net.predict(crops[:2], [np.array([[10, 10, 110, 110]])])


def test_published_weights_are_taken_with_their_face_model_only(tmp_path, monkeypatch):
    weights, folder = tmp_path / "best.pth.tar", tmp_path / "3dmm_data"
    monkeypatch.setattr(synergy3DMM, "PUBLISHED_WEIGHTS", weights)
    monkeypatch.setattr(synergy3DMM, "BFM_FOLDER", folder)
    assert synergy3DMM.default_weights() == BUILT_IN
    weights.touch()
    assert synergy3DMM.default_weights() == BUILT_IN
    folder.mkdir()
    for name in synergy3DMM.REQUIRED_FILES:
        (folder / name).touch()
    assert synergy3DMM.default_weights() == weights
