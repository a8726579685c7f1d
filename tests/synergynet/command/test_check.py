"""`synergynet check` passes on what is shipped, and fails on each thing that can be wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from synergynet import fileio
from synergynet.command import check
from synergynet.command.main import command
from synergynet.engines.backbone import OpenCVEngine
from synergynet.weights import read_weights


@pytest.fixture
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the built-in files, which the command takes for them."""
    folder = Path(shutil.copytree(check.ASSETS, tmp_path / "assets"))
    monkeypatch.setattr(check, "ASSETS", folder)
    monkeypatch.setattr(check, "read_weights", lambda: read_weights(folder / "network.onnx"))
    monkeypatch.setattr(check, "try_detector", lambda *_: True)
    return folder


def renew_sums(folder: Path) -> None:
    """The list of hashes for what the folder holds now."""
    names = check.read_sums(folder)
    text = "".join(f"{fileio.sha256(folder / name)}  {name}\n" for name in names)
    (folder / check.SUMS).write_text(text)


def test_what_is_shipped_is_right(capsys):
    assert command(["check"]) == 0
    out = capsys.readouterr().out
    assert out.endswith("everything is right\n")
    assert "OpenCV DNN    parameters " in out
    assert len(out.splitlines()) <= 24  # a screen


@pytest.mark.parametrize("name", ["network.onnx", "network.npz", "face.png", "expected.json"])
def test_one_flipped_bit_is_seen(assets, capsys, name):
    content = bytearray((assets / name).read_bytes())
    content[len(content) // 2] ^= 1
    (assets / name).write_bytes(content)
    assert command(["check"]) == 2
    assert f"{name}: altered; install synergynet again\n" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["network.onnx", "face.png", "expected.json", "SHA256SUMS"])
def test_an_absent_file_is_one_line(assets, capsys, name):
    (assets / name).unlink()
    assert command(["check"]) == 2
    error = capsys.readouterr().err
    assert error.endswith(f"{name}: file not found\n")
    assert error.count("\n") == 1


@pytest.mark.parametrize(("entry", "step"), [("params_w", 2e-4), ("landmarks", 0.02)])
def test_other_numbers_are_wrong(assets, capsys, entry, step):
    table = json.loads((assets / check.EXPECTED).read_text())
    values = np.array(table[entry])
    values.flat[-1] += step
    (assets / check.EXPECTED).write_text(json.dumps(table | {entry: values.tolist()}))
    renew_sums(assets)
    assert command(["check"]) == 1
    out = capsys.readouterr().out
    assert "from PyTorch's: WRONG" in out
    assert out.endswith("SOMETHING IS WRONG: see the lines above\n")


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"params_w": [1], "landmarks": []}', '{"params_w": 1}']
)
def test_numbers_of_another_kind_are_one_line(assets, capsys, text):
    (assets / check.EXPECTED).write_text(text)
    renew_sums(assets)
    assert command(["check"]) == 2
    assert "expected.json: not the numbers of a face\n" in capsys.readouterr().err


def test_an_engine_that_is_off_is_wrong(capsys, monkeypatch):
    run = OpenCVEngine.__call__
    monkeypatch.setattr(OpenCVEngine, "__call__", lambda self, crops: run(self, crops) + 2e-4)
    assert command(["check"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert next(line for line in lines if line.startswith("OpenCV DNN")).endswith("WRONG")


@pytest.mark.parametrize(
    ("boxes", "is_right"),
    [([[130, 130, 230, 230, 0.9]], True), ([[0, 0, 90, 90, 0.9]], False), ([], False)],
)
def test_what_the_detector_finds(capsys, monkeypatch, boxes, is_right):
    found = np.array(boxes).reshape(-1, 5)
    monkeypatch.setattr(check, "make_detector", lambda _: lambda photo: found)
    assert command(["check"]) == (0 if is_right else 1)
    assert f"faces found in the drawing: {len(boxes)} of 1" in capsys.readouterr().out
