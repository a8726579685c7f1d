"""Flags and names that cannot be: one line on stderr, exit code 2, nothing written."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import benchmark
import export
import main_train
import prepare_data
from synergynet.command.main import command
from synergynet.errors import run_command
from synergynet.weights import BUILT_IN
from utils.data.folders import OPEN_FOLDER, OPEN_WEIGHTS, ROOT

PHOTO = str(ROOT / "aflw2000_data" / "open" / "AFLW2000-3D_crop" / "face0000003.jpg")
README = str(ROOT / "README.md")
TRAIN = ["--morphable", str(OPEN_FOLDER)]
DRAW = ["synthetic", "--output", "drawn", "--workers", "0"]


def script(module) -> Callable[[list[str]], int]:
    return lambda flags: run_command(module.main, module.get_args_parser().parse_args(flags))


# what runs, its flags, what the line says: one line a case
CASES = [
    (command, [], "name pictures"),
    (command, [""], "a name is empty"),
    (command, [PHOTO, "--output", ""], "a name is empty"),
    (command, ["webcam:99999999999999999999"], "webcam:99999999999999999999: file not found"),
    (command, ["webcam:-1"], "webcam:-1: file not found"),
    (command, ["nothing/*.jpg"], "this pattern matches no pictures"),
    (command, ["empty"], "below this folder are no pictures"),
    (command, [PHOTO, "--min-score", "nan"], "--min-score nan: must be at least 0"),
    (command, [PHOTO, "--min-score", "-1"], "--min-score -1.0: must be at least 0"),
    (command, [PHOTO, "--min-size", "-5"], "--min-size -5.0: must be at least 0"),
    (command, [PHOTO, "--max-faces", "0"], "--max-faces 0: must be at least 1"),
    (command, [PHOTO, "--focal", "0"], "--focal 0.0: must be at least 1"),
    (command, [PHOTO, "--focal", "nan"], "--focal nan: must be at least 1"),
    (command, [PHOTO, "--focal", "inf"], "--focal inf: must be at most 1000000"),
    (command, [PHOTO, "--batch-size", "0"], "--batch-size 0: must be at least 1"),
    (command, [PHOTO, "--batch-size", "99999999999"], "--batch-size 99999999999: must be at most"),
    (command, [PHOTO, "--workers", "-1"], "--workers -1: must be at least 1"),
    (command, [PHOTO, "--workers", "99999999"], "--workers 99999999: must be at most"),
    (command, [PHOTO, "--detect-size", "0"], "--detect-size 0: auto, or a number"),
    (command, [PHOTO, "--detect-size", "big"], "--detect-size big: auto, or a number"),
    (command, [PHOTO, "--detect-size", "\u0664\u0660\u0660"], "auto, or a number"),
    (command, [PHOTO, "--detector", "mine"], "unknown detector 'mine'"),
    (command, [PHOTO, "--detector", "yunet:"], "unknown detector 'yunet:'"),
    (command, [PHOTO, "--detector", "yunet:absent.onnx"], "absent.onnx: file not found"),
    (command, [PHOTO, "--detector", f"yunet:{README}"], "not an ONNX file that OpenCV can run"),
    (command, [PHOTO, "--detector", f"yunet:{BUILT_IN}"], "network.onnx: not YuNet's network"),
    (command, [PHOTO, "--detector", "boxes:absent.json"], "absent.json: file not found"),
    (command, [PHOTO, "--detector", f"boxes:{README}"], "README.md: not valid JSON"),
    (command, [PHOTO, "--engine", "fast"], "unknown engine 'fast'"),
    (command, [PHOTO, "-w", "absent.onnx"], "absent.onnx: file not found"),
    (command, [PHOTO, "-w", README], "the runtime takes ONNX files"),
    (command, [PHOTO, "-w", str(OPEN_WEIGHTS)], "the runtime takes ONNX files"),
    (command, [PHOTO, "--arch", "resnet18"], "--arch: for checkpoints of PyTorch"),
    (command, [PHOTO, "--output", README], "README.md: is a file, not a folder"),
    (command, [PHOTO, "--output", f"{README}/below"], "cannot write here"),
    (command, ["empty/" + "n" * 300 + ".jpg"], "cannot be read"),
    (script(benchmark), [], "nothing to score"),
    (script(benchmark), ["-w", README], "README.md: not a checkpoint of plain tensors"),
    (script(benchmark), ["-w", "absent.pth"], "absent.pth: file not found"),
    (script(benchmark), ["-w", str(OPEN_WEIGHTS), "--data", "empty"], "empty: no test set here"),
    (script(benchmark), ["-w", str(OPEN_WEIGHTS), "--border", "60"], "--border 60: from 0 to 59"),
    (script(benchmark), ["-w", str(OPEN_WEIGHTS), "--img_size", "7"], "--img_size 7: the crops"),
    (script(benchmark), ["-w", str(OPEN_WEIGHTS), "-d", "tpu"], "tpu"),
    (script(benchmark), ["-w", str(OPEN_WEIGHTS), "--morphable", "empty"], "no morphable model"),
    (script(benchmark), ["--predictions", README], "README.md: not a readable .npz"),
    (script(benchmark), ["--predictions", README, "--flip"], "--flip runs a network"),
    (script(main_train), [*TRAIN, "--seed", "99999999999999999999"], "must be at most"),
    (script(main_train), [*TRAIN, "--seed", "-1"], "--seed -1: must be at least 0"),
    (script(main_train), [*TRAIN, "--base-lr", "nan"], "--base-lr nan"),
    (script(main_train), [*TRAIN, "--base-lr", "0"], "--base-lr 0.0: must be above 0"),
    (script(main_train), [*TRAIN, "--geometry", "a"], "--geometry a: give ROLL,SCALE,SHIFT"),
    (script(main_train), [*TRAIN, "--geometry", "nan,0,0"], "give ROLL,SCALE,SHIFT"),
    (script(main_train), [*TRAIN, "--ema", "1"], "--ema 1.0: must be at least 0 and below 1"),
    (script(main_train), [*TRAIN, "--epochs", "0"], "--epochs 0: must be at least 1"),
    (script(main_train), [*TRAIN, "--arch", "vgg"], "unknown arch 'vgg'"),
    (script(main_train), [*TRAIN, "--filelists-train", "absent"], "absent: no training data here"),
    (script(prepare_data), [*DRAW, "--count", "1000000000000000"], "must be at most"),
    (script(prepare_data), [*DRAW, "--count", "0"], "--count 0: must be at least 1"),
    (script(prepare_data), [*DRAW, "--count", "1", "--seed", "9223372036854775808"], "at most"),
    (script(prepare_data), [*DRAW, "--count", "1", "--margin", "101"], "must be at most 100"),
    (script(prepare_data), [*DRAW, "--count", "1", "--without", "faces"], "no such ingredient"),
    (script(prepare_data), [*DRAW, "--count", "1", "--assets", "empty"], "no MakeHuman assets"),
    (script(prepare_data), ["pose", "--source", "opencv", "nan", "0", "0"], "no rotation"),
    (script(prepare_data), ["pose", "--source", "opencv", "1e400", "0", "0"], "no rotation"),
    (script(prepare_data), ["pose", "--source", "opencv", "1", "2"], "2 numbers, expected 3"),
    (script(prepare_data), ["aflw2000", "--source", "absent"], "absent"),
    (script(prepare_data), ["300w-lp", "--source", "empty"], "empty"),
    (script(export), ["-w", str(OPEN_WEIGHTS), "--output", "empty"], "empty: is a folder"),
    (script(export), ["-w", README, "--output", "a.onnx"], "not a checkpoint"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("run", "flags", "says"), CASES, ids=[f"{i}-{case[2][:30]}" for i, case in enumerate(CASES)]
)
def test_flags_and_names_that_cannot_be(tmp_path, monkeypatch, capsys, run, flags, says):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    monkeypatch.setattr(sys, "argv", ["test"])
    assert run(flags) == 2
    printed = capsys.readouterr()
    lines = printed.err.strip().splitlines()
    assert len(lines) == 1, lines
    assert says in lines[0]
    left = [path for _, _, files in os.walk(tmp_path) for path in files]
    assert [name for name in left if not name.startswith("results_rank")] == []
