"""MobileNetV1 at four widths, and the map from 3DDFA_V2's checkpoints, which use the same network.

Sources: Howard et al., 2017, table 1; Guo et al. (3DDFA_V2), ECCV 2020, for the checkpoint's names.
"""

from __future__ import annotations

from torch import Tensor, nn

from backbone_nets.regressor import HEAD_SIZES, ParameterRegressor, initialise

# output channels at width 1.0 and stride of each depthwise-separable block
BLOCKS = (
    (64, 1),
    (128, 2), (128, 1),
    (256, 2), (256, 1),
    (512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1),
    (1024, 2), (1024, 1),
)  # fmt: skip
# the same blocks as 3DDFA_V2 names them
THREEDDFA_BLOCKS = (
    "dw2_1",
    "dw2_2", "dw3_1",
    "dw3_2", "dw4_1",
    "dw4_2", "dw5_1", "dw5_2", "dw5_3", "dw5_4", "dw5_5",
    "dw5_6", "dw6",
)  # fmt: skip


def build(width: float) -> ParameterRegressor:
    """MobileNetV1 with all channel counts times `width`."""
    channels = int(32 * width)
    layers = [_conv_bn_relu(3, channels, kernel=3, stride=2)]
    for base, stride in BLOCKS:
        outputs = int(base * width)
        depthwise = _conv_bn_relu(channels, channels, kernel=3, stride=stride, groups=channels)
        layers.append(nn.Sequential(*depthwise, *_conv_bn_relu(channels, outputs, kernel=1)))
        channels = outputs
    features = nn.Sequential(*layers)
    initialise(features)
    return ParameterRegressor(features, channels)


def from_3ddfa_v2(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename a 3DDFA_V2 state dict (no `module.` prefix) to that of `build(width=0.5)`.

    `fc_lm`, a landmark head used in its training only, is dropped.

    Raises:
        KeyError: an entry that 3DDFA_V2's MobileNet has is missing.
        ValueError: it has an entry more.
    """
    left = {key: value for key, value in state_dict.items() if not key.startswith("fc_lm.")}
    norm_entries = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")

    def conv_bn(conv: str, norm: str, target: str, index: int) -> dict[str, Tensor]:
        renamed = {f"{target}.{index}.weight": left.pop(f"{conv}.weight")}
        for entry in norm_entries:
            renamed[f"{target}.{index + 1}.{entry}"] = left.pop(f"{norm}.{entry}")
        return renamed

    renamed = conv_bn("conv1", "bn1", "features.0", 0)
    for number, block in enumerate(THREEDDFA_BLOCKS, start=1):
        target = f"features.{number}"
        renamed |= conv_bn(f"{block}.conv_dw", f"{block}.bn_dw", target, 0)
        renamed |= conv_bn(f"{block}.conv_sep", f"{block}.bn_sep", target, 3)
    for entry in ("weight", "bias"):
        parts = left.pop(f"fc_param.{entry}").split(tuple(HEAD_SIZES.values()))
        for head, part in zip(HEAD_SIZES, parts, strict=True):
            renamed[f"classifier_{head}.1.{entry}"] = part
    if left:
        raise ValueError(f"unknown entries {', '.join(left)}")
    return renamed


def _conv_bn_relu(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
