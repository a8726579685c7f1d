"""Blendshapes from expression coefficients: identities, bounds, optimality, files."""

from __future__ import annotations

import dataclasses
import pickle
import time

import numpy as np
import pytest

from benchmarks.blendshapes import correlations, sample_strengths
from synergynet import fileio
from synergynet.blendshapes import (
    ARKIT_NAMES,
    N_ACTIONS,
    RELIABLE,
    SPARSITY,
    FacialActions,
    actions_of,
    arrays_of,
    fit_in_bounds,
)
from synergynet.face_model import read_face_model, write_face_model
from synergynet.morphable_folder import ACTIONS_FILE, read_morphable_folder
from synergynet.weights import read_weights
from utils.data.folders import OPEN_FOLDER

MOST_MS = 1.0  # a face; 0.1 on a quiet core
# What the 10 coefficients tell apart from all others; a name without its side is both.
CLEAR = (
    *("jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthRollUpper", "cheekPuff"),
    *("eyeBlink", "mouthSmile", "cheekSquint", "mouthLeft", "mouthRight"),
)


@pytest.fixture(scope="module")
def actions() -> FacialActions:
    """The open model's, as the network answers."""
    found = read_morphable_folder(OPEN_FOLDER).actions
    assert found is not None
    return found


@pytest.fixture(scope="module")
def exact(actions) -> FacialActions:
    """The same for labels."""
    return FacialActions.exact(actions.effects, actions.rest)


def strengths_of(**shown: float) -> np.ndarray:
    """(1, 52) with these strengths; a name without its side is both."""
    for name in shown:
        assert any(known.startswith(name) for known in ARKIT_NAMES)
    return np.array(
        [[max((s for n, s in shown.items() if k.startswith(n)), default=0.0) for k in ARKIT_NAMES]]
    )


def test_the_names_are_arkits():
    assert len(set(ARKIT_NAMES)) == N_ACTIONS == 52
    lefts = {name[:-4] for name in ARKIT_NAMES if name.endswith("Left")}
    assert lefts == {name[:-5] for name in ARKIT_NAMES if name.endswith("Right")}
    assert len(lefts) == 20


# ---------------------------------------------------------------- identities


def test_a_face_at_rest_has_none(actions, exact):
    nothing = np.zeros((3, N_ACTIONS))
    assert exact.fit(exact.expressions(nothing)).max() == 0
    assert actions.fit(actions.answers(nothing)).max() == 0


@pytest.mark.parametrize("name", CLEAR)
@pytest.mark.parametrize("strength", [0.3, 0.6, 1.0])
def test_one_action_is_fitted_to_a_face_made_of_it(exact, name, strength):
    shown = strengths_of(**{name: strength})
    fitted = exact.fit(exact.expressions(shown))[0]
    assert np.abs(fitted - shown[0])[shown[0] > 0].max() < 0.12
    assert fitted[shown[0] == 0].max() < 0.15


@pytest.mark.parametrize(("name", "most_off"), [("jawOpen", 0.1), ("mouthSmile", 0.45)])
def test_what_the_network_shows_is_fitted_to_its_answer(actions, name, most_off):
    """Smiles, of which it is less sure, are fitted fainter."""
    for strength in (0.4, 0.9):
        shown = strengths_of(**{name: strength})
        fitted = actions.fit(actions.answers(shown))[0]
        assert np.abs(fitted - shown[0])[shown[0] > 0].max() < most_off
        assert fitted[shown[0] > 0].min() > strength / 3
        assert fitted[shown[0] == 0].max() < 0.1


def test_stronger_is_fitted_stronger(actions):
    steps = np.linspace(0.2, 1, 5)  # below, a network's noise may stand for it
    for name in actions.reliable:
        action = name.removesuffix("Left").removesuffix("Right")
        faces = np.concatenate([strengths_of(**{action: step}) for step in steps])
        fitted = actions.fit(actions.answers(faces))[:, ARKIT_NAMES.index(name)]
        assert (np.diff(fitted) > 0).all()


def test_strengths_stay_in_bounds_whatever_comes(actions, exact):
    rng = np.random.default_rng(0)
    for spread in (0.1, 1, 30):
        answers = rng.normal(0, spread, (50, 10))
        for fit in (actions.fit, exact.fit):
            fitted = fit(answers)
            assert fitted.dtype == np.float32
            assert fitted.shape == (50, N_ACTIONS)
            assert fitted.min() >= 0
            assert fitted.max() <= 1


def test_many_faces_are_fitted_as_one_by_one(exact):
    faces = exact.expressions(sample_strengths(20, np.random.default_rng(1)))
    apart = np.concatenate([exact.fit(face[None]) for face in faces])
    np.testing.assert_array_equal(apart, exact.fit(faces))
    assert exact.fit(faces[:0]).shape == (0, N_ACTIONS)


def test_labels_tell_strengths_that_the_coefficients_hold(exact):
    drawn = sample_strengths(300, np.random.default_rng(2))
    found = correlations(exact.fit(exact.expressions(drawn)), drawn)
    for name in CLEAR:
        rows = [i for i, known in enumerate(ARKIT_NAMES) if known.startswith(name)]
        assert found[rows].min() > 0.8


# ---------------------------------------------------------------- the solver


def test_the_fit_is_the_best_there_is(actions, exact):
    """Karush, Kuhn and Tucker: no slope inside, only outward ones at the bounds."""
    drawn = sample_strengths(50, np.random.default_rng(3))
    for each, answers in ((exact, exact.expressions(drawn)), (actions, actions.answers(drawn))):
        hessian, towards = each._problem
        for gain in (answers - each.answer_rest) @ towards - SPARSITY:
            x = fit_in_bounds(hessian, gain)
            slope = gain - hessian @ x
            off = np.where(x == 0, slope.clip(0), np.where(x == 1, -slope.clip(None, 0), slope))
            assert np.abs(off).max() < 1e-6 * (1 + np.abs(gain).max())


def test_bounds_hold_what_would_go_beyond():
    np.testing.assert_allclose(fit_in_bounds(np.eye(3), np.array([-1, 0.4, 3])), [0, 0.4, 1])
    hessian = np.array([[2, 1.5], [1.5, 2]])
    np.testing.assert_allclose(fit_in_bounds(hessian, np.array([1.9, 1.6])), [0.8, 0.2])
    np.testing.assert_allclose(fit_in_bounds(hessian, np.array([9, 2])), [1, 0.25])


def test_a_face_takes_less_than_a_millisecond(actions):
    answers = actions.answers(sample_strengths(200, np.random.default_rng(4)))
    actions.fit(answers[:1])
    times = []
    for _ in range(3):
        start = time.process_time()
        actions.fit(answers)
        times.append(time.process_time() - start)
    assert 1000 * min(times) / len(answers) < MOST_MS


# ---------------------------------------------------------------- files


def test_what_ships_is_measured_and_the_same_in_the_runtime(actions):
    assert set(actions.reliable) >= {"jawOpen", "mouthSmileLeft", "mouthSmileRight"}
    assert (np.abs(actions.found) <= 1).all()
    reliable = [n for n, r in zip(ARKIT_NAMES, actions.found, strict=True) if r >= RELIABLE]
    assert actions.reliable == tuple(reliable)
    built_in = read_weights().face_model.actions
    for name, array in arrays_of(actions).items():
        np.testing.assert_array_equal(getattr(built_in, name), array)


def test_effects_are_what_the_basis_can_show(exact):
    """Jaw and lids move the landmarks that they should, in the model's own geometry."""
    model = read_morphable_folder(OPEN_FOLDER)
    params = np.zeros((3, 62), np.float32)
    shown = [strengths_of(), strengths_of(jawOpen=1), strengths_of(eyeBlink=1)]
    params[:, 52:] = exact.expressions(np.concatenate(shown))
    rest, jaw, lids = model.landmarks_model(params) / 1000  # mm, y up
    assert (jaw - rest)[1, 8] < -18  # the chin
    assert (lids - rest)[1, [37, 38, 43, 44]].max() < -4
    assert np.abs(lids - rest)[1, :17].max() < 1


def test_files_round_trip(actions, tmp_path, tiny_morphable):
    fileio.write_arrays(tmp_path / ACTIONS_FILE, arrays_of(actions))
    again = actions_of(fileio.read_arrays(tmp_path / ACTIONS_FILE))
    numpy_model = tiny_morphable.convert(lambda tensor: tensor.numpy())
    with_actions = dataclasses.replace(numpy_model, actions=actions)
    write_face_model(tmp_path / "face.npz", with_actions, {})
    read, _ = read_face_model(tmp_path / "face.npz")
    assert read.hash == numpy_model.hash
    for other in (again, read.actions, pickle.loads(pickle.dumps(actions))):
        for name, array in arrays_of(actions).items():
            np.testing.assert_array_equal(getattr(other, name), array)
    write_face_model(tmp_path / "face.npz", numpy_model, {})
    assert read_face_model(tmp_path / "face.npz")[0].actions is None


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("effects", lambda array: array[:, :9]),
        ("spread", np.zeros_like),
        ("answer_noise", np.zeros_like),
        ("found", None),
    ],
)
def test_damaged_actions_are_one_line(actions, tmp_path, morphable_folder, name, change):
    arrays = arrays_of(actions)
    if change is None:
        del arrays[name]
    else:
        arrays[name] = change(arrays[name])
    with pytest.raises(ValueError, match="facial actions"):
        actions_of(arrays)
    for file in morphable_folder.iterdir():
        (tmp_path / file.name).symlink_to(file)
    fileio.write_arrays(tmp_path / ACTIONS_FILE, arrays)
    with pytest.raises(fileio.InputError, match=rf"{ACTIONS_FILE}: its facial actions"):
        read_morphable_folder(tmp_path)
