"""The page is whole, well formed and needs no network; charts put data where their axes say."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from synergynet import fileio
from utils.data.evaluation_crops import CROPS, EVAL, EvaluationCrops, EvaluationLabels, write_labels
from utils.evaluation import charts
from utils.evaluation.corrupt import Robustness
from utils.evaluation.errors import image_errors, read_truth
from utils.evaluation.report import build_report
from utils.evaluation.sources import read_predictions
from utils.evaluation.summary import Entry, compare, summarise

COUNT = 40


@pytest.fixture(scope="module")
def crops(tmp_path_factory) -> EvaluationCrops:
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("data")
    names = [f'image"{i:05d}.png' for i in range(COUNT)]
    for name in names:
        fileio.write_image(folder / CROPS / name, rng.integers(0, 256, (120, 120, 3), np.uint8))
    fileio.write_list(folder / "AFLW2000-3D_crop.list", names)
    labels = EvaluationLabels(
        landmarks=rng.uniform(50, 250, (COUNT, 3, 68)),
        reannotated=None,
        yaw_deg=rng.uniform(-90, 90, COUNT),
        roi_box=np.tile([20.0, 30, 270, 280], (COUNT, 1)),
        pose_rows=np.arange(COUNT),
        pose_deg=rng.uniform(-40, 40, (COUNT, 3)),
    )
    write_labels(folder / EVAL, labels)
    return EvaluationCrops(folder)


@pytest.fixture(scope="module")
def entries(crops, tmp_path_factory) -> list[Entry]:
    """Two models whose errors are known noise, and one that knows angles only."""
    rng = np.random.default_rng(1)
    labels = crops.labels
    near = labels.landmarks + rng.normal(0, 2, labels.landmarks.shape)
    far = labels.landmarks + rng.normal(0, 6, labels.landmarks.shape)
    angles = labels.pose_deg + rng.normal(0, 3, labels.pose_deg.shape)
    made = {
        "near <b>": {"landmarks": near, "angles_deg": angles},
        "far": {"landmarks": far[:, :2]},
        "angles": {"angles_deg": angles},
    }
    folder = tmp_path_factory.mktemp("predictions")
    result = []
    for index, (name, arrays) in enumerate(made.items()):
        np.savez(folder / f"{index}.npz", **arrays)
        source = read_predictions(folder / f"{index}.npz", crops, None)
        errors = image_errors(source.predict(), read_truth(crops, None))
        facts = summarise(errors, labels) | {"data": "some/folder", "nme_aflw": None}
        result.append(Entry(name, source, errors, facts, rng.normal(size=(3, 68))))
    return result


def page(entries: list[Entry], crops: EvaluationCrops) -> str:
    pairs = [
        {"first": entries[0].name, "second": e.name}
        | compare(entries[0].errors, e.errors, crops.labels)
        for e in entries[1:]
    ]
    table = Robustness("near", ["blur"], ["none", "mild"], np.array([[2.0, 6.0]]))
    return build_report(entries, pairs, crops, [table], {"command": "python <x>"})


class Tags(HTMLParser):
    """Checks that tags are closed in order; counts them."""

    VOID = frozenset({"meta", "img", "br", "path", "circle", "rect", "image"})

    def __init__(self):
        super().__init__()
        self.open: list[str] = []
        self.counts: dict[str, int] = {}

    def handle_starttag(self, tag, attributes):
        self.counts[tag] = self.counts.get(tag, 0) + 1
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.counts[tag] = self.counts.get(tag, 0) + 1

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_whole_and_needs_no_network(entries, crops):
    text = page(entries, crops)
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert tags.counts["image"] == 18  # best, median, worst
    assert tags.counts["svg"] == 18 + 4 + 6
    assert "script" not in tags.counts
    assert not re.search(r"https?://|url\(|@import", text)
    assert "prefers-color-scheme: dark" in text
    for svg in re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL):
        ElementTree.fromstring(svg)


def test_page_tells_the_figures(entries, crops):
    text = page(entries, crops)
    for entry in entries[:2]:
        assert f"{entry.result['nme']['mean']:.3f}" in text
    best = min(entry.result["nme"]["mean"] for entry in entries[:2])
    assert f"<b>{best:.3f}</b>" in text
    worst = 100 * entries[0].errors.nme.max()
    assert f"{worst:.2f} %, yaw" in text
    assert "--heat:100%" in text  # three times the undamaged error
    assert "near &lt;b&gt;" in text
    assert "near <b>" not in text
    assert "python &lt;x&gt;" in text
    assert len(re.findall('aria-label="image&#34;[0-9]{5}.png"', text)) == 18


@pytest.mark.parametrize("chosen", [[0], [1], [2], [2, 0]])
def test_page_of_models_that_know_less(entries, crops, chosen):
    text = page([entries[i] for i in chosen], crops)
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert ("<span>NME, mean of bins" in text) == (chosen[0] != 2)
    assert "nan" not in re.sub(r"base64,[^\"]*", "", text)


# ---------------------------------------------------------------- charts


def test_axes_place_the_corners_of_the_data():
    axes = charts.Axes((10, 20), (0, 5))
    assert axes.x(10) == charts.LEFT
    assert axes.x(20) == charts.WIDTH - charts.RIGHT
    assert axes.y(0) == charts.HEIGHT - charts.BOTTOM
    assert axes.y(5) == charts.TOP


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 100, [0, 20, 40, 60, 80, 100]),
        (0, 7.3, [0, 2, 4, 6]),
        (-1, 1, [-1, -0.5, 0, 0.5, 1]),
        (0, 0.05, [0, 0.01, 0.02, 0.03, 0.04, 0.05]),
    ],
)
def test_ticks_are_round(low, high, expected):
    assert charts.ticks(low, high) == expected


def test_cumulative_curve_reaches_half_at_the_median():
    values = np.array([1.0, 2, 3, 4, 5, 6, 7])
    svg = charts.cumulative_error({"model": values})
    path = re.search(r'class="line series-0" d="M([^"]*)"', svg)[1]
    points = np.array([p.split(",") for p in path.split("L")], float)
    axes = charts.Axes((0, 8), (0, 100))
    at_median = np.interp(axes.x(4.0), points[:, 0], points[:, 1])
    assert at_median == pytest.approx(axes.y(50), abs=1)
    assert "median 4.00 %" in svg


def test_median_by_angle_by_hand():
    angles = np.repeat([-80.0, 5.0, 70.0], 5)
    values = np.array([1, 2, 3, 4, 5, 2, 2, 2, 9, 9, 7, 7, 8, 9, 9], float)
    svg = charts.error_against_angle({"m": values}, angles, "yaw", "error")
    found = dict(re.findall(r"m: ([\d.]+) at (-?[\d.]+) degrees", svg))
    assert found == {"3.00": "-82.5", "2.00": "7.5", "8.00": "67.5"}


def test_a_model_keeps_its_colour_where_others_have_no_errors():
    errors = {"without": None, "with": np.array([1.0, 2, 3, 4])}
    angles = np.full(4, 10.0)
    landmarks = {name: None if e is None else np.ones(68) for name, e in errors.items()}
    for svg in (
        charts.cumulative_error(errors),
        charts.error_against_angle(errors, angles, "yaw", "error"),
        charts.violins(errors, np.zeros(4, int), ["a"]),
        charts.landmark_bars(landmarks),
    ):
        assert charts.colour(1) in svg
        assert charts.colour(0) not in svg


def test_violin_is_widest_where_the_values_are():
    values = np.random.default_rng(0).normal(5, 0.5, 2000)
    at = np.linspace(3, 7, 81)
    density = charts._density(values, at)
    assert at[density.argmax()] == pytest.approx(5, abs=0.2)
    expected = np.exp(-0.5 * ((at - 5) / 0.5) ** 2)
    np.testing.assert_allclose(density, expected, atol=0.1)


def test_landmark_discs_grow_with_the_error_and_y_points_up():
    rng = np.random.default_rng(0)
    face, errors = rng.normal(size=(3, 68)), rng.uniform(1, 5, 68)
    svg = ElementTree.fromstring(charts.landmark_face(face, errors))
    discs = svg.findall("circle")
    radii = np.array([float(d.get("r")) for d in discs])
    assert np.corrcoef(radii, errors)[0, 1] > 0.99
    heights = np.array([float(d.get("cy")) for d in discs])
    assert np.corrcoef(heights, face[1])[0, 1] < -0.99


def test_one_image_is_enough_for_every_chart():
    one = {"m": np.array([3.0])}
    for svg in (
        charts.cumulative_error(one),
        charts.error_against_angle(one, np.array([10.0]), "yaw", "error"),
        charts.violins(one, np.array([0]), ["a", "b"]),
    ):
        ElementTree.fromstring(svg)
        assert "nan" not in svg
