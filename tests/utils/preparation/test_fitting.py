"""Fitting: derivatives, faces that come back, points that lie, and real labels."""

import numpy as np
import pytest
import torch
from scipy.optimize import approx_fprime
from scipy.spatial.transform import Rotation

from model_building import load_morphable
from synergynet.geometry.parameters import N_POSE, POSE
from synergynet.geometry.pose import Pose, compose_rotation, decode_pose
from utils.data.folders import OPEN_FOLDER
from utils.data.landmark_model import PHOTO_BOX, LandmarkModel
from utils.preparation import fitting
from utils.preparation.fitting import fit_landmarks
from utils.preparation.labels import label_to_params, read_face_label

OWN_FACE_RESIDUAL = 0.006  # the prior draws a face of the model to the mean by that much
OWN_FACE_DEG = {2: 5.0, 3: 3.0}  # and its pose, without and with depth, by that
REAL_RESIDUAL = 0.01
REAL_DEG = {2: 5.0, 3: 4.0}  # labels were fitted with 199 + 29 coefficients, not 40 + 10


@pytest.fixture(scope="module")
def model() -> LandmarkModel:
    return LandmarkModel.of(load_morphable(OPEN_FOLDER))


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


def test_scaled_rotations_are_a_length_times_a_rotation():
    quaternion = np.random.default_rng(0).normal(size=4)
    rotation = Rotation.from_quat(np.roll(quaternion, -1)).as_matrix()
    expected = quaternion @ quaternion * rotation
    np.testing.assert_allclose(fitting._scaled_rotation(quaternion), expected, atol=1e-12)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_jacobian_is_the_derivative(model, dims):
    rng = np.random.default_rng(1)
    problem = fitting._Problem(rng.normal(size=(dims, 68)), model)
    unknowns = rng.normal(size=4 + dims + 50)
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


@pytest.mark.parametrize(("yaw_deg", "hidden"), [(50, range(0, 8)), (-50, range(9, 17))])
def test_2d_points_of_a_hidden_jaw_do_not_matter(model, yaw_deg, hidden):
    """The far jaw is drawn to the visible cheek, as annotators do it; the near one counts."""
    params = random_face(model, 4)
    yaw = torch.tensor(float(yaw_deg), dtype=torch.float64)
    camera = 1.2e-3 * compose_rotation(Pose(yaw, torch.zeros_like(yaw), torch.zeros_like(yaw)))
    params[POSE] = np.column_stack([camera.numpy(), [200, 200, 0]]).ravel()
    landmarks = model.decode(params)[:2]
    outline = landmarks.copy()
    outline[0, list(hidden)] += -np.sign(yaw_deg) * 40
    plain, outlined = fit_landmarks(landmarks, model), fit_landmarks(outline, model)
    np.testing.assert_allclose(outlined.landmarks, plain.landmarks, atol=2)
    assert outlined.distance_px[list(hidden)].mean() > 30
    assert outlined.residual < OWN_FACE_RESIDUAL
    near = [16 - index for index in hidden]
    outline[0, near] += 40
    moved = fit_landmarks(outline, model).landmarks
    assert np.abs(moved - plain.landmarks)[0].max() > 4


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
        fit = fit_landmarks(label.pt2d, LandmarkModel.of(load_morphable(folder)))
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
