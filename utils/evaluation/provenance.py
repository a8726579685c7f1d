"""Where a benchmark's numbers come from, so that they can be reproduced."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import cv2
import numpy as np
import torch

from synergynet import fileio
from utils.data.evaluation_crops import EVAL, LIST, EvaluationCrops
from utils.evaluation.summary import Entry


def provenance(entries: list[Entry], crops: EvaluationCrops) -> dict[str, str]:
    """What makes a run repeatable: command, versions, and hashes of weights, face model, labels."""
    facts = {
        "command": f"python {' '.join(sys.argv)}",
        "versions": f"Python {platform.python_version()}, PyTorch {torch.__version__}, "
        f"NumPy {np.__version__}, OpenCV {cv2.__version__}",
    }
    if devices := {entry.result["device"] for entry in entries} - {None}:
        facts["device"] = ", ".join(sorted(devices))
    for entry in entries:
        path = entry.result["weights"] or entry.result["predictions"]
        facts[entry.name] = f"{Path(path).name}, SHA-256 {fileio.file_hash(path)}"
        if morphable := entry.result.get("morphable"):
            facts[entry.name] += f", face model {morphable['name']} {morphable['hash']}"
    labels = [crops.folder / LIST, *sorted((crops.folder / EVAL).glob("*.npy"))]
    facts["test set"] = f"{entries[0].result['data']}: " + ", ".join(
        f"{path.name} {fileio.file_hash(path)}" for path in labels
    )
    return facts
