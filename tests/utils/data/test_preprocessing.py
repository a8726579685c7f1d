"""One pre-processing: the published values, the border, and the regions that erasing keeps."""

import numpy as np
import pytest
import torch

from synergynet.geometry.parameters import IMG_SIZE
from utils.data.preprocessing import BENCHMARK, IN_THE_WILD, TRAIN, Preset, preprocess

PIXELS = (IMG_SIZE, IMG_SIZE, 3)


def test_preprocess_equals_the_published_system(reference):
    inputs = preprocess(torch.from_numpy(reference.arrays["images"]), BENCHMARK)
    np.testing.assert_array_equal(inputs.numpy(), reference.arrays["preprocessed"])


def test_border_is_five_pixels_of_black_and_absent_in_the_wild():
    white = torch.full((1, *PIXELS), 255, dtype=torch.uint8)
    bordered = preprocess(white, BENCHMARK)
    inner = bordered[:, :, 5:-5, 5:-5]
    assert (inner == 127.5 / 128).all()
    assert (bordered == -127.5 / 128).sum() == bordered.numel() - inner.numel()
    assert (preprocess(white, IN_THE_WILD) == 127.5 / 128).all()


def test_training_crops_have_the_same_border():
    white = torch.full((1, *PIXELS), 255, dtype=torch.uint8)
    torch.manual_seed(0)  # nothing is erased
    assert torch.equal(preprocess(white, TRAIN), preprocess(white, BENCHMARK))


def test_preprocess_leaves_its_input_alone_and_puts_channels_last():
    images = torch.randint(256, (2, *PIXELS), dtype=torch.uint8)
    before = images.clone()
    inputs = preprocess(images, TRAIN)
    assert torch.equal(images, before)
    assert inputs.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("shape", [(120, 120, 3), (1, 3, 120, 120)])
def test_preprocess_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match="uint8"):
        preprocess(torch.zeros(shape, dtype=torch.uint8))


def test_preprocess_refuses_floats():
    with pytest.raises(ValueError, match="float32"):
        preprocess(torch.zeros(1, *PIXELS))


def test_erasing_keeps_one_of_seven_regions_in_one_percent():
    white = torch.full((1, *PIXELS), 255, dtype=torch.uint8)
    count = 20_000
    generator = torch.Generator().manual_seed(0)
    small = white[:, :24, :24].expand(count, -1, -1, -1)  # the same code on a smaller picture
    preset = Preset(border_px=0, augment=True)
    values = preprocess(small, preset, generator)
    assert values.unique().tolist() == [-127.5 / 128, 127.5 / 128]  # black, and as it was
    kept = values[:, 0] > 0  # (count, 24, 24)
    erased = kept[~kept.flatten(1).all(1)]
    assert 0.008 < len(erased) / count < 0.012
    patterns, frequency = torch.unique(erased, dim=0, return_counts=True)
    assert len(patterns) == 7
    assert frequency.min() > len(erased) / 7 / 2
    halves = {(12, 12): 5, (24, 12): 2}  # four quadrants and the centre; left and right
    sizes = [(int(p.any(1).sum()), int(p.any(0).sum())) for p in patterns]
    assert {size: sizes.count(size) for size in set(sizes)} == halves
    centre = torch.zeros(24, 24, dtype=torch.bool)
    centre[6:18, 6:18] = True
    assert any(torch.equal(p, centre) for p in patterns)


def test_erasing_repeats_with_its_generator():
    images = torch.full((500, 16, 16, 3), 9, dtype=torch.uint8)
    runs = [preprocess(images, TRAIN, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])
