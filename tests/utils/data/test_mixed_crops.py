"""Training sets mixed: shares of an epoch, targets of their own whitening, a run with the flag."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch

import model_building
from synergynet import fileio
from synergynet.geometry.parameters import IMG_SIZE, N_PARAMS
from synergynet.morphable_folder import WHITENING_FILE
from utils.data.mixed_crops import MixedCrops, Part, parse_mix, rewhiten
from utils.data.training_crops import TrainingCrops, training_loader
from utils.preparation.training_set import TRAINING_IMAGES, TRAINING_LIST, TRAINING_PARAMS
from utils.training.start import load_crops


def make_set(folder: Path, count: int, grey: int) -> Path:
    """Crops of one grey level, whose targets are grey level and number."""
    names = [f"{grey}_{i:03d}.png" for i in range(count)]
    for name in names:
        image = np.full((IMG_SIZE, IMG_SIZE, 3), grey, np.uint8)
        fileio.write_image(folder / TRAINING_IMAGES / name, image)
    fileio.write_list(folder / TRAINING_LIST, names)
    params_w = np.zeros((count, N_PARAMS), np.float32)
    params_w[:, 0], params_w[:, 1] = grey, np.arange(count)
    fileio.write_pickle(folder / TRAINING_PARAMS, params_w)
    return folder


def read_set(folder: Path) -> TrainingCrops:
    files = (folder / name for name in (TRAINING_IMAGES, TRAINING_LIST, TRAINING_PARAMS))
    return TrainingCrops(*files, seed=3)


@pytest.fixture
def sets(tmp_path: Path) -> list[TrainingCrops]:
    """Sixty dark crops, four grey ones, two hundred bright ones."""
    sizes = {"dark": (60, 20), "grey": (4, 90), "bright": (200, 160)}
    return [read_set(make_set(tmp_path / name, *size)) for name, size in sizes.items()]


def epoch(mixed: MixedCrops, number: int) -> torch.Tensor:
    """Targets (count, 62) of an epoch, in the order in which they are shown."""
    return torch.cat([batch.params_w for batch in training_loader(mixed, 10, number, workers=0)])


def test_an_epoch_has_the_first_set_whole_and_the_others_shares(sets):
    mixed = MixedCrops(sets, [0.1, 0.3])
    assert len(mixed) == 100
    shown = epoch(mixed, 1)
    greys, counts = np.unique(shown[:, 0].numpy(), return_counts=True)
    assert dict(zip(greys.tolist(), counts.tolist(), strict=True)) == {20: 60, 90: 10, 160: 30}
    of = {grey: shown[shown[:, 0] == grey, 1].tolist() for grey in (20, 90, 160)}
    assert sorted(of[20]) == list(range(60))
    assert {of[90].count(number) for number in range(4)} == {2, 3}  # four images, ten times
    assert len(set(of[160])) == 30  # each once


def test_epochs_draw_others_and_repeat_themselves(sets):
    mixed = MixedCrops(sets, [0.1, 0.3])
    bright = [set(epoch(mixed, n)[:, 1][epoch(mixed, n)[:, 0] == 160].tolist()) for n in (1, 2)]
    assert bright[0] != bright[1]
    assert torch.equal(epoch(mixed, 2), epoch(MixedCrops(sets, [0.1, 0.3]), 2))


def test_images_targets_and_names_belong_together(sets):
    mixed = MixedCrops(sets, [0.1, 0.3]).at_epoch(1)
    batch = mixed.batch(list(range(len(mixed))))
    for image, target, row in zip(batch.images, batch.params_w, batch.rows.tolist(), strict=True):
        grey, number = (int(n) for n in mixed.names[row].removesuffix(".png").split("_"))
        assert (int(target[0]), int(target[1])) == (grey, number)
        assert 0.5 * grey - 2 < image.float().mean() < 1.5 * grey + 2  # colours are jittered


def test_an_unreadable_image_is_named_and_replaced_from_its_own_set(sets):
    (sets[2].root / sets[2].names[7]).write_bytes(b"")
    mixed = MixedCrops(sets, [0.1, 0.3])
    mixed.drawn = np.array([0, 1, 64 + 7, 64 + 8])
    batch = mixed.batch([0, 1, 2, 3])
    assert batch.rows.tolist() == [0, 1, 72, 72]
    assert batch.params_w[:, 0].tolist() == [20, 20, 160, 160]
    assert len(batch.unreadable) == 1


def test_another_share_is_other_data(sets):
    one, other = MixedCrops(sets, [0.1, 0.3]), MixedCrops(sets, [0.1, 0.35])
    assert one.fingerprint() == MixedCrops(sets, [0.1, 0.3]).fingerprint()
    assert one.fingerprint() != other.fingerprint() != sets[0].fingerprint()


def test_whitening_anew_keeps_the_real_numbers():
    rng = np.random.default_rng(0)
    own, wanted = ((rng.normal(size=3), rng.uniform(0.5, 2, 3)) for _ in range(2))
    params_w = torch.from_numpy(rng.normal(size=(5, 3))).float()
    again = rewhiten(params_w, own, wanted)
    expected = params_w.numpy() * own[1] + own[0]
    np.testing.assert_allclose(again.numpy() * wanted[1] + wanted[0], expected, atol=1e-6)


@pytest.mark.parametrize("has_whitening", [False, True])
def test_the_flag_mixes_sets_of_any_whitening(tmp_path, tiny_morphable, has_whitening):
    model = model_building.build_model("mobilenet_025", morphable=tiny_morphable)
    first, other = make_set(tmp_path / "a", 8, 20), make_set(tmp_path / "b", 8, 90)
    if has_whitening:
        own = {"param_mean": np.full(62, 2, np.float32), "param_std": np.full(62, 3, np.float32)}
        fileio.write_pickle(other / WHITENING_FILE, own)
    args = argparse.Namespace(
        root=first / TRAINING_IMAGES, filelists_train=first / TRAINING_LIST, seed=0,
        param_fp_train=first / TRAINING_PARAMS, mix=[f"{other}:0.5"], mirror=False, geometry="",
        batch_size=4,
    )  # fmt: skip
    crops = load_crops(args, model)
    assert len(crops) == 16
    mean, std = (2, 3) if has_whitening else (model.param_mean.numpy(), model.param_std.numpy())
    real = crops.sets[1].params_w.numpy() * model.param_std.numpy() + model.param_mean.numpy()
    expected = read_set(other).params_w.numpy() * std + mean
    np.testing.assert_allclose(real, expected, rtol=1e-4, atol=1e-2)


def test_flags_are_folders_with_shares():
    assert parse_mix(["a:0.2", "C:/b:c:.3"]) == [Part(Path("a"), 0.2), Part(Path("C:/b:c"), 0.3)]


@pytest.mark.parametrize("texts", [["a"], ["a:"], [":0.5"], ["a:x"], ["a:0"], ["a:1"], ["a:nan"],
                                   ["a:0.6", "b:0.4"]])  # fmt: skip
def test_shares_that_cannot_be(texts):
    with pytest.raises(fileio.InputError, match=r"^--mix "):
        parse_mix(texts)


def test_a_folder_without_a_set_is_named(tmp_path, tiny_morphable):
    first = make_set(tmp_path / "a", 8, 20)
    args = argparse.Namespace(
        root=first / TRAINING_IMAGES, filelists_train=first / TRAINING_LIST, seed=0,
        param_fp_train=first / TRAINING_PARAMS, mix=[f"{tmp_path}:0.5"],
    )  # fmt: skip
    model = model_building.build_model("mobilenet_025", morphable=tiny_morphable)
    with pytest.raises(fileio.InputError, match=r"no set of prepare_data\.py there"):
        load_crops(args, model)
