"""Cutting out against the published system, and the black border."""

import dataclasses

import numpy as np
import pytest
import torch

from synergynet.engines.backbone import network_input
from synergynet.photos import crops
from utils.data.preprocessing import BENCHMARK, preprocess

CLIPPED = np.array([1.0, 30.0, 201.0, 450.0])  # 200 x 420: the scales of x and y differ


@pytest.mark.parametrize("index", range(4))
def test_cut_out_equals_the_published_system(reference, index):
    result = crops.cut_out(reference.arrays["crop_image"], reference.arrays[f"crop_box_{index}"])
    np.testing.assert_array_equal(result, reference.arrays[f"crop_result_{index}"])


def test_cut_out_beside_the_photo_is_black():
    image = np.full((50, 60, 3), 255, np.uint8)
    assert not crops.cut_out(image, np.array([100, 100, 120, 130])).any()
    assert crops.cut_out(image, np.array([100, 100, 120, 130])).shape == (30, 20, 3)
    assert crops.cut_out(image, np.array([-10, -20, 5, 5])).sum() == 5 * 5 * 3 * 255


@pytest.mark.parametrize("box", [[10, 10, 10, 40], [10, 10, 40, 9]])
def test_cut_out_refuses_a_box_without_area(box):
    with pytest.raises(ValueError, match="no area"):
        crops.cut_out(np.zeros((50, 60, 3), np.uint8), np.array(box))


def test_network_crop_is_120_px():
    image = np.random.default_rng(0).integers(0, 256, (450, 450, 3), np.uint8)
    assert crops.network_crop(image, CLIPPED).shape == (120, 120, 3)
    exact = crops.network_crop(image, np.array([30, 50, 150, 170]))
    np.testing.assert_array_equal(exact, image[50:170, 30:150])


@pytest.mark.parametrize("box", [CLIPPED, [-300, -200, 700, 800], [100, -900, 1400, 400]])
def test_crops_of_huge_boxes_look_as_if_cut_out_first(monkeypatch, box):
    y, x = np.mgrid[:450, :600].astype(np.float32)
    smooth = np.stack([127 + 120 * np.sin(a) for a in (x / 90, y / 70, (x + y) / 120)], axis=2)
    image = smooth.astype(np.uint8)
    expected = crops.network_crop(image, np.array(box)).astype(float)
    monkeypatch.setattr(crops, "MOST_CROP_PX", 100)
    found = crops.network_crop(image, np.array(box))
    difference = np.abs(found - expected).max(axis=2)
    assert np.percentile(difference, 95) < 6  # the photo's edges may be a pixel softer
    assert difference.mean() < 2


@pytest.mark.parametrize("border_px", [0, 5])
def test_a_border_is_what_the_benchmarks_preset_makes(border_px):
    images = np.random.default_rng(0).integers(1, 256, (2, 120, 120, 3), np.uint8)
    preset = dataclasses.replace(BENCHMARK, border_px=border_px)
    expected = preprocess(torch.from_numpy(images), preset)
    bordered = crops.blacken_border(images, border_px)
    np.testing.assert_array_equal(network_input(bordered), expected.numpy())
