"""Geometry on the fly: training crops turned, scaled and shifted, with exactly matching labels.

    python prepare_data.py synthetic --margin 30 ...     # pictures that show more than the crop
    python main_train.py --geometry 180,0.15,0.08 ...

A face is turned in the image plane, then cut anew around its turned landmarks: a share of the crops
exactly as the benchmark cuts, the others looser, tighter or beside it. Such a map of the crop is a
similarity; under it the pose block [P | t] of a label changes exactly, shape and expression not.

Points are in continuous crop px, y down: pixel j is the interval [j, j + 1].
"""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np

from synergynet import fileio
from synergynet.geometry.camera import move_params
from synergynet.geometry.crop import CROP_FACTOR
from synergynet.geometry.parameters import IMG_SIZE
from utils.data.landmark_model import LandmarkModel

MOST_ROLL_DEG, MOST_JITTER = 180.0, 0.5
LYING = 0.25  # share of crops that are turned by any angle up to the largest one
SLIGHT_ROLL_DEG = 10.0  # standard deviation of the others' turn
EXACT = 0.5  # share of crops cut exactly around the landmarks


@dataclasses.dataclass(frozen=True)
class Geometry:
    """How far crops are moved at random.

    Attributes:
        roll_deg: the largest turn in the image plane, to either side; 180 is any.
        scale: a loose crop's side is that of the exact one, times 1 - scale to 1 + scale.
        shift: of a loose crop along x and y, at most, in sides of the exact one.
    """

    roll_deg: float
    scale: float
    shift: float

    @classmethod
    def parse(cls, text: str) -> Geometry:
        """`180,0.15,0.08` -> Geometry(180, 0.15, 0.08).

        Raises:
            InputError: not three numbers in their ranges.
        """
        try:
            numbers = [float(item) for item in text.split(",")]
        except ValueError:
            numbers = []
        most = (MOST_ROLL_DEG, MOST_JITTER, MOST_JITTER)
        if len(numbers) != 3 or not all(0 <= n <= m for n, m in zip(numbers, most, strict=True)):
            raise fileio.InputError(
                f"--geometry {text}: give ROLL,SCALE,SHIFT, for instance 180,0.15,0.08; roll from "
                f"0 to {MOST_ROLL_DEG:.0f} degrees, the others from 0 to {MOST_JITTER}"
            )
        return cls(*numbers)


@dataclasses.dataclass(frozen=True)
class Moves:
    """What is drawn at random for N crops.

    Attributes:
        roll_deg: (N,) turn, clockwise as seen.
        scale: (N,) side of the new crop over that of the exact one.
        shift: (N, 2) of its centre along x and y, in sides of the exact one.
    """

    roll_deg: np.ndarray
    scale: np.ndarray
    shift: np.ndarray

    @classmethod
    def sample(cls, count: int, geometry: Geometry, rng: np.random.Generator) -> Moves:
        """Independent moves of `count` crops."""
        lying, exact = rng.random(count) < LYING, rng.random(count) < EXACT
        slight = rng.normal(0, SLIGHT_ROLL_DEG, count).clip(-geometry.roll_deg, geometry.roll_deg)
        wide = rng.uniform(-geometry.roll_deg, geometry.roll_deg, count)
        scale = 1 + geometry.scale * rng.uniform(-1, 1, count)
        shift = geometry.shift * rng.uniform(-1, 1, (count, 2))
        return cls(
            roll_deg=np.where(lying, wide, slight),
            scale=np.where(exact, 1, scale),
            shift=np.where(exact[:, None], 0, shift),
        )

    def similarity(self, row: int, landmarks: np.ndarray) -> np.ndarray:
        """The map (2, 3) of crop `row` into its new crop, px, y down.

        Args:
            row: which of the N.
            landmarks: (2 or 3, 68) crop px, y down. Not modified.
        """
        angle = math.radians(self.roll_deg[row])
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        turned = turn @ landmarks[:2]
        low, high = turned.min(1), turned.max(1)
        exact_side = (high - low).max() * CROP_FACTOR
        centre = (low + high) / 2 + exact_side * self.shift[row]
        size = IMG_SIZE / (exact_side * self.scale[row])
        return np.column_stack([size * turn, IMG_SIZE / 2 - size * centre])


# ---------------------------------------------------------------- points, labels, pixels


def move_landmarks(landmarks: np.ndarray, similarity: np.ndarray) -> np.ndarray:
    """Landmarks (2 or 3, K), crop px, y down, under a similarity (2, 3); z takes its scale."""
    moved = similarity[:, :2] @ landmarks[:2] + similarity[:, 2:]
    if len(landmarks) == 2:
        return moved
    return np.vstack([moved, math.hypot(*similarity[:, 0]) * landmarks[2:]])


def move_pixels(picture: np.ndarray, similarity: np.ndarray) -> np.ndarray:
    """The new crop of a picture that shows the old one with a margin.

    Args:
        picture: (120 + 2m, 120 + 2m, 3) uint8, the old crop in its middle. Not modified.
        similarity: (2, 3) of the old crop into the new one, px, y down.
    Returns:
        (120, 120, 3) uint8, bilinear; beyond the picture it goes on mirrored.
    """
    margin_px = margin(picture)
    # of pixels: their continuous coordinates are half a pixel more
    to_index = np.array(similarity, np.float64)
    to_index[:, 2] += similarity[:, :2] @ [0.5 - margin_px, 0.5 - margin_px] - 0.5
    return cv2.warpAffine(
        picture, to_index, (IMG_SIZE, IMG_SIZE), borderMode=cv2.BORDER_REFLECT_101
    )


def margin(picture: np.ndarray) -> int:
    """What a picture (120 + 2m, 120 + 2m, 3) shows beyond each side of its crop: m px."""
    return (len(picture) - IMG_SIZE) // 2


def cut_middle(picture: np.ndarray) -> np.ndarray:
    """The crop (120, 120, 3) in the middle of a picture, a view of it."""
    inside = slice(margin(picture), margin(picture) + IMG_SIZE)
    return picture[inside, inside]


class Mover:
    """Moves crops with their whitened labels.

    Args:
        face: the labels' face model.
        mean, std: (62,) of their whitening.
    """

    def __init__(self, face: LandmarkModel, mean: np.ndarray, std: np.ndarray):
        self.face = face
        self._mean, self._std = np.asarray(mean, np.float64), np.asarray(std, np.float64)

    def move(
        self, picture: np.ndarray, params_w: np.ndarray, moves: Moves, row: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The new crop (120, 120, 3) uint8 and its whitened parameters (62,) float32.

        Args:
            picture: (120 + 2m, 120 + 2m, 3) uint8. Not modified.
            params_w: (62,) whitened, of the crop in its middle. Not modified.
            moves: of all rows.
            row: which of them.
        """
        params = params_w * self._std + self._mean
        similarity = moves.similarity(row, self.face.decode(params))
        moved = (move_params(params, similarity) - self._mean) / self._std
        return move_pixels(picture, similarity), moved.astype(np.float32)
