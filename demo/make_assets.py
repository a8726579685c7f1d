"""Make what the runtime has built in, `synergynet/assets/`, from the shipped weights.

    python demo/make_assets.py

Writes the network as ONNX with its face model, one drawn face of the open test set, what PyTorch
says of it, and the SHA-256 of all: what `synergynet check` compares. Run it after new weights.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from synergynet import fileio
from synergynet.command.check import ASSETS, BUILT_IN_FILES, EXPECTED, FACE, SUMS, Expected
from synergynet.geometry.pose import decode_pose
from synergynet.weights import BUILT_IN
from utils.data.evaluation_crops import OPEN_TEST_FOLDER, EvaluationCrops
from utils.data.folders import OPEN_FOLDER, OPEN_WEIGHTS
from utils.data.preprocessing import IN_THE_WILD, preprocess
from utils.inference.export import write_for_runtime
from utils.inference.loading import load_model

CLEAR_FACE = 118  # of the open test set; detectors are sure of it
DECIMALS = 6


def main() -> int:
    """Write all files of the folder."""
    model = load_model(OPEN_WEIGHTS, morphable=OPEN_FOLDER).eval()
    write_for_runtime(model, BUILT_IN)
    crop = EvaluationCrops(OPEN_TEST_FOLDER)[CLEAR_FACE]  # (120, 120, 3) uint8 BGR
    fileio.write_image(ASSETS / FACE, crop.numpy())
    with torch.inference_mode():
        params_w = model.regress(preprocess(crop[None], IN_THE_WILD))
        landmarks = model.landmarks(params_w)
        pose = torch.stack(decode_pose(model.params(params_w), "exact"), dim=1)
    numbers = Expected(
        *(part[0].numpy().astype(np.float64) for part in (params_w, landmarks, pose))
    )
    rounded = {k: np.round(v, DECIMALS).tolist() for k, v in numbers._asdict().items()}
    fileio.write_json(ASSETS / EXPECTED, rounded)
    sums = "".join(f"{fileio.sha256(ASSETS / name)}  {name}\n" for name in sorted(BUILT_IN_FILES))
    fileio.write_text(ASSETS / SUMS, sums)
    return 0


if __name__ == "__main__":
    sys.exit(fileio.run_command(lambda _: main(), None))
