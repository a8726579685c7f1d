"""One 1080p photo of one face, from its file to all files written, beside an older commit.

    python benchmarks/photo.py --against 650a170

Each commit has a process of its own, in which everything is loaded; they run the same stage in
turns, so that other load on the machine affects both. The photo is drawn; `--photo` takes another.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.against import checkouts, write_photos
from benchmarks.tables import markdown
from synergynet import fileio
from synergynet.detection.detectors import make_detector
from utils.data.folders import ROOT

WARM_UP = 2  # runs of each stage that are not counted
TOTAL = "all stages"

Seconds = dict[str, list[float]]  # by stage


class Side:
    """A checkout's process, see `photo_worker.py`.

    Args:
        tree: the checkout.
        photo: file to work on.
        output: folder for what is written.
    Raises:
        InputError: the process does not start.
    """

    def __init__(self, tree: Path, photo: Path, output: Path) -> None:
        worker = ROOT / "benchmarks" / "photo_worker.py"
        self._process = subprocess.Popen(
            [sys.executable, str(worker), str(photo), str(output)],
            cwd=tree,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            self.stages: list[str] = json.loads(self._process.stdout.readline())
        except ValueError:
            self.close()
            raise fileio.InputError(f"{tree}: does not run, see above") from None

    def run(self, stage: str) -> float:
        """Seconds of a stage."""
        print(stage, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def measure(trees: list[Path], photo: Path, folder: Path, repeats: int) -> list[Seconds]:
    """Seconds of every stage in each checkout, in turns; the last stage is the sum of a run."""
    with contextlib.ExitStack() as stack:
        sides = []
        for index, tree in enumerate(trees):
            sides.append(Side(tree, photo, folder / f"out{index}"))
            stack.callback(sides[-1].close)
        stages = sides[0].stages
        table = np.array(
            [
                [[side.run(stage) for side in sides] for stage in stages]
                for _ in range(WARM_UP + repeats)
            ]
        )[WARM_UP:]  # (repeats, stages, sides)
    table = np.concatenate([table, table.sum(1, keepdims=True)], 1)
    names = [*stages, TOTAL]
    return [
        {name: table[:, row, side].tolist() for row, name in enumerate(names)}
        for side in range(len(trees))
    ]


def format_table(now: Seconds, before: Seconds | None = None) -> str:
    """Markdown: least and median milliseconds, beside those before, and what is left of them."""
    header = ["stage", "now, ms: least", "median"]
    if before is not None:
        header += ["before, ms: least", "median", "now / before, least", "median"]
    rows = []
    for name, values in now.items():
        numbers = [1000 * min(values), 1000 * np.median(values)]
        cells = [f"{number:.1f}" for number in numbers]
        if before is not None:
            old = [1000 * min(before[name]), 1000 * np.median(before[name])]
            cells += [f"{number:.1f}" for number in old]
            cells += [f"{new / number:.2f}" for new, number in zip(numbers, old, strict=True)]
        rows.append([name, *cells])
    return markdown(header, rows)


# ---------------------------------------------------------------- command


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--against", metavar="COMMIT", help="measure this commit of the project too")
    add("--photo", type=Path, help="default: a drawn one, 1920 x 1080 px")
    add("--repeats", type=int, default=25, help="counted runs (default: %(default)s)")
    return parser


def main(args: argparse.Namespace) -> int:
    fileio.require_at_least(args, {"--repeats": 1})
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        photo = args.photo or write_photos(folder, 1, make_detector("auto"))[0]
        fileio.require_file(photo)
        photo = photo.resolve()
        with checkouts(args.against) as trees:
            print(format_table(*measure(trees, photo, folder, args.repeats)))
    return 0


if __name__ == "__main__":
    sys.exit(fileio.run_command(main, get_args_parser().parse_args()))
