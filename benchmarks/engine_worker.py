"""What benchmarks/engines.py times, each row of its table in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from synergynet.engines.backbone import Engine, OnnxRuntimeEngine, OpenCVEngine
from synergynet.weights import BUILT_IN

ENGINES = ("OpenCV DNN", "ONNX Runtime", "ONNX Runtime, int8", "PyTorch")
LIMIT = "limit"  # of the processor, beside the engines
MATRIX = 1536  # rows and columns of the matrices whose product is the limit
LEAST_S = 0.2  # of a timed run; short ones are repeated within it

_work: dict[int, Callable[[], object]] = {}  # of this process: what it times, by batch size


def build_engine(name: str, int8: Path) -> Engine:
    """One of ENGINES for the built-in network; `int8` is the file of its quantised twin."""
    if name == "PyTorch":
        from utils.data.folders import OPEN_WEIGHTS  # imports torch, which the others' processes
        from utils.inference.crop_engine import load_engine  # shall not

        return load_engine(OPEN_WEIGHTS, "cpu", engine="torch")[1]
    if name == "OpenCV DNN":
        return OpenCVEngine(BUILT_IN)
    return OnnxRuntimeEngine(int8 if name == "ONNX Runtime, int8" else BUILT_IN)


def prepare(name: str, crops: np.ndarray, batches: list[int], int8: Path) -> None:
    """Make ready what `seconds_each` times in this process, and run it once.

    Args:
        name: LIMIT, or one of ENGINES.
        crops: (N, 120, 120, 3) uint8 BGR; they are repeated where a batch has more.
        batches: sizes.
        int8: see `build_engine`.
    """
    if name == LIMIT:
        a, b = np.random.default_rng(0).standard_normal((2, MATRIX, MATRIX), np.float32)
        _work.update(dict.fromkeys(batches, lambda: a @ b))
    else:
        engine = build_engine(name, int8)
        repeated = np.resize(crops, (max(batches), *crops.shape[1:]))
        for batch in batches:
            _work[batch] = lambda images=repeated[:batch]: engine(images)
    for run in _work.values():
        run()


def seconds_each(batch: int) -> float:
    """Seconds of one run with a batch of this size, the mean over LEAST_S."""
    start, count, took = time.perf_counter(), 0, 0.0
    while took < LEAST_S:
        _work[batch]()
        count += 1
        took = time.perf_counter() - start
    return took / count
