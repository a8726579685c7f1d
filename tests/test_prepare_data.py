"""The command line of prepare_data: subcommands, exit codes, one-line errors."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io

import prepare_data
from synergynet.fileio import run_command
from utils.data.folders import OPEN_FOLDER


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


def test_the_open_model_that_is_there_is_not_overwritten(tmp_path, capsys):
    (tmp_path / "keypoints_sim.npy").write_bytes(b"")
    assert run("open-model", f"--output={tmp_path}") == 2
    assert "keypoints_sim.npy: already there; remove it or choose" in capsys.readouterr().err
    assert run("open-model") == 2  # the tracked one: shipped weights belong to its whitening
    assert "open" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [[], ["--test-set"]])
def test_a_synthetic_set_that_is_there_is_not_overwritten(tmp_path, capsys, kind):
    flags = ["synthetic", f"--output={tmp_path}", "--workers=0", *kind]
    assert run(*flags, "--count=2") == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert run(*flags, "--count=1") == 2
    error = capsys.readouterr().err
    assert "already there; remove it or choose another --output" in error
    assert error.count("\n") == 1
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_no_command_is_an_error():
    with pytest.raises(SystemExit) as caught:
        run()
    assert caught.value.code == 2


# ---------------------------------------------------------------- labels, poses, files


def test_aflw2000_is_compared_with_published_files(original, tmp_path, capsys):
    output = str(tmp_path / "data")
    assert run("aflw2000", "--source", str(original), "--output", output) == 0
    assert run("aflw2000", "--output", output, "--compare", output) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == [
        "AFLW2000-3D.pts68.npy",
        "AFLW2000-3D.pose.npy",
        "AFLW2000-3D_crop.roi_box.npy",
        "ALFW2000-3D_pose_3ANG_excl.npy",
        "AFLW2000-3D_crop",
    ]
    assert all(line.endswith("1 images: none") for line in lines[2:])
    assert run("aflw2000", "--output", output) == 2
    assert "--source or --compare is needed" in capsys.readouterr().err


def test_3dmm(tmp_path, capsys):
    assert run("3dmm", f"--source={OPEN_FOLDER}", f"--output={tmp_path / 'model'}") == 0
    assert "2820 vertices" in capsys.readouterr().out
    assert (tmp_path / "model" / "mean_face.png").is_file()
    assert run("3dmm", f"--source={tmp_path / 'none'}", f"--output={tmp_path / 'b'}") == 2
    assert capsys.readouterr().err == f"error: {tmp_path / 'none'}: no such folder or zip\n"


def test_labels_each_way(original, tmp_path, capsys):
    model, arrays, mats = f"--morphable={OPEN_FOLDER}", tmp_path / "arrays", tmp_path / "mats"
    label = {
        "Pose_Para": np.array([[0.1, 0.2, 0.3, 200, 250, 0, 1e-3]]),
        "Shape_Para": np.full((199, 1), 0.5),
        "Exp_Para": np.full((29, 1), 0.1),
    }
    scipy.io.savemat(original / "image00002.mat", label)
    assert run("labels", "--to=params", f"--source={original}", f"--output={arrays}", model) == 0
    assert "1 labels" in capsys.readouterr().out
    assert run("labels", "--to=mat", f"--source={arrays}", f"--output={mats}", model) == 0
    back = scipy.io.loadmat(mats / "image00002.mat")
    np.testing.assert_allclose(back["Pose_Para"], label["Pose_Para"], atol=1e-6)
    np.testing.assert_allclose(back["Shape_Para"][:40], 0.5)


def test_pose_in_all_conventions(capsys):
    assert run("pose", "--source=fsa-net", "-30", "0", "0") == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["300w-lp"].endswith("0.000000 -0.523599 0.000000")
    assert lines["3ddfa"].split()[-3] == "-30.000000"
    assert lines["opengl"].count(";") == 3
    assert list(map(float, lines["synergynet"].split()[-3:])) == [-30, 0, 0]
    assert run("pose", "--source=6drepnet", "1", "2") == 2
    assert "6drepnet: 2 numbers, expected 9 (3x3 matrix)" in capsys.readouterr().err


def test_printed_poses_can_be_passed_back(capsys):
    """Also where numbers are nearly 0: argparse takes -1e-17 for a flag."""
    assert run("pose", "--source=3ddfa", "90", "1e-9", "-0.00001") == 0
    first = capsys.readouterr().out
    assert "e-" not in first
    numbers = next(line.split()[-3:] for line in first.splitlines() if line.startswith("opencv"))
    assert run("pose", "--source=opencv", *numbers) == 0
    for before, after in zip(first.splitlines(), capsys.readouterr().out.splitlines(), strict=True):
        if before.startswith("opengl"):
            values = [
                [float(x) for x in line.replace(";", "").split()[-16:]] for line in (before, after)
            ]
            np.testing.assert_allclose(*values, atol=1e-5)


def test_numbers_near_zero_are_no_flags(capsys):
    assert run("pose", "--source=fsa-net", "-1e-3", "-.5E-2", "-3.") == 0
    printed = capsys.readouterr().out
    assert "-0.001000 -0.005000 -3.000000" in printed


def test_degrees_in_place_of_radians_are_told(capsys):
    assert run("pose", "--source=300w-lp", "10", "20", "30") == 2
    assert "takes radians; for degrees, pass --source fsa-net" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run("pose", "--help")
    assert "300w-lp: pitch, yaw, roll in radians" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("source", "numbers"),
    [
        ("6drepnet", "1 0 0 0 1 0 0 0 -1"),
        ("6drepnet", "1 2 3 4 5 6 7 8 9"),
        ("opengl", " ".join(["0"] * 16)),
        ("300w-lp", "0.3 nan 0.2"),
    ],
)
def test_numbers_that_are_no_rotation(capsys, source, numbers):
    assert run("pose", f"--source={source}", *numbers.split()) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"no rotation ({source})" in error


def test_check_for_people_and_for_programs(capsys):
    assert run("check") == 0
    assert "open morphable model" in capsys.readouterr().out
    assert run("check", "--json") == 0
    assert {"folder", "files", "licence", "ask", "unlocks"} <= json.loads(capsys.readouterr().out)[
        0
    ].keys()
