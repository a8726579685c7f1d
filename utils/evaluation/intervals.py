"""How certain a mean error is: bootstrap intervals, and a paired test between two models.

Both treat the headline's mean of bin means as it is: images are drawn again within their bin.
Sources: Efron and Tibshirani, An Introduction to the Bootstrap, chapters 13 and 15.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

RESAMPLES = 2000
CHUNK_VALUES = 2_000_000  # drawn at a time: memory does not grow with images or resamples


def mean_of_groups(values: np.ndarray, groups: np.ndarray | None = None) -> float:
    """Mean over the groups of the means in each; without groups the plain mean.

    Args:
        values: (N,).
        groups: (N,) labels.
    """
    return float(np.mean([part.mean() for part in _split(values, groups)]))


def bootstrap_interval(
    values: np.ndarray, groups: np.ndarray | None = None, confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of `mean_of_groups` over images drawn with replacement in each group.

    Args:
        values: (N,) errors. Not modified.
        groups: (N,) labels; None is one group.
        confidence: of the interval.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    means = np.zeros(RESAMPLES)
    parts = _split(values, groups)
    for part in parts:
        for rows in _chunks(len(part)):
            drawn = rng.integers(len(part), size=(len(means[rows]), len(part)))
            means[rows] += part[drawn].mean(axis=1) / len(parts)
    tail = 50 * (1 - confidence)
    low, high = np.percentile(means, [tail, 100 - tail]).tolist()
    return low, high


def paired_p_value(
    first: np.ndarray, second: np.ndarray, groups: np.ndarray | None = None, seed: int = 0
) -> float:
    """Two-sided permutation test of the same `mean_of_groups`: which model is which, by coin.

    Args:
        first, second: (N,) errors of two models on the same images. Not modified.
        groups: (N,) labels; None is one group.
        seed: of the coins.
    Returns:
        Share of permutations whose means differ at least as much as the observed ones; at least
        1 / (RESAMPLES + 1), for the observation counts as one.
    Raises:
        ValueError: different counts.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.shape != second.shape:
        raise ValueError(f"{first.shape} and {second.shape} errors are not of the same images")
    rng = np.random.default_rng(seed)
    difference = first - second
    observed = abs(mean_of_groups(difference, groups))
    means = np.zeros(RESAMPLES)
    parts = _split(difference, groups)
    for part in parts:
        for rows in _chunks(len(part)):
            coins = rng.integers(2, size=(len(means[rows]), len(part)), dtype=np.int8)
            means[rows] += ((2 * coins - 1) @ part) / (len(part) * len(parts))
    as_extreme = np.abs(means) >= observed * (1 - 1e-12)
    return float((1 + as_extreme.sum()) / (1 + RESAMPLES))


def _split(values: np.ndarray, groups: np.ndarray | None) -> list[np.ndarray]:
    values = np.asarray(values, np.float64)
    if groups is None:
        return [values]
    return [values[groups == group] for group in np.unique(groups)]


def _chunks(length: int) -> Iterator[slice]:
    """Slices of the resamples that draw at most CHUNK_VALUES values each."""
    step = max(1, CHUNK_VALUES // length)
    return (slice(i, i + step) for i in range(0, RESAMPLES, step))
