"""Scores of AFLW2000-3D and AFLW: landmarks, head pose, face shape; and how they are printed.

Source: 3DDFA's evaluation, which SynergyNet, section 4.1, and others report. `intervals` says how
certain a mean of these errors is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from synergynet.geometry.camera import nearest_rotation
from synergynet.geometry.pose import Pose, compose_rotation

# |yaw| in (low, high], but 0 belongs to the first; the last is printed as "60, 90"
YAW_BINS_DEG = {"0-30": (0, 30), "30-60": (30, 60), "60-90": (60, np.inf)}
BIN_LABELS = {"0-30": "[ 0, 30]", "30-60": "[30, 60]", "60-90": "[60, 90]"}

N_AFLW = 21
AFLW_HIDDEN = -1  # coordinate of a point that the annotators did not see


# ---------------------------------------------------------------- landmarks


def landmark_nme(pred: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Normalised mean error: mean 2D distance over the 68 points / sqrt(w h) of the true tight box.

    Args:
        pred: (N, 2 or 3, 68) photo px. Not modified.
        truth: (N, 2 or 3, 68) photo px. Not modified.
    Returns:
        (N,) float64 fractions; the reports print percent.
    Raises:
        ValueError: different counts of images or points.
    """
    return landmark_errors(pred[:, :2], truth[:, :2]).mean(axis=1)


def landmark_nme_3d(pred: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """`landmark_nme` with 3D distances; the mean z, which a photo does not tell, is taken off both.

    Args:
        pred, truth: (N, 3, 68) photo px. Not modified.
    """
    pred, truth = (np.array(points, np.float64) for points in (pred, truth))
    for points in (pred, truth):
        points[:, 2] -= points[:, 2].mean(axis=1, keepdims=True)
    return landmark_errors(pred, truth).mean(axis=1)


def landmark_errors(pred: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Distance of each landmark / sqrt(w h) of the true landmarks' tight box, (N, 68) fractions.

    Args:
        pred, truth: (N, D, 68) photo px, of D = 2 or 3 coordinates. Not modified.
    Raises:
        ValueError: different shapes.
    """
    pred, truth = np.asarray(pred, np.float64), np.asarray(truth, np.float64)
    if pred.shape != truth.shape:
        raise ValueError(f"prediction {pred.shape} and truth {truth.shape} differ in shape")
    size = np.ptp(truth[:, :2], axis=2)  # (N, 2) width, height
    distance = np.linalg.norm(pred - truth, axis=1)  # (N, 68) px
    return distance / np.sqrt(size.prod(axis=1))[:, None]


def aflw_points(landmarks: np.ndarray) -> np.ndarray:
    """AFLW's 21 points from the 68: ends and middles of brows, eyes and mouth, nose, ears, chin.

    Middles of eyes and mouth are means of the points around them; the ears, which the 68 do not
    have, are the jaw line's points at their height, 2 and 14.

    Args:
        landmarks: (N, 2 or 3, 68). Not modified.
    Returns:
        (N, 2, 21) in AFLW's order.
    """
    groups = [
        *((17,), (19,), (21,), (22,), (24,), (26,)),  # brows
        *((36,), (36, 37, 38, 39, 40, 41), (39,)),  # right eye
        *((42,), (42, 43, 44, 45, 46, 47), (45,)),  # left eye
        *((2,), (31,), (30,), (35,), (14,)),  # ear, nose, ear
        *((48,), (62, 66), (54,), (8,)),  # mouth, chin
    ]
    points = np.asarray(landmarks, np.float64)[:, :2]
    return np.stack([points[:, :, group].mean(axis=2) for group in groups], axis=2)


def aflw_nme(pred: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Normalised mean error over AFLW's visible points / sqrt(w h) of their tight box.

    Args:
        pred: (N, 2, 21) photo px. Not modified.
        truth: (N, 2, 21) photo px, -1 where a point is hidden; at least two are visible. Not
            modified.
    Returns:
        (N,) float64 fractions.
    Raises:
        ValueError: different shapes.
    """
    pred, truth = np.asarray(pred, np.float64), np.asarray(truth, np.float64)
    if pred.shape != truth.shape:
        raise ValueError(f"prediction {pred.shape} and truth {truth.shape} differ in shape")
    seen = (truth != AFLW_HIDDEN).all(axis=1)  # (N, 21)
    low = np.where(seen[:, None], truth, np.inf).min(axis=2)  # (N, 2)
    high = np.where(seen[:, None], truth, -np.inf).max(axis=2)  # (N, 2)
    distance = np.linalg.norm(pred - truth, axis=1)  # (N, 21) px
    mean = (distance * seen).sum(axis=1) / seen.sum(axis=1)
    return mean / np.sqrt((high - low).prod(axis=1))


def summarise_nme(nme: np.ndarray, yaw_deg: np.ndarray) -> dict[str, Any]:
    """Landmark error by |yaw|, in percent.

    Args:
        nme: (N,) fractions.
        yaw_deg: (N,); its absolute value is not unwrapped.
    Returns:
        The mean of each bin, None where it is empty; `mean` and `std` of the bin means (of those
        that are not empty), the headline; `image_mean` over all images; and by bin the standard
        deviation and the count of images. Standard deviations are population (ddof 0).
    Raises:
        ValueError: different lengths, or no image.
    """
    percent = 100 * np.asarray(nme, np.float64)
    if percent.shape != np.shape(yaw_deg) or percent.size == 0:
        raise ValueError(f"{percent.shape} errors and {np.shape(yaw_deg)} yaw angles")
    bin_of_image = yaw_bins(yaw_deg)
    bins = {name: percent[bin_of_image == index] for index, name in enumerate(YAW_BINS_DEG)}
    means = {name: float(b.mean()) if b.size else None for name, b in bins.items()}
    present = [mean for mean in means.values() if mean is not None]
    return {
        **means,
        "mean": float(np.mean(present)),
        "std": float(np.std(present)),
        "image_mean": float(percent.mean()),
        "bin_std": {k: float(b.std()) if b.size else None for k, b in bins.items()},
        "bin_images": {k: int(b.size) for k, b in bins.items()},
    }


def yaw_bins(yaw_deg: np.ndarray) -> np.ndarray:
    """Index into YAW_BINS_DEG of each yaw, (N,)."""
    edges = [high for _, high in YAW_BINS_DEG.values()][:-1]
    return np.searchsorted(edges, np.abs(np.asarray(yaw_deg, np.float64)), side="left")


def yaw_bin_report(nme: np.ndarray, yaw: np.ndarray) -> str:
    """The landmark block as the published system prints it, from (N,) fractions and degrees."""
    return format_nme(summarise_nme(nme, yaw))


def format_nme(summary: dict[str, Any]) -> str:
    """The landmark block of a `summarise_nme`; it begins with a newline. Empty bins are nan."""
    rows = [(BIN_LABELS[name], summary[name], summary["bin_std"][name]) for name in YAW_BINS_DEG]
    rows.append(("[ 0, 90]", summary["mean"], summary["std"]))
    lines = ["\nFacial Alignment on AFLW2000-3D (NME):"]
    for label, mean, std in rows:
        lines.append(f"{label}\tMean: {as_number(mean):.3f}, Std: {as_number(std):.3f}")
    return "\n".join(lines)


def as_number(value: float | None) -> float:
    """An entry of a summary for printing: that of an empty bin is nan."""
    return np.nan if value is None else value


# ---------------------------------------------------------------- head pose and face


def pose_errors(predicted: Pose, truth_deg: np.ndarray) -> np.ndarray:
    """Predicted minus true angles in degrees, (M, 3) pitch, yaw, roll; not unwrapped.

    Args:
        predicted: angles (M,) in degrees.
        truth_deg: (M, 3) pitch, yaw, roll as in AFLW2000's 3ANG arrays. Not modified.
    Raises:
        ValueError: different counts.
    """
    angles = [np.asarray(a, np.float64) for a in (predicted.pitch, predicted.yaw, predicted.roll)]
    angles = np.stack(angles, axis=1)  # (M, 3)
    truth_deg = np.asarray(truth_deg, np.float64)
    if angles.shape != truth_deg.shape:
        raise ValueError(f"prediction {angles.shape} and truth {truth_deg.shape} differ in shape")
    return angles - truth_deg


def summarise_pose(errors_deg: np.ndarray) -> dict[str, float]:
    """Means of absolute (M, 3) pitch, yaw, roll errors, their `mean`, and the count of `images`."""
    pitch, yaw, roll = np.abs(errors_deg).mean(axis=0).tolist()
    mean = (yaw + pitch + roll) / 3
    return {"yaw": yaw, "pitch": pitch, "roll": roll, "mean": mean, "images": len(errors_deg)}


def wrap_degrees(angles_deg: np.ndarray) -> np.ndarray:
    """Angles of any shape moved by whole turns into [-180, 180)."""
    return (np.asarray(angles_deg, np.float64) + 180) % 360 - 180


def rotation_errors(predicted: Tensor, truth_deg: np.ndarray) -> np.ndarray:
    """Geodesic distance on SO(3): the angle that turns one head into the other, (M,) degrees.

    Unlike differences of Euler angles it does not depend on their order and has no poles.

    Args:
        predicted: (M, 3, 3) rotations; what is not orthonormal is projected onto SO(3).
        truth_deg: (M, 3) pitch, yaw, roll.
    """
    pitch, yaw, roll = torch.as_tensor(np.asarray(truth_deg, np.float64)).unbind(dim=1)
    truth = compose_rotation(Pose(yaw, pitch, roll))  # (M, 3, 3)
    difference = nearest_rotation(predicted.double().cpu()).mT @ truth
    # |A - A^T| / sqrt(8) is the sine of the angle: exact near 0, where the trace's cosine is not
    sine = torch.linalg.matrix_norm(difference - difference.mT) / 8**0.5
    cosine = (difference.diagonal(dim1=1, dim2=2).sum(dim=1) - 1) / 2
    return torch.atan2(sine, cosine).rad2deg().numpy()


def face_errors(pred: Tensor, truth: Tensor, basis: Tensor) -> np.ndarray:
    """Root mean square distance between two faces of one linear model, (N,) millimetres.

    Args:
        pred, truth: (N, K) real parameters of shape, or of expression; or `pred` (K,), one for
            all. Not modified.
        basis: (3V, K) micrometres.
    """
    basis = basis.double().cpu()
    gram = basis.T @ basis * 3 / len(basis)  # (K, K): sum of squares over V vertices
    difference = pred.double().cpu() - truth.double().cpu()
    return ((difference @ gram) * difference).sum(dim=1).clamp(min=0).sqrt().numpy() / 1000


def format_pose_mae(mae: dict[str, float]) -> str:
    """The pose block as the published system prints it, two lines."""
    return "Face orientation estimation:\n" + format_angles("Mean MAE", mae)


def format_angles(title: str, mae: dict[str, float]) -> str:
    """One line of a `summarise_pose`: its mean, then the angles."""
    return (
        f"{title} = {mae['mean']:.3f} (in deg), [yaw,pitch,roll] = "
        f"[{mae['yaw']:.3f}, {mae['pitch']:.3f}, {mae['roll']:.3f}]"
    )
