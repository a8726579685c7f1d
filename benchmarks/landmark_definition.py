"""Where are the 68 landmarks? The open model's definition, measured on labels of real faces.

    python benchmarks/landmark_definition.py --basel 3dmm_data --labels AFLW2000-3D.pts68.npy

A network trained on drawn faces puts its landmarks where the open model has them; what this
definition is off by, no amount of training takes away. So the model is fitted, identity and
expression included, to landmarks of real faces, and what is left over on average is a difference
of definition; the mean identity found is a difference of population. Two independent sources:
`training`, drawn from the Basel Face Model with the mean and spread of 300W-LP's labels, and
`labels`, the 3D landmarks of AFLW2000-3D. `3dmm_data/open/landmarks.json` holds what was measured
on the first one, starting from a model built with zeros there; the second one confirms it. So the
open model itself is now off by what the last rounds left.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from model_building import load_morphable
from synergynet import fileio
from synergynet.geometry.camera import nearest_rotation
from synergynet.geometry.mirror import MIRRORED_LANDMARKS
from synergynet.geometry.parameters import EXPR, SHAPE
from utils.data.folders import OPEN_FOLDER
from utils.data.landmark_model import LandmarkModel
from utils.synthetic.head import load_head

SAMPLES = 3000
PRIOR_MM2 = 1.0  # squared landmark error, in mm^2, that one unit of a whitened coefficient costs
ROUNDS = 8  # of fitting pose and coefficients in turn
PASSES = 4  # of moving the mean face and fitting again


def main(args: argparse.Namespace) -> int:
    model = LandmarkModel.of(load_morphable(args.open))
    head = load_head(args.open)
    spread = np.concatenate([head.identities.std(0), head.expressions.std(0)])  # (50,)
    basis = np.concatenate([model.shp, model.expr], axis=2) / 1000 * spread  # (68, 3, 50) mm
    mean = model.mean / 1000  # (68, 3) mm
    sources = {"training": sample_training_labels(LandmarkModel.of(load_morphable(args.basel)))}
    if args.labels:
        sources["labels"] = upright_landmarks(args.labels)
    for name, landmarks in sources.items():
        rigid = fit(landmarks, mean, basis[:, :, :0])[1]
        before = fit(landmarks, mean, basis)[1]
        offsets, population, after = measure(landmarks, mean, basis)
        print(
            f"{name}: {len(landmarks)} faces; NME of the mean face {rigid:.2f} %, of the fitted "
            f"model {before:.3f} %, of the fitted model with this definition {after:.3f} %\n"
            f"    definition off by {np.linalg.norm(offsets, axis=1).mean():.2f} mm, "
            f"population by {np.linalg.norm(population, axis=1).mean():.2f} mm (means over the 68)"
        )
        if name == "training":
            pitch_deg, scale, shift = frame(mean + population + offsets, landmarks.mean(0))
            print(
                f"    its frame: turned about x by {pitch_deg:.2f} degrees, scaled by {scale:.4f}, "
                f"moved by {shift[1]:.2f} mm in y and {shift[2]:.2f} mm in z"
            )
            if args.output:
                measured = {"offsets_mm": offsets.round(3).tolist()}
                measured["population_mm"] = population.round(3).tolist()
                fileio.write_json(args.output, measured)
    return 0


def sample_training_labels(basel: LandmarkModel) -> np.ndarray:
    """Landmarks (N, 68, 3) mm, y up, of faces with the mean and spread of 300W-LP's labels."""
    rng = np.random.default_rng(0)
    params = basel.param_mean + basel.param_std * rng.standard_normal((SAMPLES, 62))
    shaped = np.einsum("kcs,ns->nkc", basel.shp, params[:, SHAPE])
    return (basel.mean + shaped + np.einsum("kcs,ns->nkc", basel.expr, params[:, EXPR])) / 1000


def upright_landmarks(path: str) -> np.ndarray:
    """Landmarks (N, 68, 3) px, y up, of AFLW2000-3D's label file."""
    return fileio.read_array(path, (None, 3, 68)).astype(np.float64).transpose(0, 2, 1) * [1, -1, 1]


def measure(
    landmarks: np.ndarray, mean: np.ndarray, basis: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """What a model's landmarks are off by.

    Args:
        landmarks: (N, 68, 3), y up, any pose and scale.
        mean: (68, 3) mm; basis: (68, 3, 50) mm per standard deviation.
    Returns:
        offsets (68, 3) mm of the definition, symmetric; displacement (68, 3) mm of the mean face
        that identity explains; NME in percent with both.
    """
    offsets, population = np.zeros_like(mean), np.zeros_like(mean)
    identity = basis[:, :, :40].reshape(-1, 40)
    for _ in range(PASSES):
        found, _, left = fit(landmarks, mean + population + offsets, basis)
        shift = symmetric(population + (identity @ found[:, :40].mean(0)).reshape(-1, 3))
        population = (identity @ ridge(identity, shift.ravel())).reshape(-1, 3)
        offsets = offsets + symmetric(left)
        offsets -= offsets.mean(0)
    return offsets, population, fit(landmarks, mean + population + offsets, basis)[1]


def fit(
    landmarks: np.ndarray, mean: np.ndarray, basis: np.ndarray
) -> tuple[np.ndarray, float, np.ndarray]:
    """Fit similarity and coefficients to each face in turn.

    Returns:
        coefficients (N, K) in standard deviations; mean NME in percent; mean residual (68, 3) mm
        in the model frame.
    """
    flat = basis.reshape(mean.size, -1)  # (204, K)
    found = np.zeros((len(landmarks), flat.shape[1]))
    centred = landmarks - landmarks.mean(1, keepdims=True)
    for _ in range(ROUNDS):
        points = mean + (found @ flat.T).reshape(-1, *mean.shape)  # (N, 68, 3)
        middle = points.mean(1, keepdims=True)
        rotation, scale = similarity(points - middle, centred)
        seen = centred @ rotation / scale[:, None, None] + middle  # labels in the model frame, mm
        found = ridge(flat, (seen - mean).reshape(len(seen), -1).T).T
    left = seen - mean - (found @ flat.T).reshape(seen.shape)  # (N, 68, 3) mm
    error = np.linalg.norm((left @ rotation.transpose(0, 2, 1))[..., :2], axis=2).mean(1) * scale
    size = np.sqrt(np.ptp(landmarks[..., :2], axis=1).prod(1))  # (N,)
    return found, float(100 * (error / size).mean()), left.mean(0)


def frame(points: np.ndarray, target: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Similarity from points to target, (68, 3) mm: pitch in degrees, scale, translation (3,)."""
    middle, target_middle = points.mean(0), target.mean(0)
    (rotation,), (scale,) = similarity((points - middle)[None], (target - target_middle)[None])
    pitch_deg = float(np.degrees(np.arctan2(rotation[2, 1], rotation[1, 1])))
    return pitch_deg, float(scale), target_middle - scale * rotation @ middle


def ridge(basis: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Coefficients (K, ...) of targets (204, ...) under a unit Gaussian prior."""
    normal = basis.T @ basis + PRIOR_MM2 * np.eye(basis.shape[1])
    return np.linalg.solve(normal, basis.T @ target)


def similarity(points: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (N, 3, 3) and scales (N,) from centred points to targets (Umeyama 1991)."""
    covariance = target.transpose(0, 2, 1) @ points  # (N, 3, 3)
    rotation = nearest_rotation(covariance)
    return rotation, (rotation * covariance).sum((1, 2)) / (points**2).sum((1, 2))


def symmetric(displacement: np.ndarray) -> np.ndarray:
    """Mean of a displacement (68, 3) and its mirror image."""
    return (displacement + displacement[MIRRORED_LANDMARKS] * [-1, 1, 1]) / 2


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--basel", required=True, help="3dmm_data folder of the Basel Face Model")
    add("--labels", help="AFLW2000-3D.pts68.npy")
    add("--open", type=Path, default=OPEN_FOLDER, help="open model (default: 3dmm_data/open)")
    add("--output", help="JSON to write what was measured to, as landmarks.json has it")
    return parser


if __name__ == "__main__":
    sys.exit(fileio.run_command(main, get_args_parser().parse_args()))
