"""Crops of a training set in one memory-mapped file: decoded once, read at the speed of memory.

    python prepare_data.py pack --root train_aug_120x120 \\
        --list 3dmm_data/train_aug_120x120.list.train --output train.npy
    python main_train.py --root train.npy

The file is a plain `.npy` array (N, 120, 120, 3) of uint8 BGR, 43 kB an image, or with a margin of
m px on each side (N, 120 + 2m, 120 + 2m, 3); row i is line i of the list; `train.json` beside it
holds the hashes of the list and of the pixels, and a checksum of every crop, which is compared when
the crop is read.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from synergynet import fileio
from synergynet.geometry.parameters import IMG_SIZE

SUMS = "crc32"  # entry of the hashes: of every crop, little-endian uint32 as base64
CHUNK = 1024  # images that are read, written and hashed at a time
ADVICE = "make it again with prepare_data.py pack"


def write_packed(
    read: Callable[[str], np.ndarray], names: list[str], output: str | os.PathLike, workers: int
) -> None:
    """Write the crops of a list into one file, whole or not at all.

    Args:
        read: name to crop (120 + 2m, 120 + 2m, 3) uint8 BGR, one m for all.
        names: of the list, in order.
        output: `.npy` file.
        workers: threads that read.
    Raises:
        InputError: a crop is unreadable or of another size, or the disk has too little space.
    """
    output = Path(output)
    if output.suffix != ".npy":
        raise fileio.InputError(f"{output}: a packed file's name ends in .npy")
    fileio.make_output_folder(output.parent)
    picture = read(names[0]).shape
    needed, free = len(names) * int(np.prod(picture)), shutil.disk_usage(output.parent).free
    if needed > free:
        raise fileio.InputError(
            f"{output}: needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free there"
        )
    digest, sums = hashlib.sha256(), np.empty(len(names), "<u4")
    with fileio.whole_file(output) as temporary, ThreadPoolExecutor(max(workers, 1)) as threads:
        shape = (len(names), *picture)
        pixels = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
        for start in tqdm(range(0, len(names), CHUNK), desc="pack", disable=None):
            part = names[start : start + CHUNK]
            pictures = list(threads.map(read, part))
            for name, image in zip(part, pictures, strict=True):
                if image.shape != picture:
                    raise fileio.InputError(
                        f"{name}: {image.shape[1]}x{image.shape[0]} px, but {names[0]} has "
                        f"{picture[1]}x{picture[0]}; crops of one margin can be packed"
                    )
            chunk = np.stack(pictures)
            pixels[start : start + CHUNK] = chunk
            digest.update(chunk)
            sums[start : start + CHUNK] = [zlib.crc32(image) for image in chunk]
        pixels.flush()
    hashes = {"images": len(names), "list": hash_names(names), "pixels": digest.hexdigest()}
    hashes[SUMS] = base64.b64encode(sums.tobytes()).decode()
    fileio.write_json(output.with_suffix(".json"), hashes)


class PackedCrops:
    """Crops (N, 120 + 2m, 120 + 2m, 3) uint8 BGR of a file, read when indexed.

    Pickled, it is its path: a loading process that does not inherit this one's memory opens the
    file itself. An array would travel whole, 27 GB with the published set.

    Args:
        path: `.npy` file.
    Raises:
        OSError, ValueError, EOFError: it is none.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path).absolute()
        self._array = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
        self.shape, self.dtype = self._array.shape, self._array.dtype
        text = fileio.read_json(self.path.with_suffix(".json")).get(SUMS)  # older files have none
        self._sums = None if text is None else np.frombuffer(base64.b64decode(text), "<u4")

    @property
    def n_sums(self) -> int | None:
        """How many checksums there are; None of a file that was packed without."""
        return None if self._sums is None else len(self._sums)

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, rows: int | slice) -> np.ndarray:
        return self._array[rows]

    def read(self, row: int) -> np.ndarray:
        """One crop.

        Raises:
            InputError: its pixels are not those that were packed.
        """
        image = self._array[row]
        if self._sums is not None and zlib.crc32(image) != self._sums[row]:
            raise fileio.InputError(f"{self.path}: crop {row} is not as it was packed; {ADVICE}")
        return image

    def __reduce__(self) -> tuple[type[PackedCrops], tuple[Path]]:
        return PackedCrops, (self.path,)


def open_packed(path: str | os.PathLike, names: list[str]) -> PackedCrops:
    """The crops of a list.

    Raises:
        InputError: damaged, cut off, or made from another list.
    """
    path = Path(path)
    hashes = fileio.read_json(path.with_suffix(".json"))
    if not isinstance(hashes, dict) or hashes.get("list") != hash_names(names):
        raise fileio.InputError(f"{path}: packed from another list of images; {ADVICE}")
    try:
        pixels = PackedCrops(path)
    except (OSError, ValueError, EOFError) as error:
        raise fileio.InputError(f"{path}: not a packed file ({error}); {ADVICE}") from None
    side = pixels.shape[1] if len(pixels.shape) == 4 else 0
    is_whole = side >= IMG_SIZE and side % 2 == 0 and pixels.shape == (len(names), side, side, 3)
    if not is_whole or pixels.dtype != np.uint8:
        raise fileio.InputError(f"{path}: holds {pixels.shape} {pixels.dtype}; {ADVICE}")
    if pixels.n_sums not in (None, len(names)):
        raise fileio.InputError(f"{path}: {pixels.n_sums} checksums of {len(names)}; {ADVICE}")
    return pixels


def check_packed(path: str | os.PathLike, names: list[str]) -> None:
    """Read a packed file and compare its pixels with their hash.

    Raises:
        InputError: they differ, or see `open_packed`.
    """
    pixels, digest = open_packed(path, names), hashlib.sha256()
    for start in tqdm(range(0, len(pixels), CHUNK), desc="check", disable=None):
        digest.update(np.ascontiguousarray(pixels[start : start + CHUNK]))
    if digest.hexdigest() != fileio.read_json(Path(path).with_suffix(".json"))["pixels"]:
        raise fileio.InputError(f"{path}: its pixels are not those that were packed; {ADVICE}")


def hash_names(names: list[str]) -> str:
    """SHA-256 of a list's names."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()
