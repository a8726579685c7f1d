"""Processes that read pictures: they end with the run, and the run with a line when one is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from synergynet.fileio import InputError
from utils.data.loader import crop_loader

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 20
RUN = """
import os, time
from utils.data.loader import crop_loader

def fetch(rows):
    print(os.getpid(), flush=True)
    time.sleep(60)  # a slow disk

list(crop_loader(fetch, [[0]], workers=1))
"""


def end_abruptly(rows: list[int]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def is_running(process: int) -> bool:
    """Whether there is such a process, which has not ended yet."""
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_a_killed_process_is_an_error_of_one_line():
    with pytest.raises(InputError, match="use fewer --workers"):
        list(crop_loader(end_abruptly, [[0]], workers=1))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux")
def test_processes_end_with_a_run_that_is_killed():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", RUN]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as run:
        assert run.stdout is not None
        reader = int(run.stdout.readline())
        assert is_running(reader)
        run.kill()
    end = time.monotonic() + PATIENCE_S
    while is_running(reader) and time.monotonic() < end:
        time.sleep(0.1)
    assert not is_running(reader)
