"""Expressions as people show them: strengths, shares, and what happens on both sides of a face."""

import numpy as np
import pytest

from utils.synthetic.building.expressions import DISPLAYS, sample_displays, sample_facial_actions

SIDED = sorted({a for display in DISPLAYS.values() for a in display.actions if a != "jawOpen"})
LABELS = ["jawOpen", "tongueOut", "eyeBlinkLeft", "eyeBlinkRight"]
LABELS += [a + side for a in SIDED for side in ("Left", "Right")]


@pytest.fixture(scope="module")
def strengths():
    sampled = sample_displays(LABELS, 4000, np.random.default_rng(0))
    return dict(zip(LABELS, sampled.T, strict=True))


def test_shares_add_up_and_strengths_are_ordered():
    assert sum(display.share for display in DISPLAYS.values()) == pytest.approx(1)
    limits = np.array([pair for display in DISPLAYS.values() for pair in display.actions.values()])
    assert (limits[:, 0] < limits[:, 1]).all()
    assert limits.min() >= 0
    assert limits.max() <= 1


def test_displays_come_as_often_as_the_table_says(strengths):
    # Upper lips are raised to a fifth or more in grins, laughs and most speech only.
    raised = strengths["mouthUpperUpLeft"] > 0.2
    speech = DISPLAYS["speech"].share * (0.5 - 0.2) / 0.5
    expected = DISPLAYS["grin"].share + DISPLAYS["laugh"].share + speech
    assert raised.mean() == pytest.approx(expected, abs=0.05)
    smiles = strengths["mouthSmileLeft"] > 0.3
    assert (raised & smiles).mean() > 0.3  # together, as in photographs
    assert (strengths["eyeBlinkLeft"] > 0.7).mean() == pytest.approx(0.06, abs=0.02)


def test_sides_nearly_agree_and_strengths_stay_in_range(strengths):
    values = np.array(list(strengths.values()))
    assert values.min() >= 0
    assert values.max() <= 1
    strong = strengths["mouthSmileLeft"] > 0.3
    left, right = (strengths[f"mouthSmile{side}"][strong] for side in ("Left", "Right"))
    assert np.median(np.abs(left - right)) < 0.1
    assert (left != right).mean() > 0.5


def test_action_without_a_label_is_left_out():
    sampled = sample_displays(["jawOpen"], 50, np.random.default_rng(0))
    assert sampled.shape == (50, 1)


def test_random_actions_are_few_and_mostly_alike_on_both_sides():
    labels = (*LABELS, "cheekPuff")
    sampled = sample_facial_actions(labels, 4000, np.random.default_rng(0))
    assert sampled.shape == (4000, len(labels))
    assert sampled.min() == 0
    assert sampled.max() <= 1
    often = dict(zip(labels, (sampled > 0).mean(axis=0), strict=True))
    assert often["jawOpen"] == pytest.approx(0.35, abs=0.03)
    assert often["cheekPuff"] == pytest.approx(0.1, abs=0.02)
    left, right = (labels.index("eyeBlink" + side) for side in ("Left", "Right"))
    assert (sampled[:, left] == sampled[:, right]).mean() > 0.8
