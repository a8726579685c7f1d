"""One run at a time: a lock that ends with its process, and what killed runs leave behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from synergynet import fileio
from synergynet.run_folder import only_run

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys, time
from pathlib import Path
from synergynet import fileio
from synergynet.run_folder import only_run

with only_run(*sys.argv[1:3], is_shared=len(sys.argv) > 3):
    with fileio.whole_file("out/deep/half.bin") as path:
        path.write_bytes(b"half")
        with fileio.all_or_nothing("out", ["done"]) as staging:
            (staging / "done").write_text("not yet")
            print("ready", flush=True)
            time.sleep(60)
"""


@pytest.fixture
def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen]:
    """A process that is in the middle of a run in out/."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    command = [sys.executable, "-c", HOLD, "out", "run"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def files() -> list[str]:
    return sorted(str(path) for path in Path().rglob("*") if path.is_file())


def test_a_second_run_gets_one_line_and_disturbs_nothing(other):
    before = files()
    assert len(before) == 3  # the lock, a half-written file, and one in a hidden folder
    with pytest.raises(fileio.InputError, match=r"^out: another run"), only_run("out"):
        pass
    with only_run("."):  # whose folders it looks through
        pass
    assert files() == before


def test_what_a_killed_run_left_is_removed_by_the_next(other):
    Path("out/.of_the_user.jpg").touch()
    Path("out/photo.0123abcd.jpg").touch()
    other.send_signal(signal.SIGKILL)
    other.wait()
    with only_run("out"):
        assert files() == ["out/.of_the_user.jpg", "out/.run.lock", "out/photo.0123abcd.jpg"]
    assert files() == ["out/.of_the_user.jpg", "out/photo.0123abcd.jpg"]


def test_runs_of_other_names_share_a_folder_and_leave_each_others_files(other):
    before = files()
    with only_run("out", "rank1", is_shared=True):
        pass
    assert files() == before


def test_a_folder_that_was_made_for_nothing_goes_again(tmp_path):
    with only_run(tmp_path / "new"):
        assert (tmp_path / "new").is_dir()
    assert not (tmp_path / "new").exists()
    with only_run(tmp_path / "kept"):
        (tmp_path / "kept" / "a").touch()
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["a"]
    with pytest.raises(ZeroDivisionError), only_run(tmp_path / "failed"):
        raise ZeroDivisionError
    assert not (tmp_path / "failed").exists()
