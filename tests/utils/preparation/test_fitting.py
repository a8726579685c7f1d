"""Fitting: derivatives, faces that come back, points that lie, and real labels."""

import numpy as np
import pytest
import torch
from scipy.optimize import approx_fprime
from scipy.spatial.transform import Rotation

from model_building import load_morphable
from synergynet.geometry.camera import camera_of, camera_rotation
from synergynet.geometry.decoding import turn_y
from synergynet.geometry.parameters import N_POSE, POSE
from synergynet.geometry.pose import Pose, compose_rotation, decode_pose
from utils.data.folders import OPEN_FOLDER
from utils.data.landmark_model import PHOTO_BOX, LandmarkModel
from utils.preparation import fitting
from utils.preparation.contour import JawCurves
from utils.preparation.fitting import fit_landmarks
from utils.preparation.labels import label_to_params, read_face_label

OWN_FACE_RESIDUAL = 0.006  # the prior draws a face of the model to the mean by that much
OWN_FACE_DEG = {2: 5.0, 3: 3.0}  # and its pose, without and with depth, by that
OUTLINE_NME, OUTLINE_DEG = 0.015, 6.0  # the same, where the jaw is the outline
REAL_RESIDUAL = 0.01
REAL_DEG = {2: 5.0, 3: 4.0}  # labels were fitted with 199 + 29 coefficients, not 40 + 10


@pytest.fixture(scope="module")
def model() -> LandmarkModel:
    return LandmarkModel.of(load_morphable(OPEN_FOLDER))


@pytest.fixture(scope="module")
def curves() -> JawCurves:
    return JawCurves.of(load_morphable(OPEN_FOLDER))


def random_face(model: LandmarkModel, seed: int) -> np.ndarray:
    """Photo parameters of a face of about 200 px, turned by up to 60 degrees."""
    rng = np.random.default_rng(seed)
    params = rng.normal(model.param_mean, model.param_std)
    yaw, pitch, roll = torch.tensor(rng.uniform([-60, -25, -40], [60, 25, 40]))
    camera = 1.2e-3 * compose_rotation(Pose(yaw, pitch, roll)).numpy()
    params[POSE] = np.column_stack([camera, rng.uniform(100, 300, 3)]).ravel()
    return params


def angles_deg(params: np.ndarray) -> np.ndarray:
    return np.array([float(a) for a in decode_pose(torch.from_numpy(params)[None], "exact")])


def turn_between_deg(params: np.ndarray, others: np.ndarray) -> float:
    rotation, other = (camera_rotation(camera_of(p)) for p in (params, others))
    return float(np.rad2deg(Rotation.from_matrix(rotation @ other.T).magnitude()))


def test_scaled_rotations_are_a_length_times_a_rotation():
    quaternion = np.random.default_rng(0).normal(size=4)
    rotation = Rotation.from_quat(np.roll(quaternion, -1)).as_matrix()
    expected = quaternion @ quaternion * rotation
    np.testing.assert_allclose(fitting._scaled_rotation(quaternion), expected, atol=1e-12)


@pytest.mark.parametrize(("dims", "outlined"), [(2, False), (2, True), (3, False)])
def test_the_jacobian_is_the_derivative(model, curves, dims, outlined):
    rng = np.random.default_rng(1)
    problem = fitting._Problem(rng.normal(size=(dims, 68)), model, curves if outlined else None)
    unknowns = rng.normal(size=4 + dims + 50)
    problem.move_outline(unknowns)
    weights = rng.uniform(0.1, 1, 68)
    expected = approx_fprime(unknowns, problem.residuals, 1e-7, weights)
    jacobian = problem.jacobian(unknowns, weights)
    np.testing.assert_allclose(jacobian, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_a_face_of_the_model_comes_back(model, dims, seed):
    params = random_face(model, seed)
    landmarks = model.decode(params)
    fit = fit_landmarks(landmarks[:dims], model)
    assert fit.residual < OWN_FACE_RESIDUAL
    np.testing.assert_allclose(angles_deg(fit.params), angles_deg(params), atol=OWN_FACE_DEG[dims])
    np.testing.assert_allclose(model.decode(fit.params), fit.landmarks)
    distance_px = np.linalg.norm(fit.landmarks[:2] - landmarks[:2], axis=0)
    np.testing.assert_allclose(fit.distance_px, distance_px)
    size_px = np.sqrt(np.ptp(landmarks[:2], axis=1).prod())
    if dims == 3:
        assert fit.residual == pytest.approx(distance_px.mean() / size_px)
        assert np.abs(fit.landmarks[2] - landmarks[2]).mean() < 2 * OWN_FACE_RESIDUAL * size_px


def test_without_depth_the_mean_landmark_lies_at_zero(model):
    fit = fit_landmarks(model.decode(random_face(model, 0))[:2], model)
    assert abs(fit.landmarks[2].mean()) < 1e-6


def test_moving_and_scaling_the_points_moves_and_scales_the_camera_only(model):
    landmarks = model.decode(random_face(model, 3))[:2]
    first = fit_landmarks(landmarks, model)
    second = fit_landmarks(2.5 * landmarks + [[40], [-70]], model)
    np.testing.assert_allclose(second.params[N_POSE:], first.params[N_POSE:], rtol=1e-4, atol=1)
    moved = 2.5 * first.landmarks[:2] + [[40], [-70]]
    np.testing.assert_allclose(second.landmarks[:2], moved, atol=0.01)
    assert second.residual == pytest.approx(first.residual, rel=1e-3)


def test_a_few_wrong_points_hardly_matter(model):
    params = random_face(model, 2)
    landmarks = model.decode(params)[:2]
    wrong = landmarks.copy()
    wrong[:, [0, 1, 2, 40]] += 60  # of about 200 px
    right_fit, wrong_fit = fit_landmarks(landmarks, model), fit_landmarks(wrong, model)
    np.testing.assert_allclose(
        angles_deg(wrong_fit.params), angles_deg(right_fit.params), atol=OWN_FACE_DEG[2]
    )
    assert wrong_fit.distance_px[40] > 50
    kept = np.delete(np.arange(68), [0, 1, 2, 40])
    assert np.hypot(*(wrong_fit.landmarks[:2] - landmarks)[:, kept]).mean() < 3


def turned_face(model: LandmarkModel, seed: int, yaw_deg: float) -> np.ndarray:
    """Photo parameters of a face of about 200 px that looks up or down and to a side."""
    rng = np.random.default_rng(seed)
    params = rng.normal(model.param_mean, model.param_std)
    pitch, roll = torch.tensor(rng.uniform([-20, -30], [20, 30]))
    yaw = torch.tensor(yaw_deg, dtype=torch.float64)
    camera = 1.2e-3 * compose_rotation(Pose(yaw, pitch, roll)).numpy()
    params[POSE] = np.column_stack([camera, [200, 200, 0]]).ravel()
    return params


def with_outline(
    params: np.ndarray, model: LandmarkModel, curves: JawCurves, slip: float
) -> np.ndarray:
    """Points (2, 68) whose jaw is the visible outline, each `slip` of the way to the next."""
    points = model.decode(params)[:2]
    camera = camera_of(params)
    faces = curves.mean + curves.basis @ params[N_POSE:]  # (17, S, 3)
    seen = faces[np.arange(17), curves.outermost(faces, camera[:, :3])]
    jaw = turn_y((camera[:, :3] @ seen.T + camera[:, 3:])[:2])  # (2, 17)
    points[:, :16] = (1 - slip) * jaw[:, :-1] + slip * jaw[:, 1:]
    points[:, 16] = jaw[:, 16]
    return points


@pytest.mark.parametrize("yaw_deg", [-75.0, -50, -25, 0, 25, 50, 75])
@pytest.mark.parametrize("slip", [0.0, 0.3])
def test_a_face_comes_back_from_its_outline(model, curves, yaw_deg, slip):
    for seed in range(3):
        params = turned_face(model, seed, yaw_deg)
        truth = model.decode(params)
        fit = fit_landmarks(with_outline(params, model, curves, slip), model, curves)
        size_px = np.sqrt(np.ptp(truth[:2], axis=1).prod())
        assert fit.residual < OWN_FACE_RESIDUAL
        nme = np.hypot(*(fit.landmarks - truth)[:2]).mean() / size_px
        assert nme < OUTLINE_NME
        assert turn_between_deg(fit.params, params) < OUTLINE_DEG


def test_an_outline_taken_for_the_bone_is_a_worse_fit(model, curves):
    nme = []
    for seed in range(5):
        params = turned_face(model, seed, 50.0)
        points, truth = with_outline(params, model, curves, 0.0), model.decode(params)[:2]
        size_px = np.sqrt(np.ptp(truth, axis=1).prod())
        assert np.hypot(*(points - truth))[:8].max() > 10
        assert np.abs(points - truth)[:, 9:].max() < 10
        fits = [fit_landmarks(points, model, c) for c in (curves, None)]
        nme.append([np.hypot(*(fit.landmarks[:2] - truth)).mean() / size_px for fit in fits])
    outline, bone = np.mean(nme, axis=0)
    assert outline < 0.6 * bone


def test_the_jaw_is_where_the_model_is_seen_from_the_front(model, curves):
    """There outline and bone are the same; the fits are nearly so."""
    params = turned_face(model, 1, 0.0)
    landmarks = model.decode(params)[:2]
    size_px = np.sqrt(np.ptp(landmarks, axis=1).prod())
    for fitted in (fit_landmarks(landmarks, model, c).landmarks for c in (curves, None)):
        assert np.hypot(*(fitted[:2] - landmarks)).mean() < OUTLINE_NME * size_px


@pytest.mark.parametrize(
    ("landmarks", "message"),
    [
        (np.zeros((68, 2)), "shape"),
        (np.full((2, 68), np.nan), "not finite"),
        (np.stack([np.arange(68.0), np.ones(68)]), "no area"),
    ],
)
def test_points_that_are_no_face(model, landmarks, message):
    with pytest.raises(ValueError, match=message):
        fit_landmarks(landmarks, model)


def test_a_real_outline_gives_the_labels_yaw(shared_folder):
    label = read_face_label(shared_folder / "data/300wlp_sample/IBUG_image_008_1_0.mat")
    for folder in (shared_folder / "data" / "3dmm_bfm", OPEN_FOLDER):
        morphable = load_morphable(folder)
        curves = JawCurves.of(morphable)
        fit = fit_landmarks(label.pt2d, LandmarkModel.of(morphable), curves)
        yaw, pitch, roll = angles_deg(fit.params)
        assert yaw == pytest.approx(np.rad2deg(label.pose[1]), abs=1)
        assert fit.residual < 0.03
        assert max(abs(pitch - np.rad2deg(label.pose[0])), abs(roll)) < 5


@pytest.mark.parametrize("dims", [2, 3])
def test_real_labels(shared_folder, dims):
    model = LandmarkModel.of(load_morphable(shared_folder / "data" / "3dmm_bfm"))
    paths = sorted((shared_folder / "data" / "aflw2000_samples").glob("*.mat"))
    assert len(paths) == 8
    for path in paths:
        label = read_face_label(path)
        fit = fit_landmarks(label.pt3d_68[:dims], model)
        assert fit.residual < REAL_RESIDUAL
        expected = angles_deg(label_to_params(label, PHOTO_BOX, 450))
        np.testing.assert_allclose(angles_deg(fit.params), expected, atol=REAL_DEG[dims])


@pytest.mark.parametrize("kind", ["3dmm_bfm", "open"])
def test_real_labels_come_back_from_their_outline(shared_folder, kind):
    """The jaw of the 3D points, moved to the outline of the label's own face; with either model."""
    bfm = load_morphable(shared_folder / "data" / "3dmm_bfm")
    bfm_model, bfm_curves = LandmarkModel.of(bfm), JawCurves.of(bfm)
    morphable = bfm if kind == "3dmm_bfm" else load_morphable(OPEN_FOLDER)
    model, curves = LandmarkModel.of(morphable), JawCurves.of(morphable)
    for path in sorted((shared_folder / "data" / "aflw2000_samples").glob("*.mat")):
        label = read_face_label(path)
        params = label_to_params(label, PHOTO_BOX, 450)
        truth = label.pt3d_68[:2]
        outline = with_outline(params, bfm_model, bfm_curves, 0.0) - bfm_model.decode(params)[:2]
        fit = fit_landmarks(truth + outline, model, curves)
        nme = np.hypot(*(fit.landmarks[:2] - truth)).mean() / np.sqrt(np.ptp(truth, axis=1).prod())
        assert nme < OUTLINE_NME
        assert turn_between_deg(fit.params, params) < OUTLINE_DEG
