"""Faces found in photos, as arrays; pose and the dense mesh are computed on demand."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from synergynet.face_model import MorphableModel
from synergynet.geometry.camera import camera_of, decompose_camera
from synergynet.geometry.crop import crop_to_photo
from synergynet.geometry.pose import Pose, decode_pose

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
        scores: (N,) of the detector, 0 to 1; 1 where boxes came without.
        doubtful: (N,) bool, heads that seem to lie, which no look at them turned upright confirmed:
            most have landmarks on the wrong place.
        roi_boxes: (N, 4) sx sy ex ey of the crops the network saw, photo px.
        params: (N, 62) float32, real (de-whitened); they decode into the 120-px crop.
        landmarks: (N, 3, 68) float32 photo px, y down, z towards the camera in the same unit.
        model: the face model that decodes them.
    """

    image_index: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    doubtful: np.ndarray
    roi_boxes: np.ndarray
    params: np.ndarray
    landmarks: np.ndarray
    model: MorphableModel = dataclasses.field(repr=False)

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
        return decode_pose(self.params, method)

    @property
    def rotations(self) -> np.ndarray:
        """(N, 3, 3) model frame to crop frame, y up."""
        return decompose_camera(camera_of(self.params))[1]

    @property
    def translations(self) -> np.ndarray:
        """(N, 3) t with x and y mapped to the photo.

        NOTE(released): as published: y stays up inside the crop (no 121 - y), z is in crop px.
        """
        translations = decompose_camera(camera_of(self.params))[2]
        photo = crop_to_photo(translations[:, :, None], self.roi_boxes)[:, :, 0]  # (N, 3)
        return np.column_stack([photo[:, :2], translations[:, 2]]).astype(np.float32)

    @property
    def vertices(self) -> np.ndarray:
        """(N, 3, V) float32 photo px, y down: the dense face, computed again at every call."""
        vertices = self.model.vertices(self.params)  # (N, 3, V) crop px
        return crop_to_photo(vertices, self.roi_boxes).astype(np.float32)

    @property
    def triangles(self) -> np.ndarray | None:
        """(T, 3) of `vertices`, counter-clockwise from outside; None where the model has none."""
        return self.model.triangles


def decode_faces(
    model: MorphableModel,
    params: np.ndarray,
    roi_boxes: np.ndarray,
    boxes: np.ndarray,
    image_index: np.ndarray,
    scores: np.ndarray | None = None,
    doubtful: np.ndarray | None = None,
) -> Faces:
    """Faces from parameters.

    Args:
        model: decodes them.
        params: (N, 62) float32, real (de-whitened).
        roi_boxes, boxes, image_index: see `Faces`.
        scores, doubtful: see `Faces`; None is 1, and False, for all.
    """
    scores = np.ones(len(params)) if scores is None else scores
    doubtful = np.zeros(len(params), bool) if doubtful is None else doubtful
    landmarks = crop_to_photo(model.landmarks(params), roi_boxes).astype(np.float32)
    return Faces(image_index, boxes, scores, doubtful, roi_boxes, params, landmarks, model)


def concatenate_faces(parts: Sequence[Faces]) -> Faces:
    """Faces of one face model after each other; at least one part, which may hold none."""
    arrays: dict[str, Any] = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in dataclasses.fields(Faces)
        if field.name != "model"
    }
    return dataclasses.replace(parts[0], **arrays)


def describe_faces(faces: Faces) -> list[dict[str, Any]]:
    """Faces as plain numbers for JSON, one dict each: boxes, landmarks, pose and parameters.

    Landmarks are 68 triples x y z in photo px to 3 decimals; angles in degrees to 3 decimals;
    the 62 parameters keep float32's precision. POSE_CONVENTION says what the angles mean.
    """
    poses = {method: faces.pose(method) for method in ("exact", "published")}
    return [
        {
            "box": faces.boxes[index].round(2).tolist(),
            "score": round(float(faces.scores[index]), 4),
            "doubtful": bool(faces.doubtful[index]),
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
