"""One network object in threads, in forked processes and through pickle; its built-in weights."""

from __future__ import annotations

import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from synergynet import SynergyNet
from synergynet.detection.detectors import whole_photo
from synergynet.engines.backbone import OnnxRuntimeEngine, OpenCVEngine, has_onnxruntime
from synergynet.faces import describe_faces
from synergynet.geometry.camera import move_params
from synergynet.photos.quarter_turns import turn_back, turns_to_upright
from synergynet.weights import BUILT_IN
from utils.data.evaluation_crops import OPEN_TEST_FOLDER, EvaluationCrops

CHILD_S = 60  # a child that waits for its parent's threads would wait for good
needs_onnxruntime = pytest.mark.skipif(not has_onnxruntime(), reason="needs ONNX Runtime")
ENGINES = (
    pytest.param(OnnxRuntimeEngine, marks=needs_onnxruntime, id="onnx"),
    pytest.param(OpenCVEngine, id="opencv"),
)


@pytest.fixture(params=ENGINES)
def net(request: pytest.FixtureRequest) -> SynergyNet:
    """The built-in weights; every photo is taken for a crop of a face."""
    return SynergyNet(None, request.param(BUILT_IN), whole_photo)


@pytest.fixture(scope="module")
def crops() -> list[np.ndarray]:
    faces = EvaluationCrops(OPEN_TEST_FOLDER)
    return [faces[index].numpy() for index in range(32)]


def test_many_threads_share_one_object(net, crops):
    expected = [net.predict([crop]).landmarks for crop in crops]
    fresh = SynergyNet(None, type(net.engine)(BUILT_IN), whole_photo)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda crop: fresh.predict([crop]).landmarks, crops))
    np.testing.assert_array_equal(found, expected)


def test_a_forked_process_predicts_what_its_parent_does(net, crops):
    expected = net.predict(crops[:4]).landmarks  # the parent's threads are there before the fork
    threads = cv2.getNumThreads()
    cv2.resize(np.zeros((3000, 3000), np.uint8), (999, 999), interpolation=cv2.INTER_AREA)  # too
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=lambda: results.put(net.predict(crops[:4]).landmarks))
    child.start()
    found = results.get(timeout=CHILD_S)
    child.join(CHILD_S)
    assert child.exitcode == 0
    np.testing.assert_array_equal(found, expected)
    assert cv2.getNumThreads() == threads


def test_heads_that_lie_are_looked_at_again_upright(crops):
    """The engine here is right about upright heads only; crops say by a white edge how they lie."""
    net = SynergyNet(None, OpenCVEngine(BUILT_IN), whole_photo)
    upright = net.predict([crops[0]]).params
    assert turns_to_upright(upright) == [0]
    seen = []

    def engine(batch):
        edges = [[c[0].mean(), c[:, 0].mean(), c[-1].mean(), c[:, -1].mean()] for c in batch]
        turns = np.argmax(edges, axis=1)  # np.rot90 takes the top to the left
        seen.append(turns.tolist())
        params = move_params(np.repeat(upright, len(batch), 0), turn_back(-turns % 4))
        params[turns > 0, -1] += 1
        return net.model.whiten(params.astype(np.float32))

    crop = np.zeros((120, 120, 3), np.uint8)
    crop[:9] = 255
    turned = [np.ascontiguousarray(np.rot90(crop, turns)) for turns in range(4)]
    boxes = [whole_photo(crop) for crop in turned]
    faces = SynergyNet(net.weights, engine).predict(turned, boxes)
    assert seen == [[0, 1, 2, 3], [0, 0, 0]]
    for turns in range(4):
        expected = move_params(upright, turn_back(np.array([-turns % 4])))
        np.testing.assert_allclose(faces.params[[turns]], expected, rtol=1e-3, atol=1e-3)


def test_pickled_and_unpickled(net, crops):
    twin = pickle.loads(pickle.dumps(net))
    expected = net.predict(crops[:4])
    found = twin.predict(crops[:4])
    np.testing.assert_array_equal(found.landmarks, expected.landmarks)
    again = pickle.loads(pickle.dumps(expected))
    np.testing.assert_array_equal(again.vertices, expected.vertices)


def test_what_was_loaded_ahead_gives_the_same_numbers(net, crops):
    expected = net.predict(crops[:4]).landmarks
    fresh = SynergyNet(None, type(net.engine)(BUILT_IN), whole_photo)
    fresh.load_ahead()
    np.testing.assert_array_equal(fresh.predict(crops[:4]).landmarks, expected)


def test_detector_and_network_begin_to_load_ahead(net, monkeypatch):
    loading: list[str] = []
    monkeypatch.setattr(type(net.engine), "load_ahead", lambda _: loading.append("network"))

    class Detector:
        def __call__(self, photo: np.ndarray) -> np.ndarray:
            return whole_photo(photo)

        def load_ahead(self) -> None:
            loading.append("detector")

    SynergyNet(net.weights, net.engine, Detector()).load_ahead()
    assert loading == ["detector", "network"]
    SynergyNet(net.weights, lambda crops: crops, whole_photo).load_ahead()  # functions have nothing
    assert len(loading) == 2


def test_engines_are_functions_that_users_may_write(net, crops):
    ours = SynergyNet(net.weights, lambda batch: net.engine(batch), whole_photo)
    np.testing.assert_array_equal(ours.predict(crops[:3]).params, net.predict(crops[:3]).params)


@pytest.mark.parametrize(
    ("images", "boxes", "message"),
    [
        (np.zeros((120, 120, 3), np.uint8), None, r"pass \[photo\]"),
        ([None], None, "cv2.imread returns None"),
        ([np.zeros((120, 120), np.uint8)], None, r"expected \(H, W, 3\) uint8"),
        ([np.zeros((120, 120, 3))], None, r"expected \(H, W, 3\) uint8"),
        ([np.zeros((0, 120, 3), np.uint8)], None, "no pixel"),
        ([np.zeros((120, 120, 3), np.uint8)], [], "photos: 1, lists of boxes: 0"),
        ([np.zeros((120, 120, 3), np.uint8)], [[[0, 0, 0, 10]]], "x1 <= x0"),
        ([np.zeros((120, 120, 3), np.uint8)], [[0, 0, 10, 10]], r"expected \(n, 4\)"),
    ],
)
def test_what_is_no_list_of_photos_is_named(net, images, boxes, message):
    with pytest.raises(ValueError, match=message):
        net.predict(images, boxes)


@pytest.mark.parametrize("boxes", [[[]], [np.empty((0, 4))], [np.empty((0, 5))]])
def test_no_face_is_no_error(net, boxes):
    faces = net.predict([np.zeros((120, 120, 3), np.uint8)], boxes)
    assert len(faces) == 0
    assert faces.vertices.shape == (0, 3, net.model.n_vertices)
    assert faces.pose().yaw.shape == (0,)


def test_scores_are_the_detectors_and_one_without(net, crops):
    boxes = np.array([[10, 10, 110, 110, 0.7], [0, 0, 60, 60, 0.9]])
    net.refine_crop = True
    np.testing.assert_array_equal(net.predict([crops[0]], [boxes]).scores, [0.7, 0.9])
    np.testing.assert_array_equal(net.predict([crops[0]], [boxes[:, :4]]).scores, [1, 1])
    assert describe_faces(net.predict([crops[0]], [boxes]))[1]["score"] == 0.9
