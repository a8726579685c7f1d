"""Each convention pinned by hand-computed cases, by its project's formulas, and by OpenCV."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
import torch

from synergynet.geometry.conventions import CONVENTIONS, convert
from synergynet.geometry.pose import Pose, compose_rotation

QUARTER = np.pi / 2


def turn(axis: str, angle: float) -> np.ndarray:
    """Right-handed turn about an axis, radians, float64."""
    c, s = np.cos(angle), np.sin(angle)
    return {
        "x": np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        "y": np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        "z": np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[axis]


def random_rotations(count: int) -> torch.Tensor:
    """(N, 3, 3) float64, all over SO(3)."""
    generator = torch.Generator().manual_seed(0)
    matrices, _ = torch.linalg.qr(
        torch.randn(count, 3, 3, generator=generator, dtype=torch.float64)
    )
    return matrices * torch.linalg.det(matrices)[:, None, None]


def of(convention: str, rotation: np.ndarray) -> np.ndarray:
    return CONVENTIONS[convention].from_rotation(torch.from_numpy(rotation)).numpy()


# R of a head that looks up, to the picture's left, and tilts clockwise, by 90 degrees
LOOKS_UP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
LOOKS_LEFT = np.array([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]])
TILTS = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])


def test_the_signs_mean_what_the_docstring_says():
    """The nose is (0, 0, 1) and the top of the head (0, 1, 0) of the head's frame."""
    np.testing.assert_array_equal(LOOKS_UP @ [0, 0, 1], [0, 1, 0])
    np.testing.assert_array_equal(LOOKS_LEFT @ [0, 0, 1], [-1, 0, 0])
    np.testing.assert_array_equal(TILTS @ [0, 1, 0], [1, 0, 0])


@pytest.mark.parametrize(
    ("rotation", "expected"),
    [
        (
            LOOKS_UP,
            {
                "300w-lp": [QUARTER, 0, 0],
                "fsa-net": [0, 90, 0],
                "3ddfa": [0, -90, 0],
                "6drepnet": [[1, 0, 0], [0, 0, -1], [0, 1, 0]],
                "opencv": [QUARTER, 0, 0],
            },
        ),
        (
            TILTS,
            {
                "300w-lp": [0, 0, QUARTER],
                "fsa-net": [0, 0, 90],
                "3ddfa": [0, 0, -90],
                "6drepnet": [[0, -1, 0], [1, 0, 0], [0, 0, 1]],
                "opencv": [np.pi / np.sqrt(2), np.pi / np.sqrt(2), 0],
            },
        ),
        (
            np.eye(3),
            {
                "300w-lp": [0, 0, 0],
                "fsa-net": [0, 0, 0],
                "3ddfa": [0, 0, 0],
                "6drepnet": np.eye(3),
                "opencv": [np.pi, 0, 0],
                "opengl": np.eye(4),
                "mediapipe": np.eye(4),
            },
        ),
    ],
)
def test_single_axis_cases_by_hand(rotation, expected):
    for convention, numbers in expected.items():
        got = of(convention, rotation)
        if convention == "opencv" and np.isclose(np.linalg.norm(got), np.pi):
            got = got * np.sign(got[0])  # half a turn about an axis and about its opposite
        np.testing.assert_allclose(got, numbers, atol=1e-9, err_msg=convention)


@pytest.mark.parametrize("yaw_deg", [-60.0, 30.0])
def test_yaw_alone_by_hand(yaw_deg):
    """All but OpenCV's agree on the sign of a pure yaw."""
    s, c = np.sin(np.deg2rad(yaw_deg)), np.cos(np.deg2rad(yaw_deg))
    rotation = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    np.testing.assert_allclose(of("300w-lp", rotation), [0, np.deg2rad(yaw_deg), 0], atol=1e-12)
    np.testing.assert_allclose(of("fsa-net", rotation), [yaw_deg, 0, 0], atol=1e-9)
    np.testing.assert_allclose(of("3ddfa", rotation), [yaw_deg, 0, 0], atol=1e-9)
    np.testing.assert_allclose(of("6drepnet", rotation), [[c, 0, s], [0, 1, 0], [-s, 0, c]])
    np.testing.assert_allclose(of("opengl", rotation)[:3, :3], rotation)


def test_composite_case_by_each_projects_formulas():
    pitch, yaw, roll = 0.3, -0.7, 0.2
    rotation = turn("x", -pitch) @ turn("y", -yaw) @ turn("z", -roll)
    np.testing.assert_allclose(of("300w-lp", rotation), [pitch, yaw, roll])
    np.testing.assert_allclose(of("fsa-net", rotation), np.rad2deg([yaw, pitch, roll]))
    expected = turn("z", roll) @ turn("y", yaw) @ turn("x", pitch)  # its training target
    np.testing.assert_allclose(of("6drepnet", rotation), expected)
    r = rotation
    angles = [np.arcsin(r[2, 0]), np.arctan2(r[2, 1], r[2, 2]), np.arctan2(r[1, 0], r[0, 0])]
    np.testing.assert_allclose(of("3ddfa", rotation), np.rad2deg(angles))
    assert abs(angles[0] - yaw) > 0.01  # not 300W-LP's yaw
    rvec, _ = cv2.Rodrigues(np.diag([1.0, -1, -1]) @ rotation)
    np.testing.assert_allclose(of("opencv", rotation), rvec[:, 0])


def test_opencv_projects_a_turned_head_where_weak_perspective_does():
    """cv2.projectPoints from far away against R itself, y down in the picture."""
    rotation = random_rotations(1)[0].numpy()
    points = np.random.default_rng(0).normal(size=(20, 3))
    distance = 1e6
    camera = np.diag([distance, distance, 1])
    rvec, tvec = of("opencv", rotation), np.array([0, 0, distance])
    projected, _ = cv2.projectPoints(points, rvec, tvec, camera, None)
    expected = (points @ rotation.T)[:, :2] * [1, -1]
    np.testing.assert_allclose(projected[:, 0], expected, atol=1e-4)


def test_every_pair_of_conventions_round_trips():
    rotations = random_rotations(50)
    for first, second in itertools.product(CONVENTIONS, repeat=2):
        numbers = CONVENTIONS[first].from_rotation(rotations)
        back = CONVENTIONS[second].to_rotation(convert(numbers, first, second))
        torch.testing.assert_close(back, rotations, atol=1e-9, rtol=0, msg=f"{first} to {second}")


@pytest.mark.parametrize("yaw_deg", [-90.0, 90.0])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_gimbal_lock_keeps_the_rotation(convention, yaw_deg):
    angles = (torch.tensor([a], dtype=torch.float64) for a in (yaw_deg, 25.0, 10.0))
    for rotation in (compose_rotation(Pose(*angles)), torch.from_numpy(LOOKS_LEFT)[None]):
        for turned in (rotation, rotation.mT):
            numbers = CONVENTIONS[convention].from_rotation(turned)
            assert numbers.isfinite().all()
            back = CONVENTIONS[convention].to_rotation(numbers)
            torch.testing.assert_close(back, turned, atol=1e-9, rtol=0)


def test_scale_and_translation_of_a_facial_transformation_are_dropped():
    rotation = random_rotations(1)[0]
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[:3, :3], matrix[:3, 3] = 1.3 * rotation, torch.tensor([1.0, 2, -40])
    torch.testing.assert_close(CONVENTIONS["mediapipe"].to_rotation(matrix), rotation)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_batches_equal_single_rotations_and_keep_their_dtype(convention):
    rotations = random_rotations(6).float().reshape(2, 3, 3, 3)
    batch = CONVENTIONS[convention].from_rotation(rotations)
    assert batch.shape == (2, 3, *CONVENTIONS[convention].shape)
    assert batch.dtype == torch.float32
    single = CONVENTIONS[convention].from_rotation(rotations[1, 2])
    torch.testing.assert_close(batch[1, 2], single)
    assert CONVENTIONS[convention].to_rotation(batch).shape == rotations.shape


def test_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"opengl: numbers of shape \(3,\)"):
        convert(torch.zeros(3), "opengl", "opencv")
