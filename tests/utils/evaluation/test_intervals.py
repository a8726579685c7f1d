"""Intervals and tests against textbook answers, scipy, and plain loops."""

import numpy as np
import pytest
import scipy.stats

from utils.evaluation import intervals
from utils.evaluation.intervals import bootstrap_interval, mean_of_groups, paired_p_value

RNG = np.random.default_rng(0)
ERRORS = RNG.gamma(3, 1, 400)
GROUPS = RNG.integers(3, size=400)


def test_mean_of_groups_is_the_mean_of_bin_means():
    assert mean_of_groups(ERRORS) == pytest.approx(ERRORS.mean())
    means = [ERRORS[group == GROUPS].mean() for group in range(3)]
    assert mean_of_groups(ERRORS, GROUPS) == pytest.approx(np.mean(means))
    assert mean_of_groups(np.array([1.0, 2, 6]), np.array([0, 0, 7])) == pytest.approx(3.75)


def test_interval_is_the_normal_one_for_many_images():
    low, high = bootstrap_interval(ERRORS)
    half = 1.96 * ERRORS.std() / len(ERRORS) ** 0.5
    assert [low, high] == pytest.approx(
        [ERRORS.mean() - half, ERRORS.mean() + half], abs=0.1 * half
    )


def test_interval_draws_within_groups():
    """Groups that are constant in themselves leave nothing to chance."""
    low, high = bootstrap_interval(np.array([1.0, 1, 5, 5, 5]), np.array([0, 0, 1, 1, 1]))
    assert (low, high) == pytest.approx((3, 3))
    expected = (
        1.96 / 3 * sum(ERRORS[g == GROUPS].var() / (g == GROUPS).sum() for g in range(3)) ** 0.5
    )
    low, high = bootstrap_interval(ERRORS, GROUPS)
    assert (high - low) / 2 == pytest.approx(expected, rel=0.1)


def test_interval_does_not_depend_on_how_it_is_chunked(monkeypatch):
    whole = bootstrap_interval(ERRORS, GROUPS)
    monkeypatch.setattr(intervals, "CHUNK_VALUES", 1)
    assert bootstrap_interval(ERRORS, GROUPS) == pytest.approx(whole)


def test_p_value_agrees_with_scipy():
    second = ERRORS[:60] + RNG.normal(0.15, 0.5, 60)
    expected = scipy.stats.permutation_test(
        (ERRORS[:60], second),
        lambda a, b: np.mean(a - b),
        permutation_type="samples",
        rng=np.random.default_rng(1),
    ).pvalue
    assert 0.001 < expected < 0.2  # else agreement would be cheap
    assert paired_p_value(ERRORS[:60], second) == pytest.approx(expected, abs=0.02)


def test_p_value_is_small_for_a_difference_and_one_for_none():
    assert paired_p_value(ERRORS, ERRORS + RNG.normal(0.3, 0.5, 400), GROUPS) < 0.001
    assert paired_p_value(ERRORS, ERRORS, GROUPS) == 1


def test_p_values_of_chance_are_uniform():
    values = [
        paired_p_value(*np.random.default_rng(seed).normal(size=(2, 40)), seed=seed)
        for seed in range(200)
    ]
    assert scipy.stats.kstest(values, "uniform").pvalue > 0.01


def test_other_images_are_refused():
    with pytest.raises(ValueError, match="same images"):
        paired_p_value(ERRORS, ERRORS[1:])
