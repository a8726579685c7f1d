"""Every backbone regresses 62 parameters, trains, and has the size its paper says."""

from __future__ import annotations

import copy

import pytest
import torch

from backbone_nets import BACKBONES, build_backbone, timm_nets
from synergynet.geometry.parameters import IMG_SIZE

TIMM_NETWORKS = [
    *("ghostnet_050", "resnest14d", "convnext_atto", "vit_tiny_patch16_224", "mixer_s32_224"),
    *("swin_tiny_patch4_window7_224", "levit_128s", "efficientformer_l1", "mobilevit_xxs"),
    *("edgenext_xx_small", "tiny_vit_5m_224", "dla34"),
]  # of families that are written differently


@pytest.mark.parametrize("arch", BACKBONES)
def test_backbone_returns_params_and_pooled_features(arch):
    network = build_backbone(arch).eval()
    with torch.no_grad():
        params_w, pooled = network(torch.randn(2, 3, 120, 120))
    assert params_w.shape == (2, 62)
    assert pooled.shape == (2, network.channels)
    assert params_w.isfinite().all()


@pytest.mark.parametrize("name", TIMM_NETWORKS)
def test_a_timm_network_of_each_family_takes_a_step(name):
    """In the layout that training uses, and in the one that images have elsewhere."""
    pytest.importorskip("timm")
    network = build_backbone(f"timm:{name}").to(memory_format=torch.channels_last)
    images = torch.randn(2, 3, 120, 120)
    params_w, pooled = network(images.contiguous(memory_format=torch.channels_last))
    assert params_w.shape == (2, 62)
    assert pooled.shape == (2, network.channels)
    params_w.square().mean().backward()
    copied = copy.deepcopy(network).eval()
    with torch.no_grad():
        assert copied(images)[0].isfinite().all()


def test_timm_networks_that_cannot_take_the_crops_are_one_clear_line(monkeypatch):
    timm = pytest.importorskip("timm")

    def create_model(*_, **__):
        raise AssertionError("Input height (120)\nshould be divisible by 14")

    monkeypatch.setattr(timm, "create_model", create_model)
    with pytest.raises(
        ValueError, match=r"timm:resnet18' takes no 120 x 120 px, nor its own 224"
    ) as error:
        build_backbone("timm:resnet18")
    assert "\n" not in str(error.value)


def test_trying_a_timm_network_out_leaves_the_seed_alone():
    """Weights follow from the seed, and do not depend on what was tried before."""
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    network = build_backbone("timm:levit_128s")
    torch.manual_seed(0)
    expected = timm.create_model("levit_128s", pretrained=False, num_classes=0)
    for one, other in zip(network.features.parameters(), expected.parameters(), strict=True):
        assert torch.equal(one, other)


def test_timm_networks_are_built_for_the_crops():
    """Backbones import nothing of the project, so the size stands there twice."""
    assert timm_nets.IMG_SIZE == IMG_SIZE


@pytest.mark.parametrize("arch", ["mobilenet_025", "resnet18"])
def test_every_parameter_gets_a_gradient(arch):
    network = build_backbone(arch)
    network(torch.randn(4, 3, 120, 120))[0].square().sum().backward()
    without = [name for name, p in network.named_parameters() if p.grad is None]
    assert without == []


def test_sizes_of_published_networks():
    """Weights and biases of the features: torchvision's MobileNetV2 and Keras' MobileNet."""

    def count(arch):
        return sum(p.numel() for p in build_backbone(arch).features.parameters())

    assert count("mobilenet_v2") == 2_223_872
    assert count("mobilenet_1") == 3_206_976


def test_heads_start_small_and_unbiased():
    head = build_backbone("mobilenet_025").classifier_shape[1]
    assert head.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert not head.bias.any()


@pytest.mark.parametrize("arch", ["mobilenet", "timm:no_such_net", ""])
def test_unknown_names_are_refused(arch):
    with pytest.raises(ValueError, match=r"unknown arch|needs timm"):
        build_backbone(arch)
