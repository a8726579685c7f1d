"""Charts as SVG text for pages: colours are CSS classes, so that a page's theme decides them.

Classes: `series-0` ... `series-5` colour a model (stroke and fill through `currentColor`), `grid`,
`axis`, `label` the frame. Everything returns one `<svg>` element that scales with its container.
"""

from __future__ import annotations

import dataclasses
import html
import itertools
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from synergynet.drawing.lines import FACE_PARTS

Values = TypeVar("Values")

WIDTH, HEIGHT = 480, 310
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 12, 44  # margins for labels
N_COLOURS = 6
CURVE_POINTS = 200
VIOLIN_POINTS = 60
N_NAMED = 5  # landmarks whose error stands in their disc
LEAST_ERROR = 1e-6  # percent: of perfect landmarks the largest one is 0


@dataclasses.dataclass(frozen=True)
class Axes:
    """Linear axes of a chart: data to SVG coordinates.

    Attributes:
        x_range, y_range: lowest and highest value shown; a y axis that has no length, as errors
            of perfect landmarks give it, becomes 1 long.
    """

    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def __post_init__(self) -> None:
        low, high = self.y_range
        if high == low:
            object.__setattr__(self, "y_range", (low, low + 1.0))

    def x(self, value: np.ndarray | float) -> np.ndarray | float:
        """SVG x of a value."""
        low, high = self.x_range
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(self, value: np.ndarray | float) -> np.ndarray | float:
        """SVG y of a value; values grow upwards."""
        low, high = self.y_range
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def path(self, xs: np.ndarray, ys: np.ndarray) -> str:
        """Path data of a polyline through data points."""
        points = zip(self.x(np.asarray(xs, float)), self.y(np.asarray(ys, float)), strict=True)
        return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points)

    def frame(
        self, x_label: str, y_label: str, x_ticks: Sequence[float] | None = None
    ) -> list[str]:
        """Grid lines, tick labels and titles of both axes; an empty title is left out."""
        parts = []
        bottom = HEIGHT - BOTTOM
        for value in ticks(*self.y_range):
            y = self.y(value)
            parts.append(mark("path", "grid", d=f"M{LEFT},{y:.1f}H{WIDTH - RIGHT}"))
            parts.append(text(LEFT - 6, y + 4, f"{value:g}", "end"))
        for value in ticks(*self.x_range) if x_ticks is None else x_ticks:
            x = self.x(value)
            parts.append(mark("path", "grid", d=f"M{x:.1f},{TOP}V{bottom}"))
            parts.append(text(x, bottom + 16, f"{value:g}"))
        parts.append(mark("path", "axis", d=f"M{LEFT},{bottom}H{WIDTH - RIGHT}"))
        if x_label:
            parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x_label))
        middle = (TOP + bottom) / 2
        parts.append(
            f'<text class="label" text-anchor="middle" '
            f'transform="translate(13,{middle:.1f}) rotate(-90)">{html.escape(y_label)}</text>'
        )
        return parts


def ticks(low: float, high: float, count: int = 6) -> list[float]:
    """Round numbers, about `count` of them, from `low` to `high`."""
    step = 10.0 ** np.floor(np.log10((high - low) / count))
    step *= next(m for m in (1, 2, 5, 10) if (high - low) / (m * step) <= count)
    values = np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1) * step
    return [float(f"{value:.10g}") + 0.0 for value in values]  # no -0


def text(x: float, y: float, content: str, anchor: str = "middle", css: str = "label") -> str:
    """One line of text."""
    return (
        f'<text class="{css}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
        f"{html.escape(content)}</text>"
    )


def colour(index: int) -> str:
    """CSS class of a model's colour."""
    return f"series-{index % N_COLOURS}"


def series(values: dict[str, Values | None]) -> list[tuple[str, str, Values]]:
    """Name, colour class and values of the models that have values; colours count all models."""
    named = enumerate(values.items())
    return [(name, colour(i), value) for i, (name, value) in named if value is not None]


def mark(tag: str, css: str, tooltip: str = "", **attributes: str | float) -> str:
    """One SVG element of CSS class `css`; numbers are rounded to a tenth."""
    values = (
        f' {name}="{value:.1f}"' if isinstance(value, float) else f' {name}="{value}"'
        for name, value in attributes.items()
    )
    title = f"<title>{html.escape(tooltip)}</title>" if tooltip else ""
    return f'<{tag} class="{css}"{"".join(values)}>{title}</{tag}>'


def svg(parts: list[str], title: str, width: float = WIDTH, height: float = HEIGHT) -> str:
    """An SVG element of the parts; `title` is what screen readers say."""
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{html.escape(title)}">'
        + "".join(parts)
        + "</svg>"
    )


# ---------------------------------------------------------------- charts


def cumulative_error(errors: dict[str, np.ndarray | None]) -> str:
    """Share of images below an error, one curve a model.

    Args:
        errors: (N,) NME in percent by model, or None.
    """
    curves = series(errors)
    limit = max(8.0, *(float(np.percentile(values, 97)) for *_, values in curves))
    axes = Axes((0, limit), (0, 100))
    parts = axes.frame("NME (%)", "images below this error (%)")
    for name, css, values in curves:
        share = np.linspace(0, 100, CURVE_POINTS)
        at = np.percentile(values, share)
        inside = at <= limit
        line = axes.path(
            np.r_[0, at[inside], limit], np.r_[0, share[inside], (at <= limit).mean() * 100]
        )
        tooltip = f"{name}: median {np.median(values):.2f} %"
        parts.append(mark("path", f"line {css}", tooltip, d=line))
    if notes := [_beyond(values, limit) for *_, values in curves if values.max() > limit]:
        note = f"beyond the edge: {'; '.join(notes)}"
        parts.append(text(WIDTH - RIGHT - 4, HEIGHT - BOTTOM - 8, note, "end"))
    return svg(parts, "cumulative error distribution")


def _beyond(values: np.ndarray, limit: float) -> str:
    """How many values (N,) a chart that ends at a limit does not show, and the largest."""
    return f"{(values > limit).sum()}, up to {values.max():.0f} %"


def error_against_angle(
    errors: dict[str, np.ndarray | None], angles_deg: np.ndarray, x_label: str, y_label: str
) -> str:
    """Running median of an error by angle, with the middle half of the first model's images.

    Args:
        errors: (N,) by model, or None.
        angles_deg: (N,).
        x_label, y_label: titles of the axes.
    """
    limit = float(np.clip(np.ceil(np.percentile(np.abs(angles_deg), 99) / 15) * 15, 15, 90))
    edges = np.arange(-limit, limit + 1, 15 if limit > 45 else limit / 6)
    bins = np.digitize(angles_deg, edges) - 1  # outside: -1 or the last
    filled = [b for b in range(len(edges) - 1) if (bins == b).sum() >= 3]
    centres = np.array([(edges[b] + edges[b + 1]) / 2 for b in filled])
    curves = [
        (name, css, np.array([np.percentile(values[bins == b], [25, 50, 75]) for b in filled]))
        for name, css, values in series(errors)
    ]  # (bins, 3) each
    top = max((float(q.max()) for *_, q in curves if q.size), default=1.0)
    axes = Axes((-limit, limit), (0, 1.1 * top or 1.0))
    parts = axes.frame(x_label, y_label, np.linspace(-limit, limit, 7))
    for index, (name, css, quartiles) in enumerate(curves if filled else []):
        low, median, high = quartiles.T
        if index == 0:
            band = axes.path(np.r_[centres, centres[::-1]], np.r_[low, high[::-1]])
            parts.append(mark("path", f"band {css}", d=f"{band}Z"))
        parts.append(mark("path", f"line {css}", d=axes.path(centres, median)))
        for x, value in zip(centres, median, strict=True):
            tooltip = f"{name}: {value:.2f} at {x:g} degrees"
            place = {"cx": float(axes.x(x)), "cy": float(axes.y(value)), "r": 3}
            parts.append(mark("circle", f"dot {css}", tooltip, **place))
    return svg(parts, f"{y_label} against {x_label}")


def violins(errors: dict[str, np.ndarray | None], groups: np.ndarray, labels: Sequence[str]) -> str:
    """Distribution of an error in each group, models side by side, with median and quartiles.

    Args:
        errors: (N,) NME in percent by model, or None.
        groups: (N,) index into `labels`.
        labels: of the groups.
    """
    shapes = series(errors)
    limit = max(float(np.percentile(values, 99)) for *_, values in shapes) * 1.05
    axes = Axes((-0.5, len(labels) - 0.5), (0, limit))
    parts = axes.frame("|yaw| (degrees)", "NME (%)", ())
    width = 0.84 / len(shapes)
    for group, label in enumerate(labels):
        count = int((groups == group).sum())
        parts.append(text(axes.x(group), HEIGHT - BOTTOM + 16, f"{label} ({count})"))
        for index, (name, css, values) in enumerate(shapes):
            chosen = values[groups == group]
            if len(chosen) < 2:
                continue
            centre = group - 0.42 + width * (index + 0.5)
            low, median, high = np.percentile(chosen, [25, 50, 75])
            at = np.linspace(max(0, chosen.min()), min(chosen.max(), limit), VIOLIN_POINTS)
            half = 0.46 * width * _density(chosen, at)
            outline = axes.path(np.r_[centre - half, (centre + half)[::-1]], np.r_[at, at[::-1]])
            tooltip = f"{name}, {label}: median {median:.2f} %, half in {low:.2f} to {high:.2f} %"
            whisker = axes.path(np.full(2, centre), np.array([low, high]))
            place = {"cx": float(axes.x(centre)), "cy": float(axes.y(median)), "r": 3.5}
            parts.append(mark("path", f"violin {css}", tooltip, d=f"{outline}Z"))
            parts.append(mark("path", f"whisker {css}", d=whisker))
            if chosen.max() > limit:
                note = f"+{(chosen > limit).sum()}, to {chosen.max():.0f} %"
                parts.append(text(axes.x(centre), TOP + 8, note))
            parts.append(mark("circle", f"median {css}", **place))
    return svg(parts, "distribution of the landmark error by yaw")


def _density(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Gaussian kernel density with Silverman's width, scaled to a maximum of 1, from a histogram
    of the values, so that its cost does not grow with their count."""
    spread = min(values.std(), np.subtract(*np.percentile(values, [75, 25])) / 1.34) or values.std()
    counts, edges = np.histogram(values, bins=256)
    width = max(0.9 * spread * len(values) ** -0.2, edges[1] - edges[0])
    centres = (edges[:-1] + edges[1:]) / 2
    density = np.exp(-0.5 * ((at[:, None] - centres) / width) ** 2) @ counts
    return density / density.max()


def landmark_face(mean_face: np.ndarray, errors: np.ndarray) -> str:
    """Error of each landmark as discs on the mean face: their radius is the error.

    Args:
        mean_face: (2 or 3, 68) any unit, y up.
        errors: (68,) percent.
    """
    size = 420.0
    points = mean_face[:2] * np.array([[1], [-1]])
    low, high = points.min(axis=1, keepdims=True), points.max(axis=1, keepdims=True)
    scale = 0.8 * size / (high - low).max()
    points = (points - (low + high) / 2) * scale + size / 2  # (2, 68)
    worst = max(float(errors.max()), LEAST_ERROR)
    unit = 0.033 * size / worst
    parts = [mark("path", "outline", d=face_path(points))]
    for i, ((x, y), error) in enumerate(zip(points.T, errors, strict=True)):
        style = f"--heat:{100 * error / worst:.0f}%"
        place = {"cx": float(x), "cy": float(y), "r": float(2 + unit * error)}
        tooltip = f"landmark {i}: {error:.2f} %"
        parts.append(mark("circle", "heat", tooltip, style=style, **place))
    for i in np.argsort(errors)[-N_NAMED:]:
        parts.append(text(points[0, i], points[1, i] + 4, f"{errors[i]:.1f}", css="inside"))
    return svg(parts, "error of each landmark", size, size)


def landmark_bars(errors: dict[str, np.ndarray | None]) -> str:
    """Mean error of each part of the face, models side by side.

    Args:
        errors: (68,) percent by model, or None.
    """
    bars = [
        (name, css, [float(values[list(run)].mean()) for run, _ in FACE_PARTS.values()])
        for name, css, values in series(errors)
    ]
    top = 1.1 * max(itertools.chain.from_iterable(means for *_, means in bars))
    axes = Axes((-0.5, len(FACE_PARTS) - 0.5), (0, top))
    parts = axes.frame("", "error (%)", ())
    width = 0.8 / len(bars)
    base = float(axes.y(0))
    for at, part in enumerate(FACE_PARTS):
        first, *rest = part.split(" ")
        parts.append(text(axes.x(at), HEIGHT - BOTTOM + 12, first, css="label tight"))
        parts.append(text(axes.x(at), HEIGHT - BOTTOM + 23, " ".join(rest), css="label tight"))
        for index, (name, css, means) in enumerate(bars):
            y = float(axes.y(means[at]))
            place = {"x": float(axes.x(at - 0.4 + width * index)), "y": y}
            size = {"width": float(axes.x(width) - axes.x(0)) - 1, "height": base - y}
            tooltip = f"{name}, {part}: {means[at]:.2f} %"
            parts.append(mark("rect", f"bar {css}", tooltip, **place, **size))
    return svg(parts, "landmark error by part of the face")


def face_path(points: np.ndarray) -> str:
    """Path data of the lines that join 68 landmarks, part by part.

    Args:
        points: (2, 68) SVG coordinates.
    """
    lines = []
    for run, closed in FACE_PARTS.values():
        line = "L".join(f"{points[0, i]:.1f},{points[1, i]:.1f}" for i in run)
        lines.append(f"M{line}" + ("Z" if closed else ""))
    return "".join(lines)
