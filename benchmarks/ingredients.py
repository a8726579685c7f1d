"""What each ingredient of the synthetic faces is worth: trained on sets that lack it.

    python benchmarks/ingredients.py --test PHOTOS aflw2000_data/open --assets makehuman
    python benchmarks/ingredients.py --ingredients occluders glasses -- --compile

Draws a set with everything, and one each without an ingredient that is the same but for it; trains
on all of them with the same seeds; scores on `--test`. The table's first row is of everything, the
others are the change when something is missing. What is done is not repeated.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.runs import Run, add_flags, compare, keep_settings
from synergynet import fileio
from utils.synthetic.pictures import INGREDIENTS
from utils.synthetic.sets import TRAINING_PARAMS, write_training_set

EVERYTHING = "everything"
ASSETS = "assets"
SET_SEED = 1


def runs(args: argparse.Namespace) -> Iterator[Run]:
    """All runs, seed by seed; a set is drawn when its first run is due."""
    for seed in range(args.seeds):
        yield Run(EVERYTHING, seed, draw_set(args, None))
        for ingredient in args.ingredients:
            yield Run(f"without-{ingredient}", seed, draw_set(args, ingredient))


def draw_set(args: argparse.Namespace, ingredient: str | None) -> Path:
    """Folder of the set that lacks an ingredient (None: nothing), drawn unless it is there."""
    folder = fileio.make_output_folder(args.output / "sets" / (ingredient or EVERYTHING))
    keep_settings(folder, [str(args.count), str(args.assets), str(args.morphable)])
    if not (folder / TRAINING_PARAMS).is_file():
        print(f"drawing {folder}", flush=True)
        write_training_set(
            args.morphable,
            folder,
            args.count,
            SET_SEED,
            args.workers,
            assets=None if ingredient == ASSETS else args.assets,
            without=[ingredient] if ingredient in INGREDIENTS else [],
        )
    return folder


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    names = [ASSETS, *INGREDIENTS]
    add("--ingredients", nargs="+", choices=names, help=f"default: all, {', '.join(names)}")
    add("--assets", help="folder of MakeHuman's assets; without it all faces are painted")
    add("--count", type=int, default=8000, help="faces a set (default: %(default)s)")
    add("--workers", type=int, default=os.cpu_count(), help="that draw (default: one a core)")
    add_flags(parser, "results/ingredients")
    return parser


def main(args: argparse.Namespace) -> int:
    fileio.require_at_least(args, {"--count": 1, "--workers": 0, "--images": 1, "--seeds": 1})
    if args.ingredients is None:
        args.ingredients = [ASSETS, *INGREDIENTS] if args.assets else list(INGREDIENTS)
    if ASSETS in args.ingredients and not args.assets:
        raise fileio.InputError(f"--ingredients {ASSETS}: needs --assets, the folder to do without")
    compare(runs(args), args, against=EVERYTHING)
    return 0


if __name__ == "__main__":
    sys.exit(fileio.run_command(main, get_args_parser().parse_args()))
