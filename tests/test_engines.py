"""benchmarks/engines.py: counting by hand, the table by hand, a run too short to mean anything."""

from __future__ import annotations

import json

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from benchmarks import engine_worker, engines  # noqa: E402
from synergynet import fileio  # noqa: E402
from synergynet.weights import BUILT_IN  # noqa: E402
from utils.data.folders import OPEN_FOLDER  # noqa: E402
from utils.synthetic.sets import write_test_set  # noqa: E402


def write_small_network(path) -> None:
    """3 x 8 x 8: a dense convolution in steps of 2, a depthwise one, the mean, a full layer."""
    make, numbers = onnx.helper, onnx.numpy_helper.from_array
    weights = {
        "dense": np.zeros((6, 3, 3, 3), np.float32),
        "depthwise": np.zeros((6, 1, 5, 5), np.float32),
        "full": np.zeros((6, 7), np.float32),
        "axes": np.array([2, 3]),
    }
    nodes = [
        make.make_node("Conv", ["images", "dense"], ["a"], strides=[2, 2], pads=[1] * 4),
        make.make_node("Conv", ["a", "depthwise"], ["b"], group=6, pads=[2] * 4),
        make.make_node("ReduceMean", ["b", "axes"], ["c"], keepdims=0),
        make.make_node("Gemm", ["c", "full"], ["d"]),
    ]
    images = make.make_tensor_value_info("images", onnx.TensorProto.FLOAT, ["n", 3, 8, 8])
    result = make.make_tensor_value_info("d", onnx.TensorProto.FLOAT, ["n", 7])
    tensors = [numbers(value, name) for name, value in weights.items()]
    graph = make.make_graph(nodes, "small", [images], [result], tensors)
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 18)]), path)


def test_multiply_adds_by_hand(tmp_path):
    write_small_network(tmp_path / "small.onnx")
    by_hand = 4 * 4 * 6 * 3 * 9 + 4 * 4 * 6 * 25 + 6 * 7
    assert engines.multiply_adds(tmp_path / "small.onnx") == by_hand


def test_the_built_in_network_has_a_mobilenets_multiply_adds():
    """MobileNetV2 has 300 M at 224 px, 112 x 112 after its first layer; here it is 60 x 60."""
    assert engines.multiply_adds(BUILT_IN) == pytest.approx(300e6 * (60 / 112) ** 2, rel=0.1)


def test_table_by_hand():
    limit = {1: engine_worker.MATRIX**3 / 1e9, 8: engine_worker.MATRIX**3 / 5e8}  # the least: 1 G/s
    seconds = {engine_worker.LIMIT: limit, "A": {1: 0.25, 8: 1.0}}
    (row,) = engines.describe(seconds, 10**8, {"A": 4.2})
    assert row["batch 8, images/s"] == 8
    assert row["batch 8, % of limit"] == pytest.approx(80)
    line = engines.format_table([row]).splitlines()[2]
    assert line == "| A | 4 | 40 | 8 | 80 | 4.200 |"


def test_the_command_on_a_few_faces(tmp_path, capsys):
    write_test_set(OPEN_FOLDER, tmp_path / "set", count=4, seed=4)
    flags = ["--data", tmp_path / "set", "--json", tmp_path / "table.json"]
    flags += ["--batches", 2, "--repeats", 1, "--calibration", 8]
    args = engines.get_args_parser().parse_args([str(flag) for flag in flags])
    assert fileio.run_command(engines.main, args) == 0
    lines = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]
    rows = [line for line in lines if line[0] in engine_worker.ENGINES]
    assert [row[0] for row in rows] == list(engine_worker.ENGINES)
    opencv, float32, int8, pytorch = (float(row[-1]) for row in rows)
    assert opencv == float32 == pytorch  # to the digits that are shown
    assert 0 < abs(int8 - float32) < 1  # other numbers, but not far off
    facts = json.loads((tmp_path / "table.json").read_text())
    assert [row["engine"] for row in facts["engines"]] == list(engine_worker.ENGINES)
    assert all(row["batch 2, images/s"] > 0 for row in facts["engines"])
