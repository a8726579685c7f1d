"""Engines against PyTorch on the open test set, at several batch sizes; damaged files."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from synergynet import fileio
from synergynet.engines import backbone
from synergynet.engines.backbone import OnnxRuntimeEngine, OpenCVEngine, make_engine
from synergynet.weights import BUILT_IN, read_weights
from utils.data.evaluation_crops import OPEN_TEST_FOLDER, EvaluationCrops
from utils.data.folders import OPEN_FOLDER, OPEN_WEIGHTS
from utils.data.preprocessing import IN_THE_WILD, preprocess
from utils.inference.loading import load_model

TOLERANCE_W = 1e-4  # of whitened parameters
TOLERANCE_PX = 1e-3

needs_onnxruntime = pytest.mark.skipif(not backbone.has_onnxruntime(), reason="needs ONNX Runtime")
ENGINES = (
    pytest.param(OnnxRuntimeEngine, marks=needs_onnxruntime, id="onnx"),
    pytest.param(OpenCVEngine, id="opencv"),
)


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    """The 240 crops of the open test set."""
    faces = EvaluationCrops(OPEN_TEST_FOLDER)
    return np.stack([faces[index].numpy() for index in range(len(faces))])


@pytest.fixture(scope="module")
def by_torch(crops) -> tuple[np.ndarray, np.ndarray]:
    """Whitened parameters (240, 62) of the shipped checkpoint, and its landmarks (240, 3, 68)."""
    model = load_model(OPEN_WEIGHTS, morphable=OPEN_FOLDER).eval()
    with torch.inference_mode():
        params_w = model.regress(preprocess(torch.from_numpy(crops), IN_THE_WILD))
        return params_w.numpy(), model.landmarks(params_w).numpy()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("batch", [1, 7, 64, 240])
def test_engines_give_what_pytorch_gives(engine, batch, crops, by_torch):
    run, (params_w, landmarks) = engine(BUILT_IN), by_torch
    count = 16 if batch == 1 else len(crops)
    found = np.concatenate([run(crops[i : i + batch]) for i in range(0, count, batch)])
    np.testing.assert_allclose(found, params_w[:count], atol=TOLERANCE_W)
    model = read_weights().face_model
    decoded = model.landmarks(model.unwhiten(found))
    np.testing.assert_allclose(decoded, landmarks[:count], atol=TOLERANCE_PX)


def test_the_shipped_file_tells_nothing_of_the_machine_it_was_made_on():
    content = BUILT_IN.read_bytes()
    assert b"params_w" in content  # names are plain text in it
    for trace in (b"stack_trace", b"site-packages", b"export.py"):
        assert trace not in content


@pytest.mark.parametrize("engine", ENGINES)
def test_no_crop_gives_no_row(engine):
    assert engine(BUILT_IN)(np.empty((0, 120, 120, 3), np.uint8)).shape == (0, 62)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("content", [b"", b"text"])
def test_damaged_files_are_named_when_first_used(engine, content, tmp_path):
    path = tmp_path / "face.onnx"
    path.write_bytes(content)
    run = engine(path)
    with pytest.raises(fileio.InputError, match=r"face\.onnx: not an ONNX file") as error:
        run(np.zeros((1, 120, 120, 3), np.uint8))
    assert "\n" not in str(error.value)


def test_auto_takes_onnx_runtime_where_it_is_installed(monkeypatch):
    monkeypatch.setattr(backbone, "has_onnxruntime", lambda: True)
    assert isinstance(make_engine("auto", BUILT_IN), OnnxRuntimeEngine)
    monkeypatch.setattr(backbone, "has_onnxruntime", lambda: False)
    assert isinstance(make_engine("auto", BUILT_IN), OpenCVEngine)
    with pytest.raises(fileio.InputError, match="pip install onnxruntime"):
        make_engine("onnx", BUILT_IN)
    with pytest.raises(fileio.InputError, match="unknown engine 'tpu'; choose from auto, onnx"):
        make_engine("tpu", BUILT_IN)
