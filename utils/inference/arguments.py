"""The flags that say which network runs, and where; one declaration for all commands.

add_network(parser, required=True)       # -w, -a, --morphable, --whitening
add_device(parser)                       # -d
model = load_model(*network_files(args))
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from backbone_nets import BACKBONES
from synergynet import fileio


class NetworkFiles(NamedTuple):
    """What a network is made of, as `load_model` takes it; None stands for the default."""

    weights: str | None
    arch: str | None
    morphable: str | None
    whitening: str | None


def add_network(
    parser: argparse.ArgumentParser,
    *,
    weights: str | Sequence[str] | None = None,
    arch: str | None = None,
    required: bool = False,
    several: bool = False,
    what: str = "checkpoint",
) -> None:
    """Add the flags that `network_files` reads, or `each_network` with `several`.

    Args:
        parser: gets a group of flags.
        weights: default of --weights.
        arch: default of --arch; None is the checkpoint's.
        required: whether --weights must be given.
        several: whether flags take several values.
        what: --weights name, for the help.
    """
    add = parser.add_argument_group("network").add_argument
    many = {"nargs": "+"} if several else {}
    each = "; one for all weights, or one each, where auto is the default" if several else ""
    named = "" if required or not weights else " (default: the open weights)"
    known = arch or "the checkpoint's, else mobilenet_v2"
    add(
        "-w",
        "--weights",
        metavar="FILE",
        required=required,
        default=weights,
        **many,
        help=f"{what}: published, ours, or 3DDFA_V2's{named}",
    )
    add(
        "-a",
        "--arch",
        default=arch,
        **many,
        help=f"{', '.join(BACKBONES)}, timm:NAME (default: {known}){each}",
    )
    add(
        "--morphable",
        metavar="DIR",
        **many,
        help=f"3dmm_data folder (default: the checkpoint's, else real or open){each}",
    )
    add(
        "--whitening",
        metavar="FILE",
        **many,
        help=f"parameter mean and std, for weights that carry none (3DDFA_V2){each}",
    )


def network_files(args: argparse.Namespace) -> NetworkFiles:
    """What the flags of `add_network` name."""
    return NetworkFiles(args.weights, args.arch, args.morphable, args.whitening)


def each_network(args: argparse.Namespace) -> list[NetworkFiles]:
    """What the flags of `add_network` name with `several`, one for each of the weights.

    Raises:
        InputError: a flag has neither one value nor one for each of the weights.
    """
    count = len(args.weights)
    columns = (
        _one_each(flag, values, count)
        for flag, values in (
            ("--arch", args.arch),
            ("--morphable", args.morphable),
            ("--whitening", args.whitening),
        )
    )
    return [NetworkFiles(*row) for row in zip(args.weights, *columns, strict=True)]


def _one_each(flag: str, values: list[str] | None, count: int) -> list[str | None]:
    values = [None if value == "auto" else value for value in values or ["auto"]]
    if len(values) not in (1, count):
        raise fileio.InputError(
            f"{flag}: {len(values)} values for {count} weights; give one for all, or one each"
        )
    return values * count if len(values) == 1 else values


def unique_names(paths: list[str]) -> dict[str, str]:
    """Short names by path: file names without suffix, whole paths where those are the same."""
    stems = {path: Path(path).name.split(".")[0] for path in paths}
    counts = list(stems.values())
    return {path: stem if counts.count(stem) == 1 else path for path, stem in stems.items()}


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add --device, which `choose_device` understands."""
    parser.add_argument(
        "-d",
        "--device",
        default="auto",
        help="auto, cpu, cuda or a GPU's number (default: %(default)s)",
    )
