"""Errors of any model on a test set, image by image, and their summary.

A source says what a model predicts: `network_source` runs a network over the crops,
`read_predictions` takes what somebody else's model said. `image_errors` goes through either batch
by batch and keeps a few numbers an image: memory does not grow with pictures or landmarks.

Source: SynergyNet, section 4.1; what is beyond it is named in `summarise`.
"""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from model_building import SynergyNet
from synergynet import fileio
from synergynet.geometry.camera import decompose_camera
from synergynet.geometry.crop import crop_to_photo
from synergynet.geometry.mirror import FaceMirror, mean_params, mirror_landmarks, mirror_params
from synergynet.geometry.parameters import EXPR, IMG_SIZE, N_LANDMARKS, N_PARAMS, SHAPE
from synergynet.geometry.pose import Pose, compose_rotation, decode_pose
from utils.data.ddfa import (
    ALL_POSE_FILE,
    BENCHMARK,
    EVAL,
    EvaluationCrops,
    EvaluationLabels,
    Preset,
    evaluation_loader,
    params_file,
    preprocess,
)
from utils.data.mirror import derive_mirror
from utils.evaluation import intervals, metrics
from utils.inference.regressor import make_regressor


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a model says of B images; None where it says nothing.

    Attributes:
        landmarks: (B, 2 or 3, 68) photo px, y down.
        rotation: (B, 3, 3) model frame to crop frame, y up, as in `synergynet.geometry.pose`.
        published, exact: Euler angles by the two decodings.
        params: (B, 62) real (de-whitened).
    """

    landmarks: np.ndarray | None = None
    rotation: Tensor | None = None
    published: Pose | None = None
    exact: Pose | None = None
    params: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rotation if self.landmarks is None else self.landmarks)

    def split(self) -> Iterator[Prediction]:
        """The predictions of each image, as batches of one."""
        for row in range(len(self)):
            one = slice(row, row + 1)
            parts = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
            yield Prediction(
                **{
                    name: Pose(*(angle[one] for angle in part))
                    if isinstance(part, Pose)
                    else part[one]
                    for name, part in parts.items()
                    if part is not None
                }
            )

    @classmethod
    def of_params(cls, params: Tensor, landmarks: np.ndarray) -> Prediction:
        """Pose by both decodings from real parameters (B, 62)."""
        _, rotation, _ = decompose_camera(params[:, :12].reshape(-1, 3, 4))
        published, exact = (decode_pose(params, method) for method in ("published", "exact"))
        return cls(landmarks, rotation, published, exact, params)


# ---------------------------------------------------------------- sources


@dataclasses.dataclass(frozen=True)
class NetworkSource:
    """A network's predictions of a test set; `network_source` makes one.

    Attributes:
        crops: the test set.
        network: crops (B, 120, 120, 3) uint8 to real parameters (B, 62) and landmarks (B, 3, 68)
            in crop px, both on the CPU.
        mirror: of the network's face model, to average with the mirror image's prediction, or None.
        batch_size: images a batch.
        workers: loading processes; 0 loads in this one.
    """

    crops: EvaluationCrops
    network: Callable[[Tensor], tuple[Tensor, Tensor]]
    mirror: FaceMirror | None = None
    batch_size: int = 64
    workers: int = 0

    def predict(self, rows: np.ndarray | None = None) -> Iterator[Prediction]:
        """Batches of predictions, of all images in the order of the list or of `rows`."""
        rows = np.arange(len(self.crops)) if rows is None else rows
        boxes = self.crops.labels.roi_box[rows]  # (N, 4)
        for images in evaluation_loader(_Chosen(self.crops, rows), self.batch_size, self.workers):
            with torch.inference_mode():
                params, landmarks = self._predict_batch(images)
            photo = crop_to_photo(landmarks.numpy(), boxes[: len(images)])
            boxes = boxes[len(images) :]
            yield Prediction.of_params(params, photo)

    def _predict_batch(self, images: Tensor) -> tuple[Tensor, Tensor]:
        params, landmarks = self.network(images)
        if self.mirror is None:
            return params, landmarks
        mirrored_params, mirrored_landmarks = self.network(images.flip(dims=[2]))
        params = mean_params(params, mirror_params(mirrored_params, self.mirror))
        return params, (landmarks + mirror_landmarks(mirrored_landmarks)) / 2


class _Chosen(Dataset):
    """Some crops of a test set."""

    def __init__(self, crops: EvaluationCrops, rows: np.ndarray):
        self.crops, self.rows = crops, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Tensor:
        return self.crops[int(self.rows[index])]


def network_source(
    model: SynergyNet,
    crops: EvaluationCrops,
    device: torch.device | str = "cpu",
    batch_size: int = 64,
    workers: int = 0,
    preset: Preset = BENCHMARK,
    flip: bool = False,
    refined: bool = False,
    engine: str = "auto",
) -> NetworkSource:
    """Make a network ready to predict a test set.

    Args:
        model: in any mode, on any device. Not modified, and not followed if it changes later.
        crops: the test set.
        device: where to compute.
        batch_size: images a batch.
        workers: loading processes; 0 loads in this one.
        preset: pre-processing.
        flip: average with the mirror image's prediction: landmarks by the 68-point symmetry, the
            rotation on SO(3), shape and expression by the face model's mirror.
        refined: landmarks of the refiner instead of the face model's own.
        engine: of the backbone, see `inference.make_regressor`; `refined` always takes PyTorch.
    Raises:
        InputError: `refined` and the weights have no refiner, or the engine cannot be had.
    """
    if refined and model.forwardDirection is None:
        raise fileio.InputError(f"the weights of {model.arch} have no landmark refiner to run")
    copied = copy.deepcopy(model).eval().to(device)

    def refine(images: Tensor) -> tuple[Tensor, Tensor]:
        outputs = copied(preprocess(images.to(device), preset))
        return copied.params(outputs["params"]).cpu(), outputs["refined_landmarks"].cpu()

    def decode(images: Tensor) -> tuple[Tensor, Tensor]:
        params_w = regress(preprocess(images, preset))
        return copied.params(params_w).cpu(), copied.landmarks(params_w).cpu()

    if refined:
        network = refine
    else:
        regress, network = make_regressor(copied, device, engine), decode
    with torch.inference_mode():  # the first call sets kernels up
        network(torch.zeros(1, IMG_SIZE, IMG_SIZE, 3, dtype=torch.uint8))
    mirror = derive_mirror(model) if flip else None
    return NetworkSource(crops, network, mirror, batch_size, workers)


@dataclasses.dataclass(frozen=True)
class FileSource:
    """Predictions of somebody's model from a file; `read_predictions` makes one.

    Attributes:
        landmarks: (N, 2 or 3, 68) photo px, or None.
        angles_deg: (N, 3) pitch, yaw, roll of R = Rx(pitch) Ry(yaw) Rz(roll), or None.
        params: (N, 62) real parameters of `model`'s face model, or None.
        crops: the test set.
        model: decodes parameters.
        batch_size: images a batch.
    """

    crops: EvaluationCrops
    landmarks: np.ndarray | None = None
    angles_deg: np.ndarray | None = None
    params: np.ndarray | None = None
    model: SynergyNet | None = None
    batch_size: int = 1024

    def predict(self, rows: np.ndarray | None = None) -> Iterator[Prediction]:
        """Batches of predictions, of all images in the order of the list or of `rows`."""
        rows = np.arange(len(self.crops)) if rows is None else rows
        for start in range(0, len(rows), self.batch_size):
            yield self._batch(rows[start : start + self.batch_size])

    def _batch(self, rows: np.ndarray) -> Prediction:
        prediction = Prediction()
        if self.params is not None:
            params = torch.from_numpy(self.params[rows]).float()
            params_w = (params - self.model.param_mean) / self.model.param_std
            landmarks = self.model.landmarks(params_w).numpy()
            landmarks = crop_to_photo(landmarks, self.crops.labels.roi_box[rows])
            prediction = Prediction.of_params(params, landmarks)
        if self.landmarks is not None:
            prediction = dataclasses.replace(prediction, landmarks=self.landmarks[rows])
        if self.angles_deg is not None:
            pitch, yaw, roll = torch.from_numpy(self.angles_deg[rows]).double().unbind(dim=1)
            pose = Pose(yaw, pitch, roll)  # angles are what they are, whatever decoded them
            rotation = compose_rotation(pose)
            prediction = dataclasses.replace(
                prediction, rotation=rotation, published=pose, exact=pose
            )
        return prediction


PREDICTION_SHAPES = {
    "params": [(N_PARAMS,)],
    "landmarks": [(2, N_LANDMARKS), (3, N_LANDMARKS)],
    "angles_deg": [(3,)],
}  # of one image


def read_predictions(
    path: str | os.PathLike, crops: EvaluationCrops, model: SynergyNet | None
) -> FileSource:
    """Read `.npz` predictions of a test set: one row an image, in the order of its list.

    Arrays, one at least: `params` (N, 62), real (de-whitened), of the crop; `landmarks`
    (N, 2 or 3, 68) in photo px, y down; `angles_deg` (N, 3) pitch, yaw, roll. What two arrays both
    tell is taken from the more direct one.

    Args:
        path: the file.
        crops: the test set.
        model: whose face model decodes `params`.
    Raises:
        InputError: unreadable, no such array, another count or shape, or values not finite.
    """
    arrays = fileio.read_arrays(path)
    known = {name: arrays[name] for name in PREDICTION_SHAPES if name in arrays}
    if not known:
        raise fileio.InputError(
            f"{path}: no predictions in it; name its arrays {', '.join(PREDICTION_SHAPES)}"
        )
    for name, array in known.items():
        shapes = [(len(crops), *shape) for shape in PREDICTION_SHAPES[name]]
        if array.shape not in shapes:
            raise fileio.InputError(
                f"{path}: {name} of shape {array.shape}, expected {' or '.join(map(str, shapes))}"
            )
    return FileSource(crops, model=model, **known)


# ---------------------------------------------------------------- errors


@dataclasses.dataclass(frozen=True)
class ImageErrors:
    """Errors of N images; None where labels or predictions are absent.

    Attributes:
        nme, nme_reannotated, nme_3d: (N,) fractions.
        landmarks: (68,) mean over images of each landmark's error, fraction.
        published, exact: (N, 3) predicted minus true pitch, yaw, roll in degrees, not unwrapped;
            NaN where an image has no pose label.
        rotation_deg: (N,) geodesic distance, NaN as above.
        shape_mm, expression_mm: (N,) root mean square distance over the vertices.
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


@dataclasses.dataclass(frozen=True)
class Truth:
    """All that a test set knows, N images; None where it does not.

    Attributes:
        landmarks: (N, 3, 68) photo px, y down.
        reannotated: (N, 2, 68) photo px.
        pose_deg: (N, 3) pitch, yaw, roll; NaN where an image has no label.
        params: (N, 62) real parameters in the bases of `model`.
        model: whose bases; None without `params`.
    """

    landmarks: np.ndarray
    reannotated: np.ndarray | None
    pose_deg: np.ndarray | None
    params: Tensor | None
    model: SynergyNet | None


def read_truth(crops: EvaluationCrops, model: SynergyNet | None) -> Truth:
    """The labels of a test set, with the optional ones in eval/.

    ALL_POSE_FILE holds the angles of all N images, also of those that the published protocol leaves
    out; `params_file` the parameters in the bases of `model`, if it has one.
    """
    labels, folder = crops.labels, crops.folder / EVAL
    pose_deg = params = None
    if (folder / ALL_POSE_FILE).is_file():
        pose_deg = fileio.read_array(folder / ALL_POSE_FILE, (len(crops), 3))
    elif labels.pose_rows is not None:
        pose_deg = np.full((len(crops), 3), np.nan)
        pose_deg[labels.pose_rows] = labels.pose_deg
    path = folder / params_file(model.morphable_id["hash"]) if model is not None else None
    if path is not None and path.is_file():
        params = torch.from_numpy(fileio.read_array(path, (len(crops), N_PARAMS)))
    return Truth(labels.landmarks, labels.reannotated, pose_deg, params, model)


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
            _face_errors(prediction.params, truth.params[rows], truth.model, columns)
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
    found: Tensor, true: Tensor, model: SynergyNet, columns: dict[str, list[np.ndarray]]
) -> None:
    shape = metrics.face_errors(found[:, SHAPE], true[:, SHAPE], model.w_shp)
    _add(columns, "shape_mm", shape)
    expression = metrics.face_errors(found[:, EXPR], true[:, EXPR], model.w_exp)
    _add(columns, "expression_mm", expression)


def _add(columns: dict[str, list[np.ndarray]], name: str, values: np.ndarray) -> None:
    columns.setdefault(name, []).append(values)


# ---------------------------------------------------------------- summary


def summarise(errors: ImageErrors, labels: EvaluationLabels) -> dict[str, Any]:
    """What a report says of a model; an entry whose labels are absent is None.

    Landmark errors are in percent, each entry with `mean_95` and `image_mean_95`, bootstrap
    intervals of the mean of bin means and of the image mean. Pose errors are in degrees, with
    `mean_95`. `pose_mae` and `pose_mae_exact` are of the images that the published protocol keeps;
    `pose_mae_all` (exact decoding, differences unwrapped) and `rotation` (geodesic) of all that
    have a label.
    """
    yaw_deg, kept = labels.yaw_deg, labels.pose_rows
    result: dict[str, Any] = {
        "images": len(yaw_deg),
        "nme": nme_with_intervals(errors.nme, yaw_deg),
        "nme_reannotated": nme_with_intervals(errors.nme_reannotated, yaw_deg),
        "nme_3d": nme_with_intervals(errors.nme_3d, yaw_deg),
        "pose_mae": _pose(errors.published, kept),
        "pose_mae_exact": _pose(errors.exact, kept),
        "pose_mae_all": None,
        "rotation": None,
        "shape_mm": _mean(errors.shape_mm),
        "expression_mm": _mean(errors.expression_mm),
    }
    if errors.exact is not None:
        has_label = np.isfinite(errors.rotation_deg).nonzero()[0]
        result["pose_mae_all"] = _pose(metrics.wrap_degrees(errors.exact), has_label)
        result["rotation"] = _mean(errors.rotation_deg[has_label])
    return result


def nme_with_intervals(nme: np.ndarray | None, yaw_deg: np.ndarray) -> dict[str, Any] | None:
    """`metrics.summarise_nme` of (N,) fractions with `mean_95` and `image_mean_95`."""
    if nme is None:
        return None
    bins = metrics.yaw_bins(yaw_deg)
    return metrics.summarise_nme(nme, yaw_deg) | {
        "mean_95": intervals.bootstrap_interval(100 * nme, bins),
        "image_mean_95": intervals.bootstrap_interval(100 * nme),
    }


def _pose(errors_deg: np.ndarray | None, rows: np.ndarray | None) -> dict[str, Any] | None:
    if errors_deg is None or rows is None or len(rows) == 0:
        return None
    chosen = errors_deg[rows]
    interval = intervals.bootstrap_interval(np.abs(chosen).mean(axis=1))
    return metrics.summarise_pose(chosen) | {"mean_95": interval}


def _mean(values: np.ndarray | None) -> dict[str, Any] | None:
    if values is None or len(values) == 0:
        return None
    return {
        "mean": float(values.mean()),
        "median": float(np.median(values)),
        "mean_95": intervals.bootstrap_interval(values),
        "images": len(values),
    }


@dataclasses.dataclass(frozen=True)
class Entry:
    """One row of a comparison.

    Attributes:
        name: what tables call the model.
        source: what it predicts.
        errors: image by image.
        result: the content of results/benchmark.json.
        mean_face: (3, 68) micrometres, y up, of its face model, or of the default one.
    """

    name: str
    source: NetworkSource | FileSource
    errors: ImageErrors
    result: dict[str, Any]
    mean_face: np.ndarray


def compare(first: ImageErrors, second: ImageErrors, labels: EvaluationLabels) -> dict[str, Any]:
    """Paired test of two models: difference first - second of the headlines, its 95 % interval, p.

    Returns:
        `nme` (mean of bin means, percent) and `pose_mae_exact` (degrees), each with `difference`,
        `difference_95` and `p_value`; None where one of the two has no such error.
    """
    bins = metrics.yaw_bins(labels.yaw_deg)
    result: dict[str, Any] = {"nme": None, "pose_mae_exact": None}
    if first.nme is not None and second.nme is not None:
        result["nme"] = _paired(100 * first.nme, 100 * second.nme, bins)
    rows = labels.pose_rows
    if first.exact is not None and second.exact is not None and rows is not None and len(rows):
        angles = (np.abs(errors.exact[rows]).mean(axis=1) for errors in (first, second))
        result["pose_mae_exact"] = _paired(*angles, None)
    return result


def _paired(first: np.ndarray, second: np.ndarray, groups: np.ndarray | None) -> dict[str, Any]:
    return {
        "difference": intervals.mean_of_groups(first - second, groups),
        "difference_95": intervals.bootstrap_interval(first - second, groups),
        "p_value": intervals.paired_p_value(first, second, groups),
    }
