"""Synthetic faces with exact labels, written as training and test sets.

`python prepare_data.py synthetic --count 20000 --output synthetic_data` writes a training set in
3DDFA's files; with `--test-set` it writes a test set of other people in AFLW2000-3D's. `--assets`
dresses the heads in MakeHuman's skins, hair and hats; without it they are painted.

Picture i of a set depends on (seed, i) only, not on the number of workers.

Source: 3DDFA (Zhu et al., PAMI 2017) and AFLW2000-3D for the files.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from model_building import load_morphable
from synergynet import fileio
from synergynet.geometry.crop import crop_to_photo
from synergynet.geometry.pose import decode_pose
from utils.data.evaluation_crops import (
    CROPS,
    EVAL,
    LIST,
    EvaluationLabels,
    params_file,
    write_labels,
)
from utils.data.workers import map_in_order
from utils.synthetic.attributes import (
    ATTRIBUTES_FILE,
    face_attributes,
    scene_attributes,
    write_attributes,
)
from utils.synthetic.labels import decode_landmarks
from utils.synthetic.pictures import GeneratorSource, load_generator

TRAINING_IMAGES = "train_aug_120x120"
TRAINING_LIST = "train_aug_120x120.list.train"
TRAINING_PARAMS = "param_all_norm_v201.pkl"
JPEG_QUALITY = 95
MOST_MARGIN_PX = 100  # around a crop
PHOTO_SIZE = 450  # px, of AFLW2000-3D's photos
AFLW2000_YAW_COUNTS = (1312, 383, 305)  # images with |yaw| in [0, 30], (30, 60], (60, 90] degrees


@dataclasses.dataclass(frozen=True)
class _Job:
    """Pictures to write, by worker processes; `yaw_ranges_deg` is (count, 2), of |yaw|."""

    source: GeneratorSource
    images: Path
    seed: int
    yaw_ranges_deg: np.ndarray

    def rng(self, index: int) -> np.random.Generator:
        """The generator that picture `index` is drawn from."""
        return np.random.default_rng((self.seed, index))

    def write(self, index: int) -> tuple[np.ndarray, float]:
        """Write picture `index`; return its real parameters (62,) and their `fit_error`."""
        generator, rng = load_generator(self.source), self.rng(index)
        shot = generator.shoot(rng, tuple(self.yaw_ranges_deg[index]))
        image = generator.render(shot, rng)
        fileio.write_image(self.images / image_name(index), image, JPEG_QUALITY)
        return shot.params, generator.labels.fit_error(shot)


def image_name(index: int) -> str:
    """File name of a picture; names sort as the pictures are numbered."""
    return f"face{index:07d}.jpg"


def _write_pictures(job: _Job, count: int, workers: int) -> tuple[np.ndarray, np.ndarray]:
    """Write pictures with `workers` processes (0: this one); real parameters (count, 62) and the
    `fit_error` (count,) of each."""
    labels = map_in_order(job.write, range(count), workers, chunk_size=16)
    params, errors = zip(*tqdm(labels, total=count, unit="face", disable=None), strict=True)
    return np.stack(params), np.array(errors)


def write_training_set(
    morphable_folder: str | os.PathLike,
    output: str | os.PathLike,
    count: int,
    seed: int = 0,
    workers: int = 0,
    assets: str | os.PathLike | None = None,
    without: Sequence[str] = (),
    margin_px: int = 0,
) -> np.ndarray:
    """Write a training set in 3DDFA's files: pictures, their list, whitened parameters.

    List and parameters are written last, so that an unfinished set is not taken for a whole one.

    Args:
        morphable_folder: the open morphable model with its head.
        output: folder.
        count: number of pictures.
        seed: of everything random.
        workers: processes; 0 draws in this one. The pictures do not depend on it.
        assets: folder of MakeHuman's assets to dress the heads in.
        without: names of INGREDIENTS, of what the pictures are to lack; nothing else changes.
        margin_px: what pictures show beyond each side of the crop; the labels stay the crop's.
    Returns:
        (count,) NME, percent, of the labels' landmarks from those drawn.
    """
    morphable = load_morphable(morphable_folder)
    source = GeneratorSource.of(morphable_folder, False, assets, without, margin_px)
    load_generator(source)  # complains before anything is written
    output = fileio.make_output_folder(output)
    images = fileio.make_output_folder(output / TRAINING_IMAGES)
    for name in (TRAINING_LIST, TRAINING_PARAMS):
        (output / name).unlink(missing_ok=True)
    job = _Job(source, images, seed, yaw_ranges_deg=np.tile([0.0, 90.0], (count, 1)))
    params, fit_errors = _write_pictures(job, count, workers)
    params_w = (params - morphable.param_mean.numpy()) / morphable.param_std.numpy()
    fileio.write_list(output / TRAINING_LIST, [image_name(i) for i in range(count)])
    fileio.write_pickle(output / TRAINING_PARAMS, params_w.astype(np.float32))
    return fit_errors


def write_test_set(
    morphable_folder: str | os.PathLike,
    output: str | os.PathLike,
    count: int,
    seed: int = 0,
    workers: int = 0,
    assets: str | os.PathLike | None = None,
    without: Sequence[str] = (),
) -> np.ndarray:
    """Write a test set in AFLW2000-3D's files: held-out people, its proportions of |yaw|.

    `eval/attributes.csv` says what each picture shows.
    The crops are taken to come from photos of 450 px, as AFLW2000-3D's do. Arguments and result are
    those of `write_training_set`.
    """
    source = GeneratorSource.of(morphable_folder, held_out=True, assets=assets, without=without)
    generator = load_generator(source)
    output = fileio.make_output_folder(output)
    images = fileio.make_output_folder(output / CROPS)
    (output / LIST).unlink(missing_ok=True)
    rng = np.random.default_rng(seed)
    job = _Job(source, images, seed, yaw_ranges_deg=sample_test_bins(count, rng))
    params, fit_errors = _write_pictures(job, count, workers)
    side = rng.integers(180, 321, count)
    start = rng.integers(1, PHOTO_SIZE - side[:, None], (count, 2))
    roi_box = np.concatenate([start, start + side[:, None]], 1).astype(np.float64)  # (N, 4)
    pose = decode_pose(torch.from_numpy(params), "exact")
    pose_deg = torch.stack([pose.pitch, pose.yaw, pose.roll], 1).numpy()  # (N, 3)
    in_crop = decode_landmarks(generator.labels, params)
    landmarks = crop_to_photo(in_crop, roi_box)
    labels = EvaluationLabels(
        landmarks=landmarks.astype(np.float32),
        reannotated=None,
        yaw_deg=pose_deg[:, 1],
        roi_box=roi_box,
        pose_rows=np.arange(count),
        pose_deg=pose_deg,
    )
    write_labels(output / EVAL, labels)
    face_model = load_morphable(morphable_folder).hash
    fileio.write_array(output / EVAL / params_file(face_model), params)
    names = [image_name(i) for i in range(count)]
    scenes = [generator.studio.stage(job.rng(i)) for i in range(count)]
    attributes = face_attributes(in_crop, pose_deg) | scene_attributes(scenes)
    write_attributes(output / EVAL / ATTRIBUTES_FILE, names, attributes)
    fileio.write_list(output / LIST, names)
    return fit_errors


def sample_test_bins(count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, 2) ranges of |yaw| in degrees, shuffled, in AFLW2000-3D's shares."""
    ends = np.rint(np.cumsum(AFLW2000_YAW_COUNTS) * count / sum(AFLW2000_YAW_COUNTS)).astype(int)
    low = 30.0 * np.searchsorted(ends, rng.permutation(count), side="right")
    return np.stack([low, low + 30], 1)
