"""Training crops with their targets, in 3DDFA's files: list, whitened parameters, images.

Sources: 3DDFA (Zhu et al., PAMI 2017) for the files; SynergyNet, section 4, for the augmentation.
"""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

from synergynet import fileio
from synergynet.geometry.parameters import IMG_SIZE, N_PARAMS
from utils.data.colour_jitter import jitter_colours
from utils.data.loader import crop_loader, read_picture
from utils.data.packed import hash_names, open_packed
from utils.data.turned_crops import Geometry, Mover, Moves, cut_middle

JITTER_RANGE = (0.6, 1.4)
# of random numbers, beside the order of the images
JITTER_STREAM, MIRROR_STREAM, GEOMETRY_STREAM = 1, 2, 3


class Batch(NamedTuple):
    """B training crops.

    Attributes:
        images: (B, 120, 120, 3) uint8 BGR, after colour jitter.
        params_w: (B, 62) whitened targets.
        rows: (B,) of the list; where an image could not be read, those of the one in its place.
        unreadable: an error line for every such image.
    """

    images: torch.Tensor
    params_w: torch.Tensor
    rows: torch.Tensor
    unreadable: list[str]


class TrainingCrops:
    """120x120 crops with their whitened parameters, in 3DDFA's files.

    Pictures may show a margin around the crop, (120 + 2m) x (120 + 2m) px; labels are the crop's.
    What a batch holds depends on seed, epoch and rows only, not on workers, batches or order. A
    picture that cannot be read is reported in its batch, and another one stands in for it.

    Args:
        root: folder the names of the list are relative to, or a file of `prepare_data.py pack`.
        list_file: text, one image name a line.
        params_file: (N, 62) or (N, 102) whitened parameters, `.pkl` or `.npy`; row i belongs to
            line i; of 102 entries (40 more for texture) the first 62 are used.
        seed: seed of jitter and order.
    Raises:
        InputError: a file is missing or damaged, list and parameters differ in length, or the
            packed file was made from another list.
    """

    def __init__(
        self,
        root: str | os.PathLike,
        list_file: str | os.PathLike,
        params_file: str | os.PathLike,
        seed: int = 0,
    ):
        self.root = Path(root)
        self.names = fileio.read_names(list_file)
        self.params_w = _read_params(params_file)  # (N, 62)
        self.seed = seed
        if not self.names:
            raise fileio.InputError(f"{list_file}: lists no images")
        if len(self.names) != len(self.params_w):
            raise fileio.InputError(
                f"{list_file} lists {len(self.names)} images but {params_file} holds "
                f"{len(self.params_w)} rows; they must belong together"
            )
        self.pixels = open_packed(self.root, self.names) if self.root.is_file() else None
        self.factors, self.order = self._draw_jitter(epoch=0)
        self.mirrored_params_w: torch.Tensor | None = None  # (N, 62) with mirror images
        self.is_mirrored = np.zeros(len(self), bool)
        self.geometry: tuple[Geometry, Mover] | None = None
        self.moves: Moves | None = None  # of this epoch, with a geometry

    def __len__(self) -> int:
        return len(self.names)

    def with_mirror_images(self, mirrored_params_w: torch.Tensor) -> TrainingCrops:
        """The same crops, each of which is shown as its mirror image in every second epoch.

        Args:
            mirrored_params_w: (N, 62) whitened targets of the flipped crops.
        """
        other = copy.copy(self)
        other.mirrored_params_w = mirrored_params_w
        return other.at_epoch(0)

    def with_geometry(self, geometry: Geometry, mover: Mover) -> TrainingCrops:
        """The same crops, turned, scaled and shifted at random, anew in every epoch.

        Args:
            geometry: how far.
            mover: of the targets' face model and whitening.
        """
        other = copy.copy(self)
        other.geometry = (geometry, mover)
        return other.at_epoch(0)

    def batch(self, rows: list[int]) -> Batch:
        """Read, mirror, move and jitter the images of these rows.

        Raises:
            InputError: none of them is readable.
        """
        images = np.empty((len(rows), IMG_SIZE, IMG_SIZE, 3), np.uint8)
        params_w = self._targets(torch.tensor(rows))  # (B, 62)
        readable, unreadable = [], []  # places in the batch, error lines
        for place, row in enumerate(rows):
            try:
                image = self.read(row)
            except fileio.InputError as error:
                unreadable.append(str(error))
                continue
            if self.is_mirrored[row]:
                image = cv2.flip(image, 1)
            if self.moves is None:
                image = cut_middle(image)
            else:
                mover, label = self.geometry[1], params_w[place].numpy()
                image, label = mover.move(image, label, self.moves, row)
                params_w[place] = torch.from_numpy(label)
            images[place] = jitter_colours(image, self.factors[row], self.order[row])
            readable.append(place)
        if not readable:
            raise fileio.InputError(f"{unreadable[0]}; nor can the rest of this batch be read")
        rows = torch.tensor(rows)
        if unreadable:
            missing = np.setdiff1d(np.arange(len(rows)), readable)
            stand_ins = np.resize(readable, len(missing))
            images[missing], rows[missing] = images[stand_ins], rows[stand_ins]
            params_w[missing] = params_w[stand_ins]
        return Batch(torch.from_numpy(images), params_w, rows, unreadable)

    def _targets(self, rows: torch.Tensor) -> torch.Tensor:
        """Whitened parameters (B, 62) of rows (B,) as they are shown in this epoch."""
        if self.mirrored_params_w is None:
            return self.params_w[rows]
        is_mirrored = torch.from_numpy(self.is_mirrored)[rows, None]  # (B, 1)
        return torch.where(is_mirrored, self.mirrored_params_w[rows], self.params_w[rows])

    def read(self, row: int) -> np.ndarray:
        """The crop as it is stored, with its margin, (120 + 2m, 120 + 2m, 3) uint8 BGR.

        Raises:
            InputError: unreadable, or of another size.
        """
        if self.pixels is None:
            return read_picture(self.root / self.names[row])
        return self.pixels.read(row)

    def fingerprint(self) -> str:
        """SHA-256 of names and targets: a run can go on only with the data it began with."""
        digest = hashlib.sha256(hash_names(self.names).encode())
        digest.update(self.params_w.numpy())
        return digest.hexdigest()

    def at_epoch(self, epoch: int) -> TrainingCrops:
        """The same crops with jitter, mirror images and moves of another epoch; the rest is
        shared."""
        other = copy.copy(self)
        other.factors, other.order = self._draw_jitter(epoch)
        if self.geometry is not None:
            rng = np.random.default_rng((self.seed, epoch, GEOMETRY_STREAM))
            other.moves = Moves.sample(len(self), self.geometry[0], rng)
        if self.mirrored_params_w is not None:
            first = np.random.default_rng((self.seed, MIRROR_STREAM)).integers(2, size=len(self))
            other.is_mirrored = (first + epoch) % 2 == 1
        return other

    def _draw_jitter(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng((self.seed, epoch, JITTER_STREAM))
        factors = rng.uniform(*JITTER_RANGE, (len(self), 3))
        return factors, rng.random((len(self), 3)).argsort(axis=1)  # (N, 3) both


def _read_params(path: str | os.PathLike) -> torch.Tensor:
    """Whitened training parameters, (N, 62) float32."""
    array = fileio.read_array(path) if Path(path).suffix == ".npy" else fileio.read_pickle(path)
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.shape[1] < N_PARAMS:
        raise fileio.InputError(f"{path}: not an (N, {N_PARAMS}) array of whitened parameters")
    array = fileio.require_finite(path, array[:, :N_PARAMS])
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))


class TrainingSet(Protocol):
    """Crops by their places in an epoch; `TrainingCrops` and `MixedCrops` are such."""

    seed: int

    def __len__(self) -> int: ...

    def batch(self, rows: list[int]) -> Batch: ...

    def at_epoch(self, epoch: int) -> TrainingSet: ...


class EpochBatches:
    """Batches of one epoch: a permutation by (seed, epoch), each batch shared out over the ranks.

    Images that do not fill the last batch are left for another epoch; a set smaller than a batch is
    one short batch. Of a batch, rank r has images r, r + world_size, ...

    Args:
        count: images of the set.
        batch_size: images a step, over all ranks.
        seed, epoch: fix the order.
        rank, world_size: this process of a distributed run.
        start: batches to leave out, because they are done.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        seed: int,
        epoch: int,
        rank: int = 0,
        world_size: int = 1,
        start: int = 0,
    ):
        order = np.random.default_rng((seed, epoch)).permutation(count)
        order = order[: max(count // batch_size, 1) * batch_size]
        first = [order[i : i + batch_size] for i in range(0, len(order), batch_size)][start:]
        self.batches = [batch[rank::world_size] for batch in first]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter([batch.tolist() for batch in self.batches])


def training_loader(
    crops: TrainingSet,
    batch_size: int,
    epoch: int,
    workers: int = 4,
    rank: int = 0,
    world_size: int = 1,
    start: int = 0,
) -> DataLoader:
    """`Batch`es of one epoch, the same for any `workers`.

    Args:
        crops: the training set; its seed and `epoch` fix order and jitter.
        batch_size: images a step, over all ranks.
        epoch: counted from 1 or 0, as the caller likes.
        workers: loading processes; 0 loads in this one.
        rank: this process of a distributed run.
        world_size: number of its processes.
        start: steps of the epoch that are done.
    """
    batches = EpochBatches(len(crops), batch_size, crops.seed, epoch, rank, world_size, start)
    return crop_loader(crops.at_epoch(epoch).batch, batches, workers)
