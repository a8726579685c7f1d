"""Test crops with their labels: the files of an `aflw2000_data` folder.

Source: 3DDFA (Zhu et al., PAMI 2017), whose files these are.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import os
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from synergynet import fileio
from synergynet.geometry.parameters import N_LANDMARKS
from utils.data.folders import ROOT
from utils.data.loader import crop_loader, read_crop

# AFLW2000-3D's files; "ALFW" is how the published ones are spelt
CROPS, LIST, EVAL = "AFLW2000-3D_crop", "AFLW2000-3D_crop.list", "eval"
LANDMARKS_FILE = "AFLW2000-3D.pts68.npy"
REANNOTATED_FILE = "AFLW2000-3D-Reannotated.pts68.npy"
YAW_FILE = "AFLW2000-3D.pose.npy"
ROI_BOX_FILE = "AFLW2000-3D_crop.roi_box.npy"
POSE_FILE = "ALFW2000-3D_pose_3ANG_excl.npy"
SKIPPED_FILE = "ALFW2000-3D_pose_3ANG_skip.npy"
ALL_POSE_FILE = "AFLW2000-3D.pose_3ANG.npy"  # ours, optional: (N, 3) of all images

AFLW2000_FOLDER = ROOT / "aflw2000_data"
OPEN_TEST_FOLDER = ROOT / "aflw2000_data" / "open"


@dataclasses.dataclass(frozen=True)
class EvaluationLabels:
    """Labels of an `aflw2000_data` folder, in the order of its list of N images.

    Attributes:
        landmarks: (N, 3, 68) photo px, y down.
        reannotated: (N, 2, 68) photo px, or None.
        yaw_deg: (N,), for the bins only.
        roi_box: (N, 4) sx sy ex ey of the crop in the photo.
        pose_rows: (M,) rows that have a pose label, or None.
        pose_deg: (M, 3) pitch, yaw, roll, or None.
    """

    landmarks: np.ndarray
    reannotated: np.ndarray | None
    yaw_deg: np.ndarray
    roi_box: np.ndarray
    pose_rows: np.ndarray | None
    pose_deg: np.ndarray | None


class EvaluationCrops(Dataset):
    """The test crops of an `aflw2000_data` folder and their labels; an item is (120, 120, 3) uint8.

    Raises:
        InputError: a file is missing or damaged, the list and an array differ in length, or a
            box or an image's landmarks span no area.
    """

    def __init__(self, data_folder: str | os.PathLike):
        self.folder = Path(data_folder)
        list_file = self.folder / LIST
        if not list_file.is_file():
            raise fileio.InputError(
                f"{self.folder}: no test set here ({LIST} is missing); make one with "
                f"prepare_data.py aflw2000, or use the open one, aflw2000_data/open"
            )
        self.names = fileio.read_names(list_file)
        if not self.names:
            raise fileio.InputError(f"{list_file}: lists no images")
        if len(set(self.names)) < len(self.names):
            twice, _ = collections.Counter(self.names).most_common(1)[0]
            raise fileio.InputError(f"{list_file}: lists {twice} twice, which would count twice")
        self.labels = _read_labels(self.folder / EVAL, self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(read_crop(self.folder / CROPS / self.names[index]))


def _read_labels(folder: Path, names: list[str]) -> EvaluationLabels:
    def read(name: str, *shape: int, rows: int = len(names)) -> np.ndarray:
        array = fileio.read_array(folder / name, (None, *shape))
        if len(array) != rows:
            raise fileio.InputError(
                f"{folder / name}: {len(array)} rows for {rows} images of {folder.parent / LIST}; "
                f"they must belong together"
            )
        return array

    def read_landmarks(name: str, *shape: int) -> np.ndarray:
        array = read(name, *shape)
        refuse_empty(name, np.ptp(array[:, :2], axis=2), "landmarks")
        return array

    def refuse_empty(name: str, sizes: np.ndarray, what: str) -> None:
        empty = (sizes <= 0).any(axis=1)  # (N,) of (N, 2) widths and heights
        if empty.any():
            raise fileio.InputError(
                f"{folder / name}: {what} of {names[empty.argmax()]} span no area"
            )

    roi_box = read(ROI_BOX_FILE, 4)
    refuse_empty(ROI_BOX_FILE, roi_box[:, 2:] - roi_box[:, :2], "box")
    pose_rows = pose_deg = None
    if (folder / POSE_FILE).is_file():
        skip = fileio.read_array(folder / SKIPPED_FILE, (None,))
        if len(skip) and (skip.min() < 0 or skip.max() >= len(names)):
            raise fileio.InputError(
                f"{folder / SKIPPED_FILE}: indices outside the {len(names)} images"
            )
        pose_rows = np.setdiff1d(np.arange(len(names)), skip)  # (M,)
        pose_deg = read(POSE_FILE, 3, rows=len(pose_rows))
    has_reannotated = (folder / REANNOTATED_FILE).is_file()
    return EvaluationLabels(
        landmarks=read_landmarks(LANDMARKS_FILE, 3, N_LANDMARKS),
        reannotated=read_landmarks(REANNOTATED_FILE, 2, N_LANDMARKS) if has_reannotated else None,
        yaw_deg=read(YAW_FILE),
        roi_box=roi_box,
        pose_rows=pose_rows,
        pose_deg=pose_deg,
    )


def write_labels(folder: Path, labels: EvaluationLabels) -> None:
    """Write labels into an `eval` folder, as `EvaluationCrops` reads them."""
    arrays = {
        LANDMARKS_FILE: labels.landmarks,
        YAW_FILE: labels.yaw_deg,
        ROI_BOX_FILE: labels.roi_box,
    }
    if labels.reannotated is not None:
        arrays[REANNOTATED_FILE] = labels.reannotated
    if labels.pose_rows is not None:
        rows = np.arange(len(labels.landmarks))
        arrays[SKIPPED_FILE] = np.setdiff1d(rows, labels.pose_rows)
        arrays[POSE_FILE] = labels.pose_deg
    for name, array in arrays.items():
        fileio.write_array(folder / name, array)


def params_file(morphable_hash: str) -> str:
    """Name of an optional label file in eval/: (N, 62) real parameters of that face model."""
    return f"params_{morphable_hash}.npy"


def default_test_folder() -> Path:
    """AFLW2000-3D in `aflw2000_data/`, even in part, else the open test set that ships."""
    has_real = any((AFLW2000_FOLDER / name).exists() for name in (CROPS, LIST, EVAL))
    return AFLW2000_FOLDER if has_real else OPEN_TEST_FOLDER


def evaluation_loader(crops: EvaluationCrops, batch_size: int, workers: int = 0) -> DataLoader:
    """Batches (B, 120, 120, 3) uint8 in the order of the list, the last one shorter."""
    order = range(len(crops))
    batches = [list(order[i : i + batch_size]) for i in range(0, len(crops), batch_size)]
    return crop_loader(functools.partial(_items, crops), batches, workers)


def _items(dataset: Dataset, rows: list[int]) -> torch.Tensor:
    return default_collate([dataset[row] for row in rows])
