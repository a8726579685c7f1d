"""A checkpoint as an engine of the runtime: from crops to whitened parameters, by PyTorch."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

from synergynet.engines.backbone import Engine
from synergynet.weights import Weights
from utils.data.preprocessing import IN_THE_WILD, benchmark_preset, preprocess
from utils.inference.loading import load_model
from utils.inference.regressor import choose_device, make_regressor


def load_engine(
    path: Path,
    device: str = "auto",
    morphable: str | os.PathLike | None = None,
    engine: str = "auto",
    arch: str | None = None,
    whitening: str | os.PathLike | None = None,
) -> tuple[Weights, Engine]:
    """What `synergynet.SynergyNet` needs of a checkpoint.

    Args:
        path: of the checkpoint.
        device: auto, cpu, cuda, or a GPU's number.
        morphable, arch, whitening: see `load_model`.
        engine: see `make_regressor`.
    Raises:
        InputError: a file is missing or damaged, or two do not belong together.
    """
    chosen = choose_device(device)
    model = load_model(path, arch, morphable, whitening).eval().to(chosen)
    regress = make_regressor(model, engine=engine)
    border_px = benchmark_preset(model.arch).border_px

    def run(crops: np.ndarray) -> np.ndarray:
        images = torch.from_numpy(crops).to(chosen)
        return regress(preprocess(images, IN_THE_WILD)).numpy(force=True)

    return Weights(path, model.face_model(), border_px, model.arch), run
