"""Processes that train together end together."""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

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
