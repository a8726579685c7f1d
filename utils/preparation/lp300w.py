"""300W-LP, and whatever has its labels: faces of a folder or zip, and pictures that check them.

A label puts the Basel Face Model into the photo. Only its first 40 shape and 10 expression
coefficients are used, as by 3DDFA; `check_labels` proves that they and the user's face model
belong together before anything is converted.

Source: Zhu et al., CVPR 2016 (300W-LP, AFLW2000-3D).
"""

from __future__ import annotations

import functools
import os
import re
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np

from synergynet import fileio
from synergynet.drawing.tiles import contact_sheet, face_tile
from utils.data.landmark_model import PHOTO_BOX
from utils.data.mat import decode_mat
from utils.preparation.archive import open_zip, read_member
from utils.preparation.labels import FaceLabel, label_to_params, parse_face_label
from utils.preparation.training_set import FaceFile, LabelledFace, exact_box, landmark_model

PICTURES = (".jpg", ".jpeg", ".png")
NO_FACES = ("Code", "landmarks", "__MACOSX")  # folders of 300W-LP.zip without labelled pictures
FLIPPED = "_Flip"  # its folders of mirror images end so
SHEET = "labels.jpg"  # what check_labels draws is called
PHOTO_PX = 450  # width of its photos
INNER = slice(17, 68)  # pt2d's jaw follows the visible outline and is not scored
MAX_LABEL_ERROR_PX = 8.0  # in a photo of PHOTO_PX


# ---------------------------------------------------------------- finding


def find_faces(source: str | os.PathLike) -> list[FaceFile]:
    """The labelled pictures of a folder or zip at any depth, sorted by name.

    Args:
        source: 300W-LP.zip, its folder, or any folder of pictures with a `.mat` beside each.
    Raises:
        InputError: nothing there, a picture or label lacks the other, or two would share a name.
    """
    files: dict[PurePosixPath, dict[str, str]] = {}
    for name in _list_files(Path(source)):
        path = PurePosixPath(name)
        if path.suffix.lower() in (*PICTURES, ".mat") and not _is_ignored(path):
            kind = "label" if path.suffix.lower() == ".mat" else "picture"
            files.setdefault(path.with_suffix(""), {})[kind] = name  # zips may have ./ before it
    faces = {}
    for stem, found in files.items():
        for kind, suffix in (("label", ".mat"), ("picture", ".jpg")):
            if kind not in found:
                raise fileio.InputError(
                    f"{source}: {stem}{suffix} is missing; a picture and its label go together"
                )
        folder = stem.parent.name
        name = re.sub(r"[^\w.-]", "_", f"{folder}_{stem.name}" if folder else stem.name)
        if name in faces:
            raise fileio.InputError(f"{source}: {stem} is in it twice, or has the name of another")
        photo, is_mirrored = photo_name(stem.name), folder.endswith(FLIPPED)
        faces[name] = FaceFile(name, photo, found["picture"], found["label"], is_mirrored)
    if not faces:
        raise fileio.InputError(
            f"{source}: no pictures with .mat labels in it; get 300W-LP.zip and pass it here"
        )
    return [faces[name] for name in sorted(faces)]


def photo_name(stem: str) -> str:
    """The photo that a picture of 300W-LP shows: its name without the numbers of face and view.

    `AFW_134212_1_0` and `AFW_134212_2_3` are two faces of `AFW_134212`, the latter turned.
    """
    without_view = re.sub(r"_\d{1,2}$", "", stem)
    return re.sub(r"_\d{1,2}$", "", without_view)


def is_photo(face: FaceFile) -> bool:
    """Whether a picture is as it was taken, which those of other sources than 300W-LP are.

    In 300W-LP `AFW_134212_1_0` is; turned views, as `AFW_134212_1_3`, and mirror images are not.
    """
    view = re.search(r"_\d{1,2}_(\d{1,2})$", PurePosixPath(face.picture).stem)
    return not face.is_mirrored and (view is None or int(view[1]) == 0)


def _is_ignored(path: PurePosixPath) -> bool:
    return path.name.startswith(".") or not {*path.parts[:-1]}.isdisjoint(NO_FACES)


def _list_files(source: Path) -> list[str]:
    """Paths of the files in a folder or zip, with forward slashes, relative to it."""
    if source.is_dir():
        return [path.relative_to(source).as_posix() for path in source.rglob("*.*")]
    return _archive(source).namelist()


@functools.lru_cache(maxsize=1)
def _archive(source: Path) -> zipfile.ZipFile:
    """The zip, opened and checked once a process."""
    return open_zip(source)


def _read_file(source: Path, path: str) -> bytes:
    if source.is_dir():
        return fileio.read_bytes(source / path)
    return read_member(_archive(source), path)


# ---------------------------------------------------------------- reading


def read_face(face_file: FaceFile, source: Path, morphable_folder: Path) -> LabelledFace:
    """Read one face; its landmarks are the label's pt3d_68, or else rebuilt from its parameters.

    Its error is the mean distance of the rebuilt points 17-67 from those that the label stores, in
    px of a photo PHOTO_PX wide; nan where it stores none.

    Raises:
        InputError: the picture or its label is damaged.
    """
    return _read(face_file, source, morphable_folder)[0]


def _read(
    face_file: FaceFile, source: Path, morphable_folder: Path
) -> tuple[LabelledFace, np.ndarray | None]:
    """The face, and the landmarks (2, 68) that its label stores, if any."""
    image = fileio.decode_image(source / face_file.picture, _read_file(source, face_file.picture))
    path = source / face_file.label
    label = parse_face_label(path, decode_mat(path, _read_file(source, face_file.label)))
    params = label_to_params(label, PHOTO_BOX, image.shape[0])
    rebuilt = landmark_model(morphable_folder).decode(params)  # (3, 68)
    landmarks = rebuilt if label.pt3d_68 is None else label.pt3d_68
    stored = _stored_points(label)
    error_px = np.nan
    if stored is not None:
        distance_px = np.hypot(*(rebuilt[:2] - stored)[:, INNER])  # (51,)
        error_px = distance_px.mean() * PHOTO_PX / image.shape[1]
    return LabelledFace(image, params, landmarks, error_px), stored


def _stored_points(label: FaceLabel) -> np.ndarray | None:
    """The label's own landmarks (2, 68) photo px, if it has any."""
    return label.pt2d if label.pt3d_68 is None else label.pt3d_68[:2]


# ---------------------------------------------------------------- checking


def check_labels(
    faces: list[FaceFile], source: Path, morphable_folder: Path, count: int
) -> tuple[np.ndarray, float]:
    """Rebuild the landmarks of some labels and compare them with the points the labels store.

    Args:
        faces: to draw `count` from, evenly.
        source: of the faces.
        morphable_folder: the face model to rebuild with.
        count: how many.
    Returns:
        a sheet of overlays, rebuilt points green and stored ones blue, and the mean error of points
        17-67 in px of a photo 450 px wide (nan when no label stores points).
    Raises:
        InputError: no picture and label can be read, or a rebuilt face does not fit its photo. One
            that is damaged is left out here; converting it will name it.
    """
    chosen = np.unique(np.linspace(0, len(faces) - 1, count).round().astype(int))
    tiles, errors, damaged = [], [], []
    for index in chosen:
        try:
            face, stored = _read(faces[index], source, morphable_folder)
        except fileio.InputError as error:
            damaged.append(error)
            continue
        rebuilt = landmark_model(morphable_folder).decode(face.params)
        exact_box(face.image, rebuilt, source / faces[index].label)  # else nothing can be drawn
        caption = [faces[index].name[:36], "" if stored is None else f"{face.error:.1f} px"]
        tiles.append(face_tile(face.image, rebuilt, stored, caption))
        errors.append(face.error)
    if not tiles:
        raise damaged[0]
    stored_errors = [error for error in errors if np.isfinite(error)]
    return contact_sheet(tiles), float(np.mean(stored_errors)) if stored_errors else float("nan")


def require_fit(error_px: float, source: Path, morphable_folder: Path) -> None:
    """Refuse labels that `check_labels` could not rebuild.

    Raises:
        InputError: their error is above MAX_LABEL_ERROR_PX.
    """
    if error_px > MAX_LABEL_ERROR_PX:
        raise fileio.InputError(
            f"{source}: rebuilt with {morphable_folder}, its labels miss their own points by "
            f"{error_px:.1f} px of {PHOTO_PX}; they need the Basel Face Model cut by 3DDFA"
        )
