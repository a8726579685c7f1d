"""Training and test crops: lists and label arrays, colour jitter, and the one pre-processing.

Images leave the workers as uint8 and become the network's input on its own device, in one batched
`preprocess`; training, benchmark and photos differ by a preset only, so they cannot drift apart.

Sources: 3DDFA (Zhu et al., PAMI 2017) for the files; SynergyNet, section 4, for the augmentation.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from backbone_nets import THREEDDFA_V2
from synergynet import fileio
from synergynet.geometry.parameters import IMG_SIZE, N_LANDMARKS, N_PARAMS
from synergynet.photos.crops import PIXEL_MEAN, PIXEL_STD
from utils.data.folders import ROOT
from utils.data.packed import hash_names, open_packed

JITTER_RANGE = (0.6, 1.4)
JITTER_STREAM, MIRROR_STREAM = 1, 2  # of random numbers, beside the order of the images
ROUND_TO_FLOOR = -0.5 + 1e-4  # added before rounding; the rest keeps whole numbers what they are
ERASE_PROBABILITY = 0.01

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
class Preset:
    """What `preprocess` does beyond normalisation: a black border, and random erasing."""

    border_px: int
    augment: bool

    @property
    def description(self) -> str:
        """What reports and exported files say of it."""
        border = f"{self.border_px}-px black border" if self.border_px else "no border"
        return f"BGR, {border}, (x - {PIXEL_MEAN}) / {PIXEL_STD:.0f}"


TRAIN = Preset(border_px=5, augment=True)
BENCHMARK = Preset(border_px=5, augment=False)
IN_THE_WILD = Preset(border_px=0, augment=False)


def benchmark_preset(arch: str) -> Preset:
    """How crops are scored: as the weights were trained, 3DDFA_V2's without a border."""
    return IN_THE_WILD if arch == THREEDDFA_V2 else BENCHMARK


# ---------------------------------------------------------------- batches of pixels


def preprocess(
    images: torch.Tensor, preset: Preset = BENCHMARK, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Turn crops into the network's input: float, black border, erasing (TRAIN), (x - 127.5) / 128.

    Args:
        images: (B, H, W, 3) uint8 BGR on any device. Not modified.
        preset: TRAIN, BENCHMARK or IN_THE_WILD.
        generator: CPU generator of the erasing, which then does not depend on the device.
    Returns:
        (B, 3, H, W) float32 on the same device, channels last in memory.
    Raises:
        ValueError: not a batch of BGR uint8 images.
    """
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != torch.uint8:
        raise ValueError(f"expected (B, H, W, 3) uint8, got {tuple(images.shape)} {images.dtype}")
    batch, height, width, _ = images.shape
    inputs = images.permute(0, 3, 1, 2).float()  # (B, 3, H, W), stays channels last
    if border := preset.border_px:
        inputs[:, :, :border] = inputs[:, :, height - border :] = 0
        inputs[:, :, :, :border] = inputs[:, :, :, width - border :] = 0
    if preset.augment:
        erased = torch.rand(batch, generator=generator) < ERASE_PROBABILITY  # (B,)
        region = torch.randint(7, (batch,), generator=generator)  # (B,)
        keep = _region_masks(height, width)[region[erased]]  # (erased, H, W)
        rows = erased.nonzero()[:, 0].to(images.device, non_blocking=True)
        inputs[rows] *= keep.to(inputs.device, non_blocking=True)[:, None]
    return inputs.sub_(PIXEL_MEAN).div_(PIXEL_STD)


def _region_masks(height: int, width: int) -> torch.Tensor:
    """The seven regions random erasing may keep, (7, H, W) of 0 and 1.

    Four quadrants, left and right half, the centre without a quarter of the size at each side.
    NOTE(released): one of the published quadrants keeps another quadrant's pixels; here each keeps
    its own.
    """
    top, bottom = slice(0, height // 2), slice(height // 2, None)
    left, right = slice(0, width // 2), slice(width // 2, None)
    centre_rows = slice(height // 4, height - height // 4)
    centre_columns = slice(width // 4, width - width // 4)
    masks = torch.zeros(7, height, width)
    regions = [(top, left), (top, right), (bottom, left), (bottom, right)]
    regions += [(slice(None), left), (slice(None), right), (centre_rows, centre_columns)]
    for mask, (rows, columns) in zip(masks, regions, strict=True):
        mask[rows, columns] = 1
    return masks


# ---------------------------------------------------------------- colour jitter


def jitter_colours(
    image: np.ndarray, factors: np.ndarray, order: np.ndarray | tuple[int, ...]
) -> np.ndarray:
    """Change brightness, contrast and saturation, one after the other.

    Args:
        image: (H, W, 3) uint8 BGR. Not modified.
        factors: (3,) of brightness, contrast and saturation; 1 changes nothing.
        order: permutation of 0, 1, 2, the operations in turn.
    Returns:
        (H, W, 3) uint8 BGR, as PIL's ImageEnhance makes it from the same array; a value in some
        hundreds is off by one level, since OpenCV rounds where PIL cuts off.
    """
    operations = (adjust_brightness, adjust_contrast, adjust_saturation)
    for index in order:
        image = operations[index](image, factors[index])
    return image


def adjust_brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """Blend with black; semantics of PIL.ImageEnhance.Brightness on (H, W, 3) uint8."""
    return cv2.addWeighted(image, factor, image, 0, ROUND_TO_FLOOR)


def adjust_contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Blend with the mean grey; semantics of PIL.ImageEnhance.Contrast on (H, W, 3) uint8."""
    mean = int(cv2.mean(_luma(image))[0] + 0.5)
    return cv2.addWeighted(image, factor, image, 0, mean * (1 - factor) + ROUND_TO_FLOOR)


def adjust_saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """Blend with each pixel's grey; semantics of PIL.ImageEnhance.Color on (H, W, 3) uint8."""
    grey = cv2.cvtColor(_luma(image), cv2.COLOR_GRAY2BGR)
    return cv2.addWeighted(image, factor, grey, 1 - factor, ROUND_TO_FLOOR)


def _luma(image: np.ndarray) -> np.ndarray:
    """Grey of (H, W, 3) uint8 in array order, (H, W) uint8.

    NOTE(released): the published pipeline hands a BGR array to PIL as if it were RGB, so blue has
    red's weight here.
    """
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


# ---------------------------------------------------------------- training set


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

    What a batch holds depends on seed, epoch and rows only: not on workers,
    batches or order. A picture that cannot be read is reported there and another stands in for it.

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
        self.names = fileio.read_list(list_file)
        self.params_w = _read_params(params_file)  # (N, 62)
        self.seed = seed
        if not self.names:
            raise fileio.InputError(f"{list_file}: lists no image")
        if len(self.names) != len(self.params_w):
            raise fileio.InputError(
                f"{list_file} lists {len(self.names)} images but {params_file} holds "
                f"{len(self.params_w)} rows; they must belong together"
            )
        self.pixels = open_packed(self.root, self.names) if self.root.is_file() else None
        self.factors, self.order = self._draw_jitter(epoch=0)
        self.mirrored_params_w: torch.Tensor | None = None  # (N, 62) with mirror images
        self.is_mirrored = np.zeros(len(self), bool)

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

    def batch(self, rows: list[int]) -> Batch:
        """Read, mirror and jitter the images of these rows.

        Raises:
            InputError: none of them is readable.
        """
        images = np.empty((len(rows), IMG_SIZE, IMG_SIZE, 3), np.uint8)
        readable, unreadable = [], []  # places in the batch, error lines
        for place, row in enumerate(rows):
            try:
                image = self.read(row)
            except fileio.InputError as error:
                unreadable.append(str(error))
                continue
            if self.is_mirrored[row]:
                image = cv2.flip(image, 1)
            images[place] = jitter_colours(image, self.factors[row], self.order[row])
            readable.append(place)
        if not readable:
            raise fileio.InputError(f"{unreadable[0]}; nor can the rest of this batch be read")
        rows = torch.tensor(rows)
        if unreadable:
            missing = np.setdiff1d(np.arange(len(rows)), readable)
            stand_ins = np.resize(readable, len(missing))
            images[missing], rows[missing] = images[stand_ins], rows[stand_ins]
        return Batch(torch.from_numpy(images), self._targets(rows), rows, unreadable)

    def _targets(self, rows: torch.Tensor) -> torch.Tensor:
        """Whitened parameters (B, 62) of rows (B,) as they are shown in this epoch."""
        if self.mirrored_params_w is None:
            return self.params_w[rows]
        is_mirrored = torch.from_numpy(self.is_mirrored)[rows, None]  # (B, 1)
        return torch.where(is_mirrored, self.mirrored_params_w[rows], self.params_w[rows])

    def read(self, row: int) -> np.ndarray:
        """The crop as it is stored, (120, 120, 3) uint8 BGR.

        Raises:
            InputError: unreadable, or of another size.
        """
        return read_crop(self.root / self.names[row]) if self.pixels is None else self.pixels[row]

    def fingerprint(self) -> str:
        """SHA-256 of names and targets: a run can go on only with the data it began with."""
        digest = hashlib.sha256(hash_names(self.names).encode())
        digest.update(self.params_w.numpy())
        return digest.hexdigest()

    def at_epoch(self, epoch: int) -> TrainingCrops:
        """The same crops with jitter and mirror images of another epoch; the rest is shared."""
        other = copy.copy(self)
        other.factors, other.order = self._draw_jitter(epoch)
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


class EpochBatches:
    """Batches of one epoch: a permutation by (seed, epoch), each batch shared out over the ranks.

    Images that do not fill the last batch are left to another epoch; a set smaller than a batch is
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
    crops: TrainingCrops,
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
    return _loader(crops.at_epoch(epoch).batch, batches, workers)


# ---------------------------------------------------------------- test set


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
        self.names = fileio.read_list(list_file)
        if not self.names:
            raise fileio.InputError(f"{list_file}: lists no image")
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
    return _loader(functools.partial(_items, crops), batches, workers)


# ---------------------------------------------------------------- shared


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


class _Loader(DataLoader):
    """A DataLoader whose workers' InputErrors arrive as they are, not inside a traceback's text."""

    def __iter__(self) -> Iterator:
        with _one_opencv_thread():
            batches = super().__iter__()  # starts the workers
        for batch in batches:
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


class _Fetch(Dataset):
    """Calls `fetch(rows)` for a batch; an InputError becomes the batch, for `_Loader` to raise."""

    def __init__(self, fetch: Callable[[list[int]], object]):
        self.fetch = fetch

    def __getitems__(self, rows: list[int]) -> object:
        try:
            return self.fetch(rows)
        except fileio.InputError as error:
            return error


def _items(dataset: Dataset, rows: list[int]) -> torch.Tensor:
    return default_collate([dataset[row] for row in rows])


def _as_fetched(batch: object) -> object:
    return batch


def _loader(
    fetch: Callable[[list[int]], object], batches: EpochBatches | list[list[int]], workers: int
) -> DataLoader:
    return _Loader(
        _Fetch(fetch),
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_as_fetched,
        pin_memory=torch.cuda.is_available(),
    )
