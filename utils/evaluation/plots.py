"""The two error plots of a benchmark, as (H, W, 3) uint8 BGR pictures; callers write them."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def cumulative_error_plot(errors: dict[str, np.ndarray], title: str) -> np.ndarray:
    """Cumulative error distribution: share of images below an error.

    Args:
        errors: (N,) NME in percent by curve name.
        title: over the plot.
    """
    limit = max(10.0, *(float(np.percentile(values, 98)) for values in errors.values()))
    figure, axes = _figure(title, "NME (%)", "images below this error (%)")
    for name, values in errors.items():
        x = np.concatenate([[0], np.sort(values), [max(limit, values.max())]])
        y = np.concatenate([[0], np.arange(1, len(values) + 1), [len(values)]]) / len(values)
        label = f"{name}: median {np.median(values):.2f} %"
        if beyond := int((values > limit).sum()):
            label += f", {beyond} beyond the edge, up to {values.max():.0f} %"
        axes.step(x, 100 * y, where="post", label=label)
    axes.set_xlim(0, limit)
    axes.set_ylim(0, 100)
    axes.legend(loc="lower right", frameon=False)
    return _to_image(figure)


def error_against_yaw_plot(error: np.ndarray, yaw_deg: np.ndarray, title: str) -> np.ndarray:
    """NME of each image against its yaw, with the running median and the yaw bins.

    Args:
        error: (N,) NME in percent.
        yaw_deg: (N,).
        title: over the plot.
    """
    figure, axes = _figure(title, "yaw (degrees)", "NME (%)")
    inside = np.abs(yaw_deg) <= 90
    limit = max(10.0, 1.15 * float(np.percentile(error, 99)))
    axes.scatter(yaw_deg[inside], error[inside], s=9, alpha=0.35, linewidths=0)
    above = inside & (error > limit)
    if above.any():
        label = f"{above.sum()} above the edge, up to {error[above].max():.0f} %"
        at_edge = np.full(above.sum(), 0.985 * limit)
        axes.scatter(yaw_deg[above], at_edge, s=30, marker="^", color="tab:orange", label=label)
    edges = np.arange(-90, 91, 15)
    centres, medians = [], []
    for low, high in itertools.pairwise(edges):
        chosen = error[inside & (yaw_deg >= low) & (yaw_deg < high)]
        if len(chosen):
            centres.append((low + high) / 2)
            medians.append(np.median(chosen))
    axes.plot(centres, medians, "o-", color="tab:red", label="median of 15 degrees")
    for edge in (-60, -30, 30, 60):
        axes.axvline(edge, color="0.8", linewidth=1, zorder=0)
    axes.set_xlim(-92, 92)
    axes.set_xticks(range(-90, 91, 30))
    axes.set_ylim(0, limit)
    axes.legend(loc="upper center", frameon=False)
    return _to_image(figure)


def _figure(title: str, x_label: str, y_label: str) -> tuple[Figure, object]:
    # figures made without pyplot leave no global state behind
    figure = Figure(figsize=(7, 4.5), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    axes.set(title=title, xlabel=x_label, ylabel=y_label)
    axes.grid(color="0.92")
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _to_image(figure: Figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return cv2.cvtColor(np.asarray(canvas.buffer_rgba()), cv2.COLOR_RGBA2BGR)
