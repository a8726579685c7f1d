"""What is drawn of the faces of a photo: landmarks, and pose."""

from __future__ import annotations

import numpy as np

from synergynet.drawing import lines
from synergynet.drawing.surface import draw_faces, draw_pose_box, edge_fade
from synergynet.face_model import MorphableModel
from synergynet.faces import Faces
from synergynet.meshes.dense import MOUTH

NOSE_TIP = 30  # of the 68 landmarks
MOUTH_OPACITY = 0.3  # of what lies between the lips, where the photo may show teeth


def overlay_fade(model: MorphableModel) -> np.ndarray:
    """Fade (W,) of a face model's dense surface for `draw_surfaces`: at its rim, and in the mouth.

    Raises:
        ValueError: the model has no triangles.
    """
    dense = model.dense
    mean = model.mean_face
    rim = dense.apply(mean.T).T[dense.rim]
    fade = edge_fade(mean, rim)
    fade[dense.beyond] = 0
    fade = dense.apply(fade).clip(0, 1)
    fade[dense.rim] = 0
    fade[dense.vertices_of(MOUTH)] *= MOUTH_OPACITY
    return fade


def draw_surfaces(photo: np.ndarray, faces: Faces, fade: np.ndarray | None = None) -> np.ndarray:
    """A copy of the photo with the shaded dense surface of every face.

    Args:
        photo, faces: it and what it shows.
        fade: from `overlay_fade`; None computes it.
    Raises:
        ValueError: the face model has no triangles.
    """
    fade = overlay_fade(faces.model) if fade is None else fade
    drawn = [faces.model.dense.for_drawing(verts) for verts in faces.vertices]
    return draw_faces(
        photo,
        [face.verts for face in drawn],
        [face.triangles for face in drawn],
        fade=fade,
        normals=[face.normals for face in drawn],
    )


def draw_landmarks(photo: np.ndarray, faces: Faces) -> np.ndarray:
    """A copy of the photo with the 68 landmarks of every face, hidden ones hollow."""
    picture = photo.copy()
    seen = [None] * len(faces) if faces.visible is None else faces.visible
    for landmarks, visible, side in zip(faces.landmarks, seen, _sides(faces), strict=True):
        lines.draw_landmarks(picture, landmarks, crop_px=side, visible=visible, in_place=True)
    return picture


def draw_poses(photo: np.ndarray, faces: Faces, *, in_place: bool = False) -> np.ndarray:
    """A copy of the photo with a box around every head, turned as it is, and axes at the nose.

    Args:
        photo, faces: it and what it shows.
        in_place: draw on `photo` itself.
    """
    picture = photo if in_place else photo.copy()
    for landmarks, rotation, side in zip(
        faces.landmarks, faces.rotations, _sides(faces), strict=True
    ):
        draw_pose_box(picture, rotation, landmarks, in_place=True)
        nose = landmarks[:2, NOSE_TIP]
        lines.draw_pose_axes(picture, rotation, nose, side / 3, crop_px=side, in_place=True)
    return picture


def draw_frame(image: np.ndarray, faces: Faces) -> np.ndarray:
    """A video's frame with landmarks and pose."""
    return draw_poses(draw_landmarks(image, faces), faces, in_place=True)


def _sides(faces: Faces) -> np.ndarray:
    """Sides (N,) of the crops in photo px."""
    return faces.roi_boxes[:, 2] - faces.roi_boxes[:, 0]
