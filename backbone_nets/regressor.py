"""The part all backbones share: features, global average pool, three linear heads."""

from __future__ import annotations

import torch
from torch import Tensor, nn

HEAD_SIZES = {"ori": 12, "shape": 40, "exp": 10}  # pose, shape, expression
DROPOUT = 0.2


class ParameterRegressor(nn.Module):
    """Image (B, 3, H, W) -> whitened parameters (B, 62) and pooled features (B, C).

    Args:
        features: (B, 3, H, W) -> (B, C, h, w), or (B, C) when it pools by itself.
        channels: C.
    """

    def __init__(self, features: nn.Module, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.features = features
        self.classifier_ori = _head(channels, HEAD_SIZES["ori"])
        self.classifier_shape = _head(channels, HEAD_SIZES["shape"])
        self.classifier_exp = _head(channels, HEAD_SIZES["exp"])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Regress parameters; pooled features feed the landmark refiner."""
        pooled = self.features(images)
        if pooled.ndim == 4:
            pooled = pooled.mean(dim=(2, 3))  # (B, C)
        heads = (self.classifier_ori, self.classifier_shape, self.classifier_exp)
        return torch.cat([head(pooled) for head in heads], dim=1), pooled  # (B, 62), (B, C)


def initialise(network: nn.Module) -> None:
    """Convolutions kaiming normal by fan-out, batch norms 1 and 0, linear layers normal 0.01."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)


def _head(channels: int, outputs: int) -> nn.Sequential:
    head = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(channels, outputs))
    initialise(head)
    return head
