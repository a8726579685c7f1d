"""The page in the browser, demo/web/: its numbers are Python's.

Its arithmetic is compared in node, which needs no package; then the built page in Chromium, with a
film of a drawn face as the webcam (`make web` fetches what that needs).
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from synergynet import Faces, SynergyNet, fileio
from synergynet.geometry.camera import move_params
from synergynet.geometry.crop import roi_box_from_face_box, square_box_from_landmarks, tight_box
from synergynet.geometry.pose import decode_pose
from synergynet.photos.crops import network_crop
from synergynet.photos.quarter_turns import turn_back, turns_to_upright
from synergynet.weights import BUILT_IN, read_weights
from utils.data.folders import ROOT

WEB = ROOT / "demo" / "web"
NODE = shutil.which("node")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
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
VERTICES_TOLERANCE = 1e-4  # of the face's size: bases are rounded to steps of 1 micrometre
POSE_TOLERANCE_DEG = 1e-3

# of the page against Python, both in float32 but in other orders
PAGE_TOLERANCE_PX = 0.01
PAGE_TOLERANCE_DEG = 0.01
MOST_BYTES = 15e6  # of the built site

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


def run_node(script: str, *arguments: object) -> str:
    command = [str(NODE), str(WEB / "test" / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


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
        size = np.ptp(vertices[i], axis=1).max()
        np.testing.assert_allclose(points / size, vertices[i] / size, atol=VERTICES_TOLERANCE)
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


@needs_node
def test_faces_are_found_followed_lost_and_found_again():
    """By a made-up network that sees a face from nearby only."""
    told = json.loads(run_node("track.mjs"))
    there, gone, back = (told["parts"][name] for name in ("there", "gone", "back"))
    for frames in (there, back):
        first = frames.index("face")
        assert first < 30
        assert set(frames[first:]) == {"face"}
    assert "face" not in gone
    assert set(gone[20:]) == {"none"}, "given up"
    assert told["found"]["isFace"]
    assert told["found"]["isSure"]
    assert not told["none"]["isSure"]
    assert told["stopped"] is None


# ---------------------------------------------------------------- in Chromium

DRAWN = ROOT / "synergynet" / "assets" / "face.png"
SIZE = (480, 640)  # of photo and film, rows and columns
FACE_PX = 300  # of the drawn face in them
PHOTO_AT = (260, 90)  # its corner in the photo, x and y
SQUARE = (300, 140, 520, 360)  # around its brow to chin
TURNED_SQUARE = (120, 120, 340, 340)  # where the photo stands on its head


def scene(x: int, y: int) -> np.ndarray:
    """A grey picture with the drawn face in it, its corner at x, y."""
    picture = np.full((*SIZE, 3), 127, np.uint8)
    face = cv2.resize(fileio.read_image(DRAWN), (FACE_PX, FACE_PX), interpolation=cv2.INTER_CUBIC)
    picture[y : y + FACE_PX, x : x + FACE_PX] = face
    return picture


def write_film(path: Path) -> None:
    """Two seconds in which the face goes around in a circle, for Chromium's webcam."""
    with path.open("wb") as file:
        file.write(b"YUV4MPEG2 W%d H%d F30:1 Ip A1:1 C420jpeg\n" % (SIZE[1], SIZE[0]))
        for turn in np.linspace(0, 2 * np.pi, 60, endpoint=False):
            frame = scene(round(170 + 80 * np.sin(turn)), round(90 + 30 * np.cos(turn)))
            file.write(b"FRAME\n" + cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420).tobytes())


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """What the page says of the photo and of the film, and the folder of its screenshots."""
    if NODE is None:
        pytest.skip("node is not installed")
    if not (WEB / "node_modules" / "playwright-core").is_dir():
        pytest.skip("the page's packages are not installed: make web")
    if not CHROMIUM:
        pytest.skip("Chromium is not installed")
    folder = tmp_path_factory.mktemp("page")
    run_node("../build.mjs")
    fileio.write_image(folder / "photo.png", scene(*PHOTO_AT))
    fileio.write_image(folder / "turned.png", scene(*PHOTO_AT)[::-1, ::-1])
    write_film(folder / "film.y4m")
    files = {name: str(folder / name) for name in ("photo.png", "turned.png", "film.y4m")}
    request = {Path(name).stem: path for name, path in files.items()}
    request |= {"square": SQUARE, "turnedSquare": TURNED_SQUARE}
    request |= {"chromium": CHROMIUM, "frames": 3}
    (folder / "request.json").write_text(json.dumps(request))
    run_node("browse.mjs", folder)
    return json.loads((folder / "answer.json").read_text()), folder


@pytest.fixture(scope="module")
def net():
    return SynergyNet(detector="none", refine_crop=True)


def picture_of(snapshot: dict) -> np.ndarray:
    """The pixels that the page had, (H, W, 3) BGR."""
    data = base64.b64decode(snapshot["picture"].partition(",")[2])
    return fileio.decode_image("page.png", data)


def assert_same_face(snapshot: dict, faces: Faces) -> None:
    """The page's landmarks, dense face and pose are those of Python's only face."""
    landmarks = np.array(snapshot["landmarks"]).T
    np.testing.assert_allclose(landmarks, faces.landmarks[0], atol=PAGE_TOLERANCE_PX)
    vertices = np.reshape(snapshot["vertices"], (-1, 3)).T
    np.testing.assert_allclose(vertices, faces.vertices[0], atol=PAGE_TOLERANCE_PX)
    angles = [snapshot["pose"]["exact"][name] for name in ("yaw", "pitch", "roll")]
    np.testing.assert_allclose(angles, np.ravel(faces.pose()), atol=PAGE_TOLERANCE_DEG)


def look_again(net: SynergyNet, snapshot: dict) -> Faces:
    """What Python sees in the page's crop."""
    assert snapshot["exact"]
    box = np.array([snapshot["roi_box"]])
    return net.predict_crops([picture_of(snapshot)], np.zeros(1, int), box, box, exact=True)


@pytest.mark.parametrize("name", ["desktop", "phone", "turned"])
def test_a_square_dragged_around_a_face_is_refine_crop(page, net, name):
    snapshot = page[0][f"{name}Dragged"]
    photo, square = scene(*PHOTO_AT), SQUARE
    if name == "turned":
        photo, square = photo[::-1, ::-1], TURNED_SQUARE
        assert abs(snapshot["pose"]["exact"]["roll"]) > 135, "it stands on its head"
    np.testing.assert_array_equal(picture_of(snapshot), photo)
    np.testing.assert_allclose(snapshot["box"], square, atol=2)  # whole px of the screen
    faces = net.predict([photo], [np.array([snapshot["box"]])])
    np.testing.assert_array_equal(snapshot["roi_box"], faces.roi_boxes[0])
    assert_same_face(snapshot, faces)


def test_a_face_is_found_without_a_square(page, net):
    snapshot = page[0]["desktopFound"]
    assert page[0]["desktopHint"].startswith("Another face?")
    faces = look_again(net, snapshot)
    assert_same_face(snapshot, faces)
    expected = net.predict([scene(*PHOTO_AT)], [np.array([SQUARE])]).landmarks[0]
    assert np.linalg.norm(faces.landmarks[0, :2] - expected[:2], axis=0).mean() < 0.03 * FACE_PX


def test_a_webcam_is_followed_as_in_python(page, net):
    answer, _ = page
    assert len(answer["frames"]) == 6
    assert len({tuple(frame["roi_box"]) for frame in answer["frames"]}) > 1, "the face moves"
    for frame in answer["frames"]:
        before = np.reshape(frame["before"], (68, 3)).T
        np.testing.assert_array_equal(frame["roi_box"], square_box_from_landmarks(before))
        assert_same_face(frame, look_again(net, frame))
        x0, y0, x1, y1 = tight_box(np.array(frame["landmarks"]).T)
        shown = np.argwhere(np.abs(picture_of(frame).astype(int) - 127).max(axis=2) > 20)
        (top, left), (bottom, right) = shown.min(axis=0), shown.max(axis=0)
        assert left < (x0 + x1) / 2 < right
        assert top < (y0 + y1) / 2 < bottom
    assert answer["desktop_webcamRate"] > 0
    assert answer["desktop_webcamTook"].endswith(" ms")


def test_numbers_are_saved_as_the_command_writes_them(page):
    answer, _ = page
    assert answer["savedName"] == "photo.json"
    saved = answer["saved"]
    assert saved.items() <= answer["desktopDragged"].items()
    assert {"box", "roi_box", "pose", "landmarks", "params"} < saved.keys()


def test_nothing_goes_wrong_and_nothing_leaves_the_page(page):
    answer, folder = page
    assert answer["strangers"] == []
    assert answer["problems"] == []
    assert not answer["overflow"], "wider than a phone"
    for name in ("desktop_dragged", "desktop_clay", "desktop_webcam", "phone_dragged"):
        assert fileio.read_image(folder / f"{name}.png").std() > 20, name


@pytest.mark.usefixtures("page")
def test_the_site_is_small():
    assert sum(path.stat().st_size for path in (WEB / "dist").iterdir()) < MOST_BYTES


def test_packages_are_pinned_and_name_no_registry():
    package = fileio.read_json(WEB / "package.json")
    versions = {**package["dependencies"], **package["devDependencies"]}
    lock = fileio.read_json(WEB / "package-lock.json")["packages"]
    for name, version in versions.items():
        assert version.replace(".", "").isdigit(), f"{name} is not pinned"
        assert lock[f"node_modules/{name}"]["version"] == version
    assert not any("resolved" in entry for entry in lock.values())
