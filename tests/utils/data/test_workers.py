"""Work shared out over processes: order, one thread each, errors, and a killed worker."""

from __future__ import annotations

import os
import signal

import cv2
import pytest
import torch

from synergynet.fileio import InputError
from utils.data import workers
from utils.data.workers import map_in_order


def describe(number: int) -> tuple[int, int, int, int]:
    return number, os.getpid(), cv2.getNumThreads(), torch.get_num_threads()


def refuse(number: int) -> int:
    if number == 3:
        raise InputError("three")
    return number


def end_abruptly(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_processes_of_one_thread_answer_in_order(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    numbers, processes, *threads = zip(*map_in_order(describe, range(40), 2), strict=True)
    assert numbers == tuple(range(40))
    assert os.getpid() not in processes
    assert set(threads[0]) == set(threads[1]) == {1}
    assert os.environ["OMP_NUM_THREADS"] == "2"
    assert "OPENBLAS_NUM_THREADS" not in os.environ


def test_no_workers_work_here():
    assert [process for _, process, *_ in map_in_order(describe, range(3), 0)] == [os.getpid()] * 3


@pytest.mark.parametrize("count", [0, 1])
def test_errors_arrive_as_they_are(count):
    results = map_in_order(refuse, range(5), count)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(InputError, match=r"^three$"):
        next(results)


def test_processes_start_as_on_windows(monkeypatch):
    monkeypatch.setattr(workers, "START_METHOD", "spawn")
    assert list(map_in_order(os.path.basename, ["a/b", "c/d"], 1)) == ["b", "d"]


def test_a_killed_worker_is_an_error_of_one_line():
    with pytest.raises(InputError, match="use fewer --workers"):
        list(map_in_order(end_abruptly, range(3), 1))
