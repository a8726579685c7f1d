"""The network as one graph that other programs run: ONNX, TorchScript, ExportedProgram.

    graph = FaceGraph(model, ("params", "landmarks", "pose"), preset=IN_THE_WILD)
    data = to_onnx(graph)  # bytes of a file that names its origin, inputs, outputs and units

`export.py` writes them to files.
"""

from __future__ import annotations

import copy
import importlib.util
import io
import json
import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from model_building import SynergyNet
from synergynet.fileio import InputError
from synergynet.geometry.camera import camera_rotation
from synergynet.geometry.parameters import IMG_SIZE, POSE
from synergynet.geometry.pose import exact_angles
from synergynet.weights import write_weights
from utils.data.preprocessing import Preset, benchmark_preset, preprocess
from utils.inference.regressor import fold_batch_norm, is_one_graph

OPSET = 18  # ONNX of 2022: all that the graphs need, and what older runtimes still read
OUTPUTS = {
    "params_w": "(B, 62) whitened parameters, as the network was trained with",
    "params": "(B, 62) real parameters: 12 of [P | t] row by row, 40 of shape, 10 of expression",
    "landmarks": "(B, 3, 68) crop px, y down, z towards the camera",
    "pose": "(B, 3) yaw, pitch, roll in degrees, exact: R = Rx(pitch) Ry(yaw) Rz(roll)",
    "vertices": "(B, 3, V) the dense face, crop px, y down, z towards the camera",
}
BASES = {"landmarks": ("u_base", "w_shp_base", "w_exp_base"), "vertices": ("u", "w_shp", "w_exp")}


class FaceGraph(nn.Module):
    """Images to a tuple of the outputs asked for, holding nothing that these do not need.

    Args:
        model: in any mode, on any device. Not modified.
        outputs: of OUTPUTS, in the order to return.
        preset: bakes this pre-processing in, so that images are (B, 120, 120, 3) uint8 BGR;
            None: they are (B, 3, 120, 120) float32, as `preprocess` returns them.
    Raises:
        InputError: unknown output, or the network branches on its data.
    """

    def __init__(
        self,
        model: SynergyNet,
        outputs: Sequence[str] = ("params",),
        preset: Preset | None = None,
    ) -> None:
        super().__init__()
        if unknown := [name for name in outputs if name not in OUTPUTS]:
            raise InputError(f"unknown output '{unknown[0]}'; choose from {', '.join(OUTPUTS)}")
        self.outputs = tuple(outputs)
        self.preset = preset
        self.model = copy.deepcopy(model).cpu().eval()
        self.model.I2P = fold_batch_norm(self.model.I2P)
        if not is_one_graph(self.model.I2P):
            raise InputError(f"arch {model.arch} branches on its data and cannot be exported")
        self.model.forwardDirection = self.model.reverseDirection = None
        needed = {"param_mean", "param_std"}.union(*(BASES.get(name, ()) for name in outputs))
        for name in {name for name, _ in self.model.named_buffers(recurse=False)} - needed:
            delattr(self.model, name)
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """The outputs, in the order asked for."""
        if self.preset is not None:
            images = preprocess(images, self.preset)
        params_w = self.model.regress(images)
        decode: dict[str, Callable[[Tensor], Tensor]] = {
            "params_w": lambda params_w: params_w,
            "params": self.model.params,
            "landmarks": self.model.landmarks,
            "pose": self._pose,
            "vertices": self.model.vertices,
        }
        return tuple(decode[name](params_w) for name in self.outputs)

    def _pose(self, params_w: Tensor) -> Tensor:
        camera = self.model.params(params_w)[:, POSE].unflatten(1, (3, 4))  # (B, 3, 4)
        return torch.stack(exact_angles(camera_rotation(camera)), dim=1)  # (B, 3)

    def example(self) -> Tensor:
        """Two black images to trace with; one would be taken for a fixed batch size."""
        if self.preset is None:
            return torch.zeros(2, 3, IMG_SIZE, IMG_SIZE)
        return torch.zeros(2, IMG_SIZE, IMG_SIZE, 3, dtype=torch.uint8)

    def metadata(self) -> dict[str, Any]:
        """What a file says about itself: origin, pre-processing, input and outputs with units."""
        if self.preset is None:
            images = f"(B, 3, {IMG_SIZE}, {IMG_SIZE}) float32 BGR, pre-processed"
            preprocessing = "by the caller; see utils/data/preprocessing.py"
        else:
            images = f"(B, {IMG_SIZE}, {IMG_SIZE}, 3) uint8 BGR"
            preprocessing = f"in the graph: {self.preset.description}"
        return {
            "arch": self.model.arch,
            "morphable": self.model.morphable_id,
            "preprocessing": preprocessing,
            "inputs": {"images": images},
            "outputs": {name: OUTPUTS[name] for name in self.outputs},
        }


# ---------------------------------------------------------------- formats


def to_onnx(graph: FaceGraph) -> bytes:
    """An ONNX file: input `images` of any batch size, outputs and units by name, metadata_props.

    The same network gives the same bytes wherever it is exported.

    Raises:
        InputError: the packages onnx and onnxscript are not installed.
    """
    missing = [name for name in ("onnx", "onnxscript") if not importlib.util.find_spec(name)]
    if missing:
        raise InputError(f"ONNX files need {' and '.join(missing)}: pip install '.[export]'")
    import onnx  # optional dependency

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about its own use of deprecated functions
        proto = torch.onnx.export(
            graph,
            (graph.example(),),
            dynamic_shapes=({0: "batch"},),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=["images"],
            output_names=list(graph.outputs),
        ).model_proto
    for part in (*proto.graph.node, *proto.graph.value_info):
        part.ClearField("metadata_props")  # stack traces: file names of the machine it is made on
    metadata = graph.metadata()
    texts = {k: v if isinstance(v, str) else json.dumps(v) for k, v in metadata.items()}
    onnx.helper.set_model_props(proto, texts)
    for value in (*proto.graph.input, *proto.graph.output):
        value.doc_string = (metadata["inputs"] | metadata["outputs"])[value.name]
    onnx.checker.check_model(proto, full_check=True)
    return proto.SerializeToString()


def to_torchscript(graph: FaceGraph) -> bytes:
    """A TorchScript file for `torch.jit.load`, in C++ too; metadata.json is an extra file in it."""
    data = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # tracing is deprecated; programs that load it are not
        script = torch.jit.trace(graph, graph.example())
        torch.jit.save(script, data, {"metadata.json": json.dumps(graph.metadata())})
    return data.getvalue()


def to_exported_program(graph: FaceGraph) -> bytes:
    """A file for `torch.export.load` and AOTInductor; metadata.json is an extra file in it."""
    data = io.BytesIO()
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(graph, (graph.example(),), dynamic_shapes=(batch,))
    extra = {"metadata.json": json.dumps(graph.metadata())}
    torch.export.save(program, data, extra_files=extra)
    return data.getvalue()


FORMATS: dict[str, Callable[[FaceGraph], bytes]] = {
    "onnx": to_onnx,
    "torchscript": to_torchscript,
    "exported-program": to_exported_program,
}


def write_for_runtime(model: SynergyNet, path: str | os.PathLike) -> None:
    """Write the two files that the package synergynet runs: the backbone, and its face model.

    Args:
        model: its backbone and whitening are used.
        path: of the `.onnx`; the `.npz` lies beside it.
    """
    onnx = to_onnx(FaceGraph(model, ("params_w",)))
    border_px = benchmark_preset(model.arch).border_px
    write_weights(path, onnx, model.face_model(), border_px, model.arch)
