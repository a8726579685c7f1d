"""What benchmarks share that compare this checkout with an older commit, on drawn photos."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from synergynet import fileio
from synergynet.detection.detectors import Detector
from utils.data.evaluation_crops import CROPS, OPEN_TEST_FOLDER
from utils.data.folders import ROOT

DRAWN_FACES = OPEN_TEST_FOLDER / CROPS

HEIGHT, WIDTH, FACE_PX = 1080, 1920, 480  # of a photo, and of its face's crop


@contextlib.contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """A temporary folder with the files of a commit of this project.

    Raises:
        InputError: git does not know the commit, or this is no checkout.
    """
    git = ["git", "-C", str(ROOT), "worktree"]
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        add = [*git, "add", "--quiet", "--detach", str(tree), commit]
        done = subprocess.run(add, capture_output=True, text=True, check=False)
        if done.returncode:
            raise fileio.InputError(f"{commit}: not to be checked out ({done.stderr.strip()})")
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


@contextlib.contextmanager
def checkouts(commit: str | None) -> Iterator[list[Path]]:
    """This checkout, and one of a commit if one is named; see `checkout`."""
    with contextlib.ExitStack() as stack:
        yield [ROOT] if commit is None else [ROOT, stack.enter_context(checkout(commit))]


def draw_photo(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A photo (1080, 1920, 3) of one face, enlarged, anywhere before a soft background."""
    coarse = rng.integers(40, 200, (9, 16, 3), np.uint8)
    photo = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    x, y = rng.integers(WIDTH - FACE_PX), rng.integers(HEIGHT - FACE_PX)
    enlarged = cv2.resize(face, (FACE_PX, FACE_PX), interpolation=cv2.INTER_CUBIC)
    photo[y : y + FACE_PX, x : x + FACE_PX] = enlarged
    return photo


def write_photos(folder: Path, count: int, detect: Detector) -> list[Path]:
    """`count` different photos, each of a drawn face that the detector finds.

    Raises:
        InputError: it finds none of the drawn faces.
    """
    faces = [fileio.read_image(path) for path in sorted(DRAWN_FACES.glob("*.jpg"))]
    rng = np.random.default_rng(0)
    paths: list[Path] = []
    tries = 0
    while len(paths) < count:
        if not paths and tries >= len(faces):
            raise fileio.InputError(f"{DRAWN_FACES}: the detector finds none of these faces")
        photo = draw_photo(faces[tries % len(faces)], rng)
        tries += 1
        if len(detect(photo)) == 1:
            paths.append(folder / f"{len(paths):04d}.jpg")
            fileio.write_image(paths[-1], photo)
    return paths
