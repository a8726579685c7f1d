"""Make data folders: from public originals, and the open ones that need no download.

    python prepare_data.py aflw2000 --source AFLW2000-3D.zip --output aflw2000_data

Each subcommand is one job; what it does lives in utils/.
"""

from __future__ import annotations

import argparse
import os
import sys

from utils.io import require_at_least, run_command
from utils.params import OPEN_FOLDER

LEAST = {"--count": 1, "--seed": 0, "--workers": 0}  # of the numeric flags


def threedmm(args: argparse.Namespace) -> int:
    """The Basel Face Model's arrays from 3DDFA, 3DDFA_V2 or the original model."""
    from utils.threedmm import PICTURE, prepare

    facts = prepare(args.source, args.output, args.whitening)
    print(
        f"{args.output}: {facts['kind']}, {facts['vertices']} vertices, "
        f"{facts['triangles']} triangles; look at {args.output}/{PICTURE}"
    )
    for name, published in facts["published"].items():
        print(f"{name} at the landmarks: {'as published' if published else 'NOT as published'}")
    return 0


def add_threedmm(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("3dmm", help=threedmm.__doc__)
    parser.add_argument(
        "--source", required=True, help="3DDFA's or 3DDFA_V2's checkout, 3dmm_data.zip, a folder"
    )
    parser.add_argument("--output", default="3dmm_data", help="folder (default: %(default)s)")
    parser.add_argument(
        "--whitening", help="param_whitening.pkl, where the source has none (default: its own)"
    )
    parser.set_defaults(run=threedmm)


def aflw2000(args: argparse.Namespace) -> int:
    """The test set AFLW2000-3D from its images and .mat files."""
    from utils.aflw2000 import prepare

    count = prepare(args.source, args.output, args.reannotated)
    print(f"{args.output}: {count} crops with their labels")
    return 0


def add_aflw2000(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("aflw2000", help=aflw2000.__doc__)
    parser.add_argument("--source", required=True, help="AFLW2000-3D.zip, or its folder")
    parser.add_argument("--output", default="aflw2000_data", help="folder (default: %(default)s)")
    parser.add_argument(
        "--reannotated", help="AFLW2000-3D-Reannotated.pts68.npy, copied when given"
    )
    parser.set_defaults(run=aflw2000)


def open_model(args: argparse.Namespace) -> int:
    """The open morphable model from anny (an optional extra); takes some minutes."""
    from utils.open_model import build_open_model, write_open_model
    from utils.synthetic import sample_labels

    model = build_open_model(OPEN_FOLDER / "landmarks.json", args.seed)
    labels = sample_labels(model.head, model.morphable(), 20_000, args.seed)
    write_open_model(args.output, model, labels.mean(0), labels.std(0))
    facts = model.facts
    print(
        f"{args.output}: {facts['vertices']} vertices; 40 shape components keep "
        f"{facts['shape_variance_kept']:.1%} of the variance, 10 of expression "
        f"{facts['expression_variance_kept']:.1%}"
    )
    return 0


def add_open_model(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("open-model", help=open_model.__doc__)
    parser.add_argument("--output", default=OPEN_FOLDER, help="folder (default: 3dmm_data/open)")
    parser.add_argument("--seed", type=int, default=0, help="of the sampled people (default: 0)")
    parser.set_defaults(run=open_model)


def synthetic(args: argparse.Namespace) -> int:
    """Synthetic faces with exact labels: a training set, or a test set of other people."""
    from utils.synthetic import write_test_set, write_training_set

    write = write_test_set if args.test_set else write_training_set
    write(args.morphable or OPEN_FOLDER, args.output, args.count, args.seed, args.workers)
    print(f"{args.output}: {args.count} synthetic faces with their labels")
    return 0


def add_synthetic(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("synthetic", help=synthetic.__doc__)
    parser.add_argument("--count", type=int, default=20_000, help="faces (default: %(default)s)")
    parser.add_argument("--output", default="synthetic_data", help="folder (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count(), help="processes (default: one a core)"
    )
    parser.add_argument(
        "--test-set",
        action="store_true",
        help="held-out people in AFLW2000-3D's files instead of a training set",
    )
    parser.add_argument(
        "--morphable", help="open morphable model with its head (default: 3dmm_data/open)"
    )
    parser.set_defaults(run=synthetic)


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    add_threedmm(commands)
    add_aflw2000(commands)
    add_synthetic(commands)
    add_open_model(commands)
    return parser


def main(args: argparse.Namespace) -> int:
    require_at_least(args, LEAST)
    return args.run(args)


if __name__ == "__main__":
    sys.exit(run_command(main, get_args_parser().parse_args()))
