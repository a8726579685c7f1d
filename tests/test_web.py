"""The page in the browser, demo/web/: its numbers are Python's."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from synergynet.geometry.camera import move_params
from synergynet.geometry.crop import roi_box_from_face_box, square_box_from_landmarks
from synergynet.geometry.pose import decode_pose
from synergynet.photos.crops import network_crop
from synergynet.photos.quarter_turns import turn_back, turns_to_upright
from synergynet.weights import BUILT_IN, read_weights
from utils.data.folders import ROOT

WEB = ROOT / "demo" / "web"
NODE = shutil.which("node")
# width and height of a photo, and a crop box in it: enlarged and reduced, as it is, exactly halved,
# reaching outside on all sides, not square, one pixel
CROPS = [
    ((300, 200), (20, 30, 77, 87)),
    ((640, 480), (101, 55, 444, 398)),
    ((150, 140), (10, 10, 130, 130)),
    ((400, 400), (60, 70, 300, 310)),
    ((200, 300), (-40, -25, 330, 345)),
    ((300, 300), (13, 17, 250, 111)),
    ((90, 90), (-200, 300, -100, 400)),
    ((30, 30), (7, 9, 8, 10)),
]
LANDMARKS_TOLERANCE_PX = 1e-3  # of the crop: float32 against float64
VERTICES_TOLERANCE_PX = 5e-3  # 16 bits of the bases
POSE_TOLERANCE_DEG = 1e-3

needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")


@pytest.fixture(scope="module")
def model():
    return read_weights().face_model


@pytest.fixture(scope="module")
def photos(seed=5):
    """Noise, whose crops show every rounding."""
    random = np.random.default_rng(seed)
    return [random.integers(0, 256, (h, w, 3), np.uint8) for (w, h), _ in CROPS]


@pytest.fixture(scope="module")
def params_w(seed=6):
    """Whitened parameters of heads of all kinds, some of them lying."""
    params_w = np.random.default_rng(seed).standard_normal((40, 62)).astype(np.float32)
    params_w[20:, :12] *= 12
    return params_w


FACE_BOXES = [[10.5, 20.25, 110.5, 143.75], [-3, -4, 50, 61], [0, 0, 5, 0.2]]


@pytest.fixture(scope="module")
def answer(photos, params_w, tmp_path_factory):
    """What the page's modules compute in node, and the folder of its crops."""
    folder = tmp_path_factory.mktemp("web")
    crops = []
    for i, (photo, (_, box)) in enumerate(zip(photos, CROPS, strict=True)):
        (folder / f"photo{i}.bin").write_bytes(to_rgba(photo).tobytes())
        height, width = photo.shape[:2]
        crops.append({"file": f"photo{i}.bin", "width": width, "height": height, "box": box})
    request = {"crops": crops, "paramsW": params_w.tolist(), "faceBoxes": FACE_BOXES}
    (folder / "request.json").write_text(json.dumps(request))
    npz = BUILT_IN.with_suffix(".npz")
    run_node("compute.mjs", folder, npz)
    return json.loads((folder / "answer.json").read_text()), folder


def run_node(script: str, *arguments: object) -> None:
    command = [str(NODE), str(WEB / "test" / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def to_rgba(photo: np.ndarray) -> np.ndarray:
    alpha = np.full((*photo.shape[:2], 1), 255, np.uint8)
    return np.concatenate([photo[:, :, ::-1], alpha], axis=2)


def read_crop(path: Path) -> np.ndarray:
    """(120, 120, 3) BGR of a file of RGBA bytes."""
    return np.frombuffer(path.read_bytes(), np.uint8).reshape(120, 120, 4)[:, :, 2::-1]


@needs_node
def test_crops_are_those_of_opencv_bit_for_bit(answer, photos):
    _, folder = answer
    for i, (photo, (_, box)) in enumerate(zip(photos, CROPS, strict=True)):
        expected = network_crop(photo, np.array(box))
        np.testing.assert_array_equal(read_crop(folder / f"crop{i}.bin"), expected, err_msg=box)
        for turns in (1, 2, 3):
            turned = read_crop(folder / f"crop{i}_turned{turns}.bin")
            np.testing.assert_array_equal(turned, np.rot90(expected, turns))


@needs_node
def test_decoding_is_that_of_the_runtime(answer, model, params_w):
    faces = answer[0]["faces"]
    params = model.unwhiten(params_w)
    pose = np.stack(decode_pose(params), axis=1)
    landmarks, vertices = model.landmarks(params), model.vertices(params)
    assert answer[0]["borderPx"] == read_weights().border_px
    assert len(set(turns_to_upright(params).tolist())) == 4
    for i, face in enumerate(faces):
        points = np.reshape(face["landmarks"], (68, 3)).T
        np.testing.assert_allclose(points, landmarks[i], atol=LANDMARKS_TOLERANCE_PX)
        points = np.reshape(face["vertices"], (-1, 3)).T
        np.testing.assert_allclose(points, vertices[i], atol=VERTICES_TOLERANCE_PX)
        angles = [face["pose"][name] for name in ("yaw", "pitch", "roll")]
        np.testing.assert_allclose(angles, pose[i], atol=POSE_TOLERANCE_DEG)
        assert face["turns"] == turns_to_upright(params[i : i + 1])[0]
        for turns, moved in zip((1, 2, 3), face["turnedBack"], strict=True):
            expected = move_params(
                params[i : i + 1].astype(np.float64), turn_back(np.array([turns]))
            )
            np.testing.assert_allclose(moved, expected[0], rtol=1e-5, atol=1e-4)
        np.testing.assert_array_equal(face["squareBox"], square_box_from_landmarks(landmarks[i]))
    roi_boxes = roi_box_from_face_box(np.array(FACE_BOXES))
    np.testing.assert_array_equal(answer[0]["roiBoxes"], roi_boxes)
