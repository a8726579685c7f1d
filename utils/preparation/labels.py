"""Labels of 300W-LP and AFLW2000-3D, and the 62 parameters they stand for: each way.

    label = read_face_label("IBUG_image_008_1_0.mat")
    params = label_to_params(label, roi_box, image_height)  # (62,) real: whitened * std + mean

A label puts the face into the photo, 62 parameters put it into a crop of it: the box and the
photo's height lie between the two.
Sources: Zhu et al., CVPR 2016, for the labels; 3DDFA for the parameters. Checked on real labels:
the face of 8 of AFLW2000-3D falls on their `pt3d_68`.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np
import scipy.io

from synergynet import fileio
from synergynet.geometry.camera import (
    camera_of,
    compose_camera,
    nearest_rotation,
    params_to_crop,
    params_to_photo,
)
from synergynet.geometry.parameters import (
    EXPR,
    IMG_SIZE,
    N_EXPR,
    N_LANDMARKS,
    N_POSE,
    N_SHAPE,
    SHAPE,
)
from synergynet.geometry.pose import Pose, compose_rotation, exact_angles
from utils.data.mat import read_mat

N_SHAPE_PARA, N_EXP_PARA = 199, 29  # coefficients in a `.mat`; the first 40 and 10 are used


@dataclasses.dataclass(frozen=True)
class FaceLabel:
    """What a `.mat` says of a face.

    Attributes:
        pose: (7,) float64 `Pose_Para`: pitch, yaw, roll in radians; tx, ty, tz in photo px, where
            y counts upwards from H + 1; f in photo px per micrometre.
        shape: (40 or more,) float64 `Shape_Para`.
        expression: (10 or more,) float64 `Exp_Para`.
        pt2d: (2, 68) photo px, y down, or None; its jaw follows the visible contour (300W-LP).
        pt3d_68: (3, 68) photo px, y down, or None (AFLW2000-3D).
    """

    pose: np.ndarray
    shape: np.ndarray
    expression: np.ndarray
    pt2d: np.ndarray | None = None
    pt3d_68: np.ndarray | None = None


def read_face_label(path: str | os.PathLike) -> FaceLabel:
    """Read a `.mat` of 300W-LP or AFLW2000-3D.

    Raises:
        InputError: unreadable; Pose_Para (7), Shape_Para (40 or more) or Exp_Para (10 or more)
            missing, of another size or not finite; a scale f that is not positive.
    """
    return parse_face_label(path, read_mat(path))


def parse_face_label(path: str | os.PathLike, table: dict[str, Any]) -> FaceLabel:
    """`read_face_label` of a table that is read already; `path` is what errors call it."""
    pose, shape, expression = (
        _read_vector(path, table, key) for key in ("Pose_Para", "Shape_Para", "Exp_Para")
    )
    if len(pose) != 7 or len(shape) < N_SHAPE or len(expression) < N_EXPR:
        raise fileio.InputError(
            f"{path}: Pose_Para, Shape_Para and Exp_Para of {len(pose)}, {len(shape)} and "
            f"{len(expression)} numbers; 300W-LP has 7, {N_SHAPE_PARA} and {N_EXP_PARA}"
        )
    if pose[6] <= 0:
        raise fileio.InputError(f"{path}: the last entry of Pose_Para, the scale, must be above 0")
    return FaceLabel(
        pose,
        shape,
        expression,
        _read_points(path, table, "pt2d", 2),
        _read_points(path, table, "pt3d_68", 3),
    )


def write_face_label(path: str | os.PathLike, label: FaceLabel) -> None:
    """Write a `.mat` in 300W-LP's format; coefficients that the label lacks are zeros."""
    table = {
        "Pose_Para": label.pose[None],  # (1, 7)
        "Shape_Para": _padded(label.shape, N_SHAPE_PARA),  # (199, 1)
        "Exp_Para": _padded(label.expression, N_EXP_PARA),  # (29, 1)
    }
    points = {"pt2d": label.pt2d, "pt3d_68": label.pt3d_68}
    table |= {key: value for key, value in points.items() if value is not None}
    with fileio.whole_file(path) as temporary:
        scipy.io.savemat(temporary, table, appendmat=False)


def label_to_params(label: FaceLabel, roi_box: np.ndarray, image_height: int) -> np.ndarray:
    """The 62 real (not whitened) parameters of a label in a crop.

    With f R the label's rotation and scale and k = 120 / the box's size, per axis (z takes the
    mean of width and height): P = diag(k) f R, and t is the label's translation in the crop, y up
    from 121. A box that is not square makes the rows of P differ in length.

    Args:
        label: of the whole photo.
        roi_box: (4,) sx sy ex ey photo px, as `synergynet.geometry.crop` makes it.
        image_height: H of the photo, px.
    Returns:
        (62,) float64.
    """
    pitch, yaw, roll = np.rad2deg(label.pose[:3])
    rotation = compose_rotation(Pose(yaw, pitch, roll))
    translation = label.pose[3:6] + _up_from_the_crops_bottom(image_height)
    camera = compose_camera(label.pose[6], rotation, translation)
    face = [label.shape[:N_SHAPE], label.expression[:N_EXPR]]
    return params_to_crop(np.concatenate([camera.reshape(N_POSE), *face]), roi_box)


def params_to_label(params: np.ndarray, roi_box: np.ndarray, image_height: int) -> FaceLabel:
    """The inverse of `label_to_params`; angles come back by the exact decoding.

    Where diag(1/k) P is no scaled rotation, which a network's estimate need not be, the nearest one
    (least squares) is taken.

    Args:
        params: (62,) real parameters.
        roi_box: (4,) sx sy ex ey photo px.
        image_height: H of the photo, px.
    Returns:
        A label with 40 shape and 10 expression coefficients and no points.
    """
    camera = camera_of(params_to_photo(np.asarray(params, np.float64), roi_box))
    f, rotation = _nearest_scaled_rotation(camera[:, :3])
    yaw, pitch, roll = np.deg2rad(exact_angles(rotation))
    translation = camera[:, 3] - _up_from_the_crops_bottom(image_height)
    pose = np.array([pitch, yaw, roll, *translation, f])
    return FaceLabel(pose, params[SHAPE].copy(), params[EXPR].copy())


def _up_from_the_crops_bottom(image_height: int) -> np.ndarray:
    """What turns a translation whose y counts up from H + 1 into one that counts up from 121."""
    return np.array([0.0, IMG_SIZE - image_height, 0.0])


def _nearest_scaled_rotation(matrix: np.ndarray) -> tuple[float, np.ndarray]:
    """The f and R that minimise |f R - matrix| (Umeyama 1991)."""
    rotation = nearest_rotation(matrix)
    return float((rotation * matrix).sum()) / 3, rotation


def _read_vector(path: str | os.PathLike, table: dict, key: str) -> np.ndarray:
    if key not in table:
        raise fileio.InputError(f"{path}: no {key} in it; not a label of 300W-LP or AFLW2000-3D")
    return fileio.require_finite(path, np.asarray(table[key])).reshape(-1).astype(np.float64)


def _read_points(
    path: str | os.PathLike, table: dict, key: str, dimensions: int
) -> np.ndarray | None:
    points = np.asarray(table.get(key, ()))
    if points.shape != (dimensions, N_LANDMARKS):
        return None  # AFLW2000-3D's pt2d has 21 points
    return fileio.require_finite(path, points).astype(np.float64)


def _padded(coefficients: np.ndarray, length: int) -> np.ndarray:
    padded = np.zeros((max(length, len(coefficients)), 1))
    padded[: len(coefficients), 0] = coefficients
    return padded
