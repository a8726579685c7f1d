"""benchmarks/ingredients.py: the sets it draws, once each, and the runs it asks for."""

import pytest

from benchmarks import ingredients
from synergynet import fileio
from utils.synthetic.pictures import INGREDIENTS
from utils.synthetic.sets import TRAINING_PARAMS


def parse(tmp_path, *flags):
    command = [f"--output={tmp_path / 'out'}", "--count=5", "--workers=0", *flags]
    return ingredients.get_args_parser().parse_args(command)


@pytest.fixture
def drawn(monkeypatch):
    """What sets are drawn with, by their folder's name; nothing is drawn."""
    sets = {}

    def write(morphable, folder, count, seed, workers, assets, without):
        assert folder.name not in sets
        sets[folder.name] = (count, seed, assets, without)
        fileio.write_pickle(folder / TRAINING_PARAMS, [])

    monkeypatch.setattr(ingredients, "write_training_set", write)
    return sets


def test_every_set_is_drawn_once_and_lacks_one_thing(tmp_path, drawn, monkeypatch):
    asked = []

    def compare(runs, args, against):
        asked.extend(runs)
        assert against == "everything"

    monkeypatch.setattr(ingredients, "compare", compare)
    assert ingredients.main(parse(tmp_path, "--assets", "makehuman")) == 0
    assert drawn.pop("everything") == (5, 1, "makehuman", [])
    assert drawn.pop("assets") == (5, 1, None, [])
    assert drawn == {name: (5, 1, "makehuman", [name]) for name in INGREDIENTS}
    names = ["everything", "without-assets", *(f"without-{name}" for name in INGREDIENTS)]
    assert [(run.name, run.seed) for run in asked] == [(n, s) for s in (0, 1) for n in names]
    for run in asked:
        assert run.data.name == run.name.removeprefix("without-")
    drawn.clear()
    list(ingredients.runs(parse(tmp_path, "--assets", "makehuman", "--ingredients", "hair")))
    assert drawn == {}
    with pytest.raises(fileio.InputError, match="everything: made with other settings"):
        list(ingredients.runs(parse(tmp_path, "--ingredients", "hair")))


def test_without_assets_there_are_none_to_leave_out(tmp_path, drawn, capsys):
    args = parse(tmp_path, "--ingredients", "assets")
    assert fileio.run_command(ingredients.main, args) == 2
    assert "--ingredients assets: needs --assets" in capsys.readouterr().err
    assert drawn == {}
