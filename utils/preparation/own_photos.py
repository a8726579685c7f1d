"""Own photos with 68 annotated points: the 62 parameters are fitted to each face.

Points come from 300-W's `.pts` beside each photo, or from one `.npy`, `.json` or `.csv` for all.

Source: 300-W (Sagonas et al., 2013) for the order of the points and the `.pts` format.
"""

from __future__ import annotations

import csv
import functools
import io as text_io
import os
import re
from pathlib import Path

import numpy as np

from model_building import load_morphable
from synergynet import fileio
from synergynet.drawing.tiles import contact_sheet, face_tile
from synergynet.geometry.parameters import N_LANDMARKS
from synergynet.photos.sources import PICTURE_SUFFIX
from utils.preparation.contour import JawCurves
from utils.preparation.fitting import Fit, fit_landmarks
from utils.preparation.training_set import FaceFile, LabelledFace, landmark_model

MAX_RESIDUAL = 0.10  # of the face's size; a mean face already comes nearer to most people
MIN_FACING = -0.35  # 110 degrees; swapped sides, or y up, fit the back of a head
REPORT, REPORT_PICTURE = "fits.csv", "fits.jpg"
WORST = 16  # fits in the picture
OUTLINE, BONE = "outline", "bone"  # where the jaw's points are


# ---------------------------------------------------------------- finding


def find_faces(
    images: str | os.PathLike, landmarks: str | os.PathLike | None = None
) -> list[FaceFile]:
    """The photos of a folder (not of those in it), sorted by name, each with its points.

    A `.pts` is read with its photo, so that one which is missing or damaged does not stop the
    others; one without a photo is taken for a photo, which reading it will refuse by name.

    Args:
        images: folder of photos.
        landmarks: file that `read_landmarks` reads; None: a `.pts` beside each photo.
    Raises:
        InputError: no photo, two of one name, or `landmarks` cannot be read.
    """
    folder = Path(images)
    if not folder.is_dir():
        raise fileio.InputError(f"{folder}: no such folder of photos")
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    photos = [path for path in files if PICTURE_SUFFIX.search(path.name)]
    if not photos:
        raise fileio.InputError(f"{folder}: no photos in it, of a kind that OpenCV reads")
    if landmarks is None:
        stems = {photo.stem for photo in photos}
        photos += [path for path in files if path.suffix == ".pts" and path.stem not in stems]
        points = {photo.name: photo.with_suffix(".pts") for photo in photos}
    else:
        points = read_landmarks(landmarks, [photo.name for photo in photos])
    faces = {}
    for photo in photos:
        name = re.sub(r"[^\w.-]", "_", photo.stem)
        if name in faces:
            raise fileio.InputError(f"{photo}: has the name of another photo; rename it")
        faces[name] = FaceFile(name, name, str(photo), points[photo.name])
    return list(faces.values())


def read_pts(path: str | os.PathLike) -> np.ndarray:
    """300-W's points, (2, 68) photo px, y down: two numbers a line between braces."""
    if not Path(path).is_file():
        raise fileio.InputError(f"{path}: no points of this photo; or give all with --landmarks")
    text = fileio.read_bytes(path).decode(errors="replace")
    bodies = re.findall(r"\{(.*?)\}", text, re.DOTALL)
    rows = [line.split() for body in bodies for line in body.splitlines() if line.strip()]
    return _as_points(path, rows)


def read_landmarks(
    path: str | os.PathLike, names: list[str]
) -> dict[str, np.ndarray | fileio.InputError]:
    """Points of each photo, (2 or 3, 68) photo px, y down, z out of the face.

    What is wrong with the points of one photo is its entry, so that it does not stop the others.

    `.npy`: (N, 2 or 3, 68) or (N, 68, 2 or 3), in the order of the sorted photos; `.json`: an
    object of 68 points by photo; `.csv`: a line a photo, its name, then x0, y0, x1, ... (136
    numbers) or x0, y0, z0, ... (204), perhaps below a header. Names may lack their suffix.

    Args:
        path: the file.
        names: sorted file names of the photos.
    Raises:
        InputError: unreadable, of another form, or, in a `.npy`, for other photos.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".npy":
        array = fileio.read_array(path, (None, None, None))
        if len(array) != len(names):
            raise fileio.InputError(f"{path}: {len(array)} faces for {len(names)} photos")
        return {name: _as_points(path, rows) for name, rows in zip(names, array, strict=True)}
    if suffix == ".json":
        table = fileio.read_json(path)
        if not isinstance(table, dict):
            raise fileio.InputError(f"{path}: not an object of points by photo")
    elif suffix == ".csv":
        table = _read_csv(path)
    else:
        raise fileio.InputError(f"{path}: points must be .npy, .json or .csv")
    points = {}
    for name in names:
        rows = table.get(name, table.get(Path(name).stem))
        try:
            if rows is None:
                raise fileio.InputError(
                    f"{path}: no points of {name}; add them, or remove the photo"
                )
            points[name] = _as_points(f"{path}, {name}", rows)
        except fileio.InputError as error:
            points[name] = error
    return points


def _read_csv(path: str | os.PathLike) -> dict[str, list[list[str]]]:
    """The rows of points of each name; of a name that stands twice, those of both faces."""
    text = fileio.read_bytes(path).decode("utf-8-sig", errors="replace")  # Excel adds a mark
    table: dict[str, list[list[str]]] = {}
    try:
        lines = list(filter(None, csv.reader(text_io.StringIO(text))))
    except csv.Error as error:
        raise fileio.InputError(f"{path}: not a readable .csv file ({error})") from None
    for name, *numbers in lines:
        dims = 2 if len(numbers) % (3 * N_LANDMARKS) else 3
        rows = [numbers[i : i + dims] for i in range(0, len(numbers), dims)]
        table.setdefault(name.strip(), []).extend(rows)
    return table


def _as_points(where: str | os.PathLike, rows: object) -> np.ndarray:
    """68 points as (2 or 3, 68) float64, from either order of the axes.

    Raises:
        InputError: says how many there are, where they are not 68.
    """
    count = len(rows) if isinstance(rows, list | np.ndarray) else 0
    if count > N_LANDMARKS and count % N_LANDMARKS == 0:
        raise fileio.InputError(
            f"{where}: {count // N_LANDMARKS} faces in one photo; copy the photo, a face each"
        )
    try:
        points = np.asarray(rows, np.float64)
    except (TypeError, ValueError):
        points = np.empty(0)
    if points.ndim == 2 and points.shape[0] == N_LANDMARKS:
        points = points.T
    if points.shape not in ((2, N_LANDMARKS), (3, N_LANDMARKS)):
        counted = f", but {count}" if count not in (0, 2, 3, N_LANDMARKS) else ""
        raise fileio.InputError(f"{where}: not {N_LANDMARKS} points of 2 or 3 numbers{counted}")
    return fileio.require_finite(where, points)


# ---------------------------------------------------------------- fitting


def read_face(face_file: FaceFile, morphable_folder: Path, jaw: str = OUTLINE) -> LabelledFace:
    """Read a photo and fit its face; the landmarks are the fitted ones, the error the residual.

    Args:
        face_file: of `find_faces`.
        morphable_folder: the face model to fit.
        jaw: OUTLINE or BONE: what points 0 to 16 are on, where they have no depth.
    Raises:
        InputError: the photo is damaged, or its points do not look like a face's.
    """
    image, _, fit = _fit(face_file, morphable_folder, jaw)
    return LabelledFace(image, fit.params, fit.landmarks, fit.residual)


@functools.lru_cache(maxsize=1)
def jaw_curves(folder: Path) -> JawCurves:
    """The curves of a face model's jaw, made once a process.

    Raises:
        InputError: it has no triangles.
    """
    try:
        return JawCurves.of(load_morphable(folder))
    except ValueError as error:
        raise fileio.InputError(f"{folder}: {error}; add it, or pass --jaw bone") from None


def _fit(
    face_file: FaceFile, morphable_folder: Path, jaw: str
) -> tuple[np.ndarray, np.ndarray, Fit]:
    """The photo, its points (2 or 3, 68), and what fits them."""
    image, points = fileio.read_image(face_file.picture), face_file.label
    if isinstance(points, fileio.InputError):
        raise points
    if isinstance(points, Path):
        points = read_pts(points)
    curves = jaw_curves(morphable_folder) if jaw == OUTLINE else None
    try:
        fit = fit_landmarks(points, landmark_model(morphable_folder), curves)
    except ValueError as error:
        raise fileio.InputError(f"{face_file.picture}: {error}") from None
    facing = fit.params[10] / np.linalg.norm(fit.params[8:11])  # cosine, 1 towards the camera
    if fit.residual > MAX_RESIDUAL or facing < MIN_FACING:
        why = f"residual {fit.residual:.0%}" if facing >= MIN_FACING else "it would look away"
        raise fileio.InputError(
            f"{face_file.picture}: no face fits its points ({why}); they must be photo px, y down, "
            f"in the order of 300-W"
        )
    return image, points, fit


# ---------------------------------------------------------------- report


def write_report(
    output: Path,
    faces: list[FaceFile],
    residuals: dict[str, float],
    morphable_folder: Path,
    jaw: str = OUTLINE,
) -> None:
    """Write fits.csv, a line a photo, the worst first, and fits.jpg, a picture of the worst.

    Args:
        output: folder.
        faces: all faces.
        residuals: mean distance of each face's points over its size, by name.
        morphable_folder, jaw: what they were fitted with.
    """
    worst_first = sorted(faces, key=lambda face: -residuals[face.name])
    table = text_io.StringIO()
    rows = ((Path(face.picture).name, f"{residuals[face.name]:.5f}") for face in worst_first)
    csv.writer(table, lineterminator="\n").writerows([("photo", "residual"), *rows])
    fileio.write_text(output / REPORT, table.getvalue())
    tiles = []
    for face_file in worst_first[:WORST]:
        image, points, fit = _fit(face_file, morphable_folder, jaw)
        caption = [face_file.name[:36], f"{fit.residual:.2%}"]
        tiles.append(face_tile(image, fit.landmarks, points, caption))
    fileio.write_image(output / REPORT_PICTURE, contact_sheet(tiles))


def format_report(residuals: dict[str, float]) -> str:
    """A table of the residuals: median, 95th percentile, and the five worst photos."""
    percent = 100 * np.array(list(residuals.values()))
    lines = [
        "residual of the fits, % of the face's size",
        f"  median {np.median(percent):.2f}, 95 of 100 below {np.percentile(percent, 95):.2f}",
    ]
    worst = sorted(residuals, key=residuals.get, reverse=True)[:5]
    return "\n".join(lines + [f"  {100 * residuals[name]:5.2f}  {name}" for name in worst])
