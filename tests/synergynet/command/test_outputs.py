"""Results as people use them: the table of a run, crops, metric pose by --focal or EXIF."""

from __future__ import annotations

import argparse
import copy
import csv
import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from synergynet import face_capture, fileio, table
from synergynet.blendshapes import ARKIT_NAMES
from synergynet.command import pictures
from synergynet.command.faces_csv import HEADER
from synergynet.command.main import command
from synergynet.detection.detectors import whole_photo
from synergynet.geometry.pinhole import Lens
from synergynet.net import SynergyNet
from utils.data.evaluation_crops import OPEN_TEST_FOLDER, EvaluationCrops


@pytest.fixture(scope="module")
def net() -> SynergyNet:
    """The shipped weights; dark pictures show no face, the others are crops of one."""

    def detect(photo: np.ndarray) -> np.ndarray:
        return whole_photo(photo) if photo.mean() > 20 else np.empty((0, 5))

    return SynergyNet(detector=detect)


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    return EvaluationCrops(OPEN_TEST_FOLDER)[0].numpy()


@pytest.fixture
def run(net, tmp_path, monkeypatch):
    """Call the command with the network above, into tmp_path/out."""

    def make_net(args: argparse.Namespace, _: object) -> SynergyNet:
        ours = copy.copy(net)
        ours.refine_crop = args.refine_crop
        return ours

    monkeypatch.setattr("synergynet.command.run.make_detector", lambda name, _: name)
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> int:
        return command([*arguments, "--output", "out"], make_net)

    return call


def write_album(face: np.ndarray, count: int) -> list[str]:
    """Pictures of one face each, no two alike, and a dark one."""
    paths = [f"in/{index}.png" for index in range(count)]
    for index, path in enumerate(paths):
        fileio.write_image(path, np.roll(face, 3 * index, axis=1))
    fileio.write_image("in/dark.png", np.zeros_like(face))
    return paths


def read_table(path: str = "out/faces.csv") -> list[dict[str, str]]:
    with open(path, newline="") as file:
        reader = csv.DictReader(file)
        assert tuple(reader.fieldnames or ()) == HEADER
        return list(reader)


def entries() -> list[dict]:
    lines = Path("out/results_rank0.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def rows_of_entries() -> list[list[str]]:
    """What the table must hold, from the lines of JSON."""
    return [
        ["" if value is None else str(value) for value in [e["image"], i, *table.cells(face)]]
        for e in entries()
        for i, face in enumerate(e.get("faces", []))
    ]


# ---------------------------------------------------------------- the table


def test_the_table_holds_what_the_lines_of_json_hold(run, net, face):
    paths = write_album(face, 3)
    Path("in/broken.jpg").write_text("no picture")
    assert run("in") == 0
    rows = read_table()
    assert [list(row.values()) for row in rows] == rows_of_entries()
    assert [row["image"] for row in rows] == paths
    columns = net.predict([fileio.read_image(paths[2])]).to_dict()
    for name in table.COLUMNS:  # the same names and numbers in Python
        value = columns[name][0]
        assert rows[2][name] == ("" if value is None else str(value))


def test_a_run_that_goes_on_has_each_face_once(run, face, monkeypatch):
    paths = write_album(face, 4)
    written = pictures.write_files

    def stop_at_the_third(output, picture, *rest):
        if picture.name == "2":
            raise KeyboardInterrupt
        written(output, picture, *rest)

    monkeypatch.setattr(pictures, "write_files", stop_at_the_third)
    assert run("in") == 130
    assert [row["image"] for row in read_table()] == paths[:2]
    monkeypatch.setattr(pictures, "write_files", written)
    with open("out/faces.csv", "a") as file:
        file.write("in/2.png,0,cut o")  # as by a power cut
    with open("out/results_rank0.jsonl", "a") as file:
        file.write('{"image": "in/2.p')
    assert run("in", "--resume") == 0
    assert [row["image"] for row in read_table()] == paths
    assert [list(row.values()) for row in read_table()] == rows_of_entries()
    Path("out/faces.csv").unlink()  # of an older version, which wrote none
    assert run("in", "--resume", "--depth") == 0
    assert [list(row.values()) for row in read_table()] == rows_of_entries()


def test_lines_of_an_older_version_leave_cells_empty(run, face):
    write_album(face, 2)
    assert run("in", "--results-only") == 0
    older = entries()
    for entry in older:
        for found in entry["faces"]:
            for name in ("visible", "head_unit_px", "metric_pose"):
                del found[name]
    fileio.write_text("out/results_rank0.jsonl", "".join(f"{json.dumps(e)}\n" for e in older))
    assert run("in", "--results-only", "--resume") == 0
    rows = read_table()
    assert len(rows) == 2
    assert {row["visible0"] + row["head_unit_px"] for row in rows} == {""}
    assert float(rows[0]["param61"]) == older[0]["faces"][0]["params"][61]


def test_an_older_table_is_put_aside(run, face):
    paths = write_album(face, 2)
    for path in paths:
        assert run(path, "--results-only") == 0
    assert [row["image"] for row in read_table()] == paths[1:]
    assert [row["image"] for row in read_table("out/older_faces.csv")] == paths[:1]


def test_processes_of_torchrun_write_a_table_each(run, face, monkeypatch):
    paths = write_album(face, 4)
    threads = cv2.getNumThreads()
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        assert run("in", "--results-only") == 0
    cv2.setNumThreads(threads)
    parts = [read_table(f"out/faces_rank{rank}.csv") for rank in range(2)]
    assert sorted(row["image"] for part in parts for row in part) == paths
    assert not Path("out/faces.csv").exists()
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("RANK", "0")
    assert run("in", "--results-only", "--resume") == 0
    assert sorted(row["image"] for row in read_table()) == paths  # one table of all


# ---------------------------------------------------------------- crops


@pytest.mark.parametrize("flags", [[], ["--refine-crop"]])
def test_saved_crops_give_the_same_numbers(run, net, face, flags):
    photo = np.full((200, 220, 3), 90, np.uint8)
    photo[40:160, 50:170] = face
    fileio.write_image("in/photo.png", photo)
    assert run("in", "--save-crops", *flags) == 0
    crop = fileio.read_image("out/crops/photo_0.png")
    assert crop.shape == (120, 120, 3)
    if flags:  # the border of the second look
        assert not crop[:5].any()
    params = net.model.unwhiten(net.engine(crop[None]))[0]
    expected = entries()[0]["faces"][0]["params"]
    np.testing.assert_allclose(params, expected, rtol=1e-4, atol=1e-4)


def test_going_on_makes_the_crops(run, face):
    write_album(face, 2)
    assert run("in", "--results-only", "--save-crops") == 0
    assert not Path("out/crops").exists()  # these are pictures too
    assert run("in", "--resume") == 0
    assert run("in", "--resume", "--save-crops") == 0
    assert len(list(Path("out/crops").iterdir())) == 2


# ---------------------------------------------------------------- the lens


def write_jpeg(path: str, face: np.ndarray, focal_mm: int) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = focal_mm
    Image.fromarray(face[:, :, ::-1]).save(path, exif=exif, quality=98)


def test_the_lens_is_the_flags_else_the_pictures_own(run, face):
    write_jpeg("in/phone.jpg", face, 26)
    fileio.write_image("in/plain.png", face)
    assert run("in", "--results-only") == 0
    phone, plain = entries()
    focal_px = 26 * np.hypot(120, 120) / np.hypot(36, 24)
    assert phone["camera"]["focal_px"] == pytest.approx(focal_px, abs=0.01)
    assert phone["camera"]["source"] == "EXIF"
    assert phone["camera"]["centre_px"] == [60, 60]
    assert "63 mm apart" in phone["camera"]["metric_convention"]
    assert plain["camera"] is None
    assert plain["faces"][0]["metric_pose"] is None
    assert run("in", "--results-only", "--focal", "500") == 0
    for entry in entries():
        assert (entry["camera"]["focal_px"], entry["camera"]["source"]) == (500, "--focal")
    row = read_table()[0]
    metric = entries()[0]["faces"][0]["metric_pose"]
    assert [float(row[f"rvec_{axis}"]) for axis in "xyz"] == metric["rvec"]
    assert [float(row[f"tvec_{axis}_mm"]) for axis in "xyz"] == metric["tvec_mm"]
    assert float(row["yaw_camera"]) == metric["yaw"]


def test_the_lens_is_that_of_python(run, net, face):
    fileio.write_image("in/face.png", face)
    assert run("in", "--results-only", "--focal", "400") == 0
    metric = net.predict([face]).metric_pose(Lens.of_photo(400, face.shape))
    found = entries()[0]["faces"][0]["metric_pose"]
    np.testing.assert_allclose(found["tvec_mm"], metric.tvec_mm[0], atol=0.01)


@pytest.mark.parametrize("focal", ["0", "-3", "nan", "inf", "1e9"])
def test_a_focal_length_that_is_none_is_refused(run, face, capsys, focal):
    fileio.write_image("in/face.png", face)
    assert run("in", "--focal", focal) == 2
    assert capsys.readouterr().err.startswith(f"error: --focal {float(focal)}: must be at ")


# ---------------------------------------------------------------- blendshapes


def read_capture(path: str = "out/blendshapes.csv") -> list[dict[str, str]]:
    with open(path, newline="") as file:
        reader = csv.DictReader(file)
        assert tuple(reader.fieldnames or ()) == face_capture.HEADER
        return list(reader)


def entries_with_faces() -> list[dict]:
    return [entry for entry in entries() if entry["faces"]]


def test_blendshapes_have_a_row_a_face_in_the_order_of_the_table(run, net, face):
    paths = write_album(face, 3)
    assert run("in", "--blendshapes", "--results-only") == 0
    rows = read_capture()
    assert [row["Timecode"] for row in rows] == [f"00:00:00:0{i}.000" for i in range(3)]
    for row, entry, path in zip(rows, entries_with_faces(), paths, strict=True):
        assert entry["image"] == path
        assert {"jawOpen", "mouthSmileLeft"} <= set(entry["reliable_blendshapes"])
        found = net.predict([fileio.read_image(path)]).blendshapes[0]
        shown = [float(row[name[0].upper() + name[1:]]) for name in ARKIT_NAMES]
        np.testing.assert_allclose(shown, found, atol=1e-4)
        assert list(entry["faces"][0]["blendshapes"].values()) == shown
        yaw = entry["faces"][0]["pose"]["exact"]["yaw"]
        assert np.degrees(float(row["HeadYaw"])) == pytest.approx(yaw, abs=1e-3)


def test_going_on_makes_the_table_of_blendshapes(run, face):
    write_album(face, 2)
    assert run("in", "--results-only") == 0
    assert not Path("out/blendshapes.csv").exists()
    path = Path("out/results_rank0.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    (last,) = (line for line in lines if line["image"] == "in/1.png")
    del last["faces"][0]["blendshapes"]  # of an older version: a row at rest
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    fileio.write_image("in/z.png", face)
    assert run("in", "--blendshapes", "--results-only", "--resume") == 0
    rows = read_capture()
    assert [row["Timecode"][-6:] for row in rows] == ["00.000", "01.000", "02.000"]
    assert {rows[1][name[0].upper() + name[1:]] for name in ARKIT_NAMES} == {"0.0"}
    assert len(read_table()) == 3


def test_blendshapes_of_other_face_models_are_refused(run, net, face, capsys, monkeypatch):
    write_album(face, 1)
    other = dataclasses.replace(net.model, actions=None, name="tiny")
    weights = dataclasses.replace(net.weights, face_model=other)
    monkeypatch.setattr(net, "weights", weights)
    monkeypatch.setattr(net, "model", other)
    assert run("in", "--blendshapes") == 2
    assert "--blendshapes: the expressions of the face model tiny" in capsys.readouterr().err
    assert run("in", "--results-only") == 0
    (entry,) = entries_with_faces()
    assert entry["faces"][0]["blendshapes"] is None
    assert entry["reliable_blendshapes"] is None
