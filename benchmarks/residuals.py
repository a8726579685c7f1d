"""Where a network's landmarks are off: by pose, by part of the face, by landmark.

    python benchmarks/residuals.py -w pretrained/open_mobilenet_v2.pth.tar --data aflw2000_data

Works on any folder like `aflw2000_data`. Faces are set upright by their labels and those that turn
to the viewer's left are mirrored, so that what is systematic adds up: *across* is to the viewer's
right, *down* towards the chin. Errors are in percent of the face's size, as NME is. Prints Markdown
tables and draws a picture: the mean face with where its landmarks are found on average.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import sys
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from synergynet import fileio
from synergynet.drawing.lines import (
    BACKGROUND_BGR,
    FACE_PARTS,
    PREDICTION_BGR,
    TRUTH_BGR,
    add_caption,
    draw_landmarks,
    side_by_side,
)
from synergynet.geometry.mirror import MIRRORED_LANDMARKS
from utils.data.evaluation_crops import OPEN_TEST_FOLDER, EvaluationCrops
from utils.data.preprocessing import benchmark_preset
from utils.evaluation.errors import read_truth
from utils.evaluation.intervals import bootstrap_interval
from utils.evaluation.metrics import YAW_BINS_DEG, yaw_bins
from utils.evaluation.sources import network_source
from utils.inference.arguments import add_device, add_network, each_network, unique_names
from utils.inference.loading import load_model
from utils.inference.regressor import choose_device

PARTS = {
    "jaw": range(17),
    "brows": range(17, 27),
    "nose": range(27, 36),
    "eyes": range(36, 48),
    "mouth": range(48, 68),
}
EYES, MOUTH = slice(36, 48), slice(48, 68)
PITCH_EDGES_DEG, ROLL_EDGES_DEG = (-30, -10, 10, 30), (20, 45)
PANEL_PX, EXAGGERATION = 480, 5


@dataclasses.dataclass(frozen=True)
class Residuals:
    """Landmark errors of N faces that are set upright, in percent of the face's size.

    Attributes:
        offset: (N, 2, 68) across and down.
        shape: (N, 2, 68) the labels themselves, about their mean, of the same unit.
        size: (N,) by how much the face is found too large.
    """

    offset: np.ndarray
    shape: np.ndarray
    size: np.ndarray

    @classmethod
    def of(cls, found: np.ndarray, truth: np.ndarray, yaw_deg: np.ndarray) -> Residuals:
        """Compare landmarks (N, 2 or 3, 68), photo px, y down, of faces with yaw (N,).

        Args:
            found, truth: Not modified.
            yaw_deg: faces with a negative one are mirrored.
        """
        found, truth = np.float64(found[:, :2]), np.float64(truth[:, :2])
        unit = np.sqrt(np.ptp(truth, axis=2).prod(axis=1)) / 100  # (N,) px a percent
        upright = _upright(truth) / unit[:, None, None]  # (N, 2, 2)
        centre = truth.mean(axis=2, keepdims=True)
        spread = [np.sqrt(p.var(axis=2).sum(axis=1)) for p in (found, truth)]
        turned = yaw_deg < 0
        offset, shape = (
            _mirror(upright @ points, turned) for points in (found - truth, truth - centre)
        )
        return cls(offset, shape, 100 * (spread[0] / spread[1] - 1))

    @property
    def distance(self) -> np.ndarray:
        """(N, 68) of each landmark; its mean over landmarks is the NME."""
        return np.linalg.norm(self.offset, axis=1)


def _upright(landmarks: np.ndarray) -> np.ndarray:
    """Rotations (N, 2, 2) that set faces (N, 2, 68) upright: the mouth below the eyes."""
    down = landmarks[:, :, MOUTH].mean(axis=2) - landmarks[:, :, EYES].mean(axis=2)
    x, y = (down / np.linalg.norm(down, axis=1, keepdims=True)).T
    return np.stack([y, -x, x, y], axis=1).reshape(-1, 2, 2)


def _mirror(points: np.ndarray, turned: np.ndarray) -> np.ndarray:
    """Points (N, 2, 68) with those of the faces `turned` (N,) reflected, left and right changed."""
    flipped = points[:, :, MIRRORED_LANDMARKS] * np.array([[-1], [1]])
    return np.where(turned[:, None, None], flipped, points)


def bins(yaw_deg: np.ndarray, pose_deg: np.ndarray | None) -> dict[tuple[str, str], np.ndarray]:
    """Which of N images belong together, (N,) bool by angle and range.

    Args:
        yaw_deg: (N,) of the benchmark's bins.
        pose_deg: (N, 3) pitch, yaw, roll, NaN where not known; None leaves pitch and roll out.
    """
    groups = {("all", ""): np.full(len(yaw_deg), True)}
    of_yaw = yaw_bins(yaw_deg)
    for index, name in enumerate(YAW_BINS_DEG):
        groups["yaw", name] = of_yaw == index
    if pose_deg is None:
        return groups
    pitch, yaw, roll = pose_deg.T
    groups |= _ranges("pitch", pitch, PITCH_EDGES_DEG) | _ranges("roll", abs(roll), ROLL_EDGES_DEG)
    easy = (np.abs(pitch) <= 20) & (np.abs(yaw) <= 30) & (np.abs(roll) <= 20)
    return groups | {("all three", "small"): easy}


def _ranges(
    name: str, angle: np.ndarray, edges: tuple[float, ...]
) -> dict[tuple[str, str], np.ndarray]:
    """Images whose angle (N,) lies between edges; those with NaN in none."""
    words = [
        f"to {edges[0]}",
        *(f"{low} to {high}" for low, high in itertools.pairwise(edges)),
        f"above {edges[-1]}",
    ]
    place = np.where(np.isnan(angle), -1, np.searchsorted(edges, angle))
    return {(name, word): place == index for index, word in enumerate(words)}


# ---------------------------------------------------------------- tables


def format_poses(residuals: Residuals, groups: dict[tuple[str, str], np.ndarray]) -> str:
    """Markdown: a row for each bin with its images, NME by part, size, and worst faces."""
    lines = [
        "| angle | degrees | images | NME, % | 95 % | median | "
        + " | ".join(PARTS)
        + " | too large | too low | beyond 10 % |",
        "|---|---|---:" + "|---:" * (len(PARTS) + 6) + "|",
    ]
    for (angle, degrees), chosen in groups.items():
        if not chosen.any():
            continue
        distance = residuals.distance[chosen]  # (n, 68)
        nme = distance.mean(axis=1)
        low, high = bootstrap_interval(nme)
        cells = [angle, degrees, str(len(nme)), f"{nme.mean():.2f}", f"{low:.2f} to {high:.2f}"]
        cells += [f"{np.median(nme):.2f}"]
        cells += [f"{distance[:, list(part)].mean():.2f}" for part in PARTS.values()]
        drop = residuals.offset[chosen, 1].mean(axis=1)
        cells += [f"{np.median(residuals.size[chosen]):+.1f}", f"{np.median(drop):+.2f}"]
        lines.append(f"| {' | '.join(cells)} | {(nme > 10).sum()} |")
    return "\n".join(lines)


def format_landmarks(residuals: Residuals, yaw_deg: np.ndarray) -> str:
    """Markdown: a row for each landmark; for each bin of yaw its mean error, and its median offset
    across and down the face."""
    of_yaw = yaw_bins(yaw_deg)
    titles = " | ".join(f"{name}: error | across | down" for name in YAW_BINS_DEG)
    lines = [f"| landmark | part | {titles} |", "|---:|---" + "|---:" * 3 * len(YAW_BINS_DEG) + "|"]
    part_of = {i: name for name, (members, _) in FACE_PARTS.items() for i in members}
    for landmark in range(residuals.offset.shape[2]):
        cells = [str(landmark), part_of[landmark]]
        for index in range(len(YAW_BINS_DEG)):
            chosen = of_yaw == index
            if not chosen.any():
                cells += ["-"] * 3
                continue
            across, down = np.median(residuals.offset[chosen, :, landmark], axis=0)
            mean = residuals.distance[chosen, landmark].mean()
            cells += [f"{mean:.2f}", f"{across:+.2f}", f"{down:+.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


# ---------------------------------------------------------------- picture


def draw(residuals: Residuals, yaw_deg: np.ndarray) -> np.ndarray:
    """The mean face of each bin of yaw (blue), and where it is found (green), exaggerated.

    Circles have the spread of the offsets about their median, not exaggerated.
    """
    panels = []
    of_yaw = yaw_bins(yaw_deg)
    for index, name in enumerate(YAW_BINS_DEG):
        chosen = of_yaw == index
        panel = np.empty((PANEL_PX, PANEL_PX, 3), np.uint8)
        panel[:] = BACKGROUND_BGR
        lines = [f"yaw {name}: no image", ""]
        if chosen.any():
            panel = _draw_panel(panel, residuals.shape[chosen], residuals.offset[chosen])
            nme = residuals.distance[chosen].mean()
            lines = [f"yaw {name}: {chosen.sum()} images, NME {nme:.2f} %"]
            lines += [f"offsets x {EXAGGERATION}; circles: their spread"]
        panels.append(add_caption(panel, lines))
    return side_by_side(panels)


def _draw_panel(panel: np.ndarray, shape: np.ndarray, offset: np.ndarray) -> np.ndarray:
    mean, bias = shape.mean(axis=0), np.median(offset, axis=0)  # (2, 68)
    spread = np.median(np.linalg.norm(offset - bias, axis=1), axis=0)  # (68,)
    px = 0.8 * PANEL_PX / np.ptp(mean, axis=1).max()  # a percent
    middle = (mean.max(axis=1) + mean.min(axis=1))[:, None] / 2
    true = (mean - middle) * px + PANEL_PX / 2
    for (x, y), radius in zip(true.T, spread * px, strict=True):
        cv2.circle(panel, (round(x), round(y)), round(radius), (90, 80, 75), 1, cv2.LINE_AA)
    panel = draw_landmarks(panel, true, TRUTH_BGR)
    return draw_landmarks(panel, true + EXAGGERATION * bias * px, PREDICTION_BGR)


# ---------------------------------------------------------------- the command


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add_network(parser, required=True, several=True)
    add_device(parser)
    add("--data", default=str(OPEN_TEST_FOLDER), help="test set (default: the open one)")
    add("--flip", action="store_true", help="average with the mirror image's prediction")
    add("--landmarks", action="store_true", help="also a table with a row for each landmark")
    add("--picture", default="results/residuals.png", help="(default: %(default)s)")
    return parser


def main(args: argparse.Namespace) -> int:
    crops = EvaluationCrops(args.data)
    device, yaw_deg = choose_device(args.device), crops.labels.yaw_deg
    names, rows = unique_names(args.weights), []
    for files in each_network(args):
        model = load_model(*files)
        preset = benchmark_preset(model.arch)
        source = network_source(model, crops, device, preset=preset, flip=args.flip, engine="torch")
        found = np.concatenate([prediction.landmarks for prediction in source.predict()])
        truth = read_truth(crops, model.face_model())
        residuals = Residuals.of(found, truth.landmarks, yaw_deg)
        print(f"{files.weights} on {args.data}\n")
        print(format_poses(residuals, bins(yaw_deg, truth.pose_deg)), end="\n\n")
        if args.landmarks:
            print(format_landmarks(residuals, yaw_deg), end="\n\n")
        rows.append(add_caption(draw(residuals, yaw_deg), [names[files.weights]]))
    fileio.write_image(args.picture, np.concatenate(rows))
    print(f"{args.picture}: mean faces (blue) and where they are found (green)")
    return 0


if __name__ == "__main__":
    sys.exit(fileio.run_command(main, get_args_parser().parse_args()))
