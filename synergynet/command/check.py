"""`synergynet check`: what is installed, what would be used, and whether the numbers are right.

The built-in drawn face is put into a photo, whose way is that of every photo: box, crop, network,
landmarks, pose. Each engine that is installed goes it, and its numbers are compared with PyTorch's,
which `demo/make_assets.py` wrote beside the weights. What is wrong gets a line, never a traceback.
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
from synergynet.detection.boxes import overlap
from synergynet.detection.detectors import Detector, make_detector
from synergynet.engines.backbone import (
    OnnxRuntimeEngine,
    OpenCVEngine,
    has_onnxruntime,
    make_engine,
)
from synergynet.errors import one_line
from synergynet.geometry.crop import BOX_FACTOR
from synergynet.geometry.parameters import IMG_SIZE, N_LANDMARKS, N_PARAMS
from synergynet.net import SynergyNet
from synergynet.weights import BUILT_IN, Weights, read_weights

ASSETS = BUILT_IN.parent
FACE, EXPECTED, SUMS = "face.png", "expected.json", "SHA256SUMS"
BUILT_IN_FILES = {BUILT_IN.name, BUILT_IN.with_suffix(".npz").name, FACE, EXPECTED}

# Odd: when the crop is resized, each of its pixels falls on the middle of one pixel of the face, so
# that no interpolation takes part, which processors round in different ways.
ENLARGED = 3
PARAMS_TOLERANCE = 1e-4  # of whitened parameters: sums in another order give 1e-6
LANDMARKS_TOLERANCE_PX = 0.01  # of the crop
POSE_TOLERANCE_DEG = 0.01
LEAST_OVERLAP = 0.3  # of the detector's box with the face's: how much forehead they hold differs
REINSTALL = "install it again: pip install --force-reinstall --no-deps"


class Expected(NamedTuple):
    """What PyTorch says of the built-in face: whitened (62,), (3, 68) crop px, yaw pitch roll."""

    params_w: np.ndarray
    landmarks: np.ndarray
    pose_deg: np.ndarray


EXPECTED_SHAPES = ((N_PARAMS,), (3, N_LANDMARKS), (3,))


def check() -> int:
    """Print a screen about this installation; returns the exit code, 1 where something is wrong."""
    is_right = describe_libraries()
    try:
        verify_files(ASSETS)
        weights, expected = read_weights(), read_expected(ASSETS)
        photo, box = built_in_photo(ASSETS)
    except (fileio.InputError, OSError) as error:
        print_line("files", f"{one_line(error)}: WRONG")
        is_right = False
    else:
        print_line("files", f"{', '.join(sorted(BUILT_IN_FILES))}: as shipped")
        is_right &= try_engines(weights, photo, box, expected)
        is_right &= try_detector(photo, box)
    print("everything is right" if is_right else "SOMETHING IS WRONG: see the lines above")
    return 0 if is_right else 1


def print_line(title: str, text: str) -> None:
    """One line of the screen."""
    print(f"{title:<13} {text}")


def describe_libraries() -> bool:
    """Print the versions of all that takes part; whether OpenCV is one that will do."""
    system = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    print_line("synergynet", f"{synergynet.__version__}, {system}")
    print_line("numpy", np.__version__)
    owners = importlib.metadata.packages_distributions()
    providers = sorted(set(owners.get("cv2", [])))
    print_line("OpenCV", f"{cv2.__version__}, {' and '.join(providers) or 'not from a package'}")
    if len(providers) > 1:
        print_line("", "these overwrite one another: keep opencv-python-headless")
    is_new = hasattr(cv2, "triangleRasterize")
    if not is_new:
        print_line("", f"too old, no drawing: {REINSTALL} 'opencv-python-headless>=5': WRONG")
    for package in sorted(set(owners.get("onnxruntime", []))):
        print_line("ONNX Runtime", f"{importlib.metadata.version(package)}, {package}")
    return is_new


# ---------------------------------------------------------------- built-in files


def read_sums(folder: Path) -> dict[str, str]:
    """SHA-256 of the built-in files by name, as they were shipped.

    Raises:
        InputError: the list is missing, damaged, or leaves a file out.
    """
    path = folder / SUMS
    rows = [line.split() for line in fileio.read_list(path)]
    if any(len(row) != 2 for row in rows) or {name for _, name in rows} != BUILT_IN_FILES:
        raise fileio.InputError(f"{path}: not the SHA-256 of {', '.join(sorted(BUILT_IN_FILES))}")
    return {name: digest for digest, name in rows}


def verify_files(folder: Path) -> None:
    """Compare all built-in files with the list of their hashes.

    Raises:
        InputError: one is missing or altered.
    """
    for name, digest in read_sums(folder).items():
        if fileio.sha256(folder / name) != digest:
            raise fileio.InputError(f"{folder / name}: altered; {REINSTALL} synergynet")


def read_expected(folder: Path) -> Expected:
    """What the built-in face's numbers are.

    Raises:
        InputError: missing or damaged.
    """
    path = folder / EXPECTED
    table = fileio.read_json(path)
    try:
        expected = Expected(*(np.array(table[name], np.float64) for name in Expected._fields))
    except (KeyError, TypeError, ValueError):
        raise fileio.InputError(f"{path}: not the numbers of a face") from None
    if tuple(numbers.shape for numbers in expected) != EXPECTED_SHAPES:
        raise fileio.InputError(f"{path}: not the numbers of a face")
    return expected


def built_in_photo(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """A grey photo (1080, 1080, 3) with the drawn face large in its middle, and its box (1, 4)."""
    face = fileio.read_image(folder / FACE)  # (120, 120, 3)
    side = ENLARGED * IMG_SIZE
    photo = np.full((3 * side, 3 * side, 3), 127, np.uint8)
    photo[side : 2 * side, side : 2 * side] = face.repeat(ENLARGED, 0).repeat(ENLARGED, 1)
    middle, half = 1.5 * side, side / BOX_FACTOR / 2
    return photo, np.array([[middle - half, middle - half, middle + half, middle + half]])


# ---------------------------------------------------------------- numbers


def try_engines(weights: Weights, photo: np.ndarray, box: np.ndarray, expected: Expected) -> bool:
    """Print how near every installed engine's face is to the expected one; whether all are right.

    Args:
        weights: the built-in ones.
        photo, box: of `built_in_photo`.
        expected: of `read_expected`.
    """
    engines: list[OnnxRuntimeEngine | OpenCVEngine] = [OpenCVEngine(weights.path)]
    if has_onnxruntime():
        engines.insert(0, OnnxRuntimeEngine(weights.path))
    auto = type(make_engine("auto", weights.path))
    (name,) = (engine.name for engine in engines if type(engine) is auto)
    advice = "" if has_onnxruntime() else "; ONNX Runtime would be faster: pip install onnxruntime"
    print_line("engine", f"auto takes {name}{advice}")
    results = []
    for engine in engines:
        try:
            results.append(compare(SynergyNet(weights, engine), photo, box, expected, engine.name))
        except Exception as error:  # libraries that do not fit have errors of many kinds
            print_line(engine.name, f"{one_line(error)}: WRONG")
            results.append(False)
    return all(results)


def compare(
    net: SynergyNet, photo: np.ndarray, box: np.ndarray, expected: Expected, name: str
) -> bool:
    """Print how far the face in the photo is from the expected one; whether that is near enough."""
    faces = net.predict([photo], [box])
    start = np.array([[ENLARGED * IMG_SIZE], [ENLARGED * IMG_SIZE], [0]])  # of the crop, z is free
    found = Expected(
        net.model.whiten(faces.params[0]),
        (faces.landmarks[0] - start) / ENLARGED,
        np.array([angle[0] for angle in faces.pose("exact")]),
    )
    off = [float(np.abs(got - want).max()) for got, want in zip(found, expected, strict=True)]
    tolerances = (PARAMS_TOLERANCE, LANDMARKS_TOLERANCE_PX, POSE_TOLERANCE_DEG)
    is_right = all(o <= most for o, most in zip(off, tolerances, strict=True))  # NaN is not
    text = "parameters {:.1e}, landmarks {:.1e} px, pose {:.1e} degrees from PyTorch's".format(*off)
    print_line(name, f"{text}: {'right' if is_right else 'WRONG'}")
    return is_right


def try_detector(photo: np.ndarray, box: np.ndarray) -> bool:
    """Print what the detector finds in the built-in photo; an absent one is not wrong."""
    try:
        detect: Detector = make_detector("auto")
    except fileio.InputError as error:
        print_line("detector", one_line(error))
        return True
    try:
        found = detect(photo)
    except Exception as error:  # as of engines
        print_line("detector", f"{one_line(error)}: WRONG")
        return False
    overlaps = overlap(box[0], found)
    is_right = len(found) == 1 and bool(overlaps[0] >= LEAST_OVERLAP)
    what = f", overlap {overlaps.max():.2f}" if len(found) else ""
    print_line(
        "detector",
        f"auto takes {type(detect).__name__}; faces found in the drawing: {len(found)} of 1{what}: "
        + ("right" if is_right else "WRONG"),
    )
    return is_right
