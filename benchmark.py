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
import dataclasses
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from model_building import SynergyNet
from synergynet import fileio
from synergynet.face_model import MorphableModel
from synergynet.geometry.parameters import IMG_SIZE
from synergynet.morphable_folder import read_morphable_folder
from utils.data.evaluation_crops import (
    EVAL,
    OPEN_TEST_FOLDER,
    EvaluationCrops,
    default_test_folder,
)
from utils.data.folders import OPEN_FOLDER, ROOT, default_morphable_folder
from utils.data.preprocessing import Preset, benchmark_preset
from utils.evaluation.aflw import aflw_errors
from utils.evaluation.corrupt import format_robustness, sweep
from utils.evaluation.errors import image_errors, read_truth
from utils.evaluation.pictures import write_pictures
from utils.evaluation.printing import format_comparison, format_report
from utils.evaluation.provenance import provenance
from utils.evaluation.report import build_report
from utils.evaluation.results import Results, format_errors
from utils.evaluation.sources import (
    FileSource,
    NetworkSource,
    Prediction,
    network_source,
    read_predictions,
)
from utils.evaluation.summary import Entry, compare, summarise
from utils.inference.arguments import add_device, add_network, each_network, unique_names
from utils.inference.loading import load_model
from utils.inference.regressor import ENGINES, choose_device
from utils.synthetic.attributes import ATTRIBUTES_FILE

# ---------------------------------------------------------------- scores


def evaluate(
    model: SynergyNet,
    data_folder: str | os.PathLike,
    device: torch.device | str = "cpu",
    batch_size: int = 64,
    workers: int = 0,
    preset: Preset | None = None,
    flip: bool = False,
    refined: bool = False,
    engine: str = "auto",
) -> dict[str, Any]:
    """Score a model on an `aflw2000_data` folder; `model` is not modified.

    Args:
        model: in any mode, on any device.
        data_folder: the test set.
        preset: None takes the one that belongs to the weights, `benchmark_preset`.
        device, batch_size, workers, flip, refined, engine: see `sources.network_source`.
    Returns:
        The content of results/benchmark.json; `weights` is None, for the caller to name.
    Raises:
        InputError: the folder is incomplete or holds an unreadable image.
    """
    crops = EvaluationCrops(data_folder)
    preset = preset or benchmark_preset(model.arch)
    source = network_source(
        model, crops, device, batch_size, workers, preset, flip, refined, engine
    )
    facts = describe_model(model, device, preset, flip, refined)
    return score("", source, model.face_model(), facts).result


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
    name: str, source: NetworkSource | FileSource, face_model: MorphableModel, facts: dict[str, Any]
) -> Entry:
    """Run a source over its test set and sum up its errors.

    Args:
        name: what tables call the model.
        source: what it predicts.
        face_model: in whose bases its shape and expression are; of numpy arrays.
        facts: entries of the result that say what was run.
    """
    crops = source.crops
    start = time.perf_counter()
    errors = image_errors(
        _progress(source.predict(), name, len(crops)), read_truth(crops, face_model)
    )
    seconds = time.perf_counter() - start
    aflw = aflw_errors(source) if isinstance(source, NetworkSource) else None
    result = summarise(errors, crops.labels) | {
        "nme_aflw": aflw,
        "seconds": seconds,
        "images_per_second": len(crops) / seconds,
        "data": _relative(crops.folder),
        "drawn": (crops.folder / EVAL / ATTRIBUTES_FILE).is_file(),
    }
    mean_face = face_model.u[face_model.keypoints].reshape(-1, 3).T  # (3, 68)
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


# ---------------------------------------------------------------- command


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add_network(parser, weights=[], several=True)
    add_device(parser)
    add(
        "--predictions",
        nargs="+",
        metavar="FILE",
        default=[],
        help="other models' .npz: params (N, 62), landmarks (N, 2 or 3, 68) in photo px or "
        "angles_deg (N, 3) pitch, yaw, roll",
    )
    add("--engine", default="auto", choices=ENGINES, help="default: %(default)s, the fastest here")
    add("--data", help="aflw2000_data folder (default: real data when there, else the open set)")
    add("--output", default="results", help="folder for numbers and pictures (default: results)")
    add("--batch-size", type=int, default=64, help="default: %(default)s")
    add("--workers", type=int, default=2, help="loading processes (default: %(default)s)")
    border = "px of black around crops (default: 5 of ours and published weights, 0 of 3DDFA_V2's)"
    add("--border", type=int, help=border)
    add("--flip", action="store_true", help="average with the mirror image's prediction")
    add("--refined", action="store_true", help="score the refiner's landmarks")
    add("--corrupt", action="store_true", help="score damaged images too: 6 kinds, 3 levels")
    add(
        "--img_size", type=int, default=IMG_SIZE, help="always %(default)s, as in published scripts"
    )
    fileio.add_debug(parser)
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
    results = Results(output)
    pairs = [
        {"first": a.name, "second": b.name} | compare(a.errors, b.errors, crops.labels)
        for i, a in enumerate(entries)
        for b in entries[i + 1 :]
    ]
    if pairs:
        print(format_comparison(entries, pairs))
        models = [{"name": entry.name} | entry.result for entry in entries]
        fileio.write_json(results.path("comparison.json"), {"models": models, "pairs": pairs})
    robustness = []
    if args.corrupt:
        truth = read_truth(crops, None)
        networks = [e for e in entries if isinstance(e.source, NetworkSource)]
        robustness = [sweep(entry.name, entry.source, truth) for entry in networks]
        print("\n".join(map(format_robustness, robustness)))
        tables = {t.name: dict(zip(t.damages, t.nme.tolist(), strict=True)) for t in robustness}
        fileio.write_json(results.path("robustness.json"), tables)
    fileio.write_json(results.path("benchmark.json"), entries[0].result)
    fileio.write_text(results.path("errors.csv"), format_errors(entries))
    write_pictures(results, entries)
    page = build_report(entries, pairs, crops, robustness, provenance(entries, crops))
    fileio.write_text(results.path("report.html"), page)
    results.remove_old()
    print(f"numbers and pictures: {output}, all in one page: {output / 'report.html'}")
    return 0


def check_flags(args: argparse.Namespace) -> None:
    """Refuse flags that make no sense, before anything is read.

    Raises:
        InputError: names the flag.
    """
    if args.img_size != IMG_SIZE:
        raise fileio.InputError(
            f"--img_size {args.img_size}: the crops are {IMG_SIZE} px; leave it out"
        )
    fileio.require_at_least(args, {"--batch-size": 1, "--workers": 0})
    if args.border is not None and not 0 <= args.border < IMG_SIZE // 2:
        raise fileio.InputError(f"--border {args.border}: from 0 to {IMG_SIZE // 2 - 1}")
    if not args.weights and not args.predictions:
        raise fileio.InputError(
            "nothing to score; pass checkpoints with -w, such as -w "
            "pretrained/open_mobilenet_v2.pth.tar, which ships, or predictions with --predictions"
        )
    for flag in ("flip", "refined", "corrupt"):
        if getattr(args, flag) and not args.weights:
            raise fileio.InputError(f"--{flag} runs a network; pass its weights with -w")
    each_network(args)


def score_all(
    args: argparse.Namespace, crops: EvaluationCrops, device: torch.device
) -> Iterator[Entry]:
    """The entries of all weights and prediction files, in the order of the flags."""
    names = unique_names([*args.weights, *args.predictions])
    for files in each_network(args):
        model = load_model(*files)
        print(
            f"weights {files.weights}, arch {model.arch}, "
            f"morphable model {model.morphable_id['name']}, test set {_relative(crops.folder)}"
        )
        preset = benchmark_preset(model.arch)
        if args.border is not None:
            preset = dataclasses.replace(preset, border_px=args.border)
        source = network_source(
            model,
            crops,
            device,
            batch_size=args.batch_size,
            workers=args.workers,
            preset=preset,
            flip=args.flip,
            refined=args.refined,
            engine=args.engine,
        )
        facts = describe_model(model, device, preset, args.flip, args.refined)
        yield score(
            names[files.weights],
            source,
            model.face_model(),
            facts | {"weights": str(files.weights)},
        )
    for path in args.predictions:
        named = [folder for folder in args.morphable or [] if folder != "auto"]
        folder = named[0] if named else default_morphable_folder()
        face_model = read_morphable_folder(folder)
        source = read_predictions(path, crops, face_model)
        print(f"predictions {path}, test set {_relative(crops.folder)}")
        facts = {"weights": None, "predictions": str(path), "device": None}
        yield score(names[path], source, face_model, facts)


if __name__ == "__main__":
    sys.exit(fileio.run_command(main, get_args_parser().parse_args()))
