"""Conversion of a generated 300W-LP: images per second, turned views per second, and that kill -9
loses and doubles nothing.

    python benchmarks/preparation.py [--count 2000] [--workers 2]

The zip has 300W-LP's layout and sizes: 450-px JPEGs, compressed .mat files with all its entries,
mirror images in a folder of their own, and the folders that hold no labels.
"""

from __future__ import annotations

import argparse
import filecmp
import functools
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import scipy.io

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from model_building import load_morphable
from synergynet.face_model import MorphableModel
from synergynet.geometry.parameters import N_SHAPE
from utils.data.folders import OPEN_FOLDER, ROOT
from utils.data.landmark_model import PHOTO_BOX, LandmarkModel
from utils.preparation import lp300w, training_set, turned_views
from utils.preparation.labels import FaceLabel, label_to_params

PHOTO_PX = 450
FOLDERS = ("AFW", "AFW_Flip", "HELEN", "IBUG")
GRACE_SECONDS = 60
VIEWS = 4  # of a photo
PIXELS = 12  # different pictures; the others repeat them


def write_300wlp(path: Path, count: int, morphable: MorphableModel, seed: int = 0) -> None:
    """Write a zip of `count` labelled pictures like 300W-LP's.

    Args:
        path: of the zip.
        count: of the pictures.
        morphable: face model of the labels.
        seed: of everything random.
    """
    rng = np.random.default_rng(seed)
    model = LandmarkModel.of(morphable)
    pictures = [random_jpeg(rng) for _ in range(PIXELS)]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("300W_LP/Code/Model_Exp.mat", b"no label")
        archive.writestr("300W_LP/landmarks/AFW/AFW_1000_1_0_pts.mat", b"no label")
        for index in range(count):
            folder = FOLDERS[index % len(FOLDERS)]
            photo, view = divmod(index // len(FOLDERS), VIEWS)
            stem = f"300W_LP/{folder}/{folder.removesuffix('_Flip')}_{1000 + photo}_1_{view}"
            archive.writestr(f"{stem}.jpg", pictures[index % PIXELS])
            archive.writestr(f"{stem}.mat", mat_bytes(random_label(rng, model), rng))


def random_label(rng: np.random.Generator, model: LandmarkModel) -> FaceLabel:
    """A face in the middle of a photo of PHOTO_PX, turned by up to 70 degrees."""
    coefficients = rng.normal(model.param_mean, model.param_std)[12:]
    shape, expression = coefficients[:N_SHAPE], coefficients[N_SHAPE:]
    f = rng.uniform(180, 240) / np.ptp(model.mean[:, :2])  # photo px per micrometre
    pose = np.array([*rng.uniform([-0.4, -1.2, -0.4], [0.4, 1.2, 0.4]), 0, 0, -80, f])
    corner = FaceLabel(pose.copy(), shape, expression)
    x, y, _ = model.decode(label_to_params(corner, PHOTO_BOX, PHOTO_PX)).mean(1)
    pose[3:5] = PHOTO_PX / 2 - x, y - PHOTO_PX / 2
    centred = FaceLabel(pose, shape, expression)
    landmarks = model.decode(label_to_params(centred, PHOTO_BOX, PHOTO_PX))
    return FaceLabel(pose, shape, expression, pt2d=landmarks[:2])


def mat_bytes(label: FaceLabel, rng: np.random.Generator) -> bytes:
    """A `.mat` with all of 300W-LP's entries, compressed as they are there; 3.5 KB."""
    table = {
        "pt2d": label.pt2d,
        "roi": np.array([[53, -166, 638, 419]], np.int16),
        "Illum_Para": rng.normal(size=(1, 10)),
        "Color_Para": rng.normal(size=(1, 7)).astype(np.float32),
        "Tex_Para": rng.normal(size=(199, 1)),
        "Shape_Para": np.append(label.shape, rng.normal(size=159))[:, None],
        "Exp_Para": np.append(label.expression, rng.normal(size=19))[:, None],
        "Pose_Para": label.pose[None],
    }
    file = BytesIO()
    scipy.io.savemat(file, table, do_compression=True)
    return file.getvalue()


def random_jpeg(rng: np.random.Generator) -> bytes:
    """A picture of PHOTO_PX squared that takes about 25 KB, as 300W-LP's do."""
    image = cv2.resize(rng.integers(0, 256, (24, 24, 3), np.uint8), (PHOTO_PX, PHOTO_PX))
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()


def conversion(source: Path, morphable: Path, output: Path, workers: int) -> list[str]:
    """The command that converts `source`."""
    command = [sys.executable, str(ROOT / "prepare_data.py"), "300w-lp", f"--source={source}"]
    command += [f"--morphable={morphable}", f"--output={output}", f"--workers={workers}"]
    return [*command, "--augment=1", "--validation=0.05"]


def kill_midway(command: list[str], output: Path, records: int) -> None:
    """Start a conversion, end it by SIGKILL after that many records, and wait for its workers' end.

    Raises:
        TimeoutError: a worker outlived it by GRACE_SECONDS.
    """
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    while len(list(output.glob(".unfinished/*/*.npz"))) < records and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.wait()
    deadline = time.monotonic() + GRACE_SECONDS
    while _has_members(process.pid):
        if time.monotonic() > deadline:
            raise TimeoutError("a worker outlived its killed parent")
        time.sleep(0.05)


def _has_members(group: int) -> bool:
    try:
        os.killpg(group, 0)  # sends nothing
    except ProcessLookupError:
        return False
    return True


def differing_files(first: Path, second: Path) -> list[str]:
    """Relative paths of files that only one of two folders has, or that differ."""
    names = {p.relative_to(f) for f in (first, second) for p in f.rglob("*") if p.is_file()}
    _, mismatch, missing = filecmp.cmpfiles(first, second, names, shallow=False)
    return sorted(map(str, mismatch + missing))


def cpu_rate(source: Path, morphable: Path, output: Path) -> float:
    """Images a core converts per second of its own time, without start-up, whatever else runs."""
    faces = lp300w.find_faces(source)
    read = functools.partial(lp300w.read_face, source=source, morphable_folder=morphable)
    read(faces[0])  # opens the zip and reads the face model
    recipe = training_set.Recipe(morphable, crops=1, mirror=False, whiten_anew=False)
    start = time.process_time()
    training_set.write_training_set(faces, [], read, output, recipe, workers=0)
    return len(faces) / (time.process_time() - start)


def view_rate(source: Path, morphable: Path, output: Path, photos: int, views: int) -> float:
    """Turned views a core makes and crops per second of its own time, reading and meshes included.

    Args:
        source, morphable, output: as for `cpu_rate`.
        photos: how many are turned.
        views: of each.
    """
    faces = [face for face in lp300w.find_faces(source) if lp300w.is_photo(face)][:photos]
    read_photo = functools.partial(lp300w.read_face, source=source, morphable_folder=morphable)
    read = turned_views.ViewReader(read_photo, morphable, views, seed=0)
    turned = turned_views.with_views(faces, views, lp300w.is_photo)
    read(turned[1])  # reads the face model
    recipe = training_set.Recipe(morphable, crops=1, mirror=False, whiten_anew=False)
    start = time.process_time()
    training_set.write_training_set(turned, [], read, output, recipe, workers=0)
    return len(faces) * views / (time.process_time() - start)


def get_args_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=2000, help="pictures (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    return parser


def main(args: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "300W-LP.zip"
        write_300wlp(source, args.count, load_morphable(OPEN_FOLDER))
        whole, resumed = folder / "whole", folder / "resumed"
        start = time.perf_counter()
        subprocess.run(conversion(source, OPEN_FOLDER, whole, args.workers), check=True)
        seconds = time.perf_counter() - start
        rate = cpu_rate(source, OPEN_FOLDER, folder / "one core")
        print(
            f"{args.count} images, {args.workers} workers: {args.count / seconds:.0f} images/s, "
            f"start-up included; {rate:.0f} per second of one core's time"
        )
        rate = view_rate(source, OPEN_FOLDER, folder / "turned", min(50, args.count // 8), 8)
        print(f"turned views: {rate:.0f} per second of one core's time")
        command = conversion(source, OPEN_FOLDER, resumed, args.workers)
        kill_midway(command, resumed, records=args.count // 64)
        left = len(list(resumed.rglob("*.jpg")))
        subprocess.run(command, check=True)
        different = differing_files(whole, resumed)
        print(f"killed after {left} pictures, resumed: {len(different)} files differ {different}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(get_args_parser().parse_args()))
