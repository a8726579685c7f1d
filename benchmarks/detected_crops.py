"""What a detector's box costs: errors on photos cut by the detector, a second time, and by labels.

    python benchmarks/detected_crops.py --photos AFLW2000-3D

AFLW2000-3D's photos (`.jpg` with `.mat`) go the way of `singleImage.py`: without the benchmark's
black border, which only a second look (`--refine-crop`) has. Of several faces found, the nearest to
the label counts; photos in which none is found are counted and left out of all columns. `--turned`
lays the photos on their sides and on their heads too. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import copy
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.tables import markdown
from synergy3DMM import SynergyNet
from synergynet import fileio
from synergynet.photos.quarter_turns import turn_back, turn_boxes_back
from utils.data.folders import OPEN_WEIGHTS
from utils.evaluation.metrics import landmark_nme
from utils.inference.arguments import add_device, add_network, network_files
from utils.preparation.aflw2000 import find_labelled_photos, read_labelled_photo

LOST_PERCENT = 10.0
HEADER = (
    *("photos", "face found", "crop of the detector's box", "a second look", "crop of the label"),
    *(f"beyond {LOST_PERCENT:.0f} %", "in doubt"),
)


class PhotoErrors(NamedTuple):
    """NME, percent, of a photo's crops; nan where no face is found."""

    box: float
    again: float
    label: float
    is_doubtful: bool


def errors(photo: Path, turns: int, once: SynergyNet, twice: SynergyNet) -> PhotoErrors:
    """Of the detector's crop, of a second look and of the label's crop.

    Args:
        photo: has a `.mat` beside it.
        turns: quarter turns, counter-clockwise, that the photo is given first.
        once, twice: the same network without and with a second look.
    """
    image, label, box = read_labelled_photo(photo)
    truth, box = label.landmarks, box[None]
    image = np.ascontiguousarray(np.rot90(image, turns))
    height, width = image.shape[:2]
    back = -turns % 4  # from the photo turned as it is here to the photo of the label
    (to_turned,) = turn_back(np.array([back]), width, height)
    truth = np.concatenate([to_turned[:, :2] @ truth[:2] + to_turned[:, 2:], truth[2:]])
    box = turn_boxes_back(box, back, width, height)
    found = [net.predict([image]) for net in (once, twice)]
    nearest = [_nearest(faces.landmarks, truth) for faces in found]
    of_label = once.predict_crops([image], np.zeros(1, int), box, box)
    return PhotoErrors(*nearest, _nearest(of_label.landmarks, truth), bool(found[0].doubtful.any()))


def _nearest(landmarks: np.ndarray, truth: np.ndarray) -> float:
    """Least NME, percent, of faces (N, 3, 68) from one (3, 68); nan of none."""
    if not len(landmarks):
        return float("nan")
    return 100 * float(landmark_nme(landmarks, np.repeat(truth[None], len(landmarks), 0)).min())


def describe(scores: list[PhotoErrors]) -> list[str]:
    """The cells of a row for these photos."""
    table = np.array(scores, float)  # (n, 4)
    found = table[~np.isnan(table[:, :3]).any(1)]
    means = found[:, :3].mean(0) if len(found) else np.full(3, np.nan)
    lost = np.count_nonzero(found[:, 0] > LOST_PERCENT)
    cells = [len(found), *(f"{mean:.2f}" for mean in means), lost, int(found[:, 3].sum())]
    return [str(cell) for cell in cells]


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--photos", required=True, help="folder of .jpg files with their .mat")
    add_network(parser, weights=str(OPEN_WEIGHTS))
    add_device(parser)
    add("--detector", default="auto", help="as singleImage.py's (%(default)s)")
    add("--turned", action="store_true", help="also by 90, 180 and 270 degrees")
    return parser


def main(args: argparse.Namespace) -> int:
    photos = find_labelled_photos(args.photos)
    files = network_files(args)
    once = SynergyNet(**files._asdict(), device=args.device, detector=args.detector)
    twice = copy.copy(once)  # the same network
    twice.refine_crop = True
    rows = []
    for turns in range(4) if args.turned else [0]:
        name = f"turned by {90 * turns}°"
        scores = [errors(photo, turns, once, twice) for photo in tqdm(photos, name, disable=None)]
        rows.append([name, *describe(scores)])
    print(f"{args.weights}: {len(photos)} photos\n")
    print(markdown(HEADER, rows))
    return 0


if __name__ == "__main__":
    sys.exit(fileio.run_command(main, get_args_parser().parse_args()))
