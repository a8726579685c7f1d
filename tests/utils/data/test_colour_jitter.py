"""Colour jitter has the semantics of PIL and leaves its input alone."""

import itertools

import numpy as np
import pytest

from synergynet.geometry.parameters import IMG_SIZE
from utils.data.colour_jitter import (
    adjust_brightness,
    adjust_contrast,
    adjust_saturation,
    jitter_colours,
)

PIXELS = (IMG_SIZE, IMG_SIZE, 3)
JITTER_OFF_BY_ONE = 0.01  # share of values, at round factors, where PIL cuts 2.9999999 to 2


@pytest.mark.parametrize("name", ["Brightness", "Contrast", "Color"])
def test_jitter_equals_pil(name):
    image_enhance = pytest.importorskip("PIL.ImageEnhance")
    pil_image = pytest.importorskip("PIL.Image")
    ours = {
        "Brightness": adjust_brightness,
        "Contrast": adjust_contrast,
        "Color": adjust_saturation,
    }[name]
    rng = np.random.default_rng(1)
    for factor in (0.6, 0.731, 1.0, 1.234, 1.4):
        image = rng.integers(0, 256, PIXELS, np.uint8)
        theirs = getattr(image_enhance, name)(pil_image.fromarray(image)).enhance(factor)
        difference = np.abs(ours(image, factor).astype(int) - np.asarray(theirs))
        assert difference.max() <= 1
        assert (difference > 0).mean() < JITTER_OFF_BY_ONE


def test_adjustments_by_hand():
    image = np.array([[[100, 200, 250], [0, 0, 0]]], np.uint8)
    assert adjust_brightness(image, 1.2)[0, 0].tolist() == [120, 240, 255]
    grey = round((19595 * 100 + 38470 * 200 + 7471 * 250) / 65536)  # 176; the mean is 88
    assert adjust_contrast(image, 0.5)[0].tolist() == [[94, 144, 169], [44, 44, 44]]
    assert adjust_saturation(image, 0)[0, 0].tolist() == [grey] * 3


def test_jitter_uses_every_order_and_leaves_its_input_alone():
    image = np.random.default_rng(2).integers(0, 256, PIXELS, np.uint8)
    before = image.copy()
    factors = np.array([1.3, 0.7, 1.4])
    orders = list(itertools.permutations(range(3)))
    assert len({jitter_colours(image, factors, order).tobytes() for order in orders}) == 6
    by_hand = adjust_saturation(image, 1.4)
    by_hand = adjust_contrast(adjust_brightness(by_hand, 1.3), 0.7)
    np.testing.assert_array_equal(jitter_colours(image, factors, (2, 0, 1)), by_hand)
    np.testing.assert_array_equal(image, before)
