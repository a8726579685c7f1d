"""Score networks on AFLW2000-3D, or on the open test set that ships, and compare them.

    python benchmark.py -w pretrained/open_mobilenet_v2.pth.tar
    python benchmark.py -w FIRST.pth.tar SECOND.pth.tar --flip
    python benchmark.py -w OURS.pth.tar --predictions THEIRS.npz   # what any other model said
    python benchmark.py -w mb05_120x120.pth -a 3ddfa_v2:mb05 --whitening FILE   # 3DDFA_V2's weights

Prints landmark and head pose errors as the published system does, then what that leaves out, and
writes benchmark.json, overlays 0.png ... 49.png, ced.png, error_vs_yaw.png and all of it as one
page, report.html, to results/.
Source: SynergyNet, section 4.1, and the published benchmark's protocol.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from tqdm import tqdm

from model_building import SynergyNet, build_model, load_morphable
from synergynet import fileio
from synergynet.geometry.parameters import IMG_SIZE
from utils.data.ddfa import (
    BENCHMARK,
    EVAL,
    LIST,
    OPEN_TEST_FOLDER,
    EvaluationCrops,
    Preset,
    default_test_folder,
)
from utils.data.folders import OPEN_FOLDER, ROOT, default_morphable_folder
from utils.evaluation import metrics, plots
from utils.evaluation.aflw import aflw_errors
from utils.evaluation.corrupt import format_robustness, sweep
from utils.evaluation.evaluation import (
    Entry,
    FileSource,
    NetworkSource,
    Prediction,
    compare,
    image_errors,
    network_source,
    read_predictions,
    read_truth,
    summarise,
)
from utils.evaluation.report import build_report
from utils.evaluation.truth_overlay import draw_overlay
from utils.inference.loading import load_model
from utils.inference.regressor import ENGINES, choose_device

N_OVERLAYS = 50
SIGNIFICANT = 0.05


# ---------------------------------------------------------------- scores


def evaluate(
    model: SynergyNet,
    data_folder: str | os.PathLike,
    device: torch.device | str = "cpu",
    batch_size: int = 64,
    workers: int = 0,
    preset: Preset = BENCHMARK,
    flip: bool = False,
    refined: bool = False,
    engine: str = "auto",
) -> dict[str, Any]:
    """Score a model on an `aflw2000_data` folder; `model` is not modified.

    Args:
        model: in any mode, on any device.
        data_folder: the test set.
        device, batch_size, workers, preset, flip, refined, engine: see
            `evaluation.network_source`.
    Returns:
        The content of results/benchmark.json; `weights` is None, for the caller to name.
    Raises:
        InputError: the folder is incomplete or holds an unreadable image.
    """
    crops = EvaluationCrops(data_folder)
    source = network_source(
        model, crops, device, batch_size, workers, preset, flip, refined, engine
    )
    facts = describe_model(model, device, preset, flip, refined)
    return score("", source, model, facts).result


def describe_model(
    model: SynergyNet, device: torch.device | str, preset: Preset, flip: bool, refined: bool
) -> dict[str, Any]:
    """What a network's predictions were made with, for benchmark.json."""
    return {
        "weights": None,
        "arch": model.arch,
        "morphable": model.morphable_id,
        "device": str(device),
        "preprocessing": preset.description,
        "flip": flip,
        "refined": refined,
    }


def score(
    name: str, source: NetworkSource | FileSource, model: SynergyNet, facts: dict[str, Any]
) -> Entry:
    """Run a source over its test set and sum up its errors.

    Args:
        name: what tables call the model.
        source: what it predicts.
        model: whose bases its shape and expression are in.
        facts: entries of the result that say what was run.
    """
    crops = source.crops
    start = time.perf_counter()
    errors = image_errors(_progress(source.predict(), name, len(crops)), read_truth(crops, model))
    seconds = time.perf_counter() - start
    aflw = aflw_errors(source) if isinstance(source, NetworkSource) else None
    result = summarise(errors, crops.labels) | {
        "nme_aflw": aflw,
        "seconds": seconds,
        "images_per_second": len(crops) / seconds,
        "data": _relative(crops.folder),
    }
    mean_face = model.u_base.reshape(-1, 3).T.cpu().numpy()  # (3, 68)
    return Entry(name, source, errors, result | facts, mean_face)


def _progress(batches: Iterable[Prediction], name: str, total: int) -> Iterator[Prediction]:
    with tqdm(desc=name, total=total, unit="image", leave=False, disable=None) as bar:
        for batch in batches:
            yield batch
            bar.update(len(batch))


def _relative(path: str | os.PathLike) -> str:
    """A path inside the project as seen from its root, any other as it is."""
    path = Path(path)
    inside = path.is_absolute() and path.is_relative_to(ROOT)
    return str(path.relative_to(ROOT) if inside else path)


# ---------------------------------------------------------------- printing


def format_report(result: dict[str, Any]) -> str:
    """The published blocks to the letter, then what they leave out."""
    lines = [metrics.format_nme(result["nme"])] if result["nme"] else []
    if result["pose_mae"]:
        lines.append(metrics.format_pose_mae(result["pose_mae"]))
    lines.append("\nBeyond the published report:")
    if exact := result["pose_mae_exact"]:
        lines.append(metrics.format_angles("Mean MAE, exact decoding", exact))
    every = result["pose_mae_all"]
    if every and every["images"] != (exact or {}).get("images"):
        title = f"Mean MAE, exact decoding, all {every['images']} labels"
        lines.append(metrics.format_angles(title, every))
    for key, title, unit in (
        ("rotation", "Rotation error, geodesic", "degrees"),
        ("shape_mm", "Shape error, RMS over vertices", "mm"),
        ("expression_mm", "Expression error, RMS over vertices", "mm"),
    ):
        if entry := result[key]:
            interval = _interval(entry["mean_95"])
            lines.append(f"{title}: {entry['mean']:.3f} {unit} {interval}")
    for key, title in (
        ("nme", "NME"),
        ("nme_reannotated", "NME, re-annotated labels"),
        ("nme_3d", "NME in 3D"),
        ("nme_aflw", "NME on AFLW, 21 points"),
    ):
        if entry := result[key]:
            bins = ", ".join(
                f"{label} {metrics.as_number(entry[name]):.3f}"
                for name, label in metrics.BIN_LABELS.items()
            )
            lines.append(
                f"{title}: {bins}, mean {entry['mean']:.3f} {_interval(entry['mean_95'])}, "
                f"over images {entry['image_mean']:.3f} {_interval(entry['image_mean_95'])}"
            )
    if result["device"]:
        lines.append(
            f"{result['images']} images in {result['seconds']:.2f} s on {result['device']}: "
            f"{result['images_per_second']:.0f} images/s, files to errors"
        )
    return "\n".join(lines)


def _interval(bounds: tuple[float, float]) -> str:
    return f"(95 %: {bounds[0]:.3f} to {bounds[1]:.3f})"


COLUMNS = {
    "NME": ("nme", "mean"),
    "by image": ("nme", "image_mean"),
    "re-annot.": ("nme_reannotated", "mean"),
    "3D": ("nme_3d", "mean"),
    "MAE": ("pose_mae", "mean"),
    "exact": ("pose_mae_exact", "mean"),
    "all": ("pose_mae_all", "mean"),
    "geodesic": ("rotation", "mean"),
}


def format_comparison(entries: list[Entry], pairs: list[dict[str, Any]]) -> str:
    """One line a model, then one line a pair: the difference and whether it may be chance."""
    width = max(len(entry.name) for entry in entries)
    lines = ["\nComparison (landmarks in percent, angles in degrees):"]
    lines.append(" " * width + "".join(f"{title:>11}" for title in COLUMNS))
    for entry in entries:
        cells = [entry.result[key] and entry.result[key][field] for key, field in COLUMNS.values()]
        numbers = "".join("          -" if cell is None else f"{cell:11.3f}" for cell in cells)
        lines.append(f"{entry.name:<{width}}{numbers}")
    for pair in pairs:
        for key, title, unit in (("nme", "NME", "%"), ("pose_mae_exact", "exact MAE", "degrees")):
            if test := pair[key]:
                low, high = test["difference_95"]
                verdict = "" if test["p_value"] < SIGNIFICANT else ", may be chance"
                lines.append(
                    f"{pair['first']} - {pair['second']}, {title}: "
                    f"{test['difference']:+.3f} {unit} "
                    f"(95 %: {low:+.3f} to {high:+.3f}; paired p = {test['p_value']:.4f}{verdict})"
                )
    return "\n".join(lines)


# ---------------------------------------------------------------- pictures


def write_pictures(output: Path, entries: list[Entry]) -> None:
    """Write overlays 0.png ... 49.png of the first model, and ced.png and error_vs_yaw.png.

    Overlays of an older run disappear. Models without landmarks have no pictures.
    """
    entries = [entry for entry in entries if entry.errors.nme is not None]
    if not entries:
        return
    crops = entries[0].source.crops
    count = min(N_OVERLAYS, len(crops))
    batches = entries[0].source.predict(np.arange(count))
    for index, prediction in enumerate(one for batch in batches for one in batch.split()):
        fileio.write_image(output / f"{index}.png", draw_overlay(index, crops, prediction))
    for index in range(count, N_OVERLAYS):
        (output / f"{index}.png").unlink(missing_ok=True)
    curves = {entry.name: 100 * entry.errors.nme for entry in entries}
    if len(entries) == 1 and entries[0].errors.nme_reannotated is not None:
        curves["re-annotated labels"] = 100 * entries[0].errors.nme_reannotated
    title = f"{len(crops)} images of {_relative(crops.folder)}"
    fileio.write_image(output / "ced.png", plots.cumulative_error_plot(curves, title))
    nme = 100 * entries[0].errors.nme
    plot = plots.error_against_yaw_plot(nme, crops.labels.yaw_deg, title)
    fileio.write_image(output / "error_vs_yaw.png", plot)


# ---------------------------------------------------------------- command


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    several = {"nargs": "+", "metavar": "FILE"}
    add("-w", "--weights", **several, default=[], help="checkpoints: published, ours, 3DDFA_V2's")
    add(
        "--predictions",
        **several,
        default=[],
        help="other models' .npz: params (N, 62), landmarks (N, 2 or 3, 68) in photo px or "
        "angles_deg (N, 3) pitch, yaw, roll",
    )
    per_model = "; one for all weights, or one each, where auto is the default"
    add("-a", "--arch", nargs="+", help=f"default: the checkpoint's, else mobilenet_v2{per_model}")
    add("-d", "--device", default="auto", help="auto, cpu, cuda or a number (default: %(default)s)")
    add("--engine", default="auto", choices=ENGINES, help="default: %(default)s, the fastest here")
    add("--data", help="aflw2000_data folder (default: real data when there, else the open set)")
    add(
        "--morphable",
        nargs="+",
        metavar="DIR",
        help=f"3dmm_data folder (default: the checkpoint's, real or open){per_model}",
    )
    add("--output", default="results", help="folder for numbers and pictures (default: results)")
    add("--batch-size", type=int, default=64, help="default: %(default)s")
    add("--workers", type=int, default=2, help="loading processes (default: %(default)s)")
    add(
        "--whitening",
        **several,
        help=f"parameter mean and std, for weights that carry none (3DDFA_V2){per_model}",
    )
    add("--flip", action="store_true", help="average with the mirror image's prediction")
    add("--refined", action="store_true", help="score the refiner's landmarks")
    add("--corrupt", action="store_true", help="score damaged images too: 6 kinds, 3 levels")
    add(
        "--img_size", type=int, default=IMG_SIZE, help="always %(default)s, as in published scripts"
    )
    return parser


def main(args: argparse.Namespace) -> int:
    check_flags(args)
    device = choose_device(args.device)
    output = fileio.make_output_folder(args.output)
    if not args.morphable and default_morphable_folder() == OPEN_FOLDER:
        print("3dmm_data/ has no Basel Face Model: using the open morphable model that ships")
    if not args.data and default_test_folder() == OPEN_TEST_FOLDER:
        print("aflw2000_data/ has no AFLW2000-3D: scoring the open synthetic test set that ships")
    crops = EvaluationCrops(args.data or default_test_folder())
    entries = []
    for entry in score_all(args, crops, device):
        print(format_report(entry.result))
        entries.append(entry)
    pairs = [
        {"first": a.name, "second": b.name} | compare(a.errors, b.errors, crops.labels)
        for i, a in enumerate(entries)
        for b in entries[i + 1 :]
    ]
    if pairs:
        print(format_comparison(entries, pairs))
        models = [{"name": entry.name} | entry.result for entry in entries]
        fileio.write_json(output / "comparison.json", {"models": models, "pairs": pairs})
    robustness = []
    if args.corrupt:
        truth = read_truth(crops, None)
        networks = [e for e in entries if isinstance(e.source, NetworkSource)]
        robustness = [sweep(entry.name, entry.source, truth) for entry in networks]
        print("\n".join(map(format_robustness, robustness)))
        tables = {t.name: dict(zip(t.damages, t.nme.tolist(), strict=True)) for t in robustness}
        fileio.write_json(output / "robustness.json", tables)
    fileio.write_json(output / "benchmark.json", entries[0].result)
    write_pictures(output, entries)
    page = build_report(entries, pairs, crops, robustness, provenance(entries, crops))
    fileio.write_text(output / "report.html", page)
    print(f"numbers and pictures: {output}, all in one page: {output / 'report.html'}")
    return 0


def provenance(entries: list[Entry], crops: EvaluationCrops) -> dict[str, str]:
    """What makes a run repeatable: command, versions, and hashes of weights, face model, labels."""
    facts = {
        "command": f"python {' '.join(sys.argv)}",
        "versions": f"Python {platform.python_version()}, PyTorch {torch.__version__}, "
        f"NumPy {np.__version__}, OpenCV {cv2.__version__}",
    }
    if devices := {entry.result["device"] for entry in entries} - {None}:
        facts["device"] = ", ".join(sorted(devices))
    for entry in entries:
        path = entry.result["weights"] or entry.result["predictions"]
        facts[entry.name] = f"{Path(path).name}, SHA-256 {fileio.file_hash(path)}"
        if morphable := entry.result.get("morphable"):
            facts[entry.name] += f", face model {morphable['name']} {morphable['hash']}"
    labels = [crops.folder / LIST, *sorted((crops.folder / EVAL).glob("*.npy"))]
    facts["test set"] = f"{_relative(crops.folder)}: " + ", ".join(
        f"{path.name} {fileio.file_hash(path)}" for path in labels
    )
    return facts


def check_flags(args: argparse.Namespace) -> None:
    """Refuse flags that make no sense, before anything is read.

    Raises:
        InputError: names the flag.
    """
    if args.img_size != IMG_SIZE:
        raise fileio.InputError(
            f"--img_size {args.img_size}: the crops are {IMG_SIZE} px; leave it away"
        )
    fileio.require_at_least(args, {"--batch-size": 1, "--workers": 0})
    if not args.weights and not args.predictions:
        raise fileio.InputError(
            "nothing to score; pass checkpoints with -w, such as -w "
            "pretrained/open_mobilenet_v2.pth.tar, which ships, or predictions with --predictions"
        )
    for flag in ("flip", "refined", "corrupt"):
        if getattr(args, flag) and not args.weights:
            raise fileio.InputError(f"--{flag} runs a network; pass its weights with -w")
    for flag in ("arch", "morphable", "whitening"):
        values = getattr(args, flag) or []
        if len(values) not in (0, 1, len(args.weights)):
            raise fileio.InputError(
                f"--{flag}: {len(values)} values for {len(args.weights)} weights; "
                f"give one for all, or one each"
            )


def score_all(
    args: argparse.Namespace, crops: EvaluationCrops, device: torch.device
) -> Iterator[Entry]:
    """The entries of all weights and prediction files, in the order of the flags."""
    names = unique_names([*args.weights, *args.predictions])
    per_model = (
        _one_each(values, len(args.weights))
        for values in (args.arch, args.morphable, args.whitening)
    )
    for weights, arch, morphable, whitening in zip(args.weights, *per_model, strict=True):
        model = load_model(weights, arch, morphable, whitening)
        print(
            f"weights {weights}, arch {model.arch}, "
            f"morphable model {model.morphable_id['name']}, test set {_relative(crops.folder)}"
        )
        source = network_source(
            model,
            crops,
            device,
            batch_size=args.batch_size,
            workers=args.workers,
            flip=args.flip,
            refined=args.refined,
            engine=args.engine,
        )
        facts = describe_model(model, device, BENCHMARK, args.flip, args.refined)
        yield score(names[weights], source, model, facts | {"weights": str(weights)})
    for path in args.predictions:
        folder = (args.morphable or [default_morphable_folder()])[0]
        face = build_model("mobilenet_025", morphable=load_morphable(folder))  # decodes only
        source = read_predictions(path, crops, face)
        print(f"predictions {path}, test set {_relative(crops.folder)}")
        facts = {"weights": None, "predictions": str(path), "device": None}
        yield score(names[path], source, face, facts)


def _one_each(values: list[str] | None, count: int) -> list[str | None]:
    """A flag's value for each of `count` weights; None stands for the default."""
    values = [None if value == "auto" else value for value in values or ["auto"]]
    return values * count if len(values) == 1 else values


def unique_names(paths: list[str]) -> dict[str, str]:
    """Short names by path: file names without suffix, whole paths where those are the same."""
    stems = {path: Path(path).name.split(".")[0] for path in paths}
    counts = list(stems.values())
    return {path: stem if counts.count(stem) == 1 else path for path, stem in stems.items()}


if __name__ == "__main__":
    sys.exit(fileio.run_command(main, get_args_parser().parse_args()))
