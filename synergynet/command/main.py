"""The command: what it is asked for, with which network.

synergynet photo.jpg
synergynet FOLDER 'more/*.png' --refine-crop --mesh glb
synergynet clip.mp4 webcam:0 --smooth
torchrun --nproc-per-node 8 -m synergynet FOLDER --results-only --resume
synergynet check

Writes into inference_output/: landmarks/NAME.jpg, poses/NAME.jpg, rendering_overlay/NAME.jpg,
json/NAME.json with all numbers, results_rank0.jsonl with the same, one line a picture, and
faces.csv, one line a face; of videos, videos/NAME.mp4 with the numbers as .csv and .jsonl.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from synergynet.command.parser import get_args_parser
from synergynet.errors import InputError, one_line, run_command

if TYPE_CHECKING:
    from synergynet.detection.detectors import Detector
    from synergynet.net import SynergyNet

REMEDY = "install both again: pip install --force-reinstall numpy opencv-python-headless"
MakeNet = Callable[[argparse.Namespace, "str | Detector"], "SynergyNet"]


def command(argv: Sequence[str] | None = None, make_net: MakeNet | None = None) -> int:
    """Run the command; returns its exit code.

    Args:
        argv: arguments; None takes the process's.
        make_net: from arguments and detector to the network, where it is not one of ONNX files.
    """
    argv = sys.argv[1:] if argv is None else argv
    if list(argv) == ["check"]:
        return check_installation()
    args = get_args_parser(None if make_net else "synergynet").parse_args(argv)
    return run_command(functools.partial(run, make_net=make_net or make_onnx_net), args)


def check_installation() -> int:
    """`synergynet check`; a numpy or an OpenCV that cannot be imported is a line too."""
    try:
        from synergynet.command.check import check  # imports after parsing: --help is quick
    except Exception as error:  # ImportError, or AttributeError of what pip left half removed
        print(f"error: {one_line(error)}; {REMEDY}", file=sys.stderr)
        return 1
    return run_command(lambda _: check(), None)


def make_onnx_net(args: argparse.Namespace, detector: str | Detector) -> SynergyNet:
    """The network of an ONNX file.

    Raises:
        InputError: the arguments are for a checkpoint, or a file is missing or damaged.
    """
    from synergynet.net import SynergyNet

    needs_torch = {
        "--arch": args.arch,
        "--device": None if args.device in ("auto", "cpu") else args.device,
        "--morphable": args.morphable,
        "--whitening": args.whitening,
    }
    if given := [flag for flag, value in needs_torch.items() if value]:
        raise InputError(
            f"{given[0]}: for checkpoints of PyTorch; run the project's singleImage.py"
        )
    return SynergyNet(args.weights, args.engine, detector, args.refine_crop)


def run(args: argparse.Namespace, make_net: MakeNet) -> int:
    """All pictures and videos that the arguments name.

    Raises:
        InputError: nothing to do, or files and flags that do not fit.
    """
    from synergynet.command.run import run_sources

    return run_sources(args, make_net)
