"""Scores by hand, against the published system to the letter, and at their edges."""

import json

import numpy as np
import pytest
import torch

from utils import metrics
from utils.crop import crop_to_photo
from utils.pose import Pose, decode_pose


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
    report = metrics.format_pose_mae(metrics.pose_mae(pose, reference.arrays["metric_pose_gt"]))
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
    mae = metrics.pose_mae(predicted, truth)
    assert mae == {"yaw": 3, "pitch": 2, "roll": 0.5, "mean": 5.5 / 3, "images": 2}


def test_pose_mae_refuses_other_counts():
    with pytest.raises(ValueError, match="differ in shape"):
        metrics.pose_mae(Pose(*torch.zeros(3, 4)), np.zeros((5, 3)))
