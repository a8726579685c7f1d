"""benchmarks/detected_crops.py: which face counts, and a run on photos of the open test set."""

import numpy as np
import pytest
import scipy.io

from benchmarks import detected_crops
from synergynet import fileio


def run(*flags):
    args = detected_crops.get_args_parser().parse_args(list(map(str, flags)))
    return fileio.run_command(detected_crops.main, args)


def test_the_nearest_face_counts():
    truth = np.random.default_rng(0).normal(0, 50, (3, 68))
    moved = truth + np.array([[3], [4], [0]])
    others = np.stack([truth + 40, moved, truth - 30])
    size = np.sqrt(np.ptp(truth[:2], axis=1).prod())
    assert detected_crops._nearest(others, truth) == pytest.approx(100 * 5 / size)
    assert np.isnan(detected_crops._nearest(others[:0], truth))


def test_the_label_helps_and_so_does_a_second_look(labelled_photos, capsys):
    assert run("--photos", labelled_photos, "--detector", "none") == 0
    *_, row = capsys.readouterr().out.splitlines()
    name, *cells = row.strip("| ").split(" | ")
    found, whole_photo, second_look, label, lost, doubtful = map(float, cells)
    assert label < 5 < whole_photo
    assert second_look < whole_photo
    assert (name, found, lost, doubtful) == ("turned by 0°", 2, 2, 0)


def test_photos_and_labels_are_turned_together(labelled_photos, capsys):
    assert run("--photos", labelled_photos, "--detector", "none", "--turned") == 0
    lines = capsys.readouterr().out.splitlines()[-4:]
    rows = [line.strip("| ").split(" | ") for line in lines]
    assert [row[0] for row in rows] == [f"turned by {angle}°" for angle in (0, 90, 180, 270)]
    labels = np.array([float(row[4]) for row in rows])
    assert labels.max() < 5
    np.testing.assert_allclose(labels, labels[0], atol=0.05)  # the crops are the same, turned


def test_no_face_is_nan_and_a_label_elsewhere_one_line(labelled_photos, capsys):
    net = detected_crops.SynergyNet(detector=lambda photo: np.empty((0, 5)))
    assert np.isnan(detected_crops.errors(labelled_photos / "0.jpg", 0, net, net)[:2]).all()
    label = {"pt3d_68": np.full((3, 68), 1e4), "Pose_Para": np.zeros((1, 7))}
    scipy.io.savemat(labelled_photos / "0.mat", label)
    assert run("--photos", labelled_photos, "--detector", "none") == 2
    assert "0.mat: its landmarks lie outside" in capsys.readouterr().err


def test_a_folder_without_photos_is_one_line(tmp_path, capsys):
    assert run("--photos", tmp_path) == 2
    assert "no .jpg with a .mat" in capsys.readouterr().err
