"""The backbone of an ONNX file in ONNX Runtime, or in OpenCV's own DNN module.

    engine = make_engine("auto", "network.onnx")
    params_w = engine(crops)  # (B, 62) from (B, 120, 120, 3) uint8 BGR

Both give the same numbers up to rounding (`tests/synergynet/engines`), may be called from many
threads, and load the file again in a forked process. What each is worth: benchmarks/engines.py.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from synergynet import fileio
from synergynet.engines import ENGINES
from synergynet.geometry.parameters import IMG_SIZE, N_PARAMS
from synergynet.photos.crops import PIXEL_MEAN, PIXEL_STD
from synergynet.processes import LoadsAhead, PerProcess

Engine = Callable[[np.ndarray], np.ndarray]

MICRO_BATCH = 16  # its activations stay in the processor's cache; more images are slower
INPUT, OUTPUT = "images", "params_w"  # names in the ONNX file


def make_engine(name: str, path: str | os.PathLike[str]) -> Engine:
    """The engine that a flag names, for the backbone in an ONNX file.

    Args:
        name: `onnx` is ONNX Runtime, `opencv` OpenCV's DNN, `auto` the first where it is installed.
        path: the file; it is read when the engine is first called.
    Raises:
        InputError: unknown name, or ONNX Runtime is not installed.
    """
    path = Path(path)
    if name not in ENGINES:
        raise fileio.InputError(f"unknown engine '{name}'; choose from {', '.join(ENGINES)}")
    if name == "onnx" and not has_onnxruntime():
        raise fileio.InputError(
            "engine onnx: ONNX Runtime is not installed; pip install onnxruntime"
        )
    if name == "opencv" or not has_onnxruntime():
        return OpenCVEngine(path)
    return OnnxRuntimeEngine(path)


def has_onnxruntime() -> bool:
    """Whether ONNX Runtime is installed; nothing is imported."""
    return importlib.util.find_spec("onnxruntime") is not None


class OnnxRuntimeEngine(LoadsAhead):
    """ONNX Runtime on the CPU. OMP_NUM_THREADS limits its threads."""

    name = "ONNX Runtime"

    def __init__(self, path: Path) -> None:
        self.loaded = PerProcess(functools.partial(_onnxruntime_session, path))

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """Whitened parameters (B, 62) of crops (B, 120, 120, 3) uint8 BGR."""
        session = self.loaded.get()  # its run() is safe in threads
        return _in_chunks(crops, lambda blob: session.run([OUTPUT], {INPUT: blob})[0])


class OpenCVEngine(LoadsAhead):
    """OpenCV's DNN module, which every installation has."""

    name = "OpenCV DNN"

    def __init__(self, path: Path) -> None:
        self.loaded = PerProcess(functools.partial(read_opencv_net, path))

    def __call__(self, crops: np.ndarray) -> np.ndarray:
        """Whitened parameters (B, 62) of crops (B, 120, 120, 3) uint8 BGR."""
        net = self.loaded.get()

        def run(blob: np.ndarray) -> np.ndarray:
            net.setInput(blob, INPUT)
            return np.array(net.forward(OUTPUT))

        with self.loaded.lock:  # a net holds its input and activations
            return _in_chunks(crops, run)


def _in_chunks(crops: np.ndarray, run: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    starts = range(0, len(crops), MICRO_BATCH)
    parts = [run(network_input(crops[start : start + MICRO_BATCH])) for start in starts]
    return np.concatenate([np.empty((0, N_PARAMS), np.float32), *parts])


def network_input(crops: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
    """(B, 3, 120, 120) float32, (x - 127.5) / 128, of crops (B, 120, 120, 3) uint8."""
    size = (IMG_SIZE, IMG_SIZE)
    blob = cv2.dnn.blobFromImages(list(crops), 1 / PIXEL_STD, size, (PIXEL_MEAN,) * 3)
    return np.asarray(blob)


def _onnxruntime_session(path: Path) -> Any:
    try:
        import onnxruntime  # optional dependency
    except Exception as error:  # of another system, or half removed
        raise fileio.InputError(
            f"ONNX Runtime is installed but does not start ({error}); "
            f"install it again, remove it, or use engine opencv"
        ) from None

    fileio.require_file(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS") or 0)  # 0: every core
    options.log_severity_level = 3  # errors only
    try:
        return onnxruntime.InferenceSession(
            os.fspath(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception:  # it raises a dozen kinds on damaged files
        raise fileio.InputError(f"{path}: not an ONNX file that ONNX Runtime can run") from None


def read_opencv_net(path: Path) -> cv2.dnn.Net:
    """An ONNX file as a net of OpenCV's DNN module.

    Raises:
        InputError: missing, or not such a file.
    """
    fileio.require_file(path)
    try:
        return cv2.dnn.readNetFromONNX(os.fspath(path))
    except cv2.error:
        raise fileio.InputError(f"{path}: not an ONNX file that OpenCV can run") from None
