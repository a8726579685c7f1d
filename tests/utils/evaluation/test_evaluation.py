"""Predictions of networks and of files become errors: known answers, flips, refined landmarks."""

from pathlib import Path

import numpy as np
import pytest
import torch

from model_building import SynergyNet, build_model
from synergynet import fileio
from synergynet.geometry.crop import crop_to_photo
from synergynet.geometry.mirror import mirror_landmarks, mirror_params
from synergynet.geometry.pose import compose_rotation, decode_pose
from utils.data.ddfa import (
    ALL_POSE_FILE,
    CROPS,
    EVAL,
    EvaluationCrops,
    EvaluationLabels,
    params_file,
    preprocess,
    write_labels,
)
from utils.data.mirror import derive_mirror
from utils.evaluation import evaluation, metrics
from utils.evaluation.evaluation import (
    compare,
    image_errors,
    network_source,
    read_predictions,
    read_truth,
    summarise,
)

COUNT = 6
SKIPPED = [1, 4]
WHITENED_TOLERANCE = 1e-3  # batch norm folded into convolutions: other rounding


@pytest.fixture(scope="module")
def model(tiny_morphable) -> SynergyNet:
    torch.manual_seed(0)
    model = build_model("mobilenet_025", morphable=tiny_morphable)
    with torch.no_grad():
        for module in model.I2P.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0  # one batch fixes the statistics
        model.train().I2P(torch.randn(16, 3, 120, 120))
        torch.nn.init.normal_(model.I2P.backbone.classifier_ori[-1].weight, std=0.1)
        torch.nn.init.constant_(model.forwardDirection.bn9.bias, 20.0)  # 1 px
    return model.eval()


@pytest.fixture(scope="module")
def crops(tmp_path_factory) -> EvaluationCrops:
    """Random pictures with random labels in boxes that are not square."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("data")
    names = [f"image{i:05d}.png" for i in range(COUNT)]
    for name in names:
        image = rng.integers(0, 256, (120, 120, 3), np.uint8)
        fileio.write_image(folder / CROPS / name, image)
    fileio.write_list(folder / "AFLW2000-3D_crop.list", names)
    start = rng.uniform(0, 50, (COUNT, 2))
    kept = np.setdiff1d(np.arange(COUNT), SKIPPED)
    labels = EvaluationLabels(
        landmarks=rng.uniform(50, 250, (COUNT, 3, 68)),
        reannotated=rng.uniform(50, 250, (COUNT, 2, 68)),
        yaw_deg=np.array([0, 10, 40, -50, 70, -80.0]),
        roi_box=np.concatenate([start, start + rng.uniform(100, 300, (COUNT, 2))], 1).round(),
        pose_rows=kept,
        pose_deg=rng.uniform(-60, 60, (len(kept), 3)),
    )
    write_labels(folder / EVAL, labels)
    return EvaluationCrops(folder)


def images_of(crops: EvaluationCrops) -> torch.Tensor:
    return torch.stack([crops[i] for i in range(len(crops))])


def whole(source) -> evaluation.Prediction:
    """All predictions of a source as one batch."""
    batches = list(source.predict())
    return evaluation.Prediction(
        landmarks=np.concatenate([b.landmarks for b in batches]),
        params=torch.cat([b.params for b in batches]),
    )


# ---------------------------------------------------------------- networks


def test_network_predicts_what_the_model_says(model, crops):
    found = whole(network_source(model, crops, batch_size=4))
    with torch.inference_mode():
        params_w = model.regress(preprocess(images_of(crops)))
        landmarks = crop_to_photo(model.landmarks(params_w).numpy(), crops.labels.roi_box)
    np.testing.assert_allclose(found.landmarks, landmarks, atol=0.01)
    off = (found.params - model.params(params_w)) / model.param_std
    assert off.abs().max() < WHITENED_TOLERANCE


def test_some_rows_are_the_same_as_in_the_whole(model, crops):
    source = network_source(model, crops, batch_size=2)
    rows = np.array([5, 0, 3])
    some = np.concatenate([batch.landmarks for batch in source.predict(rows)])
    np.testing.assert_allclose(some, whole(source).landmarks[rows], atol=0.01)


def test_split_gives_images_one_by_one(model, crops):
    (batch,) = network_source(model, crops).predict()
    ones = list(batch.split())
    assert len(ones) == COUNT
    np.testing.assert_array_equal(ones[2].landmarks, batch.landmarks[2:3])
    assert torch.equal(ones[2].exact.roll, batch.exact.roll[2:3])
    assert len(ones[2]) == 1


def test_flip_averages_with_the_mirrored_prediction_of_the_mirror_image(model, crops):
    found = whole(network_source(model, crops, flip=True))
    mirror = derive_mirror(model)
    for i, image in enumerate(images_of(crops)):
        with torch.inference_mode():
            params_w = model.regress(preprocess(torch.stack([image, image.flip(1)])))
            landmarks, params = model.landmarks(params_w), model.params(params_w)
        expected = (landmarks[0] + mirror_landmarks(landmarks[1])) / 2
        photo = crop_to_photo(expected.numpy(), crops.labels.roi_box[i])
        np.testing.assert_allclose(found.landmarks[i], photo, atol=0.02)
        face = ((params + mirror_params(params.flip(0), mirror))[0] / 2)[12:]
        off = (found.params[i, 12:] - face) / model.param_std[12:]
        assert off.abs().max() < 10 * WHITENED_TOLERANCE  # random bases mirror badly


def test_flip_makes_a_symmetric_picture_frontal(model, crops):
    """Whatever the network says of a picture that is its own mirror image, yaw and roll vanish."""
    source = network_source(model, crops, flip=True)
    image = images_of(crops)[:1]
    symmetric = torch.cat([image[:, :, :60], image[:, :, :60].flip(2)], dim=2)
    params, _ = source._predict_batch(symmetric)
    pose = decode_pose(params, "exact")
    assert pose.yaw.abs().max() < 1e-2
    assert pose.roll.abs().max() < 1e-2


def test_refined_landmarks_are_the_refiners(model, crops):
    found = whole(network_source(model, crops, refined=True))
    with torch.inference_mode():
        outputs = model(preprocess(images_of(crops)))
    photo = crop_to_photo(outputs["refined_landmarks"].numpy(), crops.labels.roi_box)
    np.testing.assert_allclose(found.landmarks, photo, atol=0.01)
    plain = whole(network_source(model, crops)).landmarks
    assert np.abs(found.landmarks - plain).mean() > 0.5


def test_refined_needs_a_refiner(model, crops, tiny_morphable):
    bare = build_model("mobilenet_025", morphable=tiny_morphable)
    bare.forwardDirection = bare.reverseDirection = None
    with pytest.raises(fileio.InputError, match="no landmark refiner"):
        network_source(bare, crops, refined=True)


# ---------------------------------------------------------------- files


def write_predictions(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


def test_a_file_of_a_models_parameters_scores_as_the_model(model, crops, tmp_path):
    network = network_source(model, crops)
    path = write_predictions(tmp_path / "p.npz", params=whole(network).params.numpy())
    truth = read_truth(crops, model)
    ours = image_errors(network.predict(), truth)
    theirs = image_errors(read_predictions(path, crops, model).predict(), truth)
    np.testing.assert_allclose(theirs.nme, ours.nme, rtol=1e-4)
    np.testing.assert_allclose(theirs.exact, ours.exact, atol=1e-2)


def test_a_file_of_the_labels_has_no_error(crops, model, tmp_path):
    angles = np.zeros((COUNT, 3))
    angles[crops.labels.pose_rows] = crops.labels.pose_deg
    path = write_predictions(
        tmp_path / "p.npz", landmarks=crops.labels.landmarks, angles_deg=angles
    )
    errors = image_errors(read_predictions(path, crops, model).predict(), read_truth(crops, model))
    result = summarise(errors, crops.labels)
    assert result["nme"]["mean"] == result["nme_3d"]["mean"] == 0
    assert result["pose_mae"]["mean"] == pytest.approx(0, abs=1e-5)
    assert result["rotation"]["mean"] == pytest.approx(0, abs=1e-5)
    assert result["pose_mae"]["images"] == COUNT - len(SKIPPED)


def test_landmarks_in_the_plane_have_no_3d_error_and_no_pose(crops, model, tmp_path):
    path = write_predictions(tmp_path / "p.npz", landmarks=crops.labels.landmarks[:, :2] + 1)
    errors = image_errors(read_predictions(path, crops, model).predict(), read_truth(crops, model))
    result = summarise(errors, crops.labels)
    assert result["nme"]["image_mean"] > 0
    assert result["nme_3d"] is None
    assert result["pose_mae"] is None
    assert result["rotation"] is None


def test_angles_alone_have_no_landmark_error(crops, model, tmp_path):
    path = write_predictions(tmp_path / "p.npz", angles_deg=np.zeros((COUNT, 3)))
    errors = image_errors(read_predictions(path, crops, model).predict(), read_truth(crops, model))
    result = summarise(errors, crops.labels)
    assert result["nme"] is None
    expected = np.abs(crops.labels.pose_deg).mean()
    assert result["pose_mae"]["mean"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"points": np.zeros((COUNT, 2, 68))}, "no predictions in it"),
        ({"landmarks": np.zeros((COUNT - 1, 2, 68))}, r"landmarks of shape \(5, 2, 68\)"),
        ({"landmarks": np.zeros((COUNT, 68, 2))}, "landmarks of shape"),
        ({"landmarks": np.zeros((COUNT, 4, 68))}, "landmarks of shape"),
        ({"params": np.zeros((COUNT, 102))}, "params of shape"),
        ({"angles_deg": np.full((COUNT, 3), np.nan)}, "not finite"),
        ({"angles_deg": np.array([{}] * COUNT)}, "not a readable .npz"),
    ],
)
def test_other_files_are_refused(crops, model, tmp_path, arrays, message):
    path = write_predictions(tmp_path / "p.npz", **arrays)
    with pytest.raises(fileio.InputError, match=message):
        read_predictions(path, crops, model)


def test_what_is_no_npz_is_refused(crops, model, tmp_path):
    path = tmp_path / "p.npz"
    path.write_text("no arrays")
    with pytest.raises(fileio.InputError, match=r"not a readable \.npz"):
        read_predictions(path, crops, model)


# ---------------------------------------------------------------- labels and summary


def test_errors_do_not_depend_on_batches(model, crops):
    truth = read_truth(crops, model)
    first, second = (
        image_errors(network_source(model, crops, batch_size=size).predict(), truth)
        for size in (1, 64)
    )
    np.testing.assert_allclose(first.nme, second.nme, rtol=1e-4)
    np.testing.assert_allclose(first.landmarks, second.landmarks, rtol=1e-4)
    np.testing.assert_allclose(first.rotation_deg, second.rotation_deg, rtol=1e-3)


def test_errors_are_those_of_the_metrics(model, crops):
    prediction = whole(network_source(model, crops))
    errors = image_errors(network_source(model, crops).predict(), read_truth(crops, model))
    labels, found = crops.labels, prediction.landmarks
    np.testing.assert_allclose(errors.nme, metrics.landmark_nme(found, labels.landmarks), rtol=1e-4)
    again = metrics.landmark_nme(found, labels.reannotated)
    np.testing.assert_allclose(errors.nme_reannotated, again, rtol=1e-4)
    assert errors.landmarks.mean() == pytest.approx(errors.nme.mean())
    rows = labels.pose_rows
    pose = decode_pose(prediction.params[rows], "published")
    expected = metrics.pose_mae(pose, labels.pose_deg)
    assert metrics.summarise_pose(errors.published[rows])["mean"] == pytest.approx(
        expected["mean"], rel=1e-3
    )
    assert np.isnan(errors.rotation_deg[SKIPPED]).all()


def test_missing_predictions_are_an_error(model, crops):
    with pytest.raises(RuntimeError, match="2 images scored, 6 listed"):
        image_errors(network_source(model, crops).predict(np.arange(2)), read_truth(crops, model))


def test_optional_labels_are_read_where_they_are(model, crops, tmp_path):
    prediction = whole(network_source(model, crops))
    pose = decode_pose(prediction.params, "exact")
    all_pose = torch.stack([pose.pitch, pose.yaw + 360, pose.roll], dim=1).numpy()
    optional = {
        ALL_POSE_FILE: all_pose,
        params_file(model.morphable_id["hash"]): prediction.params.numpy(),
    }
    for name, array in optional.items():
        fileio.write_array(crops.folder / EVAL / name, array)
    try:
        errors = image_errors(network_source(model, crops).predict(), read_truth(crops, model))
    finally:
        for name in optional:
            (crops.folder / EVAL / name).unlink()
    result = summarise(errors, crops.labels)
    assert result["pose_mae_all"]["images"] == COUNT
    assert result["pose_mae_all"]["mean"] == pytest.approx(0, abs=1e-2)  # a whole turn is nothing
    assert result["shape_mm"]["mean"] == pytest.approx(0, abs=1e-3)
    assert result["expression_mm"]["images"] == COUNT
    assert (
        summarise(
            image_errors(network_source(model, crops).predict(), read_truth(crops, model)),
            crops.labels,
        )["shape_mm"]
        is None
    )


def test_comparison_of_two_models(model, crops, tmp_path):
    rng = np.random.default_rng(0)
    errors = []
    for noise in (1, 20):
        noisy = crops.labels.landmarks + rng.normal(0, noise, crops.labels.landmarks.shape)
        path = write_predictions(tmp_path / f"{noise}.npz", landmarks=noisy)
        source = read_predictions(path, crops, model)
        errors.append(image_errors(source.predict(), read_truth(crops, model)))
    result = compare(*errors, crops.labels)
    means = [summarise(e, crops.labels)["nme"]["mean"] for e in errors]
    assert result["nme"]["difference"] == pytest.approx(means[0] - means[1])
    low, high = result["nme"]["difference_95"]
    assert low < result["nme"]["difference"] < high < 0
    assert result["nme"]["p_value"] == pytest.approx(2 / 2**COUNT, abs=0.02)  # all signs alike
    assert result["pose_mae_exact"] is None
    same = compare(errors[0], errors[0], crops.labels)
    assert same["nme"]["p_value"] == 1


def test_rotations_of_the_file_are_those_of_its_angles(crops, model, tmp_path):
    angles = np.tile([10.0, 20.0, 30.0], (COUNT, 1))  # pitch, yaw, roll
    path = write_predictions(tmp_path / "p.npz", angles_deg=angles)
    (batch,) = read_predictions(path, crops, model).predict()
    assert batch.exact.yaw[0] == 20
    torch.testing.assert_close(batch.rotation[0], compose_rotation(batch.exact)[0])
