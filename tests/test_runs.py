"""benchmarks/runs.py: the table by hand, runs that are not repeated, and one run end to end."""

import argparse
import pickle
import subprocess
from pathlib import Path

import pytest

import main_train
from benchmarks import runs
from synergynet import fileio
from utils.data import evaluation_crops
from utils.data.evaluation_crops import CROPS, EVAL, LIST
from utils.synthetic.sets import TRAINING_IMAGES, TRAINING_LIST, TRAINING_PARAMS

TINY_RUN = ("--processes", "1", "--workers", "0", "--batch-size", "4", "--epochs", "1")


@pytest.fixture
def data(reference, tmp_path):
    """A training set of 8 pictures and a test set of 4."""
    names = [f"{i}.jpg" for i in range(8)]
    for name, image in zip(names, reference.arrays["train_images"], strict=False):
        fileio.write_image(tmp_path / "set" / TRAINING_IMAGES / name, image)
    fileio.write_list(tmp_path / "set" / TRAINING_LIST, names)
    targets = reference.arrays["train_targets"][:8]
    (tmp_path / "set" / TRAINING_PARAMS).write_bytes(pickle.dumps(targets))
    for name, image in zip(names[:4], reference.arrays["images"], strict=False):
        fileio.write_image(tmp_path / "test" / CROPS / name, image)
    fileio.write_list(tmp_path / "test" / LIST, names[:4])
    labels = {"AFLW2000-3D.pts68": "metric_gt", "AFLW2000-3D.pose": "metric_yaw"}
    labels |= {"AFLW2000-3D_crop.roi_box": "metric_roi_box"}
    for name, array in labels.items():
        path = tmp_path / "test" / EVAL / f"{name}.npy"
        fileio.write_array(path, reference.arrays[array][:4])
    return tmp_path


def parse(data, *flags):
    parser = argparse.ArgumentParser()
    runs.add_flags(parser, "results")
    folders = [f"--output={data / 'out'}", f"--test={data / 'test'}"]
    return parser.parse_args([*folders, *flags])


def test_a_run_sees_about_as_many_images_as_it_should(data):
    run = runs.Run("paper", 3, data / "set", ("--recipe", "released"))
    args = parse(data, "--images", "81", "--arch", "resnet18")
    parser = main_train.get_args_parser()
    flags = parser.parse_args(runs.training_flags(run, data, 8, args))
    assert (flags.epochs, flags.milestones, flags.save_val_freq) == (10, [7, 9], 10)
    assert (flags.seed, flags.arch, flags.recipe) == (3, "resnet18", "released")
    assert Path(flags.root) == data / "set" / TRAINING_IMAGES
    assert Path(flags.filelists_train) == data / TRAINING_LIST
    few = parser.parse_args(runs.training_flags(run, data, 8, parse(data, "--images", "1")))
    assert (few.epochs, few.milestones) == (1, [1, 1])


@pytest.mark.parametrize(("most", "rows"), [(3, [0, 2, 5]), (0, [0]), (99, range(8))])
def test_a_part_comes_from_all_over_the_set(data, most, rows):
    rows = list(rows)
    folder = data / "run"
    assert runs.take_part(data / "set", folder, most) == len(rows)
    assert fileio.read_list(folder / TRAINING_LIST) == [f"{row}.jpg" for row in rows]
    params_w = fileio.read_pickle(data / "set" / TRAINING_PARAMS)
    assert (fileio.read_pickle(folder / TRAINING_PARAMS) == params_w[rows]).all()


def test_table_by_hand():
    nme, mae = "NME, %", "pose MAE, degrees"
    scores = {
        "all": {0: {nme: 4.0, mae: 5.0}, 1: {nme: 4.4, mae: 6.0}},
        "less": {0: {nme: 5.0}, 1: {nme: 4.9}},
        "begun": {0: {nme: 3.0, mae: 5.0}},
    }
    assert runs.format_table(scores).splitlines() == [
        "| | seeds | NME, % | pose MAE, degrees |",
        "|---|---:|---:|---:|",
        "| all | 2 | 4.20 ± 0.20 | 5.50 ± 0.50 |",
        "| less | 2 | 4.95 ± 0.05 | - |",
        "| begun | 1 | 3.00 | 5.00 |",
    ]
    assert runs.format_table(scores, against="all").splitlines()[2:] == [
        "| all | 2 | 4.20 ± 0.20 | 5.50 ± 0.50 |",
        "| less | 2 | +0.75 ± 0.25 | - |",  # +1.0 and +0.5, seed by seed
        "| begun | 1 | -1.00 | +0.00 |",
    ]


def test_the_table_grows_with_every_run(data, monkeypatch, capsys):
    monkeypatch.setattr(runs, "train", lambda run, args: Path(f"{run.name}_{run.seed}"))
    monkeypatch.setattr(
        runs, "score", lambda weights, folder, morphable: {"NME, %": float(weights.name[-1])}
    )
    tables = []

    def some_runs():
        for seed in (3, 5):
            yield runs.Run("first", seed, data / "set")
            tables.append((data / "out" / runs.TABLE).read_text())

    runs.compare(some_runs(), parse(data))
    assert [table.splitlines()[-1] for table in tables] == [
        "| first | 1 | 3.00 |",
        "| first | 2 | 4.00 ± 1.00 |",
    ]
    assert f"{data / 'test'}, 4 images:" in tables[0]
    assert capsys.readouterr().out == "".join(f"{table}\n" for table in tables)


@pytest.fixture
def in_this_process(data, monkeypatch):
    """Training runs here, which saves the start; returns the list of commands."""
    commands = []

    def run(command, **_):
        commands.append([str(item) for item in command])
        args = main_train.get_args_parser().parse_args(commands[-1][2:])
        return subprocess.CompletedProcess(command, fileio.run_command(main_train.main, args))

    monkeypatch.setattr(evaluation_crops, "default_test_folder", lambda: data / "test")
    monkeypatch.setattr(runs.subprocess, "run", run)
    return commands


def test_a_run_is_trained_once_and_scored(data, morphable_folder, in_this_process):
    flags = ["--arch", "mobilenet_025", "--images", "20", "--morphable", str(morphable_folder)]
    args = parse(data, *flags, "--", *TINY_RUN)
    run = runs.Run("backbone", 0, data / "set", ("--recipe", "backbone"))
    weights = runs.train(run, args)
    assert weights.parent == data / "out" / "backbone_0"
    assert {path.name for path in weights.parent.glob("*.tar")} == {weights.name}
    assert runs.train(run, args) == weights
    assert len(in_this_process) == 1
    found = runs.score(weights, data / "test", args.morphable)
    assert found.keys() == {"NME, %", "NME by image, %"}  # no refiner, no pose, no parameters
    assert all(value > 0 for value in found.values())
    other = parse(data, *flags, "--", *TINY_RUN, "--ema", "0.5")
    with pytest.raises(fileio.InputError, match="backbone_0: made with other settings"):
        runs.train(run, other)


def test_training_that_fails_is_one_line(data, morphable_folder, in_this_process, capsys):
    args = parse(data, "--morphable", str(morphable_folder), "--", *TINY_RUN, "--batch-size", "99")
    with pytest.raises(fileio.InputError, match="paper_0: training was cut off"):
        runs.train(runs.Run("paper", 0, data / "set"), args)
    assert "--batch-size 99" in capsys.readouterr().err
