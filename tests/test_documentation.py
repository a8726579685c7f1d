"""README and docs/: what they name is there, and the figures that can be had again are the same."""

from __future__ import annotations

import argparse
import csv
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import benchmark
from model_building import build_model, load_morphable
from synergynet.command.main import command
from synergynet.command.parser import get_args_parser
from synergynet.fileio import read_list
from utils.data.evaluation_crops import CROPS, LIST, OPEN_TEST_FOLDER
from utils.data.folders import OPEN_FOLDER, OPEN_WEIGHTS, ROOT

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "pretrained" / "README.md",
                *(ROOT / "docs").glob("*.md")])  # fmt: skip
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
# folders of code; what lies in others may be the user's
CODE = re.compile(r"`((?:utils|synergynet|benchmarks|tests|backbone_nets|demo|docs)/[\w./-]*)`")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)")
SECTION = re.compile(r"\]\(([^)#\s]*)#([^)\s]+)\)")
FENCE = re.compile(r"^```[\w]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(params=PAGES, ids=NAMES)
def page(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_files_that_are_named_are_there(page):
    text = page.read_text()
    named = {ROOT / name for name in CODE.findall(text)}
    linked = {(page.parent / name).resolve() for name in LINK.findall(text)}
    assert [str(path) for path in sorted(named | linked) if not path.exists()] == []


def test_sections_that_are_linked_are_there(page):
    for name, section in SECTION.findall(page.read_text()):
        target = (page.parent / name).resolve() if name else page
        headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
        anchors = {
            re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings
        }
        assert section in anchors, f"{page.name} links {name}#{section}"


def commands(page: Path) -> Iterator[list[str]]:
    """The words of every command in a page's blocks, continued lines joined, comments left out."""
    for block in FENCE.findall(page.read_text()):
        for line in block.replace("\\\n", " ").splitlines():
            try:
                yield from (shlex.split(part, comments=True) for part in line.split("&&"))
            except ValueError:  # output, not a command
                continue


def parser_of(script: str) -> argparse.ArgumentParser | None:
    """Of a command of the project's; None of another."""
    if script in ("synergynet", "singleImage.py"):
        return get_args_parser()
    if not script.endswith(".py") or not (ROOT / script).is_file():
        return None
    module = importlib.import_module(script.removesuffix(".py").replace("/", "."))
    return module.get_args_parser() if hasattr(module, "get_args_parser") else None


def known_flags(parser: argparse.ArgumentParser) -> set[str]:
    """Flags of a parser and of its sub-commands."""
    flags = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            flags = flags.union(*(known_flags(p) for p in action.choices.values()))
    return flags


def test_flags_in_commands_are_there(page):
    unknown = []
    for words in commands(page):
        script = next((w for w in words if w.endswith(".py") or w == "synergynet"), "")
        parser = parser_of(script)
        if parser is None:
            continue
        words = words[words.index(script) :]
        if "--" in words:  # what follows goes on to another script
            words = words[: words.index("--")]
        given = {word.split("=")[0] for word in words if word.startswith("--")}
        unknown += [f"{script} {flag}" for flag in given - known_flags(parser)]
    assert unknown == []


def figures(line: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d+\.\d{3}", line)]


def test_readme_shows_what_the_benchmark_prints(tmp_path, capsys):
    (block,) = (b for b in FENCE.findall((ROOT / "README.md").read_text()) if "(NME)" in b)
    flags = ["-w", str(OPEN_WEIGHTS), "-d", "cpu", "--output", str(tmp_path), "--workers", "0"]
    flags += ["--data", str(OPEN_TEST_FOLDER), "--morphable", str(OPEN_FOLDER)]
    assert benchmark.main(benchmark.get_args_parser().parse_args(flags)) == 0
    shown = [line for line in block.splitlines() if figures(line)]
    printed = [line for line in capsys.readouterr().out.splitlines() if figures(line)]
    assert len(shown) == len(printed) > 8
    for expected, found in zip(shown, printed, strict=True):
        assert re.sub(r"[\d.]+", "#", found) == re.sub(r"[\d.]+", "#", expected)
        np.testing.assert_allclose(figures(found), figures(expected), atol=0.0015)  # processors


def test_readme_shows_what_the_table_of_a_run_holds(tmp_path):
    text = (ROOT / "README.md").read_text()
    (block,) = (b for b in FENCE.findall(text) if "landmarks seen" in b)
    header, *shown = block.splitlines()
    names = re.split(r" {2,}", header.strip())
    photos = [str(OPEN_TEST_FOLDER / CROPS / f"face000000{i}.jpg") for i in range(len(shown))]
    flags = ["--detector", "none", "--focal", "300", "--results-only", "--output", str(tmp_path)]
    assert command([*photos, *flags]) == 0
    with open(tmp_path / "faces.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for number, (line, row) in enumerate(zip(shown, rows, strict=True)):
        index, *values = map(float, line.split())
        row["landmarks seen"] = str(sum(int(row[f"visible{i}"]) for i in range(68)))
        assert index == number
        for name, value in zip(names, values, strict=True):  # processors differ a little
            tolerance = 1 if name == "landmarks seen" else 0.02
            assert float(row[name]) == pytest.approx(value, abs=tolerance)


def test_counts_are_counted():
    """Numbers that stand in the text and can be counted."""
    synthetic = (ROOT / "docs" / "SYNTHETIC.md").read_text()
    morphable = load_morphable(OPEN_FOLDER)
    assert f"components of {morphable.n_vertices:,} vertices" in synthetic
    assert f"is a test set of {len(read_list(OPEN_TEST_FOLDER / LIST))} such crops" in synthetic
    size = sum(file.stat().st_size for file in OPEN_FOLDER.iterdir())
    assert f"{size / 1e6:.1f} MB in all" in synthetic
    network = build_model("mobilenet_v2", morphable=morphable).eval()
    assert sum(p.numel() for p in network.parameters()) == 4_075_265
