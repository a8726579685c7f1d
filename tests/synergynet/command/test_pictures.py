"""How many pictures are in memory at a time, and what becomes of those that are too large."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from synergynet import fileio
from synergynet.command import pictures
from synergynet.command.main import command
from synergynet.photos.sources import Source


class Reader:
    """Counts the pixels that have been read and not been taken yet."""

    def __init__(self, side_px: int) -> None:
        self.side_px, self.held, self.most = side_px, 0, 0
        self.lock = threading.Lock()

    def __call__(self, path: str) -> np.ndarray:
        if path == "broken":
            raise fileio.InputError("broken: not a picture")
        time.sleep(0.001)
        with self.lock:
            self.held += self.side_px**2
            self.most = max(self.most, self.held)
        return np.empty((self.side_px, self.side_px, 3), np.uint8)


@pytest.mark.parametrize(("side_px", "most_held"), [(10, 9), (1000, 9), (8000, 4)])
def test_large_pictures_are_not_read_far_ahead(monkeypatch, side_px, most_held):
    reader = Reader(side_px)
    monkeypatch.setattr(pictures.fileio, "read_image", reader)
    names = [f"{i}" for i in range(20)]
    names[7] = "broken"
    reading = pictures.read_ahead([Source(name, name) for name in names], workers=4, count=8)
    seen, held = [], []
    for source, future in reading:
        seen.append(source.path)
        if source.path == "broken":
            with pytest.raises(fileio.InputError):
                future.result()
        else:
            future.result()
            with reader.lock:
                reader.held -= side_px**2
        held.append(reader.most / side_px**2)
    assert seen == names
    assert max(held) <= most_held


@pytest.mark.parametrize(
    ("side_px", "sizes"), [(10, [8, 8, 4]), (9000, [2] * 10), (20_000, [1] * 20)]
)
def test_a_batch_holds_few_large_pictures(monkeypatch, side_px, sizes):
    monkeypatch.setattr(
        pictures.fileio, "read_image", lambda _: np.broadcast_to(np.uint8(0), (side_px, side_px, 3))
    )
    sources = [Source(f"{i}", f"{i}") for i in range(20)]
    batches = list(pictures._batches(pictures.read_ahead(sources, 2, 8), 8))
    assert [len(batch) for batch in batches] == sizes
    assert [source for batch in batches for source, _ in batch] == sources


def test_a_picture_that_is_too_wide_for_jpeg_does_not_end_the_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    fileio.write_image("a.png", np.full((40, 66_000, 3), 99, np.uint8))
    fileio.write_image("b.png", np.full((120, 120, 3), 99, np.uint8))
    fileio.write_json("boxes.json", {"a.png": [[0, 0, 30, 30]], "b.png": [[0, 0, 110, 110]]})
    assert command(["a.png", "b.png", "--detector", "boxes:boxes.json"]) == 0
    assert "2 faces in 2 of 2 pictures" in capsys.readouterr().out
    assert len(fileio.read_bytes("inference_output/results_rank0.jsonl").splitlines()) == 2
    assert fileio.read_image("inference_output/landmarks/b.jpg").shape == (120, 120, 3)
