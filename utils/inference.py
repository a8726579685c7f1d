"""The backbone at full speed: eval mode, batch norm folded into convolutions, channels last.

    regress = make_regressor(model, device)
    params_w = regress(preprocess(images))  # (B, 62)

No compiler and no other runtime is needed. `benchmarks/speed.py` measures what it is worth.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from utils import io
from utils.ddfa import BENCHMARK, Preset, preprocess

CPU_MICRO_BATCH = 16  # its activations stay in the processor's cache; more images are slower


def choose_device(name: str) -> torch.device:
    """The device that a flag names: auto, cpu, cuda, or a GPU's number.

    Raises:
        InputError: unknown name, or no such GPU.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    number = name.removeprefix("cuda").removeprefix(":") or "0"
    if not number.isdecimal():
        raise io.InputError(f"unknown device '{name}'; choose auto, cpu, cuda or a GPU's number")
    if int(number) >= torch.cuda.device_count():
        raise io.InputError(f"device '{name}': PyTorch sees no such GPU; use auto or cpu")
    return torch.device("cuda", int(number))


def make_regressor(
    model: nn.Module, device: torch.device | str | None = None
) -> Callable[[Tensor], Tensor]:
    """A fast `model.regress`: the same numbers up to rounding (1e-5 of the largest).

    Args:
        model: a SynergyNet in any mode, on any device. Not modified, and not followed if it
            changes later.
        device: where to compute; None is the model's own.
    Returns:
        A function from pre-processed images (B, 3, 120, 120) on any device to whitened parameters
        (B, 62) on `device`, computed in inference mode and, on GPUs, without TF32.
    """
    device = torch.device(device) if device is not None else model.u.device
    network = _fold(model.I2P).to(device, memory_format=torch.channels_last)
    micro_batch = CPU_MICRO_BATCH if device.type == "cpu" else None

    @torch.inference_mode()
    def regress(images: Tensor) -> Tensor:
        images = images.to(device, memory_format=torch.channels_last, non_blocking=True)
        with _full_precision(device):
            chunks = images.split(micro_batch or len(images))
            return torch.cat([network(chunk)[0] for chunk in chunks])  # (B, 62)

    return regress


def regress_all(
    regress: Callable[[Tensor], Tensor], batches: Iterable[Tensor], preset: Preset = BENCHMARK
) -> Tensor:
    """Whitened parameters (N, 62), on the regressor's device, of all images of a loader.

    Args:
        regress: from `make_regressor`.
        batches: (B, 120, 120, 3) uint8 BGR each.
        preset: pre-processing.
    """
    return torch.cat([regress(preprocess(images, preset)) for images in batches])


def _fold(network: nn.Module) -> nn.Module:
    """An eval copy of a model's I2P with batch norm folded into convolutions."""
    network = copy.deepcopy(network).eval()
    # some timm networks branch on their data and cannot be traced: right as they are, only slower
    with contextlib.suppress(torch.fx.proxy.TraceError):
        network.backbone.features = fuse(network.backbone.features)
    return network


def _full_precision(device: torch.device) -> contextlib.AbstractContextManager:
    # TF32 convolutions would move parameters by 1e-3 and more against the CPU's
    if device.type != "cuda":
        return contextlib.nullcontext()
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
