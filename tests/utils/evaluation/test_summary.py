"""What a report says of known errors, and of what a model does not predict."""

import numpy as np
import pytest

from utils.evaluation.errors import image_errors, read_truth
from utils.evaluation.sources import read_predictions
from utils.evaluation.summary import compare, summarise

COUNT = 6  # of conftest.py's test set
SKIPPED = [1, 4]


def test_a_file_of_the_labels_has_no_error(crops, write_predictions, face_model):
    angles = np.zeros((COUNT, 3))
    angles[crops.labels.pose_rows] = crops.labels.pose_deg
    path = write_predictions(landmarks=crops.labels.landmarks, angles_deg=angles)
    errors = image_errors(
        read_predictions(path, crops, face_model).predict(), read_truth(crops, face_model)
    )
    result = summarise(errors, crops.labels)
    assert result["nme"]["mean"] == result["nme_3d"]["mean"] == 0
    assert result["pose_mae"]["mean"] == pytest.approx(0, abs=1e-5)
    assert result["rotation"]["mean"] == pytest.approx(0, abs=1e-5)
    assert result["pose_mae"]["images"] == COUNT - len(SKIPPED)


def test_landmarks_in_the_plane_have_no_3d_error_and_no_pose(crops, write_predictions, face_model):
    path = write_predictions(landmarks=crops.labels.landmarks[:, :2] + 1)
    errors = image_errors(
        read_predictions(path, crops, face_model).predict(), read_truth(crops, face_model)
    )
    result = summarise(errors, crops.labels)
    assert result["nme"]["image_mean"] > 0
    assert result["nme_3d"] is None
    assert result["pose_mae"] is None
    assert result["rotation"] is None


def test_angles_alone_have_no_landmark_error(crops, write_predictions, face_model):
    path = write_predictions(angles_deg=np.zeros((COUNT, 3)))
    errors = image_errors(
        read_predictions(path, crops, face_model).predict(), read_truth(crops, face_model)
    )
    result = summarise(errors, crops.labels)
    assert result["nme"] is None
    expected = np.abs(crops.labels.pose_deg).mean()
    assert result["pose_mae"]["mean"] == pytest.approx(expected)


def test_comparison_of_two_models(crops, write_predictions, face_model):
    rng = np.random.default_rng(0)
    errors = []
    for noise in (1, 20):
        noisy = crops.labels.landmarks + rng.normal(0, noise, crops.labels.landmarks.shape)
        path = write_predictions(str(noise), landmarks=noisy)
        source = read_predictions(path, crops, face_model)
        errors.append(image_errors(source.predict(), read_truth(crops, face_model)))
    result = compare(*errors, crops.labels)
    means = [summarise(e, crops.labels)["nme"]["mean"] for e in errors]
    assert result["nme"]["difference"] == pytest.approx(means[0] - means[1])
    low, high = result["nme"]["difference_95"]
    assert low < result["nme"]["difference"] < high < 0
    assert result["nme"]["p_value"] == pytest.approx(2 / 2**COUNT, abs=0.02)  # all signs alike
    assert result["pose_mae_exact"] is None
    same = compare(errors[0], errors[0], crops.labels)
    assert same["nme"]["p_value"] == 1
