"""Where the project's data lies, and which of real and open files are used."""

from __future__ import annotations

from pathlib import Path

from synergynet.morphable_folder import REQUIRED_FILES

ROOT = Path(__file__).resolve().parent.parent.parent
BFM_FOLDER = ROOT / "3dmm_data"
OPEN_FOLDER = ROOT / "3dmm_data" / "open"
OPEN_WEIGHTS = ROOT / "pretrained" / "open_mobilenet_v2.pth.tar"


def default_morphable_folder() -> Path:
    """The Basel Face Model in `3dmm_data/`, even in part, else the open model that ships."""
    present = any((BFM_FOLDER / name).exists() for name in REQUIRED_FILES)
    return BFM_FOLDER if present else OPEN_FOLDER
