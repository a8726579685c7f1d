"""benchmarks/detected_crops.py: which face counts, and a run on photos of the open test set."""

import cv2
import numpy as np
import pytest
import scipy.io

from benchmarks import detected_crops
from utils import io
from utils.ddfa import OPEN_TEST_FOLDER, EvaluationCrops


def run(*flags):
    args = detected_crops.get_args_parser().parse_args(list(map(str, flags)))
    return io.run_command(detected_crops.main, args)


def test_the_nearest_face_counts():
    truth = np.random.default_rng(0).normal(0, 50, (3, 68))
    moved = truth + np.array([[3], [4], [0]])
    others = np.stack([truth + 40, moved, truth - 30])
    size = np.sqrt(np.ptp(truth[:2], axis=1).prod())
    assert detected_crops._nearest(others, truth) == pytest.approx(100 * 5 / size)
    assert np.isnan(detected_crops._nearest(others[:0], truth))


@pytest.fixture
def photos(tmp_path):
    """Two crops of the open test set, put back into black photos, with their labels."""
    crops = EvaluationCrops(OPEN_TEST_FOLDER)
    for row in range(2):
        start, side = crops.labels.roi_box[row, :2], np.ptp(crops.labels.roi_box[row, ::2])
        photo = np.zeros((450, 450, 3), np.uint8)
        x, y = (start - 1).astype(int)
        side = int(side)
        crop = cv2.imread(str(OPEN_TEST_FOLDER / "AFLW2000-3D_crop" / crops.names[row]))
        photo[y : y + side, x : x + side] = cv2.resize(crop, (side, side))
        cv2.imwrite(str(tmp_path / f"{row}.jpg"), photo)
        label = {"pt3d_68": crops.labels.landmarks[row], "Pose_Para": np.zeros((1, 7))}
        scipy.io.savemat(tmp_path / f"{row}.mat", label)
    return tmp_path


def test_the_label_helps_and_so_does_a_second_look(photos, capsys):
    assert run("--photos", photos, "--detector", "none") == 0
    *_, row = capsys.readouterr().out.splitlines()
    whole_photo, second_look, label = (float(x) for x in row.strip("| ").split(" | "))
    assert label < 5 < whole_photo
    assert second_look < whole_photo


def test_no_face_is_nan_and_a_label_elsewhere_one_line(photos, capsys):
    net = detected_crops.SynergyNet(detector=lambda photo: np.empty((0, 5)))
    assert np.isnan(detected_crops.errors(photos / "0.jpg", net, net)[:2]).all()
    label = {"pt3d_68": np.full((3, 68), 1e4), "Pose_Para": np.zeros((1, 7))}
    scipy.io.savemat(photos / "0.mat", label)
    assert run("--photos", photos, "--detector", "none") == 2
    assert "0.jpg: its label's landmarks lie outside" in capsys.readouterr().err


def test_a_folder_without_photos_is_one_line(tmp_path, capsys):
    assert run("--photos", tmp_path) == 2
    assert "no .jpg with a .mat" in capsys.readouterr().err
