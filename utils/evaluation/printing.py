"""A benchmark in words: the published blocks to the letter, and what is beyond them."""

from __future__ import annotations

from typing import Any

from utils.evaluation import metrics
from utils.evaluation.summary import Entry

SIGNIFICANT = 0.05
COLUMNS = {
    "NME": ("nme", "mean"),
    "by image": ("nme", "image_mean"),
    "re-annot.": ("nme_reannotated", "mean"),
    "3D": ("nme_3d", "mean"),
    "MAE": ("pose_mae", "mean"),
    "exact": ("pose_mae_exact", "mean"),
    "all": ("pose_mae_all", "mean"),
    "geodesic": ("rotation", "mean"),
}


def format_report(result: dict[str, Any]) -> str:
    """The published blocks to the letter, then what they leave out."""
    lines = [metrics.format_nme(result["nme"])] if result["nme"] else []
    if result["pose_mae"]:
        lines.append(metrics.format_pose_mae(result["pose_mae"]))
    if result["drawn"]:
        lines.append(f"(The heading is the published one: {result['data']} holds drawn faces.)")
    lines.append("\nBeyond the published report:")
    if exact := result["pose_mae_exact"]:
        lines.append(metrics.format_angles("Mean MAE, exact decoding", exact))
    every = result["pose_mae_all"]
    if every and every["images"] != (exact or {}).get("images"):
        title = f"Mean MAE, exact decoding, all {every['images']} labels"
        lines.append(metrics.format_angles(title, every))
    for key, title, unit in (
        ("rotation", "Rotation error, geodesic", "degrees"),
        ("shape_mm", "Shape error, RMS over vertices", "mm"),
        ("expression_mm", "Expression error, RMS over vertices", "mm"),
    ):
        if entry := result[key]:
            interval = _interval(entry["mean_95"])
            line = f"{title}: {entry['mean']:.3f} {unit} {interval}"
            if "average_face" in entry:
                line += f"; the average face for everybody: {entry['average_face']:.3f}"
            lines.append(line)
    for key, title in (
        ("nme", "NME"),
        ("nme_reannotated", "NME, re-annotated labels"),
        ("nme_3d", "NME in 3D"),
        ("nme_aflw", "NME on AFLW, 21 points"),
    ):
        if entry := result[key]:
            bins = ", ".join(
                f"{label} {metrics.as_number(entry[name]):.3f}"
                for name, label in metrics.BIN_LABELS.items()
            )
            lines.append(
                f"{title}: {bins}, mean {entry['mean']:.3f} {_interval(entry['mean_95'])}, "
                f"over images {entry['image_mean']:.3f} {_interval(entry['image_mean_95'])}"
            )
    if result["device"]:
        lines.append(
            f"{result['images']} images in {result['seconds']:.2f} s on {result['device']}: "
            f"{result['images_per_second']:.0f} images/s, files to errors"
        )
    return "\n".join(lines)


def _interval(bounds: tuple[float, float]) -> str:
    return f"(95 %: {bounds[0]:.3f} to {bounds[1]:.3f})"


def format_comparison(entries: list[Entry], pairs: list[dict[str, Any]]) -> str:
    """One line a model, then one line a pair: the difference and whether it may be chance."""
    width = max(len(entry.name) for entry in entries)
    lines = ["\nComparison (landmarks in percent, angles in degrees):"]
    lines.append(" " * width + "".join(f"{title:>11}" for title in COLUMNS))
    for entry in entries:
        cells = [entry.result[key] and entry.result[key][field] for key, field in COLUMNS.values()]
        numbers = "".join("          -" if cell is None else f"{cell:11.3f}" for cell in cells)
        lines.append(f"{entry.name:<{width}}{numbers}")
    for pair in pairs:
        for key, title, unit in (("nme", "NME", "%"), ("pose_mae_exact", "exact MAE", "degrees")):
            if test := pair[key]:
                low, high = test["difference_95"]
                verdict = "" if test["p_value"] < SIGNIFICANT else ", may be chance"
                lines.append(
                    f"{pair['first']} - {pair['second']}, {title}: "
                    f"{test['difference']:+.3f} {unit} "
                    f"(95 %: {low:+.3f} to {high:+.3f}; paired p = {test['p_value']:.4f}{verdict})"
                )
    return "\n".join(lines)
