"""A small network and a test set of random pictures, for everything that scores."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from model_building import SynergyNet, build_model
from synergynet import fileio
from synergynet.face_model import MorphableModel
from utils.data.evaluation_crops import CROPS, EVAL, EvaluationCrops, EvaluationLabels, write_labels
from utils.evaluation.sources import FileSource, NetworkSource, Prediction

COUNT = 6
SKIPPED = [1, 4]


@pytest.fixture(scope="package")
def model(tiny_morphable) -> SynergyNet:
    torch.manual_seed(0)
    model = build_model("mobilenet_025", morphable=tiny_morphable)
    with torch.no_grad():
        for module in model.I2P.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0  # one batch fixes the statistics
        model.train().I2P(torch.randn(16, 3, 120, 120))
        torch.nn.init.normal_(model.I2P.backbone.classifier_ori[-1].weight, std=0.1)
        torch.nn.init.constant_(model.forwardDirection.bn9.bias, 20.0)  # 1 px
    return model.eval()


@pytest.fixture(scope="package")
def face_model(model) -> MorphableModel:
    return model.face_model()


@pytest.fixture(scope="package")
def crops(tmp_path_factory) -> EvaluationCrops:
    """Random pictures with random labels in boxes that are not square."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("data")
    names = [f"image{i:05d}.png" for i in range(COUNT)]
    for name in names:
        image = rng.integers(0, 256, (120, 120, 3), np.uint8)
        fileio.write_image(folder / CROPS / name, image)
    fileio.write_list(folder / "AFLW2000-3D_crop.list", names)
    start = rng.uniform(0, 50, (COUNT, 2))
    kept = np.setdiff1d(np.arange(COUNT), SKIPPED)
    labels = EvaluationLabels(
        landmarks=rng.uniform(50, 250, (COUNT, 3, 68)),
        reannotated=rng.uniform(50, 250, (COUNT, 2, 68)),
        yaw_deg=np.array([0, 10, 40, -50, 70, -80.0]),
        roi_box=np.concatenate([start, start + rng.uniform(100, 300, (COUNT, 2))], 1).round(),
        pose_rows=kept,
        pose_deg=rng.uniform(-60, 60, (len(kept), 3)),
    )
    write_labels(folder / EVAL, labels)
    return EvaluationCrops(folder)


@pytest.fixture(scope="package")
def whole() -> Callable[[NetworkSource | FileSource], Prediction]:
    """Joins the predictions of a source into one batch."""

    def join(source):
        batches = list(source.predict())
        return Prediction(
            landmarks=np.concatenate([b.landmarks for b in batches]),
            params=torch.cat([b.params for b in batches]),
        )

    return join


@pytest.fixture
def write_predictions(tmp_path) -> Callable[..., Path]:
    """Writes arrays as somebody's predictions; the file's path."""

    def write(name="p", **arrays):
        np.savez(tmp_path / f"{name}.npz", **arrays)
        return tmp_path / f"{name}.npz"

    return write
