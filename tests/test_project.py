"""The project as a whole: pure imports, layers, flags that are read, shell scripts that parse."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from utils.data.folders import ROOT

SCRIPTS = ("benchmark", "export", "main_train", "prepare_data", "singleImage")
# Imports point downward in this list, or stay on one line; `utils` is ordered by package.
FLOORS = (
    ("benchmarks",),
    SCRIPTS,
    ("synergy3DMM",),
    ("utils.synthetic", "utils.training"),
    ("utils.evaluation",),
    ("utils.inference", "utils.preparation"),
    ("utils.data",),
    ("model_building", "loss_definition"),
    ("backbone_nets",),
    ("synergynet",),
)
EMPTY_PACKAGES = {"utils"}  # a docstring only
ALLOWED_UPWARD = {
    ("main_train", "benchmark"),
}


def python_files() -> list[Path]:
    """Source files but for tests."""
    packages = ("backbone_nets", "synergynet", "utils", "benchmarks")
    inside = (file for package in packages for file in (ROOT / package).rglob("*.py"))
    return sorted([*ROOT.glob("*.py"), *inside])


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(file): file for file in python_files()}


def floor(module: str) -> int:
    """Number of a module's line in FLOORS, counted from the bottom."""
    for number, names in enumerate(reversed(FLOORS)):
        if module.startswith(tuple(f"{name}." for name in names)) or module in names:
            return number
    raise AssertionError(f"{module} has no place in FLOORS")


def project_imports(module: str) -> set[str]:
    """Modules of this project that a module imports, anywhere in its text."""
    names = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    # `from utils import io` imports synergynet.fileio; the empty package above it does not count
    return (names & MODULES.keys()) - {"utils", module}


def test_there_is_something_to_check():
    assert {"main_train", "model_building", "utils.data.preprocessing"} <= MODULES.keys()
    assert "synergynet.fileio" in project_imports("model_building")
    assert "benchmark" in project_imports("main_train")


@pytest.mark.parametrize("module", sorted(MODULES.keys() - EMPTY_PACKAGES))
def test_imports_point_downward(module):
    for imported in project_imports(module):
        if (module, imported) in ALLOWED_UPWARD:
            continue
        assert floor(imported) <= floor(module), f"{module} imports {imported}"
        assert not {module, imported} <= set(SCRIPTS), "scripts are independent"
        if floor(imported) == floor(module):
            same_room = module.split(".")[:2] == imported.split(".")[:2]
            assert same_room or not module.startswith("utils"), f"{module} imports {imported}"


def test_imports_have_no_cycle():
    done: set[str] = set()
    packages = {m for m, file in MODULES.items() if file.name == "__init__.py"}
    remaining = {m: project_imports(m) - packages for m in MODULES}
    while remaining:
        ready = {m for m, needs in remaining.items() if needs <= done}
        assert ready, f"cycle among {sorted(remaining)}"
        done |= ready
        remaining = {m: needs for m, needs in remaining.items() if m not in ready}


WATCH_IMPORTS = """
import importlib, json, sys
import cv2, matplotlib, numpy, scipy.io, torch, torchvision
from backbone_nets import timm_nets  # imports timm inside its function only

def switches():
    return [
        cv2.getNumThreads(), str(numpy.geterr()), matplotlib.get_backend(auto_select=False),
        torch.get_num_threads(), str(torch.get_default_dtype()), torch.is_grad_enabled(),
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic,
        torch.get_float32_matmul_precision(), torch.initial_seed(),
        "timm" in sys.modules,
    ]

opened = []
def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and arguments[0].startswith(ROOT):
        if not arguments[0].endswith((".py", ".pyc")) and ".pyc." not in arguments[0]:
            opened.append(arguments[0])

before = switches()
sys.addaudithook(watch)
for name in NAMES:
    importlib.import_module(name)
print(json.dumps({"opened": opened, "before": before, "after": switches()}))
"""


def test_importing_reads_nothing_and_changes_no_switch(tmp_path):
    """Every module, from another working directory, in a fresh interpreter."""
    names = [name for name in MODULES if not name.startswith("benchmarks")]
    head = f"ROOT, NAMES = {str(ROOT)!r}, {names!r}\nimport sys; sys.path.insert(0, ROOT)\n"
    done = subprocess.run(
        [sys.executable, "-c", head + WATCH_IMPORTS],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["opened"] == []
    assert seen["after"] == seen["before"]
    assert list(tmp_path.iterdir()) == []


def functions(module: str) -> dict[str, ast.FunctionDef]:
    """The functions of a module by name, methods left out."""
    tree = ast.parse(MODULES[module].read_text())
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def imported_names(module: str) -> dict[str, str]:
    """What a module calls functions and modules that it imports, and where those are."""
    names = {}
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {
                alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names
            }
    return names


def called(module: str, body: ast.AST, handed: str) -> set[tuple[str, str]]:
    """Module and name of the project's functions that are called with a variable `handed`."""
    names = imported_names(module)
    found = set()
    for node in ast.walk(body):
        if isinstance(node, ast.Call) and handed in map(ast.unparse, node.args):
            first, _, rest = ast.unparse(node.func).partition(".")
            place = names.get(first, f"{module}.{first}") + (f".{rest}" if rest else "")
            owner, _, name = place.rpartition(".")
            if owner in MODULES and name in functions(owner):
                found.add((owner, name))
    return found


def reached(module: str, start: str, handed: str) -> list[ast.FunctionDef]:
    """A function and all functions that it hands a variable on to, of any module."""
    waiting, done = {(module, start)}, {}
    while waiting:
        owner, name = waiting.pop()
        done[owner, name] = functions(owner)[name]
        waiting |= called(owner, done[owner, name], handed) - done.keys()
    return list(done.values())


def declared_flags(parser_function: ast.FunctionDef) -> set[str]:
    flags = set()
    for node in ast.walk(parser_function):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in (
            "add",
            "add_argument",
        ):
            names = [a.value for a in node.args if isinstance(a, ast.Constant)]
            long_names = [n for n in names if str(n).startswith("--")] or names
            if any(ast.unparse(k.value) == "'version'" for k in node.keywords):
                continue  # argparse prints it and ends
            named = [k.value.value for k in node.keywords if k.arg == "dest"] or long_names
            flags |= {str(n).lstrip("-").replace("-", "_") for n in named[:1]}
    return flags


def read_flags(function: ast.FunctionDef) -> set[str]:
    attributes = (node for node in ast.walk(function) if isinstance(node, ast.Attribute))
    return {node.attr for node in attributes if ast.unparse(node.value) == "args"}


@pytest.mark.parametrize(
    "script", sorted(name for name in MODULES if "get_args_parser" in functions(name))
)
def test_every_flag_is_read(script):
    """A flag's value is looked up as args.NAME: by who parses it, or where that hands `args` to."""
    parsers = [f for name in functions(script) for f in reached(script, name, "parser")]
    flags = set().union(*map(declared_flags, parsers))
    users = [m for m in MODULES if f"{script}.get_args_parser" in imported_names(m).values()]
    readers = [f for m in (script, *users) for n in functions(m) for f in reached(m, n, "args")]
    read = set().union(*map(read_flags, readers))
    assert flags, "no flag found"
    assert flags <= read, f"nothing reads {sorted(flags - read)}"


@pytest.mark.parametrize("script", ["train_script.sh", ".ci/run"])
def test_shell_scripts_parse(script):
    subprocess.run(["bash", "-n", str(ROOT / script)], check=True)


def test_train_script_passes_flags_that_exist():
    import main_train  # here, so that the tests above run without PyTorch's import time

    known = {o for a in main_train.get_args_parser()._actions for o in a.option_strings}
    of_other_commands = {"--count", "--margin", "--output", "--test-set"}
    text = (ROOT / "train_script.sh").read_text()
    code = [line.split("#")[0] for line in text.splitlines() if not line.startswith("#")]
    used = {word.strip('()"') for line in code for word in line.split() if word.startswith("--")}
    used |= {w.split("=(")[1].strip(")") for line in code for w in line.split() if "=(--" in w}
    assert len(used) > 15
    assert used - of_other_commands <= known
