"""The landmark model against the network's decoder; parameters moved between photo and crop."""

import numpy as np
import pytest
import torch

from model_building import build_model, load_morphable
from synergynet.geometry.camera import params_to_crop, params_to_photo
from synergynet.geometry.crop import photo_to_crop
from utils.data.folders import OPEN_FOLDER
from utils.data.landmark_model import PHOTO_BOX, LandmarkModel
from utils.preparation.labels import label_to_params, read_face_label

BOXES = [np.array([80, 60, 320, 300]), np.array([1, 30, 260, 391]), np.array([-40, -9, 95, 130])]
EXACT_PX = 1e-9
FLOAT32_PX = 1e-3  # the network's buffers


@pytest.fixture(scope="module")
def model() -> LandmarkModel:
    return LandmarkModel.of(load_morphable(OPEN_FOLDER))


def random_params(model: LandmarkModel, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(model.param_mean, model.param_std)


def test_decoding_is_the_networks(model):
    network = build_model(morphable=load_morphable(OPEN_FOLDER)).double()
    params = np.stack([random_params(model, seed) for seed in range(4)])
    params_w = (params - model.param_mean) / model.param_std
    expected = network.landmarks(torch.from_numpy(params_w))
    for row, landmarks in zip(params, expected.numpy(), strict=True):
        np.testing.assert_allclose(model.decode(row), landmarks, atol=FLOAT32_PX)


@pytest.mark.parametrize("box", BOXES)
def test_moved_parameters_decode_to_moved_landmarks(model, box):
    params = random_params(model, 0)
    before = params.copy()
    moved = params_to_crop(params, box)
    expected = photo_to_crop(model.decode(params), box)
    np.testing.assert_allclose(model.decode(moved), expected, atol=EXACT_PX)
    np.testing.assert_allclose(params_to_photo(moved, box), params, rtol=1e-9)
    np.testing.assert_array_equal(params, before)


@pytest.mark.parametrize("box", BOXES)
def test_a_label_moved_is_the_label_converted(shared_folder, box):
    label = read_face_label(shared_folder / "data/300wlp_sample/IBUG_image_008_1_0.mat")
    in_photo = label_to_params(label, PHOTO_BOX, 450)
    expected = label_to_params(label, box, 450)
    np.testing.assert_allclose(params_to_crop(in_photo, box), expected, rtol=1e-8)
