"""What is drawn of the faces of a photo: landmarks, and pose."""

from __future__ import annotations

import numpy as np

from synergynet.drawing import lines
from synergynet.drawing.surface import draw_pose_box
from synergynet.faces import Faces

NOSE_TIP = 30  # of the 68 landmarks


def draw_landmarks(photo: np.ndarray, faces: Faces) -> np.ndarray:
    """The photo with the 68 landmarks of every face."""
    for landmarks, side in zip(faces.landmarks, _sides(faces), strict=True):
        photo = lines.draw_landmarks(photo, landmarks, crop_px=side)
    return photo


def draw_poses(photo: np.ndarray, faces: Faces) -> np.ndarray:
    """The photo with a box around every head, turned as it is, and axes at the tip of the nose."""
    for landmarks, rotation, side in zip(
        faces.landmarks, faces.rotations, _sides(faces), strict=True
    ):
        photo = draw_pose_box(photo, rotation, landmarks)
        nose = landmarks[:2, NOSE_TIP]
        photo = lines.draw_pose_axes(photo, rotation, nose, side / 3, crop_px=side)
    return photo


def draw_frame(image: np.ndarray, faces: Faces) -> np.ndarray:
    """A video's frame with landmarks and pose."""
    return draw_poses(draw_landmarks(image, faces), faces)


def _sides(faces: Faces) -> np.ndarray:
    """Sides (N,) of the crops in photo px."""
    return faces.roi_boxes[:, 2] - faces.roi_boxes[:, 0]
