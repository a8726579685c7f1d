"""benchmarks/residuals.py: offsets by hand, in any turn, size and mirror image; tables; command."""

import numpy as np
import pytest
import torch

from benchmarks import residuals
from benchmarks.residuals import Residuals
from model_building import build_model, load_morphable, pack_weights
from synergynet import fileio
from synergynet.geometry.mirror import MIRRORED_LANDMARKS
from utils.data.folders import OPEN_FOLDER
from utils.synthetic.sets import write_test_set


@pytest.fixture(scope="module")
def face():
    """Landmarks (1, 2, 68) of the mean face, y down."""
    model = load_morphable(OPEN_FOLDER)
    landmarks = model.u[model.keypoints].double().numpy().reshape(68, 3).T
    return landmarks[None, :2] * np.array([[1e-3], [-1e-3]])


def percent(face):
    return np.sqrt(np.ptp(face, axis=2).prod()) / 100


def test_offsets_by_hand(face):
    found = face.copy()
    found[0, :, 8] += np.array([1.0, 2.0]) * percent(face)  # the chin, to the right and too low
    offset = Residuals.of(found, face, np.zeros(1)).offset
    down = face[0, :, 48:].mean(1) - face[0, :, 36:48].mean(1)
    assert abs(down[0]) < 0.02 * down[1]  # the mean face is upright
    np.testing.assert_allclose(offset[0, :, 8], [1, 2], atol=0.05)
    assert not offset[0, :, :8].any()


def test_a_turned_and_enlarged_face_has_the_same_offsets(face):
    rng = np.random.default_rng(0)
    found = face + rng.normal(0, 1, face.shape)
    angle = 2.5
    turn = 3.7 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    one = Residuals.of(found, face, np.zeros(1))
    moved = [turn @ points + 40 for points in (found, face)]
    other = Residuals.of(*moved, np.zeros(1))
    # the size of a face is that of its box, which turns with it
    ratio = percent(face) / (percent(moved[1]) / 3.7)
    np.testing.assert_allclose(other.offset, one.offset * ratio, atol=1e-9)
    np.testing.assert_allclose(other.shape, one.shape * ratio, atol=1e-9)
    np.testing.assert_allclose(other.size, one.size)


def test_the_mean_distance_is_the_nme(face):
    found = face + np.random.default_rng(0).normal(0, 1, face.shape)
    nme = np.linalg.norm(found - face, axis=1).mean() / percent(face)
    assert Residuals.of(found, face, np.zeros(1)).distance.mean() == pytest.approx(nme)


def test_faces_that_turn_left_are_mirrored(face):
    found = face + np.random.default_rng(0).normal(0, 1, face.shape)
    flip = np.array([[-1], [1]])
    mirrored = [points[..., MIRRORED_LANDMARKS] * flip for points in (found, face)]
    one, other = Residuals.of(found, face, np.array([50.0])), Residuals.of(
        *mirrored, np.array([-50.0])
    )  # fmt: skip
    np.testing.assert_allclose(other.offset, one.offset, atol=1e-9)
    np.testing.assert_allclose(other.shape, one.shape, atol=1e-9)


def test_size_is_that_of_the_face_not_of_its_place(face):
    found = 1.03 * (face - 5) + 9
    assert Residuals.of(found, face, np.zeros(1)).size == pytest.approx(3)


def test_bins_hold_what_they_say():
    yaw = np.array([0, 31, -80, 5, 5])
    pose = np.array([[0, 0, 0], [-31, 31, 50], [30, -80, 46], [31, 5, -21], [np.nan] * 3])
    groups = residuals.bins(yaw, pose)
    rows = {key: np.flatnonzero(chosen).tolist() for key, chosen in groups.items()}
    assert rows["all", ""] == [0, 1, 2, 3, 4]
    assert rows["yaw", "0-30"] == [0, 3, 4]
    assert rows["pitch", "to -30"] == [1]
    assert rows["pitch", "10 to 30"] == [2]
    assert rows["pitch", "above 30"] == [3]
    assert rows["roll", "20 to 45"] == [3]
    assert rows["roll", "above 45"] == [1, 2]
    assert rows["all three", "small"] == [0]
    assert set(residuals.bins(yaw, None)) == {("all", ""), *(("yaw", k) for k in
                                              ("0-30", "30-60", "60-90"))}  # fmt: skip


@pytest.fixture
def weights(tmp_path):
    model = build_model("mobilenet_025", morphable=load_morphable(OPEN_FOLDER))
    torch.save(pack_weights(model), tmp_path / "tiny.pth.tar")
    return tmp_path / "tiny.pth.tar"


def test_command(tmp_path, capsys, weights):
    write_test_set(OPEN_FOLDER, tmp_path / "set", count=4, seed=4)
    args = ["-w", str(weights), "--data", str(tmp_path / "set"), "-d", "cpu", "--landmarks"]
    args += ["--picture", str(tmp_path / "faces.png")]
    run = residuals.get_args_parser().parse_args
    assert fileio.run_command(residuals.main, run(args)) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if "|" in line]
    poses = [row for row in rows if row[0].lstrip("| ") in ("all", "yaw", "pitch", "roll")]
    counts = {}
    for row in poses:
        assert len(row) == 14
        counts[row[0]] = counts.get(row[0], 0) + int(row[2])
    assert set(counts.values()) == {4}
    assert len([row for row in rows if row[0].lstrip("| ").isdigit()]) == 68
    picture = fileio.read_image(tmp_path / "faces.png")
    assert picture.shape[1] == 3 * residuals.PANEL_PX + 12
    (tmp_path / "set" / "eval" / "AFLW2000-3D.pose.npy").unlink()
    assert fileio.run_command(residuals.main, run(args)) == 2
    assert capsys.readouterr().err.count("\n") == 1
