"""Sets of synthetic faces: independence from workers, files that the datasets read."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from prepare_data import get_args_parser, main
from synergynet import fileio
from synergynet.fileio import run_command
from synergynet.geometry.crop import roi_box_from_landmarks
from synergynet.geometry.parameters import IMG_SIZE
from utils.data.evaluation_crops import EvaluationCrops
from utils.data.folders import OPEN_FOLDER
from utils.data.training_crops import TrainingCrops
from utils.synthetic.head import load_head
from utils.synthetic.labels import sample_labels
from utils.synthetic.sets import (
    TRAINING_IMAGES,
    TRAINING_LIST,
    TRAINING_PARAMS,
    sample_test_bins,
    write_test_set,
    write_training_set,
)


def test_training_set_is_the_same_for_any_number_of_workers(tmp_path, morphable):
    for name, workers in (("one", 0), ("two", 2)):
        write_training_set(OPEN_FOLDER, tmp_path / name, count=20, seed=3, workers=workers)
    one, two = tmp_path / "one", tmp_path / "two"
    names = fileio.read_list(one / TRAINING_LIST)
    assert len(names) == 20
    for name in names:
        pictures = [(folder / TRAINING_IMAGES / name).read_bytes() for folder in (one, two)]
        assert pictures[0] == pictures[1]
    crops = TrainingCrops(one / TRAINING_IMAGES, one / TRAINING_LIST, one / TRAINING_PARAMS)
    params_w = crops.params_w
    assert torch.equal(params_w, torch.from_numpy(fileio.read_pickle(two / TRAINING_PARAMS)))
    assert len(crops) == 20
    expected = sample_labels(load_head(OPEN_FOLDER), morphable, 20, seed=3)
    params = params_w * morphable.param_std + morphable.param_mean
    scale = np.abs(expected).max(0)
    np.testing.assert_allclose(params.numpy() / scale, expected / scale, atol=1e-5)


def test_test_set_reads_like_aflw2000(tmp_path):
    write_test_set(OPEN_FOLDER, tmp_path, count=8, seed=1)
    crops = EvaluationCrops(tmp_path)
    labels = crops.labels
    assert len(crops) == 8
    assert crops[0].shape == (IMG_SIZE, IMG_SIZE, 3)
    assert labels.landmarks.shape == (8, 3, 68)
    np.testing.assert_allclose(labels.pose_deg[:, 1], labels.yaw_deg)
    # The crops are cut as AFLW2000-3D's: the landmarks' own boxes are the roi boxes.
    boxes = roi_box_from_landmarks(labels.landmarks, 450, 450)
    np.testing.assert_array_equal(boxes, labels.roi_box)


def test_test_bins_have_the_shares_of_aflw2000():
    bins_deg = sample_test_bins(2000, np.random.default_rng(0))
    low, counts = np.unique(bins_deg[:, 0], return_counts=True)
    np.testing.assert_array_equal(low, [0, 30, 60])
    np.testing.assert_array_equal(counts, [1312, 383, 305])
    np.testing.assert_array_equal(bins_deg[:, 1] - bins_deg[:, 0], 30)


def test_shipped_test_set_is_whole():
    folder = OPEN_FOLDER.parent.parent / "aflw2000_data" / "open"
    crops = EvaluationCrops(folder)
    assert len(crops) >= 200
    assert sum(file.stat().st_size for file in folder.rglob("*.*")) < 3e6
    yaw = np.abs(crops.labels.yaw_deg)
    # labels are fits to what was drawn: some faces near a limit change sides
    assert abs((yaw <= 30).mean() - 0.656) < 0.02
    assert abs((yaw > 60).mean() - 0.1525) < 0.02


@pytest.mark.parametrize("kind", [[], ["--test-set"]])
def test_command(tmp_path, capsys, kind):
    arguments = ["synthetic", "--count", "2", "--workers", "0", "--output", str(tmp_path), *kind]
    assert run_command(main, get_args_parser().parse_args(arguments)) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{tmp_path}: 2 synthetic faces; labels")
    assert 0.01 < float(re.search(r"to ([\d.]+) % on average", printed)[1]) < 2
    assert len(list(tmp_path.glob("*/*.jpg"))) == 2


def test_labels_fit_exactly_without_perspective(tmp_path):
    errors = write_training_set(OPEN_FOLDER, tmp_path, count=4, without=["perspective"])
    assert errors.shape == (4,)
    assert errors.max() < 1e-3  # percent


def test_a_missing_model_is_one_clear_line(tmp_path, capsys):
    arguments = ["synthetic", "--output", str(tmp_path), "--morphable", str(tmp_path / "none")]
    assert run_command(main, get_args_parser().parse_args(arguments)) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path / 'none'}: no morphable model here")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "text"), [(["--margin", "101"], "at most 100"), (["--margin", "-1"], "--margin"),
                        (["--margin", "9", "--test-set"], "test sets have none")]
)  # fmt: skip
def test_margins_that_cannot_be(flags, text, capsys):
    args = get_args_parser().parse_args(["synthetic", "--count", "1", *flags])
    assert run_command(main, args) == 2
    assert text in capsys.readouterr().err
