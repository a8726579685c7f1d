"""ResNets: torchvision's layers up to the last stage. Source: He et al., CVPR 2016."""

from __future__ import annotations

from torch import nn
from torchvision import models

from backbone_nets.regressor import ParameterRegressor


def build(name: str) -> ParameterRegressor:
    """torchvision's `resnet18`, `resnet34`, `resnet50` or `resnet101`, without ImageNet weights."""
    network = models.get_model(name, weights=None)
    stages = [module for key, module in network.named_children() if key not in ("avgpool", "fc")]
    return ParameterRegressor(nn.Sequential(*stages), network.fc.in_features)
