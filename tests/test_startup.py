"""benchmarks/startup.py: its table, sizes and commits, and processes too few to mean anything."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

from benchmarks import against, startup
from synergynet import fileio
from synergynet.detection.detectors import find_centerface

TINY = ["--runs", "1", "--photos", "1", "--album-runs", "1"]


def run(*flags: str) -> int:
    return fileio.run_command(startup.main, startup.get_args_parser().parse_args(flags))


@pytest.fixture
def centerface() -> None:
    try:
        find_centerface()
    except fileio.InputError:
        pytest.skip("needs a face detector")


def is_checkout() -> bool:
    git = ["git", "-C", str(against.ROOT), "rev-parse", "HEAD"]
    return subprocess.run(git, capture_output=True, check=False).returncode == 0


needs_git = pytest.mark.skipif(not is_checkout(), reason="not a checkout of git")


def test_table_by_hand():
    now = {"--help": [0.2, 0.1, 0.3], "one photo": [0.5]}
    before = {"--help": [4, 5, 3.0], "one photo": [5]}
    assert startup.format_table(now, before).splitlines()[2:] == [
        "| --help | 0.100 | 0.200 | 3.000 | 4.000 | 20.0 | 0.3 |",
        "| one photo | 0.500 | 0.500 | 5.000 | 5.000 | 10.0 | 0.8 |",
    ]
    assert startup.format_table(now).splitlines()[2] == "| --help | 0.100 | 0.200 | 0.3 |"


def test_pip_and_links_are_not_counted(tmp_path):
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    for name, size in (("numpy/core.so", 3_000_000), ("pip/x.py", 500), ("top.py", 500_000)):
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).write_bytes(bytes(size))
    (packages / "link.py").symlink_to("top.py")
    assert startup.megabytes(tmp_path) == 3.5


def test_before_the_package_the_command_was_a_script(tmp_path):
    old = startup.commands(tmp_path, tmp_path / "a.jpg", tmp_path, tmp_path)
    assert old["--help"] == ["singleImage.py", "--help"]
    new = startup.commands(against.ROOT, tmp_path / "a.jpg", tmp_path, tmp_path)
    assert new["--help"] == ["-m", "synergynet", "--help"]


def test_photos_differ_and_show_one_face(tmp_path):
    seen: list[np.ndarray] = []

    def detect(photo: np.ndarray) -> np.ndarray:
        seen.append(photo)
        return np.ones((len(seen) % 2, 5))  # every second photo shows none

    paths = against.write_photos(tmp_path, 3, detect)
    assert [path.name for path in paths] == ["0000.jpg", "0001.jpg", "0002.jpg"]
    assert len(seen) == 5
    assert len({path.read_bytes() for path in paths}) == 3
    with pytest.raises(fileio.InputError, match="finds none"):
        against.write_photos(tmp_path, 1, lambda photo: np.empty((0, 5)))


@needs_git
def test_a_checkout_is_whole_and_leaves_nothing_behind():
    with against.checkout("HEAD") as tree:
        assert (tree / "synergynet" / "__init__.py").is_file()
    assert not tree.exists()
    git = ["git", "-C", str(against.ROOT), "worktree", "list"]
    known = subprocess.run(git, capture_output=True, text=True, check=True).stdout
    assert str(tree) not in known


@needs_git
def test_both_commits_run(centerface, capsys):
    assert run(*TINY, "--against", "HEAD") == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    names = [row[0].lstrip("| ") for row in rows]
    assert names == ["import", "--help", "one photo", "album, a photo"]
    assert all(float(cell) > 0 for row in rows for cell in row[1:6])


@needs_git
def test_an_unknown_commit_is_one_line(capsys):
    assert run("--against", "no-such-commit") == 2
    assert "no-such-commit: not to be checked out" in capsys.readouterr().err


def test_a_process_that_fails_is_named(tmp_path):
    with pytest.raises(fileio.InputError, match="failed: ModuleNotFoundError"):
        startup.run_process(["-c", "import no_such_module"], tmp_path)
