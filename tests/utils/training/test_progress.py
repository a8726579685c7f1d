"""What a run shows: table, picture, estimates, and images that cannot be read."""

from __future__ import annotations

import importlib.util
import logging
import sys

import numpy as np
import pytest
import torch

from synergynet import fileio
from utils.data.training_crops import Batch
from utils.training import progress

ROWS = [
    {"epoch": 1, "step": 10, "learning_rate": 0.1, "loss": 2.5, "images_per_second": 30.0},
    {"epoch": 1, "step": 20, "learning_rate": 0.1, "nme": 5.25, "pose_mae": 4.5},
    {"epoch": 2, "step": 30, "learning_rate": 0.05, "loss": 1.0 / 3, "images_per_second": 31.0},
]


def batch(unreadable=()):
    pixels = torch.zeros(2, 120, 120, 3, dtype=torch.uint8)
    return Batch(pixels, torch.zeros(2, 62), torch.arange(2), list(unreadable))


def test_table_round_trip_up_to_a_step(tmp_path):
    path = tmp_path / "log.csv"
    progress.write_table(path, ROWS)
    assert progress.read_table(path, 30) == ROWS
    assert progress.read_table(path, 29) == ROWS[:2]
    assert progress.read_table(tmp_path / "absent.csv", 30) == []


@pytest.mark.parametrize("content", [b"epoch,loss\n1,2\n", b"step\ntwo\n", b"step\n\xff\n"])
def test_other_files_are_no_tables(tmp_path, content):
    (tmp_path / "log.csv").write_bytes(content)
    with pytest.raises(fileio.InputError, match=r"log\.csv: not a table of main_train\.py"):
        progress.read_table(tmp_path / "log.csv", 30)


def test_a_resumed_run_goes_on_with_its_table(tmp_path):
    path = tmp_path / "log.csv"
    progress.write_table(path, ROWS)
    run = progress.Progress(steps=40, done=20, print_freq=5, table=path, resumed=True)
    run.start_epoch(2, 0.05)
    for step in range(5):
        run.update(batch(), {"loss": torch.tensor(float(step))})
    *before, row = progress.read_table(path, 40)
    assert before == ROWS[:2]
    assert (row["epoch"], row["step"], row["loss"]) == (2, 25, 2.0)


def test_speed_counts_the_images_of_all_processes(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    run = progress.Progress(steps=4, print_freq=4, world_size=3)
    for _ in range(4):
        now[0] += 0.5
        run.update(batch(), {"loss": torch.tensor(1.0)})
    assert run.rows[-1]["images_per_second"] == pytest.approx(3 * 2 * 4 / 2.0)


def test_time_between_epochs_does_not_count(monkeypatch, caplog):
    """Validation and checkpoints lie there."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    caplog.set_level(logging.INFO, "train")
    run = progress.Progress(steps=16, print_freq=4)
    for _ in range(4):
        now[0] += 100
        run.start_clock()
        for _ in range(2):
            now[0] += 0.5
            run.update(batch(), {"loss": torch.tensor(1.0)})
    assert [row["images_per_second"] for row in run.rows] == [4.0, 4.0]
    assert "ETA 0:00:04" in caplog.text  # 8 steps
    assert "a step takes 0.500 s, the run about 0:00:08" in caplog.text


def test_a_line_of_the_table_costs_as_much_at_its_end_as_at_its_beginning(tmp_path, monkeypatch):
    run = progress.Progress(steps=9, print_freq=1, table=tmp_path / "log.csv")
    run.update(batch(), {"loss": torch.tensor(1.0)})
    monkeypatch.setattr(progress, "write_table", None)  # the whole table
    for _ in range(3):
        run.update(batch(), {"loss": torch.tensor(1.0)})
    assert progress.read_table(tmp_path / "log.csv", 9) == run.rows


def test_a_line_that_was_not_finished_is_left_out(tmp_path):
    """A process killed while it writes; the resumed run writes the line again."""
    path = tmp_path / "log.csv"
    progress.write_table(path, ROWS)
    whole = path.read_bytes()
    for lost in (1, 2, 3, 20):
        path.write_bytes(whole[:-lost])
        assert progress.read_table(path, 30) == ROWS[:2]


def test_a_fresh_run_has_no_rows_of_an_old_one(tmp_path):
    path = tmp_path / "log.csv"
    progress.write_table(path, ROWS)
    run = progress.Progress(steps=40, done=20, print_freq=1, table=path)
    assert progress.read_table(path, 40) == ROWS  # as long as it has none of its own
    run.update(batch(), {"loss": torch.tensor(1.0)})
    assert [row["step"] for row in progress.read_table(path, 40)] == [21]


def test_time_and_memory_are_estimated_after_the_third_step(monkeypatch, caplog):
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    caplog.set_level(logging.INFO, "train")
    run = progress.Progress(steps=1000, print_freq=1000)
    for seconds in (60.0, 2.0, 2.0):  # the first sets kernels up
        now[0] += seconds
        run.update(batch(), {"loss": torch.tensor(1.0)})
    assert "a step takes 2.000 s, the run about 0:33:20; peak memory" in caplog.text


def test_unreadable_images_are_told_once_and_limited(caplog):
    run = progress.Progress(steps=9)
    for _ in range(3):
        run.update(batch(["a.jpg: no picture"]), {"loss": torch.tensor(1.0)})
    assert caplog.text.count("left out, number 1: a.jpg: no picture") == 1
    many = [f"{i}.jpg: no picture" for i in range(progress.MAX_UNREADABLE)]
    with pytest.raises(fileio.InputError, match=r"more than 100 images could not be read"):
        run.update(batch(many), {"loss": torch.tensor(1.0)})


def test_tensorboard_that_is_absent_is_one_clear_line(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(fileio.InputError, match=r"pip install '\.\[tensorboard\]'"):
        progress.Progress(steps=1, tensorboard=tmp_path)


def test_curves_move_with_their_values():
    plot = progress.training_plot(ROWS)
    assert plot.dtype == np.uint8
    assert plot.shape[1] > 2 * plot.shape[0]
    other = progress.training_plot([*ROWS, ROWS[-1] | {"step": 40, "loss": 9.0}])
    assert (plot != other).any()
    assert progress.training_plot([]).shape == plot.shape


def test_a_table_that_cannot_be_read_is_named(broken):
    with pytest.raises(fileio.InputError, match=r"log\.csv: cannot be read"):
        progress.read_table(broken("log.csv"), 1)


def test_a_system_without_the_module_resource_trains(monkeypatch):
    """Windows has none."""
    monkeypatch.setitem(sys.modules, "resource", None)
    spec = importlib.util.find_spec("utils.training.progress")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.peak_memory(torch.device("cpu")) == 0
    assert progress.peak_memory(torch.device("cpu")) > 2**20
