"""One self-contained page on a benchmark: light and dark, phone and desktop, nothing to download.

`benchmark.py` writes it to results/report.html. The page is templates/report.html with
templates/report.css; here is what it shows. It has no scripts; charts are inline SVG, photographs
data URIs.
"""

from __future__ import annotations

import base64
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import cv2
import jinja2
import numpy as np

from synergynet.geometry.crop import photo_to_crop
from synergynet.geometry.parameters import IMG_SIZE
from utils.data.evaluation_crops import CROPS, EvaluationCrops, EvaluationLabels
from utils.data.loader import read_crop
from utils.evaluation import charts, metrics
from utils.evaluation.corrupt import Robustness
from utils.evaluation.sources import Prediction
from utils.evaluation.summary import Entry

N_GALLERY = 6  # images in each of the best, median and worst
JPEG_QUALITY = 90
FULL_HEAT = 3.0  # times the undamaged error: full colour in the table of robustness

AXES = {"yaw": 1, "pitch": 0, "roll": 2}  # columns of pose labels
PITCH_ROLL = {"pitch": 0, "roll": 2}


class Column(NamedTuple):
    """A column of the table: its title and group, entry and field of a result, digits shown."""

    title: str
    group: str
    entry: str
    field: str
    digits: int


LANDMARKS, POSE, FACE = "landmarks: NME, %", "head pose, degrees", "face"
COLUMNS = (
    Column("0-30", LANDMARKS, "nme", "0-30", 3),
    Column("30-60", LANDMARKS, "nme", "30-60", 3),
    Column("60-90", LANDMARKS, "nme", "60-90", 3),
    Column("mean of bins", LANDMARKS, "nme", "mean", 3),
    Column("image mean", LANDMARKS, "nme", "image_mean", 3),
    Column("re-annotated", LANDMARKS, "nme_reannotated", "mean", 3),
    Column("3D", LANDMARKS, "nme_3d", "mean", 3),
    Column("AFLW, 21", LANDMARKS, "nme_aflw", "mean", 3),
    Column("yaw", POSE, "pose_mae_exact", "yaw", 2),
    Column("pitch", POSE, "pose_mae_exact", "pitch", 2),
    Column("roll", POSE, "pose_mae_exact", "roll", 2),
    Column("MAE, exact", POSE, "pose_mae_exact", "mean", 2),
    Column("MAE, published", POSE, "pose_mae", "mean", 2),
    Column("MAE, all", POSE, "pose_mae_all", "mean", 2),
    Column("geodesic", POSE, "rotation", "mean", 2),
    Column("shape, mm", FACE, "shape_mm", "mean", 2),
    Column("of the average face", FACE, "shape_mm", "average_face", 2),
    Column("expression, mm", FACE, "expression_mm", "mean", 2),
    Column("of the average face", FACE, "expression_mm", "average_face", 2),
)


def build_report(
    entries: Sequence[Entry],
    pairs: Sequence[dict[str, Any]],
    crops: EvaluationCrops,
    robustness: Sequence[Robustness],
    provenance: dict[str, str],
) -> str:
    """The page's HTML.

    Args:
        entries: the models, the first one in the galleries.
        pairs: what `summary.compare` said of two of them, with their names `first` and `second`.
        crops: the test set.
        robustness: of models whose images were damaged; may be empty.
        provenance: versions, hashes, command, by title.
    """
    first, labels = entries[0], crops.labels
    return (
        _templates()
        .get_template("report.html")
        .render(
            images=len(crops),
            first=first,
            entries=entries,
            models=[Model(entry.name, charts.colour(i)) for i, entry in enumerate(entries)],
            table=_table(entries),
            differences=_differences(pairs),
            landmark_charts=_landmark_charts(entries, labels),
            pose_charts=_pose_charts(entries, labels),
            heat_maps={table.name: _heat_map(table) for table in robustness},
            gallery=_gallery(entries, crops),
            crop_size=IMG_SIZE,
            bin_images=first.result["nme"]["bin_images"] if first.result["nme"] else {},
            pose_labels=0 if labels.pose_rows is None else len(labels.pose_rows),
            provenance=provenance,
        )
    )


@functools.cache
def _templates() -> jinja2.Environment:
    """The templates beside this file. All that they print is escaped, but for what charts draw; a
    name that nobody gave is an error."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("utils.evaluation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["interval"] = _interval
    return environment


def _interval(bounds: tuple[float, float], digits: int, sign: str = "") -> str:
    """Two numbers as `1.23 to 4.56`; sign `+` also marks positive ones."""
    return " to ".join(f"{bound:{sign}.{digits}f}" for bound in bounds)


# ---------------------------------------------------------------- numbers


class Model(NamedTuple):
    """A model as tables and charts name it: `colour` is a CSS class."""

    name: str
    colour: str


class Cell(NamedTuple):
    """A number of the table, as text; `is_best` among several models'."""

    text: str
    is_best: bool


class Table(NamedTuple):
    """All models and protocols: columns of a group by its title, titles of columns, and each
    model's cells."""

    groups: dict[str, int]
    titles: list[str]
    rows: list[tuple[Model, list[Cell]]]


def _table(entries: Sequence[Entry]) -> Table:
    """The results; columns in which no model has a number are left out."""
    shown = [column for column in COLUMNS if any(e.result[column.entry] for e in entries)]
    groups = {title: sum(c.group == title for c in shown) for title in (LANDMARKS, POSE, FACE)}
    best = [min(_number(entry, column) for entry in entries) for column in shown]
    rows = []
    for index, entry in enumerate(entries):
        cells = []
        for column, lowest in zip(shown, best, strict=True):
            value = _number(entry, column)
            text = "-" if math.isinf(value) else f"{value:.{column.digits}f}"
            cells.append(Cell(text, len(entries) > 1 and value == lowest))
        rows.append((Model(entry.name, charts.colour(index)), cells))
    present = {title: count for title, count in groups.items() if count}
    return Table(present, [column.title for column in shown], rows)


def _number(entry: Entry, column: Column) -> float:
    """A number of a result; infinite where there is none."""
    value = entry.result[column.entry] and entry.result[column.entry][column.field]
    return math.inf if value is None else value


def _differences(pairs: Sequence[dict[str, Any]]) -> list[tuple[str, str, dict[str, Any]]]:
    """Both models' names, what was compared, and the paired test; rows of a table."""
    figures = {"nme": "NME, %", "pose_mae_exact": "exact MAE, degrees"}
    return [
        (f"{pair['first']} - {pair['second']}", title, pair[key])
        for pair in pairs
        for key, title in figures.items()
        if pair[key]
    ]


def _heat_map(table: Robustness) -> dict[str, Any]:
    """Levels, and by damage the NME at each of them with its colour, 0 to 100: how far the error
    is from the undamaged test set's to FULL_HEAT times that."""
    heat = 100 * np.clip((table.nme / table.nme[:, :1] - 1) / (FULL_HEAT - 1), 0, 1)
    rows = {
        damage: list(zip(*row, strict=True))
        for damage, *row in zip(table.damages, table.nme, heat, strict=True)
    }
    return {"levels": table.levels, "rows": rows}


# ---------------------------------------------------------------- charts


def _landmark_charts(entries: Sequence[Entry], labels: EvaluationLabels) -> dict[str, str]:
    """SVG by caption; empty where no model has landmarks."""
    errors = _each(entries, "nme", lambda nme: 100 * nme)
    by_landmark = _each(entries, "landmarks", lambda nme: 100 * nme)
    first = _first_with_landmarks(entries)
    if first is None:
        return {}
    bins = metrics.yaw_bins(labels.yaw_deg)
    names = [label.replace(" ", "") for label in metrics.BIN_LABELS.values()]
    return {
        "Cumulative error": charts.cumulative_error(errors),
        "Distribution by yaw": charts.violins(errors, bins, names),
        f"Error of each landmark, {first.name}": charts.landmark_face(
            first.mean_face, by_landmark[first.name]
        ),
        "Error by part of the face": charts.landmark_bars(by_landmark),
    }


def _pose_charts(entries: Sequence[Entry], labels: EvaluationLabels) -> dict[str, str]:
    """Landmark error by each angle, then each angle's own error: SVG by caption."""
    rows, figures = labels.pose_rows, {}
    angles = {"yaw": (slice(None), labels.yaw_deg)}
    if labelled := rows is not None and len(rows) > 0:
        angles |= {name: (rows, labels.pose_deg[:, axis]) for name, axis in PITCH_ROLL.items()}
    if _first_with_landmarks(entries) is not None:
        for name, (chosen, angle) in angles.items():
            nme = _each(entries, "nme", lambda errors, chosen=chosen: 100 * errors[chosen])
            figures[f"Landmarks by {name}"] = charts.error_against_angle(
                nme, angle, f"{name} (degrees)", "NME (%)"
            )
    if labelled and any(e.errors.exact is not None for e in entries):
        for name, axis in AXES.items():
            exact = _each(entries, "exact", lambda errors, axis=axis: np.abs(errors[rows, axis]))
            figures[f"Error of {name}"] = charts.error_against_angle(
                exact, labels.pose_deg[:, axis], f"{name} (degrees)", f"{name} error (degrees)"
            )
    return figures


def _first_with_landmarks(entries: Sequence[Entry]) -> Entry | None:
    return next((entry for entry in entries if entry.errors.nme is not None), None)


def _each(
    entries: Sequence[Entry], name: str, change: Callable[[np.ndarray], np.ndarray]
) -> dict[str, np.ndarray | None]:
    """A field of `ImageErrors`, changed, by model; None where it has none, for `charts.series`."""
    errors = {entry.name: getattr(entry.errors, name) for entry in entries}
    return {model: None if e is None else change(e) for model, e in errors.items()}


# ---------------------------------------------------------------- photographs


class Photograph(NamedTuple):
    """A crop with its landmarks, as SVG path data in crop px.

    Attributes:
        name: of its file.
        jpeg: base64.
        label_path, prediction_path: true and predicted landmarks.
        nme: fraction; yaw_deg: of the label.
    """

    name: str
    jpeg: str
    label_path: str
    prediction_path: str
    nme: float
    yaw_deg: float


def _gallery(entries: Sequence[Entry], crops: EvaluationCrops) -> dict[str, Any] | None:
    """Best, median and worst photographs of the first model that has landmarks."""
    entry = _first_with_landmarks(entries)
    if entry is None:
        return None
    order = np.argsort(entry.errors.nme, kind="stable")
    count = min(N_GALLERY, len(order))
    middle = (len(order) - count) // 2
    chosen = {
        "best": order[:count],
        "median": order[middle : middle + count],
        "worst": order[::-1][:count],
    }
    rows = {}
    for title, indices in chosen.items():
        singles = (one for batch in entry.source.predict(indices) for one in batch.split())
        rows[title] = [
            _photograph(crops, int(index), prediction, entry.errors.nme[index])
            for index, prediction in zip(indices, singles, strict=True)
        ]
    return {"model": entry.name, "rows": rows}


def _photograph(
    crops: EvaluationCrops, index: int, prediction: Prediction, nme: float
) -> Photograph:
    name, box = crops.names[index], crops.labels.roi_box[index]
    _, data = cv2.imencode(
        ".jpg", read_crop(crops.folder / CROPS / name), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    label_path, prediction_path = (
        charts.face_path(photo_to_crop(landmarks, box)[:2])
        for landmarks in (crops.labels.landmarks[index], prediction.landmarks[0])
    )
    return Photograph(
        name=name,
        jpeg=base64.b64encode(data.tobytes()).decode(),
        label_path=label_path,
        prediction_path=prediction_path,
        nme=nme,
        yaw_deg=crops.labels.yaw_deg[index],
    )
