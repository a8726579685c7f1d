"""benchmarks/blendshapes.py: drawn heads whose facial actions are known, and how they are found."""

import dataclasses
import types

import numpy as np
import pytest

from benchmarks import blendshapes
from synergynet import SynergyNet, fileio
from synergynet.blendshapes import ARKIT_NAMES, FacialActions, actions_of
from synergynet.geometry.parameters import EXPR
from synergynet.morphable_folder import ACTIONS_FILE
from utils.data.evaluation_crops import OPEN_TEST_FOLDER
from utils.data.folders import OPEN_FOLDER
from utils.synthetic.pictures import GeneratorSource


@pytest.fixture(scope="module")
def net():
    return SynergyNet()


@pytest.fixture(scope="module")
def exact(net):
    return FacialActions.exact(net.model.actions.effects, net.model.actions.rest)


def test_drawn_heads_show_what_they_are_told(net, exact):
    """Labels have the expressions exactly; the network sees open mouths."""
    drawn = blendshapes.sample_strengths(60, np.random.default_rng(5))
    expressions = exact.expressions(drawn)
    source = GeneratorSource.of(OPEN_FOLDER, True, None, ())
    labels, found = blendshapes.draw_faces(net, expressions, source, seed=3)
    np.testing.assert_allclose(labels[:, EXPR], expressions, atol=0.05)
    jaw = ARKIT_NAMES.index("jawOpen")
    of_label = blendshapes.correlations(exact.fit(labels[:, EXPR]), drawn)
    of_network = blendshapes.correlations(net.model.actions.fit(found[:, EXPR]), drawn)
    assert of_label[jaw] > 0.98
    assert of_network[jaw] > 0.6


def test_a_networks_answers_are_measured(exact):
    """Of a network that answers faintly and says nothing of lids: as it was made, and the fit."""
    rng = np.random.default_rng(0)
    drawn = blendshapes.sample_strengths(3000, rng)
    gain = np.diag([0.5, 0.5, 0.5, 0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
    made = dataclasses.replace(exact, answer_rest=exact.rest + 0.3, answer_gain=gain)
    answers = made.answers(drawn) + rng.normal(0, 0.1, (3000, 10))
    measured = blendshapes.measure_answers(exact, drawn, answers)
    np.testing.assert_allclose(measured.answer_rest, made.answer_rest, atol=0.02)
    np.testing.assert_allclose(measured.answer_gain, gain, atol=0.02)
    np.testing.assert_allclose(measured.answer_noise, 0.01 * np.eye(10), atol=0.002)
    found = blendshapes.correlations(measured.fit(answers), drawn)
    assert found[ARKIT_NAMES.index("jawOpen")] > 0.95
    assert abs(found[ARKIT_NAMES.index("eyeBlinkLeft")]) < 0.1
    assert measured.spread[ARKIT_NAMES.index("eyeBlinkLeft")] < 0.1


def test_correlations_of_what_does_not_move_are_none():
    drawn = np.random.default_rng(0).random((20, 3))
    fitted = np.column_stack([drawn[:, 0], -drawn[:, 1], np.ones(20)])
    np.testing.assert_allclose(blendshapes.correlations(fitted, drawn), [1, -1, 0], atol=1e-9)


def test_a_short_run(capsys, tmp_path):
    options = ["--count", "100", "--calibrate", "--output", str(tmp_path)]
    args = blendshapes.get_args_parser().parse_args(options)
    assert fileio.run_command(blendshapes.main, args) == 0
    output = capsys.readouterr().out
    assert "| jawOpen |" in output
    assert "100 drawn faces" in output
    written = actions_of(fileio.read_arrays(tmp_path / ACTIONS_FILE))
    assert written.found.max() > 0.5


def test_open_mouths_are_found_in_a_test_set(net, capsys):
    count, found = blendshapes.look_at_photographs(net, OPEN_TEST_FOLDER)
    assert count > 50
    assert found["jawOpen, lips apart"] > 0.6
    args = blendshapes.get_args_parser().parse_args(["--photographs", str(OPEN_TEST_FOLDER)])
    assert fileio.run_command(blendshapes.main, args) == 0
    assert f"{count} faces" in capsys.readouterr().out


def test_other_face_models_are_refused(net, capsys, monkeypatch):
    other = dataclasses.replace(net.model, w_exp=2 * net.model.w_exp, name="other")
    monkeypatch.setattr(blendshapes, "SynergyNet", lambda _: types.SimpleNamespace(model=other))
    args = blendshapes.get_args_parser().parse_args(["--calibrate"])
    assert fileio.run_command(blendshapes.main, args) == 2
    assert "other: has no facial actions" in capsys.readouterr().err


def test_too_few_faces_are_refused(capsys):
    args = blendshapes.get_args_parser().parse_args(["--count", "5"])
    assert fileio.run_command(blendshapes.main, args) == 2
    assert "--count" in capsys.readouterr().err
