"""Errors by what a picture shows: pose, mouth, eyes, skin, beard, glasses, what hides the face.

    python benchmarks/breakdown.py -w pretrained/open_mobilenet_v2.pth.tar

The test set must say what its pictures show (`eval/attributes.csv`); those of `prepare_data.py
synthetic --test-set` do. Prints a Markdown table. The intervals are bootstrap ones: rows whose
intervals overlap may differ by chance.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from synergynet import fileio
from utils.data.evaluation_crops import EVAL, OPEN_TEST_FOLDER, EvaluationCrops
from utils.evaluation.errors import ImageErrors, image_errors, read_truth
from utils.evaluation.intervals import bootstrap_interval
from utils.evaluation.sources import network_source
from utils.inference.arguments import add_device, add_network, network_files
from utils.inference.loading import load_model
from utils.inference.regressor import choose_device
from utils.synthetic.attributes import ATTRIBUTES_FILE, read_attributes, values_in_order

FAR_OFF_PERCENT, FAR_OFF_DEG = 10, 15  # NME; mean of the three angles


def format_table(errors: ImageErrors, attributes: dict[str, np.ndarray]) -> str:
    """Markdown: a row for each value of each attribute, and one for all."""
    lines = [
        "| attribute | value | images | NME, % | 95 % | pose MAE, degrees |",
        "|---|---|---:|---:|---:|---:|",
        _row("all", "", errors, np.full(len(errors.nme), True)),
    ]
    for attribute, values in attributes.items():
        for value in values_in_order(attribute, values):
            lines.append(_row(attribute, value, errors, values == value))
    return "\n".join(lines)


def _row(attribute: str, value: str, errors: ImageErrors, chosen: np.ndarray) -> str:
    nme = 100 * errors.nme[chosen]
    low, high = bootstrap_interval(nme)
    angles = [] if errors.exact is None else np.abs(errors.exact[chosen]).ravel()
    mae = f"{np.nanmean(angles):.2f}" if np.isfinite(angles).any() else "-"
    interval = f"{low:.2f} to {high:.2f}"
    return f"| {attribute} | {value} | {chosen.sum()} | {nme.mean():.2f} | {interval} | {mae} |"


def format_failures(errors: ImageErrors) -> str:
    """How many faces, and heads, are far off."""
    faces = (100 * errors.nme > FAR_OFF_PERCENT).sum()
    text = f"faces off by more than {FAR_OFF_PERCENT} %: {faces} of {len(errors.nme)}"
    if errors.exact is None:
        return text
    mae = np.abs(errors.exact).mean(1)  # nan where the head's pose is not known
    heads = (mae > FAR_OFF_DEG).sum()
    return f"{text}; heads by more than {FAR_OFF_DEG} degrees: {heads} of {np.isfinite(mae).sum()}"


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add_network(parser, required=True)
    add_device(parser)
    add("--data", default=str(OPEN_TEST_FOLDER), help="test set (default: the open one)")
    add("--flip", action="store_true", help="average with the mirror image's prediction")
    return parser


def main(args: argparse.Namespace) -> int:
    crops = EvaluationCrops(args.data)
    attributes = read_attributes(crops.folder / EVAL / ATTRIBUTES_FILE, crops.names)
    model = load_model(*network_files(args))
    device = choose_device(args.device)
    source = network_source(model, crops, device, flip=args.flip, engine="torch")
    errors = image_errors(source.predict(), read_truth(crops, model.face_model()))
    print(f"{args.weights} on {args.data}; means over images\n")
    print(format_table(errors, attributes))
    print(f"\n{format_failures(errors)}")
    return 0


if __name__ == "__main__":
    sys.exit(fileio.run_command(main, get_args_parser().parse_args()))
