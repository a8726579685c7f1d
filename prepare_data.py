"""Make data folders: from public originals, and the open ones that need no download.

    python prepare_data.py aflw2000 --source AFLW2000-3D.zip --output aflw2000_data

Each subcommand is one job; what it does lives in utils/.
"""

from __future__ import annotations

import argparse
import sys

from utils.io import run_command


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


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    add_aflw2000(commands)
    return parser


def main(args: argparse.Namespace) -> int:
    return args.run(args)


if __name__ == "__main__":
    sys.exit(run_command(main, get_args_parser().parse_args()))
