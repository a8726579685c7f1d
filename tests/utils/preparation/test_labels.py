"""Labels <-> 62 parameters: round trips, a plain version of the formulas, and real labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch

from model_building import SynergyNet, build_model, load_morphable
from synergynet import fileio
from synergynet.face_model import MorphableModel
from synergynet.geometry.crop import crop_to_photo, roi_box_from_landmarks
from synergynet.geometry.parameters import N_SHAPE, POSE
from utils.preparation import labels
from utils.preparation.labels import FaceLabel

HEIGHT = 450
CLIPPED_BOX = np.array([1.0, 30, 260, 391])  # clipped at the left: not square
ROUND_TRIP_STD = 1e-5  # of each entry's whitening std
DECODE_PX = 0.05  # decode(label_to_params(label)) against the label's own reconstruction
TRUNCATION_PX = 2.5  # 40 + 10 of the label's 199 + 29 coefficients, in 450-px pictures
SAMPLE_ROWS = [55, 150, 286, 311, 749, 1238, 1263, 1984]  # of the published arrays


def random_label(seed: int, morphable: MorphableModel) -> FaceLabel:
    """A face of plausible size and coefficients, turned by up to 80 degrees."""
    rng = np.random.default_rng(seed)
    mean, std = (x.double().numpy() for x in (morphable.param_mean, morphable.param_std))
    angles = rng.uniform(-1.4, 1.4, 3)
    coefficients = rng.normal(mean, std)[12:]
    pose = np.array([*angles, *rng.uniform([150, 150, -90], [300, 300, -50]), 1.2e-3])
    return FaceLabel(pose, coefficients[:N_SHAPE], coefficients[N_SHAPE:])


def decode(params: np.ndarray, model: SynergyNet) -> np.ndarray:
    """(3, 68) crop px by the network's own decoder, float64."""
    params_w = (torch.from_numpy(params) - model.param_mean) / model.param_std
    return model.landmarks(params_w[None])[0].numpy()


@pytest.mark.parametrize("box", [np.array([80.0, 60, 320, 300]), CLIPPED_BOX])
def test_decoded_parameters_are_the_labels_face(tiny_morphable, box, label_landmarks):
    model = build_model("mobilenet_025", morphable=tiny_morphable).double()
    for seed in range(5):
        label = random_label(seed, tiny_morphable)
        params = labels.label_to_params(label, box, HEIGHT)
        points = crop_to_photo(decode(params, model), box)
        expected = label_landmarks(label, tiny_morphable, HEIGHT)
        np.testing.assert_allclose(points, expected, atol=1e-3)  # the model's buffers are float32


def test_parameters_by_the_plain_formulas(tiny_morphable):
    label = random_label(0, tiny_morphable)
    pitch, yaw, roll, tx, ty, tz, f = label.pose
    sx, sy, ex, ey = CLIPPED_BOX
    kx, ky, kz = 120 / (ex - sx), 120 / (ey - sy), 240 / ((ex - sx) + (ey - sy))
    (c, s) = np.cos(pitch), np.sin(pitch)
    rx = np.array([[1, 0, 0], [0, c, s], [0, -s, c]])
    (c, s) = np.cos(yaw), np.sin(yaw)
    ry = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    (c, s) = np.cos(roll), np.sin(roll)
    rz = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    expected = np.empty((3, 4))
    expected[:, :3] = np.diag([kx, ky, kz]) @ (f * rx @ ry @ rz)
    expected[:, 3] = kx * (tx - sx), 121 - ky * (HEIGHT + 1 - ty - sy), kz * tz
    params = labels.label_to_params(label, CLIPPED_BOX, HEIGHT)
    assert params.dtype == np.float64
    np.testing.assert_allclose(params[POSE].reshape(3, 4), expected, rtol=1e-12)
    np.testing.assert_array_equal(params[12:52], label.shape)
    np.testing.assert_array_equal(params[52:62], label.expression)


@pytest.mark.parametrize("box", [np.array([80.0, 60, 320, 300]), CLIPPED_BOX])
def test_round_trip_through_a_mat_file(tiny_morphable, tmp_path, box):
    std = tiny_morphable.param_std.double().numpy()
    for seed in range(5):
        label = random_label(seed, tiny_morphable)
        params = labels.label_to_params(label, box, HEIGHT)
        back = labels.params_to_label(params, box, HEIGHT)
        np.testing.assert_allclose(back.pose, label.pose, rtol=1e-9, atol=1e-9)
        labels.write_face_label(tmp_path / "face.mat", back)
        table = scipy.io.loadmat(tmp_path / "face.mat")
        assert table["Shape_Para"].shape == (199, 1)
        assert table["Exp_Para"].shape == (29, 1)
        again = labels.read_face_label(tmp_path / "face.mat")
        error = np.abs(labels.label_to_params(again, box, HEIGHT) - params) / std
        assert error.max() < ROUND_TRIP_STD


def test_an_estimate_gives_the_nearest_scaled_rotation(tiny_morphable):
    label = random_label(1, tiny_morphable)
    params = labels.label_to_params(label, np.array([80.0, 60, 320, 300]), HEIGHT)
    stretched = params.copy()
    stretched[POSE].reshape(3, 4)[2, :3] *= 1.3  # depth is what networks estimate worst
    back = labels.params_to_label(stretched, np.array([80.0, 60, 320, 300]), HEIGHT)
    np.testing.assert_allclose(back.pose[6], 1.1 * label.pose[6])  # mean of 1, 1 and 1.3
    np.testing.assert_allclose(back.pose[:6], label.pose[:6], atol=0.4, rtol=0.35)
    mirrored = params.copy()
    mirrored[POSE].reshape(3, 4)[2, :3] *= -1
    rotation = labels._nearest_scaled_rotation(mirrored[POSE].reshape(3, 4)[:, :3])[1]
    assert np.linalg.det(rotation) == pytest.approx(1)


# ---------------------------------------------------------------- bad files


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Pose_Para": None}, "no Pose_Para in it"),
        ({"Exp_Para": None}, "no Exp_Para in it"),
        ({"Pose_Para": np.ones((1, 6))}, "of 6, 199 and 29 numbers"),
        ({"Shape_Para": np.ones((39, 1))}, "of 7, 39 and 29 numbers"),
        ({"Shape_Para": np.full((199, 1), np.nan)}, "not finite"),
        ({"Pose_Para": np.zeros((1, 7))}, "the scale, must be above 0"),
        ({"pt2d": np.full((2, 68), np.inf)}, "not finite"),
    ],
)
def test_bad_labels_are_named(tmp_path, change, message):
    table = {
        "Pose_Para": np.ones((1, 7)),
        "Shape_Para": np.ones((199, 1)),
        "Exp_Para": np.ones((29, 1)),
    } | change
    path = tmp_path / "bad.mat"
    scipy.io.savemat(path, {key: value for key, value in table.items() if value is not None})
    with pytest.raises(fileio.InputError, match=rf"bad\.mat: .*{message}"):
        labels.read_face_label(path)


# ---------------------------------------------------------------- real labels


@pytest.fixture(scope="module")
def bfm(shared_folder: Path) -> MorphableModel:
    return load_morphable(shared_folder / "data" / "3dmm_bfm")


def test_real_labels_of_aflw2000(shared_folder, bfm, label_landmarks):
    """Boxes equal the published ones; the face decodes to itself and lies on pt3d_68."""
    boxes = np.load(shared_folder / "data" / "aflw2000_eval" / "AFLW2000-3D_crop.roi_box.npy")
    files = sorted((shared_folder / "data" / "aflw2000_samples").glob("*.mat"))
    std = bfm.param_std.double().numpy()
    model = build_model("mobilenet_025", morphable=bfm).double()
    assert len(files) == len(SAMPLE_ROWS)
    for file, box in zip(files, boxes[SAMPLE_ROWS], strict=True):
        label = labels.read_face_label(file)
        np.testing.assert_array_equal(roi_box_from_landmarks(label.pt3d_68, 450, 450), box)
        for roi_box in (box, CLIPPED_BOX):
            params = labels.label_to_params(label, roi_box, 450)
            points = crop_to_photo(decode(params, model), roi_box)
            own = label_landmarks(label, bfm, 450)
            assert np.abs(points - own).max() < DECODE_PX
            back = labels.params_to_label(params, roi_box, 450)
            again = labels.label_to_params(back, roi_box, 450)
            assert (np.abs(again - params) / std).max() < ROUND_TRIP_STD
        assert np.linalg.norm(own[:2] - label.pt3d_68[:2], axis=0).mean() < TRUNCATION_PX


def test_real_label_of_300w_lp(shared_folder, bfm, label_landmarks):
    """It has no pt3d_68; its pt2d lies on the face but for the jaw, which follows the contour."""
    file = shared_folder / "data" / "300wlp_sample" / "IBUG_image_008_1_0.mat"
    label = labels.read_face_label(file)
    height, width = fileio.read_image(file.with_suffix(".jpg")).shape[:2]
    own = label_landmarks(label, bfm, height)
    box = roi_box_from_landmarks(own, width, height)
    assert label.pt3d_68 is None
    assert label.pt2d.shape == (2, 68)
    distance = np.linalg.norm(own[:2] - label.pt2d, axis=0)  # (68,)
    assert distance[17:].mean() < 8
    params = labels.label_to_params(label, box, height)
    model = build_model("mobilenet_025", morphable=bfm).double()
    points = crop_to_photo(decode(params, model), box)
    assert np.abs(points - own).max() < DECODE_PX
