"""The backbone at full speed: eval mode, batch norm folded into convolutions, the best engine.

    regress = make_regressor(model, device)
    params_w = regress(preprocess(images))  # (B, 62)

PyTorch alone is enough. On CPUs ONNX Runtime is several times faster and is used where it is
installed; no file is written for it. `benchmarks/speed.py` measures what each is worth.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import io as memory_files
import os
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from synergynet import fileio
from synergynet.geometry.parameters import IMG_SIZE

ENGINES = ("auto", "torch", "onnx")
CPU_MICRO_BATCH = 16  # its activations stay in the processor's cache; more images are slower


def choose_device(name: str) -> torch.device:
    """The device that a flag names: auto, cpu, cuda, or a GPU's number.

    Under `torchrun`, auto gives every process of a machine its own GPU.

    Raises:
        InputError: unknown name, or no such GPU.
    """
    if name == "auto":
        if not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    if name == "cpu":
        return torch.device("cpu")
    number = name.removeprefix("cuda").removeprefix(":") or "0"
    if not number.isdecimal():
        raise fileio.InputError(
            f"unknown device '{name}'; choose auto, cpu, cuda or a GPU's number"
        )
    if int(number) >= torch.cuda.device_count():
        raise fileio.InputError(f"device '{name}': PyTorch sees no such GPU; use auto or cpu")
    return torch.device("cuda", int(number))


def make_regressor(
    model: nn.Module, device: torch.device | str | None = None, engine: str = "auto"
) -> Callable[[Tensor], Tensor]:
    """A fast `model.regress`: the same numbers up to rounding (1e-5 of the largest).

    Args:
        model: a SynergyNet in any mode, on any device. Not modified, and not followed if it
            changes later.
        device: where to compute; None is the model's own.
        engine: torch; onnx, which is ONNX Runtime on the CPU; auto takes the latter where it is
            installed, the device is a CPU, and the network does not branch on its data.
    Returns:
        A function from pre-processed images (B, 3, 120, 120) on any device to whitened parameters
        (B, 62) on `device`, computed in inference mode and, on GPUs, without TF32.
    Raises:
        InputError: unknown engine, or one that this network, device or environment rules out.
    """
    device = torch.device(device) if device is not None else model.u.device
    network = fold_batch_norm(model.I2P)
    if engine not in ENGINES:
        raise fileio.InputError(f"unknown engine '{engine}'; choose from {', '.join(ENGINES)}")
    hindrance = _onnx_hindrance(network, device)
    if engine == "onnx" and hindrance:
        raise fileio.InputError(f"engine onnx: {hindrance}; use engine torch")
    if engine == "torch" or hindrance:
        return _torch_regressor(network, device)
    return _onnx_regressor(network)


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """An eval copy of a model's I2P with batch norm folded into convolutions, where it can be."""
    network = copy.deepcopy(network).eval()
    # some timm networks branch on their data and cannot be traced: right as they are, only slower
    with contextlib.suppress(torch.fx.proxy.TraceError):
        network.backbone.features = fuse(network.backbone.features)
    return network


def is_one_graph(network: nn.Module) -> bool:
    """Whether a folded I2P takes the same steps for all images, so that it can be exported."""
    return isinstance(network.backbone.features, torch.fx.GraphModule)


# ---------------------------------------------------------------- PyTorch


def _torch_regressor(network: nn.Module, device: torch.device) -> Callable[[Tensor], Tensor]:
    network = network.to(device, memory_format=torch.channels_last)
    micro_batch = CPU_MICRO_BATCH if device.type == "cpu" else None

    @torch.inference_mode()
    def regress(images: Tensor) -> Tensor:
        images = images.to(device, memory_format=torch.channels_last, non_blocking=True)
        with _full_precision(device):
            chunks = images.split(micro_batch or len(images))
            return torch.cat([network(chunk)[0] for chunk in chunks])  # (B, 62)

    return regress


def _full_precision(device: torch.device) -> contextlib.AbstractContextManager:
    # TF32 convolutions would move parameters by 1e-3 and more against the CPU's
    if device.type != "cuda":
        return contextlib.nullcontext()
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


# ---------------------------------------------------------------- ONNX Runtime


def _onnx_hindrance(network: nn.Module, device: torch.device) -> str | None:
    """Why ONNX Runtime cannot run a folded I2P on `device`; None when it can."""
    if device.type != "cpu":
        return "it computes on the CPU only"
    if not is_one_graph(network):
        return "this network branches on its data"
    if importlib.util.find_spec("onnxruntime") is None:
        return "ONNX Runtime is not installed (pip install onnxruntime)"
    return None


def _onnx_regressor(network: nn.Module) -> Callable[[Tensor], Tensor]:
    import onnxruntime  # optional dependency

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()  # physical cores, or OMP_NUM_THREADS
    session = onnxruntime.InferenceSession(
        _trace_to_onnx(network), options, providers=["CPUExecutionProvider"]
    )

    def regress(images: Tensor) -> Tensor:
        images = images.detach().to("cpu", memory_format=torch.contiguous_format)
        (params_w,) = session.run(["params_w"], {"images": images.numpy()})
        return torch.from_numpy(params_w)  # (B, 62)

    return regress


def _trace_to_onnx(network: nn.Module) -> bytes:
    """A folded I2P as ONNX for images of any count and size."""
    data = memory_files.BytesIO()
    free = {0: "batch", 2: "height", 3: "width"}
    with warnings.catch_warnings(), torch.inference_mode():
        # the exporter without TorchScript, which its warning advises, takes 10 s instead of 0.4
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            network.to("cpu"),
            (torch.zeros(2, 3, IMG_SIZE, IMG_SIZE),),
            data,
            dynamo=False,
            input_names=["images"],
            output_names=["params_w", "pooled"],
            dynamic_axes={"images": free, "params_w": {0: "batch"}, "pooled": {0: "batch"}},
        )
    return data.getvalue()
