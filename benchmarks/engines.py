"""What each engine is worth: images per second, share of the processor's limit, error.

    python benchmarks/engines.py --data aflw2000_dev

OpenCV's DNN, ONNX Runtime with float32 and with int8, and PyTorch run the built-in network on the
same crops. Each has a process of its own, as their threads disturb one another; they take turns.
The limit is what numpy's matrix product reaches in the same run: multiply-adds per second, float32.
int8 is quantised here, per channel, from crops drawn as training crops are. NME is of `--data`,
a folder like aflw2000_data, whose default is the drawn test set.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from onnxruntime import quantization
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.engine_worker import ENGINES, LIMIT, MATRIX, build_engine, prepare, seconds_each
from benchmarks.tables import markdown
from synergynet import fileio
from synergynet.engines.backbone import INPUT, Engine, make_engine, network_input
from synergynet.geometry.parameters import IMG_SIZE
from synergynet.photos.crops import blacken_border
from synergynet.weights import BUILT_IN, Weights, read_weights
from utils.data.evaluation_crops import OPEN_TEST_FOLDER, EvaluationCrops
from utils.data.folders import OPEN_FOLDER
from utils.evaluation.errors import image_errors, read_truth
from utils.evaluation.metrics import summarise_nme
from utils.evaluation.sources import NetworkSource
from utils.synthetic.sets import TRAINING_IMAGES, write_training_set

# ---------------------------------------------------------------- int8


class DrawnCrops(quantization.CalibrationDataReader):
    """Batches of one crop for onnxruntime's calibration.

    Args:
        crops: (N, 120, 120, 3) uint8 BGR, as the network was trained on.
    """

    def __init__(self, crops: np.ndarray) -> None:
        self._inputs = iter([{INPUT: network_input(crop[None])} for crop in crops])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next input, or None at the end."""
        return next(self._inputs, None)


def quantise(weights: Weights, crops: np.ndarray, path: Path) -> None:
    """Write a network whose convolutions are int8; its three last layers stay float32.

    Args:
        weights: of the float32 network.
        crops: (N, 120, 120, 3) uint8 BGR, which tell the range of every activation.
        path: of the ONNX file to write.
    """
    prepared = path.with_suffix(".prepared.onnx")
    quantization.quant_pre_process(str(weights.path), str(prepared), skip_symbolic_shape=True)
    heads = [node.name for node in onnx.load(prepared).graph.node if node.op_type == "Gemm"]
    quantization.quantize_static(
        prepared,
        path,
        DrawnCrops(crops),
        per_channel=True,
        reduce_range=True,  # sums of full products saturate where there are no VNNI instructions
        nodes_to_exclude=heads,
    )


def draw_crops(folder: Path, count: int, border_px: int) -> np.ndarray:
    """Crops (count, 120, 120, 3) uint8 as the generator draws training sets."""
    write_training_set(OPEN_FOLDER, folder, count, seed=1)
    paths = sorted((folder / TRAINING_IMAGES).iterdir())
    return blacken_border(np.stack([fileio.read_image(path) for path in paths]), border_px)


# ---------------------------------------------------------------- speed


def multiply_adds(path: Path) -> int:
    """Multiply-adds of one image in an ONNX network: convolutions and full layers."""
    model = onnx.load(path)
    sizes = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    for value in onnx.shape_inference.infer_shapes(model).graph.value_info:
        sizes[value.name] = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    total = 0
    for node in model.graph.node:
        weight = sizes.get(node.input[1]) if len(node.input) > 1 else None
        if node.op_type == "Conv":
            total += int(np.prod(sizes[node.output[0]][2:]) * np.prod(weight))
        elif node.op_type == "Gemm":
            total += int(np.prod(weight))
    return total


def measure(
    crops: np.ndarray, batches: list[int], int8: Path, repeats: int
) -> dict[str, dict[int, float]]:
    """Least seconds of a run, by row and batch size; all rows take turns.

    The least: other work on the machine only ever adds.
    """
    rows = (LIMIT, *ENGINES)
    context = multiprocessing.get_context("spawn")
    pools = {name: concurrent.futures.ProcessPoolExecutor(1, context) for name in rows}
    try:
        for name, pool in pools.items():
            pool.submit(prepare, name, crops, batches, int8).result()
        seconds = {name: {batch: np.inf for batch in batches} for name in rows}
        for _ in range(repeats):
            for batch in batches:
                for name, pool in pools.items():
                    took = pool.submit(seconds_each, batch).result()
                    seconds[name][batch] = min(seconds[name][batch], took)
    finally:
        for pool in pools.values():
            pool.shutdown()
    return seconds


# ---------------------------------------------------------------- error


def nme(engine: Engine, weights: Weights, crops: EvaluationCrops) -> float:
    """Mean of the bins' NME, percent, as benchmark.py has it."""

    def network(images: Tensor) -> tuple[Tensor, Tensor]:
        params_w = engine(blacken_border(images.numpy(), weights.border_px))
        params = weights.face_model.unwhiten(params_w)
        landmarks = weights.face_model.landmarks(params)
        return torch.from_numpy(params), torch.from_numpy(landmarks)

    errors = image_errors(NetworkSource(crops, network).predict(), read_truth(crops, None))
    return float(summarise_nme(errors.nme, crops.labels.yaw_deg)["mean"])


# ---------------------------------------------------------------- table


def describe(
    seconds: dict[str, dict[int, float]], operations: int, errors: dict[str, float]
) -> list[dict[str, float | str]]:
    """A row an engine: images per second and share of the limit by batch size, NME."""
    limit = MATRIX**3 / min(seconds[LIMIT].values())  # multiply-adds per second
    rows: list[dict[str, float | str]] = []
    for name, error in errors.items():
        row: dict[str, float | str] = {"engine": name}
        for batch, took in seconds[name].items():
            row[f"batch {batch}, images/s"] = batch / took
            row[f"batch {batch}, % of limit"] = 100 * operations * batch / took / limit
        rows.append(row | {"NME, %": error})
    return rows


def format_table(rows: list[dict[str, float | str]]) -> str:
    """Markdown of `describe`'s rows."""
    return markdown(list(rows[0]), [list(_cells(row)) for row in rows])


def _cells(row: dict[str, float | str]) -> Iterator[str]:
    for title, value in row.items():
        yield str(value) if isinstance(value, str) else f"{value:.{3 if 'NME' in title else 0}f}"


# ---------------------------------------------------------------- command


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--data", default=str(OPEN_TEST_FOLDER), help="test set (default: the drawn one)")
    add("--batches", type=int, nargs="+", default=[1, 8, 64], help="sizes (default: 1 8 64)")
    add("--repeats", type=int, default=10, help="turns of all engines (default: %(default)s)")
    add("--calibration", type=int, default=300, help="crops drawn for int8 (default: %(default)s)")
    add("--json", type=Path, help="file for the table's numbers")
    return parser


def main(args: argparse.Namespace) -> int:
    fileio.require_at_least(args, {"--repeats": 1, "--calibration": 1})
    weights, data = read_weights(), EvaluationCrops(args.data)
    faces = EvaluationCrops(OPEN_TEST_FOLDER)
    crops = np.stack([faces[i].numpy() for i in range(min(len(faces), max(args.batches)))])
    operations = multiply_adds(weights.path)
    with tempfile.TemporaryDirectory() as temporary:
        int8 = Path(temporary) / "int8.onnx"
        drawn = draw_crops(Path(temporary) / "drawn", args.calibration, weights.border_px)
        quantise(weights, drawn, int8)
        seconds = measure(crops, args.batches, int8, args.repeats)
        errors = {name: nme(build_engine(name, int8), weights, data) for name in ENGINES}
    rows = describe(seconds, operations, errors)
    limit = MATRIX**3 / min(seconds[LIMIT].values())
    print(
        f"{weights.arch}, {operations / 1e6:.1f} M multiply-adds an image, crops of "
        f"{IMG_SIZE} px; limit {limit / 1e9:.1f} G multiply-adds/s, {os.cpu_count()} cores; NME on "
        f"{args.data}; auto takes {make_engine('auto', BUILT_IN).name}\n"
    )
    print(format_table(rows))
    if args.json:
        facts = {"multiply_adds": operations, "limit_per_s": limit, "data": str(args.data)}
        fileio.write_json(args.json, facts | {"engines": rows})
    return 0


if __name__ == "__main__":
    sys.exit(fileio.run_command(main, get_args_parser().parse_args()))
