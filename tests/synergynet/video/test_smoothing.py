"""The One-Euro filter of a face: pass-through, steadiness, and little lag."""

import numpy as np

from synergynet.geometry.camera import camera_of, compose_camera, params_to_crop, params_to_photo
from synergynet.geometry.decoding import turn_y
from synergynet.geometry.parameters import EXPR, POSE, SHAPE
from synergynet.geometry.pose import Pose, compose_rotation
from synergynet.video.smoothing import FaceSmoother

BOX = np.array([30.0, 50.0, 270.0, 290.0])
FPS = 25.0


def make_params(yaw: float, x: float = 60.0, seed: int = 0) -> np.ndarray:
    """Real parameters (62,) of a face turned by `yaw` degrees and centred at crop column x."""
    angles = Pose(*np.array([yaw, 5.0, -3.0]))
    camera = compose_camera(np.array(5e-4), compose_rotation(angles), np.array([x, 61.0, 0.0]))
    rng = np.random.default_rng(seed)
    return np.concatenate([camera.ravel(), rng.normal(0, 1e4, 40), rng.normal(0, 1, 10)])


def project(params: np.ndarray, box: np.ndarray = BOX) -> np.ndarray:
    """Landmarks (3, 68) photo px of a head of fixed points, without shape and expression."""
    points = np.random.default_rng(1).normal(0, 6e4, (3, 68))
    camera = camera_of(params_to_photo(params, box))
    return turn_y(camera[:, :3] @ points + camera[:, 3:])


def test_the_first_frame_and_a_standing_face_pass_through():
    smoother = FaceSmoother()
    params = make_params(20)
    for index in range(3):
        smooth = smoother(params, project(params), BOX, index / FPS)
        np.testing.assert_allclose(smooth, params, rtol=1e-5, atol=1e-5)


def test_a_crop_that_moves_around_a_standing_face_changes_nothing():
    smoother = FaceSmoother()
    params = make_params(20)
    in_photo = params_to_photo(params, BOX)
    for index in range(5):
        box = BOX + index * np.array([7, -3, 11, 1])
        moved = params_to_crop(in_photo, box)
        smooth = smoother(moved, project(moved, box), box, index / FPS)
        np.testing.assert_allclose(smooth, moved, rtol=1e-4, atol=1e-4)


def test_a_frame_that_is_not_later_passes_through():
    smoother = FaceSmoother()
    first, second = make_params(0), make_params(30, seed=1)
    smoother(first, project(first), BOX, 1.0)
    np.testing.assert_allclose(
        smoother(second, project(second), BOX, 1.0), second, rtol=1e-4, atol=1e-4
    )


def run(clip: list[np.ndarray], smoother: FaceSmoother) -> np.ndarray:
    frames = (smoother(p, project(p), BOX, i / FPS) for i, p in enumerate(clip))
    return np.array(list(frames))


def test_noise_of_a_standing_face_shrinks_in_every_part():
    rng = np.random.default_rng(0)
    clean = make_params(10)
    clip = []
    for _ in range(200):
        noisy = make_params(10 + rng.normal(0, 1), 60 + rng.normal(0, 0.3))
        noisy[SHAPE] += rng.normal(0, 2e3, 40)
        noisy[EXPR] += rng.normal(0, 0.1, 10)
        clip.append(noisy)
    smooth = run(clip, FaceSmoother())[50:]
    for part in (POSE, SHAPE, EXPR):
        before = np.abs(np.diff(np.array(clip)[50:, part], axis=0)).mean()
        after = np.abs(np.diff(smooth[:, part], axis=0)).mean()
        assert after < before / 2.5
    np.testing.assert_allclose(smooth.mean(0)[SHAPE], clean[SHAPE], atol=2e3)


def test_motion_is_followed_more_closely_than_by_a_fixed_cutoff():
    clip = [make_params(0, 30 + 60 * min(max(i - 10, 0), 50) / 50) for i in range(60)]
    truth = np.array([project(p) for p in clip])
    lags = []
    for smoother in (FaceSmoother(), FaceSmoother(cutoff_per_speed=0)):
        found = np.array([project(p) for p in run(clip, smoother)])
        lags.append(np.abs(found - truth)[30:, 0].mean())
    speed_px = 60 / 50 * 2  # photo px a frame
    assert lags[0] < 2 * speed_px
    assert lags[0] < lags[1] / 2


def test_rotations_stay_rotations():
    rng = np.random.default_rng(0)
    clip = [make_params(yaw) for yaw in rng.uniform(-80, 80, 40)]
    for params in run(clip, FaceSmoother()):
        camera = camera_of(params_to_photo(params, BOX))[:, :3] / 1e-3
        np.testing.assert_allclose(camera @ camera.T, np.eye(3), atol=1e-5)
