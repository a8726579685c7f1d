"""docs/PUBLISHED.md: what it says is here is here."""

from __future__ import annotations

import dataclasses
import importlib
import re
from pathlib import Path

import pytest

import main_train

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "PUBLISHED.md").read_text()
ROWS = [line.split("|")[1:3] for line in PAGE.splitlines() if line.startswith("| `")]
NAMES = sorted(
    {name for _, here in ROWS for name in re.findall(r"`([a-zA-Z]\w*(?:\.\w+)+)`", here)}
)


def resolve(name: str) -> object:
    """The module, class or function of a dotted name; a dataclass's fields count as its own."""
    parts = name.split(".")
    for split in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:split]))
        except ModuleNotFoundError:
            continue
        for part in parts[split:]:
            if dataclasses.is_dataclass(found) and part in found.__dataclass_fields__:
                return found
            found = getattr(found, part)
        return found
    raise AttributeError(name)


def is_file(name: str) -> bool:
    return name.endswith((".py", ".sh", ".toml", ".png", ".obj"))


@pytest.mark.parametrize("name", [name for name in NAMES if not is_file(name)])
def test_every_name_of_the_page_exists(name):
    assert resolve(name)


def test_there_is_something_to_check():
    assert len(NAMES) > 30


def test_every_flag_of_the_published_training_script_is_on_the_page():
    """And every one of the section is a flag here."""
    section = PAGE.split("## Flags of `main_train.py`")[1].split("##")[0]
    listed = {
        flag
        for row in section.splitlines()
        if row.startswith("| `")
        for flag in re.findall(r"(?<![\w-])--?[a-z][\w-]*", row.split("|")[1])
    }
    known = {o for action in main_train.get_args_parser()._actions for o in action.option_strings}
    assert len(listed) > 28
    assert listed <= known
