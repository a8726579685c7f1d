"""Weighted sums of points against matrices."""

from __future__ import annotations

import numpy as np
import pytest

from synergynet.meshes.sums import Sums


@pytest.fixture
def case() -> tuple[Sums, np.ndarray]:
    """Sums of 20 points, and their matrix (7, 20); each has one weight at least."""
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(7, 20)) * (rng.random((7, 20)) < 0.3)
    matrix[np.arange(7), np.arange(7)] = 1
    rows, sources = np.nonzero(np.ones_like(matrix))
    shuffled = rng.permutation(len(rows))
    weights = matrix.ravel()[shuffled]
    return Sums.of_triplets(rows[shuffled], sources[shuffled], weights), matrix


def test_sums_are_their_matrix_and_zeros_are_left_out(case):
    sums, matrix = case
    points = np.random.default_rng(1).normal(size=(4, 3, 20))
    np.testing.assert_allclose(sums.apply(points), points @ matrix.T, atol=1e-6)
    assert len(sums) == 7
    assert len(sums.sources) == np.count_nonzero(matrix)
    assert sums.apply(points.astype(np.float32)).dtype == np.float32


def test_chosen_renumbered_and_joined_are_rows_columns_and_both(case):
    sums, matrix = case
    points = np.random.default_rng(1).normal(size=(3, 20))
    rows = np.array([True, False, False, True, True, False, True])
    np.testing.assert_allclose(sums.chosen(rows).apply(points), points @ matrix[rows].T, atol=1e-6)
    order = np.random.default_rng(2).permutation(20)
    numbers = np.argsort(order)
    np.testing.assert_allclose(
        sums.renumbered(numbers).apply(points[:, order]), sums.apply(points), atol=1e-6
    )
    both = Sums.joined([sums, sums.chosen(rows)])
    want = points @ np.concatenate([matrix, matrix[rows]]).T
    np.testing.assert_allclose(both.apply(points), want, atol=1e-6)


def test_no_sums_of_anything_are_none():
    assert len(Sums.joined([])) == 0
    assert Sums.joined([]).apply(np.ones((3, 5))).shape == (3, 0)
