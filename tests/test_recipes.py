"""benchmarks/recipes.py: which runs it asks for."""

from benchmarks import recipes
from model_building import RECIPES


def test_every_recipe_with_every_seed(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(recipes, "compare", lambda runs, args: asked.extend(runs))
    command = ["--data", str(tmp_path), "--seeds", "2", "--", "--compile"]
    args = recipes.get_args_parser().parse_args(command)
    assert recipes.main(args) == 0
    assert args.train_flags == ["--compile"]
    assert [(run.name, run.seed) for run in asked] == [(r, s) for s in (0, 1) for r in RECIPES]
    assert all(run.flags == ("--recipe", run.name) for run in asked)
    assert {run.data for run in asked} == {tmp_path}
    asked.clear()
    some = ["--recipes", "paper", "backbone", "--seeds", "1"]
    assert recipes.main(recipes.get_args_parser().parse_args(some)) == 0
    assert [run.name for run in asked] == ["paper", "backbone"]
