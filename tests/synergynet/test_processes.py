"""Values that are built once a process, now or ahead."""

from __future__ import annotations

import threading

import pytest

from synergynet.processes import PerProcess

SOON_S = 10


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
