"""The files that a benchmark leaves in its output folder: this run's, and none of an older one."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from utils.evaluation.summary import Entry

N_OVERLAYS = 50
KINDS = (
    *("benchmark.json", "comparison.json", "robustness.json", "errors.csv"),
    *("ced.png", "error_vs_yaw.png", "report.html"),
    *(f"{index}.png" for index in range(N_OVERLAYS)),
)


class Results:
    """The files of one run.

    Args:
        folder: may hold results of an older run, and other files.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._written: set[str] = set()

    def path(self, name: str) -> Path:
        """Where to write one of KINDS."""
        if name not in KINDS:
            raise ValueError(f"{name}: not a kind of result")
        self._written.add(name)
        return self._folder / name

    def remove_old(self) -> None:
        """Remove results of an older run that this one has not replaced; other files stay."""
        for name in KINDS:
            if name not in self._written:
                (self._folder / name).unlink(missing_ok=True)


def format_errors(entries: Sequence[Entry]) -> str:
    """CSV, a line for each model and image: landmarks in percent, angles in degrees, faces in mm.

    Angles are predicted minus true by exact decoding. A cell is empty where there is no label or no
    prediction.
    """
    table = io.StringIO()
    rows = [row for entry in entries for row in _rows(entry)]
    writer = csv.DictWriter(table, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return table.getvalue()


def _rows(entry: Entry) -> Iterator[dict[str, Any]]:
    crops, errors = entry.source.crops, entry.errors
    columns = {
        "yaw_deg": crops.labels.yaw_deg,
        "nme": _times(100, errors.nme),
        "nme_reannotated": _times(100, errors.nme_reannotated),
        "nme_3d": _times(100, errors.nme_3d),
        **{
            f"{angle}_error_deg": None if errors.exact is None else errors.exact[:, axis]
            for axis, angle in enumerate(("pitch", "yaw", "roll"))
        },
        "rotation_error_deg": errors.rotation_deg,
        "shape_mm": errors.shape_mm,
        "expression_mm": errors.expression_mm,
    }
    for index, name in enumerate(crops.names):
        numbers = {key: _cell(values, index) for key, values in columns.items()}
        yield {"model": entry.name, "image": name} | numbers


def _times(factor: float, values: np.ndarray | None) -> np.ndarray | None:
    return None if values is None else factor * values


def _cell(values: np.ndarray | None, index: int) -> str:
    known = values is not None and math.isfinite(values[index])
    return f"{values[index]:.4f}" if known else ""
