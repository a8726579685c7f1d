"""SynergyNet as a library, for checkpoints of PyTorch too.

    from synergy3DMM import SynergyNet

    net = SynergyNet()  # published weights when they are there, else the shipped ones
    net = SynergyNet("best.pth.tar", device="cuda")
    landmarks, vertices, poses = net.get_all_outputs(cv2.imread("photo.jpg"))

It is `synergynet.SynergyNet`, with PyTorch as the engine where the weights are a checkpoint; with
the shipped weights, which are there as ONNX, PyTorch is not imported.
"""

from __future__ import annotations

import os
from pathlib import Path

import synergynet.net
from synergynet.detection.detectors import Detector
from synergynet.engines import ENGINES
from synergynet.fileio import InputError
from synergynet.morphable_folder import REQUIRED_FILES
from synergynet.weights import BUILT_IN

ROOT = Path(__file__).resolve().parent
PUBLISHED_WEIGHTS = ROOT / "pretrained" / "best.pth.tar"
BFM_FOLDER = ROOT / "3dmm_data"


def default_weights() -> Path:
    """The published weights when they and the Basel Face Model are there, else the open ones."""
    needed = [PUBLISHED_WEIGHTS, *(BFM_FOLDER / name for name in REQUIRED_FILES)]
    return PUBLISHED_WEIGHTS if all(file.is_file() for file in needed) else BUILT_IN


class SynergyNet(synergynet.net.SynergyNet):
    """Face detector, network and face model together.

    Args:
        weights: checkpoint, or ONNX file of `export.py --format runtime`; None takes
            `default_weights`.
        device: auto, cpu, cuda, or a GPU's number; ONNX files run on the CPU.
        morphable: 3dmm_data folder; None is the checkpoint's own.
        detector: see `synergynet.SynergyNet`.
        engine: auto, torch, onnx or opencv; of a checkpoint, onnx is ONNX Runtime too, and auto
            takes it on CPUs where it is installed.
        refine_crop: see `synergynet.SynergyNet`.
        arch: overrides what the checkpoint says.
        whitening: file of mean and standard deviation, for weights that carry none (3DDFA_V2).
    Raises:
        InputError: a file is missing or damaged, or two do not belong together.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | None = None,
        device: str = "auto",
        morphable: str | os.PathLike[str] | None = None,
        detector: str | Detector = "auto",
        engine: str = "auto",
        *,
        refine_crop: bool = False,
        arch: str | None = None,
        whitening: str | os.PathLike[str] | None = None,
    ):
        path = Path(weights) if weights is not None else default_weights()
        if path == BUILT_IN and (device not in ("auto", "cpu") or engine == "torch"):
            path = ROOT / "pretrained" / "open_mobilenet_v2.pth.tar"  # the same, for PyTorch
        if path.suffix == ".onnx":
            if arch or morphable or whitening or engine not in ENGINES:
                raise InputError(
                    f"{path}: an ONNX file; --arch, --morphable, --whitening and --engine torch "
                    f"are for checkpoints"
                )
            super().__init__(path, engine, detector, refine_crop)
            return
        from utils.inference.crop_engine import load_engine  # imports PyTorch, which takes seconds

        weights_of_engine, function = load_engine(path, device, morphable, engine, arch, whitening)
        super().__init__(weights_of_engine, function, detector, refine_crop)
