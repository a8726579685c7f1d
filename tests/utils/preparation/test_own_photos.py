"""Own photos: every form of annotation, fits, report, and bad files."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

import prepare_data
from model_building import load_morphable
from synergynet import fileio
from synergynet.fileio import run_command
from synergynet.geometry.crop import crop_to_photo, roi_box_from_landmarks
from synergynet.geometry.mirror import MIRRORED_LANDMARKS
from utils.data.evaluation_crops import EvaluationCrops
from utils.data.folders import OPEN_FOLDER
from utils.data.landmark_model import LandmarkModel
from utils.data.training_crops import TrainingCrops
from utils.preparation import own_photos
from utils.preparation.labels import read_face_label

NAMES = ("anna.jpg", "ben 2.png", "carl.jpeg")
FIT_PX = 3.0  # of faces of about 150 px


@pytest.fixture
def points() -> dict[str, np.ndarray]:
    """(3, 68) photo px of a face in each photo."""
    model = LandmarkModel.of(load_morphable(OPEN_FOLDER))
    rng = np.random.default_rng(0)
    faces = {}
    for name in NAMES:
        params = rng.normal(model.param_mean, model.param_std)
        params[:12] *= 1.3
        landmarks = model.decode(params)
        faces[name] = landmarks + (np.array([200, 190, 0]) - landmarks.mean(1))[:, None]
    return faces


@pytest.fixture
def photos(points, tmp_path: Path) -> Path:
    """Three photos, each with its .pts."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, landmarks in points.items():
        small = rng.integers(0, 256, (20, 21, 3), np.uint8)
        cv2.imwrite(str(folder / name), cv2.resize(small, (420, 400)))
        lines = [f"{x:.6f} {y:.6f}" for x, y in landmarks[:2].T]
        text = "\n".join(["version: 1", "n_points:  68", "{", *lines, "}"])
        (folder / name).with_suffix(".pts").write_text(text)
    return folder


def write_npy(path: Path, points: dict[str, np.ndarray]) -> None:
    fileio.write_array(path, np.stack([points[name] for name in sorted(points)]))


def write_npy_points_first(path: Path, points: dict[str, np.ndarray]) -> None:
    fileio.write_array(path, np.stack([points[name].T for name in sorted(points)]))


def write_json(path: Path, points: dict[str, np.ndarray]) -> None:
    path.write_text(json.dumps({Path(n).stem: p.T.tolist() for n, p in points.items()}))


def write_csv(path: Path, points: dict[str, np.ndarray]) -> None:
    header = ["photo", *(f"{axis}{i}" for i in range(68) for axis in "xyz")]
    rows = [[name, *map(str, p.T.ravel())] for name, p in points.items()]
    path.write_text("\n".join(map(",".join, [header, *rows])))


def run(*flags: object) -> int:
    args = prepare_data.get_args_parser().parse_args(["folder", *map(str, flags)])
    return run_command(prepare_data.main, args)


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize(
    ("file", "write"),
    [
        ("a.npy", write_npy),
        ("a.npy", write_npy_points_first),
        ("a.json", write_json),
        ("a.csv", write_csv),
    ],
)
def test_every_form_gives_the_same_points(photos, points, tmp_path, file, write):
    write(tmp_path / file, points)
    faces = own_photos.find_faces(photos, tmp_path / file)
    assert [Path(face.picture).name for face in faces] == sorted(NAMES)
    assert [face.name for face in faces] == ["anna", "ben_2", "carl"]
    for face in faces:
        np.testing.assert_allclose(face.label, points[Path(face.picture).name], rtol=1e-12)


def test_pts_beside_the_photos(photos, points):
    for face in own_photos.find_faces(photos):
        np.testing.assert_allclose(
            own_photos.read_pts(face.label), points[Path(face.picture).name][:2], atol=1e-6
        )


# ---------------------------------------------------------------- the whole command


def test_photos_become_a_training_set_with_a_report(photos, points, tmp_path, capsys):
    output = tmp_path / "data"
    flags = ("--augment=2", "--workers=0", f"--morphable={OPEN_FOLDER}", "--jaw=bone")
    assert run("--images", photos, "--output", output, *flags) == 0
    crops = TrainingCrops(
        output / "train_aug_120x120",
        output / "train_aug_120x120.list.train",
        output / "param_all_norm_v201.pkl",
    )
    assert crops.names == [f"{n}_{k}.jpg" for n in ("anna", "ben_2", "carl") for k in range(2)]
    morphable = load_morphable(OPEN_FOLDER)
    params = (crops.params_w * morphable.param_std + morphable.param_mean).double().numpy()
    for row, name in zip(params[::2], sorted(NAMES), strict=True):
        fitted = own_photos.fit_landmarks(points[name][:2], LandmarkModel.of(morphable)).landmarks
        box = roi_box_from_landmarks(fitted, 420, 400)
        decoded = crop_to_photo(LandmarkModel.of(morphable).decode(row), box)
        np.testing.assert_allclose(decoded, fitted, atol=0.05)
        assert np.hypot(*(decoded - points[name])[:2]).mean() < FIT_PX
    header, *rows = fileio.read_list(output / "fits.csv")
    assert header == "photo,residual"
    residuals = [float(row.split(",")[1]) for row in rows]
    assert sorted(row.split(",")[0] for row in rows) == sorted(NAMES)
    assert residuals == sorted(residuals, reverse=True)
    assert fileio.read_image(output / "fits.jpg").shape[1] == 3 * 320
    printed = capsys.readouterr().out
    median = float(re.search(r"median ([\d.]+),", printed)[1])
    assert median == pytest.approx(100 * np.median(residuals), abs=0.01)


@pytest.mark.parametrize(
    ("samples", "jaw", "share"),
    [("aflw2000_samples", "bone", 0.4), ("300wlp_sample", "outline", 0)],
)
def test_real_photos_with_both_kinds_of_points(shared_folder, tmp_path, samples, jaw, share):
    """AFLW2000's 3D points and 300W-LP's, whose jaw follows the outline, by the open model."""
    folder = tmp_path / "photos"
    folder.mkdir()
    points = {}
    for path in (shared_folder / "data" / samples).glob("*.mat"):
        label = read_face_label(path)
        picture = path.with_suffix(".jpg")
        (folder / picture.name).write_bytes(picture.read_bytes())
        points[picture.name] = label.pt2d if label.pt3d_68 is None else label.pt3d_68[:2]
    write_json(tmp_path / "points.json", points)
    output = tmp_path / "data"
    flags = ("--landmarks", tmp_path / "points.json", f"--validation={share}", "--workers=0")
    flags += (f"--morphable={OPEN_FOLDER}", f"--jaw={jaw}")
    assert run("--images", folder, "--output", output, *flags) == 0
    rows = [row.split(",") for row in fileio.read_list(output / "fits.csv")[1:]]
    assert len(rows) == len(points) > 0
    assert all(float(residual) < 0.02 for _, residual in rows)
    assert not share or 0 < len(EvaluationCrops(output / "validation")) < len(points)


def test_jaws_on_the_outline_and_on_the_bone(photos, points, tmp_path):
    """Projected 3D landmarks are on the bone; taken for an outline, they fit less well."""
    residuals = {}
    for jaw in ("outline", "bone"):
        output = tmp_path / jaw
        assert run("--images", photos, "--output", output, "--workers=0", f"--jaw={jaw}") == 0
        rows = [row.split(",") for row in fileio.read_list(output / "fits.csv")[1:]]
        residuals[jaw] = np.mean([float(residual) for _, residual in rows])
    assert residuals["bone"] < residuals["outline"] < 3 * residuals["bone"]
    write_json(tmp_path / "a.json", points)  # with depth there is no outline
    (face,) = (f for f in own_photos.find_faces(photos, tmp_path / "a.json") if f.name == "anna")
    fits = [own_photos.read_face(face, OPEN_FOLDER, jaw) for jaw in ("outline", "bone")]
    np.testing.assert_array_equal(fits[0].params, fits[1].params)


def test_a_face_model_without_triangles_has_no_outline(photos, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for path in OPEN_FOLDER.iterdir():
        if path.name != "tri.mat":
            (folder / path.name).write_bytes(path.read_bytes())
    face = own_photos.find_faces(photos)[0]
    with pytest.raises(fileio.InputError, match=r"no triangles .+ pass --jaw bone"):
        own_photos.read_face(face, folder)
    assert own_photos.read_face(face, folder, own_photos.BONE).error < 0.05


# ---------------------------------------------------------------- bad input


def swapped_sides(points: np.ndarray) -> np.ndarray:
    return points[:, MIRRORED_LANDMARKS]


def y_up(points: np.ndarray) -> np.ndarray:
    return points * [[1], [-1], [1]] + [[0], [400], [0]]


@pytest.mark.parametrize("change", [swapped_sides, y_up, lambda p: p[:, ::-1]])
def test_points_in_another_order_or_frame_are_refused(photos, points, tmp_path, capsys, change):
    points["anna.jpg"] = change(points["anna.jpg"])
    write_json(tmp_path / "a.json", points)
    flags = ("--landmarks", tmp_path / "a.json", "--output", tmp_path / "data", "--workers=0")
    assert run("--images", photos, *flags) == 2
    error = capsys.readouterr().err
    assert re.search(r"anna\.jpg: no face fits its points \(.+\); they must be", error)
    assert error.count("\n") == 1


def test_photos_and_points_that_do_not_belong_together(photos, points, tmp_path):
    write_npy(tmp_path / "a.npy", {name: points[name] for name in NAMES[:2]})
    with pytest.raises(fileio.InputError, match=r"a\.npy: 2 faces for 3 photos"):
        own_photos.find_faces(photos, tmp_path / "a.npy")
    write_json(tmp_path / "a.json", {name: points[name] for name in NAMES[:2]})
    *others, carl = own_photos.find_faces(photos, tmp_path / "a.json")
    for face in others:
        own_photos.read_face(face, OPEN_FOLDER)
    with pytest.raises(fileio.InputError, match=r"a\.json: no points of carl\.jpeg"):
        own_photos.read_face(carl, OPEN_FOLDER)
    (photos / "ben_2.jpg").write_bytes((photos / "anna.jpg").read_bytes())
    points["ben_2.jpg"] = points["anna.jpg"]
    write_json(tmp_path / "a.json", points)
    with pytest.raises(fileio.InputError, match=r"has the name of another photo"):
        own_photos.find_faces(photos, tmp_path / "a.json")


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("a.csv", "anna.jpg,1,2,3", r"a\.csv, anna\.jpg: not 68 points"),
        ("a.csv", "anna.jpg" + ",1,2" * 67, r"anna\.jpg: not 68 points .+, but 67"),
        ("a.csv", ("anna.jpg" + ",1,2" * 68 + "\n") * 2, r"anna\.jpg: 2 faces in one photo"),
        ("a.json", json.dumps({"anna": [[1, 2]] * 136}), "2 faces in one photo"),
        ("anna.pts", "{\n" + "1 2\n" * 67 + "}", r"anna\.pts: not 68 points .+, but 67"),
        ("anna.pts", ("{\n" + "1 2\n" * 68 + "}\n") * 2, r"anna\.pts: 2 faces in one photo"),
        ("a.csv", "anna.jpg," + ",".join(["x"] * 136), r"a\.csv, anna\.jpg: not 68 points"),
        ("a.json", "[1, 2]", "not an object of points by photo"),
        ("a.json", '{"anna": [[1, 2]]}', "not 68 points of 2 or 3 numbers"),
        ("a.json", json.dumps({"anna": [[1, None]] * 68}), "finite"),
        ("a.json", '{"anna": {"x": 1}}', "not 68 points of 2 or 3 numbers"),
        ("a.json", "{", "not valid JSON"),
        ("a.txt", "", "points must be"),
        ("a.npy", "no array", "not a readable"),
        ("anna.pts", "version: 1\n{\n1 2\n}", r"anna\.pts: not 68 points"),
        ("anna.pts", "no braces", r"anna\.pts: not 68 points"),
    ],
)
def test_damaged_points(photos, tmp_path, file, text, message):
    is_pts = file.endswith(".pts")
    path = (photos if is_pts else tmp_path) / file
    path.write_text(text)
    with pytest.raises(fileio.InputError, match=message):
        own_photos.read_face(
            own_photos.find_faces(photos, None if is_pts else path)[0], OPEN_FOLDER
        )


def test_an_array_of_other_dimensions(photos, tmp_path):
    fileio.write_array(tmp_path / "a.npy", np.float64(3))
    with pytest.raises(fileio.InputError, match=r"a\.npy: shape \(\), expected"):
        own_photos.find_faces(photos, tmp_path / "a.npy")


def test_tables_of_excel_begin_with_a_mark(photos, points, tmp_path):
    write_csv(tmp_path / "a.csv", points)
    header, *lines = (tmp_path / "a.csv").read_text().splitlines(keepends=True)
    assert not header.startswith("anna")
    (tmp_path / "a.csv").write_text("".join(lines), encoding="utf-8-sig")
    assert len(own_photos.find_faces(photos, tmp_path / "a.csv")) == len(points)


def test_folders_without_photos(tmp_path):
    with pytest.raises(fileio.InputError, match="no such folder of photos"):
        own_photos.find_faces(tmp_path / "absent")
    with pytest.raises(fileio.InputError, match="no photos"):
        own_photos.find_faces(tmp_path)


def test_a_damaged_photo_is_named(photos, tmp_path, capsys):
    (photos / "anna.jpg").write_bytes(b"no picture")
    assert run("--images", photos, "--output", tmp_path / "data", "--workers=0") == 2
    assert "anna.jpg: not a picture" in capsys.readouterr().err
    assert not (tmp_path / "data" / "fits.csv").exists()


def test_a_file_of_points_that_cannot_be_read_is_named(broken):
    with pytest.raises(fileio.InputError, match=r"1\.pts: cannot be read"):
        own_photos.read_pts(broken("1.pts"))
    with pytest.raises(fileio.InputError, match=r"all\.csv: cannot be read"):
        own_photos.read_landmarks(broken("all.csv"), ["1.jpg"])


def test_every_broken_file_is_named_and_the_others_are_done(photos, tmp_path, capsys):
    """No points, points without a photo, a photo of another kind: none stops the rest."""
    (photos / "anna.pts").unlink()
    (photos / "dora.pts").write_text((photos / "ben 2.pts").read_text())
    (photos / "eve.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (photos / "eve.pts").write_text((photos / "ben 2.pts").read_text())
    image = cv2.imread(str(photos / "carl.jpeg"))
    cv2.imwrite(str(photos / "takeo.ppm"), image)
    (photos / "takeo.pts").write_text((photos / "carl.pts").read_text())
    assert run("--images", photos, "--output", tmp_path / "data", "--workers=0") == 2
    errors = "".join(fileio.read_list(tmp_path / "data" / "errors.txt"))
    for message in ("anna.pts: no points", "dora.pts: not a picture", "eve.heic: not a picture"):
        assert message in errors
    assert "takeo" not in errors
    for name in ("anna.jpg", "dora.pts", "eve.heic", "eve.pts"):
        (photos / name).unlink()
    assert run("--images", photos, "--output", tmp_path / "data", "--workers=0") == 0
    assert "takeo.ppm," in (tmp_path / "data" / "fits.csv").read_text()


def test_bad_photos_are_counted_and_the_others_done(photos, points, tmp_path, capsys):
    """67 points, points outside the photo, two faces in it, a photo of zeros."""
    for name in ("outside", "two", "short", "zeros"):
        (photos / f"{name}.jpg").write_bytes((photos / "anna.jpg").read_bytes())
        (photos / f"{name}.pts").write_text((photos / "anna.pts").read_text())
    text = (photos / "anna.pts").read_text()
    lines = text.splitlines()
    (photos / "short.pts").write_text("\n".join([*lines[:-2], "}"]))
    (photos / "two.pts").write_text(text + "\n" + text)
    far = [f"{x + 900:.1f} {y:.1f}" for x, y in points["anna.jpg"][:2].T]
    (photos / "outside.pts").write_text("\n".join(["{", *far, "}"]))
    (photos / "zeros.jpg").write_bytes(bytes(1000))
    assert run("--images", photos, "--output", tmp_path / "data", "--workers=0") == 2
    assert "(and 3 more in errors.txt)" in capsys.readouterr().err
    errors = fileio.read_list(tmp_path / "data" / "errors.txt")
    for line, what in zip(
        errors,
        (
            r"outside\.jpg: its landmarks lie outside",
            r"short\.pts: .+ but 67",
            r"two\.pts: 2 faces",
            r"zeros\.jpg: not a pic",
        ),
        strict=True,
    ):
        assert re.search(what, line)
    done = {path.name for path in (tmp_path / "data" / "train_aug_120x120").iterdir()}
    assert done == {f"{n}_{k}.jpg" for n in ("anna", "ben_2", "carl") for k in range(5)}


def test_a_comma_in_a_name_stays_in_its_column(photos, tmp_path):
    for suffix in (".jpg", ".pts"):
        (photos / f"anna{suffix}").rename(photos / f"anna, 3{suffix}")
    assert run("--images", photos, "--output", tmp_path / "data", "--workers=0") == 0
    with open(tmp_path / "data" / "fits.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert {len(row) for row in rows} == {2}
    assert "anna, 3.jpg" in {row[0] for row in rows}
