"""How long the command takes from its first moment, beside an older commit; sizes of environments.

    python benchmarks/startup.py --against 650a170
    python benchmarks/startup.py --sizes

Every measurement is a whole process of this Python, from its start to its end: importing the
package, `--help`, one 1080p photo of one face to pictures and JSON, and an album of such photos, by
the photo. Processes of both commits take turns, so that other load on the machine affects both. The
first of each is not counted: afterwards files are in the page cache and Python's are compiled.
Photos are drawn. The older commit needs its own packages installed too.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.against import checkout, checkouts, write_photos
from benchmarks.tables import markdown
from synergynet import fileio
from synergynet.detection.detectors import make_detector

IMPORT, HELP, PHOTO, ALBUM = "import", "--help", "one photo", "album, a photo"
TARGETS_S = {IMPORT: 0.1, HELP: 0.3, PHOTO: 0.8}

Seconds = dict[str, list[float]]  # by measurement


def commands(tree: Path, photo: Path, album: Path, output: Path) -> dict[str, list[str]]:
    """What is started in a checkout, by measurement; before the package it was a script."""
    is_package = (tree / "synergynet" / "__main__.py").is_file()
    library = "synergynet" if is_package else "synergy3DMM"
    program = ["-m", "synergynet"] if is_package else ["singleImage.py"]
    return {
        IMPORT: ["-c", f"import {library}"],
        HELP: [*program, "--help"],
        PHOTO: [*program, "-f", str(photo), "--output", str(output / "photo")],
        ALBUM: [*program, "-f", str(album), "--output", str(output / "album")],
    }


def run_process(arguments: list[str], tree: Path) -> float:
    """Seconds of a process of Python in a checkout.

    Raises:
        InputError: it failed.
    """
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise fileio.InputError(f"{tree}: {' '.join(arguments)} failed: {last}")
    return seconds


def measure(trees: list[Path], folder: Path, args: argparse.Namespace) -> list[Seconds]:
    """Seconds of each checkout's processes, which take turns.

    Args:
        trees: the checkouts.
        folder: for photos and what is made of them.
        args: of this command.
    """
    album = folder / "album"
    photos = write_photos(album, args.photos, make_detector("auto"))
    programs = [
        commands(tree, photos[0], album, folder / f"out{index}") for index, tree in enumerate(trees)
    ]
    seconds: list[Seconds] = [{name: [] for name in programs[0]} for _ in trees]
    for name in programs[0]:
        runs = args.album_runs if name == ALBUM else args.runs
        items = args.photos if name == ALBUM else 1
        for run in range(runs + 1):
            for tree, program, of_tree in zip(trees, programs, seconds, strict=True):
                if run == 0 and name == ALBUM:
                    continue  # one photo has warmed it up
                took = run_process(program[name], tree) / items
                if run or name == ALBUM:
                    of_tree[name].append(took)
    return seconds


def format_table(now: Seconds, before: Seconds | None = None) -> str:
    """Markdown: least and median seconds, beside those before, and their ratio."""
    header = ["", "now, s: least", "median"]
    if before is not None:
        header += ["before, s: least", "median", "times as fast, by medians"]
    header.append("target, s")
    rows = []
    for name, values in now.items():
        cells = _cells(values)
        if before is not None:
            ratio = np.median(before[name]) / np.median(values)
            cells += [*_cells(before[name]), f"{ratio:.1f}"]
        cells.append(f"{TARGETS_S[name]:.1f}" if name in TARGETS_S else "-")
        rows.append([name, *cells])
    return markdown(header, rows)


def _cells(seconds: list[float]) -> list[str]:
    return [f"{min(seconds):.3f}", f"{np.median(seconds):.3f}"]


# ---------------------------------------------------------------- sizes


def environment_sizes(folder: Path) -> dict[str, float]:
    """MB of fresh environments with the last commit installed, pip not counted; and of this one."""
    sizes = {}
    with checkout("HEAD") as tree:
        subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
        pip = [folder / "venv" / "bin" / "python", "-m", "pip", "install", "--quiet"]
        for title, package in (("package, numpy, OpenCV", tree), ("ONNX Runtime too", "onnx")):
            wanted = f"{tree}[{package}]" if package == "onnx" else str(package)
            subprocess.run([*pip, "--disable-pip-version-check", wanted], check=True)
            sizes[title] = megabytes(folder / "venv")
    return sizes | {"all that this project uses": megabytes(Path(sys.prefix))}


def megabytes(environment: Path) -> float:
    """Size of the packages of an environment, in 10^6 bytes, without pip and setuptools."""
    packages = next(environment.glob("lib*/python*/site-packages"))
    left_out = ("pip", "setuptools")
    files = (f for f in packages.rglob("*") if f.is_file() and not f.is_symlink())
    counted = (f for f in files if not f.relative_to(packages).parts[0].startswith(left_out))
    return sum(file.stat().st_size for file in counted) / 1e6


# ---------------------------------------------------------------- command


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--against", metavar="COMMIT", help="measure this commit of the project too")
    add("--runs", type=int, default=9, help="counted processes of each (default: %(default)s)")
    add("--photos", type=int, default=200, help="of the album (default: %(default)s)")
    add("--album-runs", type=int, default=3, help="processes with it (default: %(default)s)")
    add("--sizes", action="store_true", help="sizes of environments instead; downloads packages")
    return parser


def main(args: argparse.Namespace) -> int:
    fileio.require_at_least(args, {"--runs": 1, "--photos": 1, "--album-runs": 1})
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if args.sizes:
            sizes = environment_sizes(folder).items()
            print(markdown(["environment", "MB"], [[t, f"{size:.0f}"] for t, size in sizes]))
            return 0
        with checkouts(args.against) as trees:
            print(format_table(*measure(trees, folder, args)))
    return 0


if __name__ == "__main__":
    sys.exit(fileio.run_command(main, get_args_parser().parse_args()))
