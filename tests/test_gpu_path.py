"""The GPU's path without a GPU: PyTorch's fake tensors have shapes and devices, and no numbers.

A tensor that is left on the CPU, or a mask or an index that is made there, fails here as it would
on a GPU. What the numbers are is for tests that need one.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from loss_definition import SynergyLoss
from model_building import RECIPES, SynergyNet, build_model
from synergynet.face_model import MorphableModel
from synergynet.geometry.mirror import FaceMirror, mirror_landmarks, mirror_params
from utils.data.preprocessing import BENCHMARK, TRAIN, preprocess
from utils.training.optimization import build_optimizer

BATCH = 6


@pytest.fixture
def fake_gpu() -> Iterator[FakeTensorMode]:
    """All tensors made meanwhile are fake; sizes that depend on data are symbols."""
    with FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=False) as mode:
        yield mode


def on_gpu(model: SynergyNet) -> SynergyNet:
    """A model whose parameters and buffers are on a GPU that is not there."""
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is None:
                    continue
                moved = torch.empty(tensor.shape, dtype=tensor.dtype, device="cuda")
                is_weight = isinstance(tensor, torch.nn.Parameter)
                tensors[name] = torch.nn.Parameter(moved) if is_weight else moved
    return model


@pytest.fixture
def models(tiny_morphable: MorphableModel) -> dict[str, SynergyNet]:
    """A network of every recipe, made before tensors are fake."""
    return {
        recipe: build_model("mobilenet_025", morphable=tiny_morphable, recipe=recipe)
        for recipe in RECIPES
    }


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_training_step_stays_on_the_gpu(models, fake_gpu, recipe):
    model = on_gpu(models[recipe]).train()
    images = torch.empty(BATCH, 120, 120, 3, dtype=torch.uint8, device="cuda")
    targets = torch.empty(BATCH, 62, device="cuda")
    inputs = preprocess(images, TRAIN)
    total, parts = SynergyLoss(recipe)(model(inputs), targets, model)
    assert {loss.device.type for loss in (total, *parts.values())} == {"cuda"}
    for parameter in model.parameters():  # autograd's own engine asks for a real GPU
        parameter.grad = torch.empty_like(parameter)
    build_optimizer(model, 0.1, "adamw").step()  # SGD has no fake kernel


def test_evaluation_decodes_on_the_gpu(models, fake_gpu):
    model = on_gpu(models["paper"]).eval()
    images = torch.empty(BATCH, 120, 120, 3, dtype=torch.uint8, device="cuda")
    with torch.no_grad():
        params_w = model(preprocess(images, BENCHMARK))["params"]
        landmarks, params = model.landmarks(params_w), model.params(params_w)
    mirror = FaceMirror(torch.empty(50, 50, device="cuda"), torch.empty(50, device="cuda"), 12.0)
    results = [landmarks, params, mirror_landmarks(landmarks)]
    results.append(mirror_params(params, mirror))
    assert {result.device.type for result in results} == {"cuda"}


def test_what_is_left_on_the_cpu_is_found(models, fake_gpu):
    model = on_gpu(models["paper"])
    model.param_std = torch.empty(62)
    with pytest.raises(RuntimeError, match=r"cuda.*cpu|cpu.*cuda"):
        model(torch.empty(BATCH, 3, 120, 120, device="cuda"))
