"""Mirror images: identities in float64, what the pictures say, and what the bases can express."""

import numpy as np
import pytest
import torch

from model_building import build_model, load_morphable
from synergynet.face_model import MorphableModel
from synergynet.geometry.camera import compose_camera
from synergynet.geometry.mirror import (
    MIRRORED_LANDMARKS,
    mean_params,
    mean_rotation,
    mirror_landmarks,
    mirror_params,
    mirror_rotation,
)
from synergynet.geometry.parameters import POSE
from synergynet.geometry.pose import Pose, compose_rotation, exact_angles
from utils.data.folders import OPEN_FOLDER
from utils.data.mirror import derive_mirror, mirror_targets

# mean distance between the reflected face and the nearest one in the span; whitened parameters of
# variance 1. The open model's asymmetric faces fill its bases only in part.
OPEN_LANDMARK_TOLERANCE_PX = 0.2
BASEL_LANDMARK_TOLERANCE_PX = 0.5


@pytest.fixture(scope="module")
def open_model() -> MorphableModel:
    return load_morphable(OPEN_FOLDER)


@pytest.fixture(scope="module")
def basel(shared_folder) -> MorphableModel:
    return load_morphable(shared_folder / "data" / "3dmm_bfm")


def random_params(face: MorphableModel, count: int = 40) -> torch.Tensor:
    """Real parameters (count, 62) float64 with faces of 80 px and rotations to 60 degrees."""
    rng = torch.Generator().manual_seed(0)
    whitened = torch.randn(count, 62, generator=rng, dtype=torch.float64)
    params = whitened * face.param_std + face.param_mean
    angles = Pose(*(120 * torch.rand(3, count, generator=rng, dtype=torch.float64) - 60))
    shift = 60 + 20 * torch.rand(count, 3, generator=rng, dtype=torch.float64)
    scale = torch.full((count,), 6e-4, dtype=torch.float64)
    camera = compose_camera(scale, compose_rotation(angles), shift)
    params[:, POSE] = camera.flatten(1)
    return params


def decode(face: MorphableModel, params: torch.Tensor) -> torch.Tensor:
    """Landmarks (B, 3, 68) crop px, y up, face by face."""
    rows = face.keypoints
    result = []
    for p in params:
        verts = face.u[rows, 0].double() + face.w_shp[rows].double() @ p[12:52]
        verts = (verts + face.w_exp[rows].double() @ p[52:]).reshape(68, 3)
        camera = p[POSE].reshape(3, 4)
        result.append(camera[:, :3] @ verts.T + camera[:, 3:])
    return torch.stack(result)


def test_landmark_symmetry_is_an_involution_that_keeps_the_midline():
    assert sorted(MIRRORED_LANDMARKS) == list(range(68))
    assert (MIRRORED_LANDMARKS[MIRRORED_LANDMARKS] == np.arange(68)).all()
    fixed = (np.arange(68) == MIRRORED_LANDMARKS).nonzero()[0]
    assert fixed.tolist() == [8, 27, 28, 29, 30, 33, 51, 57, 62, 66]


def test_landmark_symmetry_is_the_mean_faces(open_model):
    landmarks = open_model.u[open_model.keypoints].reshape(68, 3)
    reflected = landmarks[MIRRORED_LANDMARKS] * torch.tensor([-1.0, 1, 1])
    assert (reflected - landmarks).norm(dim=1).max() < 500  # micrometres


def test_mirrored_landmarks_lie_where_a_flipped_picture_shows_them():
    picture = torch.zeros(120, 120)
    landmarks = torch.full((3, 68), 50.0)
    landmarks[:2, 36] = torch.tensor([20.5, 70.5])  # centre of pixel (70, 20)
    picture[70, 20] = 1
    mirrored = mirror_landmarks(landmarks)
    row, column = picture.flip(1).nonzero()[0]
    assert mirrored[:2, 45].tolist() == [column + 0.5, row + 0.5]
    assert landmarks[0, 36] == 20.5
    torch.testing.assert_close(mirror_landmarks(mirrored), landmarks)


def test_mirrored_rotation_changes_the_sign_of_yaw_and_roll():
    pose = Pose(*torch.tensor([[20.0, -70], [10, 30], [-5, 40]], dtype=torch.float64))
    mirrored = exact_angles(mirror_rotation(compose_rotation(pose)))
    torch.testing.assert_close(mirrored, Pose(-pose.yaw, pose.pitch, -pose.roll))


def test_mean_rotation_is_halfway():
    """Along one axis by hand; in general the same angle from both."""
    angle = torch.tensor([10.0, 50.0], dtype=torch.float64)
    first, second = compose_rotation(Pose(angle, angle * 0, angle * 0))
    middle = exact_angles(mean_rotation(first, second))
    assert middle.yaw.item() == pytest.approx(30)
    rng = torch.Generator().manual_seed(1)
    angles = 160 * torch.rand(2, 3, 50, generator=rng, dtype=torch.float64) - 80
    first, second = (compose_rotation(Pose(*a)) for a in angles)
    middle = mean_rotation(first, second)
    identity = torch.eye(3, dtype=torch.float64).expand(50, 3, 3)
    torch.testing.assert_close(middle @ middle.mT, identity)
    torch.testing.assert_close(first.mT @ middle, middle.mT @ second)


@pytest.mark.parametrize("name", ["open_model", "basel", "tiny_morphable"])
def test_mirroring_twice_is_the_identity(name, request):
    face = request.getfixturevalue(name)
    mirror = derive_mirror(face)
    params = random_params(face)
    twice = mirror_params(mirror_params(params, mirror), mirror)
    scale = face.param_std.double()
    torch.testing.assert_close(twice / scale, params / scale, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "tolerance_px"),
    [("open_model", OPEN_LANDMARK_TOLERANCE_PX), ("basel", BASEL_LANDMARK_TOLERANCE_PX)],
)
def test_mirrored_parameters_decode_to_mirrored_landmarks(name, tolerance_px, request):
    face = request.getfixturevalue(name)
    params = random_params(face)
    expected = mirror_landmarks(decode(face, params))
    found = decode(face, mirror_params(params, derive_mirror(face)))
    distance = (found - expected).norm(dim=1)  # (B, 68) px
    assert distance.mean() < tolerance_px


def test_mirrored_targets_decode_to_mirrored_landmarks(open_model):
    params_w = torch.randn(40, 62, generator=torch.Generator().manual_seed(1))
    model = build_model("mobilenet_025", morphable=open_model)
    expected = mirror_landmarks(model.landmarks(params_w))
    found = model.landmarks(mirror_targets(params_w, open_model))
    assert (found - expected).norm(dim=1).mean() < OPEN_LANDMARK_TOLERANCE_PX


def test_a_symmetric_model_is_mirrored_exactly(open_model):
    """Landmarks alone as the face, made symmetric with a plane off the origin: no error is left."""
    rows = open_model.keypoints
    parts = []
    for tensor, shift in ((open_model.u, 300.0), (open_model.w_shp, 0), (open_model.w_exp, 0)):
        points = tensor[rows].double().reshape(68, 3, -1)
        flipped = points[MIRRORED_LANDMARKS] * torch.tensor([-1.0, 1, 1])[:, None]
        sign = torch.ones(points.shape[2])
        sign[1::3] = -1  # some components antisymmetric
        points = (points + flipped * sign) / 2 if shift == 0 else (points + flipped) / 2
        points[:, 0] += shift
        parts.append(points.reshape(204, -1))
    face = MorphableModel(
        *parts, torch.arange(204), open_model.param_mean, open_model.param_std, None, "symmetric"
    )
    params = random_params(face)
    mirror = derive_mirror(face)
    assert mirror.plane_um == pytest.approx(300)
    found = decode(face, mirror_params(params, mirror))
    torch.testing.assert_close(found, mirror_landmarks(decode(face, params)))


def test_a_network_has_the_mirror_of_its_face_model(tiny_morphable):
    of_network = derive_mirror(build_model("mobilenet_025", morphable=tiny_morphable))
    torch.testing.assert_close(of_network.linear, derive_mirror(tiny_morphable).linear)


def test_mean_params_of_a_face_and_itself_is_that_face(open_model):
    params = random_params(open_model)
    torch.testing.assert_close(mean_params(params, params), params)


def test_mean_with_the_own_mirror_image_is_frontal(open_model):
    """A face averaged with its mirror image has no yaw and no roll and stands in the middle."""
    params = random_params(open_model)
    mirrored = mirror_params(params, derive_mirror(open_model))
    camera = mean_params(params, mirrored)[:, POSE].reshape(-1, 3, 4)
    rotation = camera[:, :, :3] / camera[:, :2, :3].norm(dim=2).mean(1)[:, None, None]
    pose = exact_angles(rotation)
    torch.testing.assert_close(pose.yaw, torch.zeros_like(pose.yaw), rtol=0, atol=1e-6)
    torch.testing.assert_close(pose.roll, torch.zeros_like(pose.roll), rtol=0, atol=1e-6)
