"""Training sets mixed: of every epoch, shares that come from other sets.

A set whose share asks for more images than it has shows some of them more than once in an epoch;
of a larger one each epoch draws others. What is drawn follows from seed and epoch.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from synergynet import fileio
from utils.data.training_crops import Batch, TrainingCrops

MIX_STREAM = 4  # of random numbers, beside those of `training_crops`


class Part(NamedTuple):
    """A set to mix in.

    Attributes:
        folder: as `prepare_data.py` writes training sets.
        share: of the images of an epoch, above 0.
    """

    folder: Path
    share: float


def parse_mix(texts: Sequence[str]) -> list[Part]:
    """The values of --mix, FOLDER:SHARE each.

    Raises:
        InputError: another form, or shares that leave nothing of the training set itself.
    """
    parts = []
    for text in texts:
        folder, _, number = text.rpartition(":")
        try:
            share = float(number)
        except ValueError:
            share = math.nan
        if not folder or not 0 < share < 1:
            raise fileio.InputError(f"--mix {text}: give FOLDER:SHARE, the share between 0 and 1")
        parts.append(Part(Path(folder), share))
    if sum(part.share for part in parts) >= 1:
        raise fileio.InputError(f"--mix {' '.join(texts)}: shares that leave nothing of the set")
    return parts


class MixedCrops:
    """Several training sets as one; see `TrainingCrops`, whose interface this is.

    An epoch has all images of the first set, and of each other as many as its share asks for.
    Images are numbered through all sets.

    Args:
        sets: the first, and those to mix in; whitened alike.
        shares: of the latter, in sum below 1.
    """

    def __init__(self, sets: Sequence[TrainingCrops], shares: Sequence[float]) -> None:
        self.sets = list(sets)
        self.seed = sets[0].seed
        self.names = [name for crops in sets for name in crops.names]
        self.first = np.cumsum([0, *map(len, sets)])  # number of each set's first image
        whole = len(sets[0]) / (1 - sum(shares))  # images of an epoch
        self.counts = [len(sets[0]), *(round(share * whole) for share in shares)]
        self.drawn = self._draw(epoch=0)

    def __len__(self) -> int:
        """Images of an epoch."""
        return sum(self.counts)

    def batch(self, places: list[int]) -> Batch:
        """The images at these places of the epoch.

        Raises:
            InputError: of one set, none of them is readable.
        """
        numbers = self.drawn[places]  # (B,)
        which = np.searchsorted(self.first, numbers, side="right") - 1
        images: list[torch.Tensor | None] = [None] * len(places)
        targets, rows, unreadable = list(images), list(numbers), []
        for index, crops in enumerate(self.sets):
            here = np.flatnonzero(which == index)
            if not len(here):
                continue
            part = crops.batch((numbers[here] - self.first[index]).tolist())
            unreadable += part.unreadable
            for at, image, target, row in zip(
                here, part.images, part.params_w, part.rows.tolist(), strict=True
            ):
                images[at], targets[at], rows[at] = image, target, row + self.first[index]
        return Batch(torch.stack(images), torch.stack(targets), torch.tensor(rows), unreadable)

    def fingerprint(self) -> str:
        """SHA-256 of all sets and shares: a run can go on only with the data it began with."""
        digest = hashlib.sha256(str(self.counts).encode())
        for crops in self.sets:
            digest.update(crops.fingerprint().encode())
        return digest.hexdigest()

    def at_epoch(self, epoch: int) -> MixedCrops:
        """The same sets at another epoch; what is read of them is shared."""
        other = copy.copy(self)
        other.sets = [crops.at_epoch(epoch) for crops in self.sets]
        other.drawn = self._draw(epoch)
        return other

    def _draw(self, epoch: int) -> np.ndarray:
        """Numbers of the images of an epoch, set by set; the loader shuffles them."""
        drawn = []
        for index, (crops, count) in enumerate(zip(self.sets, self.counts, strict=True)):
            rng = np.random.default_rng((self.seed, epoch, MIX_STREAM, index))
            rounds = -(-count // len(crops))
            rows = np.concatenate([rng.permutation(len(crops)) for _ in range(rounds)])
            drawn.append(rows[:count] + self.first[index])
        return np.concatenate(drawn)


def rewhiten(
    params_w: torch.Tensor,
    own: tuple[np.ndarray, np.ndarray],
    wanted: tuple[np.ndarray, np.ndarray],
) -> torch.Tensor:
    """Targets (N, 62) whitened by another mean and deviation than their own, (62,) each."""
    (mean, std), (new_mean, new_std) = own, wanted
    real = params_w.double() * torch.from_numpy(std) + torch.from_numpy(mean)
    return ((real - torch.from_numpy(new_mean)) / torch.from_numpy(new_std)).float()
