"""300W-LP, generated and real: labels, checks, resuming after kill -9, bad files."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io

import prepare_data
from benchmarks.preparation import (
    conversion,
    differing_files,
    kill_midway,
    write_300wlp,
)
from model_building import load_morphable
from synergynet import fileio
from synergynet.fileio import run_command
from synergynet.geometry.crop import crop_to_photo, roi_box_from_landmarks
from utils.data.evaluation_crops import EvaluationCrops
from utils.data.folders import OPEN_FOLDER
from utils.data.landmark_model import LandmarkModel
from utils.data.training_crops import TrainingCrops
from utils.preparation import lp300w, training_set
from utils.preparation.labels import (
    label_to_params,
    params_to_label,
    read_face_label,
    write_face_label,
)

SAMPLE_ROWS = [55, 150, 286, 311, 749, 1238, 1263, 1984]  # of the published arrays
DECODE_PX = 0.05
ROUND_TRIP_STD = 1e-5


def run(source: Path, output: Path, *flags: str, morphable: Path = OPEN_FOLDER) -> int:
    args = prepare_data.get_args_parser().parse_args(
        ["300w-lp", f"--source={source}", f"--output={output}", f"--morphable={morphable}", *flags]
    )
    return run_command(prepare_data.main, args)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip of 40 generated pictures; tests must not change it."""
    path = tmp_path_factory.mktemp("300wlp") / "300W-LP.zip"
    write_300wlp(path, 40, load_morphable(OPEN_FOLDER))
    return path


@pytest.fixture
def folder(archive: Path, tmp_path: Path) -> Path:
    """The same, unpacked."""
    with zipfile.ZipFile(archive) as file:
        file.extractall(tmp_path / "unpacked")
    return tmp_path / "unpacked"


def read_training_set(output: Path) -> TrainingCrops:
    return TrainingCrops(
        output / "train_aug_120x120",
        output / "train_aug_120x120.list.train",
        output / "param_all_norm_v201.pkl",
    )


# ---------------------------------------------------------------- the whole command


def test_a_zip_becomes_a_training_and_a_validation_set(archive, tmp_path, capsys):
    output = tmp_path / "data"
    flags = ("--augment=2", "--workers=0", "--validation=0.4", "--check=5")
    assert run(archive, output, *flags) == 0
    printed = capsys.readouterr().out
    crops, validation = read_training_set(output), EvaluationCrops(output / "validation")
    faces = {face.name: face for face in lp300w.find_faces(archive)}
    assert len(faces) == 40
    assert "points 17-67: rebuilt to 0.0 px" in printed
    assert f"--validation {output}/validation" in printed
    assert fileio.read_image(output / "labels.jpg").shape[1] == 4 * 320
    trained = {name.rsplit("_", 1)[0] for name in crops.names}
    validated = {name.rsplit("_", 1)[0] for name in validation.names}
    assert trained
    assert validated
    photos = [{faces[name].photo for name in names} for names in (trained, validated)]
    assert not photos[0] & photos[1]
    assert any(faces[name].is_mirrored for name in trained)
    assert not any(faces[name].is_mirrored for name in validated)
    left_out = faces.keys() - trained - validated
    assert all(faces[name].is_mirrored for name in left_out)


def test_a_folder_gives_the_same_as_its_zip(archive, folder, tmp_path):
    for source, output in ((archive, "zip"), (folder, "folder")):
        assert run(source, tmp_path / output, "--augment=1", "--workers=0") == 0
    assert differing_files(tmp_path / "zip", tmp_path / "folder") == []


@pytest.mark.parametrize("shift_px", [0, 190])
def test_exact_crops_decode_to_the_labels_landmarks(folder, tmp_path, shift_px, label_landmarks):
    """In the middle of the photo, and at its edge, where boxes are clipped and not square."""
    morphable = load_morphable(OPEN_FOLDER)
    model = LandmarkModel.of(morphable)
    faces = lp300w.find_faces(folder)[:6]
    paths = [folder / face.label for face in faces]
    for path in paths:
        label = read_face_label(path)
        pose = label.pose + shift_px * np.eye(7)[3]
        write_face_label(path, dataclasses.replace(label, pose=pose, pt2d=None))
    assert run(folder, tmp_path, "--augment=1", "--workers=0", "--validation=0") == 0
    crops = read_training_set(tmp_path)
    for path, params_w in zip(paths, crops.params_w.numpy(), strict=False):
        truth = label_landmarks(read_face_label(path), morphable, 450)
        box = roi_box_from_landmarks(truth, 450, 450)
        assert (box[2] - box[0] != box[3] - box[1]) == (shift_px > 0)
        params = params_w.astype(np.float64) * model.param_std + model.param_mean
        np.testing.assert_allclose(crop_to_photo(model.decode(params), box), truth, atol=DECODE_PX)


def test_labels_without_points_are_drawn_but_not_measured(folder, tmp_path, capsys):
    for path in folder.rglob("AFW*_?.mat"):
        write_face_label(path, dataclasses.replace(read_face_label(path), pt2d=None))
    assert run(folder / "300W_LP" / "AFW", tmp_path, "--augment=1", "--workers=0") == 0
    assert "labels drawn; points 17-67: no points stored" in capsys.readouterr().out


def test_mirror_images_are_made_only_where_the_source_has_none(archive, tmp_path, monkeypatch):
    recipes = []
    write = prepare_data._write_training_set
    monkeypatch.setattr(
        prepare_data, "_write_training_set", lambda *a: recipes.append(a[4]) or write(*a)
    )
    without = tmp_path / "without.zip"
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(without, "w") as new:
        for name in old.namelist():
            if "_Flip" not in name:
                new.writestr(name, old.read(name))
    for index, source in enumerate((archive, without)):
        assert run(source, tmp_path / str(index), "--augment=2", "--workers=0") == 0
    assert recipes == [False, True]


def test_kill_9_loses_and_doubles_nothing(tmp_path):
    source = tmp_path / "300W-LP.zip"
    write_300wlp(source, 160, load_morphable(OPEN_FOLDER))
    command = conversion(source, OPEN_FOLDER, tmp_path / "resumed", workers=2)
    kill_midway(command, tmp_path / "resumed", records=2)
    record, *_ = tmp_path.glob("resumed/.unfinished/*/*.npz")
    record.write_bytes(record.read_bytes()[:50])  # as a power cut may leave it
    assert not list(tmp_path.glob("resumed/*.list.train"))
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert run(source, tmp_path / "whole", "--augment=1", "--validation=0.05", "--workers=0") == 0
    assert differing_files(tmp_path / "whole", tmp_path / "resumed") == []
    names = read_training_set(tmp_path / "resumed").names
    assert len(set(names)) == len(names)


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("stem", "photo"),
    [
        ("AFW_134212_1_0", "AFW_134212"),
        ("AFW_134212_2_13", "AFW_134212"),
        ("HELEN_100032540_1_5", "HELEN_100032540"),
        ("IBUG_image_008_1_0", "IBUG_image_008"),
        ("LFPW_image_test_0001_0", "LFPW_image_test_0001"),
        ("image00081", "image00081"),
    ],
)
def test_photos_of_faces(stem, photo):
    assert lp300w.photo_name(stem) == photo


def test_faces_are_named_after_folder_and_file(archive):
    faces = {face.name: face for face in lp300w.find_faces(archive)}
    face = faces["AFW_Flip_AFW_1001_1_1"]
    assert face.picture == "300W_LP/AFW_Flip/AFW_1001_1_1.jpg"
    assert face.label == "300W_LP/AFW_Flip/AFW_1001_1_1.mat"
    assert face.is_mirrored
    assert face.photo == faces["AFW_AFW_1001_1_1"].photo == "AFW_1001"
    assert list(faces) == sorted(faces)


# ---------------------------------------------------------------- bad input


def remove(name: str):
    return lambda folder: (folder / "300W_LP/AFW" / name).unlink()


def corrupt(folder: Path) -> None:
    path = folder / "300W_LP/AFW/AFW_1001_1_2.mat"
    path.write_bytes(path.read_bytes()[:700])


def change_label(key: str, value: np.ndarray):
    def change(folder: Path) -> None:
        path = folder / "300W_LP/AFW/AFW_1001_1_2.mat"
        table = {k: v for k, v in scipy.io.loadmat(path).items() if k[0] != "_"}
        scipy.io.savemat(path, table | {key: value})

    return change


def truncate_picture(folder: Path) -> None:
    path = folder / "300W_LP/AFW/AFW_1001_1_2.jpg"
    path.write_bytes(path.read_bytes()[:3000])


HUGE = np.array([[0, 0, 0, 200, 200, -80, 30.0]])
FAR_AWAY = np.array([[0, 0, 0, 9000, 200, -80, 1.2e-3]])


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (remove("AFW_1001_1_2.jpg"), r"AFW_1001_1_2\.jpg is missing"),
        (remove("AFW_1001_1_2.mat"), r"AFW_1001_1_2\.mat is missing"),
        (corrupt, r"AFW_1001_1_2\.mat: not a readable \.mat file"),
        (truncate_picture, r"AFW_1001_1_2\.jpg: the picture is cut off"),
        (change_label("Shape_Para", np.zeros((10, 1))), r"AFW_1001_1_2\.mat: Pose_Para, Shape"),
        (change_label("Exp_Para", np.full((29, 1), np.nan)), r"AFW_1001_1_2\.mat: holds values"),
        (change_label("Pose_Para", FAR_AWAY), r"AFW_1001_1_2\.jpg: its landmarks lie outside"),
        (change_label("Pose_Para", HUGE), r"AFW_1001_1_2\.jpg: its landmarks span [\d,]+ px"),
    ],
)
def test_bad_files_are_named_in_one_line(folder, tmp_path, capsys, break_it, message):
    break_it(folder)
    flags = ("--augment=1", "--workers=0", "--validation=0", "--check=2")
    assert run(folder, tmp_path / "data", *flags) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(message, error)
    assert not list((tmp_path / "data").glob("*.list.train"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../../evil.jpg", "leads outside"),
        ("/etc/evil.jpg", "leads outside"),
        ("C:\\evil.jpg", "leads outside"),
    ],
)
def test_a_zip_that_points_outside_is_refused(archive, tmp_path, capsys, name, message):
    evil = tmp_path / "deep" / "evil.zip"
    evil.parent.mkdir()
    evil.write_bytes(archive.read_bytes())
    with zipfile.ZipFile(evil, "a") as file:
        file.writestr(name, b"evil")
    before = set(tmp_path.rglob("*"))
    assert run(evil, tmp_path / "deep" / "data", "--workers=0") == 2
    assert message in capsys.readouterr().err
    assert set(tmp_path.rglob("*")) == before


def test_a_zip_bomb_is_refused(archive, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("utils.preparation.archive.SMALL_BYTES", 2**20)
    bomb = tmp_path / "bomb.zip"
    bomb.write_bytes(archive.read_bytes())
    with zipfile.ZipFile(bomb, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("AFW/AFW_1_1_0.jpg", bytes(200 * 2**20))
    assert run(bomb, tmp_path / "data", "--workers=0") == 2
    assert "refused, would unpack from" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_sources_without_faces(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.zip").write_text("no zip")
    for name, message in (
        ("empty", "no pictures with .mat labels in it"),
        ("text.zip", "not a readable zip"),
        ("absent.zip", "no such folder or zip"),
    ):
        assert run(tmp_path / name, tmp_path / "data") == 2
        assert f"{tmp_path / name}: {message}" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_two_faces_of_one_name(folder):
    other = folder / "copy" / "AFW"
    other.mkdir(parents=True)
    for suffix in (".jpg", ".mat"):
        data = (folder / f"300W_LP/AFW/AFW_1001_1_2{suffix}").read_bytes()
        (other / f"AFW_1001_1_2{suffix}").write_bytes(data)
    with pytest.raises(fileio.InputError, match="is in it twice"):
        lp300w.find_faces(folder)


def test_labels_of_another_face_model_are_refused_by_the_check(archive, tmp_path, capsys):
    """The open model's labels with one that is 20 % smaller."""
    other = tmp_path / "other"
    for path in OPEN_FOLDER.iterdir():
        if path.suffix in (".npy", ".pkl", ".mat"):
            (other / path.name).parent.mkdir(exist_ok=True)
            (other / path.name).write_bytes(path.read_bytes())
    fileio.write_array(other / "u_shp.npy", 0.8 * np.load(OPEN_FOLDER / "u_shp.npy"))
    assert run(archive, tmp_path / "data", "--workers=0", morphable=other) == 2
    assert "its labels miss their own points by" in capsys.readouterr().err
    assert not (tmp_path / "data" / "train_aug_120x120").exists()
    assert (tmp_path / "data" / "labels.jpg").is_file()  # to look at


def test_faces_too_large_to_draw_are_refused_by_the_check(folder, tmp_path, capsys):
    """As the Basel Face Model's labels are for the open model, whose coefficients are about 1."""
    for path in folder.glob("300W_LP/[AHI]*/*.mat"):
        table = {k: v for k, v in scipy.io.loadmat(path).items() if k[0] != "_"}
        scipy.io.savemat(path, table | {"Shape_Para": 5e5 * table["Shape_Para"]})
    assert run(folder, tmp_path / "data", "--workers=0") == 2
    assert "they, or the face model, belong to something else" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_the_picture_of_a_finished_set_is_kept(folder, tmp_path, capsys):
    flags = ("--augment=1", "--workers=0", "--validation=0", "--check=2")
    assert run(folder, tmp_path / "data", *flags) == 0
    (tmp_path / "data" / "labels.jpg").write_bytes(b"seen")
    assert run(folder, tmp_path / "data", *flags) == 2
    assert "already there" in capsys.readouterr().err
    assert (tmp_path / "data" / "labels.jpg").read_bytes() == b"seen"


@pytest.mark.parametrize("flag", ["--validation=1", "--validation=-0.1", "--augment=0"])
def test_numbers_out_of_range(archive, tmp_path, capsys, flag):
    assert run(archive, tmp_path / "data", flag) == 2
    assert capsys.readouterr().err.startswith(f"error: {flag.split('=')[0]} ")
    assert not (tmp_path / "data").exists()


# ---------------------------------------------------------------- real samples


def test_the_real_sample_of_300w_lp(shared_folder, tmp_path, capsys, label_landmarks):
    folder = shared_folder / "data" / "300wlp_sample"
    morphable = shared_folder / "data" / "3dmm_bfm"
    flags = ("--augment=4", "--workers=0", "--validation=0")
    assert run(folder, tmp_path, *flags, morphable=morphable) == 0
    error_px = float(capsys.readouterr().out.split("rebuilt to ")[1].split(" px")[0])
    assert error_px < 5
    model = load_morphable(morphable)
    truth = label_landmarks(read_face_label(folder / "IBUG_image_008_1_0.mat"), model, 450)
    box = roi_box_from_landmarks(truth, 450, 450)
    params_w = read_training_set(tmp_path).params_w[0].double()
    params = (params_w * model.param_std + model.param_mean).numpy()
    points = crop_to_photo(LandmarkModel.of(model).decode(params), box)
    np.testing.assert_allclose(points, truth, atol=DECODE_PX)


def test_the_real_samples_of_aflw2000(shared_folder, tmp_path, label_landmarks):
    folder = shared_folder / "data" / "aflw2000_samples"
    morphable = shared_folder / "data" / "3dmm_bfm"
    flags = ("--augment=1", "--workers=0", "--validation=0")
    assert run(folder, tmp_path, *flags, morphable=morphable) == 0
    model = load_morphable(morphable)
    boxes = np.load(shared_folder / "data/aflw2000_eval/AFLW2000-3D_crop.roi_box.npy")
    boxes = boxes[SAMPLE_ROWS].astype(np.float64)
    crops = read_training_set(tmp_path)
    std = model.param_std.numpy()
    assert len(crops) == 8
    for name, params_w, box in zip(crops.names, crops.params_w.double(), boxes, strict=True):
        label = read_face_label(folder / f"{name.removesuffix('_0.jpg')}.mat")
        params = (params_w * model.param_std + model.param_mean).numpy()
        points = crop_to_photo(LandmarkModel.of(model).decode(params), box)
        truth = label_landmarks(label, model, 450)
        np.testing.assert_allclose(points, truth, atol=DECODE_PX)
        write_face_label(tmp_path / "back.mat", params_to_label(params, box, 450))
        back = label_to_params(read_face_label(tmp_path / "back.mat"), box, 450)
        assert (np.abs(back - params) / std).max() < ROUND_TRIP_STD


def test_a_file_of_the_folder_that_cannot_be_read_is_named(broken, tmp_path):
    face = training_set.FaceFile("1", "1", broken("1.jpg").name, "1.mat")
    with pytest.raises(fileio.InputError, match=r"1\.jpg: cannot be read"):
        lp300w.read_face(face, tmp_path, OPEN_FOLDER)


def test_a_damaged_picture_among_those_drawn_stops_no_other(folder, tmp_path, capsys):
    truncate_picture(folder)
    count = len(lp300w.find_faces(folder))
    flags = ("--augment=1", "--workers=0", "--validation=0", f"--check={count}")
    assert run(folder, tmp_path / "data", *flags) == 2
    assert "AFW_1001_1_2.jpg: the picture is cut off" in capsys.readouterr().err
    assert len(list((tmp_path / "data" / "train_aug_120x120").iterdir())) == count - 1
