"""benchmarks/breakdown.py: the table by hand, and the command on the open test set's like."""

import numpy as np
import pytest
import torch

from benchmarks import breakdown
from model_building import build_model, load_morphable, pack_weights
from synergynet.fileio import run_command
from utils.data.folders import OPEN_FOLDER
from utils.evaluation.errors import ImageErrors
from utils.synthetic.sets import write_test_set


def test_table_by_hand():
    errors = ImageErrors(
        nme=np.array([0.02, 0.02, 0.05]),
        exact=np.array([[1.0, -2, 3], [3, 3, 3], [np.nan, np.nan, np.nan]]),
    )
    attributes = {"mouth": np.array(["wide open", "wide open", "shut"])}
    assert breakdown.format_table(errors, attributes).splitlines()[2:4] == [
        "| all |  | 3 | 3.00 | 2.00 to 5.00 | 2.50 |",
        "| mouth | shut | 1 | 5.00 | 5.00 to 5.00 | - |",
    ]
    last = breakdown.format_table(errors, attributes).splitlines()[4]
    assert last == "| mouth | wide open | 2 | 2.00 | 2.00 to 2.00 | 2.50 |"


def test_failures_by_hand():
    exact = np.array([[15.0, -16, 15], [0, 0, 44], [np.nan, np.nan, np.nan]])
    errors = ImageErrors(nme=np.array([0.1, 0.11, 0.2]), exact=exact)
    faces = "faces off by more than 10 %: 2 of 3"
    assert breakdown.format_failures(errors) == f"{faces}; heads by more than 15 degrees: 1 of 2"
    assert breakdown.format_failures(ImageErrors(nme=errors.nme, exact=None)) == faces


@pytest.fixture
def weights(tmp_path):
    model = build_model("mobilenet_025", morphable=load_morphable(OPEN_FOLDER))
    torch.save(pack_weights(model), tmp_path / "tiny.pth.tar")
    return tmp_path / "tiny.pth.tar"


def test_command(tmp_path, capsys, weights):
    write_test_set(OPEN_FOLDER, tmp_path / "set", count=3, seed=4)
    args = ["-w", str(weights), "--data", str(tmp_path / "set"), "-d", "cpu"]
    assert run_command(breakdown.main, breakdown.get_args_parser().parse_args(args)) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if "|" in line]
    images = {}
    for row in rows[2:]:
        images[row[0]] = images.get(row[0], 0) + int(row[2])
    assert set(images.values()) == {3}
    (tmp_path / "set" / "eval" / "attributes.csv").unlink()
    assert run_command(breakdown.main, breakdown.get_args_parser().parse_args(args)) == 2
    assert "attributes.csv: file not found" in capsys.readouterr().err
