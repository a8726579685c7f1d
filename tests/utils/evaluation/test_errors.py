"""Errors of images are those of the metrics, whatever the batches; optional labels are read."""

import numpy as np
import pytest
import torch

from synergynet import fileio
from synergynet.geometry.parameters import EXPR, SHAPE
from synergynet.geometry.pose import decode_pose
from utils.data.evaluation_crops import ALL_POSE_FILE, EVAL, params_file
from utils.evaluation import metrics
from utils.evaluation.errors import image_errors, read_truth
from utils.evaluation.sources import network_source
from utils.evaluation.summary import summarise

COUNT = 6  # of conftest.py's test set
SKIPPED = [1, 4]


def test_errors_do_not_depend_on_batches(model, crops, face_model):
    truth = read_truth(crops, face_model)
    first, second = (
        image_errors(network_source(model, crops, batch_size=size).predict(), truth)
        for size in (1, 64)
    )
    np.testing.assert_allclose(first.nme, second.nme, rtol=1e-4)
    np.testing.assert_allclose(first.landmarks, second.landmarks, rtol=1e-4)
    np.testing.assert_allclose(first.rotation_deg, second.rotation_deg, rtol=1e-3)


def test_errors_are_those_of_the_metrics(model, crops, whole, face_model):
    prediction = whole(network_source(model, crops))
    errors = image_errors(network_source(model, crops).predict(), read_truth(crops, face_model))
    labels, found = crops.labels, prediction.landmarks
    np.testing.assert_allclose(errors.nme, metrics.landmark_nme(found, labels.landmarks), rtol=1e-4)
    again = metrics.landmark_nme(found, labels.reannotated)
    np.testing.assert_allclose(errors.nme_reannotated, again, rtol=1e-4)
    assert errors.landmarks.mean() == pytest.approx(errors.nme.mean())
    rows = labels.pose_rows
    pose = decode_pose(prediction.params[rows], "published")
    expected = metrics.summarise_pose(metrics.pose_errors(pose, labels.pose_deg))
    assert metrics.summarise_pose(errors.published[rows])["mean"] == pytest.approx(
        expected["mean"], rel=1e-3
    )
    assert np.isnan(errors.rotation_deg[SKIPPED]).all()


def test_missing_predictions_are_an_error(model, crops, face_model):
    with pytest.raises(RuntimeError, match="2 images scored, 6 listed"):
        image_errors(
            network_source(model, crops).predict(np.arange(2)), read_truth(crops, face_model)
        )


def test_optional_labels_are_read_where_they_are(model, crops, tmp_path, whole, face_model):
    prediction = whole(network_source(model, crops))
    pose = decode_pose(prediction.params, "exact")
    all_pose = torch.stack([pose.pitch, pose.yaw + 360, pose.roll], dim=1).numpy()
    optional = {
        ALL_POSE_FILE: all_pose,
        params_file(face_model.hash): prediction.params.numpy(),
    }
    for name, array in optional.items():
        fileio.write_array(crops.folder / EVAL / name, array)
    try:
        errors = image_errors(network_source(model, crops).predict(), read_truth(crops, face_model))
    finally:
        for name in optional:
            (crops.folder / EVAL / name).unlink()
    result = summarise(errors, crops.labels)
    assert result["pose_mae_all"]["images"] == COUNT
    assert result["pose_mae_all"]["mean"] == pytest.approx(0, abs=1e-2)  # a whole turn is nothing
    assert result["shape_mm"]["mean"] == pytest.approx(0, abs=1e-3)
    assert result["expression_mm"]["images"] == COUNT
    for name, part, basis in (
        ("shape", SHAPE, face_model.w_shp),
        ("expression", EXPR, face_model.w_exp),
    ):
        off = (prediction.params.numpy() - face_model.param_mean)[:, part] @ basis.T  # (N, 3V)
        by_hand = np.sqrt((off.reshape(COUNT, -1, 3) ** 2).sum(2).mean(1)).mean() / 1000
        assert result[f"{name}_mm"]["average_face"] == pytest.approx(by_hand, rel=1e-4)
    assert (
        summarise(
            image_errors(network_source(model, crops).predict(), read_truth(crops, face_model)),
            crops.labels,
        )["shape_mm"]
        is None
    )
