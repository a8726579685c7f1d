"""Training crops: jitter and mirror images by seed and epoch, batches by rank, unreadable files."""

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from synergynet import fileio
from synergynet.geometry.parameters import IMG_SIZE
from utils.data.colour_jitter import jitter_colours
from utils.data.training_crops import EpochBatches, TrainingCrops, training_loader

PIXELS = (IMG_SIZE, IMG_SIZE, 3)


@pytest.fixture
def crops_folder(tmp_path: Path) -> Path:
    """Ten random crops with their list and parameters: images/, crops.list, params.pkl."""
    rng = np.random.default_rng(0)
    names = [f"{i:02d}.png" for i in range(10)]
    (tmp_path / "images").mkdir()
    for name in names:
        cv2.imwrite(str(tmp_path / "images" / name), rng.integers(0, 256, PIXELS, np.uint8))
    fileio.write_list(tmp_path / "crops.list", names)
    with open(tmp_path / "params.pkl", "wb") as file:
        pickle.dump(rng.normal(size=(10, 102)).astype(np.float32), file)
    return tmp_path


def training_crops(folder: Path, seed: int = 0) -> TrainingCrops:
    return TrainingCrops(folder / "images", folder / "crops.list", folder / "params.pkl", seed)


def test_training_item_is_a_jittered_crop_with_62_parameters(crops_folder):
    crops = training_crops(crops_folder)
    batch = crops.batch([3, 5])
    assert batch.images.shape == (2, *PIXELS)
    assert batch.images.dtype == torch.uint8
    assert batch.rows.tolist() == [3, 5]
    stored = fileio.read_pickle(crops_folder / "params.pkl")
    np.testing.assert_array_equal(batch.params_w.numpy(), stored[[3, 5], :62])
    for image, row in zip(batch.images, batch.rows, strict=True):
        expected = jitter_colours(
            fileio.read_image(crops_folder / "images" / f"{row:02d}.png"),
            crops.factors[row],
            crops.order[row],
        )
        np.testing.assert_array_equal(image.numpy(), expected)


def test_jitter_is_drawn_for_every_image_and_epoch(crops_folder):
    crops = training_crops(crops_folder)
    assert crops.factors.min() >= 0.6
    assert crops.factors.max() <= 1.4
    assert (np.sort(crops.order) == np.arange(3)).all()
    assert len(np.unique(np.concatenate([crops.factors, crops.at_epoch(1).factors]))) == 60
    np.testing.assert_array_equal(crops.at_epoch(7).order, crops.at_epoch(7).order)


def test_npy_parameters_are_read_too(crops_folder):
    stored = fileio.read_pickle(crops_folder / "params.pkl")[:, :62]
    fileio.write_array(crops_folder / "params.npy", stored)
    crops = TrainingCrops(
        crops_folder / "images", crops_folder / "crops.list", crops_folder / "params.npy", 0
    )
    np.testing.assert_array_equal(crops.params_w.numpy(), stored)


def test_mirror_images_come_every_second_epoch_with_their_own_targets(crops_folder):
    crops = training_crops(crops_folder)
    mirrored = crops.with_mirror_images(-crops.params_w)
    rows = list(range(len(crops)))
    stored = np.stack([crops.read(row) for row in rows])
    epochs = [mirrored.at_epoch(epoch) for epoch in (1, 2)]
    for epoch in epochs:
        epoch.factors[:] = 1  # no jitter
        assert 0 < epoch.is_mirrored.sum() < len(crops)
        batch = epoch.batch(rows)
        flip = epoch.is_mirrored
        expected = np.where(flip[:, None, None, None], stored[:, :, ::-1], stored)
        np.testing.assert_array_equal(batch.images.numpy(), expected)
        signs = torch.from_numpy(1 - 2.0 * flip[:, None])
        assert torch.equal(batch.params_w, (signs * crops.params_w).float())
    assert (epochs[0].is_mirrored != epochs[1].is_mirrored).all()


def epoch_batches(folder: Path, epoch: int, seed: int = 0, **options) -> list[torch.Tensor]:
    loader = training_loader(training_crops(folder, seed), 4, epoch, **options)
    return [torch.cat([b.images.flatten(1).float(), b.params_w], 1) for b in loader]


def test_loader_depends_on_seed_and_epoch_not_on_workers(crops_folder):
    first = epoch_batches(crops_folder, epoch=1, workers=0)
    assert [len(batch) for batch in first] == [4, 4]
    again = epoch_batches(crops_folder, epoch=1, workers=2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], epoch_batches(crops_folder, epoch=2, workers=0)[0])
    assert not torch.equal(first[0], epoch_batches(crops_folder, 1, seed=1, workers=0)[0])


def test_workers_do_not_hang_after_opencv_used_its_threads(crops_folder):
    cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (31, 31), 0)  # opens OpenCV's pool
    threads = cv2.getNumThreads()
    assert len(epoch_batches(crops_folder, epoch=1, workers=2)) == 2
    assert cv2.getNumThreads() == threads


def test_ranks_share_every_batch_evenly():
    whole = [set(batch) for batch in EpochBatches(103, 40, 0, 1)]
    ranks = [list(EpochBatches(103, 40, 0, 1, rank, 4)) for rank in range(4)]
    for index, batch in enumerate(whole):
        assert [len(rank[index]) for rank in ranks] == [10] * 4
        assert set().union(*(rank[index] for rank in ranks)) == batch
    assert len(set().union(*whole)) == 80


def test_an_epoch_can_be_entered_in_the_middle():
    whole = list(EpochBatches(103, 10, 0, 1))
    assert list(EpochBatches(103, 10, 0, 1, start=4)) == whole[4:]


def test_a_set_smaller_than_a_batch_is_one_batch():
    assert [len(b) for b in EpochBatches(3, 10, 0, 1)] == [3]


def test_lengths_must_match(crops_folder):
    fileio.write_list(crops_folder / "crops.list", ["00.png"] * 9)
    with pytest.raises(fileio.InputError, match=r"crops\.list lists 9 .*params\.pkl holds 10 rows"):
        training_crops(crops_folder)


def test_empty_list(crops_folder):
    fileio.write_list(crops_folder / "crops.list", [])
    with pytest.raises(fileio.InputError, match=r"crops\.list: lists no images"):
        training_crops(crops_folder)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (np.zeros((10, 61), np.float32), r"not an \(N, 62\)"),
        (np.full((10, 62), np.nan, np.float32), "not finite"),
        (np.full((10, 62), "text"), "values of type"),
        ({"params": [1]}, r"not an \(N, 62\)"),
    ],
)
def test_parameters_must_be_a_finite_table(crops_folder, params, message):
    with open(crops_folder / "params.pkl", "wb") as file:
        pickle.dump(params, file)
    with pytest.raises(fileio.InputError, match=message):
        training_crops(crops_folder)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_crop_is_named_and_replaced(crops_folder, workers):
    picture = crops_folder / "images" / "04.png"
    picture.write_bytes(picture.read_bytes()[:2000])
    (crops_folder / "images" / "07.png").unlink()
    (batch,) = training_loader(training_crops(crops_folder), 10, 0, workers)
    first, second = sorted(batch.unreadable)
    assert "04.png: the picture is cut off" in first
    assert "07.png: file not found" in second
    assert batch.images.shape == (10, *PIXELS)
    rows = batch.rows.tolist()
    assert set(rows) == {0, 1, 2, 3, 5, 6, 8, 9}
    stored = fileio.read_pickle(crops_folder / "params.pkl")
    np.testing.assert_array_equal(batch.params_w.numpy(), stored[rows, :62])
    pictures = {row: image.numpy().tobytes() for row, image in zip(rows, batch.images, strict=True)}
    assert len(set(pictures.values())) == 8


def test_a_stand_in_is_mirrored_as_its_own_row_is(crops_folder):
    crops = training_crops(crops_folder)
    mirrored = crops.with_mirror_images(-crops.params_w).at_epoch(1)
    missing = int(np.flatnonzero(mirrored.is_mirrored)[0])
    stand_in = int(np.flatnonzero(~mirrored.is_mirrored)[0])
    (crops_folder / "images" / f"{missing:02d}.png").unlink()
    batch = mirrored.batch([missing, stand_in])
    assert batch.rows.tolist() == [stand_in, stand_in]
    assert torch.equal(batch.images[0], batch.images[1])
    assert torch.equal(batch.params_w, crops.params_w[[stand_in, stand_in]])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_without_a_readable_crop_is_an_error_of_one_line(crops_folder, workers):
    crops = TrainingCrops(
        crops_folder / "nowhere", crops_folder / "crops.list", crops_folder / "params.pkl"
    )
    with pytest.raises(
        fileio.InputError, match=r"nowhere/.*\.png: file not found; nor can"
    ) as caught:
        list(training_loader(crops, 10, 0, workers))
    assert "\n" not in str(caught.value)


def test_crops_have_one_size(crops_folder):
    cv2.imwrite(str(crops_folder / "images" / "00.png"), np.zeros((120, 100, 3), np.uint8))
    with pytest.raises(fileio.InputError, match=r"00\.png: 100x120 px, expected 120x120"):
        training_crops(crops_folder).read(0)
