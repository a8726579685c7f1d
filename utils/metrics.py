"""Scores of AFLW2000-3D: landmark error by yaw, and head pose error; and how they are printed.

Source: 3DDFA's evaluation, which SynergyNet, section 4.1, and others report.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from utils.pose import Pose

# |yaw| in (low, high], but 0 belongs to the first; the last is printed as "60, 90"
YAW_BINS_DEG = {"0-30": (0, 30), "30-60": (30, 60), "60-90": (60, np.inf)}
BIN_LABELS = {"0-30": "[ 0, 30]", "30-60": "[30, 60]", "60-90": "[60, 90]"}


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
    pred = np.asarray(pred, np.float64)[:, :2]
    truth = np.asarray(truth, np.float64)[:, :2]
    if pred.shape != truth.shape:
        raise ValueError(f"prediction {pred.shape} and truth {truth.shape} differ in shape")
    size = np.ptp(truth, axis=2)  # (N, 2) width, height
    distance = np.linalg.norm(pred - truth, axis=1)  # (N, 68) px
    return distance.mean(axis=1) / np.sqrt(size.prod(axis=1))


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
    yaw_deg = np.abs(np.asarray(yaw_deg, np.float64))
    if percent.shape != yaw_deg.shape or percent.size == 0:
        raise ValueError(f"{percent.shape} errors and {yaw_deg.shape} yaw angles")
    bins = {
        name: percent[(yaw_deg <= high) & ((yaw_deg > low) | (low == 0))]
        for name, (low, high) in YAW_BINS_DEG.items()
    }
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


def pose_mae(predicted: Pose, truth_deg: np.ndarray) -> dict[str, float]:
    """Mean absolute error of head pose in degrees; differences are not unwrapped.

    Args:
        predicted: angles (M,) in degrees.
        truth_deg: (M, 3) pitch, yaw, roll as in AFLW2000's 3ANG arrays.
    Returns:
        yaw, pitch, roll, their `mean`, and the count of `images`.
    Raises:
        ValueError: different counts.
    """
    angles = [np.asarray(a, np.float64) for a in (predicted.pitch, predicted.yaw, predicted.roll)]
    angles = np.stack(angles, axis=1)  # (M, 3)
    truth_deg = np.asarray(truth_deg, np.float64)
    if angles.shape != truth_deg.shape:
        raise ValueError(f"prediction {angles.shape} and truth {truth_deg.shape} differ in shape")
    pitch, yaw, roll = np.abs(angles - truth_deg).mean(0).tolist()
    mean = (yaw + pitch + roll) / 3
    return {"yaw": yaw, "pitch": pitch, "roll": roll, "mean": mean, "images": len(angles)}


def format_pose_mae(mae: dict[str, float]) -> str:
    """The pose block as the published system prints it, two lines."""
    return "Face orientation estimation:\n" + format_angles("Mean MAE", mae)


def format_angles(title: str, mae: dict[str, float]) -> str:
    """One line of a `pose_mae`: its mean, then the angles."""
    return (
        f"{title} = {mae['mean']:.3f} (in deg), [yaw,pitch,roll] = "
        f"[{mae['yaw']:.3f}, {mae['pitch']:.3f}, {mae['roll']:.3f}]"
    )
