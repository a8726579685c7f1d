"""Are drawn faces spread as real ones are? Poses, mouths and eyes of labels; light of pictures.

    python benchmarks/spread.py --labels AFLW2000-3D.pts68.npy
    python benchmarks/spread.py --real AFLW2000-3D_crop --drawn synthetic_data/train_aug_120x120

The first fits the open model to 3D labels of real faces and compares poses and expressions with
those that the generator samples; the second compares pixels of two folders of crops. Both print a
Markdown table; the tables of docs/SYNTHETIC.md are made so.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.landmark_definition import fit, similarity, upright_landmarks
from model_building import load_morphable
from synergynet import fileio
from synergynet.geometry.parameters import N_POSE
from synergynet.geometry.pose import Pose, decode_pose
from synergynet.photos.sources import PICTURE_SUFFIX
from utils.data.folders import OPEN_FOLDER
from utils.data.landmark_model import LandmarkModel
from utils.data.loader import read_crop
from utils.synthetic.attributes import eye_distance, openings
from utils.synthetic.head import load_head
from utils.synthetic.labels import sample_labels

SEED = 5
MIDDLE = slice(24, 96)  # px of a crop, both ways: mostly face

# ---------------------------------------------------------------- labels


def describe_poses(pose: Pose) -> dict[str, str]:
    """How faces are turned; angles in degrees, (N,) each."""
    yaw = np.abs(pose.yaw)
    beyond = [100 * np.mean(yaw > limit) for limit in (30, 60)]
    rows = {"turned beyond 30 / 60 degrees, %": _join(beyond, digits=0)}
    for name in ("pitch", "roll"):
        angles = getattr(pose, name)[yaw < 30]
        ends = _join(np.percentile(angles, [1, 99]), "to", 0) if len(angles) else "-"
        rows[f"{name} of faces turned less than 30, 1st to 99th"] = ends
    return rows


def describe_faces(faces: np.ndarray) -> dict[str, str]:
    """Mouths and eyes of upright faces (N, 68, 3), in units of the distance of the eyes."""
    landmarks = faces.transpose(0, 2, 1)  # (N, 3, 68)
    lips, lids = openings(landmarks)
    eyes = eye_distance(landmarks)
    width = np.linalg.norm(faces[:, 48] - faces[:, 54], axis=1) / eyes
    upper_lip = (faces[:, 33, 1] - faces[:, 51, 1]) / eyes
    return {
        "lips apart, 50th / 95th": _join(np.percentile(lips, [50, 95])),
        "mouth's width, 5th / 50th / 95th": _join(np.percentile(width, [5, 50, 95])),
        "upper lip below the nose, the same": _join(np.percentile(upper_lip, [5, 50, 95])),
        "lids apart over the eye's length, 5th / 50th": _join(np.percentile(lids, [5, 50])),
    }


def compare_labels(path: str, count: int) -> dict[str, tuple[str, str]]:
    """Rows of (real, drawn): of a file of real 3D labels, and of `count` sampled ones."""
    morphable, head = load_morphable(OPEN_FOLDER), load_head(OPEN_FOLDER)
    model = LandmarkModel.of(morphable)
    mean, basis = model.mean / 1000, np.concatenate([model.shp, model.expr], axis=2) / 1000  # mm
    landmarks = upright_landmarks(path)
    if not len(landmarks) or (np.ptp(landmarks[..., :2], axis=1) == 0).any():
        raise fileio.InputError(f"{path}: no faces in it, or one whose landmarks span no area")
    spread = np.concatenate([head.identities.std(0), head.expressions.std(0)])
    found = fit(landmarks, mean, basis * spread)[0] * spread  # (N, 50)
    faces = mean + np.einsum("kcs,ns->nkc", basis, found)
    centred = (points - points.mean(1, keepdims=True) for points in (faces, landmarks))
    rotation = torch.from_numpy(similarity(*centred)[0])  # (N, 3, 3)
    camera = torch.cat([rotation, torch.zeros(len(rotation), 3, 1)], dim=2)
    real = describe_poses(_angles(camera.flatten(1))) | describe_faces(faces)

    labels = sample_labels(head, morphable, count, SEED)
    faces = mean + np.einsum("kcs,ns->nkc", basis, labels[:, N_POSE:])
    drawn = describe_poses(_angles(torch.from_numpy(labels))) | describe_faces(faces)
    return {name: (real[name], drawn[name]) for name in real}


def _angles(params: torch.Tensor) -> Pose:
    """Exact angles, degrees, of real parameters (N, 12 or 62), as arrays."""
    pose = decode_pose(params, "exact")
    return Pose(pose.yaw.numpy(), pose.pitch.numpy(), pose.roll.numpy())


def _join(numbers: Sequence[float], by: str = "/", digits: int = 2) -> str:
    return f" {by} ".join(f"{number:.{digits}f}" for number in numbers)


# ---------------------------------------------------------------- pictures


def describe_pictures(folder: str, most: int) -> dict[str, str]:
    """Medians over crops (120, 120, 3) of a folder, of the middle of each."""
    files = sorted(f for f in Path(folder).glob("*") if PICTURE_SUFFIX.search(f.name))[:most]
    if not files:
        raise fileio.InputError(f"{folder}: no crops in it")
    median = np.median([_statistics(read_crop(file)[MIDDLE, MIDDLE]) for file in files], axis=0)
    names = (
        "grey mean",
        "grey contrast (deviation)",
        "sharpness (median absolute Laplacian)",
        "saturation",
        "darkest 1 %",
        "brightest 1 %",
    )
    return {"crops": str(len(files))} | {
        name: f"{value:.1f}" for name, value in zip(names, median, strict=True)
    }


def _statistics(image: np.ndarray) -> list[float]:
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float64)
    edges = np.abs(cv2.Laplacian(grey, cv2.CV_64F))
    saturation = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)[..., 1]
    ends = np.percentile(grey, [1, 99])
    return [grey.mean(), grey.std(), float(np.median(edges)), saturation.mean(), *ends]


# ---------------------------------------------------------------- command


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--labels", help="AFLW2000-3D.pts68.npy: compare labels")
    add("--count", type=int, default=2000, help="labels to sample (%(default)s)")
    add("--real", help="folder of real crops, 120 x 120: compare pictures, with --drawn")
    add("--drawn", help="folder of drawn crops")
    add("--most", type=int, default=1000, help="pictures of a folder to read (%(default)s)")
    return parser


def main(args: argparse.Namespace) -> int:
    fileio.require_at_least(args, {"--count": 1, "--most": 1})
    if bool(args.real) != bool(args.drawn) or not (args.labels or args.real):
        raise fileio.InputError("nothing to compare; give --labels, or --real and --drawn")
    rows = {}
    if args.labels:
        rows |= compare_labels(args.labels, args.count)
    if args.real:
        real, drawn = (describe_pictures(f, args.most) for f in (args.real, args.drawn))
        rows |= {name: (real[name], drawn[name]) for name in real}
    print("| | real | drawn |\n|---|---:|---:|")
    for name, (real, drawn) in rows.items():
        print(f"| {name} | {real} | {drawn} |")
    return 0


if __name__ == "__main__":
    sys.exit(fileio.run_command(main, get_args_parser().parse_args()))
