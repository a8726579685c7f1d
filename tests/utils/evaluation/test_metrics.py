"""Scores by hand, against the published system to the letter, and at their edges."""

import json

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from synergynet.geometry.crop import crop_to_photo
from synergynet.geometry.pose import Pose, compose_rotation, decode_pose
from utils.evaluation import metrics


def photo_fit(reference) -> np.ndarray:
    """The reference's predictions in photo coordinates, (64, 2, 68)."""
    return crop_to_photo(reference.arrays["metric_fit"], reference.arrays["metric_roi_box"])


def test_nme_equals_the_published_system(reference):
    nme = metrics.landmark_nme(photo_fit(reference), reference.arrays["metric_gt"])
    np.testing.assert_allclose(nme, reference.arrays["metric_nme"], atol=1e-5)
    reannotated = reference.arrays["metric_gt"][:, :2] + 1
    nme = metrics.landmark_nme(photo_fit(reference), reannotated)
    np.testing.assert_allclose(nme, reference.arrays["metric_nme_re"], atol=1e-5)


def test_nme_report_equals_the_published_system_to_the_letter(reference):
    report = metrics.yaw_bin_report(reference.arrays["metric_nme"], reference.arrays["metric_yaw"])
    assert report == reference.facts["nme_message"]
    assert report.startswith("\nFacial Alignment")


def test_pose_report_equals_the_published_system_to_the_letter(reference, tiny_morphable):
    params_w = reference.tensor("metric_params")
    params = params_w * tiny_morphable.param_std + tiny_morphable.param_mean
    rows = np.setdiff1d(np.arange(len(params)), reference.arrays["metric_pose_skip"])
    pose = decode_pose(params[rows], "published")
    report = metrics.format_pose_mae(
        metrics.summarise_pose(metrics.pose_errors(pose, reference.arrays["metric_pose_gt"]))
    )
    assert report == f"Face orientation estimation:\n{reference.facts['pose_message']}"


def test_nme_by_hand_on_a_box_that_is_not_square():
    truth = np.zeros((1, 3, 68))
    truth[0, :2, 1] = 160, 40  # the tight box: sqrt(160 * 40) = 80
    pred = truth[:, :2].copy()
    pred[0, 0, :34] += 3
    pred[0, 1, :34] -= 4  # half of the points 5 px off
    before = pred.copy(), truth.copy()
    assert metrics.landmark_nme(pred, truth) == pytest.approx([2.5 / 80])
    np.testing.assert_array_equal(pred, before[0])
    np.testing.assert_array_equal(truth, before[1])


def test_nme_ignores_z():
    rng = np.random.default_rng(0)
    pred, truth = rng.normal(size=(2, 4, 3, 68))
    np.testing.assert_array_equal(
        metrics.landmark_nme(pred, truth), metrics.landmark_nme(pred[:, :2], truth[:, :2])
    )


def test_aflw_points_lie_in_the_plane():
    landmarks = np.random.default_rng(0).normal(size=(2, 3, 68))
    points = metrics.aflw_points(landmarks)
    assert points.shape == (2, 2, 21)
    np.testing.assert_array_equal(points[:, :, -1], landmarks[:, :2, 8])  # the chin


def test_nme_refuses_other_counts():
    with pytest.raises(ValueError, match="differ in shape"):
        metrics.landmark_nme(np.zeros((4, 2, 68)), np.zeros((5, 3, 68)))


def test_bins_are_closed_above_and_yaw_is_not_unwrapped():
    yaw = np.array([0, 30, -30, 30.001, 60, -60.001, -351])
    nme = np.array([1, 2, 3, 10, 20, 100, 300]) / 100
    summary = metrics.summarise_nme(nme, yaw)
    assert [summary[b] for b in metrics.YAW_BINS_DEG] == pytest.approx([2, 15, 200])
    assert summary["mean"] == pytest.approx((2 + 15 + 200) / 3)
    assert summary["std"] == pytest.approx(np.std([2, 15, 200]))
    assert summary["bin_std"]["30-60"] == pytest.approx(5)  # population
    assert summary["bin_images"] == {"0-30": 3, "30-60": 2, "60-90": 2}
    assert summary["image_mean"] == pytest.approx(436 / 7)


def test_an_empty_bin_is_null_and_prints():
    summary = metrics.summarise_nme(np.array([0.02, 0.04]), np.array([5, 80]))
    assert summary["30-60"] is None
    assert summary["bin_std"]["30-60"] is None
    assert summary["mean"] == pytest.approx(3)
    json.dumps(summary, allow_nan=False)
    assert "[30, 60]\tMean: nan, Std: nan\n" in metrics.format_nme(summary)


@pytest.mark.parametrize(("nme", "yaw"), [([], []), ([0.1], [1, 2])])
def test_summary_refuses_nothing_and_other_lengths(nme, yaw):
    with pytest.raises(ValueError, match="errors and"):
        metrics.summarise_nme(np.array(nme), np.array(yaw))


def test_pose_mae_by_hand():
    predicted = Pose(
        yaw=torch.tensor([10.0, 20.0]), pitch=torch.tensor([1.0, 1.0]), roll=torch.zeros(2)
    )
    truth = np.array([[2, 10, 0], [-2, 26, -1]])  # pitch, yaw, roll
    mae = metrics.summarise_pose(metrics.pose_errors(predicted, truth))
    assert mae == {"yaw": 3, "pitch": 2, "roll": 0.5, "mean": 5.5 / 3, "images": 2}


def test_pose_mae_refuses_other_counts():
    with pytest.raises(ValueError, match="differ in shape"):
        metrics.pose_errors(Pose(*torch.zeros(3, 4)), np.zeros((5, 3)))


# ---------------------------------------------------------------- against plain loops, float64


def random_landmarks(count: int, points: int = 68) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    truth = rng.uniform(50, 350, (count, 3, points))
    return truth + rng.normal(0, 8, truth.shape), truth


def test_landmark_errors_equal_a_plain_loop():
    pred, truth = random_landmarks(5)
    errors_2d = metrics.landmark_errors(pred[:, :2], truth[:, :2])
    nme, nme_3d = metrics.landmark_nme(pred, truth), metrics.landmark_nme_3d(pred, truth)
    for i in range(5):
        xs, ys = truth[i, 0], truth[i, 1]
        size = ((max(xs) - min(xs)) * (max(ys) - min(ys))) ** 0.5
        depth_pred, depth_truth = sum(pred[i, 2]) / 68, sum(truth[i, 2]) / 68
        total_2d = total_3d = 0.0
        for k in range(68):
            dx, dy = pred[i, 0, k] - xs[k], pred[i, 1, k] - ys[k]
            dz = (pred[i, 2, k] - depth_pred) - (truth[i, 2, k] - depth_truth)
            distance = (dx * dx + dy * dy) ** 0.5
            assert errors_2d[i, k] == pytest.approx(distance / size)
            total_2d += distance
            total_3d += (dx * dx + dy * dy + dz * dz) ** 0.5
        assert nme[i] == pytest.approx(total_2d / 68 / size)
        assert nme_3d[i] == pytest.approx(total_3d / 68 / size)


def test_bin_summary_equals_a_plain_loop():
    rng = np.random.default_rng(4)
    nme, yaw = rng.gamma(2, 0.02, 200), rng.uniform(-95, 95, 200)
    bins: list[list[float]] = [[], [], []]
    for error, angle in zip(nme, yaw, strict=True):
        bins[0 if abs(angle) <= 30 else 1 if abs(angle) <= 60 else 2].append(100 * error)
    means = [sum(values) / len(values) for values in bins]
    summary = metrics.summarise_nme(nme, yaw)
    assert [summary[name] for name in metrics.YAW_BINS_DEG] == pytest.approx(means)
    assert summary["mean"] == pytest.approx(sum(means) / 3)
    variance = sum((m - sum(means) / 3) ** 2 for m in means) / 3
    assert summary["std"] == pytest.approx(variance**0.5)


def test_pose_summary_equals_a_plain_loop():
    rng = np.random.default_rng(5)
    truth, found = rng.uniform(-90, 90, (2, 30, 3))
    pose = Pose(yaw=found[:, 1], pitch=found[:, 0], roll=found[:, 2])
    totals = [0.0, 0.0, 0.0]
    for i in range(30):
        for axis in range(3):
            totals[axis] += abs(found[i, axis] - truth[i, axis])
    mae = metrics.summarise_pose(metrics.pose_errors(pose, truth))
    assert [mae["pitch"], mae["yaw"], mae["roll"]] == pytest.approx([t / 30 for t in totals])


def test_rotation_error_is_the_angle_of_the_turn_between():
    rng = np.random.default_rng(6)
    truth = rng.uniform(-80, 80, (50, 3))
    pitch, yaw, roll = torch.from_numpy(truth.T)
    rotation = compose_rotation(Pose(yaw, pitch, roll))  # (50, 3, 3)
    axes = rng.normal(size=(50, 3))
    turns_deg = rng.uniform(0, 180, 50)
    turns_deg[:3] = 0, 1e-6, 180
    vectors = np.radians(turns_deg)[:, None] * axes / np.linalg.norm(axes, axis=1)[:, None]
    turned = torch.stack(
        [
            torch.from_numpy(Rotation.from_rotvec(vector).as_matrix()) @ matrix
            for vector, matrix in zip(vectors, rotation, strict=True)
        ]
    )
    np.testing.assert_allclose(metrics.rotation_errors(turned, truth), turns_deg, atol=1e-6)


def test_rotation_error_does_not_care_for_scale():
    rotation = compose_rotation(Pose(*torch.tensor([[20.0], [10.0], [5.0]])))
    assert metrics.rotation_errors(3 * rotation, np.array([[10, 20, 5]])) == pytest.approx(
        0, abs=1e-4
    )


def test_face_error_equals_the_vertices_distance():
    rng = torch.Generator().manual_seed(0)
    pred, truth = torch.randn(2, 4, 10, generator=rng, dtype=torch.float64)
    basis = 1000 * torch.randn(3 * 30, 10, generator=rng, dtype=torch.float64)  # micrometres
    errors = metrics.face_errors(pred, truth, basis)
    for i in range(4):
        total = 0.0
        for vertex in range(30):
            for axis in range(3):
                row = basis[3 * vertex + axis]
                total += float(row @ pred[i] - row @ truth[i]) ** 2
        assert errors[i] == pytest.approx((total / 30) ** 0.5 / 1000)


def test_aflw_points_are_ends_and_middles():
    landmarks = np.zeros((1, 2, 68))
    landmarks[0, 0] = np.arange(68)
    found = metrics.aflw_points(landmarks)[0, 0].tolist()
    brows, eyes = [17, 19, 21, 22, 24, 26], [36, 38.5, 39, 42, 44.5, 45]
    assert found == [*brows, *eyes, 2, 31, 30, 35, 14, 48, 64, 54, 8]


def test_aflw_nme_equals_a_plain_loop_over_visible_points():
    pred, truth = (points[:, :2] for points in random_landmarks(6, metrics.N_AFLW))
    hidden = np.random.default_rng(7).random((6, metrics.N_AFLW)) < 0.4
    truth = np.where(hidden[:, None], -1, truth)
    errors = metrics.aflw_nme(pred, truth)
    for i in range(6):
        seen = [k for k in range(metrics.N_AFLW) if not hidden[i, k]]
        xs, ys = [truth[i, 0, k] for k in seen], [truth[i, 1, k] for k in seen]
        size = ((max(xs) - min(xs)) * (max(ys) - min(ys))) ** 0.5
        total = 0.0
        for k in seen:
            dx, dy = pred[i, 0, k] - truth[i, 0, k], pred[i, 1, k] - truth[i, 1, k]
            total += (dx * dx + dy * dy) ** 0.5
        assert errors[i] == pytest.approx(total / len(seen) / size)


@pytest.mark.parametrize(
    ("angle", "wrapped"), [(0, 0), (350, -10), (-351, 9), (180, -180), (540, -180)]
)
def test_wrapped_degrees(angle, wrapped):
    assert metrics.wrap_degrees(angle) == wrapped
