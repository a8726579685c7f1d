"""The fast backbone against the plain one, for every kind of network."""

import copy
import importlib.util

import pytest
import torch

from model_building import build_model
from synergynet import fileio
from synergynet.geometry.parameters import IMG_SIZE
from utils.data.preprocessing import preprocess
from utils.inference.regressor import (
    CPU_MICRO_BATCH,
    choose_device,
    fold_batch_norm,
    make_regressor,
)

FOLDING_TOLERANCE = 1e-5  # relative to the largest output: float32 sums in another order


def random_images(count: int, size_px: int = 48) -> torch.Tensor:
    """Pictures of 48 px: our networks take any size, and small ones are fast."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, size_px, size_px, 3), dtype=torch.uint8, generator=generator)


def build(arch: str, morphable):
    """A network whose batch norms do something."""
    torch.manual_seed(0)
    model = build_model(arch, morphable=morphable)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model


@pytest.fixture(params=["torch", "onnx"])
def engine(request) -> str:
    """Each engine that is installed."""
    if request.param == "onnx":
        pytest.importorskip("onnxruntime")
    return request.param


@pytest.mark.parametrize("arch", ["mobilenet_v2", "mobilenet_025", "resnet18", "3ddfa_v2:mb05"])
def test_fast_equals_plain(tiny_morphable, arch, engine):
    model = build(arch, tiny_morphable).eval()
    images = preprocess(random_images(CPU_MICRO_BATCH + 3))
    with torch.no_grad():
        plain = model.regress(images)
    regress = make_regressor(model, engine=engine)
    fast = regress(images)
    assert (fast - plain).abs().max() <= FOLDING_TOLERANCE * plain.abs().max()
    one = regress(images[:1])  # no batch size or memory layout is baked in
    torch.testing.assert_close(one, fast[:1], rtol=0, atol=1e-5 * float(plain.abs().max()))
    torch.testing.assert_close(regress(images.contiguous()), fast)


def test_timm_networks_work_too(tiny_morphable, engine):
    pytest.importorskip("timm")
    model = build("timm:mobilenetv3_small_050", tiny_morphable).eval()
    images = preprocess(random_images(2, IMG_SIZE))
    with torch.no_grad():
        plain = model.regress(images)
    fast = make_regressor(model, engine=engine)(images)
    assert (fast - plain).abs().max() <= FOLDING_TOLERANCE * plain.abs().max()


@pytest.mark.parametrize("arch", ["mobilenet_v2", "mobilenet_025", "resnet18"])
def test_batch_norm_is_folded(tiny_morphable, arch):
    network = fold_batch_norm(build(arch, tiny_morphable).I2P)
    used = {str(node.target) for node in network.backbone.features.graph.nodes}
    left = [
        name
        for name, module in network.backbone.features.named_modules()
        if isinstance(module, torch.nn.BatchNorm2d) and name in used
    ]
    assert left == []


def test_the_model_is_not_modified(tiny_morphable, engine):
    model = build("mobilenet_025", tiny_morphable).train()
    before = copy.deepcopy(model.state_dict())
    make_regressor(model, engine=engine)(preprocess(random_images(2)))
    assert model.training
    assert all(m.training for m in model.modules())
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_networks_that_cannot_be_traced_run_unfolded(tiny_morphable):
    model = build("mobilenet_025", tiny_morphable).eval()

    class Branching(torch.nn.Sequential):
        def forward(self, images):
            return super().forward(images if images.sum() > 0 else -images)

    model.I2P.backbone.features = Branching(*model.I2P.backbone.features)
    images = preprocess(random_images(2))
    with torch.no_grad():
        plain = model.regress(images)
    torch.testing.assert_close(make_regressor(model)(images), plain)
    if importlib.util.find_spec("onnxruntime"):
        with pytest.raises(fileio.InputError, match="branches on its data; use engine torch"):
            make_regressor(model, engine="onnx")


def test_engines_that_cannot_run_are_refused(tiny_morphable, monkeypatch):
    model = build("mobilenet_025", tiny_morphable)
    with pytest.raises(
        fileio.InputError, match="unknown engine 'tpu'; choose from auto, torch, onnx"
    ):
        make_regressor(model, engine="tpu")
    with pytest.raises(fileio.InputError, match="on the CPU only; use engine torch"):
        make_regressor(model, "meta", engine="onnx")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(fileio.InputError, match="pip install onnxruntime"):
        make_regressor(model, engine="onnx")
    images = preprocess(random_images(2))
    expected = make_regressor(model, engine="torch")(images)
    assert torch.equal(make_regressor(model, engine="auto")(images), expected)


@pytest.mark.parametrize("name", ["gpu", "999", "cuda:999"])
def test_wrong_devices_are_refused(name):
    with pytest.raises(fileio.InputError, match=name):
        choose_device(name)


def test_devices():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type in {"cpu", "cuda"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_equals_cpu(tiny_morphable):
    model = build("mobilenet_v2", tiny_morphable)
    images = preprocess(random_images(8))
    cpu, gpu = make_regressor(model)(images), make_regressor(model, "cuda")(images).cpu()
    assert (gpu - cpu).abs().max() <= FOLDING_TOLERANCE * 10 * cpu.abs().max()
