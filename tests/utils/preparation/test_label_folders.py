"""Folders of labels: arrays and back, by generated labels and the real samples."""

from __future__ import annotations

import dataclasses
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from model_building import load_morphable
from synergynet import fileio
from synergynet.geometry.crop import roi_box_from_landmarks
from synergynet.geometry.parameters import N_SHAPE
from utils.preparation import label_folders
from utils.preparation.labels import (
    FaceLabel,
    label_to_params,
    read_face_label,
    write_face_label,
)

ARRAYS = ("names.list", "params.npy", "params_whitened.npy", "roi_box.npy", "image_size.npy")
SIZES = {"AFW/AFW_1_1_0": (450, 450), "HELEN/HELEN_2_1_3": (300, 200)}  # width, height


@pytest.fixture
def originals(tmp_path, morphable_folder) -> Path:
    """Two labelled pictures in two folders, one not square."""
    morphable = load_morphable(morphable_folder)
    mean, std = (x.double().numpy() for x in (morphable.param_mean, morphable.param_std))
    for seed, (name, (width, height)) in enumerate(SIZES.items()):
        rng = np.random.default_rng(seed)
        pose = np.array([*rng.uniform(-1, 1, 3), 0.5 * width, 0.4 * height, -70, 6e-4])
        coefficients = rng.normal(mean, std)[12:]
        label = FaceLabel(pose, coefficients[:N_SHAPE], coefficients[N_SHAPE:])
        picture = rng.integers(0, 255, (height, width, 3), np.uint8)
        fileio.write_image(tmp_path / "originals" / f"{name}.jpg", picture)
        write_face_label(tmp_path / "originals" / f"{name}.mat", label)
    return tmp_path / "originals"


def test_arrays_hold_what_the_labels_say(originals, tmp_path, morphable_folder, label_landmarks):
    errors = label_folders.mats_to_params(originals, tmp_path / "arrays", morphable_folder)
    morphable = load_morphable(morphable_folder)
    assert sorted(p.name for p in (tmp_path / "arrays").iterdir()) == sorted(ARRAYS)
    assert fileio.read_list(tmp_path / "arrays" / "names.list") == [f"{name}.jpg" for name in SIZES]
    assert list(errors) == [f"{name}.jpg" for name in SIZES]
    for row, (name, (width, height)) in enumerate(SIZES.items()):
        label = read_face_label(originals / f"{name}.mat")
        own = label_landmarks(label, morphable, height)
        box = roi_box_from_landmarks(own, width, height)
        params = label_to_params(label, box, height)
        rows = [np.load(tmp_path / "arrays" / array)[row] for array in ARRAYS[1:]]
        np.testing.assert_allclose(rows[0], params, rtol=1e-9)
        whitened = (params - morphable.param_mean.numpy()) / morphable.param_std.numpy()
        np.testing.assert_allclose(rows[1], whitened, rtol=1e-9)
        np.testing.assert_array_equal(rows[2], box)
        np.testing.assert_array_equal(rows[3], (width, height))


@pytest.mark.parametrize("whitened", [False, True])
def test_round_trip(originals, tmp_path, morphable_folder, whitened):
    label_folders.mats_to_params(originals, tmp_path / "arrays", morphable_folder)
    if whitened:
        (tmp_path / "arrays" / "params.npy").unlink()
    count = label_folders.params_to_mats(tmp_path / "arrays", tmp_path / "mats", morphable_folder)
    assert count == 2
    for name in SIZES:
        got, want = (read_face_label(f / f"{name}.mat") for f in (tmp_path / "mats", originals))
        np.testing.assert_allclose(got.pose, want.pose, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(got.shape, want.shape, rtol=1e-6, atol=1)
        np.testing.assert_allclose(got.expression, want.expression, rtol=1e-6, atol=1e-6)


def test_a_zip_gives_the_same(originals, tmp_path, morphable_folder):
    with zipfile.ZipFile(tmp_path / "300W-LP.zip", "w") as file:
        for path in originals.rglob("*.*"):
            file.write(path, path.relative_to(originals))
    label_folders.mats_to_params(tmp_path / "300W-LP.zip", tmp_path / "a", morphable_folder)
    label_folders.mats_to_params(originals, tmp_path / "b", morphable_folder)
    for name in ARRAYS:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_damaged_label_leaves_nothing(originals, tmp_path, morphable_folder):
    (originals / "HELEN" / "HELEN_2_1_3.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(50))
    with pytest.raises(fileio.InputError, match=r"HELEN_2_1_3\.mat: not a readable"):
        label_folders.mats_to_params(originals, tmp_path / "arrays", morphable_folder)
    assert not (tmp_path / "arrays").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("names.list", "../a.jpg\n/b.jpg\n", r"names\.list: \.\./a\.jpg leads out"),
        ("names.list", "a.jpg\n..\\b.jpg\n", r"names\.list: \.\.\\b\.jpg leads out"),
        ("names.list", "d/a.jpg\nd/a.png\n", r"names\.list: 2 pictures would .* label d/a\.mat"),
        ("params.npy", np.zeros((2, 62)), r"the label of AFW/AFW_1_1_0\.jpg has no camera"),
        ("names.list", "a.jpg\n", r"params\.npy: shape \(2, 62\), expected \(1, 62\)"),
        ("roi_box.npy", np.zeros((2, 4)), r"roi_box\.npy: a box has no area"),
        ("roi_box.npy", None, r"roi_box\.npy: file not found"),
        ("image_size.npy", np.ones((2, 3)), r"image_size\.npy: shape"),
    ],
)
def test_arrays_that_do_not_fit(originals, tmp_path, morphable_folder, name, content, message):
    label_folders.mats_to_params(originals, tmp_path / "arrays", morphable_folder)
    path = tmp_path / "arrays" / name
    path.unlink()
    if isinstance(content, str):
        path.write_text(content)
    elif content is not None:
        fileio.write_array(path, content)
    with pytest.raises(fileio.InputError, match=message):
        label_folders.params_to_mats(tmp_path / "arrays", tmp_path / "mats", morphable_folder)
    assert not (tmp_path / "mats").exists()


def test_existing_labels_are_kept(originals, tmp_path, morphable_folder):
    label_folders.mats_to_params(originals, tmp_path / "arrays", morphable_folder)
    shutil.copytree(originals / "AFW", tmp_path / "mats" / "AFW")
    with pytest.raises(fileio.InputError, match="AFW: already there"):
        label_folders.params_to_mats(tmp_path / "arrays", tmp_path / "mats", morphable_folder)


def test_labels_of_another_face_model_are_refused(
    originals, tmp_path, morphable_folder, label_landmarks
):
    for name, (_, height) in SIZES.items():
        path = originals / f"{name}.mat"
        label = read_face_label(path)
        pt2d = label_landmarks(label, load_morphable(morphable_folder), height)[:2] + 9
        write_face_label(path, dataclasses.replace(label, pt2d=pt2d, pt3d_68=None))
    with pytest.raises(fileio.InputError, match="miss their own points"):
        label_folders.mats_to_params(originals, tmp_path / "arrays", morphable_folder)
    assert not (tmp_path / "arrays").exists()


def test_real_labels(shared_folder, tmp_path):
    """8 of AFLW2000-3D get their published boxes; one of 300W-LP survives the round trip."""
    data = shared_folder / "data"
    for source, count in (("aflw2000_samples", 8), ("300wlp_sample", 1)):
        first, mats, second = (tmp_path / source / step for step in ("first", "mats", "second"))
        errors = label_folders.mats_to_params(data / source, first, data / "3dmm_bfm")
        assert len(errors) == count
        assert max(errors.values()) < 8
        assert label_folders.params_to_mats(first, mats, data / "3dmm_bfm") == count
        for picture in (data / source).glob("*.jpg"):
            shutil.copy(picture, mats)
        label_folders.mats_to_params(mats, second, data / "3dmm_bfm")
        boxes = np.load(first / "roi_box.npy")
        if source == "300wlp_sample":  # boxes of both come from the labels' own points
            np.testing.assert_array_equal(boxes, np.load(second / "roi_box.npy"))
            before, after = (np.load(f / "params_whitened.npy") for f in (first, second))
            assert np.abs(before - after).max() < 1e-5
        else:
            rows = [55, 150, 286, 311, 749, 1238, 1263, 1984]
            published = np.load(data / "aflw2000_eval" / "AFLW2000-3D_crop.roi_box.npy")[rows]
            np.testing.assert_array_equal(boxes, published)
