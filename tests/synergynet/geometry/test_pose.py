"""Angles: reference vectors, single-axis pins, round trips, poles, and real labels."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.io
import torch

from synergynet.geometry import pose
from synergynet.geometry.camera import compose_camera, decompose_camera
from synergynet.geometry.parameters import N_POSE
from synergynet.geometry.pose import Pose

# the published code computes in float32 before its angles become float64
PUBLISHED_TOLERANCE_DEG = 1e-4
EXACT_TOLERANCE_DEG = 1e-4


def random_pose(count: int, limit_deg: float = 89.0) -> Pose:
    generator = torch.Generator().manual_seed(0)
    angles = torch.rand(3, count, generator=generator, dtype=torch.float64) * 2 - 1
    return Pose(*(angles * limit_deg))


def as_params(rotation: torch.Tensor, scale: float = 5e-4) -> torch.Tensor:
    translation = torch.tensor([60.0, 61.0, -66.0], dtype=rotation.dtype).expand(len(rotation), 3)
    scales = torch.full((len(rotation),), scale, dtype=rotation.dtype)
    return compose_camera(scales, rotation, translation).reshape(-1, N_POSE)


def test_published_angles_match_the_reference(reference, tiny_morphable):
    params = reference.tensor("helper_params") * tiny_morphable.param_std
    decoded = pose.decode_pose(params + tiny_morphable.param_mean, "published")
    angles = torch.stack(decoded, dim=1).double().numpy()  # yaw, pitch, roll
    error = np.abs(angles - reference.arrays["helper_angles"])
    assert error.max() < PUBLISHED_TOLERANCE_DEG


@pytest.mark.parametrize("axis", Pose._fields)
@pytest.mark.parametrize("angle", [-80.0, -30.0, 10.0, 80.0])
def test_single_axis_rotations_decode_to_that_axis(axis, angle):
    zeros = dict.fromkeys(Pose._fields, torch.zeros(1, dtype=torch.float64))
    turned = Pose(**zeros | {axis: torch.tensor([angle], dtype=torch.float64)})
    params = as_params(pose.compose_rotation(turned))
    for method in ("exact", "published"):
        decoded = pose.decode_pose(params, method)
        for name in Pose._fields:
            assert getattr(decoded, name).item() == pytest.approx(
                angle if name == axis else 0.0, abs=1e-9
            )


def test_axes_turn_the_way_the_convention_says():
    """Signs by hand: Rx, Ry, Rz of 300W-LP at 90 degrees."""
    right = torch.tensor([90.0], dtype=torch.float64)
    zero = torch.zeros_like(right)
    expected = {
        "pitch": [[1, 0, 0], [0, 0, 1], [0, -1, 0]],
        "yaw": [[0, 0, -1], [0, 1, 0], [1, 0, 0]],
        "roll": [[0, 1, 0], [-1, 0, 0], [0, 0, 1]],
    }
    for axis, matrix in expected.items():
        turned = Pose(**dict.fromkeys(Pose._fields, zero) | {axis: right})
        rotation = pose.compose_rotation(turned)[0]
        torch.testing.assert_close(rotation, torch.tensor(matrix, dtype=torch.float64))


def test_compose_rotation_is_the_product_of_its_axes():
    angles = random_pose(20)
    zero = torch.zeros_like(angles.yaw)
    rx = pose.compose_rotation(Pose(zero, angles.pitch, zero))
    ry = pose.compose_rotation(Pose(angles.yaw, zero, zero))
    rz = pose.compose_rotation(Pose(zero, zero, angles.roll))
    torch.testing.assert_close(pose.compose_rotation(angles), rx @ ry @ rz)


def test_exact_decoding_inverts_composition_and_published_yaw_does_not():
    angles = random_pose(200)
    params = as_params(pose.compose_rotation(angles))
    exact = torch.stack(pose.decode_pose(params, "exact"))
    published = pose.decode_pose(params, "published")
    assert (exact - torch.stack(angles)).abs().max() < 1e-9
    assert (published.yaw - angles.yaw).abs().mean() > 1
    torch.testing.assert_close(
        torch.stack(published[1:]), torch.stack(angles[1:]), atol=1e-5, rtol=0
    )


def test_exact_decoding_holds_in_float32():
    angles = random_pose(200)
    decoded = pose.exact_angles(pose.compose_rotation(angles).float())
    assert (torch.stack(decoded) - torch.stack(angles)).abs().max() < 1e-3


@pytest.mark.parametrize("yaw", [-90.0, 90.0])
def test_exact_decoding_at_the_poles_keeps_the_rotation(yaw):
    angles = Pose(*(torch.tensor([a], dtype=torch.float64) for a in (yaw, 25.0, 10.0)))
    rotation = pose.compose_rotation(angles)
    decoded = pose.exact_angles(rotation)
    assert decoded.roll.item() == 0
    torch.testing.assert_close(pose.compose_rotation(decoded), rotation)


@pytest.mark.parametrize("short_deg", [1e-1, 1e-3, 1e-5, 2e-6])
@pytest.mark.parametrize("sign", [-1, 1])
def test_exact_angles_are_kept_as_near_90_degrees_as_rounding_allows(short_deg, sign):
    angles = Pose(*torch.tensor([sign * (90 - short_deg), 20.0, -35.0], dtype=torch.float64))
    found = pose.exact_angles(pose.compose_rotation(angles))
    atol = 1e-13 / short_deg  # degrees: rounding by 1e-16, over the cosine of the yaw
    torch.testing.assert_close(
        torch.stack(found), torch.stack(angles), rtol=0, atol=max(atol, 1e-9)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_exact_angles_give_the_rotation_back_everywhere(dtype):
    short = torch.logspace(-12, 1, 200, dtype=torch.float64)
    angles = Pose(90 - short, torch.full_like(short, 20), torch.full_like(short, -35))
    rotation = pose.compose_rotation(angles).to(dtype)
    error = (pose.compose_rotation(pose.exact_angles(rotation)) - rotation).abs().max()
    assert error < 3 * torch.finfo(dtype).eps ** 0.5


@pytest.mark.parametrize(("sign", "yaw"), [(-1.0, 90.0), (1.0, -90.0)])
def test_published_decoding_at_the_poles(sign, yaw):
    """R[2, 0] exactly -1: pitch atan2(R01, R02), yaw +90; exactly +1: both negated, yaw -90."""
    rotation = torch.tensor([[0.0, 0.6, 0.8], [0.0, 0.8, -0.6], [sign, 0.0, 0.0]])[None]
    decoded = pose.published_angles(rotation)
    pitch = np.degrees(np.arctan2(-sign * 0.6, -sign * 0.8))
    assert decoded.yaw.item() == pytest.approx(yaw)
    assert decoded.pitch.item() == pytest.approx(pitch, abs=1e-4)
    assert decoded.roll.item() == 0


def test_camera_round_trip_and_batch_of_one():
    rotation = pose.compose_rotation(random_pose(7))
    scale = torch.linspace(1e-4, 2e-3, 7, dtype=torch.float64)
    translation = torch.randn(7, 3, dtype=torch.float64)
    camera = compose_camera(scale, rotation, translation)
    for got, want in zip(decompose_camera(camera), (scale, rotation, translation), strict=True):
        torch.testing.assert_close(got, want)
    torch.testing.assert_close(decompose_camera(camera[3])[1], rotation[3])


def test_scale_is_the_mean_of_the_first_two_rows_and_the_input_is_kept():
    camera = torch.tensor([[2.0, 0, 0, 5], [0, 4.0, 0, 6], [9.0, 9, 9, 7]])
    before = camera.clone()
    scale, rotation, translation = decompose_camera(camera)
    assert scale == 3
    torch.testing.assert_close(rotation, torch.eye(3))
    assert translation.tolist() == [5, 6, 7]
    assert torch.equal(camera, before)


@pytest.mark.parametrize("camera", [torch.zeros(3, 4), torch.zeros(3, 3), torch.zeros(12)])
def test_decompose_camera_refuses(camera):
    with pytest.raises(ValueError, match="camera"):
        decompose_camera(camera)


def test_pose_labels_of_real_images(shared_folder):
    """AFLW2000's Pose_Para is pitch, yaw, roll; only the exact decoding returns it."""
    files = sorted((shared_folder / "data" / "aflw2000_samples").glob("*.mat"))
    labels = np.array([scipy.io.loadmat(f)["Pose_Para"][0, :3] for f in files], np.float64)
    pitch, yaw, roll = torch.from_numpy(np.degrees(labels.T))
    params = as_params(pose.compose_rotation(Pose(yaw, pitch, roll)))
    exact = torch.stack(pose.decode_pose(params, "exact"))
    published_yaw = pose.decode_pose(params, "published").yaw
    assert len(files) == 8
    assert (exact - torch.stack([yaw, pitch, roll])).abs().max() < EXACT_TOLERANCE_DEG
    assert (published_yaw - yaw).abs().max() > 1
