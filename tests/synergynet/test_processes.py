"""Values that are built once a process, now or ahead."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from synergynet.processes import PerProcess

SOON_S = 10
ROOT = Path(__file__).resolve().parents[2]


def test_what_is_built_ahead_is_built_once_and_by_another_thread():
    builders: list[threading.Thread] = []
    started, may_go_on = threading.Event(), threading.Event()

    def build() -> str:
        started.set()
        assert may_go_on.wait(SOON_S)
        builders.append(threading.current_thread())
        return "value"

    holder = PerProcess(build)
    holder.build_ahead()
    assert started.wait(SOON_S)  # while this thread does something else
    may_go_on.set()
    assert holder.get() == holder.get() == "value"
    assert len(builders) == 1
    assert builders[0] is not threading.current_thread()


def test_what_fails_ahead_is_silent_until_the_value_is_needed(capsys):
    failed = threading.Event()

    def build() -> str:
        try:
            raise ValueError("no such file")
        finally:
            failed.set()

    holder = PerProcess(build)
    holder.build_ahead()
    assert failed.wait(SOON_S)
    with pytest.raises(ValueError, match="no such file"):
        holder.get()
    assert capsys.readouterr().err == ""


class Ending:
    """Ends the process when it goes: a session would wait for its threads for good."""

    def __init__(self, owner: int) -> None:
        self.owner = owner

    def __del__(self) -> None:
        if os.getpid() != self.owner:
            os._exit(7)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that forks")
def test_a_child_leaves_its_parents_value_alone_also_at_its_end():
    program = """
import os, sys
from synergynet.processes import PerProcess
from tests.synergynet.test_processes import Ending

holder = PerProcess(lambda: Ending(os.getpid()))
holder.get()
child = os.fork()
if child == 0:
    assert holder.get().owner == os.getpid()
    sys.exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0
