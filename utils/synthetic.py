"""Synthetic faces with exact labels, from the open morphable model's whole head.

`python prepare_data.py synthetic --count 20000 --output synthetic_data` writes a training set in
3DDFA's files; with `--test-set` it writes a test set of other people in AFLW2000-3D's.

Picture i of a set depends on (seed, i) only, not on the number of workers. A picture agrees with
its label exactly: the decoded landmarks are the continuous coordinates (pixel centres at +0.5) at
which the head was drawn.

Sources: 3DDFA (Zhu et al., PAMI 2017) for files and crops; 300W-LP for the distribution of poses.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from utils import io
from utils.crop import CROP_FACTOR, crop_to_photo
from utils.ddfa import CROPS, EVAL, LIST, EvaluationLabels, write_labels
from utils.open_model import OpenHead, load_head
from utils.params import (
    EXPR,
    IMG_SIZE,
    N_EXPR,
    N_LANDMARKS,
    N_PARAMS,
    N_POSE,
    N_SHAPE,
    POSE,
    SHAPE,
    MorphableModel,
    load_morphable,
)
from utils.portrait.studio import Studio
from utils.pose import Pose, compose_rotation, decode_pose

TRAINING_IMAGES = "train_aug_120x120"
TRAINING_LIST = "train_aug_120x120.list.train"
TRAINING_PARAMS = "param_all_norm_v201.pkl"
JPEG_QUALITY = 95
PHOTO_SIZE = 450  # px, of AFLW2000-3D's photos
AFLW2000_YAW_COUNTS = (1312, 383, 305)  # images with |yaw| in [0, 30], (30, 60], (60, 90] degrees


@dataclasses.dataclass(frozen=True)
class LabelSampler:
    """Draws people, expressions, poses and crops as real 62-number labels.

    Attributes:
        landmark_mean: (68, 3); landmark_shp: (68, 3, 40); landmark_expr: (68, 3, 10) micrometres.
        identities: (I, 40) people to mix; expressions: (E, 10).
        crop_jitter: whether the crop is shifted and scaled at random.
    """

    landmark_mean: np.ndarray
    landmark_shp: np.ndarray
    landmark_expr: np.ndarray
    identities: np.ndarray
    expressions: np.ndarray
    crop_jitter: bool = True

    @classmethod
    def for_training(cls, head: OpenHead, morphable: MorphableModel) -> LabelSampler:
        """All people but the held-out ones, yaw to +-90 degrees, jittered crops."""
        return cls(*_landmark_model(morphable), head.identities, head.expressions)

    @classmethod
    def for_testing(cls, head: OpenHead, morphable: MorphableModel) -> LabelSampler:
        """Held-out people only, cropped exactly."""
        return cls(
            *_landmark_model(morphable),
            head.held_out_identities,
            head.expressions,
            crop_jitter=False,
        )

    def sample(self, rng: np.random.Generator, yaw_deg: float | None = None) -> np.ndarray:
        """One label, (62,) float32 real parameters, for a 120-px crop.

        Args:
            rng: decides everything.
            yaw_deg: fixes the yaw.
        """
        shape = _mix(self.identities, rng)
        shape = shape + 0.15 * rng.standard_normal(N_SHAPE)
        expr = _blend(self.expressions, rng)
        pose = sample_pose(rng) if yaw_deg is None else sample_pose(rng, yaw_deg)
        landmarks = self.landmark_mean + self.landmark_shp @ shape + self.landmark_expr @ expr
        params = np.empty(N_PARAMS, np.float32)
        params[POSE] = self._camera(landmarks, pose, rng).reshape(N_POSE)
        params[SHAPE], params[EXPR] = shape, expr
        return params

    def _camera(self, landmarks: np.ndarray, pose: Pose, rng: np.random.Generator) -> np.ndarray:
        """(3, 4) [s R | t] that puts landmarks (68, 3) into a crop cut like AFLW2000-3D's, at a
        mean depth of 0."""
        rotation = compose_rotation(pose).numpy()
        turned = landmarks @ rotation.T  # (68, 3) micrometres, y up
        low, high = turned[:, :2].min(0), turned[:, :2].max(0)
        side = (high - low).max() * CROP_FACTOR  # micrometres
        centre = np.array([*(low + high) / 2, turned[:, 2].mean()])
        if self.crop_jitter:
            side *= rng.uniform(0.9, 1.15)
            centre[:2] += side * rng.uniform(-0.08, 0.08, 2)
        scale = IMG_SIZE / side
        middle = np.array([IMG_SIZE / 2, IMG_SIZE / 2 + 1, 0])  # y down is IMG_SIZE + 1 - y
        translation = middle - scale * centre
        return np.concatenate([scale * rotation, translation[:, None]], 1)


def sample_pose(rng: np.random.Generator, yaw_deg: float | None = None) -> Pose:
    """Yaw broad to +-90 degrees; pitch and roll normal, pitch wider where the face is frontal."""
    if yaw_deg is None:
        yaw_deg = rng.normal(0, 25) if rng.random() < 0.5 else rng.uniform(-90, 90)
    yaw_deg = float(np.clip(yaw_deg, -90, 90))
    pitch_std = 17 - 6 * abs(yaw_deg) / 90
    pitch_deg = float(np.clip(rng.normal(-3, pitch_std), -45, 45))
    roll_deg = float(np.clip(rng.normal(0, 15), -50, 50))
    angles = torch.tensor([yaw_deg, pitch_deg, roll_deg], dtype=torch.float64)
    return Pose(*angles)


def sample_labels(head: OpenHead, morphable: MorphableModel, count: int, seed: int) -> np.ndarray:
    """Labels (count, 62) float32 real parameters of a training set, without its pictures."""
    sampler = LabelSampler.for_training(head, morphable)
    return np.stack([sampler.sample(np.random.default_rng((seed, i))) for i in range(count)])


def _mix(bank: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A new person between two of the bank, (40,); the mixture keeps the bank's variance."""
    first, second = bank[rng.integers(len(bank), size=2)]
    turn = rng.uniform(0, np.pi / 2)
    return np.cos(turn) * first + np.sin(turn) * second


def _blend(bank: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A new expression between two of the bank, (10,), mostly close to one of them."""
    first, second = bank[rng.integers(len(bank), size=2)]
    weight = rng.beta(0.4, 0.4)
    return weight * first + (1 - weight) * second + 0.05 * rng.standard_normal(N_EXPR)


def _landmark_model(morphable: MorphableModel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The 68 landmarks as a linear model: (68, 3), (68, 3, 40), (68, 3, 10) micrometres."""
    rows = morphable.keypoints
    return (
        morphable.u[rows].numpy().reshape(N_LANDMARKS, 3),
        morphable.w_shp[rows].numpy().reshape(N_LANDMARKS, 3, N_SHAPE),
        morphable.w_exp[rows].numpy().reshape(N_LANDMARKS, 3, N_EXPR),
    )


# ---------------------------------------------------------------- pictures


class Generator:
    """Pictures and their labels, each from a random generator of its own.

    Args:
        head: the open model's whole head.
        morphable: the open model.
        held_out: draw the held-out people and exact crops of a test set.
    """

    def __init__(self, head: OpenHead, morphable: MorphableModel, held_out: bool = False):
        self.head = head
        choose = LabelSampler.for_testing if held_out else LabelSampler.for_training
        self.labels = choose(head, morphable)
        self.studio = Studio(head, self.labels.landmark_mean)

    def head_verts(self, params: np.ndarray) -> np.ndarray:
        """The whole head (N, 3), micrometres in the model frame, of real parameters (62,)."""
        head = self.head
        return head.mean + head.w_shp @ params[SHAPE] + head.w_exp @ params[EXPR]

    def draw(
        self, rng: np.random.Generator, yaw_deg: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """One picture (120, 120, 3) uint8 BGR and its real parameters (62,) float32."""
        params = self.labels.sample(rng, yaw_deg)
        camera = params[POSE].reshape(3, 4)
        return self.studio.render(self.head_verts(params), camera, rng), params


def decode_landmarks(labels: LabelSampler, params: np.ndarray) -> np.ndarray:
    """Landmarks (B, 3, 68) crop px, y down, of real parameters (B, 62)."""
    model = (
        labels.landmark_mean
        + np.einsum("kcs,bs->bkc", labels.landmark_shp, params[:, SHAPE])
        + np.einsum("kcs,bs->bkc", labels.landmark_expr, params[:, EXPR])
    )  # (B, 68, 3)
    camera = params[:, POSE].reshape(-1, 3, 4)
    crop = camera[:, :, :3] @ model.transpose(0, 2, 1) + camera[:, :, 3:]  # (B, 3, 68)
    crop[:, 1] = IMG_SIZE + 1 - crop[:, 1]
    return crop


@functools.lru_cache(maxsize=2)
def _generator(folder: Path, held_out: bool) -> Generator:
    return Generator(load_head(folder), load_morphable(folder), held_out)


@dataclasses.dataclass(frozen=True)
class _Job:
    """Pictures to write, by worker processes; `yaws_deg` is None or one yaw a picture."""

    folder: Path
    images: Path
    seed: int
    held_out: bool
    yaws_deg: np.ndarray | None

    def write(self, index: int) -> np.ndarray:
        """Write picture `index`; return its real parameters (62,)."""
        rng = np.random.default_rng((self.seed, index))
        yaw_deg = None if self.yaws_deg is None else float(self.yaws_deg[index])
        image, params = _generator(self.folder, self.held_out).draw(rng, yaw_deg)
        io.write_image(self.images / image_name(index), image, JPEG_QUALITY)
        return params


def image_name(index: int) -> str:
    """File name of a picture; names sort as the pictures are numbered."""
    return f"face{index:07d}.jpg"


def _write_pictures(job: _Job, count: int, workers: int) -> np.ndarray:
    """Write pictures with `workers` processes (0: this one); real parameters (count, 62)."""
    progress = functools.partial(tqdm, total=count, unit="face", disable=None)
    if workers == 0:
        return np.stack(list(progress(map(job.write, range(count)))))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # import once, not once a worker
    pool = concurrent.futures.ProcessPoolExecutor(workers, context, cv2.setNumThreads, (1,))
    try:
        with _one_thread_each(), pool:
            return np.stack(list(progress(pool.map(job.write, range(count), chunksize=16))))
    except BrokenProcessPool:
        raise io.InputError(
            f"{job.images}: a worker was killed, perhaps for memory; use fewer --workers"
        ) from None


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started meanwhile compute with one thread: theirs are enough."""
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


# ---------------------------------------------------------------- sets


def write_training_set(
    morphable_folder: str | os.PathLike,
    output: str | os.PathLike,
    count: int,
    seed: int = 0,
    workers: int = 0,
) -> None:
    """Write a training set in 3DDFA's files: pictures, their list, whitened parameters.

    List and parameters are written last, so that a broken-off set is not taken for a whole one.

    Args:
        morphable_folder: the open morphable model with its head.
        output: folder.
        count: number of pictures.
        seed: of everything random.
        workers: processes; 0 draws in this one. The pictures do not depend on it.
    """
    morphable = load_morphable(morphable_folder)
    output = io.make_output_folder(output)
    images = io.make_output_folder(output / TRAINING_IMAGES)
    for name in (TRAINING_LIST, TRAINING_PARAMS):
        (output / name).unlink(missing_ok=True)
    job = _Job(Path(morphable_folder), images, seed, held_out=False, yaws_deg=None)
    params = _write_pictures(job, count, workers)
    params_w = (params - morphable.param_mean.numpy()) / morphable.param_std.numpy()
    io.write_list(output / TRAINING_LIST, [image_name(i) for i in range(count)])
    io.write_pickle(output / TRAINING_PARAMS, params_w.astype(np.float32))


def write_test_set(
    morphable_folder: str | os.PathLike,
    output: str | os.PathLike,
    count: int,
    seed: int = 0,
    workers: int = 0,
) -> None:
    """Write a test set in AFLW2000-3D's files: held-out people, its proportions of |yaw|.

    The crops are taken to come from photos of 450 px, as AFLW2000-3D's do. Arguments are those of
    `write_training_set`.
    """
    sampler = _generator(Path(morphable_folder), True).labels
    output = io.make_output_folder(output)
    images = io.make_output_folder(output / CROPS)
    (output / LIST).unlink(missing_ok=True)
    rng = np.random.default_rng(seed)
    yaws_deg = sample_test_yaws(count, rng)
    job = _Job(Path(morphable_folder), images, seed, held_out=True, yaws_deg=yaws_deg)
    params = _write_pictures(job, count, workers)
    side = rng.integers(180, 321, count)
    start = rng.integers(1, PHOTO_SIZE - side[:, None], (count, 2))
    roi_box = np.concatenate([start, start + side[:, None]], 1).astype(np.float64)  # (N, 4)
    pose = decode_pose(torch.from_numpy(params), "exact")
    pose_deg = torch.stack([pose.pitch, pose.yaw, pose.roll], 1).numpy()  # (N, 3)
    landmarks = crop_to_photo(decode_landmarks(sampler, params), roi_box)
    labels = EvaluationLabels(
        landmarks=landmarks.astype(np.float32),
        reannotated=None,
        yaw_deg=pose_deg[:, 1],
        roi_box=roi_box,
        pose_rows=np.arange(count),
        pose_deg=pose_deg,
    )
    write_labels(output / EVAL, labels)
    io.write_list(output / LIST, [image_name(i) for i in range(count)])


def sample_test_yaws(count: int, rng: np.random.Generator) -> np.ndarray:
    """(count,) yaws in degrees, shuffled, with AFLW2000-3D's share in each bin of |yaw|."""
    ends = np.rint(np.cumsum(AFLW2000_YAW_COUNTS) * count / sum(AFLW2000_YAW_COUNTS)).astype(int)
    size = rng.uniform(0, 30, count)
    size[ends[0] :] += 30
    size[ends[1] :] += 30
    return rng.permutation(size) * rng.choice([-1, 1], count)
