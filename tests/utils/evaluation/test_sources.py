"""Predictions of networks and of files: known answers, flips, refined landmarks, refusals."""

import numpy as np
import pytest
import torch

from model_building import build_model
from synergynet import fileio
from synergynet.geometry.crop import crop_to_photo
from synergynet.geometry.mirror import mirror_landmarks, mirror_params
from synergynet.geometry.pose import compose_rotation, decode_pose
from utils.data.evaluation_crops import EvaluationCrops
from utils.data.mirror import derive_mirror
from utils.data.preprocessing import preprocess
from utils.evaluation.errors import image_errors, read_truth
from utils.evaluation.sources import network_source, read_predictions

COUNT = 6  # of conftest.py's test set
WHITENED_TOLERANCE = 1e-3  # batch norm folded into convolutions: other rounding


def images_of(crops: EvaluationCrops) -> torch.Tensor:
    return torch.stack([crops[i] for i in range(len(crops))])


def test_network_predicts_what_the_model_says(model, crops, whole):
    found = whole(network_source(model, crops, batch_size=4))
    with torch.inference_mode():
        params_w = model.regress(preprocess(images_of(crops)))
        landmarks = crop_to_photo(model.landmarks(params_w).numpy(), crops.labels.roi_box)
    np.testing.assert_allclose(found.landmarks, landmarks, atol=0.01)
    off = (found.params - model.params(params_w)) / model.param_std
    assert off.abs().max() < WHITENED_TOLERANCE


def test_some_rows_are_the_same_as_in_the_whole(model, crops, whole):
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


def test_flip_averages_with_the_mirrored_prediction_of_the_mirror_image(model, crops, whole):
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


def test_refined_landmarks_are_the_refiners(model, crops, whole):
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


def test_a_file_of_a_models_parameters_scores_as_the_model(
    model, crops, whole, write_predictions, face_model
):
    network = network_source(model, crops)
    path = write_predictions(params=whole(network).params.numpy())
    truth = read_truth(crops, face_model)
    ours = image_errors(network.predict(), truth)
    theirs = image_errors(read_predictions(path, crops, face_model).predict(), truth)
    np.testing.assert_allclose(theirs.nme, ours.nme, rtol=1e-4)
    np.testing.assert_allclose(theirs.exact, ours.exact, atol=1e-2)


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
def test_other_files_are_refused(crops, arrays, message, write_predictions, face_model):
    path = write_predictions(**arrays)
    with pytest.raises(fileio.InputError, match=message):
        read_predictions(path, crops, face_model)


def test_what_is_no_npz_is_refused(crops, tmp_path, face_model):
    path = tmp_path / "p.npz"
    path.write_text("no arrays")
    with pytest.raises(fileio.InputError, match=r"not a readable \.npz"):
        read_predictions(path, crops, face_model)


def test_rotations_of_the_file_are_those_of_its_angles(crops, write_predictions, face_model):
    angles = np.tile([10.0, 20.0, 30.0], (COUNT, 1))  # pitch, yaw, roll
    path = write_predictions(angles_deg=angles)
    (batch,) = read_predictions(path, crops, face_model).predict()
    assert batch.exact.yaw[0] == 20
    torch.testing.assert_close(batch.rotation[0], compose_rotation(batch.exact)[0])
