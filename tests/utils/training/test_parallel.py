"""Processes that train together end together."""

import argparse
import datetime
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing

from synergynet.fileio import InputError
from utils.data.folders import ROOT
from utils.training import parallel
from utils.training.parallel import Place


def note_pid_and_wait(args: argparse.Namespace, place: Place) -> int:
    """A training run that does nothing, but says where it runs."""
    (args.folder / str(os.getpid())).touch()
    time.sleep(120)
    return 0


def start_two(folder: str) -> None:
    """What the killed program does. It ignores Ctrl-C, as programs in the background do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parallel.run(note_pid_and_wait, argparse.Namespace(folder=Path(folder)), [0], processes=2)


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    assert condition()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_processes_end_when_the_first_is_killed(tmp_path):
    code = f"from tests.utils.training.test_parallel import start_two; start_two({str(tmp_path)!r})"
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    program = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment)
    try:
        wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
    finally:
        program.kill()
        program.wait()
    pids = [int(path.name) for path in tmp_path.iterdir()]
    wait_until(lambda: not any(map(is_running, pids)))


def keep_others_waiting(args: argparse.Namespace, place: Place) -> int:
    """The first process validates for longer than an exchange of gradients may take."""
    if place.rank == 0:
        time.sleep(6)
    place.wait_for_all()
    distributed.all_reduce(torch.ones(1))
    return 0


def test_others_wait_for_a_long_validation(tmp_path):
    group = {"init_method": f"file://{tmp_path}/rendezvous", "world_size": 2}
    group |= {"timeout": datetime.timedelta(seconds=2)}
    errors = multiprocessing.get_context("spawn").SimpleQueue()
    arguments = (keep_others_waiting, argparse.Namespace(), [0], group, errors)
    multiprocessing.spawn(parallel._launched, arguments, 2)
    assert errors.empty()


def test_a_process_makes_its_gpu_the_current_one(monkeypatch):
    current = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    assert parallel.take_device([0], 2) == torch.device("cuda", 2)  # under torchrun
    assert parallel.take_device([3, 1], 1) == torch.device("cuda", 1)
    assert current == [2, 1]
    with pytest.raises(InputError, match="names 2 GPUs for more processes"):
        parallel.take_device([3, 1], 2)
    with pytest.raises(InputError, match="--devices-id 7: this machine has 4"):
        parallel.take_device([7], 0)
