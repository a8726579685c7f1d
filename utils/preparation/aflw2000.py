"""AFLW2000-3D from its originals (`imageNNNNN.jpg` + `.mat`): crops, boxes and label arrays.

Sources: Zhu et al., CVPR 2016, for the labels; 3DDFA for the layout of the result. The boxes and
landmarks were compared with the published arrays: equal in all 2,000 rows.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from synergynet import fileio
from synergynet.geometry.crop import roi_box_from_landmarks
from synergynet.geometry.parameters import N_LANDMARKS
from synergynet.photos.crops import network_crop
from utils.data.evaluation_crops import (
    ALL_POSE_FILE,
    CROPS,
    EVAL,
    LANDMARKS_FILE,
    LIST,
    POSE_FILE,
    REANNOTATED_FILE,
    ROI_BOX_FILE,
    SKIPPED_FILE,
    YAW_FILE,
    EvaluationLabels,
    write_labels,
)
from utils.data.loader import read_crop
from utils.data.mat import read_mat
from utils.preparation.archive import as_folder

MAX_ANGLE_DEG = 99  # labels with a larger angle are left out of the pose error
SUFFIXES = (".jpg", ".mat")
JPEG_QUALITY = 100  # quality 95 moves single NMEs by 0.4 percent points


@dataclasses.dataclass(frozen=True)
class Label:
    """What a `.mat` says: landmarks (3, 68) photo px, y down; pitch, yaw, roll (3,) degrees."""

    landmarks: np.ndarray
    angles_deg: np.ndarray


def read_label(path: str | os.PathLike) -> Label:
    """Read an AFLW2000 label.

    Raises:
        InputError: unreadable, or without finite pt3d_68 (3, 68) and Pose_Para (7).
    """
    table = read_mat(path)
    landmarks, pose = (np.asarray(table.get(key, np.nan)) for key in ("pt3d_68", "Pose_Para"))
    if landmarks.shape != (3, N_LANDMARKS) or pose.size != 7:
        raise fileio.InputError(f"{path}: no AFLW2000 label (pt3d_68 and Pose_Para) in it")
    landmarks, pose = (fileio.require_finite(path, array) for array in (landmarks, pose))
    angles_rad = pose.reshape(-1)[:3].astype(np.float64)
    return Label(landmarks.astype(np.float32), np.rad2deg(angles_rad).astype(np.float32))


class LabelledPhoto(NamedTuple):
    """A photo (H, W, 3) uint8 BGR, what its `.mat` says, and the box (4,) that it is cut with."""

    image: np.ndarray
    label: Label
    box: np.ndarray


def read_labelled_photo(path: str | os.PathLike) -> LabelledPhoto:
    """Read a photo and the `.mat` beside it.

    Raises:
        InputError: either is unreadable, or the landmarks lie outside of the photo or on one line.
    """
    mat_file = Path(path).with_suffix(".mat")
    image, label = fileio.read_image(path), read_label(mat_file)
    box = roi_box_from_landmarks(label.landmarks, image.shape[1], image.shape[0])
    if not (box[:2] < box[2:]).all():
        raise fileio.InputError(f"{mat_file}: its landmarks lie outside the picture")
    if not (np.ptp(label.landmarks[:2], axis=1) > 0).all():
        raise fileio.InputError(f"{mat_file}: its landmarks lie on one line")
    return LabelledPhoto(image, label, box)


def find_labelled_photos(folder: str | os.PathLike) -> list[Path]:
    """The `.jpg` files of a folder that have a `.mat`, sorted.

    Raises:
        InputError: there is none.
    """
    photos = sorted(f for f in Path(folder).glob("*.jpg") if f.with_suffix(".mat").is_file())
    if not photos:
        raise fileio.InputError(f"{folder}: no .jpg with a .mat in it")
    return photos


def prepare(
    source: str | os.PathLike,
    output: str | os.PathLike,
    reannotated: str | os.PathLike | None = None,
) -> int:
    """Turn the originals into an `aflw2000_data` folder: crops, list, and the arrays in eval/.

    Everything is written to a hidden folder first and moved when complete.

    Args:
        source: folder with `image*.mat` and `.jpg` files, at any depth, or a zip of one.
        output: may exist and hold other things, but no test set.
        reannotated: (N, 2, 68) landmarks of the re-annotated AFLW2000-3D, copied when given.
    Returns:
        The count of images.
    Raises:
        InputError: nothing found, a damaged or incomplete pair, or a test set already there.
    """
    names = (CROPS, EVAL, LIST)  # the list last: it is what makes a test set
    with (
        fileio.all_or_nothing(output, names) as staging,
        as_folder(source, SUFFIXES, staging) as folder,
    ):
        return _write(_find_labels(folder, Path(source)), staging, reannotated)


def _write(mat_files: list[Path], folder: Path, reannotated: str | os.PathLike | None) -> int:
    labels, boxes = [], []
    for mat_file in tqdm(mat_files, desc="AFLW2000-3D", unit="image", leave=False, disable=None):
        photo = read_labelled_photo(mat_file.with_suffix(".jpg"))
        crop_file = folder / CROPS / f"{mat_file.stem}.jpg"
        fileio.write_image(crop_file, network_crop(photo.image, photo.box), quality=JPEG_QUALITY)
        labels.append(photo.label)
        boxes.append(photo.box)
    angles_deg = np.stack([label.angles_deg for label in labels])  # (N, 3) pitch, yaw, roll
    skipped = (np.abs(angles_deg) > MAX_ANGLE_DEG).any(axis=1)  # (N,)
    again = None if reannotated is None else fileio.read_array(reannotated, (None, 2, N_LANDMARKS))
    if again is not None and len(again) != len(labels):
        raise fileio.InputError(f"{reannotated}: {len(again)} rows for {len(labels)} images")
    all_labels = EvaluationLabels(
        landmarks=np.stack([label.landmarks for label in labels]),
        reannotated=again,
        yaw_deg=angles_deg[:, 1],
        roi_box=np.stack(boxes).astype(np.float32),
        pose_rows=(~skipped).nonzero()[0],
        pose_deg=angles_deg[~skipped],
    )
    write_labels(folder / EVAL, all_labels)
    fileio.write_array(folder / EVAL / ALL_POSE_FILE, angles_deg)
    fileio.write_list(folder / LIST, [f"{mat_file.stem}.jpg" for mat_file in mat_files])
    return len(labels)


def _find_labels(folder: Path, source: Path) -> list[Path]:
    """All labels sorted by file name, which is the order of the published arrays."""
    mat_files = sorted(folder.rglob("image*.mat"), key=lambda path: path.name)
    if not mat_files:
        raise fileio.InputError(
            f"{source}: no image*.mat in it; get AFLW2000-3D.zip and pass it here"
        )
    labelled = {mat_file.with_suffix("") for mat_file in mat_files}
    for photo in sorted(folder.rglob("image*.jpg")):
        if photo.with_suffix("") not in labelled:
            raise fileio.InputError(
                f"{source}: {photo.stem}.mat is missing; a picture and its label go together"
            )
    names = [mat_file.name for mat_file in mat_files]
    for first, second in itertools.pairwise(names):
        if first == second:
            raise fileio.InputError(f"{source}: {first} is in it twice")
    return mat_files


# ---------------------------------------------------------------- comparison with published files


class Difference(NamedTuple):
    """How a file of ours differs from the published one of that name.

    Attributes:
        file: its name.
        images: how many are in both.
        differing: how many of them differ at all.
        largest: absolute difference, in the file's unit; grey levels, mean of an image, for crops.
        worst: the image that has it.
    """

    file: str
    images: int
    differing: int
    largest: float
    worst: str


def compare(folder: str | os.PathLike, published: str | os.PathLike) -> list[Difference]:
    """Compare a test set with published files, image by image as their lists have them.

    Args:
        folder: an `aflw2000_data` folder.
        published: another one, or its `eval` arrays alone; then its list is taken to be ours.
    Returns:
        One entry a file that both have.
    Raises:
        InputError: no array in `published`, a file of another shape, or no image in both.
    """
    folder, published = Path(folder), Path(published)
    ours = _NamedRows(folder, folder / EVAL, fileio.read_list(folder / LIST))
    arrays = published / EVAL if (published / EVAL).is_dir() else published
    has_list = (published / LIST).is_file()
    theirs = _NamedRows(
        published, arrays, fileio.read_list(published / LIST) if has_list else ours.names
    )
    names = (LANDMARKS_FILE, REANNOTATED_FILE, YAW_FILE, ROI_BOX_FILE, POSE_FILE)
    both = [n for n in names if (ours.arrays / n).is_file() and (theirs.arrays / n).is_file()]
    if not both:
        raise fileio.InputError(
            f"{published}: none of AFLW2000-3D's arrays in it, nor in its {EVAL}/"
        )
    differences = [_difference(name, ours.read(name), theirs.read(name)) for name in both]
    if (published / CROPS).is_dir():
        differences.append(_compare_crops(ours, theirs))
    return differences


class _NamedRows(NamedTuple):
    """The arrays of a test set, by image."""

    folder: Path
    arrays: Path
    names: list[str]

    def read(self, file: str) -> dict[str, np.ndarray]:
        """A row for each image; the pose array lacks those that are skipped."""
        names, array = self.names, fileio.read_array(self.arrays / file).astype(np.float64)
        if file == POSE_FILE:
            skipped = set(fileio.read_array(self.arrays / SKIPPED_FILE, (None,)).tolist())
            names = [name for row, name in enumerate(names) if row not in skipped]
        if len(array) != len(names):
            raise fileio.InputError(
                f"{self.arrays / file}: {len(array)} rows for {len(names)} images"
            )
        return dict(zip(names, array, strict=True))


def _difference(
    file: str, ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]
) -> Difference:
    names = [name for name in ours if name in theirs]
    if not names:
        raise fileio.InputError(f"{file}: no image is in both lists")
    for name in names:
        if ours[name].shape != theirs[name].shape:
            raise fileio.InputError(
                f"{file}: rows of shape {ours[name].shape} here, {theirs[name].shape} published"
            )
    largest = np.array([np.abs(ours[name] - theirs[name]).max() for name in names])  # (N,)
    worst = int(largest.argmax())
    return Difference(file, len(names), int((largest > 0).sum()), largest[worst], names[worst])


def _compare_crops(ours: _NamedRows, theirs: _NamedRows) -> Difference:
    """Mean absolute difference of the pixels, grey levels; JPEG alone makes about one."""
    in_both = [name for name in ours.names if (theirs.folder / CROPS / name).is_file()]
    means = {}
    for name in tqdm(in_both, desc=CROPS, unit="image", leave=False, disable=None):
        pair = (read_crop(rows.folder / CROPS / name).astype(float) for rows in (ours, theirs))
        means[name] = np.abs(np.subtract(*pair)).mean()
    return _difference(CROPS, means, dict.fromkeys(means, np.zeros(())))
