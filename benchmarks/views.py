"""How good landmarks are on a handful of photos, cut out, turned and exposed a little differently.

    python benchmarks/views.py --photos AFLW2000-3D -w FIRST.pth.tar SECOND.pth.tar

Few photos say little: one network differs from another by how each happens to take each crop. So
every photo of AFLW2000-3D (`.jpg` with `.mat`) is looked at many times: first the benchmark's crop
and its mirror image; then crops that are shifted, scaled, turned, darker or brighter, paler and
noisy, every second one mirrored. Landmarks are taken back to the photo to be scored. The views of
a photo count as one in the interval, as they show one face. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from synergy3DMM import SynergyNet
from synergynet import fileio
from synergynet.geometry.mirror import mirror_landmarks
from synergynet.geometry.parameters import IMG_SIZE
from synergynet.photos.crops import network_crop
from utils.data.folders import OPEN_WEIGHTS
from utils.evaluation.intervals import bootstrap_interval
from utils.evaluation.metrics import landmark_nme
from utils.inference.arguments import add_device, add_network, each_network, unique_names
from utils.preparation.aflw2000 import find_labelled_photos, read_labelled_photo

# A view differs from the benchmark's crop by at most
MOST_SHIFT_PX = 2.0  # of the crop
MOST_LOG_SCALE = 0.04
MOST_TURN_DEG = 8.0
MOST_LOG_GAMMA = 0.35
LEAST_SATURATION = 0.6
MOST_NOISE = 4.0  # grey levels, standard deviation

_FINE = 2  # crops are warped at this size and then halved, as a plain warp would drop pixels


def make_view(
    photo: np.ndarray, box: np.ndarray, rng: np.random.Generator | None
) -> tuple[np.ndarray, np.ndarray]:
    """One crop of a face.

    Args:
        photo: (H, W, 3) uint8 BGR. Not modified.
        box: (4,) sx sy ex ey, photo px, the benchmark's crop. Not modified.
        rng: decides how the view differs from that; None: not at all.
    Returns:
        (120, 120, 3) uint8 BGR; (3, 3) homogeneous map of photo px to crop px. As in
        `geometry.crop`, pixel j is the interval [j, j + 1], and labels are taken to count so.
    """
    to_crop = np.diag([*IMG_SIZE / (box[2:] - box[:2]), 1.0])
    to_crop[:2, 2] = -to_crop[:2, :2] @ box[:2]
    if rng is None:
        return network_crop(photo, box), to_crop
    middle = (IMG_SIZE / 2, IMG_SIZE / 2)
    turn_deg = rng.uniform(-MOST_TURN_DEG, MOST_TURN_DEG)
    scale = np.exp(rng.uniform(-MOST_LOG_SCALE, MOST_LOG_SCALE))
    moved = np.eye(3)
    moved[:2] = cv2.getRotationMatrix2D(middle, turn_deg, scale)
    moved[:2, 2] += rng.uniform(-MOST_SHIFT_PX, MOST_SHIFT_PX, 2)
    to_crop = moved @ to_crop
    centre = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])  # OpenCV counts from pixel centres
    warp = np.linalg.inv(centre) @ np.diag([_FINE, _FINE, 1.0]) @ to_crop @ centre
    size = (_FINE * IMG_SIZE, _FINE * IMG_SIZE)
    fine = cv2.warpAffine(photo, warp[:2], size, flags=cv2.INTER_LINEAR)
    crop = cv2.resize(fine, (IMG_SIZE, IMG_SIZE), interpolation=cv2.INTER_AREA)
    return expose(crop, rng), to_crop


def expose(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A crop (120, 120, 3) uint8 BGR under another exposure, with paler colours and noise."""
    bright = 255 * (crop / 255) ** np.exp(rng.uniform(-MOST_LOG_GAMMA, MOST_LOG_GAMMA))
    grey = bright.mean(2, keepdims=True)
    pale = grey + (bright - grey) * rng.uniform(LEAST_SATURATION, 1)
    noisy = pale + rng.normal(0, rng.uniform(0, MOST_NOISE), crop.shape)
    return noisy.clip(0, 255).round().astype(np.uint8)


def errors(network: SynergyNet, path: Path, count: int, seed: tuple[int, int]) -> np.ndarray:
    """NME, percent, (count,): of the benchmark's crop, of its mirror image, and of other views,
    of which every second one is mirrored.

    Raises:
        InputError: the photo or its label is unreadable.
    """
    photo, label, box = read_labelled_photo(path)
    rng = np.random.default_rng(seed)
    views = [make_view(photo, box, None if i < 2 else rng) for i in range(count)]
    crops = [crop[:, ::-1] if i % 2 else crop for i, (crop, _) in enumerate(views)]
    whole = np.tile([0.0, 0.0, IMG_SIZE, IMG_SIZE], (count, 1))
    faces = network.predict_crops(crops, np.arange(count), whole, whole, exact=True)
    found = faces.landmarks[:, :2].astype(np.float64)  # (count, 2, 68) crop px
    found[1::2] = mirror_landmarks(found[1::2])
    to_photo = np.linalg.inv([to_crop for _, to_crop in views])  # (count, 3, 3)
    found = to_photo[:, :2, :2] @ found + to_photo[:, :2, 2:]
    truth = np.repeat(label.landmarks[None, :2], count, 0)
    return 100 * np.asarray(landmark_nme(found, truth))


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--photos", required=True, help="folder of .jpg files with their .mat")
    add_network(parser, weights=[str(OPEN_WEIGHTS)], several=True)
    add_device(parser)
    add("--views", type=int, default=32, help="of each photo (%(default)s)")
    add("--seed", type=int, default=0, help="of the views (%(default)s)")
    return parser


def main(args: argparse.Namespace) -> int:
    fileio.require_at_least(args, {"--views": 2, "--seed": 0})
    photos = find_labelled_photos(args.photos)
    rows = []
    names = unique_names(args.weights)
    for files in each_network(args):
        network = SynergyNet(**files._asdict(), device=args.device)
        scores = [
            errors(network, photo, args.views, (args.seed, index))
            for index, photo in enumerate(tqdm(photos, disable=None))
        ]
        rows.append(f"| {names[files.weights]} | {format_scores(np.stack(scores))} |")
    print(f"{len(photos)} photos, NME, mean of images, %\n")
    print(f"| weights | benchmark's crop | mirrored | all {args.views} views | 95 % |")
    print("|---|---:|---:|---:|---:|", *rows, sep="\n")
    return 0


def format_scores(scores: np.ndarray) -> str:
    """Columns of the table for the errors (photos, views) of one network."""
    low, high = bootstrap_interval(scores.mean(1))
    means = (scores[:, 0].mean(), scores[:, 1].mean(), scores.mean())
    return " | ".join([*(f"{mean:.2f}" for mean in means), f"{low:.2f} to {high:.2f}"])


if __name__ == "__main__":
    sys.exit(fileio.run_command(main, get_args_parser().parse_args()))
