"""Short training runs side by side: each is trained by main_train.py from scratch, and scored.

What `benchmarks/recipes.py` and `benchmarks/ingredients.py` share. OUTPUT/NAME_SEED/ holds a run:
its settings, its log and its weights; a run whose weights are there is not trained again, one that
was interrupted goes on where it stopped. OUTPUT/table.md is written after every run. Of a set with
more faces than a fifth of the images to be seen, that many are used: the learning rate needs
epochs.
"""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import benchmark
from synergynet import fileio
from utils.data.evaluation_crops import LIST, OPEN_TEST_FOLDER
from utils.data.folders import OPEN_FOLDER, ROOT
from utils.inference.loading import load_model
from utils.inference.regressor import choose_device
from utils.synthetic.sets import TRAINING_IMAGES, TRAINING_LIST, TRAINING_PARAMS

# train_script.sh's way of training on a CPU, cut short
SETTINGS = (
    *("--optimizer", "adamw", "--base-lr", "0.001", "--warmup", "0", "--ema", "0.99"),
    *("--batch-size", "32", "--processes", "2", "--workers", "1"),
)
LEAST_EPOCHS = 5  # the learning rate falls between epochs only
DECAY = (0.7, 0.9)  # shares of the run after which it does
SETTINGS_FILE, TABLE = "settings.json", "table.md"
MEASURES = {
    "NME, %": ("nme", "mean"),
    "refined, %": ("nme_refined", "mean"),
    "NME by image, %": ("nme", "image_mean"),
    "pose MAE, degrees": ("pose_mae_exact", "mean"),
    "shape, mm": ("shape_mm", "mean"),
    "expression, mm": ("expression_mm", "mean"),
}  # columns, by entry and field of `benchmark.evaluate`'s report; those of NME are means of bins

Scores = dict[str, dict[int, dict[str, float]]]  # by name, seed and measure


@dataclasses.dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
        name: what the table calls all runs that differ in their seed only.
        seed: of everything random.
        data: folder of the training set.
        flags: of main_train.py, beside those that all runs have.
    """

    name: str
    seed: int
    data: Path
    flags: tuple[str, ...] = ()


def add_flags(parser: argparse.ArgumentParser, output: str) -> None:
    """The flags that `compare` reads; `output` is the default folder."""
    add = parser.add_argument
    add("--test", nargs="+", type=Path, default=[OPEN_TEST_FOLDER], help="folders like"
        " aflw2000_data (default: the open test set)")  # fmt: skip
    add("--arch", default="mobilenet_05", help="default: %(default)s")
    add("--images", type=int, default=50_000, help="seen in a run (default: %(default)s)")
    add("--seeds", type=int, default=2, help="runs each (default: %(default)s)")
    add("--morphable", default=str(OPEN_FOLDER), help="3DMM folder of the sets (default: the open"
        " one)")  # fmt: skip
    add("--output", type=Path, default=Path(output), help="folder (default: %(default)s)")
    add("train_flags", nargs="*", metavar="-- FLAG", help="passed on to main_train.py")


def compare(runs: Iterable[Run], args: argparse.Namespace, against: str | None = None) -> None:
    """Train and score runs; print and write the table after each.

    Args:
        runs: in this order; one is taken when the one before is done.
        args: of `add_flags`.
        against: name of the runs that the others are subtracted from, seed by seed.
    Raises:
        InputError: a run failed, or the folder holds one with other settings.
    """
    scores: dict[Path, Scores] = {folder: {} for folder in args.test}
    for run in runs:
        weights = train(run, args)
        for folder, of_folder in scores.items():
            of_folder.setdefault(run.name, {})[run.seed] = score(weights, folder, args.morphable)
        text = (
            f"`python {' '.join(sys.argv)}`\n\n"
            f"{args.arch}, {args.images} images seen; means over the seeds, ± half their range\n"
        )
        for folder, of_folder in scores.items():
            images = len(fileio.read_list(folder / LIST))
            text += f"\n{folder}, {images} images:\n\n{format_table(of_folder, against)}\n"
        print(text, flush=True)
        fileio.write_text(args.output / TABLE, text)


# ---------------------------------------------------------------- one run


def train(run: Run, args: argparse.Namespace) -> Path:
    """The weights of a run, trained unless they are there.

    Raises:
        InputError: training failed, or other settings were used in this folder.
    """
    folder = fileio.make_output_folder(args.output / f"{run.name}_{run.seed}")
    snapshot = folder / "SynergyNet"
    faces = take_part(run.data, folder, args.images // LEAST_EPOCHS)
    flags = [*training_flags(run, folder, faces, args), *args.train_flags]
    keep_settings(folder, flags)
    weights = folder / f"{snapshot.name}_weights.pth.tar"
    if weights.is_file():
        return weights
    print(f"training {folder}, log in {folder / 'train.log'}", flush=True)
    files = {"--snapshot": snapshot, "--log-file": folder / "train.log"}
    files |= {"--plot": folder / "training.png", "--resume": "auto"}
    command = [sys.executable, ROOT / "main_train.py", *flags]
    command += [item for pair in files.items() for item in pair]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)  # its bar is on stderr
    if done.returncode or not weights.is_file():
        raise fileio.InputError(
            f"{folder}: training was cut off, see train.log there; run this again"
        )
    for state in (*folder.glob("*_last.pth.tar"), *folder.glob("*_checkpoint_*")):
        state.unlink()  # ten times as large as the weights
    return weights


def keep_settings(folder: Path, settings: list[str]) -> None:
    """Note what a folder's content is made with.

    Raises:
        InputError: something else is noted there.
    """
    path = folder / SETTINGS_FILE
    if path.is_file() and fileio.read_json(path) != settings:
        raise fileio.InputError(f"{folder}: made with other settings; choose another --output")
    fileio.write_json(path, settings)


def take_part(data: Path, folder: Path, most: int) -> int:
    """Write list and parameters of `most` faces from all over a set, or of all; their number."""
    names, params_w = (
        fileio.read_list(data / TRAINING_LIST),
        fileio.read_pickle(data / TRAINING_PARAMS),
    )
    count = max(1, min(most, len(names)))
    rows = np.arange(count) * len(names) // count
    fileio.write_list(folder / TRAINING_LIST, [names[row] for row in rows])
    fileio.write_pickle(folder / TRAINING_PARAMS, params_w[rows])
    return count


def training_flags(run: Run, folder: Path, faces: int, args: argparse.Namespace) -> list[str]:
    """Flags of main_train.py: data, schedule, and what all runs have in common.

    Args:
        run: what to train.
        folder: of its list and parameters.
        faces: their number; whole epochs are trained, as many as come closest to `--images`.
        args: of `add_flags`.
    """
    epochs = max(1, round(args.images / faces))
    milestones = [max(1, int(share * epochs)) for share in DECAY]
    values = {
        "--arch": args.arch,
        "--seed": run.seed,
        "--root": run.data / TRAINING_IMAGES,
        "--filelists-train": folder / TRAINING_LIST,
        "--param-fp-train": folder / TRAINING_PARAMS,
        "--epochs": epochs,
        "--milestones": ",".join(map(str, milestones)),
        "--save_val_freq": epochs,
        "--morphable": args.morphable,
    }
    return [str(item) for pair in values.items() for item in pair] + [*SETTINGS, *run.flags]


def score(weights: Path, folder: Path, morphable: str) -> dict[str, float]:
    """What MEASURES says of weights on a test set; what cannot be measured is left out."""
    model = load_model(weights, morphable=morphable)
    device = choose_device("auto")
    report = benchmark.evaluate(model, folder, device, engine="torch")
    if model.forwardDirection is not None:
        refined = benchmark.evaluate(model, folder, device, refined=True)
        report["nme_refined"] = refined["nme"]
    return {
        title: report[key][field]
        for title, (key, field) in MEASURES.items()
        if report.get(key) is not None
    }


# ---------------------------------------------------------------- table


def format_table(scores: Scores, against: str | None = None) -> str:
    """Markdown: a row a name, a column a measure that any run has; see `compare`."""
    titles = [t for t in MEASURES if any(t in of for by in scores.values() for of in by.values())]
    lines = [f"| | seeds | {' | '.join(titles)} |", f"|---|---:|{'---:|' * len(titles)}"]
    for name, by_seed in scores.items():
        subtracted = against is not None and name != against
        cells = []
        for title in titles:
            values = [
                found[title] - (scores[against][seed][title] if subtracted else 0)
                for seed, found in by_seed.items()
                if title in found
            ]
            cells.append(format_cell(values, "+.2f" if subtracted else ".2f"))
        lines.append(f"| {name} | {len(by_seed)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def format_cell(values: list[float], form: str) -> str:
    """Mean and half the range; a single value has none."""
    if not values:
        return "-"
    mean = format(np.mean(values), form)
    return mean if len(values) == 1 else f"{mean} ± {np.ptp(values) / 2:.2f}"
