"""MobileNetV2, the published system's backbone: torchvision's features, without ImageNet weights.

Source: Sandler et al., CVPR 2018.
"""

from __future__ import annotations

from torchvision import models

from backbone_nets.regressor import ParameterRegressor


def build() -> ParameterRegressor:
    """MobileNetV2 of width 1.0; torchvision initialises it as the published system does."""
    network = models.mobilenet_v2(weights=None)
    return ParameterRegressor(network.features, network.last_channel)
