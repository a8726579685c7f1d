"""What a detector's box costs: errors on photos cut by the detector, a second time, and by labels.

    python benchmarks/detected_crops.py --photos AFLW2000-3D

AFLW2000-3D's photos (`.jpg` with `.mat`) go the way of `singleImage.py`: without the benchmark's
black border, which only a second look (`--refine-crop`) has. Of several faces found, the nearest to
the label counts; photos in which none is found are counted and left out of all columns. Prints a
Markdown table.
"""

from __future__ import annotations

import argparse
import copy
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from synergy3DMM import SynergyNet
from synergynet import fileio
from utils.data.folders import OPEN_WEIGHTS
from utils.evaluation.metrics import landmark_nme
from utils.inference.arguments import add_device, add_network, network_files
from utils.preparation.aflw2000 import find_labelled_photos, read_labelled_photo


def errors(photo: Path, once: SynergyNet, twice: SynergyNet) -> list[float]:
    """NME, percent, of the detector's crop, of a second look and of the label's crop.

    An entry is nan where no face is found.
    """
    image, label, box = read_labelled_photo(photo)
    truth, box = label.landmarks, box[None]
    boxes = [once.detect(image)]
    found = [net.predict([image], boxes).landmarks for net in (once, twice)]
    found.append(once.predict_crops([image], np.zeros(1, int), box, box).landmarks)
    return [_nearest(landmarks, truth) for landmarks in found]


def _nearest(landmarks: np.ndarray, truth: np.ndarray) -> float:
    """Least NME, percent, of faces (N, 3, 68) from one (3, 68); nan of none."""
    if not len(landmarks):
        return float("nan")
    return 100 * float(landmark_nme(landmarks, np.repeat(truth[None], len(landmarks), 0)).min())


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--photos", required=True, help="folder of .jpg files with their .mat")
    add_network(parser, weights=str(OPEN_WEIGHTS))
    add_device(parser)
    add("--detector", default="auto", help="as singleImage.py's (%(default)s)")
    return parser


def main(args: argparse.Namespace) -> int:
    photos = find_labelled_photos(args.photos)
    files = network_files(args)
    once = SynergyNet(**files._asdict(), device=args.device, detector=args.detector)
    twice = copy.copy(once)  # the same network
    twice.refine_crop = True
    scores = np.array([errors(photo, once, twice) for photo in tqdm(photos, disable=None)])
    is_found = ~np.isnan(scores).any(1)
    if not is_found.any():
        raise fileio.InputError(f"{args.photos}: no face found in any of {len(photos)} photos")
    print(f"{args.weights}: faces found in {is_found.sum()} of {len(photos)} photos\n")
    print("| crop of the detector's box | a second look | crop of the label |\n|---:|---:|---:|")
    print("| " + " | ".join(f"{score:.2f}" for score in scores[is_found].mean(0)) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(fileio.run_command(main, get_args_parser().parse_args()))
