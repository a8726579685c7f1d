"""What is left of the accuracy on damaged images: six kinds of damage at three levels.

`python benchmark.py -w WEIGHTS --corrupt` prints the table and adds a heat map to the report. The
damage of an image depends on the seed, the kind, the level and its place in the list only.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import torch
from tqdm import tqdm

from synergynet.geometry.crop import crop_to_photo
from synergynet.geometry.parameters import IMG_SIZE
from synergynet.photos.crops import network_crop
from utils.data.evaluation_crops import EvaluationCrops
from utils.evaluation import metrics
from utils.evaluation.errors import Truth, image_errors
from utils.evaluation.sources import NetworkSource

LEVELS = ("mild", "medium", "strong")


@dataclasses.dataclass(frozen=True)
class Robustness:
    """Errors of one model on damaged images.

    Attributes:
        name: of the model.
        damages: kinds, one a row.
        levels: one a column; the first is the test set as it is.
        nme: (rows, columns) mean of bin means, percent.
    """

    name: str
    damages: list[str]
    levels: list[str]
    nme: np.ndarray


# ---------------------------------------------------------------- damages

Damage = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]


def blur(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Out of focus: Gaussian of 1, 2, 4 px."""
    return cv2.GaussianBlur(image, (0, 0), (1, 2, 4)[level])


def noise(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Sensor noise: normal, of 10, 25, 50 grey levels."""
    noisy = image + rng.normal(0, (10, 25, 50)[level], image.shape)
    return noisy.clip(0, 255).round().astype(np.uint8)


def darkness(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Too little light: 1/2, 1/4, 1/10 of it, in the grey levels that are left."""
    return (image * (0.5, 0.25, 0.1)[level]).round().astype(np.uint8)


def occlusion(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """A square of one random colour over 5, 15, 30 % of the crop, anywhere in it."""
    side = round(IMG_SIZE * (0.05, 0.15, 0.30)[level] ** 0.5)
    top, left = rng.integers(IMG_SIZE - side + 1, size=2)
    covered = image.copy()
    covered[top : top + side, left : left + side] = rng.integers(256, size=3)
    return covered


def low_resolution(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """A small face: the crop was 60, 30, 15 px wide."""
    size = (60, 30, 15)[level]
    small = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (IMG_SIZE, IMG_SIZE), interpolation=cv2.INTER_LINEAR)


DAMAGES: dict[str, Damage] = {
    "blur": blur,
    "noise": noise,
    "darkness": darkness,
    "occlusion": occlusion,
    "low resolution": low_resolution,
}
BOX_JITTER = "box jitter"  # changes the crop box, not the pixels
BOX_JITTER_SHARES = (0.05, 0.1, 0.2)  # largest shift, and change of size, over the side


class DamagedCrops(EvaluationCrops):
    """A test set whose crops are damaged; with box jitter its boxes are moved instead.

    Args:
        crops: the test set. Not modified.
        damage: a key of DAMAGES, or BOX_JITTER.
        level: 0, 1 or 2.
        seed: of everything random.
    """

    def __init__(self, crops: EvaluationCrops, damage: str, level: int, seed: int = 0):
        self.crops, self.folder, self.names = crops, crops.folder, crops.names
        self.labels = crops.labels
        self.damage, self.level = damage, level
        self.seed = (seed, zlib.crc32(damage.encode()), level)
        self.boxes_crop: np.ndarray | None = None  # (N, 4) whole crop px
        if damage == BOX_JITTER:
            self.boxes_crop = self._jittered()
            corners = self.boxes_crop.reshape(-1, 2, 2).transpose(0, 2, 1)  # (N, xy, start end)
            moved = crop_to_photo(corners, crops.labels.roi_box).transpose(0, 2, 1)
            self.labels = dataclasses.replace(crops.labels, roi_box=moved.reshape(-1, 4))

    def _jittered(self) -> np.ndarray:
        share = IMG_SIZE * BOX_JITTER_SHARES[self.level]
        rng = np.random.default_rng(self.seed)
        centre = IMG_SIZE / 2 + rng.uniform(-share, share, (len(self.names), 2))
        half = (IMG_SIZE + rng.uniform(-share, share, (len(self.names), 1))) / 2
        return np.concatenate([centre - half, centre + half], axis=1).round()

    def __getitem__(self, index: int) -> torch.Tensor:
        image = self.crops[index].numpy()
        if self.boxes_crop is not None:  # what the crop does not show is black
            return torch.from_numpy(network_crop(image, self.boxes_crop[index]))
        rng = np.random.default_rng((*self.seed, index))
        return torch.from_numpy(DAMAGES[self.damage](image, self.level, rng))


# ---------------------------------------------------------------- sweep


def sweep(name: str, source: NetworkSource, truth: Truth) -> Robustness:
    """Score a network on its test set as it is and with every damage at every level.

    Args:
        name: of the model.
        source: the network with the test set.
        truth: the test set's labels.
    """
    yaw_deg = source.crops.labels.yaw_deg

    def nme(crops: EvaluationCrops) -> float:
        errors = image_errors(dataclasses.replace(source, crops=crops).predict(), truth)
        return metrics.summarise_nme(errors.nme, yaw_deg)["mean"]

    damages = [*DAMAGES, BOX_JITTER]
    whole = nme(source.crops)
    table = np.full((len(damages), 1 + len(LEVELS)), whole)
    runs = [(row, level) for row in range(len(damages)) for level in range(len(LEVELS))]
    for row, level in tqdm(runs, desc=f"{name}, damaged", unit="run", leave=False, disable=None):
        table[row, 1 + level] = nme(DamagedCrops(source.crops, damages[row], level))
    return Robustness(name, damages, ["none", *LEVELS], table)


def format_robustness(table: Robustness) -> str:
    """The table as text."""
    lines = [f"\nRobustness of {table.name} (NME, mean of bins, in percent):"]
    lines.append(" " * 16 + "".join(f"{level:>9}" for level in table.levels))
    for damage, values in zip(table.damages, table.nme, strict=True):
        lines.append(f"{damage:<16}" + "".join(f"{value:9.3f}" for value in values))
    return "\n".join(lines)
