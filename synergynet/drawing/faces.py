"""What is drawn of the faces of a photo: landmarks, and pose."""

from __future__ import annotations

import numpy as np

from synergynet.drawing import lines
from synergynet.drawing.surface import draw_pose_box
from synergynet.faces import Faces

NOSE_TIP = 30  # of the 68 landmarks


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
