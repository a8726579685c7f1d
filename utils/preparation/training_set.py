"""Training and validation sets from labelled photos: crops, whitened parameters, lists.

Whoever knows a source of labels (`lp300w`, `own_photos`) lists its faces and reads
one; this module cuts and writes them in 3DDFA's files, by several processes. A conversion that
stops, even by kill -9, goes on where it was: finished faces are kept in records beside the crops,
and the list, which makes a set, is written when all are there.

Sources: 3DDFA (Zhu et al., PAMI 2017) for files and crops.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import shlex
import shutil
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from model_building import load_morphable
from synergynet import fileio
from synergynet.geometry.camera import params_to_crop
from synergynet.geometry.crop import roi_box_from_landmarks, square_box_from_landmarks
from synergynet.geometry.mirror import FaceMirror, mirror_landmarks, mirror_params
from synergynet.geometry.parameters import IMG_SIZE
from synergynet.geometry.pose import decode_pose
from synergynet.morphable_folder import REQUIRED_FILES, WHITENING_FILE
from synergynet.photos.crops import network_crop
from utils.data.evaluation_crops import CROPS, EVAL, LIST, EvaluationLabels, write_labels
from utils.data.landmark_model import LandmarkModel
from utils.data.mirror import derive_mirror
from utils.data.workers import map_in_order
from utils.preparation.aflw2000 import MAX_ANGLE_DEG
from utils.preparation.archive import require_room

TRAINING_IMAGES = "train_aug_120x120"
TRAINING_LIST = "train_aug_120x120.list.train"
TRAINING_PARAMS = "param_all_norm_v201.pkl"
VALIDATION = "validation"
MORPHABLE = "3dmm_data"  # the face model with this set's whitening, when it has its own

TRAINING_QUALITY, VALIDATION_QUALITY = 95, 100  # of JPEG
CROP_BYTES = 8192  # on disk: 5 to 7 KB in blocks of 4 KB
MAX_SHIFT = 0.08  # of a jittered crop, in sides
SCALES = (0.9, 1.15)  # of a jittered crop's side
MAX_FACE = 4  # sides of the photo; landmarks that span more are no face in it
CHUNK = 32  # faces a task: what a kill may cost each worker
MAX_ERRORS = 100  # unreadable faces after which a conversion gives up


class FaceFile(NamedTuple):
    """A face of a source, not read yet.

    Attributes:
        name: unique in its set; crops are called after it.
        photo: faces with the same one are never shared out to training and validation.
        picture: where the source has the photo.
        label: where, or what, its label is.
        is_mirrored: whether it is the mirror image of another; such are not validated with.
    """

    name: str
    photo: str
    picture: str
    label: Any
    is_mirrored: bool = False


@dataclasses.dataclass(frozen=True)
class LabelledFace:
    """A face in its photo.

    Attributes:
        image: (H, W, 3) uint8 BGR.
        params: (62,) real photo parameters (see `synergynet.geometry.landmark_model`).
        landmarks: (3, 68) photo px, y down; crops are cut around them, validation scores them.
        error: of the label, as its source measures it; reported by face.
    """

    image: np.ndarray
    params: np.ndarray
    landmarks: np.ndarray
    error: float


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How faces become crops.

    Attributes:
        morphable: folder of the face model that the labels are for.
        crops: number of crops a photo; the first is the benchmark's, the others are jittered.
        mirror: whether every second jittered crop is a mirror image.
        whiten_anew: whiten with this set's mean and standard deviation, not the face model's.
        source: what else pictures and labels depend on, by name.
    """

    morphable: Path
    crops: int
    mirror: bool
    whiten_anew: bool
    source: dict[str, int | str] = dataclasses.field(default_factory=dict)


# ---------------------------------------------------------------- planning


def split(faces: list[FaceFile], share: float) -> tuple[list[FaceFile], list[FaceFile]]:
    """Training and validation faces; about `share` of the photos validate, without mirror images.

    A photo's part depends on its name only: no other photo, added or removed, moves it.
    """
    parts = ([], [])
    for face in faces:
        parts[zlib.crc32(face.photo.encode()) < share * 2**32].append(face)
    training, validation = parts
    return training, [face for face in validation if not face.is_mirrored]


def crop_bytes(count: int) -> int:
    """What `count` crops take on the disk, roughly."""
    return count * CROP_BYTES


def exact_box(image: np.ndarray, landmarks: np.ndarray, where: str | Path) -> np.ndarray:
    """The benchmark's crop box (4,) of a face, photo px.

    Args:
        image: (H, W, 3) photo.
        landmarks: (3, 68) photo px.
        where: what errors call the face.
    Raises:
        InputError: its landmarks lie outside the photo, or span MAX_FACE times as much.
    """
    height, width = image.shape[:2]
    box = roi_box_from_landmarks(landmarks, width, height)  # (4,)
    if not (box[:2] < box[2:]).all():
        raise fileio.InputError(f"{where}: its landmarks lie outside the picture")
    span_px = np.ptp(landmarks[:2], axis=1).max()
    if span_px > MAX_FACE * max(width, height):
        raise fileio.InputError(
            f"{where}: its landmarks span {span_px:,.0f} px of a picture of {width} x {height} px; "
            f"they, or the face model, belong to something else"
        )
    return box


def jittered_box(landmarks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A square crop box (4,) of whole numbers beside the exact one; may reach outside the photo.

    Args:
        landmarks: (3, 68) photo px.
        rng: decides shift and scale.
    """
    start, end = square_box_from_landmarks(landmarks).reshape(2, 2)
    side = end - start
    centre = (start + end) / 2 + side * rng.uniform(-MAX_SHIFT, MAX_SHIFT, 2)
    side = np.maximum(np.round(side * rng.uniform(*SCALES)), 1)
    start = np.round(centre - side / 2)
    return np.concatenate([start, start + side])


def mirror_face(face: LabelledFace, mirror: FaceMirror) -> LabelledFace:
    """The face in the flipped photo: pixel columns count from 1, so x goes to W + 1 - x."""
    shift = face.image.shape[1] + 1 - IMG_SIZE  # mirroring itself takes x to 120 - x
    params = mirror_params(torch.from_numpy(face.params)[None], mirror)[0].numpy()
    landmarks = mirror_landmarks(torch.from_numpy(face.landmarks)).numpy()
    params[3] += shift
    landmarks[0] += shift
    return dataclasses.replace(face, image=face.image[:, ::-1], params=params, landmarks=landmarks)


# ---------------------------------------------------------------- crops, by worker processes


@dataclasses.dataclass(frozen=True)
class _Job:
    """Crops of one part of a set; `records` is where finished faces are noted."""

    read: Callable[[FaceFile], LabelledFace]
    recipe: Recipe
    images: Path
    records: Path
    quality: int

    def convert(self, chunk: list[FaceFile]) -> list[str]:
        """Write the crops of some faces, then their record; return what went wrong."""
        rows, errors = [], []
        for face_file in chunk:
            try:
                rows.append(self._convert_one(face_file))
            except fileio.InputError as error:
                errors.append(str(error))
        if rows:
            table = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
            with fileio.whole_file(self.records / f"{uuid.uuid4().hex}.npz") as temporary:
                np.savez(temporary, **table)
        return errors

    def _convert_one(self, face_file: FaceFile) -> dict[str, np.ndarray]:
        face = self.read(face_file)
        first_box = exact_box(face.image, face.landmarks, face_file.picture)
        boxes, params = [], []
        for index in range(self.recipe.crops):
            rng = np.random.default_rng((zlib.crc32(face_file.name.encode()), index))
            shown = face
            if self.recipe.mirror and index % 2:
                shown = mirror_face(face, _mirror(self.recipe.morphable))
            box = first_box if index == 0 else jittered_box(shown.landmarks, rng)
            crop = network_crop(shown.image, box)
            fileio.write_image(self.images / crop_name(face_file, index), crop, self.quality)
            boxes.append(box)
            params.append(params_to_crop(shown.params, box))
        return {
            "name": np.array(face_file.name),
            "params": np.stack(params),  # (crops, 62)
            "roi_box": np.stack(boxes),  # (crops, 4)
            "landmarks": face.landmarks.astype(np.float32),  # (3, 68)
            "error": np.array(face.error),
        }


def crop_name(face_file: FaceFile, index: int) -> str:
    """File name of a face's crop."""
    return f"{face_file.name}_{index}.jpg"


@functools.lru_cache(maxsize=1)
def landmark_model(folder: Path) -> LandmarkModel:
    """The landmarks of a face model, read once a process."""
    return LandmarkModel.of(load_morphable(folder))


@functools.lru_cache(maxsize=1)
def _mirror(folder: Path) -> FaceMirror:
    return derive_mirror(load_morphable(folder))


# ---------------------------------------------------------------- sets


def write_training_set(
    training: list[FaceFile],
    validation: list[FaceFile],
    read: Callable[[FaceFile], LabelledFace],
    output: Path,
    recipe: Recipe,
    workers: int,
) -> dict[str, float]:
    """Write a set, or finish one that was interrupted.

    In `output`: train_aug_120x120/ with its list, param_all_norm_v201.pkl, param_whitening.pkl, and
    validation/ in AFLW2000-3D's files.

    Args:
        training: faces to cut as the recipe says.
        validation: faces to cut once, exactly; may be empty.
        read: reads one; raises InputError on bad files. Pickled to the workers.
        output: folder; a finished set in it is an error.
        recipe: an unfinished set must have been begun with the same.
        workers: processes; 0 works in this one. The result does not depend on it.
    Returns:
        The error of each face by name.
    Raises:
        InputError: no face to train on, a set is there already, another recipe, no room; or some
            faces cannot be converted: their list is in errors.txt, the others are kept.
    """
    if not training:
        raise fileio.InputError(f"{output}: no face left to train on; lower --validation")
    require_new(output)
    fileio.make_output_folder(output)
    unfinished = _begin(output, recipe)
    exact = dataclasses.replace(recipe, crops=1, mirror=False)
    jobs = [
        _Job(read, recipe, output / TRAINING_IMAGES, unfinished / "training", TRAINING_QUALITY),
        _Job(read, exact, output / VALIDATION / CROPS, unfinished / VALIDATION, VALIDATION_QUALITY),
    ]
    tables = _convert(jobs, [training, validation], output, workers)
    if validation:
        _write_validation(output / VALIDATION, validation, tables[1])
    _write_training(output, training, tables[0], recipe)
    shutil.rmtree(unfinished)
    (output / "errors.txt").unlink(missing_ok=True)
    names, errors = (np.concatenate([table[key] for table in tables]) for key in ("name", "error"))
    return dict(zip(names.tolist(), errors.tolist(), strict=True))


def require_new(output: Path) -> None:
    """Refuse a folder with a finished set.

    Raises:
        InputError: names its list.
    """
    if (output / TRAINING_LIST).exists():
        raise fileio.InputError(
            f"{output / TRAINING_LIST}: already there; remove it or choose another"
        )


def training_command(output: Path, recipe: Recipe, validates: bool) -> str:
    """The command that trains on a written set, quoted for a shell."""
    morphable = output / MORPHABLE if recipe.whiten_anew else recipe.morphable
    flags = {
        "--morphable": morphable,
        "--root": output / TRAINING_IMAGES,
        "--filelists-train": output / TRAINING_LIST,
        "--param-fp-train": output / TRAINING_PARAMS,
    } | ({"--validation": output / VALIDATION} if validates else {})
    words = itertools.chain.from_iterable(flags.items())
    return shlex.join(["python", "main_train.py", *map(str, words)])


def _begin(output: Path, recipe: Recipe) -> Path:
    """The folder of records, new or of an unfinished run with the same recipe."""
    unfinished = output / ".unfinished"
    settings = {
        "morphable": load_morphable(recipe.morphable).hash,
        "augment": recipe.crops,
        "mirror": recipe.mirror,
        **recipe.source,
    }
    path = unfinished / "settings.json"
    if path.exists() and fileio.read_json(path) != settings:
        raise fileio.InputError(
            f"{output}: holds an unfinished set with other settings ({path}); repeat those, or "
            f"remove the folder"
        )
    fileio.write_json(path, settings)
    return unfinished


def _convert(
    jobs: list[_Job], parts: list[list[FaceFile]], output: Path, workers: int
) -> list[dict[str, np.ndarray]]:
    """Convert what no record holds yet; the records of each part, in the order of its faces."""
    done = [set(_read_records(job)["name"].tolist()) for job in jobs]
    tasks = []
    for job, faces, names in zip(jobs, parts, done, strict=True):
        for stray in job.images.glob(".*"):
            stray.unlink(missing_ok=True)  # half-written when a worker was killed
        todo = [face for face in faces if face.name not in names]
        tasks += [(job, todo[i : i + CHUNK]) for i in range(0, len(todo), CHUNK)]
    require_room(output, crop_bytes(sum(job.recipe.crops * len(c) for job, c in tasks)), "the set")
    errors = []
    total = sum(map(len, parts))
    resumed = total - sum(len(chunk) for _, chunk in tasks)
    with tqdm(total=total, initial=resumed, unit="face", disable=None) as progress:
        for (_, chunk), failed in zip(tasks, map_in_order(_run, tasks, workers), strict=True):
            progress.update(len(chunk))
            errors = list(dict.fromkeys(errors + failed))  # views share their photo's
            if len(errors) >= MAX_ERRORS:
                break
    if errors:
        fileio.write_list(output / "errors.txt", errors)
        others = f" (and {len(errors) - 1} more in errors.txt)" if len(errors) > 1 else ""
        raise fileio.InputError(
            f"{errors[0]}{others}; fix or remove these, then run this again: what is done is kept"
        )
    return [_in_order(_read_records(job), faces) for job, faces in zip(jobs, parts, strict=True)]


def _run(task: tuple[_Job, list[FaceFile]]) -> list[str]:
    job, chunk = task
    return job.convert(chunk)


def _read_records(job: _Job) -> dict[str, np.ndarray]:
    """All records of a part as one table; without any, only the columns that all parts share."""
    tables = []
    for path in sorted(job.records.glob("[!.]*.npz")):
        try:
            tables.append(dict(np.load(path)))
        except Exception:  # a power cut may leave half of one; numpy and zipfile raise many kinds
            path.unlink()  # its faces are converted again
    if not tables:
        return {"name": np.empty(0, str), "error": np.empty(0)}
    return {key: np.concatenate([table[key] for table in tables]) for key in tables[0]}


def _in_order(table: dict[str, np.ndarray], faces: list[FaceFile]) -> dict[str, np.ndarray]:
    row = {name: index for index, name in enumerate(table["name"].tolist())}
    rows = [row[face.name] for face in faces]
    return {key: values[rows] for key, values in table.items()}


def _write_training(
    output: Path, faces: list[FaceFile], table: dict[str, np.ndarray], recipe: Recipe
) -> None:
    params = table["params"].reshape(-1, table["params"].shape[-1])  # (N * crops, 62)
    model = landmark_model(recipe.morphable)
    mean, std = model.param_mean, model.param_std
    if recipe.whiten_anew:
        mean, std = params.mean(0), params.std(0)
        if not (std > 0).all():
            raise fileio.InputError(f"{output}: too few faces for a whitening of their own")
        fileio.make_output_folder(output / MORPHABLE)
        for name in (*REQUIRED_FILES, "tri.mat", "morphable.json"):
            if (recipe.morphable / name).is_file():
                shutil.copyfile(recipe.morphable / name, output / MORPHABLE / name)
    whitening = {"param_mean": np.float32(mean), "param_std": np.float32(std)}
    for folder in (output, output / MORPHABLE) if recipe.whiten_anew else (output,):
        fileio.write_pickle(folder / WHITENING_FILE, whitening)
    fileio.write_pickle(output / TRAINING_PARAMS, ((params - mean) / std).astype(np.float32))
    names = [crop_name(face, index) for face in faces for index in range(recipe.crops)]
    fileio.write_list(output / TRAINING_LIST, names)  # the last: it makes the set


def _write_validation(folder: Path, faces: list[FaceFile], table: dict[str, np.ndarray]) -> None:
    pose = decode_pose(torch.from_numpy(table["params"][:, 0]), "exact")
    pose_deg = torch.stack([pose.pitch, pose.yaw, pose.roll], 1).numpy()  # (N, 3)
    rows = (np.abs(pose_deg) <= MAX_ANGLE_DEG).all(1).nonzero()[0]
    labels = EvaluationLabels(
        landmarks=table["landmarks"],
        reannotated=None,
        yaw_deg=pose_deg[:, 1],
        roi_box=table["roi_box"][:, 0],
        pose_rows=rows,
        pose_deg=pose_deg[rows],
    )
    write_labels(folder / EVAL, labels)
    fileio.write_list(folder / LIST, [crop_name(face, 0) for face in faces])
