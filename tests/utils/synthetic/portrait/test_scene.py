"""Scenes: each part of a picture has random numbers of its own, and can be left out alone."""

import dataclasses

import numpy as np
import pytest
import torch

import prepare_data
from model_building import load_morphable
from synergynet.fileio import run_command
from synergynet.geometry.parameters import POSE
from synergynet.geometry.pose import Pose, compose_rotation
from utils.data.folders import OPEN_FOLDER
from utils.synthetic.head import load_head
from utils.synthetic.pictures import INGREDIENTS, Generator
from utils.synthetic.portrait import studio
from utils.synthetic.portrait.appearance import glance
from utils.synthetic.portrait.scene import BORDERS, WITHOUT, Scene

CHANGED = {
    "hair": {"look"},
    "beards": {"look"},
    "glasses": {"look"},
    "occluders": {"occluder"},
    "lighting": {"lights"},
    "faults": {"has_faults"},
    "borders": {"has_border"},
    "glances": {"has_glance"},
}  # fields by what is left out, where nothing is worn


@pytest.fixture(scope="module")
def generator():
    return Generator(load_head(OPEN_FOLDER), load_morphable(OPEN_FOLDER))


def scene_of(seed):
    return Scene.sample(None, np.random.default_rng(seed))


def same(first, second):
    """Equal values, arrays and dataclasses; generators in the same state."""
    if dataclasses.is_dataclass(first) and type(first) is type(second):
        names = [field.name for field in dataclasses.fields(first)]
        return all(same(getattr(first, name), getattr(second, name)) for name in names)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, np.random.Generator):
        return first.bit_generator.state == second.bit_generator.state
    return np.array_equal(first, second)


def test_a_scene_depends_on_the_seed_and_not_on_what_was_drawn_before():
    rng = np.random.default_rng(5)
    rng.random(3)
    assert same(Scene.sample(None, rng), scene_of(5))
    assert not same(scene_of(6), scene_of(5))


def pose_of(yaw=0.0, pitch=0.0):
    return Pose(*(torch.tensor(angle, dtype=torch.float64) for angle in (yaw, pitch, 0.0)))


def test_shares():
    scenes = [scene_of(seed) for seed in range(400)]
    assert np.mean([s.has_border for s in scenes]) == pytest.approx(BORDERS, abs=0.05)
    assert np.mean([s.occluder is not None for s in scenes]) == pytest.approx(0.24, abs=0.07)


@pytest.mark.parametrize("name", WITHOUT)
def test_what_is_left_out_changes_nothing_else(name):
    touched = set()
    for seed in range(25):
        scene, less = scene_of(seed), WITHOUT[name](scene_of(seed))
        touched |= {
            field.name
            for field in dataclasses.fields(Scene)
            if not same(getattr(scene, field.name), getattr(less, field.name))
        }
        assert same(WITHOUT[name](less), less)
    assert touched == CHANGED[name]


def test_pictures_change_where_something_is_left_out(generator, monkeypatch):
    """Glasses go, and every pixel away from them stays."""
    seed = next(s for s in range(99) if scene_of(s).look.glasses is not None)
    params = generator.labels.sample(np.random.default_rng(3), yaw_range_deg=(0, 5))
    verts, camera = generator.head_verts(params), params[POSE].reshape(3, 4)
    monkeypatch.setattr(studio, "photograph_perfectly", lambda picture: picture)
    pictures = []
    for leave_out in (lambda scene: scene, WITHOUT["glasses"]):
        scene = dataclasses.replace(scene_of(seed), has_faults=False)
        pictures.append(generator.studio.draw(verts, camera, leave_out(scene)))
    changed = (pictures[0] != pictures[1]).any(-1)
    assert 0.01 < changed.mean() < 0.3
    assert not changed[80:].any()


def test_without_perspective_the_label_is_the_camera(generator, monkeypatch):
    cameras = []
    plain = Generator(generator.head, load_morphable(OPEN_FOLDER), without=["perspective"])
    for one in (generator, plain):
        monkeypatch.setattr(one.studio, "render", lambda verts, camera, rng: cameras.append(camera))
        _, params = one.draw(np.random.default_rng(1))
    assert cameras[0].shape == (4, 4)
    np.testing.assert_array_equal(cameras[1], params[POSE].reshape(3, 4))


def test_without_displays_people_stay_and_expressions_are_random_actions(generator):
    plain = Generator(generator.head, load_morphable(OPEN_FOLDER), without=["displays"])
    random_actions = generator.head.expressions[: len(generator.head.expressions) // 2]
    assert {tuple(row) for row in plain.labels.expressions} == set(map(tuple, random_actions))
    (first, _), (second, _) = (one.draw(np.random.default_rng(1)) for one in (generator, plain))
    assert (first != second).any()


def test_eyes_turn_to_the_camera_as_far_as_they_can():
    straight = np.array([0, 0, 1.0])
    for pitch_deg, found_deg in ((0, 0), (-20, 20), (18, -18), (-40, 25)):
        camera = 5e-4 * compose_rotation(pose_of(pitch=pitch_deg)).numpy()
        gaze = glance(straight, camera)
        assert np.degrees(np.arcsin(gaze[1])) == pytest.approx(found_deg, abs=0.1)
        seen = camera @ gaze / 5e-4  # in the crop: towards the viewer where the eyes can turn
        assert seen[2] > np.cos(np.radians(abs(pitch_deg + found_deg) + 0.1))
    for yaw_deg in (-30, 30):
        seen = compose_rotation(pose_of(yaw=yaw_deg)).numpy() @ glance(
            straight, compose_rotation(pose_of(yaw=yaw_deg)).numpy()
        )
        np.testing.assert_allclose(seen, [0, 0, 1], atol=1e-3)
    aside = compose_rotation(pose_of(yaw=70)).numpy()
    assert glance(straight, aside) is straight


def test_glances_change_the_eyes_only(generator):
    params = generator.labels.sample(np.random.default_rng(3), yaw_range_deg=(15, 25))
    verts, camera = generator.head_verts(params), params[POSE].reshape(3, 4)
    pictures = []
    for has_glance in (True, False):
        bare = WITHOUT["glasses"](scene_of(3))
        scene = dataclasses.replace(bare, has_faults=False, has_glance=has_glance, occluder=None)
        pictures.append(generator.studio.draw(verts, camera, scene))
    changed = (np.abs(pictures[0].astype(int) - pictures[1]) > 3).any(-1)
    assert 10 < changed.sum() < 200
    assert not changed[70:].any()


def test_unknown_ingredients_are_one_clear_line(tmp_path, capsys):
    command = ["synthetic", "--output", str(tmp_path / "set"), "--without", "hair", "salt"]
    assert run_command(prepare_data.main, prepare_data.get_args_parser().parse_args(command)) == 2
    error = capsys.readouterr().err
    assert f"--without salt: no such ingredient; choose from {', '.join(INGREDIENTS)}" in error
    assert not (tmp_path / "set").exists()


def test_help_names_every_ingredient(capsys):
    with pytest.raises(SystemExit):
        prepare_data.get_args_parser().parse_args(["synthetic", "--help"])
    told = capsys.readouterr().out
    assert all(name in told for name in INGREDIENTS)
