"""benchmarks/spread.py: measures by hand, what is drawn against itself, pictures made up."""

import cv2
import numpy as np
import pytest

from benchmarks import spread
from model_building import load_morphable
from synergynet import fileio
from synergynet.geometry.pose import Pose
from utils.data.evaluation_crops import EVAL, LANDMARKS_FILE, OPEN_TEST_FOLDER
from utils.data.folders import OPEN_FOLDER
from utils.data.landmark_model import LandmarkModel


def run(*flags):
    return fileio.run_command(spread.main, spread.get_args_parser().parse_args(map(str, flags)))


def test_poses_by_hand():
    yaw = np.array([0.0, -40, 70, 10, 20])
    pitch = np.array([-5.0, 80, 80, 5, 5])
    rows = spread.describe_poses(Pose(yaw, pitch, 2 * pitch))
    assert list(rows.values()) == ["40 / 20", "-5 to 5", "-10 to 10"]


def test_faces_do_not_depend_on_size_and_a_raised_lip_is_seen():
    mean = LandmarkModel.of(load_morphable(OPEN_FOLDER)).mean
    once = spread.describe_faces(mean[None])
    assert spread.describe_faces(3 * mean[None]) == once
    raised = mean.copy()
    raised[[49, 50, 51, 52, 53, 61, 62, 63], 1] += 6000  # micrometres
    apart, _, below, lids = spread.describe_faces(raised[None]).values()
    first = [float(text.split(" / ")[0]) for text in (apart, below)]
    first_mean = [float(once[name].split(" / ")[0]) for name in list(once)[:3:2]]
    assert first[0] > first_mean[0] + 0.05
    assert first[1] < first_mean[1] - 0.05
    assert lids == list(once.values())[3]


def test_labels_of_drawn_faces_look_like_sampled_ones(capsys):
    assert run("--labels", OPEN_TEST_FOLDER / EVAL / LANDMARKS_FILE, "--count", 300) == 0
    lines = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    rows = {name: [part.split() for part in pair] for name, *pair in lines}
    for name in ("mouth's width, 5th / 50th / 95th", "upper lip below the nose, the same"):
        test, sampled = ([float(x) for x in part[::2]] for part in rows[name])
        np.testing.assert_allclose(test, sampled, atol=0.08)
    # The test set has AFLW2000-3D's share of turned faces, the training labels have more.
    turned = [int(part[0]) for part in rows["turned beyond 30 / 60 degrees, %"]]
    assert 30 <= turned[0] <= 38 < turned[1]


def test_pictures_made_up(tmp_path, capsys):
    grey = np.full((120, 120, 3), 100, np.uint8)
    red = np.zeros((120, 120, 3), np.uint8)
    red[..., 2] = 200
    for name, image in (("a", grey), ("b", red)):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "crop.png"), image)
    assert run("--real", tmp_path / "a", "--drawn", tmp_path / "b") == 0
    rows = dict(
        line.strip("| ").split(" | ", 1) for line in capsys.readouterr().out.splitlines()[2:]
    )
    assert rows["grey mean"] == "100.0 | 60.0"
    assert rows["saturation"] == "0.0 | 255.0"
    assert rows["sharpness (median absolute Laplacian)"] == "0.0 | 0.0"


def test_no_frontal_face_is_a_dash():
    profile = np.array([80.0])
    assert list(spread.describe_poses(Pose(profile, profile, profile)).values())[1:] == ["-", "-"]


@pytest.mark.parametrize("labels", [np.zeros((0, 3, 68)), np.zeros((1, 3, 68))])
def test_labels_without_faces_are_one_line(labels, tmp_path, capsys):
    np.save(tmp_path / "labels.npy", labels)
    assert run("--labels", tmp_path / "labels.npy") == 2
    assert "labels.npy: no faces in it" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [(), ("--real", "here"), ("--real", "here", "--drawn", "here")])
def test_nothing_to_compare_is_one_line(flags, capsys):
    assert run(*flags) == 2
    assert capsys.readouterr().err.startswith("error: ")
