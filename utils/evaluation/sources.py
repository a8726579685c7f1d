"""What a model predicts of a test set: a network that runs, or a file of predictions.

`network_source` runs a network over the crops, `read_predictions` takes what somebody else's model
said. Both give predictions batch by batch, so that memory does not grow with the test set.
"""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from model_building import SynergyNet
from synergynet import fileio
from synergynet.face_model import MorphableModel
from synergynet.geometry.crop import crop_to_photo
from synergynet.geometry.mirror import FaceMirror, mean_params, mirror_landmarks, mirror_params
from synergynet.geometry.parameters import IMG_SIZE, N_LANDMARKS, N_PARAMS
from synergynet.geometry.pose import Pose, compose_rotation, decode_pose, decompose_camera
from utils.data.evaluation_crops import EvaluationCrops, evaluation_loader
from utils.data.mirror import derive_mirror
from utils.data.preprocessing import BENCHMARK, Preset, preprocess
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
        """Pose by both decodings from real parameters (B, 62).

        Raises:
            InputError: they, or the landmarks, are not finite.
        """
        if not (params.isfinite().all() and np.isfinite(landmarks).all()):
            raise fileio.InputError(
                "predictions that are not finite: the weights have diverged, or the file is damaged"
            )
        _, rotation, _ = decompose_camera(params[:, :12].reshape(-1, 3, 4))
        published, exact = (decode_pose(params, method) for method in ("published", "exact"))
        return cls(landmarks, rotation, published, exact, params)


# ---------------------------------------------------------------- networks


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


# ---------------------------------------------------------------- files


@dataclasses.dataclass(frozen=True)
class FileSource:
    """Predictions of somebody's model from a file; `read_predictions` makes one.

    Attributes:
        landmarks: (N, 2 or 3, 68) photo px, or None.
        angles_deg: (N, 3) pitch, yaw, roll of R = Rx(pitch) Ry(yaw) Rz(roll), or None.
        params: (N, 62) real parameters of `face_model`, or None.
        crops: the test set.
        face_model: its arrays are numpy's; None without `params`.
        batch_size: images a batch.
    """

    crops: EvaluationCrops
    landmarks: np.ndarray | None = None
    angles_deg: np.ndarray | None = None
    params: np.ndarray | None = None
    face_model: MorphableModel | None = None
    batch_size: int = 1024

    def predict(self, rows: np.ndarray | None = None) -> Iterator[Prediction]:
        """Batches of predictions, of all images in the order of the list or of `rows`."""
        rows = np.arange(len(self.crops)) if rows is None else rows
        for start in range(0, len(rows), self.batch_size):
            yield self._batch(rows[start : start + self.batch_size])

    def _batch(self, rows: np.ndarray) -> Prediction:
        prediction = Prediction()
        if self.params is not None:
            params = self.params[rows]
            landmarks = self.face_model.landmarks(params)  # (B, 3, 68) crop px
            landmarks = crop_to_photo(landmarks, self.crops.labels.roi_box[rows])
            prediction = Prediction.of_params(torch.from_numpy(params).float(), landmarks)
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
    path: str | os.PathLike, crops: EvaluationCrops, face_model: MorphableModel | None
) -> FileSource:
    """Read `.npz` predictions of a test set: one row an image, in the order of its list.

    Arrays, one at least: `params` (N, 62), real (de-whitened), of the crop; `landmarks`
    (N, 2 or 3, 68) in photo px, y down; `angles_deg` (N, 3) pitch, yaw, roll. What two arrays both
    say is taken from the more direct one.

    Args:
        path: the file.
        crops: the test set.
        face_model: decodes `params`; its arrays are numpy's.
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
    return FileSource(crops, face_model=face_model, **known)
