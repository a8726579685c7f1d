"""AFLW's 21 points: a second test set in the same folder, scored when its files are there.

Files, beside AFLW2000-3D's: `AFLW_GT_crop/` with 120 x 120 crops, `AFLW_GT_crop.list`, and in eval/
`AFLW_GT_pts21.npy` (N, 2, 21) photo px, -1 where hidden, `AFLW_GT_crop_roi_box.npy` (N, 4) and
`AFLW_GT_crop_yaws.npy` (N,) degrees. Source: 3DDFA, whose files these are;
`metrics.aflw_points` says which of the 68 landmarks stand for the 21 points.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from synergynet import fileio
from utils.data.evaluation_crops import EVAL, EvaluationCrops
from utils.data.loader import read_crop
from utils.evaluation import metrics
from utils.evaluation.sources import NetworkSource
from utils.evaluation.summary import nme_with_intervals

CROPS, LIST = "AFLW_GT_crop", "AFLW_GT_crop.list"
POINTS_FILE = "AFLW_GT_pts21.npy"
ROI_BOX_FILE = "AFLW_GT_crop_roi_box.npy"
YAW_FILE = "AFLW_GT_crop_yaws.npy"


@dataclasses.dataclass(frozen=True)
class AflwLabels:
    """Labels of N images: points (N, 2, 21) photo px, yaw_deg (N,), roi_box (N, 4)."""

    points: np.ndarray
    yaw_deg: np.ndarray
    roi_box: np.ndarray


class AflwCrops(EvaluationCrops):
    """AFLW's test crops and labels; an item is (120, 120, 3) uint8.

    Raises:
        InputError: a file is missing or damaged, counts differ, or an image shows under two points.
    """

    def __init__(self, data_folder: str | os.PathLike):
        self.folder = Path(data_folder)
        self.names = fileio.read_names(self.folder / LIST)
        count, folder = len(self.names), self.folder / EVAL
        self.labels = AflwLabels(
            points=fileio.read_array(folder / POINTS_FILE, (count, 2, metrics.N_AFLW)),
            yaw_deg=fileio.read_array(folder / YAW_FILE).reshape(-1),
            roi_box=fileio.read_array(folder / ROI_BOX_FILE, (count, 4)),
        )
        if len(self.labels.yaw_deg) != count:
            raise fileio.InputError(
                f"{folder / YAW_FILE}: {len(self.labels.yaw_deg)} rows for {count} images"
            )
        few = (self.labels.points != metrics.AFLW_HIDDEN).all(axis=1).sum(axis=1) < 2  # (N,)
        if few.any():
            name = self.names[few.argmax()]
            raise fileio.InputError(
                f"{folder / POINTS_FILE}: fewer than two visible points of {name}"
            )

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(read_crop(self.folder / CROPS / self.names[index]))


def aflw_errors(source: NetworkSource) -> dict[str, Any] | None:
    """Landmark error of a network on the AFLW files in its test set's folder; None without them."""
    folder = source.crops.folder
    if not (folder / LIST).is_file():
        return None
    crops = AflwCrops(folder)
    predictions = dataclasses.replace(source, crops=crops).predict()
    points = np.concatenate([metrics.aflw_points(batch.landmarks) for batch in predictions])
    return nme_with_intervals(metrics.aflw_nme(points, crops.labels.points), crops.labels.yaw_deg)
