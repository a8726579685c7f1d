"""One self-contained page on a benchmark: light and dark, phone and desktop, nothing to download.

`benchmark.py` writes it to results/report.html. It has no scripts; charts are inline
SVG, photographs data URIs.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from synergynet.geometry.crop import photo_to_crop
from synergynet.geometry.parameters import IMG_SIZE
from utils.data.ddfa import CROPS, EvaluationCrops, EvaluationLabels, read_crop
from utils.evaluation import charts, metrics
from utils.evaluation.corrupt import Robustness
from utils.evaluation.evaluation import Entry, Prediction

N_GALLERY = 6  # images in each of the best, median and worst
JPEG_QUALITY = 90

AXES = {"yaw": 1, "pitch": 0, "roll": 2}  # columns of pose labels
PITCH_ROLL = {"pitch": 0, "roll": 2}

# columns of the table: title, entry and field of a result, digits
COLUMNS = (
    ("0-30", "nme", "0-30", 3),
    ("30-60", "nme", "30-60", 3),
    ("60-90", "nme", "60-90", 3),
    ("mean of bins", "nme", "mean", 3),
    ("image mean", "nme", "image_mean", 3),
    ("re-annotated", "nme_reannotated", "mean", 3),
    ("3D", "nme_3d", "mean", 3),
    ("AFLW, 21", "nme_aflw", "mean", 3),
    ("yaw", "pose_mae_exact", "yaw", 2),
    ("pitch", "pose_mae_exact", "pitch", 2),
    ("roll", "pose_mae_exact", "roll", 2),
    ("MAE, exact", "pose_mae_exact", "mean", 2),
    ("MAE, published", "pose_mae", "mean", 2),
    ("MAE, all", "pose_mae_all", "mean", 2),
    ("geodesic", "rotation", "mean", 2),
    ("shape, mm", "shape_mm", "mean", 2),
    ("expression, mm", "expression_mm", "mean", 2),
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
        pairs: what `evaluation.compare` said of two of them, with their names `first` and `second`.
        crops: the test set.
        robustness: of models whose images were damaged; may be empty.
        provenance: versions, hashes, command, by title.
    """
    labels = crops.labels
    sections = [
        ("Results", _table(entries) + _legend(entries)),
        ("Is the difference real?", _pairs(pairs)),
        ("Landmarks", _landmark_charts(entries, labels)),
        ("Errors by head pose", _pose_charts(entries, labels)),
        ("Robustness", _robustness(robustness)),
        ("Best, median, worst", _galleries(entries, crops)),
        ("The protocol in words", _protocol(entries[0].result, labels)),
        ("Where the numbers come from", _facts(provenance)),
    ]
    body = "".join(f"<section><h2>{title}</h2>{text}</section>" for title, text in sections if text)
    subtitle = f"{len(crops)} images of {html.escape(str(entries[0].result['data']))}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>3D face alignment: benchmark</title><style>{STYLE}</style></head><body><main>"
        f"<header><h1>3D face alignment</h1><p>{subtitle}</p>{_headline(entries[0])}</header>"
        f"{body}</main></body></html>\n"
    )


# ---------------------------------------------------------------- numbers


def _headline(entry: Entry) -> str:
    """The first model's figures, large."""
    cards = []
    for title, key, field, unit in (
        ("NME, mean of bins", "nme", "mean", "%"),
        ("Head pose, exact", "pose_mae_exact", "mean", "°"),
        ("Yaw", "pose_mae_exact", "yaw", "°"),
        ("Rotation, geodesic", "rotation", "mean", "°"),
    ):
        if part := entry.result[key]:
            interval = ""
            if field == "mean":
                low, high = part["mean_95"]
                interval = f"<small>95 %: {low:.2f} to {high:.2f}</small>"
            cards.append(
                f"<div><span>{title}</span><b>{part[field]:.2f}<i>{unit}</i></b>{interval}</div>"
            )
    return f'<div class="cards">{"".join(cards)}</div><p>{html.escape(entry.name)}</p>'


def _table(entries: Sequence[Entry]) -> str:
    """All models and protocols; the best number of a column is bold, columns without any absent."""
    shown = [c for c in COLUMNS if any(e.result[c[1]] for e in entries)]
    head = "".join(f"<th>{title}</th>" for title, *_ in shown)
    rows = []
    best = {title: min(_cell(e, key, field) for e in entries) for title, key, field, _ in shown}
    for index, entry in enumerate(entries):
        cells = []
        for title, key, field, digits in shown:
            value = _cell(entry, key, field)
            number = "-" if np.isinf(value) else f"{value:.{digits}f}"
            bold = len(entries) > 1 and value == best[title]
            cells.append(f"<td>{f'<b>{number}</b>' if bold else number}</td>")
        name = f'<i class="key {charts.colour(index)}"></i>{html.escape(entry.name)}'
        rows.append(f"<tr><th>{name}</th>{''.join(cells)}</tr>")
    count = {unit: sum(c[1].startswith(unit) for c in shown) for unit in ("nme", "pose", "rot")}
    groups = (
        f'<th></th><th colspan="{count["nme"]}">landmarks: NME, %</th>'
        if count["nme"]
        else "<th></th>"
    )
    angles = count["pose"] + count["rot"]
    groups += f'<th colspan="{angles}">head pose, degrees</th>' if angles else ""
    rest = len(shown) - count["nme"] - angles
    groups += f'<th colspan="{rest}">face</th>' if rest else ""
    return (
        f'<div class="scroll"><table><thead><tr>{groups}</tr><tr><th>model</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(entry: Entry, key: str, field: str) -> float:
    """A number of a result; infinite where there is none."""
    value = entry.result[key] and entry.result[key][field]
    return np.inf if value is None else value


def _legend(entries: Sequence[Entry]) -> str:
    parts = []
    for entry in entries:
        options = [name for name in ("flip", "refined") if entry.result.get(name)]
        facts = [str(entry.result.get("arch") or "predictions of a file")]
        facts += [{"flip": "flip-averaged", "refined": "refined landmarks"}[o] for o in options]
        if entry.result["nme"]:
            low, high = entry.result["nme"]["mean_95"]
            facts.append(f"NME {entry.result['nme']['mean']:.3f} (95 %: {low:.3f} to {high:.3f})")
        parts.append(f"<li>{html.escape(entry.name)}: {html.escape(', '.join(facts))}</li>")
    return f"<ul>{''.join(parts)}</ul>"


def _pairs(pairs: Sequence[dict[str, Any]]) -> str:
    rows = []
    for pair in pairs:
        for key, title in (("nme", "NME, %"), ("pose_mae_exact", "exact MAE, degrees")):
            if test := pair[key]:
                low, high = test["difference_95"]
                rows.append(
                    f"<tr><th>{html.escape(pair['first'])} - {html.escape(pair['second'])}</th>"
                    f"<td>{title}</td><td>{test['difference']:+.3f}</td>"
                    f"<td>{low:+.3f} to {high:+.3f}</td><td>{test['p_value']:.4f}</td></tr>"
                )
    if not rows:
        return ""
    return (
        "<p>Both models saw the same images. The interval is a bootstrap over images, p a paired "
        "permutation test: how often chance alone makes a difference this large.</p>"
        '<div class="scroll"><table class="pairs"><thead><tr><th>models</th><th>figure</th>'
        "<th>difference</th>"
        f"<th>95 %</th><th>p</th></tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


# ---------------------------------------------------------------- charts


def _landmark_charts(entries: Sequence[Entry], labels: EvaluationLabels) -> str:
    errors = _each(entries, "nme", lambda nme: 100 * nme)
    by_landmark = _each(entries, "landmarks", lambda nme: 100 * nme)
    first = next((e for e in entries if e.errors.nme is not None), None)
    if first is None:
        return ""
    bins = metrics.yaw_bins(labels.yaw_deg)
    names = [label.replace(" ", "") for label in metrics.BIN_LABELS.values()]
    return _keys(entries) + _grid(
        ("Cumulative error", charts.cumulative_error(errors)),
        ("Distribution by yaw", charts.violins(errors, bins, names)),
        (
            f"Error of each landmark, {html.escape(first.name)}",
            charts.landmark_face(first.mean_face, by_landmark[first.name]),
        ),
        ("Error by part of the face", charts.landmark_bars(by_landmark)),
    )


def _pose_charts(entries: Sequence[Entry], labels: EvaluationLabels) -> str:
    """Landmark error by each angle, then each angle's own error."""
    rows, figures = labels.pose_rows, []
    angles = {"yaw": (slice(None), labels.yaw_deg)}
    if labelled := rows is not None and len(rows) > 0:
        angles |= {name: (rows, labels.pose_deg[:, axis]) for name, axis in PITCH_ROLL.items()}
    if any(e.errors.nme is not None for e in entries):
        for name, (chosen, angle) in angles.items():
            nme = _each(entries, "nme", lambda errors, chosen=chosen: 100 * errors[chosen])
            chart = charts.error_against_angle(nme, angle, f"{name} (degrees)", "NME (%)")
            figures.append((f"Landmarks by {name}", chart))
    if labelled and any(e.errors.exact is not None for e in entries):
        for name, axis in AXES.items():
            exact = _each(entries, "exact", lambda errors, axis=axis: np.abs(errors[rows, axis]))
            chart = charts.error_against_angle(
                exact, labels.pose_deg[:, axis], f"{name} (degrees)", f"{name} error (degrees)"
            )
            figures.append((f"Error of {name}", chart))
    if not figures:
        return ""
    note = "<p>Medians; the band holds the middle half of the first model's images.</p>"
    return note + _keys(entries) + _grid(*figures, css="grid three")


def _each(
    entries: Sequence[Entry], name: str, change: Callable[[np.ndarray], np.ndarray]
) -> dict[str, np.ndarray | None]:
    """A field of `ImageErrors`, changed, by model; None where it has none, for `charts.series`."""
    errors = {entry.name: getattr(entry.errors, name) for entry in entries}
    return {model: None if e is None else change(e) for model, e in errors.items()}


def _keys(entries: Sequence[Entry]) -> str:
    """The colours of several models in the charts below; one model needs none."""
    if len(entries) == 1:
        return ""
    keys = (
        f'<span><i class="key {charts.colour(index)}"></i>{html.escape(entry.name)}</span>'
        for index, entry in enumerate(entries)
    )
    return f'<p class="keys">{"".join(keys)}</p>'


def _grid(*figures: tuple[str, str], css: str = "grid") -> str:
    cells = "".join(f"<figure><figcaption>{t}</figcaption>{svg}</figure>" for t, svg in figures)
    return f'<div class="{css}">{cells}</div>'


def _robustness(tables: Sequence[Robustness]) -> str:
    if not tables:
        return ""
    note = "NME, mean of bins, in percent; full colour is three times the undamaged error."
    return f"<p>{note}</p>" + _grid(*((html.escape(t.name), _heat_map(t)) for t in tables))


def _heat_map(table: Robustness) -> str:
    """NME by damage and level; the colour is the ratio to the undamaged test set, 1 to 3."""
    head = "".join(f"<th>{html.escape(level)}</th>" for level in table.levels)
    rows = []
    for damage, values in zip(table.damages, table.nme, strict=True):
        cells = []
        for value in values:
            heat = float(np.clip((value / values[0] - 1) / 2, 0, 1))
            cells.append(f'<td class="heat" style="--heat:{100 * heat:.0f}%">{value:.2f}</td>')
        rows.append(f"<tr><th>{html.escape(damage)}</th>{''.join(cells)}</tr>")
    return (
        '<div class="scroll"><table class="map"><thead><tr><th></th>'
        f"{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


# ---------------------------------------------------------------- pictures


def _galleries(entries: Sequence[Entry], crops: EvaluationCrops) -> str:
    entry = next((e for e in entries if e.errors.nme is not None), None)
    if entry is None:
        return ""
    order = np.argsort(entry.errors.nme, kind="stable")
    count = min(N_GALLERY, len(order))
    middle = (len(order) - count) // 2
    chosen = {
        "best": order[:count],
        "median": order[middle : middle + count],
        "worst": order[::-1][:count],
    }
    parts = [
        f"<p>{html.escape(entry.name)}</p>"
        '<p><i class="key predicted"></i>prediction <i class="key true"></i>label</p>',
    ]
    for title, rows in chosen.items():
        singles = (one for batch in entry.source.predict(rows) for one in batch.split())
        figures = [
            _photo(crops, int(row), prediction, entry.errors.nme[row])
            for row, prediction in zip(rows, singles, strict=True)
        ]
        parts.append(f'<h3>{title}</h3><div class="photos">{"".join(figures)}</div>')
    return "".join(parts)


def _photo(crops: EvaluationCrops, row: int, prediction: Prediction, nme: float) -> str:
    """A crop with its true and predicted landmarks; the crop frame is the SVG's."""
    image = read_crop(crops.folder / CROPS / crops.names[row])
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    source = base64.b64encode(data.tobytes()).decode()
    parts = [
        f'<image href="data:image/jpeg;base64,{source}" width="{IMG_SIZE}" height="{IMG_SIZE}"/>'
    ]
    box, name = crops.labels.roi_box[row], crops.names[row]
    pairs = (("true", crops.labels.landmarks[row]), ("predicted", prediction.landmarks[0]))
    for css, landmarks in pairs:
        points = photo_to_crop(landmarks, box)[:2]
        parts.append(charts.mark("path", f"face {css}", d=charts.face_path(points)))
    picture = charts.svg(parts, name, IMG_SIZE, IMG_SIZE)
    return (
        f"<figure>{picture}<figcaption>{100 * nme:.2f} %, yaw "
        f"{crops.labels.yaw_deg[row]:.0f}°<small>{html.escape(name)}</small></figcaption></figure>"
    )


# ---------------------------------------------------------------- words


def _protocol(result: dict[str, Any], labels: EvaluationLabels) -> str:
    """How every figure is computed, with this test set's counts."""
    counts = result["nme"]["bin_images"] if result["nme"] else {}
    bins = ", ".join(f"{count} in {name}" for name, count in counts.items())
    kept = 0 if labels.pose_rows is None else len(labels.pose_rows)
    sentences = [
        f"Input: {html.escape(str(result.get('preprocessing', 'that of the predictions')))}, crops "
        f"of {IMG_SIZE} x {IMG_SIZE} px; landmarks are mapped back to the photo before they are "
        "compared.",
        "NME of an image: mean distance of the 68 landmarks in the image plane over the square "
        "root of width times height of the true landmarks' tight box, in percent.",
        f"The headline is the unweighted mean of three bins of the label's |yaw| ({bins} degrees); "
        "its image mean weights all images alike. Published tables print the former.",
        "Re-annotated: the same against the re-annotated landmarks. 3D: distances in space, the "
        "mean z removed from both. AFLW, 21: AFLW's visible points, over the root of their own "
        "tight box, mean of bins.",
        f"Head pose: mean absolute error of {kept} labels whose three angles are below 99 degrees, "
        "differences not unwrapped. The published decoding reads yaw from R[2,0], the exact one "
        "from R[0,2], as R = Rx(pitch) Ry(yaw) Rz(roll) has it. All labels: exact decoding, "
        "differences unwrapped. Geodesic: angle of the rotation between prediction and label.",
        "Shape and expression: root mean square distance over all vertices between predicted and "
        "true component of the same face model, millimetres.",
        "Intervals: 95 %, bootstrap over images, within bins for means of bins.",
    ]
    if result.get("flip"):
        sentences.append(
            "Flip-averaged: landmarks, rotation (on SO(3)) and face are means of the prediction "
            "for the image and the mirrored prediction for its mirror image."
        )
    return f"<ul>{''.join(f'<li>{sentence}</li>' for sentence in sentences)}</ul>"


def _facts(provenance: dict[str, str]) -> str:
    rows = "".join(
        f"<dt>{html.escape(title)}</dt><dd>{html.escape(value)}</dd>"
        for title, value in provenance.items()
    )
    return f"<dl>{rows}</dl>"


STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #ffffff; --ink: #1b2430; --soft: #5b6775;
  --line: #dfe3e8; --s0: #2563c9; --s1: #d9631e; --s2: #22875a; --s3: #8a4fd3; --s4: #c33a54;
  --s5: #7a6a2f; --hot: #d9412b; --predicted: #3ddc4a; --true: #ffb02e; }
@media (prefers-color-scheme: dark) { :root { --page: #12161c; --card: #1b2129; --ink: #e6eaf0;
  --soft: #9aa6b4; --line: #303944; --s0: #6ea8ff; --s1: #ff9a5c; --s2: #57c795; --s3: #bd94ff;
  --s4: #ff7f95; --s5: #d0bc6a; --hot: #ff6a4d; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 24px 16px 48px; }
h1 { margin: 0; font-size: 2rem; letter-spacing: -0.02em; }
h2 { margin: 0 0 12px; font-size: 1.25rem; }
h3 { margin: 20px 0 8px; font-size: 1rem; }
header p, section > p, small, figcaption, dt { color: var(--soft); }
header p { margin: 4px 0 16px; overflow-wrap: anywhere; }
section { margin-top: 20px; padding: 20px; border: 1px solid var(--line); border-radius: 12px;
  background: var(--card); }
.cards { display: grid; gap: 12px; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); }
.cards div { padding: 14px 16px; border: 1px solid var(--line); border-radius: 12px;
  background: var(--card); }
.cards span, .cards small { display: block; font-size: 0.85rem; color: var(--soft); }
.cards b { font-size: 2rem; font-variant-numeric: tabular-nums; }
.cards i { margin-left: 2px; font-size: 1rem; font-style: normal; color: var(--soft); }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: 0.9rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: 6px 8px; border-bottom: 1px solid var(--line); text-align: right; }
th { font-weight: 500; }
thead th { color: var(--soft); font-size: 0.8rem; vertical-align: bottom; }
thead tr:first-child:not(:last-child) th { text-align: left; border: 0; padding-bottom: 0; }
tbody th, thead th:first-child { position: sticky; left: 0; background: var(--card);
  text-align: left; white-space: nowrap; }
.map { width: auto; }
.pairs th { white-space: normal; }
.map td { text-align: center; min-width: 76px; }
td.heat { background: color-mix(in srgb, var(--hot) var(--heat), transparent); }
.grid { display: grid; gap: 16px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); }
.grid.three { grid-template-columns: repeat(auto-fit, minmax(min(100%, 320px), 1fr)); }
figure { margin: 0; min-width: 0; }
figcaption { margin-bottom: 4px; font-size: 0.9rem; }
svg { display: block; width: 100%; max-height: 460px; }
.label { fill: var(--soft); font-size: 12px; }
.three .label { font-size: 15px; }
.inside { fill: #ffffff; font-size: 11px; }
.grid path.grid, path.grid { stroke: var(--line); fill: none; }
.axis { stroke: var(--soft); }
.line { fill: none; stroke: currentColor; stroke-width: 2.2; stroke-linejoin: round; }
.band { fill: currentColor; opacity: 0.14; }
.dot, .bar { fill: currentColor; }
.violin { fill: currentColor; fill-opacity: 0.3; stroke: currentColor; }
.whisker { stroke: currentColor; stroke-width: 4; stroke-linecap: round; }
.median { fill: var(--card); stroke: currentColor; stroke-width: 2; }
.outline { fill: none; stroke: var(--soft); stroke-opacity: 0.5; }
circle.heat { fill: color-mix(in srgb, var(--hot) var(--heat), var(--s0)); fill-opacity: 0.8; }
.series-0 { color: var(--s0); } .series-1 { color: var(--s1); } .series-2 { color: var(--s2); }
.series-3 { color: var(--s3); } .series-4 { color: var(--s4); } .series-5 { color: var(--s5); }
.key { display: inline-block; width: 12px; height: 12px; margin: 0 6px 0 0; border-radius: 3px;
  background: currentColor; }
.keys { display: flex; flex-wrap: wrap; gap: 4px 20px; }
.key.predicted { color: var(--predicted); } .key.true { margin-left: 12px; color: var(--true); }
.photos { display: grid; gap: 10px; grid-template-columns: repeat(auto-fill, minmax(140px, 1fr)); }
.photos svg { border-radius: 8px; max-height: none; }
.face { fill: none; stroke-width: 1.1; stroke-linejoin: round; }
.face.predicted { stroke: var(--predicted); } .face.true { stroke: var(--true); }
.photos figcaption { margin-top: 4px; }
.photos small { display: block; overflow: hidden; text-overflow: ellipsis; }
ul { margin: 12px 0 0; padding-left: 20px; }
li { margin-bottom: 4px; overflow-wrap: anywhere; }
dl { display: grid; gap: 4px 16px; grid-template-columns: max-content 1fr; margin: 0; }
dd { margin: 0; overflow-wrap: anywhere; font-family: ui-monospace, Menlo, Consolas, monospace;
  font-size: 0.85rem; }
@media (max-width: 560px) { dl { grid-template-columns: 1fr; } dd { margin-bottom: 8px; }
  section { padding: 14px; } th, td { padding: 5px 6px; } .map td { min-width: 52px; }
  .label, .three .label { font-size: 15px; } .label.tight { font-size: 11px; } }
"""
