"""What each recipe is worth: all of them trained from scratch on one set with the same seeds.

    python benchmarks/recipes.py --data synthetic_data
    python benchmarks/recipes.py --data DIR --images 100000 --seeds 3 -- --ema 0.995 --compile

Recipe `backbone` has neither refiner nor inverse regressor: its distance to the others is what the
two are worth in training, the column `refined` what the refiner adds when it is run, too. Each run
sees `--images` images; runs that are done are not repeated.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.runs import Run, add_flags, compare
from model_building import RECIPES
from synergynet import fileio


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("synthetic_data"), help="training set, as"
        " `prepare_data.py synthetic` writes it (default: %(default)s)")  # fmt: skip
    parser.add_argument(
        "--recipes", nargs="+", choices=RECIPES, default=RECIPES, help="default: all"
    )
    add_flags(parser, "results/recipes")
    return parser


def main(args: argparse.Namespace) -> int:
    fileio.require_at_least(args, {"--images": 1, "--seeds": 1})
    compare(
        (
            Run(recipe, seed, args.data, ("--recipe", recipe))
            for seed in range(args.seeds)
            for recipe in args.recipes
        ),
        args,
    )
    return 0


if __name__ == "__main__":
    sys.exit(fileio.run_command(main, get_args_parser().parse_args()))
