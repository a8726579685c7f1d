"""Labels of synthetic faces: how people, poses and crops are spread, how well they are fitted."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from synergynet.geometry.crop import CROP_FACTOR
from synergynet.geometry.parameters import EXPR, IMG_SIZE, N_EXPR, N_POSE, N_SHAPE
from synergynet.geometry.pose import decode_pose
from utils.evaluation.metrics import landmark_nme
from utils.synthetic import labels as labels_module
from utils.synthetic.labels import (
    CAMERA_DISTANCES_M,
    EXACT_CROPS,
    decode_landmarks,
    sample_labels,
    sample_rotation,
)
from utils.synthetic.portrait.geometry import project_to_crop


def drawn_landmarks(labels, face, camera):
    """Landmarks (68, 2) of a person before a camera, px of the crop, y down."""
    points = labels.landmark_mean + labels.landmark_shp @ face[:N_SHAPE]
    return project_to_crop(camera, points + labels.landmark_expr @ face[N_SHAPE:])[:, :2]


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
        monkeypatch.setattr(labels_module, "CAMERA_DISTANCES_M", (distance_m, distance_m))
        shots = [labels.shoot(np.random.default_rng(seed)) for seed in range(100)]
        return np.array([(shot.params[N_POSE:], shot.face) for shot in shots]) / spread

    sampled = faces_of(1e4)[:, 0]
    near, drawn = faces_of(CAMERA_DISTANCES_M[0]).swapaxes(0, 1) - sampled
    assert np.sqrt((near**2).mean()) < 0.01
    assert np.abs(near.mean(0)).max() < 0.02
    assert np.sqrt((drawn**2).mean()) > 0.4  # what the camera adds has been taken off


def test_landmarks_decode_as_the_morphable_model_does(generator, morphable, decode):
    params = sample_labels(generator.head, morphable, 3, seed=1)
    rows = morphable.keypoints.numpy()[::3] // 3
    expected = np.stack([decode(p)[rows].T for p in params])
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
    # poses have been spread since the model was whitened
    assert np.abs(params_w.mean(0)).max() < 0.3
    np.testing.assert_allclose(params_w.std(0), 1, atol=0.3)


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


def test_mouths_open_wide(generator, morphable):
    params = sample_labels(generator.head, morphable, 500, seed=2)
    landmarks = decode_landmarks(generator.labels, params)  # (B, 3, 68)
    gap = np.linalg.norm(landmarks[:, :, 61:64] - landmarks[:, :, [67, 66, 65]], axis=1).mean(1)
    eyes = landmarks[:, :, 36:42].mean(2) - landmarks[:, :, 42:48].mean(2)
    opening = gap / np.linalg.norm(eyes, axis=1)
    assert np.percentile(opening, 95) > 0.26  # AFLW2000-3D's labels: 0.28
    assert np.percentile(opening, 40) < 0.12


def test_a_given_expression_is_the_labels(generator):
    expression = np.linspace(-1, 1, N_EXPR)
    for seed in range(3):
        shot = generator.shoot(np.random.default_rng(seed), expression=expression)
        np.testing.assert_allclose(shot.params[EXPR], expression, atol=0.05)
