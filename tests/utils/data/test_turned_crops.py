"""Geometry on the fly: labels that follow exactly, pixels that lie where labels say."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

import main_train
from model_building import load_morphable
from synergynet import fileio
from synergynet.geometry.camera import move_params
from synergynet.geometry.crop import CROP_FACTOR
from utils.data.folders import OPEN_FOLDER
from utils.data.landmark_model import LandmarkModel
from utils.data.training_crops import TrainingCrops
from utils.data.turned_crops import (
    EXACT,
    LYING,
    Geometry,
    Mover,
    Moves,
    cut_middle,
    move_landmarks,
    move_pixels,
)

WIDE = Geometry(180, 0.2, 0.1)
IDENTITY = np.eye(3)[:2]
NAMES = [f"{i}.png" for i in range(6)]


@pytest.fixture(scope="module")
def face() -> LandmarkModel:
    return LandmarkModel.of(load_morphable(OPEN_FOLDER))


@pytest.fixture
def labels(face) -> np.ndarray:
    """Real parameters (6, 62) float64."""
    params_w = np.random.default_rng(0).standard_normal((len(NAMES), 62))
    return params_w * face.param_std + face.param_mean


@pytest.fixture
def crops(face, labels, tmp_path) -> TrainingCrops:
    """Six random pictures with a margin of 30 px."""
    rng = np.random.default_rng(0)
    for name in NAMES:
        fileio.write_image(tmp_path / name, rng.integers(0, 256, (180, 180, 3), np.uint8))
    fileio.write_list(tmp_path / "crops.list", NAMES)
    params_w = (labels - face.param_mean) / face.param_std
    fileio.write_array(tmp_path / "params.npy", params_w.astype(np.float32))
    return TrainingCrops(tmp_path, tmp_path / "crops.list", tmp_path / "params.npy", seed=3)


def random_similarity(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    angle, size = rng.uniform(-np.pi, np.pi), rng.uniform(0.7, 1.4)
    turn = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([turn, rng.uniform(-60, 180, 2)])


@pytest.mark.parametrize("seed", range(20))
def test_moved_labels_decode_to_moved_landmarks(face, labels, seed):
    similarity = random_similarity(seed)
    for params in labels:
        expected = move_landmarks(face.decode(params), similarity)
        found = face.decode(move_params(params, similarity))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_the_identity_leaves_labels_and_pixels(face, labels):
    picture = np.random.default_rng(0).integers(0, 256, (180, 180, 3), np.uint8)
    np.testing.assert_array_equal(move_pixels(picture, IDENTITY), cut_middle(picture))
    np.testing.assert_array_equal(move_params(labels[0], IDENTITY), labels[0])
    np.testing.assert_array_equal(move_landmarks(face.decode(labels[0]), IDENTITY),
                                  face.decode(labels[0]))  # fmt: skip


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_quarter_turns_are_numpys(quarters):
    picture = np.random.default_rng(0).integers(0, 256, (180, 180, 3), np.uint8)
    cosine, sine = np.array([[0, 1], [-1, 0], [0, -1]])[quarters - 1]
    turn = np.array([[cosine, -sine], [sine, cosine]])  # clockwise as seen
    similarity = np.column_stack([turn, 60 - turn @ [60, 60]])
    expected = np.rot90(cut_middle(picture), -quarters)
    np.testing.assert_array_equal(move_pixels(picture, similarity), expected)


@pytest.mark.parametrize("margin_px", [0, 30])
@pytest.mark.parametrize("seed", range(5))
def test_a_dot_goes_where_its_point_goes(margin_px, seed):
    similarity = random_similarity(seed)
    at = np.array([50.5, 70.5])  # the middle of pixel (70, 50)
    similarity[:, 2] = np.array([64.3, 51.8]) - similarity[:, :2] @ at
    size = 120 + 2 * margin_px
    picture = np.zeros((size, size, 3), np.uint8)
    picture[70 + margin_px, 50 + margin_px] = 255
    picture = cv2.GaussianBlur(picture, (0, 0), 2.5) * 8
    moved = move_pixels(picture, similarity)[..., 0].astype(float)
    rows, columns = np.mgrid[0:120, 0:120] + 0.5
    moved[np.hypot(columns - 64.3, rows - 51.8) > 12] = 0  # its reflections
    found = np.array([(columns * moved).sum(), (rows * moved).sum()]) / moved.sum()
    np.testing.assert_allclose(found, [64.3, 51.8], atol=0.05)


def test_exact_moves_cut_as_the_benchmark_does(face, labels):
    count = 4000
    moves = Moves.sample(count, WIDE, np.random.default_rng(0))
    is_exact = (moves.scale == 1) & (moves.shift == 0).all(1)
    assert is_exact.mean() == pytest.approx(EXACT, abs=0.03)
    for row in np.flatnonzero(is_exact)[:50]:
        landmarks = face.decode(labels[row % len(labels)])
        moved = move_landmarks(landmarks, moves.similarity(row, landmarks))[:2]
        np.testing.assert_allclose((moved.min(1) + moved.max(1)) / 2, 60, atol=1e-9)
        assert np.ptp(moved, axis=1).max() == pytest.approx(120 / CROP_FACTOR)


def test_a_face_is_turned_clockwise(face, labels):
    moves = Moves(np.array([90.0]), np.ones(1), np.zeros((1, 2)))
    landmarks = face.decode(labels[0])
    turned = move_landmarks(landmarks, moves.similarity(0, landmarks))
    (before, after) = (p[:2, 8] - p[:2, 27] for p in (landmarks, turned))  # nose to chin
    size = np.linalg.norm(after) / np.linalg.norm(before)
    np.testing.assert_allclose(after, size * np.array([-before[1], before[0]]))  # down goes left


def test_a_movers_labels_are_whitened_as_they_came(face, labels):
    mover = Mover(face, face.param_mean, face.param_std)
    moves = Moves.sample(1, WIDE, np.random.default_rng(1))
    params_w = (labels[0] - face.param_mean) / face.param_std
    _, moved_w = mover.move(np.zeros((180, 180, 3), np.uint8), params_w, moves, 0)
    expected = move_params(labels[0], moves.similarity(0, face.decode(labels[0])))
    found = moved_w * face.param_std + face.param_mean
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_moves_keep_within_their_limits_and_fill_the_circle():
    moves = Moves.sample(4000, WIDE, np.random.default_rng(0))
    assert np.abs(moves.roll_deg).max() <= 180
    assert (np.abs(moves.roll_deg) > 90).mean() == pytest.approx(LYING / 2, abs=0.03)
    assert 0.8 <= moves.scale.min() < 0.82 < 1.18 < moves.scale.max() <= 1.2
    assert np.abs(moves.shift).max() <= 0.1
    still = Moves.sample(100, Geometry(0, 0, 0), np.random.default_rng(0))
    assert not still.roll_deg.any()
    assert (still.scale == 1).all()
    assert not still.shift.any()


def test_a_shift_moves_the_crop_not_the_face(face, labels):
    landmarks = face.decode(labels[0])
    exact = Moves(np.zeros(1), np.ones(1), np.zeros((1, 2))).similarity(0, landmarks)
    right = Moves(np.zeros(1), np.full(1, 1.2), np.array([[0.1, 0]])).similarity(0, landmarks)
    middle = move_landmarks(landmarks, exact)[:2].mean(1) - 60
    expected = 60 + (middle - [12, 0]) / 1.2
    np.testing.assert_allclose(move_landmarks(landmarks, right)[:2].mean(1), expected)


def test_moved_batches_depend_on_seed_epoch_and_row_only(crops, face):
    mover = Mover(face, face.param_mean, face.param_std)
    moved = crops.with_geometry(WIDE, mover)
    first, again = moved.at_epoch(2).batch([4, 0, 3]), moved.at_epoch(2).batch([3, 4])
    assert torch.equal(first.images[[2, 0]], again.images)
    assert torch.equal(first.params_w[[2, 0]], again.params_w)
    other = moved.at_epoch(3).batch([4, 0, 3])
    assert not torch.equal(first.params_w, other.params_w)
    assert torch.equal(first.params_w[:, 12:], other.params_w[:, 12:])  # shape and expression
    assert moved.fingerprint() == crops.fingerprint()


def test_without_geometry_the_middle_is_shown(crops):
    batch = crops.batch([1, 2])
    assert batch.images.shape == (2, 120, 120, 3)
    assert torch.equal(batch.params_w, crops.params_w[[1, 2]])


def test_an_unreadable_picture_takes_image_and_label_of_its_stand_in(crops, face, tmp_path):
    (tmp_path / NAMES[1]).write_bytes(b"")
    moved = crops.with_geometry(WIDE, Mover(face, face.param_mean, face.param_std))
    batch = moved.batch([0, 1])
    assert batch.rows.tolist() == [0, 0]
    assert torch.equal(batch.params_w[0], batch.params_w[1])
    assert torch.equal(batch.images[0], batch.images[1])


def test_mirror_images_move_with_mirrored_labels(crops, face):
    mover = Mover(face, face.param_mean, face.param_std)
    mirrored = crops.with_mirror_images(-crops.params_w)
    moved = mirrored.with_geometry(WIDE, mover).at_epoch(1)
    row = int(moved.is_mirrored.argmax())
    assert moved.is_mirrored[row]
    picture = cv2.flip(crops.read(row), 1)
    _, label = mover.move(picture, -crops.params_w[row].numpy(), moved.moves, row)
    np.testing.assert_array_equal(moved.batch([row]).params_w[0], label)


def test_pictures_of_odd_sizes_are_refused(crops, tmp_path):
    fileio.write_image(tmp_path / NAMES[0], np.zeros((181, 181, 3), np.uint8))
    with pytest.raises(fileio.InputError, match=r"0\.png: 181x181 px, expected 120x120 crops, or"):
        crops.read(0)


@pytest.mark.parametrize(
    "text", ["", "180", "180,0.1", "a,b,c", "181,0.1,0.1", "180,-0.1,0", "180,0.1,0.6", "nan,0,0"]
)
def test_bad_flags_get_one_line(text, capsys):
    with pytest.raises(fileio.InputError, match=r"--geometry .*ROLL,SCALE,SHIFT"):
        Geometry.parse(text)
    if text:
        flags = main_train.get_args_parser().parse_args([f"--geometry={text}"])
        assert fileio.run_command(main_train.main, flags) == 2
        assert capsys.readouterr().err.count("\n") == 1
