"""Landmarks and poses of all faces of a photo, on one copy of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from synergynet import SynergyNet
from synergynet.drawing import faces as drawing
from synergynet.drawing import lines
from synergynet.drawing.surface import draw_pose_box
from synergynet.faces import Faces

BOXES = [np.array([[20, 30, 120, 130], [90, 60, 220, 190]])]  # they overlap


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (240, 260, 3), np.uint8)


@pytest.fixture(scope="module")
def faces(photo) -> Faces:
    """Two faces; of what, does not matter."""
    return SynergyNet(engine="opencv").predict([photo], BOXES)


def test_every_face_is_drawn_in_turn_and_the_photo_stays(photo, faces):
    before, landmarks, poses = photo.copy(), photo, photo
    for points, visible, rotation, box in zip(
        faces.landmarks, faces.visible, faces.rotations, faces.roi_boxes, strict=True
    ):
        side = box[2] - box[0]
        landmarks = lines.draw_landmarks(landmarks, points, crop_px=side, visible=visible)
        poses = draw_pose_box(poses, rotation, points)
        nose = points[:2, drawing.NOSE_TIP]
        poses = lines.draw_pose_axes(poses, rotation, nose, side / 3, crop_px=side)
    np.testing.assert_array_equal(drawing.draw_landmarks(photo, faces), landmarks)
    np.testing.assert_array_equal(drawing.draw_poses(photo, faces), poses)
    np.testing.assert_array_equal(photo, before)
    assert (landmarks != poses).any()
    frame = drawing.draw_frame(photo, faces)
    np.testing.assert_array_equal(frame, drawing.draw_poses(landmarks, faces))
    np.testing.assert_array_equal(photo, before)


def test_without_triangles_every_dot_is_full(photo, faces):
    bare = dataclasses.replace(faces, model=dataclasses.replace(faces.model, triangles=None))
    expected = photo
    for points, side in zip(faces.landmarks, np.ptp(faces.roi_boxes[:, ::2], axis=1), strict=True):
        expected = lines.draw_landmarks(expected, points, crop_px=side)
    np.testing.assert_array_equal(drawing.draw_landmarks(photo, bare), expected)
