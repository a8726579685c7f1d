"""`synergynet check` passes on what is shipped, and fails on each thing that can be wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from synergynet import fileio
from synergynet.command import check
from synergynet.command.main import command
from synergynet.detection import detectors
from synergynet.detection.detectors import CenterFace
from synergynet.engines import backbone
from synergynet.engines.backbone import OpenCVEngine
from synergynet.geometry.crop import roi_box_from_face_box
from synergynet.photos.crops import network_crop
from synergynet.weights import read_weights
from utils.data.folders import ROOT


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


def only_wrong_line(out: str) -> str:
    """The one line that says what is wrong, of a screen whose last line says that something is."""
    lines = out.splitlines()
    assert lines[-1] == "SOMETHING IS WRONG: see the lines above"
    (wrong,) = (line for line in lines if line.endswith("WRONG"))
    return wrong


@pytest.mark.parametrize("name", sorted(check.BUILT_IN_FILES))
def test_one_flipped_bit_is_seen(assets, capsys, name):
    content = bytearray((assets / name).read_bytes())
    content[len(content) // 2] ^= 1
    (assets / name).write_bytes(content)
    assert command(["check"]) == 1
    assert f"{name}: altered; install it again: pip" in only_wrong_line(capsys.readouterr().out)


@pytest.mark.parametrize("name", sorted({*check.BUILT_IN_FILES, check.SUMS}))
def test_an_absent_file_is_one_line(assets, capsys, name):
    (assets / name).unlink()
    assert command(["check"]) == 1
    assert only_wrong_line(capsys.readouterr().out).endswith(f"{name}: file not found: WRONG")


@pytest.mark.parametrize("keep", [0, 3])
def test_a_list_of_hashes_that_leaves_a_file_out_is_no_proof(assets, capsys, keep):
    lines = (assets / check.SUMS).read_text().splitlines(keepends=True)
    (assets / check.SUMS).write_text("".join(lines[:keep]))
    assert command(["check"]) == 1
    assert "SHA256SUMS: not the SHA-256 of expected" in only_wrong_line(capsys.readouterr().out)


@pytest.mark.parametrize("name", ["network.onnx", "network.npz", "face.png"])
@pytest.mark.parametrize("content", [b"", b"no such file"])
def test_a_damaged_file_with_the_right_hash_is_one_line(assets, capsys, name, content):
    (assets / name).write_bytes(content)
    renew_sums(assets)
    assert command(["check"]) == 1
    assert name in only_wrong_line(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("entry", "step"), [("params_w", 2e-4), ("landmarks", 0.02), ("pose_deg", 0.02)]
)
def test_other_numbers_are_wrong(assets, capsys, entry, step):
    table = json.loads((assets / check.EXPECTED).read_text())
    values = np.array(table[entry])
    values.flat[-1] += step
    (assets / check.EXPECTED).write_text(json.dumps(table | {entry: values.tolist()}))
    renew_sums(assets)
    assert command(["check"]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.endswith("WRONG")]
    assert lines
    assert all("degrees from PyTorch's: WRONG" in line for line in lines)


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"params_w": [1], "landmarks": [], "pose_deg": []}', '{"params_w": 1}']
)
def test_numbers_of_another_kind_are_one_line(assets, capsys, text):
    (assets / check.EXPECTED).write_text(text)
    renew_sums(assets)
    assert command(["check"]) == 1
    assert "expected.json: not the numbers of a face" in only_wrong_line(capsys.readouterr().out)


@pytest.mark.parametrize("step", [2e-4, np.nan])
def test_an_engine_that_is_off_is_wrong(assets, capsys, monkeypatch, step):
    run = OpenCVEngine.__call__
    monkeypatch.setattr(OpenCVEngine, "__call__", lambda self, crops: run(self, crops) + step)
    assert command(["check"]) == 1
    assert only_wrong_line(capsys.readouterr().out).startswith("OpenCV DNN ")


def test_an_engine_that_breaks_is_one_line(assets, capsys, monkeypatch):
    def broken(self: OpenCVEngine, crops: np.ndarray) -> np.ndarray:
        raise cv2.error("no such layer\n  in line 2")

    monkeypatch.setattr(OpenCVEngine, "__call__", broken)
    assert command(["check"]) == 1
    assert only_wrong_line(capsys.readouterr().out).startswith("OpenCV DNN    no such layer in")


def test_onnx_runtime_that_does_not_start_is_one_line(assets, capsys, monkeypatch):
    monkeypatch.setattr(check, "has_onnxruntime", lambda: True)
    monkeypatch.setattr(backbone, "has_onnxruntime", lambda: True)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # importing it raises ImportError
    assert command(["check"]) == 1
    out = capsys.readouterr().out
    assert only_wrong_line(out).startswith(
        "ONNX Runtime  ONNX Runtime is installed but does not st"
    )
    assert "auto takes ONNX Runtime" in out


def test_without_onnx_runtime_opencv_is_taken_and_the_faster_one_named(assets, capsys, monkeypatch):
    monkeypatch.setattr(check, "has_onnxruntime", lambda: False)
    monkeypatch.setattr(backbone, "has_onnxruntime", lambda: False)
    assert command(["check"]) == 0
    out = capsys.readouterr().out
    assert "engine        auto takes OpenCV DNN; ONNX Runtime would be faster: pip install" in out
    assert "\nONNX Runtime  parameters" not in out


def test_an_opencv_without_the_rasteriser_is_wrong(assets, capsys, monkeypatch):
    monkeypatch.delattr(cv2, "triangleRasterize")
    assert command(["check"]) == 1
    assert "too old" in only_wrong_line(capsys.readouterr().out)


def test_an_opencv_that_cannot_be_imported_is_one_line():
    """What is left of it when opencv-python was installed over it, and removed again."""
    code = """
import sys, types
sys.modules["cv2"] = types.ModuleType("cv2")
from synergynet.command.main import command
sys.exit(command(["check"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: module 'cv2' has no attribute")
    assert done.stderr.count("\n") == 1


def test_the_crop_of_the_built_in_photo_is_the_face_to_the_bit():
    photo, box = check.built_in_photo(check.ASSETS)
    crop = network_crop(photo, roi_box_from_face_box(box)[0])
    np.testing.assert_array_equal(crop, fileio.read_image(check.ASSETS / check.FACE))


@pytest.mark.parametrize(
    ("boxes", "is_right"),
    [
        ([[390, 390, 690, 690, 0.9]], True),
        ([[0, 0, 270, 270, 0.9]], False),
        ([[390, 390, 690, 690, 0.9], [0, 0, 270, 270, 0.8]], False),
        ([], False),
    ],
)
def test_what_the_detector_finds(capsys, monkeypatch, boxes, is_right):
    found = np.array(boxes).reshape(-1, 5)
    monkeypatch.setattr(check, "make_detector", lambda _: lambda photo: found)
    assert command(["check"]) == (0 if is_right else 1)
    assert f"faces found in the drawing: {len(boxes)} of 1" in capsys.readouterr().out


def test_a_detector_whose_file_is_damaged_is_one_line(tmp_path, capsys, monkeypatch):
    (tmp_path / "centerface.onnx").write_bytes(b"text")
    monkeypatch.setattr(check, "make_detector", lambda _: CenterFace(tmp_path / "centerface.onnx"))
    assert command(["check"]) == 1
    assert "centerface.onnx: not an ONNX file" in only_wrong_line(capsys.readouterr().out)


def test_an_absent_detector_is_named_with_its_remedy_and_not_wrong(capsys, monkeypatch):
    monkeypatch.setattr(detectors.importlib.util, "find_spec", lambda _: None)
    assert command(["check"]) == 0
    assert (
        "detector      no face detector is installed: pip install --no" in capsys.readouterr().out
    )
