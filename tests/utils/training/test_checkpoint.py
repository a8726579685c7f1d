"""Checkpoints that must not be written."""

from __future__ import annotations

import pytest
import torch

from model_building import build_model
from synergynet import fileio
from utils.training import checkpoint


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_run_that_has_diverged_leaves_what_was_there(tiny_morphable, tmp_path, value):
    model = build_model("mobilenet_025", morphable=tiny_morphable)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    last, weights = tmp_path / "S_last.pth.tar", tmp_path / "S_weights.pth.tar"
    checkpoint.save_checkpoint(last, model, optimizer, None, {"epoch": 1})
    checkpoint.save_weights(weights, model)
    before = last.read_bytes(), weights.read_bytes()
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] = value
    with pytest.raises(fileio.InputError, match=r"S_last.*not written, .* no longer finite"):
        checkpoint.save_checkpoint(last, model, optimizer, None, {"epoch": 2})
    with pytest.raises(fileio.InputError, match=r"S_weights.*not written"):
        checkpoint.save_weights(weights, model)
    assert (last.read_bytes(), weights.read_bytes()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [last.name, weights.name]


def test_only_what_this_run_left_half_written_is_removed(tmp_path):
    mine = [".S_last.pth.0123abcd.tar", ".S_checkpoint_epoch_12.pth.0123abcd.tar"]
    others = [".S_b_last.pth.0123abcd.tar", ".S_last_of_all.pth.0123abcd.tar", "S_last.pth.tar"]
    for name in (*mine, *others):
        (tmp_path / name).touch()
    checkpoint.remove_remains(tmp_path / "S")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)
