"""`synergynet check`: what is installed, what would be used, and whether the numbers are right.

The built-in network sees the built-in drawn face in every engine that is installed; its numbers are
compared with PyTorch's, which `demo/make_assets.py` wrote beside the weights.
"""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

import synergynet
from synergynet import fileio
from synergynet.detection.detectors import Detector, make_detector, overlap
from synergynet.engines.backbone import OnnxRuntimeEngine, OpenCVEngine, has_onnxruntime
from synergynet.faces import Faces
from synergynet.geometry.crop import BOX_FACTOR
from synergynet.geometry.parameters import IMG_SIZE, N_LANDMARKS, N_PARAMS
from synergynet.net import SynergyNet
from synergynet.weights import Weights, read_weights

ASSETS = Path(__file__).parent.parent / "assets"
FACE, EXPECTED, SUMS = "face.png", "expected.json", "SHA256SUMS"

PARAMS_TOLERANCE = 1e-4  # of whitened parameters: sums in another order give 1e-6
LANDMARKS_TOLERANCE_PX = 0.01
LEAST_OVERLAP = 0.3  # of the detector's box with the face's: how much forehead they hold differs


class Expected(NamedTuple):
    """What PyTorch says of the built-in face: whitened (62,), and landmarks (3, 68) crop px."""

    params_w: np.ndarray
    landmarks: np.ndarray


def check() -> int:
    """Print a screen about this installation; returns the exit code, 1 where a number is wrong.

    Raises:
        InputError: a built-in file is missing or damaged.
    """
    print(describe_installation())
    verify_files(ASSETS)
    print(f"files         {', '.join(sorted(read_sums(ASSETS)))}: as shipped")
    weights, expected = read_weights(), read_expected(ASSETS)
    photo, box = built_in_photo(ASSETS)
    engines: list[type[OnnxRuntimeEngine] | type[OpenCVEngine]] = [OpenCVEngine]
    if has_onnxruntime():
        engines.insert(0, OnnxRuntimeEngine)
    advice = "" if has_onnxruntime() else "; ONNX Runtime would be faster: pip install onnxruntime"
    print(f"engine        auto takes {engines[0].name}{advice}")
    is_right = True
    for engine in engines:
        faces = SynergyNet(weights, engine(weights.path)).predict([photo], [box])
        is_right &= compare(engine.name, faces, weights, expected)
    is_right &= try_detector(photo, box)
    print("everything is right" if is_right else "SOMETHING IS WRONG: see the lines above")
    return 0 if is_right else 1


def describe_installation() -> str:
    """Versions of all that takes part, a line each."""
    owners = sorted(set(importlib.metadata.packages_distributions().get("cv2", [])))
    lines = [
        f"synergynet    {synergynet.__version__}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}",
        f"numpy         {np.__version__}",
        f"OpenCV        {cv2.__version__}, {' and '.join(owners) or 'not from a package'}",
    ]
    if len(owners) > 1:
        lines.append("              these overwrite one another: keep opencv-python-headless")
    if has_onnxruntime():
        lines.append(f"ONNX Runtime  {importlib.metadata.version('onnxruntime')}")
    return "\n".join(lines)


# ---------------------------------------------------------------- built-in files


def read_sums(folder: Path) -> dict[str, str]:
    """SHA-256 of the built-in files by name, as they were shipped.

    Raises:
        InputError: the list is missing or damaged.
    """
    path = folder / SUMS
    rows = [line.split() for line in fileio.read_list(path)]
    if any(len(row) != 2 for row in rows):
        raise fileio.InputError(f"{path}: not a list of SHA-256 and file name")
    return {name: digest for digest, name in rows}


def verify_files(folder: Path) -> None:
    """Compare all built-in files with the list of their hashes.

    Raises:
        InputError: one is missing or altered.
    """
    for name, digest in read_sums(folder).items():
        fileio.require_file(folder / name)
        if fileio.sha256(folder / name) != digest:
            raise fileio.InputError(f"{folder / name}: altered; install synergynet again")


def read_expected(folder: Path) -> Expected:
    """What the built-in face's numbers are.

    Raises:
        InputError: missing or damaged.
    """
    path = folder / EXPECTED
    table = fileio.read_json(path)
    try:
        numbers = [np.array(table[name], np.float64) for name in ("params_w", "landmarks")]
    except (KeyError, TypeError, ValueError):
        raise fileio.InputError(f"{path}: not the numbers of a face") from None
    if [n.shape for n in numbers] != [(N_PARAMS,), (3, N_LANDMARKS)]:
        raise fileio.InputError(f"{path}: not the numbers of a face")
    return Expected(*numbers)


def built_in_photo(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """A grey photo (360, 360, 3) with the drawn face in its middle, and the face's box (1, 4).

    The box's crop is the face's picture, pixel by pixel, so that no resizing takes part.
    """
    face = fileio.read_image(folder / FACE)  # (120, 120, 3)
    photo = np.full((3 * IMG_SIZE, 3 * IMG_SIZE, 3), 127, np.uint8)
    photo[IMG_SIZE : 2 * IMG_SIZE, IMG_SIZE : 2 * IMG_SIZE] = face
    middle, half = 1.5 * IMG_SIZE, IMG_SIZE / BOX_FACTOR / 2
    return photo, np.array([[middle - half, middle - half, middle + half, middle + half]])


# ---------------------------------------------------------------- numbers


def compare(name: str, faces: Faces, weights: Weights, expected: Expected) -> bool:
    """Print how far an engine's face is from the expected one; whether that is near enough."""
    off_w = np.abs(weights.face_model.whiten(faces.params[0]) - expected.params_w).max()
    landmarks = faces.landmarks[0] - faces.roi_boxes[0, [0, 1, 0]][:, None] * [[1], [1], [0]]
    off_px = np.abs(landmarks - expected.landmarks).max()
    is_right = bool(off_w <= PARAMS_TOLERANCE and off_px <= LANDMARKS_TOLERANCE_PX)
    print(
        f"{name:<13} parameters {off_w:.1e}, landmarks {off_px:.1e} px from PyTorch's: "
        + ("right" if is_right else "WRONG")
    )
    return is_right


def try_detector(photo: np.ndarray, box: np.ndarray) -> bool:
    """Print what the detector finds in the built-in photo; an absent one is not wrong."""
    try:
        detect: Detector = make_detector("auto")
    except fileio.InputError as error:
        print(f"detector      {error}")
        return True
    found = detect(photo)
    overlaps = overlap(box[0], found)
    is_right = len(found) == 1 and bool(overlaps[0] >= LEAST_OVERLAP)
    what = f"overlap {overlaps.max():.2f}: " if len(found) else ""
    print(
        f"detector      auto takes {type(detect).__name__}; faces found in the drawing: "
        f"{len(found)} of 1, {what}" + ("right" if is_right else "WRONG")
    )
    return is_right
