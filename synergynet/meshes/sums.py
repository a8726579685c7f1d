"""Points that are weighted sums of others: a linear map that any posed face goes through alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Sums:
    """N points as weighted sums of known ones, each of one or more; weights that add up to 1 let
    the points follow when the known ones are turned, moved and scaled.

    Attributes:
        sources: (E,) int64 columns of the known points, those of the first sum first.
        weights: (E,) float32 beside them.
        starts: (N,) int64 where each sum begins.
    """

    sources: np.ndarray
    weights: np.ndarray
    starts: np.ndarray

    @classmethod
    def of_triplets(cls, rows: np.ndarray, sources: np.ndarray, weights: np.ndarray) -> Sums:
        """From entries (E,) in any order: which sum, of which point, how much; zeros are left out.

        Args:
            rows: every number from 0 to N - 1 at least once with a weight.
            sources, weights: beside them.
        """
        kept = np.flatnonzero(weights)
        order = kept[np.argsort(rows[kept], kind="stable")]
        starts = np.searchsorted(rows[order], np.arange(rows.max(initial=-1) + 1))
        return cls(sources[order], weights[order].astype(np.float32), starts)

    @classmethod
    def of_columns(cls, sources: np.ndarray, weights: np.ndarray) -> Sums:
        """From tables (N, K); weights may also be one row (K,) for all."""
        weights = np.broadcast_to(weights, sources.shape)
        rows = np.repeat(np.arange(len(sources)), sources.shape[1])
        return cls.of_triplets(rows, sources.ravel(), weights.ravel())

    @classmethod
    def joined(cls, parts: Sequence[Sums]) -> Sums:
        """One after the other; all of the same known points."""
        shifts = np.cumsum([0, *(len(part.sources) for part in parts)])
        return cls(
            np.concatenate([part.sources for part in parts]),
            np.concatenate([part.weights for part in parts]),
            np.concatenate([part.starts + s for part, s in zip(parts, shifts, strict=False)]),
        )

    def __len__(self) -> int:
        return len(self.starts)

    def apply(self, points: np.ndarray) -> np.ndarray:
        """The sums (..., N) of points (..., M)."""
        if not len(self):
            return points[..., :0]
        terms = points.take(self.sources, axis=-1) * self.weights.astype(points.dtype)
        return np.add.reduceat(terms, self.starts, axis=-1)
