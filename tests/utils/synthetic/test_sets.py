"""Synthetic faces: exact labels, independence from workers, files that the datasets read."""

from __future__ import annotations

import dataclasses
import re

import cv2
import numpy as np
import pytest
import torch

from model_building import load_morphable
from prepare_data import get_args_parser, main
from synergynet import fileio
from synergynet.drawing.rasterize import rasterize
from synergynet.fileio import run_command
from synergynet.geometry.crop import CROP_FACTOR, roi_box_from_landmarks
from synergynet.geometry.parameters import IMG_SIZE, N_POSE, N_SHAPE, POSE
from synergynet.geometry.pose import decode_pose
from utils.data.ddfa import EvaluationCrops, TrainingCrops
from utils.data.folders import OPEN_FOLDER
from utils.evaluation.metrics import landmark_nme
from utils.synthetic import sets
from utils.synthetic.head import load_head
from utils.synthetic.portrait import studio as studio_module
from utils.synthetic.portrait.appearance import Look
from utils.synthetic.portrait.geometry import project_to_crop
from utils.synthetic.portrait.surface import CANVAS, SUPERSAMPLING
from utils.synthetic.sets import (
    CAMERA_DISTANCES_M,
    EXACT_CROPS,
    TRAINING_IMAGES,
    TRAINING_LIST,
    TRAINING_PARAMS,
    Generator,
    decode_landmarks,
    sample_labels,
    sample_rotation,
    sample_test_bins,
    write_test_set,
    write_training_set,
)

DOT_PX = 0.3  # the centroid of a dot that the nose's curve hides in part
SILHOUETTE_SHARE = 0.003  # of the pixels: the head's outline against the face's own mesh


@pytest.fixture(scope="module")
def morphable():
    return load_morphable(OPEN_FOLDER)


@pytest.fixture(scope="module")
def generator(morphable):
    return Generator(load_head(OPEN_FOLDER), morphable)


def decode(morphable, params):
    """Vertices (V, 3) of the label in the crop, y down: SPEC 3, written out."""
    params = torch.from_numpy(params)
    x = morphable.u + morphable.w_shp @ params[12:52, None] + morphable.w_exp @ params[52:62, None]
    camera = params[:12].reshape(3, 4)
    verts = camera[:, :3] @ x.reshape(-1, 3).T + camera[:, 3:]  # (3, V)
    verts[1] = IMG_SIZE + 1 - verts[1]
    return verts.T.numpy()


def drawn_landmarks(labels, face, camera):
    """Landmarks (68, 2) of a person before a camera, px of the crop, y down."""
    points = labels.landmark_mean + labels.landmark_shp @ face[:N_SHAPE]
    return project_to_crop(camera, points + labels.landmark_expr @ face[N_SHAPE:])[:, :2]


def bald(rng):
    """A person with nothing on the head."""
    return dataclasses.replace(Look.sample(rng), has_hair=False, has_sheet=False, glasses=None)


def test_picture_depends_on_its_generator_only(generator):
    (first, params), (second, _) = (generator.draw(np.random.default_rng(5)) for _ in range(2))
    other, other_params = generator.draw(np.random.default_rng(6))
    assert first.shape == (IMG_SIZE, IMG_SIZE, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, second)
    assert (first != other).mean() > 0.5
    assert not np.array_equal(params, other_params)


@pytest.mark.parametrize("seed", range(6))
def test_dot_on_the_nose_is_where_the_camera_puts_it(generator, monkeypatch, seed):
    # Paint a white dot at a vertex of the mean head only; find it in the picture.
    studio, head_mean = generator.studio, generator.head.mean
    landmark = generator.labels.landmark_mean[(30, 27)[seed % 2]]
    vertex = np.linalg.norm(head_mean - landmark, axis=1).argmin()
    params, face, camera = generator.labels.shoot(
        np.random.default_rng(seed), yaw_range_deg=(0, 25)
    )
    if seed < 3:  # the label's own person and camera
        face, camera = params, params[POSE].reshape(3, 4)
    verts = generator.head_verts(face)
    expected = project_to_crop(camera, verts[[vertex]])[0, :2]
    place = studio.geometry.canonical[vertex][:, None]

    def shade(surface, look, outfit, lights, rng):
        dot = np.exp(-((surface.canonical - place) ** 2).sum(0) / (2 * 0.8**2))  # mm
        return np.repeat(dot[None], 3, 0)

    scene = dataclasses.replace(
        studio.stage(np.random.default_rng(0)),
        look=bald(np.random.default_rng(seed)),
        occluder=None,
        has_border=False,
    )
    black = np.zeros((IMG_SIZE, IMG_SIZE, 3), np.float32)
    monkeypatch.setattr(studio, "shade", shade)
    monkeypatch.setattr(studio_module, "background", lambda rng: black)
    monkeypatch.setattr(studio_module, "photograph", lambda picture, rng: picture)
    picture = studio.draw(verts, camera, scene)[..., 0]
    rows, columns = np.mgrid[0:IMG_SIZE, 0:IMG_SIZE] + 0.5
    found = np.array([(columns * picture).sum(), (rows * picture).sum()]) / picture.sum()
    np.testing.assert_allclose(found, expected, atol=DOT_PX)


def test_head_covers_the_face_of_the_label(generator, morphable):
    # The face's mesh, decoded from the label, lies inside the head's outline and at its depth.
    for seed, yaw_range_deg in enumerate(((0, 10), (30, 40), (70, 90))):
        params = generator.labels.sample(np.random.default_rng(seed), yaw_range_deg)
        camera = params[POSE].reshape(3, 4)
        look = bald(np.random.default_rng(seed))
        surface = generator.studio.geometry.see(generator.head_verts(params), camera, look)
        face = decode(morphable, params) * SUPERSAMPLING
        _, depth = rasterize(face, morphable.triangles, np.zeros_like(face), CANVAS, CANVAS)
        covered = depth > -np.inf
        assert covered.mean() > 0.15
        assert (covered & ~surface.mask).mean() < SILHOUETTE_SHARE
        head_depth = surface.depth_mm[covered] / surface.mm_px
        assert np.median(np.abs(head_depth - depth[covered])) < 0.05


def test_half_of_the_training_crops_are_cut_as_exactly_as_test_crops(generator):
    def box(labels, seed):
        params = labels.sample(np.random.default_rng(seed))
        found = decode_landmarks(labels, params[None])[0, :2]
        middle = (found.max(1) + found.min(1)) / 2
        return np.array([*middle, np.ptp(found, axis=1).max()])

    exact = [IMG_SIZE / 2, IMG_SIZE / 2, IMG_SIZE / CROP_FACTOR]
    half = dataclasses.replace(generator.labels, exact_crops=EXACT_CROPS)
    boxes = np.stack([box(half, seed) for seed in range(300)])
    is_exact = np.abs(boxes - exact).max(1) < 0.01
    assert abs(is_exact.mean() - EXACT_CROPS) < 0.1
    assert (boxes[~is_exact].std(0) > 3).all()
    tight = dataclasses.replace(generator.labels, exact_crops=1.0)
    for seed in range(5):
        np.testing.assert_allclose(box(tight, seed), exact, atol=0.01)


def test_without_exact_crops_all_are_loose_and_those_that_were_stay(morphable):
    head = load_head(OPEN_FOLDER)
    half, loose = (Generator(head, morphable, without=names) for names in ((), ["exactness"]))
    assert Generator(head, morphable, held_out=True, without=["exactness"]).labels.exact_crops == 1
    is_same = []
    for seed in range(40):
        one, other = (g.shoot(np.random.default_rng(seed)) for g in (half, loose))
        np.testing.assert_array_equal(one.face, other.face)
        is_same.append(np.array_equal(one.params, other.params))
    assert 8 < sum(is_same) < 32


def test_labels_are_near_what_is_drawn_and_the_nearer_the_further_the_camera(generator):
    labels, errors, distances_m = generator.labels, [], []
    for seed in range(200):
        shot = labels.shoot(np.random.default_rng(seed))
        params, face, camera = shot
        decoded = decode_landmarks(labels, params[None])  # (1, 3, 68)
        drawn = drawn_landmarks(labels, face, camera)
        errors.append(100 * landmark_nme(decoded[:, :2], drawn.T[None])[0])
        assert labels.fit_error(shot) == pytest.approx(errors[-1], rel=1e-4)
        assert abs(decoded[0, 2].mean()) < 1e-3
        scale = np.linalg.norm(camera[2, :3])  # crop px per micrometre
        distances_m.append(scale / np.linalg.norm(camera[3, :3]) / scale / 1e6)
    errors, distances_m = np.array(errors), np.array(distances_m)
    assert 0.3 < errors.mean() < 0.6  # percent
    assert CAMERA_DISTANCES_M[0] - 1e-3 < distances_m.min() < 0.55
    assert 4.5 < distances_m.max() < CAMERA_DISTANCES_M[1] + 1e-3
    np.testing.assert_allclose(np.median(errors * distances_m), 0.45, atol=0.1)  # NME goes with 1/d


def test_labels_have_the_people_sampled_however_near_the_camera(generator, monkeypatch):
    labels = generator.labels
    spread = np.concatenate([labels.identities.std(0), labels.expressions.std(0)])

    def faces_of(distance_m):
        monkeypatch.setattr(sets, "CAMERA_DISTANCES_M", (distance_m, distance_m))
        shots = [labels.shoot(np.random.default_rng(seed)) for seed in range(100)]
        return np.array([(shot.params[N_POSE:], shot.face) for shot in shots]) / spread

    sampled = faces_of(1e4)[:, 0]
    near, drawn = faces_of(CAMERA_DISTANCES_M[0]).swapaxes(0, 1) - sampled
    assert np.sqrt((near**2).mean()) < 0.01
    assert np.abs(near.mean(0)).max() < 0.02
    assert np.sqrt((drawn**2).mean()) > 0.4  # what the camera adds has been taken off


def test_landmarks_decode_as_the_morphable_model_does(generator, morphable):
    params = sample_labels(generator.head, morphable, 3, seed=1)
    rows = morphable.keypoints.numpy()[::3] // 3
    expected = np.stack([decode(morphable, p)[rows].T for p in params])
    np.testing.assert_allclose(decode_landmarks(generator.labels, params), expected, atol=1e-3)


def test_training_labels_cover_the_poses(generator, morphable):
    params = sample_labels(generator.head, morphable, 1000, seed=0)
    pose = decode_pose(torch.from_numpy(params), "exact")
    yaw = pose.yaw.abs().numpy()
    shares = [(yaw <= 30).mean(), ((yaw > 30) & (yaw <= 60)).mean(), (yaw > 60).mean()]
    assert min(shares) > 0.12
    assert 0.33 < (yaw > 30).mean() < 0.55
    assert yaw.max() > 80
    landmarks = decode_landmarks(generator.labels, params)
    assert np.abs(landmarks[:, :2] - IMG_SIZE / 2).max() < 0.6 * IMG_SIZE
    params_w = (params - morphable.param_mean.numpy()) / morphable.param_std.numpy()
    assert np.abs(params_w.mean(0)).max() < 0.15
    np.testing.assert_allclose(params_w.std(0), 1, atol=0.15)


def test_held_out_people_stay_out(morphable):
    head = load_head(OPEN_FOLDER)
    training = Generator(head, morphable).labels.identities
    testing = Generator(head, morphable, held_out=True).labels.identities
    assert len(training) > len(testing) >= 100
    nearest = np.linalg.norm(training[:, None] - testing[None], axis=-1).min()
    assert nearest > 1  # in standard deviations of 40 components


def test_training_set_is_the_same_for_any_number_of_workers(tmp_path, morphable):
    for name, workers in (("one", 0), ("two", 2)):
        write_training_set(OPEN_FOLDER, tmp_path / name, count=20, seed=3, workers=workers)
    one, two = tmp_path / "one", tmp_path / "two"
    names = fileio.read_list(one / TRAINING_LIST)
    assert len(names) == 20
    for name in names:
        pictures = [(folder / TRAINING_IMAGES / name).read_bytes() for folder in (one, two)]
        assert pictures[0] == pictures[1]
    crops = TrainingCrops(one / TRAINING_IMAGES, one / TRAINING_LIST, one / TRAINING_PARAMS)
    params_w = crops.params_w
    assert torch.equal(params_w, torch.from_numpy(fileio.read_pickle(two / TRAINING_PARAMS)))
    assert len(crops) == 20
    expected = sample_labels(load_head(OPEN_FOLDER), morphable, 20, seed=3)
    params = params_w * morphable.param_std + morphable.param_mean
    scale = np.abs(expected).max(0)
    np.testing.assert_allclose(params.numpy() / scale, expected / scale, atol=1e-5)


def test_test_set_reads_like_aflw2000(tmp_path):
    write_test_set(OPEN_FOLDER, tmp_path, count=8, seed=1)
    crops = EvaluationCrops(tmp_path)
    labels = crops.labels
    assert len(crops) == 8
    assert crops[0].shape == (IMG_SIZE, IMG_SIZE, 3)
    assert labels.landmarks.shape == (8, 3, 68)
    np.testing.assert_allclose(labels.pose_deg[:, 1], labels.yaw_deg)
    # The crops are cut as AFLW2000-3D's: the landmarks' own boxes are the roi boxes.
    boxes = roi_box_from_landmarks(labels.landmarks, 450, 450)
    np.testing.assert_array_equal(boxes, labels.roi_box)


def test_test_bins_have_the_shares_of_aflw2000():
    bins_deg = sample_test_bins(2000, np.random.default_rng(0))
    low, counts = np.unique(bins_deg[:, 0], return_counts=True)
    np.testing.assert_array_equal(low, [0, 30, 60])
    np.testing.assert_array_equal(counts, [1312, 383, 305])
    np.testing.assert_array_equal(bins_deg[:, 1] - bins_deg[:, 0], 30)


def test_rotations_nod_also_in_profile():
    rng = np.random.default_rng(0)
    rotations = np.stack([sample_rotation(rng) for _ in range(2000)])
    assert np.abs(rotations @ rotations.swapaxes(1, 2) - np.eye(3)).max() < 1e-12
    up = np.degrees(np.arctan2(rotations[:, 0, 1], rotations[:, 1, 1]))  # of the head, in the image
    profile = np.abs(rotations[:, 2, 0]) > np.sin(np.radians(65))
    assert profile.sum() > 100
    assert up[profile].std() > 12
    lean = np.degrees(np.arcsin(rotations[:, 2, 1]))  # of the head's top, towards the camera
    assert lean[profile].std() > 7
    front = sample_rotation(rng, yaw_range_deg=(0, 5))
    assert abs(front[0, 2]) <= np.sin(np.radians(5))


def test_mouths_open_wide(generator):
    params = sample_labels(generator.head, load_morphable(OPEN_FOLDER), 500, seed=2)
    landmarks = decode_landmarks(generator.labels, params)  # (B, 3, 68)
    gap = np.linalg.norm(landmarks[:, :, 61:64] - landmarks[:, :, [67, 66, 65]], axis=1).mean(1)
    eyes = landmarks[:, :, 36:42].mean(2) - landmarks[:, :, 42:48].mean(2)
    opening = gap / np.linalg.norm(eyes, axis=1)
    assert np.percentile(opening, 95) > 0.26  # AFLW2000-3D's labels: 0.28
    assert np.percentile(opening, 40) < 0.12


def test_faces_stand_out_from_their_background(generator):
    # A picture without a face, or one lost in the dark, fails here.
    spread = []
    for seed in range(12):
        image, _ = generator.draw(np.random.default_rng(seed))
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        spread.append(grey[30:90, 30:90].std())
    assert np.median(spread) > 15


def test_shipped_test_set_is_whole():
    folder = OPEN_FOLDER.parent.parent / "aflw2000_data" / "open"
    crops = EvaluationCrops(folder)
    assert len(crops) >= 200
    assert sum(file.stat().st_size for file in folder.rglob("*.*")) < 3e6
    yaw = np.abs(crops.labels.yaw_deg)
    # labels are fits to what was drawn: some faces near a limit change sides
    assert abs((yaw <= 30).mean() - 0.656) < 0.02
    assert abs((yaw > 60).mean() - 0.1525) < 0.02


@pytest.mark.parametrize("kind", [[], ["--test-set"]])
def test_command(tmp_path, capsys, kind):
    arguments = ["synthetic", "--count", "2", "--workers", "0", "--output", str(tmp_path), *kind]
    assert run_command(main, get_args_parser().parse_args(arguments)) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{tmp_path}: 2 synthetic faces; labels")
    assert 0.01 < float(re.search(r"to ([\d.]+) % on average", printed)[1]) < 2
    assert len(list(tmp_path.glob("*/*.jpg"))) == 2


def test_labels_fit_exactly_without_perspective(tmp_path):
    errors = write_training_set(OPEN_FOLDER, tmp_path, count=4, without=["perspective"])
    assert errors.shape == (4,)
    assert errors.max() < 1e-3  # percent


def test_a_missing_model_is_one_clear_line(tmp_path, capsys):
    arguments = ["synthetic", "--output", str(tmp_path), "--morphable", str(tmp_path / "none")]
    assert run_command(main, get_args_parser().parse_args(arguments)) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path / 'none'}: no morphable model here")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
