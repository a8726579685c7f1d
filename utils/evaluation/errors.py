"""Errors of any model on a test set, image by image.

`image_errors` goes through a source's predictions batch by batch and keeps a few numbers an image.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from synergynet import fileio
from synergynet.face_model import MorphableModel
from synergynet.geometry.parameters import EXPR, N_LANDMARKS, N_PARAMS, SHAPE
from utils.data.evaluation_crops import ALL_POSE_FILE, EVAL, EvaluationCrops, params_file
from utils.evaluation import metrics
from utils.evaluation.sources import Prediction


@dataclasses.dataclass(frozen=True)
class ImageErrors:
    """Errors of N images; None where labels or predictions are absent.

    Attributes:
        nme, nme_reannotated, nme_3d: (N,) fractions.
        landmarks: (68,) mean over images of each landmark's error, fraction.
        published, exact: (N, 3) predicted minus true pitch, yaw, roll in degrees, not unwrapped;
            NaN where an image has no pose label.
        rotation_deg: (N,) geodesic distance, NaN as above.
        shape_mm, expression_mm: (N,) root mean square distance over the vertices;
            shape_average_mm, expression_average_mm: the same of the average face for everybody.
    """

    nme: np.ndarray | None = None
    nme_reannotated: np.ndarray | None = None
    nme_3d: np.ndarray | None = None
    landmarks: np.ndarray | None = None
    published: np.ndarray | None = None
    exact: np.ndarray | None = None
    rotation_deg: np.ndarray | None = None
    shape_mm: np.ndarray | None = None
    expression_mm: np.ndarray | None = None
    shape_average_mm: np.ndarray | None = None
    expression_average_mm: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Truth:
    """All that a test set knows, N images; None where it does not.

    Attributes:
        landmarks: (N, 3, 68) photo px, y down.
        reannotated: (N, 2, 68) photo px.
        pose_deg: (N, 3) pitch, yaw, roll; NaN where an image has no label.
        params: (N, 62) real parameters in the bases of `face_model`.
        face_model: its arrays are numpy's; None where `params` are of no interest.
    """

    landmarks: np.ndarray
    reannotated: np.ndarray | None
    pose_deg: np.ndarray | None
    params: Tensor | None
    face_model: MorphableModel | None


def read_truth(crops: EvaluationCrops, face_model: MorphableModel | None) -> Truth:
    """The labels of a test set, with the optional ones in eval/.

    ALL_POSE_FILE holds the angles of all N images, also of those that the published protocol leaves
    out; `params_file` the parameters in the bases of `face_model`, if one is given.
    """
    labels, folder = crops.labels, crops.folder / EVAL
    pose_deg = params = None
    if (folder / ALL_POSE_FILE).is_file():
        pose_deg = fileio.read_array(folder / ALL_POSE_FILE, (len(crops), 3))
    elif labels.pose_rows is not None:
        pose_deg = np.full((len(crops), 3), np.nan)
        pose_deg[labels.pose_rows] = labels.pose_deg
    path = folder / params_file(face_model.hash) if face_model is not None else None
    if path is not None and path.is_file():
        params = torch.from_numpy(fileio.read_array(path, (len(crops), N_PARAMS)))
    return Truth(labels.landmarks, labels.reannotated, pose_deg, params, face_model)


def image_errors(predictions: Iterable[Prediction], truth: Truth) -> ImageErrors:
    """Compare predictions with labels, batch by batch.

    Args:
        predictions: of all images, in order.
        truth: of the same images.
    Raises:
        RuntimeError: more or fewer predictions than labels.
    """
    columns: dict[str, list[np.ndarray]] = {}
    landmark_sum = np.zeros(N_LANDMARKS)
    start = 0
    for prediction in predictions:
        rows = slice(start, start + len(prediction))
        if prediction.landmarks is not None:
            landmark_sum += _landmark_errors(prediction, truth, rows, columns)
        if prediction.rotation is not None and truth.pose_deg is not None:
            _pose_errors(prediction, truth.pose_deg[rows], columns)
        if prediction.params is not None and truth.params is not None:
            _face_errors(prediction.params, truth.params[rows], truth.face_model, columns)
        start = rows.stop
    if start != len(truth.landmarks):
        raise RuntimeError(f"{start} images scored, {len(truth.landmarks)} listed")
    by_landmark = landmark_sum / start if "nme" in columns else None
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    return ImageErrors(landmarks=by_landmark, **joined)


def _landmark_errors(
    prediction: Prediction, truth: Truth, rows: slice, columns: dict[str, list[np.ndarray]]
) -> np.ndarray:
    """Add a batch's landmark errors to the columns; return their sums by landmark, (68,)."""
    found, true = prediction.landmarks, truth.landmarks[rows]
    by_landmark = metrics.landmark_errors(found[:, :2], true[:, :2])  # (B, 68)
    _add(columns, "nme", by_landmark.mean(axis=1))
    if truth.reannotated is not None:
        again = metrics.landmark_nme(found, truth.reannotated[rows])
        _add(columns, "nme_reannotated", again)
    if found.shape[1] == 3:
        _add(columns, "nme_3d", metrics.landmark_nme_3d(found, true))
    return by_landmark.sum(axis=0)


def _pose_errors(
    prediction: Prediction, pose_deg: np.ndarray, columns: dict[str, list[np.ndarray]]
) -> None:
    _add(columns, "published", metrics.pose_errors(prediction.published, pose_deg))
    _add(columns, "exact", metrics.pose_errors(prediction.exact, pose_deg))
    _add(columns, "rotation_deg", metrics.rotation_errors(prediction.rotation, pose_deg))


def _face_errors(
    found: Tensor, true: Tensor, face_model: MorphableModel, columns: dict[str, list[np.ndarray]]
) -> None:
    average = torch.from_numpy(face_model.param_mean)
    for name, part, basis in (
        ("shape", SHAPE, face_model.w_shp),
        ("expression", EXPR, face_model.w_exp),
    ):
        basis = torch.from_numpy(basis)
        _add(columns, f"{name}_mm", metrics.face_errors(found[:, part], true[:, part], basis))
        nobody = metrics.face_errors(average[part], true[:, part], basis)
        _add(columns, f"{name}_average_mm", nobody)


def _add(columns: dict[str, list[np.ndarray]], name: str, values: np.ndarray) -> None:
    columns.setdefault(name, []).append(values)
