"""`faces.csv`: a line for each face of all pictures of a run, beside its lines of JSON.

The lines of JSON are what counts: a run that goes on makes the table anew from them, so that it
holds each picture once, whatever the run before was stopped at, or did not write.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from synergynet import fileio, table
from synergynet.photos.sources import OLDER, rank_and_world_size

HEADER = ("image", "face", *table.COLUMNS)


class FacesTable:
    """One process's table: `faces.csv`, or under torchrun `faces_rank{RANK}.csv` of its share.

    Args:
        folder: of the results.
        resume: go on with the results that are there; else an older table is put aside, under a
            name that begins with OLDER.
    """

    def __init__(self, folder: str | os.PathLike[str], resume: bool):
        rank, world_size = rank_and_world_size()
        folder, share = Path(folder), f"_rank{rank}"
        self.path = folder / f"faces{share if world_size > 1 else ''}.csv"
        aside = [folder / f"faces{share}.csv"] + [folder / "faces.csv"] * (rank == 0)
        for path in aside:
            if not resume and path.is_file():
                path.replace(path.with_name(f"{OLDER}{path.name}"))
        results = f"results{share if world_size > 1 else '_rank*'}.jsonl"
        if resume:
            with self._whole_table() as writer:
                for path in sorted(folder.glob(results)):
                    for entry in read_entries(path):
                        writer.writerows(rows_of(entry))

    def add(self, entry: dict[str, Any]) -> None:
        """Append the faces of one picture's entry of the results; the first one begins the file."""
        if not self.path.is_file():
            with self._whole_table():
                pass
        with open(self.path, "a", newline="") as file:
            csv.writer(file).writerows(rows_of(entry))

    @contextlib.contextmanager
    def _whole_table(self) -> Iterator[Any]:
        """A writer of the file anew, past its header."""
        with fileio.whole_file(self.path) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(HEADER)
            yield writer


def rows_of(entry: dict[str, Any]) -> Iterator[list[Any]]:
    """The rows of one picture; of one that failed, none."""
    for index, face in enumerate(entry.get("faces", ())):
        yield [entry["image"], index, *table.cells(face)]


def read_entries(path: Path) -> Iterator[dict[str, Any]]:
    """The entries of a results file; a line that another process is writing is left out."""
    with open(path) as file:
        for line in file:
            try:
                yield json.loads(line)
            except ValueError:
                continue
