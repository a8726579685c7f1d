"""The wheel, installed where there is no PyTorch: command, module, library, from another folder."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest

import synergynet
from synergynet import fileio
from synergynet.command.check import ASSETS, built_in_photo
from utils.data.folders import ROOT

MOST_WHEEL_MB = 20
MOST_ENVIRONMENT_MB = 260  # numpy, OpenCV and the wheel; pip itself not counted
LABORATORY = (
    *("torch", "torchvision", "scipy", "matplotlib", "tqdm", "array_api_compat"),
    *("utils", "backbone_nets", "benchmarks", "model_building", "loss_definition"),
    *("benchmark", "export", "main_train", "prepare_data", "singleImage", "synergy3DMM"),
)


def run(*command: str | Path, cwd: Path = ROOT, status: int = 0) -> str:
    """Run a command with nothing of this process's paths; its standard output."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "DISPLAY"))}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == status, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built from a copy, as setuptools leaves folders behind."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE", "docs/LICENSES.md"):
        (source / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    leave_out = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "synergynet", source / "synergynet", ignore=leave_out)
    folder = tmp_path_factory.mktemp("wheel")
    run(
        *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"),
        *("--wheel-dir", folder, source),
    )
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a fresh environment with the wheel and what it asks for."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    binaries = folder / ("Scripts" if os.name == "nt" else "bin")
    pip = (binaries / "python", "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "install", wheel)
    return binaries


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A picture with one drawn face, and its box in boxes.json, in a folder of its own."""
    image, box = built_in_photo(ASSETS)
    fileio.write_image(tmp_path / "photo.jpg", image)
    fileio.write_json(tmp_path / "boxes.json", {"photo.jpg": box.tolist()})
    return tmp_path / "photo.jpg"


def test_what_is_in_the_wheel(wheel):
    assert wheel.stat().st_size <= MOST_WHEEL_MB * 1e6
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"synergynet", f"synergynet-{synergynet.__version__}.dist-info"}
    for needed in ("py.typed", "assets/network.onnx", "assets/network.npz", "assets/SHA256SUMS"):
        assert f"synergynet/{needed}" in names
    assert {"LICENSE", "LICENSES.md"} <= {Path(name).name for name in names}
    modules = {f"synergynet/{p.relative_to(ROOT / 'synergynet')}" for p in sources()}
    assert modules <= set(names)


def sources() -> list[Path]:
    return sorted((ROOT / "synergynet").rglob("*.py"))


def test_the_environment_is_small_and_free_of_the_laboratory(installed):
    packages = next(installed.parent.glob("lib*/python*/site-packages"))
    files = (f for f in packages.rglob("*") if f.is_file())
    counted = [f for f in files if not f.relative_to(packages).parts[0].startswith("pip")]
    assert sum(f.stat().st_size for f in counted) <= MOST_ENVIRONMENT_MB * 1e6
    tops = {f.relative_to(packages).parts[0] for f in counted}
    assert tops.isdisjoint(LABORATORY)


def test_the_command(installed, photo):
    folder = photo.parent
    assert "usage: synergynet" in run(installed / "synergynet", "--help", cwd=folder)
    assert "everything is right" in run(installed / "synergynet", "check", cwd=folder)
    flags = ("photo.jpg", "--detector", "boxes:boxes.json", "--mesh", "glb", "--depth")
    printed = run(installed / "synergynet", *flags, cwd=folder)
    assert "1 face in 1 of 1 pictures: inference_output" in printed
    output = folder / "inference_output"
    written = {str(p.relative_to(output)) for p in output.rglob("*") if p.is_file()}
    assert written == {
        *(f"{kind}/photo.jpg" for kind in ("landmarks", "poses", "rendering_overlay")),
        *("json/photo.json", "depth/photo.png", "meshes/photo_0.glb", "results_rank0.jsonl"),
        "faces.csv",
    }


def test_the_module_is_the_command(installed, photo):
    module = (installed / "python", "-m", "synergynet")
    assert "usage: synergynet" in run(*module, "--help", cwd=photo.parent)
    run(*module, "photo.jpg", "--detector", "none", "--results-only", cwd=photo.parent)
    run(*module, "absent.jpg", "--detector", "none", cwd=photo.parent, status=2)


USE_THE_LIBRARY = """
import json, sys
import cv2
from synergynet import SynergyNet
boxes = json.load(open("boxes.json"))["photo.jpg"]
faces = SynergyNet().predict([cv2.imread("photo.jpg")], [boxes])
print(json.dumps([faces.landmarks[0].tolist(), [float(a[0]) for a in faces.pose()]]))
"""


def test_the_library_says_what_the_checkout_says(installed, photo):
    printed = run(installed / "python", "-c", USE_THE_LIBRARY, cwd=photo.parent)
    landmarks, pose = json.loads(printed)
    _, box = built_in_photo(ASSETS)
    faces = synergynet.SynergyNet(engine="opencv").predict([fileio.read_image(photo)], [box])
    np.testing.assert_allclose(landmarks, faces.landmarks[0], atol=1e-3)
    np.testing.assert_allclose(pose, [angle[0] for angle in faces.pose()], atol=1e-3)


IMPORT_ALL = """
import importlib, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"{name} is for the laboratory", name=name)

sys.meta_path.insert(0, Blocked())
for name in NAMES:
    importlib.import_module(name)
"""


def test_every_module_imports_without_the_laboratory():
    """In this environment, where all of it is installed, and blocked."""
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sources()
    ]
    assert "synergynet.engines.backbone" in names
    head = f"BLOCKED, NAMES = {set(LABORATORY)!r}, {names!r}\n"
    run(sys.executable, "-c", head + IMPORT_ALL, cwd=ROOT)


def test_importing_the_package_alone_loads_neither_numpy_nor_opencv():
    code = "import sys, synergynet; print({'numpy', 'cv2'} & sys.modules.keys())"
    assert run(sys.executable, "-c", code) == "set()\n"


def test_no_extra_brings_the_other_opencv():
    """opencv-python and opencv-python-headless overwrite one another's files."""
    text = (ROOT / "pyproject.toml").read_text()
    waiting = set(re.findall(r'^\s*"?([\w-]+)>=|= \["([\w-]+)>=', text, re.M))
    waiting = {name for pair in waiting for name in pair if name}
    assert {"torch", "gradio", "anny", "opencv-python-headless"} <= waiting
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        seen.add(name.lower().replace("_", "-"))
        try:
            requires = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        needed = {re.split(r"[\s;<>=!~\[(]", r)[0] for r in requires if "extra ==" not in r}
        waiting |= {n for n in needed if n.lower().replace("_", "-") not in seen}
    assert "opencv-python" not in seen
    assert len(seen) > 30
