"""Heads before a pinhole camera: round trips, and a known head, seen aside, by its projection."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from synergynet.faces import Faces, decode_faces
from synergynet.geometry.camera import rotation_from_vector
from synergynet.geometry.conventions import from_opencv, to_opencv
from synergynet.geometry.parameters import IMG_SIZE, N_EXPR, N_SHAPE
from synergynet.geometry.pinhole import PUPILS_MM, Lens, to_affine, to_pinhole, turn_to_ray
from synergynet.geometry.pose import Pose, compose_rotation
from synergynet.weights import read_weights
from utils.synthetic.portrait.projection import fit_face

SHAPE_PX = (1500, 2000)
LENS = Lens.of_photo(1600.0, SHAPE_PX)
MATRIX = np.array([[1600.0, 0, 1000], [0, 1600.0, 750], [0, 0, 1]])


def rays_and_poses(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit rays (N, 3) up to 30 degrees from the axis, and rotations (N, 3, 3), model frame to
    picture frame, of heads that look up to 45 degrees past them."""
    rng = np.random.default_rng(0)
    flat = rng.uniform(-0.4, 0.4, (count, 2))
    rays = np.column_stack([flat, np.ones(count)])
    angles = rng.uniform(-1, 1, (3, count)) * [[45], [20], [20]]
    return rays / np.linalg.norm(rays, axis=1, keepdims=True), compose_rotation(Pose(*angles))


def test_the_turn_takes_the_axis_to_the_ray_by_the_shortest_way():
    rays, _ = rays_and_poses(20)
    turns = turn_to_ray(rays)
    np.testing.assert_allclose(turns[:, :, 2], rays, atol=1e-15)
    np.testing.assert_allclose(turns @ turns.mT, np.tile(np.eye(3), (20, 1, 1)), atol=1e-15)
    angle = Rotation.from_matrix(turns).magnitude()
    np.testing.assert_allclose(np.cos(angle), rays[:, 2], atol=1e-14)
    np.testing.assert_array_equal(turn_to_ray(np.array([0.0, 0, 1])), np.eye(3))


def test_affine_image_and_back():
    rays, poses = rays_and_poses(50)
    rng = np.random.default_rng(1)
    rotation = rotation_from_vector(to_opencv(poses))
    centroid, focal = rng.normal(0, 0.3, (50, 3)), rng.uniform(500, 3000, 50)
    translation = rays * rng.uniform(6, 30, (50, 1))
    found = to_pinhole(*to_affine(rotation, translation, centroid, focal), centroid, focal)
    np.testing.assert_allclose(found[0], rotation, atol=1e-13)
    np.testing.assert_allclose(found[1], translation, rtol=1e-13)


def test_on_the_axis_the_rotation_stays():
    _, poses = rays_and_poses(5)
    rotation = rotation_from_vector(to_opencv(poses))
    zero, focal = np.zeros((5, 3)), np.full(5, 900.0)
    found, translation = to_pinhole(30 * rotation[:, :2], zero[:, :2], zero, focal)
    np.testing.assert_allclose(found, rotation, atol=1e-14)
    np.testing.assert_allclose(translation, np.tile([0, 0, 30.0], (5, 1)), rtol=1e-14)


# ---------------------------------------------------------------- a known head


@pytest.fixture(scope="module")
def model():
    return read_weights().face_model


def head_mm(model) -> np.ndarray:
    """The mean face's landmarks (68, 3), its pupils PUPILS_MM apart, the origin between them."""
    points = model.mean_face[model.landmark_vertices].astype(np.float64)
    right, left = points[36:42].mean(0), points[42:48].mean(0)
    return PUPILS_MM * (points - (right + left) / 2) / np.linalg.norm(right - left)


def look(model, head: np.ndarray, rvec: np.ndarray, tvec_mm: np.ndarray) -> Faces:
    """The face that a perfect weak-perspective network sees of a head before the camera."""
    image, _ = cv2.projectPoints(head, rvec, tvec_mm, MATRIX, None)
    image = image[:, 0]  # (68, 2)
    middle, side = image.mean(0), 1.6 * np.ptp(image, axis=0).max()
    box = np.concatenate([middle - side / 2, middle + side / 2])
    crop = (image - box[:2]) * IMG_SIZE / side
    crop[:, 1] = IMG_SIZE + 1 - crop[:, 1]  # y up
    verts = model.mean_face[model.landmark_vertices].astype(np.float64)
    scale = np.ptp(crop, axis=0).max() / np.ptp(verts, axis=0).max()
    start = scale * from_opencv(rvec)
    camera, _ = fit_face(verts, np.zeros((68, 3, 0)), np.zeros(0), crop, start, rounds=10)
    params = np.concatenate([camera[:3].ravel(), np.zeros(N_SHAPE + N_EXPR)])[None]
    return decode_faces(model, params.astype(np.float32), box[None], box[None], np.array([0]))


def angle_deg(rvec: np.ndarray, other: np.ndarray) -> float:
    turn = Rotation.from_rotvec(rvec).inv() * Rotation.from_rotvec(other)
    return float(np.degrees(turn.magnitude()))


@pytest.mark.parametrize(("distance_mm", "most_deg", "most_percent"), [(700, 3, 3), (3000, 1.5, 1)])
def test_a_head_beside_the_middle_is_found_where_it_is(model, distance_mm, most_deg, most_percent):
    """At 700 mm the head is not small before its distance, which is what remains."""
    head = head_mm(model)
    rays, poses = rays_and_poses(40)
    errors, before, aside = [], [], []
    for ray, pose in zip(rays, poses, strict=True):
        rotation = turn_to_ray(ray) @ rotation_from_vector(to_opencv(pose))
        rvec, tvec_mm = cv2.Rodrigues(rotation)[0][:, 0], distance_mm * ray
        faces = look(model, head, rvec, tvec_mm)
        found = faces.metric_pose(LENS)
        off = np.linalg.norm(found.tvec_mm[0] - tvec_mm) / distance_mm
        errors.append((angle_deg(found.rvec[0], rvec), 100 * off))
        seen = to_opencv(faces.rotations.astype(np.float64))[0]
        before.append(angle_deg(seen, rvec))
        aside.append(np.degrees(np.arccos(ray[2])))
    errors = np.array(errors)
    assert errors[:, 0].mean() < most_deg / 2
    assert errors[:, 0].max() < most_deg
    assert errors[:, 1].max() < most_percent
    np.testing.assert_allclose(before, aside, atol=5)  # what was to be corrected


def test_the_angles_are_those_of_the_corrected_rotation(model):
    head = head_mm(model)
    rvec = to_opencv(compose_rotation(Pose(*np.array([20.0, -5, 3]))))
    found = look(model, head, rvec, np.array([700.0, -200, 2500])).metric_pose(LENS)
    np.testing.assert_allclose(np.array(found.angles)[:, 0], [20, -5, 3], atol=1)


def test_opencv_projects_the_head_onto_its_landmarks(model):
    head = head_mm(model)
    rvec = to_opencv(compose_rotation(Pose(*np.array([-30.0, 10, 5]))))
    faces = look(model, head, rvec, np.array([900.0, 300, 3000]))
    found = faces.metric_pose(LENS)
    np.testing.assert_allclose(PUPILS_MM * faces.landmarks_head[0].T, head, atol=0.01)
    image, _ = cv2.projectPoints(
        PUPILS_MM * faces.landmarks_head[0].T, found.rvec[0], found.tvec_mm[0], MATRIX, None
    )
    size = np.ptp(faces.landmarks[0, 1])
    assert np.abs(image[:, 0].T - faces.landmarks[0, :2]).max() < 0.03 * size
    expected = LENS.focal_px * PUPILS_MM / np.linalg.norm(found.tvec_mm[0])
    assert faces.head_unit_px[0] == pytest.approx(expected, rel=0.1)  # 1 / cos of the ray


def test_each_face_may_have_its_own_lens(model):
    head = head_mm(model)
    faces = look(model, head, np.array([np.pi, 0, 0]), np.array([300.0, 0, 2000]))
    two = faces[np.array([0, 0])]
    lens = Lens(np.array([1600.0, 800.0]), np.array([[1000.0, 750], [0, 0]]))
    both = two.metric_pose(lens)
    for row, own in enumerate((LENS, Lens(800.0, (0.0, 0.0)))):
        one = faces.metric_pose(own)
        np.testing.assert_allclose(both.rvec[row], one.rvec[0], atol=1e-12)
        np.testing.assert_allclose(both.tvec_mm[row], one.tvec_mm[0], rtol=1e-12)
