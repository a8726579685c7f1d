"""Folders of labels: 300W-LP's `.mat` files to arrays of the 62 parameters, and back.

    python prepare_data.py labels --to params --source AFLW2000 --output arrays
    python prepare_data.py labels --to mat --source arrays --output mats

Row i of every array belongs to line i of names.list. Shape and expression are weights of the Basel
Face Model; params are those of the crop that roi_box cuts out of a photo of image_size.
"""

from __future__ import annotations

import collections
import os
from pathlib import Path, PurePosixPath

import numpy as np
from tqdm import tqdm

from model_building import load_morphable
from synergynet import fileio
from synergynet.geometry.camera import camera_of, params_to_crop
from synergynet.geometry.parameters import N_PARAMS
from utils.preparation.archive import leads_outside
from utils.preparation.labels import params_to_label, write_face_label
from utils.preparation.lp300w import find_faces, read_face, require_fit
from utils.preparation.training_set import exact_box

NAMES = "names.list"  # pictures, relative to the source
PARAMS = "params.npy"  # (N, 62) float64, real
WHITENED = "params_whitened.npy"  # (N, 62) float64
BOXES = "roi_box.npy"  # (N, 4) sx sy ex ey, photo px
SIZES = "image_size.npy"  # (N, 2) width, height, px


def mats_to_params(
    source: str | os.PathLike, output: str | os.PathLike, morphable_folder: str | os.PathLike
) -> dict[str, float]:
    """Write the arrays of all labels of a folder or zip.

    Args:
        source: pictures with a `.mat` beside each, at any depth, or a zip of them.
        output: may exist and hold other things.
        morphable_folder: Basel Face Model; whitens, and rebuilds landmarks that labels lack.
    Returns:
        by name, the mean px by which 40 + 10 coefficients miss the label's own points 17-67; nan
        where it stores none.
    Raises:
        InputError: nothing found, a damaged or incomplete pair, labels of another face model, or
            arrays already there.
    """
    source, morphable_folder = Path(source), Path(morphable_folder)
    morphable = load_morphable(morphable_folder)
    faces = find_faces(source)
    params, boxes, sizes, errors = [], [], [], {}
    with fileio.all_or_nothing(output, (PARAMS, WHITENED, BOXES, SIZES, NAMES)) as staging:
        for file in tqdm(faces, desc="labels", unit="face", leave=False, disable=None):
            face = read_face(file, source, morphable_folder)
            height, width = face.image.shape[:2]
            box = exact_box(face.image, face.landmarks, source / file.label)
            params.append(params_to_crop(face.params, box))
            boxes.append(box)
            sizes.append((width, height))
            errors[file.picture] = face.error
        if scored := [error for error in errors.values() if np.isfinite(error)]:
            require_fit(float(np.mean(scored)), source, morphable_folder)
        mean, std = (x.double().numpy() for x in (morphable.param_mean, morphable.param_std))
        fileio.write_array(staging / PARAMS, np.stack(params))
        fileio.write_array(staging / WHITENED, (np.stack(params) - mean) / std)
        fileio.write_array(staging / BOXES, np.stack(boxes))
        fileio.write_array(staging / SIZES, np.array(sizes))
        fileio.write_list(staging / NAMES, list(errors))
    return errors


def params_to_mats(
    source: str | os.PathLike, output: str | os.PathLike, morphable_folder: str | os.PathLike
) -> int:
    """Write a `.mat` in 300W-LP's format for each row; the inverse of `mats_to_params`.

    Args:
        source: folder of arrays; without params.npy, params_whitened.npy is read.
        output: folder for the `.mat` files, under the pictures' paths.
        morphable_folder: Basel Face Model, whose whitening is undone.
    Returns:
        The count of labels.
    Raises:
        InputError: an array is missing or of another length, a name leads out of `output`, or
            something of that name is there already.
    """
    source = Path(source)
    names = fileio.read_list(source / NAMES)
    params = _read_params(source, len(names), Path(morphable_folder))
    boxes = fileio.read_array(source / BOXES, (len(names), 4))
    sizes = fileio.read_array(source / SIZES, (len(names), 2))
    for name in names:
        if leads_outside(name):
            raise fileio.InputError(f"{source / NAMES}: {name} leads outside the output folder")
    if not (boxes[:, :2] < boxes[:, 2:]).all():
        raise fileio.InputError(f"{source / BOXES}: a box has no area")
    files = [PurePosixPath(name).with_suffix(".mat") for name in names]
    twice, count = collections.Counter(files).most_common(1)[0] if files else ("", 0)
    if count > 1:
        raise fileio.InputError(f"{source / NAMES}: {count} pictures would have the label {twice}")
    without = (np.linalg.norm(camera_of(params)[:, :2, :3], axis=2) == 0).any(axis=1)  # (N,)
    if without.any():
        raise fileio.InputError(f"{source}: the label of {names[without.argmax()]} has no camera")
    tops = sorted({file.parts[0] for file in files})
    with fileio.all_or_nothing(output, tops) as staging:
        for row, name in enumerate(tqdm(names, desc="labels", leave=False, disable=None)):
            label = params_to_label(params[row], boxes[row], int(sizes[row, 1]))
            write_face_label((staging / name).with_suffix(".mat"), label)
    return len(names)


def _read_params(source: Path, count: int, morphable_folder: Path) -> np.ndarray:
    """Real parameters (N, 62)."""
    if (source / PARAMS).is_file():
        return fileio.read_array(source / PARAMS, (count, N_PARAMS))
    morphable = load_morphable(morphable_folder)
    whitened = fileio.read_array(source / WHITENED, (count, N_PARAMS))
    return whitened * morphable.param_std.double().numpy() + morphable.param_mean.double().numpy()
