"""benchmarks/backbones.py: multiply-adds by hand, and a table on the smallest sizes."""

import pytest
import torch

from benchmarks import backbones
from model_building import build_model


def test_multiply_adds_by_hand(tiny_morphable):
    """Sum over convolutions and linear layers of outputs x inputs each."""
    model = build_model("mobilenet_025", morphable=tiny_morphable)
    work = []

    def count(layer, _, output):
        if isinstance(layer, torch.nn.Conv2d):
            work.append(output[0].numel() * layer.weight[0].numel())
        elif isinstance(layer, torch.nn.Linear):
            work.append(layer.weight.numel())

    for layer in model.I2P.modules():
        layer.register_forward_hook(count)
    assert backbones.multiply_adds(model) == sum(work)


@pytest.mark.parametrize("arch", ["mobilenet_025", "resnet18"])
def test_a_row_for_every_arch(capsys, arch):
    args = backbones.get_args_parser().parse_args(
        ["--archs", arch, "--batch", "2", "--repeats", "1", "--device", "cpu"]
    )
    assert backbones.main(args) == 0
    cells = capsys.readouterr().out.splitlines()[-1].strip("| ").split(" | ")
    assert cells[0] == arch
    assert all(float(cell) > 0 for cell in cells[1:])
