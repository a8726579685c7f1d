"""Packed crops: the folder's pixels, whole files only, and files that do not belong together."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

import prepare_data
from synergynet import fileio
from utils.data import packed
from utils.data.loader import read_crop, read_picture
from utils.data.training_crops import Batch, TrainingCrops, training_loader

NAMES = [f"{i}.png" for i in range(5)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five random crops, their list and targets."""
    rng = np.random.default_rng(0)
    for name in NAMES:
        fileio.write_image(tmp_path / name, rng.integers(0, 256, (120, 120, 3), np.uint8))
    fileio.write_list(tmp_path / "crops.list", NAMES)
    fileio.write_array(tmp_path / "params.npy", rng.standard_normal((5, 62)).astype(np.float32))
    return tmp_path


@pytest.fixture
def packed_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same crops in one file, made in chunks of two."""
    monkeypatch.setattr(packed, "CHUNK", 2)
    packed.write_packed(lambda name: read_crop(folder / name), NAMES, folder / "p" / "c.npy", 2)
    return folder / "p" / "c.npy"


@pytest.mark.parametrize("with_mirror_images", [False, True])
def test_packed_batches_equal_those_of_the_folder(folder, packed_file, with_mirror_images):
    def read_batch(root: Path) -> Batch:
        crops = TrainingCrops(root, folder / "crops.list", folder / "params.npy", seed=3)
        if with_mirror_images:
            crops = crops.with_mirror_images(-crops.params_w)
        crops = crops.at_epoch(2)
        assert crops.is_mirrored.any() == with_mirror_images
        return crops.batch([4, 0, 3])

    from_folder, from_file = read_batch(folder), read_batch(packed_file)
    for one, other in zip(from_folder[:3], from_file[:3], strict=True):
        assert torch.equal(one, other)
    packed.check_packed(packed_file, NAMES)


def test_other_pixels_and_other_lists_are_found_out(packed_file):
    with pytest.raises(fileio.InputError, match=r"c\.npy: packed from another list"):
        packed.open_packed(packed_file, NAMES[::-1])
    pixels = np.load(packed_file, mmap_mode="r+")
    pixels[3, 60, 60, 1] ^= 1
    pixels.flush()
    with pytest.raises(fileio.InputError, match=r"c\.npy: its pixels are not those"):
        packed.check_packed(packed_file, NAMES)


def test_a_changed_crop_is_reported_and_replaced_in_training(folder, packed_file):
    pixels = np.load(packed_file, mmap_mode="r+")
    pixels[3, 60, 60, 1] ^= 1
    pixels.flush()
    crops = TrainingCrops(packed_file, folder / "crops.list", folder / "params.npy")
    batch = crops.batch([2, 3])
    assert batch.rows.tolist() == [2, 2]
    assert len(batch.unreadable) == 1
    assert "c.npy: crop 3 is not as it was packed" in batch.unreadable[0]


def test_files_that_were_packed_without_checksums_are_read(folder, packed_file):
    hashes = fileio.read_json(packed_file.with_suffix(".json"))
    del hashes[packed.SUMS]
    fileio.write_json(packed_file.with_suffix(".json"), hashes)
    crops = TrainingCrops(packed_file, folder / "crops.list", folder / "params.npy")
    assert len(crops.batch([0, 1, 2]).rows) == 3


@pytest.mark.parametrize("size", [0, 100, 5000])
def test_files_that_break_off(packed_file, size):
    packed_file.write_bytes(packed_file.read_bytes()[:size])
    with pytest.raises(
        fileio.InputError, match=r"c\.npy: not a packed file .*prepare_data\.py pack"
    ):
        packed.open_packed(packed_file, NAMES)


def test_hashes_must_be_there(packed_file):
    packed_file.with_suffix(".json").unlink()
    with pytest.raises(fileio.InputError, match=r"c\.json"):
        packed.open_packed(packed_file, NAMES)


def test_nothing_is_left_of_a_set_with_an_unreadable_crop(folder):
    (folder / NAMES[3]).write_bytes(b"")
    with pytest.raises(fileio.InputError, match=r"3\.png"):
        packed.write_packed(lambda name: read_crop(folder / name), NAMES, folder / "p" / "c.npy", 2)
    assert list((folder / "p").iterdir()) == []


def test_a_full_disk_is_told_before_any_work(folder, monkeypatch):
    usage = packed.shutil.disk_usage(folder)._replace(free=1000)
    monkeypatch.setattr(packed.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(fileio.InputError, match=r"c\.npy: needs 0\.0 GB"):
        packed.write_packed(lambda _: np.zeros((120, 120, 3), np.uint8), NAMES, folder / "c.npy", 1)


def test_margins_are_packed_if_they_are_all_the_same(folder):
    for name in NAMES:
        picture = np.random.default_rng(len(name)).integers(0, 256, (140, 140, 3), np.uint8)
        fileio.write_image(folder / name, picture)
    flags = ["pack", "--root", folder, "--list", folder / "crops.list", "--output"]
    arguments = [str(flag) for flag in (*flags, folder / "c.npy", "--workers", 1)]
    args = prepare_data.get_args_parser().parse_args(arguments)
    assert fileio.run_command(prepare_data.main, args) == 0
    crops = TrainingCrops(folder / "c.npy", folder / "crops.list", folder / "params.npy")
    np.testing.assert_array_equal(crops.read(4), picture)
    fileio.write_image(folder / NAMES[2], picture[10:-10, 10:-10])
    with pytest.raises(fileio.InputError, match=r"2\.png: 120x120 px, but 0\.png has 140x140"):
        packed.write_packed(lambda name: read_picture(folder / name), NAMES, folder / "d.npy", 1)


def test_the_name_ends_in_npy(folder):
    with pytest.raises(fileio.InputError, match=r"ends in \.npy"):
        packed.write_packed(lambda _: 1 / 0, NAMES, folder / "crops.bin", 1)


def test_the_command_packs_verifies_and_finds_damage(folder, capsys):
    flags = ["pack", "--root", folder, "--list", folder / "crops.list", "--workers", 1]
    flags += ["--output", folder / "c.npy"]

    def run(*switches):
        arguments = [str(flag) for flag in (*flags, *switches)]
        return fileio.run_command(
            prepare_data.main, prepare_data.get_args_parser().parse_args(arguments)
        )

    assert run() == 0
    assert "c.npy: 5 crops, as packed" in capsys.readouterr().out
    assert run("--verify") == 0
    data = bytearray((folder / "c.npy").read_bytes())
    data[-1] ^= 255
    (folder / "c.npy").write_bytes(data)
    assert run("--verify") == 2
    assert "c.npy: its pixels are not" in capsys.readouterr().err


def test_a_packed_file_that_cannot_be_read_is_named(broken):
    path = broken("c.npy")
    fileio.write_json(path.with_suffix(".json"), {"list": packed.hash_names(NAMES)})
    with pytest.raises(fileio.InputError, match=r"c\.npy: not a packed file"):
        packed.open_packed(path, NAMES)


def test_a_packed_set_travels_as_its_path(folder):
    """To loading processes that inherit nothing: Windows', macOS's, and Linux's from 3.14 on."""
    packed.write_packed(lambda name: read_crop(folder / name), NAMES, folder / "c.npy", 1)
    pixels = packed.open_packed(folder / "c.npy", NAMES)
    data = pickle.dumps(pixels)
    assert len(data) < 1000
    np.testing.assert_array_equal(pickle.loads(data)[1:], pixels[1:])


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_loading_processes_of_any_start_method_give_the_same_batches(folder, method):
    packed.write_packed(lambda name: read_crop(folder / name), NAMES, folder / "c.npy", 1)
    fileio.write_array(folder / "params.npy", np.zeros((len(NAMES), 62), np.float32))
    crops = TrainingCrops(folder / "c.npy", folder / "crops.list", folder / "params.npy")
    expected = [batch.images for batch in training_loader(crops, 2, epoch=1, workers=0)]
    loader = training_loader(crops, 2, epoch=1, workers=1)
    loader.multiprocessing_context = method
    got = [batch.images for batch in loader]
    assert all(torch.equal(one, other) for one, other in zip(expected, got, strict=True))
