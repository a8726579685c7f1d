"""Faces found in photos, as arrays; pose and the dense mesh are computed on demand."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from synergynet import table
from synergynet.blendshapes import ARKIT_NAMES
from synergynet.face_model import MorphableModel
from synergynet.geometry.camera import (
    camera_of,
    decompose_camera,
    params_to_photo,
    rotation_vector,
)
from synergynet.geometry.conventions import from_opencv
from synergynet.geometry.crop import crop_to_photo
from synergynet.geometry.parameters import EXPR
from synergynet.geometry.pinhole import PUPILS_MM, Lens, to_pinhole
from synergynet.geometry.pose import Pose, decode_pose, exact_angles
from synergynet.meshes.visibility import visible_points, visible_vertices

RIGHT_EYE, LEFT_EYE = slice(36, 42), slice(42, 48)  # of the 68 landmarks

POSE_CONVENTION = (
    "degrees; R = Rx(pitch) Ry(yaw) Rz(roll) as in 300W-LP and AFLW2000-3D; 'exact' inverts that, "
    "'published' reads the yaw as SynergyNet's and 3DDFA's code do"
)


class MetricPose(NamedTuple):
    """Where heads are, of a known lens and an assumed size: see `geometry.pinhole`.

    Attributes:
        rvec: (N, 3) OpenCV's rotation vector from the head's frame to the camera's.
        tvec_mm: (N, 3) OpenCV's translation: the point between the pupils, in the camera's frame.
        angles: (N,) each, degrees: as `Faces.pose("exact")`, but of the head against the camera,
            not against the ray along which it is seen.
    """

    rvec: np.ndarray
    tvec_mm: np.ndarray
    angles: Pose


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

    @property
    def dense_vertices(self) -> np.ndarray:
        """(N, 3, W) float32 photo px: `vertices`, then those of the model's dense surface.

        Its triangles are `model.dense.triangles`.

        Raises:
            ValueError: the model has no triangles.
        """
        return self.model.dense.apply(self.vertices)

    # ------------------------------------------------------------ what the camera sees

    @functools.cached_property
    def visible(self) -> np.ndarray | None:
        """(N, 68) bool of the landmarks: neither turned away nor hidden behind the face itself.

        Computed once. Hair, hands and other people are not looked for. None where the face model
        has no triangles.
        """
        model = self.model
        if model.triangles is None:
            return None
        rows, around = model.landmark_vertices, model.landmark_triangles
        seen = [
            visible_points(verts, model.triangles, rows, model.on_surface[rows], around)
            for verts in model.vertices(self.params)
        ]
        return np.array(seen, bool).reshape(self.landmarks[:, 0].shape)

    @functools.cached_property
    def visible_vertices(self) -> np.ndarray | None:
        """(N, V) bool, as `visible`, which it agrees with on the landmarks."""
        triangles, visible = self.model.triangles, self.visible
        if triangles is None or visible is None:
            return None
        surface = self.model.on_surface
        seen = [visible_vertices(v, triangles, surface) for v in self.model.vertices(self.params)]
        table = np.array(seen, bool).reshape(len(self), self.model.n_vertices)
        table[:, self.model.landmark_vertices] = visible
        return table

    # ------------------------------------------------------------ expression

    @functools.cached_property
    def blendshapes(self) -> np.ndarray | None:
        """(N, 52) float32 in 0 to 1, of `blendshapes.ARKIT_NAMES`; see `FacialActions.fit`.

        Computed once. Few are found well: `reliable_blendshapes`. None for face models whose
        expressions are not made of these actions: all but the open one.
        """
        if self.model.actions is None:
            return None
        return self.model.actions.fit(self.params[:, EXPR])

    @property
    def reliable_blendshapes(self) -> tuple[str, ...] | None:
        """The names of those that are found on drawn faces with a correlation of 0.5 and more."""
        return None if self.model.actions is None else self.model.actions.reliable

    # ------------------------------------------------------------ sizes and distances

    @functools.cached_property
    def _head_frame(self) -> tuple[np.ndarray, np.ndarray]:
        """Origin (N, 3) and unit (N,) of the heads' frames, in the model's frame and micrometres.

        Of the faces at rest, so that neither moves with the expression.
        """
        at_rest = self.params.copy()
        at_rest[:, EXPR] = 0
        eyes = self.model.landmarks_model(at_rest)  # (N, 3, 68)
        right, left = eyes[:, :, RIGHT_EYE].mean(axis=2), eyes[:, :, LEFT_EYE].mean(axis=2)
        return (right + left) / 2, np.linalg.norm(left - right, axis=1)

    @property
    def head_unit_px(self) -> np.ndarray:
        """(N,) photo px between the pupils, as from the front: the heads' sizes in the photo.

        Differences of x, y and z of landmarks and vertices, over this, are in head units.
        """
        photo_params = params_to_photo(self.params, self.roi_boxes)
        return decompose_camera(camera_of(photo_params))[0] * self._head_frame[1]

    @property
    def landmarks_head(self) -> np.ndarray:
        """(N, 3, 68) float32 in head units: the same however the head is turned and seen.

        The origin is between the pupils of the face at rest, which are 1 apart; x to the subject's
        left, y up, z out of the face.
        """
        origin, unit = self._head_frame
        points = self.model.landmarks_model(self.params)
        return ((points - origin[:, :, None]) / unit[:, None, None]).astype(np.float32)

    def metric_pose(self, lens: Lens) -> MetricPose:
        """Where the heads are before a pinhole camera, if their pupils are PUPILS_MM apart.

        `cv2.projectPoints(PUPILS_MM * faces.landmarks_head[i].T, rvec[i], tvec_mm[i], K, None)`
        gives the landmarks, in the perspective that weak perspective lacks. Distances go with the
        true distance between the pupils, angles do not depend on it.

        Args:
            lens: of the photo, or of each face its own: focal_px (N,), centre_px (N, 2).
        """
        photo_params = params_to_photo(self.params, self.roi_boxes)
        _, unit = self._head_frame
        rows = camera_of(photo_params)[:, :2, :3] * unit[:, None, None]  # px a head unit, y up
        centroid = self.landmarks_head.mean(axis=2).astype(np.float64)
        focal = np.broadcast_to(np.asarray(lens.focal_px, np.float64), len(self))
        seen = self.landmarks[:, :2].mean(axis=2) - np.asarray(lens.centre_px, np.float64)
        rotation, translation = to_pinhole(rows * [[1], [-1]], seen, centroid, focal)
        rvec = rotation_vector(rotation)
        return MetricPose(rvec, PUPILS_MM * translation, exact_angles(from_opencv(rvec)))

    def to_dict(self, lens: Lens | None = None) -> dict[str, list[Any]]:
        """Plain columns, a row a face: `pandas.DataFrame(faces.to_dict())`.

        The columns and numbers of `faces.csv` and of the videos' tables, after `image_index`.

        Args:
            lens: for the columns of `metric_pose`, which are None without.
        """
        rows = [table.cells(face) for face in describe_faces(self, lens)]
        columns = {name: [row[i] for row in rows] for i, name in enumerate(table.COLUMNS)}
        return {"image_index": self.image_index.tolist(), **columns}


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


def describe_faces(faces: Faces, lens: Lens | None = None) -> list[dict[str, Any]]:
    """Faces as plain numbers for JSON, one dict each: boxes, landmarks, pose and parameters.

    Landmarks are 68 triples x y z in photo px to 3 decimals; angles in degrees to 3 decimals;
    the 62 parameters keep float32's precision. POSE_CONVENTION says what the angles mean, and
    METRIC_CONVENTION what `metric_pose` means, which is None without a lens; so is `visible`
    where the face model has no triangles, and `blendshapes` where it is not the open one.

    Args:
        faces: not modified.
        lens: as for `Faces.metric_pose`.
    """
    poses = {method: faces.pose(method) for method in ("exact", "published")}
    landmarks = faces.landmarks.astype(np.float64).round(3)
    visible, units = faces.visible, faces.head_unit_px
    metric = None if lens is None else faces.metric_pose(lens)
    strengths = faces.blendshapes
    return [
        {
            "box": faces.boxes[index].round(2).tolist(),
            "score": round(float(faces.scores[index]), 4),
            "doubtful": bool(faces.doubtful[index]),
            "roi_box": faces.roi_boxes[index].tolist(),
            "pose": {method: _describe_angles(pose, index) for method, pose in poses.items()},
            "landmarks": landmarks[index].T.tolist(),
            "visible": None if visible is None else visible[index].tolist(),
            "params": [float(f"{v:.9g}") for v in faces.params[index]],
            "head_unit_px": round(float(units[index]), 3),
            "metric_pose": None if metric is None else _describe_metric(metric, index),
            "blendshapes": None if strengths is None else _describe_actions(strengths[index]),
        }
        for index in range(len(faces))
    ]


def _describe_angles(pose: Pose, index: int) -> dict[str, float]:
    return {name: round(float(angle[index]), 3) for name, angle in pose._asdict().items()}


def _describe_actions(strengths: np.ndarray) -> dict[str, float]:
    rounded = strengths.astype(np.float64).round(4).tolist()
    return dict(zip(ARKIT_NAMES, rounded, strict=True))


def _describe_metric(metric: MetricPose, index: int) -> dict[str, Any]:
    tvec = metric.tvec_mm[index]
    return {
        "rvec": [round(float(v), 6) for v in metric.rvec[index]],
        "tvec_mm": [round(float(v), 2) for v in tvec],
        "distance_head_units": round(float(np.linalg.norm(tvec)) / PUPILS_MM, 4),
        **_describe_angles(metric.angles, index),
    }
