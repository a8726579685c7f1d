"""Means of image errors, how certain they are, and whether two models differ.

Source: SynergyNet, section 4.1; what is beyond it is named in `summarise`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from utils.data.evaluation_crops import EvaluationLabels
from utils.evaluation import intervals, metrics
from utils.evaluation.errors import ImageErrors
from utils.evaluation.sources import FileSource, NetworkSource


def summarise(errors: ImageErrors, labels: EvaluationLabels) -> dict[str, Any]:
    """What a report says of a model; an entry whose labels are absent is None.

    Landmark errors are in percent, each entry with `mean_95` and `image_mean_95`, bootstrap
    intervals of the mean of bin means and of the image mean. Pose errors are in degrees, with
    `mean_95`. `pose_mae` and `pose_mae_exact` are of the images that the published protocol keeps;
    `pose_mae_all` (exact decoding, differences unwrapped) and `rotation` (geodesic) of all that
    have a label. `shape_mm` and `expression_mm` have `average_face`, the mean error of the average
    face for everybody: what is not below it has not been seen.
    """
    yaw_deg, kept = labels.yaw_deg, labels.pose_rows
    result: dict[str, Any] = {
        "images": len(yaw_deg),
        "nme": nme_with_intervals(errors.nme, yaw_deg),
        "nme_reannotated": nme_with_intervals(errors.nme_reannotated, yaw_deg),
        "nme_3d": nme_with_intervals(errors.nme_3d, yaw_deg),
        "pose_mae": _pose(errors.published, kept),
        "pose_mae_exact": _pose(errors.exact, kept),
        "pose_mae_all": None,
        "rotation": None,
        "shape_mm": _beside_average(errors.shape_mm, errors.shape_average_mm),
        "expression_mm": _beside_average(errors.expression_mm, errors.expression_average_mm),
    }
    if errors.exact is not None:
        has_label = np.isfinite(errors.rotation_deg).nonzero()[0]
        result["pose_mae_all"] = _pose(metrics.wrap_degrees(errors.exact), has_label)
        result["rotation"] = _mean(errors.rotation_deg[has_label])
    return result


def nme_with_intervals(nme: np.ndarray | None, yaw_deg: np.ndarray) -> dict[str, Any] | None:
    """`metrics.summarise_nme` of (N,) fractions with `mean_95` and `image_mean_95`."""
    if nme is None:
        return None
    bins = metrics.yaw_bins(yaw_deg)
    return metrics.summarise_nme(nme, yaw_deg) | {
        "mean_95": intervals.bootstrap_interval(100 * nme, bins),
        "image_mean_95": intervals.bootstrap_interval(100 * nme),
    }


def _pose(errors_deg: np.ndarray | None, rows: np.ndarray | None) -> dict[str, Any] | None:
    if errors_deg is None or rows is None or len(rows) == 0:
        return None
    chosen = errors_deg[rows]
    interval = intervals.bootstrap_interval(np.abs(chosen).mean(axis=1))
    return metrics.summarise_pose(chosen) | {"mean_95": interval}


def _mean(values: np.ndarray | None) -> dict[str, Any] | None:
    if values is None or len(values) == 0:
        return None
    return {
        "mean": float(values.mean()),
        "median": float(np.median(values)),
        "mean_95": intervals.bootstrap_interval(values),
        "images": len(values),
    }


def _beside_average(values: np.ndarray | None, average: np.ndarray | None) -> dict[str, Any] | None:
    result = _mean(values)
    return result and result | {"average_face": float(average.mean())}


# ---------------------------------------------------------------- several models


@dataclasses.dataclass(frozen=True)
class Entry:
    """One row of a comparison.

    Attributes:
        name: what tables call the model.
        source: what it predicts.
        errors: image by image.
        result: the content of results/benchmark.json.
        mean_face: (3, 68) micrometres, y up, of its face model, or of the default one.
    """

    name: str
    source: NetworkSource | FileSource
    errors: ImageErrors
    result: dict[str, Any]
    mean_face: np.ndarray


def compare(first: ImageErrors, second: ImageErrors, labels: EvaluationLabels) -> dict[str, Any]:
    """Paired test of two models: difference first - second of the headlines, its 95 % interval, p.

    Returns:
        `nme` (mean of bin means, percent) and `pose_mae_exact` (degrees), each with `difference`,
        `difference_95` and `p_value`; None where one of the two has no such error.
    """
    bins = metrics.yaw_bins(labels.yaw_deg)
    result: dict[str, Any] = {"nme": None, "pose_mae_exact": None}
    if first.nme is not None and second.nme is not None:
        result["nme"] = _paired(100 * first.nme, 100 * second.nme, bins)
    rows = labels.pose_rows
    if first.exact is not None and second.exact is not None and rows is not None and len(rows):
        angles = (np.abs(errors.exact[rows]).mean(axis=1) for errors in (first, second))
        result["pose_mae_exact"] = _paired(*angles, None)
    return result


def _paired(first: np.ndarray, second: np.ndarray, groups: np.ndarray | None) -> dict[str, Any]:
    return {
        "difference": intervals.mean_of_groups(first - second, groups),
        "difference_95": intervals.bootstrap_interval(first - second, groups),
        "p_value": intervals.paired_p_value(first, second, groups),
    }
