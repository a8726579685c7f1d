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
        entries = np.cumsum([0, *(len(part.sources) for part in parts)])
        return cls(
            np.concatenate([np.empty(0, np.int64), *(part.sources for part in parts)]),
            np.concatenate([np.empty(0, np.float32), *(part.weights for part in parts)]),
            np.concatenate(
                [np.empty(0, np.int64)]
                + [part.starts + first for part, first in zip(parts, entries, strict=False)]
            ),
        )

    def chosen(self, rows: np.ndarray) -> Sums:
        """Some of the sums, by a mask (N,)."""
        lengths = np.diff(self.starts, append=len(self.sources))
        kept = np.repeat(rows, lengths)
        starts = np.cumsum(np.append(0, lengths[rows]))[:-1]
        return Sums(self.sources[kept], self.weights[kept], starts)

    def renumbered(self, numbers: np.ndarray) -> Sums:
        """The same sums of points that have other numbers (M,) now."""
        return Sums(numbers[self.sources], self.weights, self.starts)

    def __len__(self) -> int:
        return len(self.starts)

    def apply(self, points: np.ndarray) -> np.ndarray:
        """The sums (..., N) of points (..., M)."""
        if not len(self):
            return points[..., :0]
        terms = points.take(self.sources, axis=-1) * self.weights.astype(points.dtype)
        return np.add.reduceat(terms, self.starts, axis=-1)
