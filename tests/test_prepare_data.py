"""The command line of prepare_data: subcommands, exit codes, one-line errors."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io

import prepare_data
from utils.io import run_command
from utils.params import OPEN_FOLDER


def run(*arguments: str) -> int:
    args = prepare_data.get_args_parser().parse_args(arguments)
    return run_command(prepare_data.main, args)


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """A folder with one generated AFLW2000 original."""
    folder = tmp_path / "originals"
    folder.mkdir()
    cv2.imwrite(str(folder / "image00002.jpg"), np.full((450, 450, 3), 90, np.uint8))
    landmarks = np.random.default_rng(0).uniform(100, 300, (3, 68))
    label = {"pt3d_68": landmarks, "Pose_Para": np.zeros((1, 7))}
    scipy.io.savemat(folder / "image00002.mat", label)
    return folder


def test_aflw2000(original, tmp_path, capsys):
    output = tmp_path / "data"
    assert run("aflw2000", "--source", str(original), "--output", str(output)) == 0
    assert (output / "AFLW2000-3D_crop" / "image00002.jpg").is_file()
    assert "1 crops" in capsys.readouterr().out


@pytest.mark.parametrize("broken", ["source", "output"])
def test_errors_are_one_line_and_exit_code_2(original, tmp_path, capsys, broken):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("a file where a folder should be")
    paths = {"source": original, "output": tmp_path / "data", broken: in_the_way}
    arguments = [f"--{name}={path}" for name, path in paths.items()]
    assert run("aflw2000", *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {in_the_way}")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("flag", "least"), [("--count=0", 1), ("--count=-3", 1), ("--seed=-1", 0), ("--workers=-1", 0)]
)
def test_numbers_too_small_are_one_line_and_exit_code_2(tmp_path, capsys, flag, least):
    assert run("synthetic", f"--output={tmp_path / 'set'}", flag) == 2
    error = f"error: {flag.replace('=', ' ')}: must be at least {least}\n"
    assert capsys.readouterr().err == error
    assert not (tmp_path / "set").exists()


def test_the_open_model_goes_into_the_project_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    args = prepare_data.get_args_parser().parse_args(["open-model"])
    assert Path(args.output) == OPEN_FOLDER


def test_no_command_is_an_error():
    with pytest.raises(SystemExit) as caught:
        run()
    assert caught.value.code == 2
