"""Image networks by name. Each maps images (B, 3, 120, 120) to (params_w (B, 62), pooled (B, C)).

`BACKBONES` holds the names of the published script; `timm:NAME` makes any timm network available
when timm is installed. Nothing here downloads weights.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from backbone_nets import mobilenet_v1, mobilenet_v2, resnet
from backbone_nets.regressor import ParameterRegressor

THREEDDFA_V2 = "3ddfa_v2:mb05"

BACKBONES: dict[str, Callable[[], ParameterRegressor]] = {
    "mobilenet_v2": mobilenet_v2.build,
    "mobilenet_1": partial(mobilenet_v1.build, width=1.0),
    "mobilenet_075": partial(mobilenet_v1.build, width=0.75),
    "mobilenet_05": partial(mobilenet_v1.build, width=0.5),
    "mobilenet_025": partial(mobilenet_v1.build, width=0.25),
    "resnet18": partial(resnet.build, "resnet18"),
    "resnet34": partial(resnet.build, "resnet34"),
    "resnet50": partial(resnet.build, "resnet50"),
    "resnet101": partial(resnet.build, "resnet101"),
    THREEDDFA_V2: partial(mobilenet_v1.build, width=0.5),
}


def build_backbone(arch: str) -> ParameterRegressor:
    """Build an image network with fresh weights.

    Raises:
        ValueError: unknown name; the text is one line with the choices.
    """
    if arch.startswith("timm:"):
        from backbone_nets import timm_nets  # optional dependency

        return timm_nets.build(arch.removeprefix("timm:"))
    if arch not in BACKBONES:
        raise ValueError(f"unknown arch '{arch}'; choose from {', '.join(BACKBONES)} or timm:NAME")
    return BACKBONES[arch]()
