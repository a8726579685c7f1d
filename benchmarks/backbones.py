"""Size, work, memory and speed of the backbones, all on generated images.

    python benchmarks/backbones.py [--archs mobilenet_v2 resnet50 timm:ghostnet_100] [--device auto]

Parameters and multiply-adds are those of the backbone, all that inference needs. Memory is what a
training image keeps for the backward pass, refiner and inverse regressor included.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.speed import STEPS, measure, random_morphable, train_steps
from loss_definition import SynergyLoss
from model_building import SynergyNet, build_model
from synergynet import fileio
from synergynet.geometry.parameters import IMG_SIZE
from utils.inference.arguments import add_device
from utils.inference.regressor import choose_device, make_regressor
from utils.training import optimization

ARCHS = ("mobilenet_v2", "mobilenet_1", "mobilenet_05", "mobilenet_025", "resnet18", "resnet50")


def multiply_adds(model: SynergyNet) -> int:
    """Of one image through the backbone: convolutions and linear layers."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval().regress(torch.zeros(1, 3, IMG_SIZE, IMG_SIZE))
    return counter.get_total_flops() // 2


def row(arch: str, batch: int, device: torch.device, repeats: int) -> list[str]:
    """The table's cells of one backbone."""
    model = build_model(arch, morphable=random_morphable(1000))
    work = multiply_adds(model)
    parameters = sum(p.numel() for p in model.I2P.parameters())
    none, one = (optimization.estimate_memory(model, SynergyLoss(), n) for n in (0, 1))
    images = torch.randn(batch, 3, IMG_SIZE, IMG_SIZE, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    regress = make_regressor(model, device)
    stage = (lambda: regress(images), train_steps(model, batch, device, amp=device.type == "cuda"))
    inference_s, training_s = measure(stage, device, repeats)
    return [
        arch,
        f"{parameters / 1e6:.2f}",
        f"{work / 1e6:.0f}",
        f"{(one - none) / 2**20:.1f}",
        f"{batch / inference_s:.0f}",
        f"{STEPS * batch / training_s:.0f}",
    ]


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--archs", nargs="+", default=ARCHS, help=f"default: {' '.join(ARCHS)}")
    add("--batch", type=int, default=32, help="images (default: %(default)s)")
    add("--repeats", type=int, default=5, help="timed runs (default: %(default)s)")
    add_device(parser)
    return parser


def main(args: argparse.Namespace) -> int:
    fileio.require_at_least(args, {"--batch": 2, "--repeats": 1})
    device = choose_device(args.device)
    torch.manual_seed(0)
    print(f"{device}, {torch.get_num_threads()} CPU threads, batch {args.batch}\n")
    print("| arch | parameters, M | multiply-adds, M | MiB an image | inference | training |")
    print("|---|---:|---:|---:|---:|---:|")
    for arch in args.archs:
        print(f"| {' | '.join(row(arch, args.batch, device, args.repeats))} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(fileio.run_command(main, get_args_parser().parse_args()))
