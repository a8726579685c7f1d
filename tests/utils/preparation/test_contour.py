"""The outline of posed faces: where it starts, what it is, and that it is the one that is seen."""

import dataclasses

import cv2
import numpy as np
import pytest

from model_building import load_morphable
from synergynet.drawing.rasterize import rasterize
from synergynet.face_model import MorphableModel
from synergynet.geometry.pose import Pose, compose_rotation
from utils.data.folders import OPEN_FOLDER
from utils.data.landmark_model import LandmarkModel
from utils.preparation.contour import JawCurves

OUTLINE_MM = 2.5  # points of a curve lie 3 mm apart, and its way down the cheek is ours


@pytest.fixture(scope="module")
def morphable() -> MorphableModel:
    return load_morphable(OPEN_FOLDER)


@pytest.fixture(scope="module")
def curves(morphable) -> JawCurves:
    return JawCurves.of(morphable)


def rotation(yaw_deg: float) -> np.ndarray:
    return compose_rotation(Pose(*(np.float64(angle) for angle in (yaw_deg, 0, 0))))


def test_curves_begin_at_the_landmarks_and_stay_on_the_face(morphable, curves):
    model = LandmarkModel.of(morphable)
    np.testing.assert_allclose(curves.mean[:, 0], model.mean[:17])
    basis = np.concatenate([model.shp, model.expr], axis=2)[:17]
    np.testing.assert_allclose(curves.basis[:, 0], basis)
    verts = morphable.mean_face.double().numpy()
    for point in curves.mean.reshape(-1, 3):
        assert np.linalg.norm(verts - point, axis=1).min() < 10e3  # micrometres


def test_points_move_with_the_triangles_they_lie_on(morphable, curves):
    """A curve of another face is made of its own vertices: all coefficients moved alike."""
    steps = np.linalg.norm(np.diff(curves.mean, axis=1), axis=2)  # (17, S - 1)
    moved = curves.mean + curves.basis @ np.full(50, 0.5)
    ratio = np.linalg.norm(np.diff(moved, axis=1), axis=2).sum(1) / steps.sum(1)
    assert (np.abs(ratio - 1) < 0.3).all()


def test_left_and_right_are_mirror_images(curves):
    """Nearly: the mean face is not its own mirror image to the last micrometre."""
    mirrored = curves.mean[::-1] * (-1, 1, 1)
    np.testing.assert_allclose(curves.mean, mirrored, atol=4e3)
    np.testing.assert_allclose(curves.outward, curves.outward[::-1] * (-1, 1), atol=0.02)
    for yaw in (20, 45, 70):
        left = curves.outermost(curves.mean, rotation(yaw))
        right = curves.outermost(curves.mean, rotation(-yaw))
        assert np.abs(left - right[::-1]).max() <= 3


def test_from_the_front_and_on_the_near_side_the_outline_is_the_bone(curves):
    assert (curves.outermost(curves.mean, rotation(0)) == 0).all()
    assert (curves.outermost(curves.mean, rotation(45))[9:] == 0).all()
    assert (curves.outermost(curves.mean, rotation(45))[:5] > 5).all()
    assert (curves.outermost(curves.mean, rotation(-45))[:8] == 0).all()


@pytest.mark.parametrize("yaw_deg", [20, 30, 45, -20, -30, -45])
def test_the_outline_is_the_edge_of_what_is_drawn(morphable, curves, yaw_deg):
    """In rows of the cheek, on the far side; beyond 50 degrees the nose is the edge."""
    verts = morphable.mean_face.double().numpy() @ rotation(yaw_deg).T / 1e3  # mm
    placed = verts * (2, -2, 2) + (250, 250, 0)  # half a millimetre a px
    _, depth = rasterize(placed, morphable.triangles, np.zeros_like(verts), 500, 500)
    shown = cv2.morphologyEx(np.isfinite(depth).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5)))
    steps = curves.outermost(curves.mean, rotation(yaw_deg))
    outline = curves.mean[np.arange(17), steps] @ rotation(yaw_deg).T / 1e3
    for x, y, _ in outline[[2, 3, 4, 5] if yaw_deg > 0 else [14, 13, 12, 11]]:
        columns = shown[round(250 - 2 * y)].nonzero()[0]
        edge = (columns.min() if yaw_deg > 0 else columns.max() + 1) / 2 - 125
        assert abs(edge - x) < OUTLINE_MM


def test_turning_the_picture_changes_nothing(curves):
    turn = rotation(40)
    angle = np.deg2rad(70)
    roll = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0]])
    rolled = np.vstack([roll, [0, 0, 1]]) @ turn
    np.testing.assert_array_equal(
        curves.outermost(curves.mean, rolled), curves.outermost(curves.mean, turn)
    )


def test_a_model_without_triangles_has_none(morphable):
    with pytest.raises(ValueError, match="no triangles"):
        JawCurves.of(dataclasses.replace(morphable, triangles=None))
