"""Faces found in photos, as arrays; pose and the dense mesh are computed on demand."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from model_building import SynergyNet
from synergynet.geometry.crop import crop_to_photo
from synergynet.geometry.pose import Pose, decode_pose, decompose_camera
from synergynet.params import N_POSE

POSE_CONVENTION = (
    "degrees; R = Rx(pitch) Ry(yaw) Rz(roll) as in 300W-LP and AFLW2000-3D; 'exact' inverts that, "
    "'published' reads the yaw as SynergyNet's and 3DDFA's code do"
)


@dataclasses.dataclass(frozen=True, eq=False)
class Faces:
    """N faces of a list of images.

    Attributes:
        image_index: (N,) int64, which image of the list the face is in.
        boxes: (N, 4) x0 y0 x1 y1 of the detected faces, photo px.
        roi_boxes: (N, 4) sx sy ex ey of the crops the network saw, photo px.
        params: (N, 62) float32, real (de-whitened); they decode into the 120-px crop.
        landmarks: (N, 3, 68) float32 photo px, y down, z towards the camera in the same unit.
        model: the network and face model they come from.
    """

    image_index: np.ndarray
    boxes: np.ndarray
    roi_boxes: np.ndarray
    params: np.ndarray
    landmarks: np.ndarray
    model: SynergyNet = dataclasses.field(repr=False)

    def __len__(self) -> int:
        return len(self.params)

    def __getitem__(self, rows: slice | np.ndarray) -> Faces:
        """Some of the faces, by slice, mask or indices."""
        arrays = {
            field.name: getattr(self, field.name)[rows]
            for field in dataclasses.fields(self)
            if field.name != "model"
        }
        return dataclasses.replace(self, **arrays)

    def of_image(self, index: int) -> Faces:
        """The faces of one image of the list."""
        return self[self.image_index == index]

    def pose(self, method: Literal["published", "exact"] = "exact") -> Pose:
        """Euler angles, each (N,) float32 in degrees; see `geometry.pose` for the convention."""
        return Pose(*(a.numpy() for a in decode_pose(torch.from_numpy(self.params), method)))

    @property
    def rotations(self) -> np.ndarray:
        """(N, 3, 3) model frame to crop frame, y up."""
        return self._decomposed()[1]

    @property
    def translations(self) -> np.ndarray:
        """(N, 3) t with x and y mapped to the photo.

        NOTE(released): as published: y stays up inside the crop (no 121 - y), z is in crop px.
        """
        translations = self._decomposed()[2]
        photo = crop_to_photo(translations[:, :, None], self.roi_boxes)[:, :, 0]  # (N, 3)
        return np.column_stack([photo[:, :2], translations[:, 2]]).astype(np.float32)

    @property
    def vertices(self) -> np.ndarray:
        """(N, 3, V) float32 photo px, y down: the dense face, computed anew at every call."""
        params_w = whiten(self.model, self.params)
        with torch.inference_mode():
            vertices = self.model.vertices(params_w).cpu().numpy()  # (N, 3, V) crop px
        return crop_to_photo(vertices, self.roi_boxes).astype(np.float32)

    @property
    def triangles(self) -> np.ndarray | None:
        """(T, 3) of `vertices`, counter-clockwise from outside; None without a tri.mat."""
        return self.model.triangles

    def _decomposed(self) -> list[np.ndarray]:
        cameras = torch.from_numpy(self.params[:, :N_POSE]).reshape(-1, 3, 4)
        return [part.numpy() for part in decompose_camera(cameras)]


def whiten(model: SynergyNet, params: np.ndarray) -> Tensor:
    """Whitened parameters (N, 62) on the model's device; inverse of `model.params`."""
    params = torch.from_numpy(params).to(model.param_mean)
    return (params - model.param_mean) / model.param_std


def mean_face(model: SynergyNet) -> np.ndarray:
    """The mean face (V, 3) in micrometres, y up."""
    return model.u.reshape(-1, 3).cpu().numpy()


def decode_faces(
    model: SynergyNet,
    params_w: Tensor,
    roi_boxes: np.ndarray,
    boxes: np.ndarray,
    image_index: np.ndarray,
) -> Faces:
    """Faces from the network's output.

    Args:
        model: decodes, on its device.
        params_w: (N, 62) whitened, on any device.
        roi_boxes, boxes, image_index: see `Faces`.
    """
    params_w = params_w.to(model.u)
    with torch.inference_mode():
        params = model.params(params_w).cpu().numpy()
        landmarks = model.landmarks(params_w).cpu().numpy()  # (N, 3, 68) crop px
    landmarks = crop_to_photo(landmarks, roi_boxes).astype(np.float32)
    return Faces(image_index, boxes, roi_boxes, params, landmarks, model)


def describe_faces(faces: Faces) -> list[dict[str, Any]]:
    """Faces as plain numbers for JSON, one dict each: boxes, landmarks, pose and parameters.

    Landmarks are 68 triples x y z in photo px to 3 decimals; angles in degrees to 3 decimals;
    the 62 parameters keep float32's precision. POSE_CONVENTION says what the angles mean.
    """
    poses = {method: faces.pose(method) for method in ("exact", "published")}
    return [
        {
            "box": faces.boxes[index].round(2).tolist(),
            "roi_box": faces.roi_boxes[index].tolist(),
            "pose": {
                method: {name: round(float(a[index]), 3) for name, a in pose._asdict().items()}
                for method, pose in poses.items()
            },
            "landmarks": [[round(float(v), 3) for v in p] for p in faces.landmarks[index].T],
            "params": [float(f"{v:.9g}") for v in faces.params[index]],
        }
        for index in range(len(faces))
    ]
