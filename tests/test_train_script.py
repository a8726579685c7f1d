"""train_script.sh from end to end, as on a fresh machine: faces, training, weights, benchmark."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from model_building import read_checkpoint
from synergynet import fileio
from utils.data.folders import ROOT

NOT_NEEDED = ("demo/", "docs/", "pretrained/", "tests/")
TINY = ["--epochs", "1", "--batch-size", "8", "--arch", "mobilenet_025", "--milestones", "1"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tracked files, without data of the user's."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: which files belong to the project is not known")
    folder = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    for name in listed.stdout.decode().split("\0"):
        if name and not name.startswith(NOT_NEEDED):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def run(folder: Path, *command: str) -> str:
    """Run a command in the copy; its standard output."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PYTHON": sys.executable, "COUNT": "32"},
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,  # a busy machine is no failure
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_train_benchmark_and_train_again(checkout):
    printed = run(checkout, "bash", "train_script.sh", *TINY)
    assert "no published training data here: training on synthetic faces" in printed
    assert "32 images, " in printed
    snapshot = checkout / "ckpts" / "SynergyNet_checkpoint_epoch_1.pth.tar"
    assert read_checkpoint(snapshot)["epoch"] == 1

    printed = run(checkout, sys.executable, "benchmark.py", "-w", str(snapshot), "-d", "cpu")
    assert "3dmm_data/ has no Basel Face Model" in printed
    assert "aflw2000_data/ has no AFLW2000-3D" in printed
    assert fileio.read_json(checkout / "results" / "benchmark.json")["arch"] == "mobilenet_025"

    faces = {path: path.stat().st_mtime_ns for path in checkout.glob("synthetic_data/**/*")}
    assert len(faces) > 32
    printed = run(checkout, "bash", "train_script.sh", *TINY, "--dry-run")
    assert "nothing was written" in printed
    again = {path: path.stat().st_mtime_ns for path in checkout.glob("synthetic_data/**/*")}
    assert again == faces  # used, not rendered again


def test_a_machine_without_nproc_trains_too(tmp_path):
    """macOS has none; the number of cores comes from elsewhere."""
    (tmp_path / "bin").mkdir()
    for tool in ("dirname", "getconf"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    shutil.copy(ROOT / "train_script.sh", tmp_path)
    python = tmp_path / "bin" / "python"
    bash = shutil.which("bash")
    python.write_text(f'#!{bash}\n[[ $1 == -c ]] && exit $((${{#2}} > 20))\necho "$@"\n')
    python.chmod(0o755)
    done = subprocess.run(
        [bash, tmp_path / "train_script.sh"],
        env={"PATH": str(tmp_path / "bin")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    cores = int(subprocess.run(["getconf", "_NPROCESSORS_ONLN"], capture_output=True).stdout)
    assert f"synthetic --workers {cores} " in done.stdout
    assert ("--processes 2" in done.stdout) == (cores > 1)
