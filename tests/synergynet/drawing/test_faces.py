"""Landmarks, poses and dense surfaces of all faces of a photo, on one copy of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from synergynet import SynergyNet
from synergynet.drawing import faces as drawing
from synergynet.drawing import lines
from synergynet.drawing.surface import draw_faces, draw_pose_box
from synergynet.faces import Faces, decode_faces
from synergynet.meshes.dense import FEW_PX, MANY_PX, MOUTH

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


def test_surfaces_are_the_dense_ones_and_the_photo_stays(photo, faces):
    """Of large faces all triangles are drawn, of these two the model's own."""
    before, model = photo.copy(), faces.model
    fade = drawing.overlay_fade(model)
    got = drawing.draw_surfaces(photo, faces)
    np.testing.assert_array_equal(photo, before)
    own = draw_faces(photo, faces.vertices, model.dense.fewest, fade=fade)
    np.testing.assert_array_equal(got, own)
    all_of_them = draw_faces(photo, faces.dense_vertices, model.dense.triangles, fade=fade)
    assert (all_of_them != own).any()
    assert np.abs(all_of_them.astype(float) - own).mean() < 1


@pytest.mark.parametrize("height", [1.02 * FEW_PX, 1.02 * MANY_PX])
def test_triangles_that_are_left_out_are_not_missed(faces, height):
    """Just above the heights from which more are drawn, a picture of fewer looks the same."""
    model = faces.model
    one = faces[:1]
    scale = height / np.ptp(one.vertices[0, 1])
    box = np.array([[20.0, 20, 20 + 100 * scale, 20 + 100 * scale]])
    one = decode_faces(model, one.params, box, box, np.zeros(1, int))
    grey = np.full((round(1.3 * height), round(1.3 * height), 3), 90, np.uint8)
    fade = drawing.overlay_fade(model)
    pictures = [
        draw_faces(grey, verts, triangles, fade=fade).astype(float)
        for verts, triangles in (
            (one.dense_vertices, model.dense.triangles),
            (one.dense_vertices, model.dense.fewer),
            (one.vertices, model.dense.fewest),
        )
    ]
    seen = np.abs(pictures[0] - grey).max(axis=2) > 10
    for picture in pictures[1:] if height < MANY_PX else pictures[1:2]:
        error = np.abs(picture - pictures[0]).max(axis=2)[seen]
        assert error.mean() < 4
        assert np.mean(error > 25) < 0.02


def test_the_overlay_fades_at_the_rim_and_between_the_lips(faces):
    model = faces.model
    dense, fade = model.dense, drawing.overlay_fade(model)
    assert len(fade) == dense.n_vertices
    assert (fade.min(), fade.max()) == (0, 1)
    assert not fade[dense.rim].any()
    np.testing.assert_allclose(fade[dense.vertices_of(MOUTH)], drawing.MOUTH_OPACITY, atol=1e-3)
    assert len(dense.beyond) > 10
    assert not fade[dense.beyond].any()
    assert not np.isin(dense.beyond, dense.triangles).any()
    inside = np.setdiff1d(dense.fewest, dense.beyond)
    middle = np.abs(model.mean_face[inside, 0]) < 40_000
    eyes_and_lips = middle & (np.abs(model.mean_face[inside, 1] + 5_000) < 50_000)
    assert fade[inside[eyes_and_lips]].min() == 1
    assert 0.7 < fade[np.unique(dense.triangles)].mean() < 0.95
