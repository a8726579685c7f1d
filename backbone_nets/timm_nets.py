"""Any network of the timm library (`--arch timm:NAME`), for instance ghostnet_100 or resnest50d."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backbone_nets.regressor import ParameterRegressor

IMG_SIZE = 120


class TimmRegressor(ParameterRegressor):
    """A network of timm that gets the crops at its own size, contiguous in memory.

    Attention is often written for that layout only, and in the other one PyTorch's CPU kernels
    crash on some convolutions (mobileone_s0).

    Args:
        features, channels: see `ParameterRegressor`.
        size: of its images, px.
    """

    def __init__(self, features: nn.Module, channels: int, size: int) -> None:
        super().__init__(features, channels)
        self.size = size

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See `ParameterRegressor`."""
        if images.shape[-1] != self.size:
            images = F.interpolate(images, (self.size, self.size), mode="bilinear")
        return super().forward(images.contiguous())

    def _apply(self, change: Callable[[Tensor], Tensor], recurse: bool = True) -> TimmRegressor:
        # `to(memory_format=torch.channels_last)` comes by here as well
        super()._apply(change, recurse)
        for parameter in self.parameters():
            parameter.data = parameter.data.contiguous()
        return self


def build(name: str) -> ParameterRegressor:
    """The timm network `name`, pooled by timm's own rule, without pretrained weights.

    Raises:
        ValueError: timm is not installed, does not know the name, or the network cannot be made to
            take the crops.
    """
    try:
        import timm
    except ImportError:
        raise ValueError(f"arch 'timm:{name}' needs timm; pip install timm") from None
    if name not in timm.list_models():
        raise ValueError(f"unknown arch 'timm:{name}'; timm.list_models() lists the choices")
    settings = timm.get_pretrained_cfg(name)
    own_size = settings.input_size[-1] if settings is not None else IMG_SIZE
    # networks with position embeddings must know the image size, others do not accept it
    options = {"img_size": IMG_SIZE} if getattr(settings, "fixed_input_size", False) else {}
    state = torch.random.get_rng_state()
    problem: Exception | None = None
    for size, given in ((IMG_SIZE, options), (own_size, {})):
        torch.random.set_rng_state(state)  # the seed gives the same weights whatever was tried
        try:
            features = timm.create_model(name, pretrained=False, num_classes=0, **given)
            _try_out(features, features.head_hidden_size, size)
        except Exception as error:  # timm's networks raise many kinds
            problem = error
            continue
        return TimmRegressor(features, features.head_hidden_size, size)
    raise ValueError(
        f"arch 'timm:{name}' takes no {IMG_SIZE} x {IMG_SIZE} px, nor its own {own_size} "
        f"({' '.join(str(problem).split())[:80]}); choose another"
    )


def _try_out(features: nn.Module, channels: int, size: int) -> None:
    """A training step without memory and computing, for its shapes only."""
    empty = copy.deepcopy(features).to("meta")
    try:
        pooled = empty(torch.empty(2, 3, size, size, device="meta"))
        pooled.sum().backward()
    except NotImplementedError:
        return  # it branches on its data, so that shapes alone do not run it
    if pooled.shape[:2] != (2, channels):
        raise ValueError(f"returns {tuple(pooled.shape)}, not {channels} features an image")
