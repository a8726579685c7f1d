"""Tables of a run, a line for each face of all pictures, beside its lines of JSON.

`faces.csv` has all numbers, `blendshapes.csv` those that face-capture tools read, in its order. The
lines of JSON are what counts: a run that goes on makes the tables anew from them, so that they hold
each picture once, whatever the run before was stopped at, or did not write.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from synergynet import face_capture, fileio, table
from synergynet.blendshapes import ARKIT_NAMES
from synergynet.photos.sources import OLDER, rank_and_world_size

HEADER = ("image", "face", *table.COLUMNS)


class Kind(NamedTuple):
    """What a table holds: its file's name, its first row, and from an entry and the number of rows
    before it to the rows of one picture; of one that failed, none."""

    name: str
    header: tuple[str, ...]
    rows_of: Callable[[dict[str, Any], int], Iterator[list[Any]]]


class FacesTable:
    """One process's table: `NAME.csv`, or under torchrun `NAME_rank{RANK}.csv` of its share.

    Args:
        folder: of the results.
        resume: go on with the results that are there; else an older table is put aside, under a
            name that begins with OLDER.
        kind: FACES or BLENDSHAPES.
    """

    def __init__(self, folder: str | os.PathLike[str], resume: bool, kind: Kind):
        rank, world_size = rank_and_world_size()
        folder, share = Path(folder), f"_rank{rank}"
        self.path = folder / f"{kind.name}{share if world_size > 1 else ''}.csv"
        self._kind = kind
        self._n_rows = 0
        aside = [folder / f"{kind.name}{share}.csv"] + [folder / f"{kind.name}.csv"] * (rank == 0)
        for path in aside:
            if not resume and path.is_file():
                path.replace(path.with_name(f"{OLDER}{path.name}"))
        results = f"results{share if world_size > 1 else '_rank*'}.jsonl"
        if resume:
            with self._whole_table() as writer:
                for path in sorted(folder.glob(results)):
                    for entry in read_entries(path):
                        writer.writerows(self._rows_of(entry))

    def add(self, entry: dict[str, Any]) -> None:
        """Append the faces of one picture's entry of the results; the first one begins the file."""
        if not self.path.is_file():
            with self._whole_table():
                pass
        with open(self.path, "a", newline="") as file:
            csv.writer(file).writerows(self._rows_of(entry))

    @contextlib.contextmanager
    def _whole_table(self) -> Iterator[Any]:
        """A writer of the file anew, past its header."""
        with fileio.whole_file(self.path) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(self._kind.header)
            yield writer

    def _rows_of(self, entry: dict[str, Any]) -> list[list[Any]]:
        rows = list(self._kind.rows_of(entry, self._n_rows))
        self._n_rows += len(rows)
        return rows


def _numbers_of(entry: dict[str, Any], n_before: int) -> Iterator[list[Any]]:
    for index, face in enumerate(entry.get("faces", ())):
        yield [entry["image"], index, *table.cells(face)]


def _blendshapes_of(entry: dict[str, Any], n_before: int) -> Iterator[list[Any]]:
    for index, face in enumerate(entry.get("faces", ())):
        if face.get("blendshapes") is None:  # an older version's
            at_rest = dict.fromkeys(ARKIT_NAMES, 0.0)
            face = face | {"blendshapes": at_rest}
        yield face_capture.row_of(face, n_before + index, face_capture.PICTURES_FPS)


FACES = Kind("faces", HEADER, _numbers_of)
BLENDSHAPES = Kind("blendshapes", face_capture.HEADER, _blendshapes_of)


def read_entries(path: Path) -> Iterator[dict[str, Any]]:
    """The entries of a results file; a line that another process is writing is left out."""
    with open(path) as file:
        for line in file:
            try:
                yield json.loads(line)
            except ValueError:
                continue
