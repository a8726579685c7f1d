"""benchmarks/photo.py: its table by hand, both sides on one photo, a side that does not start."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from benchmarks import photo, photo_worker
from benchmarks.against import DRAWN_FACES, ROOT, draw_photo
from synergynet import fileio
from synergynet.detection.detectors import find_centerface

STAGES = ["read", "detect", "crop, network, landmarks", "draw and write"]


@pytest.fixture
def photo_file(tmp_path):
    try:
        find_centerface()
    except fileio.InputError:
        pytest.skip("needs a face detector")
    face = fileio.read_image(DRAWN_FACES / "face0000118.jpg")
    fileio.write_image(tmp_path / "one.jpg", draw_photo(face, np.random.default_rng(0)))
    return tmp_path / "one.jpg"


def test_table_by_hand():
    table = photo.format_table({"read": [0.004, 0.002, 0.003]}, {"read": [0.008, 0.010, 0.012]})
    assert table.splitlines()[2] == "| read | 2.0 | 3.0 | 8.0 | 10.0 | 0.25 | 0.30 |"
    assert photo.format_table({"read": [0.004]}).splitlines()[2] == "| read | 4.0 | 4.0 |"


def test_the_command_times_every_stage(photo_file, capsys):
    args = photo.get_args_parser().parse_args(["--repeats", "1", "--photo", str(photo_file)])
    assert fileio.run_command(photo.main, args) == 0
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0] for row in rows] == [*STAGES, photo.TOTAL]
    numbers = [float(row[1]) for row in rows]
    assert min(numbers) > 0
    assert numbers[-1] == pytest.approx(sum(numbers[:-1]), abs=0.3)


def test_two_sides_take_turns(photo_file, tmp_path):
    now, before = photo.measure([ROOT, ROOT], photo_file, tmp_path, repeats=2)
    assert list(now) == list(before) == [*STAGES, photo.TOTAL]
    assert all(len(values) == 2 for values in (*now.values(), *before.values()))
    for side in ("out0", "out1"):  # each wrote its own
        assert (tmp_path / side / "rendering_overlay" / "one.jpg").is_file()


def test_stages_write_what_the_command_writes(photo_file, tmp_path):
    stages = photo_worker.photo_stages(ROOT, str(photo_file), tmp_path / "out")
    stages["draw and write"]()
    (face,) = json.loads((tmp_path / "out/json/one.json").read_text())["faces"]
    x0, y0, x1, y1 = stages["detect"]()[0, :4]
    assert face["box"] == pytest.approx([x0, y0, x1, y1], abs=0.01)
    original = cv2.imread(str(photo_file))
    for folder in ("landmarks", "poses", "rendering_overlay"):
        drawn = cv2.imread(str(tmp_path / "out" / folder / "one.jpg"))
        assert drawn.shape == original.shape
        assert (cv2.absdiff(drawn, original) > 60).any()


def test_a_checkout_that_does_not_run_is_one_line(tmp_path, capfd):
    with pytest.raises(fileio.InputError, match="does not run"):
        photo.Side(tmp_path, tmp_path / "none.jpg", tmp_path)
    assert "No module named" in capfd.readouterr().err
