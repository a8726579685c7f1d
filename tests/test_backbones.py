"""Every backbone regresses 62 parameters, trains, and has the size its paper says."""

from __future__ import annotations

import pytest
import torch

from backbone_nets import BACKBONES, build_backbone, timm_nets
from synergynet.geometry.parameters import IMG_SIZE


@pytest.mark.parametrize("arch", BACKBONES)
def test_backbone_returns_params_and_pooled_features(arch):
    network = build_backbone(arch).eval()
    with torch.no_grad():
        params_w, pooled = network(torch.randn(2, 3, 120, 120))
    assert params_w.shape == (2, 62)
    assert pooled.shape == (2, network.channels)
    assert params_w.isfinite().all()


@pytest.mark.parametrize("name", ["ghostnet_100", "vit_tiny_patch16_224"])
def test_timm_networks(name):
    pytest.importorskip("timm")
    network = build_backbone(f"timm:{name}").eval()
    with torch.no_grad():
        params_w, pooled = network(torch.randn(2, 3, 120, 120))
    assert params_w.shape == (2, 62)
    assert pooled.shape == (2, network.channels)


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
