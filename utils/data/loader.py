"""Reads crops, and loads batches of them with worker processes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from synergynet import fileio
from synergynet.geometry.parameters import IMG_SIZE
from utils.data.workers import end_with_parent


def read_crop(path: str | os.PathLike) -> np.ndarray:
    """Read a crop as (120, 120, 3) uint8 BGR.

    Raises:
        InputError: unreadable, or of another size.
    """
    image = fileio.read_image(path)
    if image.shape != (IMG_SIZE, IMG_SIZE, 3):
        height, width = image.shape[:2]
        raise fileio.InputError(
            f"{path}: {width}x{height} px, expected {IMG_SIZE}x{IMG_SIZE} crops"
        )
    return image


def read_picture(path: str | os.PathLike) -> np.ndarray:
    """Read a training crop with its margin as (120 + 2m, 120 + 2m, 3) uint8 BGR, m >= 0.

    Raises:
        InputError: unreadable, or of another size.
    """
    image = fileio.read_image(path)
    height, width = image.shape[:2]
    if height != width or width < IMG_SIZE or width % 2:
        raise fileio.InputError(
            f"{path}: {width}x{height} px, expected {IMG_SIZE}x{IMG_SIZE} crops, or larger squares "
            f"with the same margin on all sides"
        )
    return image


def crop_loader(
    fetch: Callable[[list[int]], object], batches: Iterable[list[int]], workers: int
) -> DataLoader:
    return _Loader(
        _Fetch(fetch),
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_as_fetched,
        worker_init_fn=_start_worker,
        pin_memory=torch.cuda.is_available(),
    )


class _Loader(DataLoader):
    """A DataLoader whose workers' InputErrors arrive as they are, not inside a traceback's text."""

    def __iter__(self) -> Iterator:
        with _one_opencv_thread():
            batches = super().__iter__()  # starts the workers
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except RuntimeError as error:
                if "DataLoader worker" not in str(error):
                    raise
                raise fileio.InputError(
                    "a process that reads pictures was killed, perhaps for memory; use fewer "
                    "--workers"
                ) from None
            if isinstance(batch, fileio.InputError):
                raise batch
            yield batch


@contextlib.contextmanager
def _one_opencv_thread() -> Iterator[None]:
    """Close OpenCV's thread pool for a while: a process forked with an open one hangs in it."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _start_worker(_: int) -> None:
    end_with_parent()


class _Fetch(Dataset):
    """Calls `fetch(rows)` for a batch; an InputError becomes the batch, for `_Loader` to raise."""

    def __init__(self, fetch: Callable[[list[int]], object]):
        self.fetch = fetch

    def __getitems__(self, rows: list[int]) -> object:
        try:
            return self.fetch(rows)
        except fileio.InputError as error:
            return error


def _as_fetched(batch: object) -> object:
    return batch
