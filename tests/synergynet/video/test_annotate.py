"""Videos in and out: whole files, all numbers of all frames, and one line for what is wrong."""

import csv
import json
import os
import struct

import cv2
import numpy as np
import pytest

from synergy3DMM import SynergyNet
from synergynet import face_capture
from synergynet.fileio import InputError, read_image, read_json
from synergynet.video.annotate import (
    CODECS,
    CSV_HEADER,
    ResultsWriter,
    VideoReader,
    annotate_video,
    best_codec,
    is_annotated,
)
from utils.data.evaluation_crops import CROPS, OPEN_TEST_FOLDER

N_FRAMES, FPS, SIZE = 8, 20.0, (200, 160)
BOX = np.array([[60.0, 40.0, 140.0, 120.0, 1.0]])
HIDDEN = (3, 4)  # frames without a face


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A face that drifts, and is away in two frames."""
    path = tmp_path_factory.mktemp("clip") / "clip.avi"
    face = cv2.resize(read_image(next((OPEN_TEST_FOLDER / CROPS).glob("*.jpg"))), (96, 96))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), FPS, SIZE)
    for index in range(N_FRAMES):
        frame = np.full((SIZE[1], SIZE[0], 3), 0 if index in HIDDEN else 255, np.uint8)
        if index not in HIDDEN:
            frame[32:128, 50 + index : 146 + index] = face
        writer.write(frame)
    writer.release()
    return path


@pytest.fixture(scope="module")
def net():
    """The shipped network, with a detector that finds the face of `clip`."""
    return SynergyNet(detector=lambda image: BOX if image[0, 0, 0] > 128 else BOX[:0])


def mark(image, faces):
    """A picture whose first pixels tell how many faces there are."""
    image = image.copy()
    image[:16, :16] = 100 * len(faces)
    return image


@pytest.mark.parametrize("smooth", [False, True])
def test_every_frame_and_face_is_written(clip, net, tmp_path, smooth):
    summary = annotate_video(net, str(clip), tmp_path / "clip", mark, smooth=smooth)
    n_faces = N_FRAMES - len(HIDDEN)
    assert (summary.frames, summary.faces, summary.identities) == (N_FRAMES, n_faces, 1)
    assert summary.problem is None
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        f"clip.{suffix}" for suffix in ("csv", "json", "jsonl", "mp4")
    ]
    lines = [json.loads(line) for line in (tmp_path / "clip.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(N_FRAMES))
    seconds = [line["seconds"] for line in lines]
    np.testing.assert_allclose(seconds, np.arange(N_FRAMES) / FPS, atol=1e-4)
    assert [len(line["faces"]) for line in lines] == [i not in HIDDEN for i in range(N_FRAMES)]
    header, *rows = csv.reader((tmp_path / "clip.csv").read_text().splitlines())
    assert header == CSV_HEADER
    assert len(set(header)) == len(header)
    assert len(rows) == n_faces
    last, face = dict(zip(header, rows[-1], strict=True)), lines[-1]["faces"][0]
    assert [float(last[f"param{i}"]) for i in range(62)] == face["params"]
    assert [float(last[f"{axis}67"]) for axis in "xyz"] == face["landmarks"][67]
    assert float(last["yaw"]) == face["pose"]["exact"]["yaw"]
    assert float(last["roll_published"]) == face["pose"]["published"]["roll"]
    assert [last[f"visible{i}"] == "1" for i in range(68)] == face["visible"]
    assert [float(last[name]) for name in ("roi_x0", "roi_y1")] == face["roi_box"][::3]
    assert last["tvec_z_mm"] == ""
    assert (last["frame"], last["id"]) == (str(N_FRAMES - 1), "0")
    capture = cv2.VideoCapture(str(tmp_path / "clip.mp4"))
    frames = [capture.read()[1] for _ in range(N_FRAMES)]
    assert not capture.read()[0]
    assert frames[0].shape == (SIZE[1], SIZE[0], 3)
    counts = [round(float(frame[4:12, 4:12].mean()) / 100) for frame in frames]
    assert counts == [int(i not in HIDDEN) for i in range(N_FRAMES)]
    facts = read_json(tmp_path / "clip.json")
    assert facts["frames"] == N_FRAMES
    assert facts["smooth"] == smooth
    assert is_annotated(str(clip), tmp_path / "clip", True)
    assert not is_annotated("other/clip.avi", tmp_path / "clip", True)


def test_a_known_lens_gives_metric_poses(clip, net, tmp_path):
    annotate_video(net, str(clip), tmp_path / "clip", None, focal_px=300.0)
    header, *rows = csv.reader((tmp_path / "clip.csv").read_text().splitlines())
    first = dict(zip(header, rows[0], strict=True))
    assert 100 < float(first["tvec_z_mm"]) < 2000
    assert float(first["distance_head_units"]) > 2
    facts = read_json(tmp_path / "clip.json")
    assert facts["focal_px"] == 300
    assert "63 mm" in facts["metric_convention"]


def test_blendshapes_have_a_table_a_person(clip, net, tmp_path):
    annotate_video(net, str(clip), tmp_path / "clip", None, blendshapes=True)
    header, *rows = csv.reader((tmp_path / "clip_blendshapes_0.csv").read_text().splitlines())
    assert tuple(header) == face_capture.HEADER
    shown = [i for i in range(N_FRAMES) if i not in HIDDEN]
    assert [row[0] for row in rows] == [face_capture.timecode(i, FPS) for i in shown]
    lines = [json.loads(line) for line in (tmp_path / "clip.jsonl").read_text().splitlines()]
    for row, frame in zip(rows, shown, strict=True):
        found = lines[frame]["faces"][0]["blendshapes"]
        assert [float(cell) for cell in row[2:54]] == list(found.values())
    facts = read_json(tmp_path / "clip.json")
    assert "jawOpen" in facts["reliable_blendshapes"]
    assert is_annotated(str(clip), tmp_path / "clip", False, True)
    annotate_video(net, str(clip), tmp_path / "clip", None)
    assert not is_annotated(str(clip), tmp_path / "clip", False, True)
    assert is_annotated(str(clip), tmp_path / "clip", False)


def test_ctrl_c_is_how_a_webcam_ends(clip, net, tmp_path, monkeypatch):
    capture = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: capture(str(clip)))

    def interrupt(image, faces):
        raise KeyboardInterrupt

    summary = annotate_video(net, "webcam:7", tmp_path / "webcam7", interrupt)
    assert summary.problem == "webcam:7: stopped after 0 frames"


def test_landmarks_follow_the_face_without_a_picture(clip, net, tmp_path):
    annotate_video(net, str(clip), tmp_path / "clip", None)
    assert not (tmp_path / "clip.mp4").exists()
    lines = [json.loads(line) for line in (tmp_path / "clip.jsonl").read_text().splitlines()]
    columns = {
        line["frame"]: np.mean([p[0] for p in line["faces"][0]["landmarks"]])
        for line in lines
        if line["faces"]
    }
    assert columns[N_FRAMES - 1] - columns[0] == pytest.approx(N_FRAMES - 1, abs=3)


def test_a_video_that_breaks_off_leaves_what_was_read(clip, net, tmp_path):
    broken = tmp_path / "broken.avi"
    data = clip.read_bytes()
    broken.write_bytes(data[: len(data) // 2])
    summary = annotate_video(net, str(broken), tmp_path / "out" / "broken", mark)
    assert 0 < summary.frames < N_FRAMES - 2
    assert summary.problem == (f"{broken}: is cut off after {summary.frames} of {N_FRAMES} frames")
    lines = (tmp_path / "out" / "broken.jsonl").read_text().splitlines()
    assert len(lines) == summary.frames
    assert read_json(tmp_path / "out" / "broken.json")["problem"] == summary.problem


def test_ctrl_c_keeps_whole_files(clip, net, tmp_path):
    calls = []

    def interrupt(image, faces):
        calls.append(faces)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return image

    with pytest.raises(KeyboardInterrupt):  # for the caller to stop too
        annotate_video(net, str(clip), tmp_path / "clip", interrupt)
    assert read_json(tmp_path / "clip.json")["problem"] == f"{clip}: stopped after 2 frames"
    assert not is_annotated(str(clip), tmp_path / "clip", True)
    assert len((tmp_path / "clip.jsonl").read_text().splitlines()) == 2
    assert cv2.VideoCapture(str(tmp_path / "clip.mp4")).read()[0]


def test_the_source_is_never_replaced(clip, net, tmp_path):
    source = tmp_path / "clip.mp4"
    source.write_bytes(clip.read_bytes())
    with pytest.raises(InputError, match="would replace it; choose another output folder"):
        annotate_video(net, str(source), tmp_path / "clip", mark)
    assert source.read_bytes() == clip.read_bytes()
    assert list(tmp_path.iterdir()) == [source]


def test_errors_leave_no_file(clip, net, tmp_path):
    def fail(image, faces):
        raise RuntimeError("a bug in drawing")

    with pytest.raises(RuntimeError, match="a bug"):
        annotate_video(net, str(clip), tmp_path / "clip", fail)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("none.mp4", "no such video file"),
        ("text.mp4", "not a video"),
        ("webcam:97", "webcam"),
        (os.fsdecode(b"\xff.mp4"), "names in UTF-8 only"),
    ],
)
def test_sources_that_cannot_be_read(tmp_path, source, message, capfd):
    (tmp_path / "text.mp4").write_text("not a video at all\n" * 100)
    if source.startswith("\udcff"):
        (tmp_path / source).touch()
    with pytest.raises(InputError, match=message):
        VideoReader(source if source.startswith("webcam") else str(tmp_path / source))


def set_frame_times(path, delta, count):
    """Make the frames of an mp4 come after delta[0] ticks at first, count[0] times, and so on."""
    data = bytearray(path.read_bytes())
    at = data.index(b"stts") - 4
    assert data.index(b"moov") > data.index(b"mdat")  # so that no offset changes
    table = b"".join(struct.pack(">II", *pair) for pair in zip(count, delta, strict=True))
    data[at : at + 24] = struct.pack(">I4sII", 16 + len(table), b"stts", 0, len(delta)) + table
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        at = data.index(name) - 4
        (size,) = struct.unpack(">I", data[at : at + 4])
        data[at : at + 4] = struct.pack(">I", size + len(table) - 8)
    path.write_bytes(data)


def test_a_video_of_changing_rate_keeps_its_times(net, tmp_path):
    path = tmp_path / "source.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, (64, 64))
    for shade in range(0, 240, 12):
        writer.write(np.full((64, 64, 3), shade, np.uint8))
    writer.release()
    set_frame_times(path, delta=(512, 128), count=(10, 10))  # 40 ms, then 10 ms
    expected = [*np.arange(11) * 0.04, *(0.4 + 0.01 * np.arange(1, 10))]
    np.testing.assert_allclose([seconds for seconds, _ in VideoReader(str(path))], expected)
    annotate_video(net, str(path), tmp_path / "out", lambda image, faces: image)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    np.testing.assert_allclose([line["seconds"] for line in lines], expected, atol=1e-4)
    shown = [image[0, 0, 0] for _, image in VideoReader(str(tmp_path / "out.mp4"))]
    fps = VideoReader(str(path)).fps
    assert len(shown) == pytest.approx(expected[-1] * fps + 1, abs=1)  # as long as the source
    halfway = shown[round(0.2 * fps)]  # where the source has its sixth frame
    assert halfway == pytest.approx(5 * 12, abs=13)


def test_a_webcams_file_plays_as_fast_as_it_was_filmed(tmp_path):
    with ResultsWriter(tmp_path / "live", 30.0) as results:
        for index in range(10):
            results.add_picture(0.1 * index, np.full((64, 64, 3), 20 * index, np.uint8))
    shown = [image[0, 0, 0] for _, image in VideoReader(str(tmp_path / "live.mp4"))]
    assert len(shown) == 28  # 0.9 s
    np.testing.assert_allclose(shown[::3], 20 * np.arange(10), atol=8)


def test_what_is_written_is_said(clip, net, tmp_path):
    summary = annotate_video(net, str(clip), tmp_path / "clip", mark)
    assert summary.codec == CODECS[best_codec()]
    assert read_json(tmp_path / "clip.json")["codec"] == summary.codec
    assert annotate_video(net, str(clip), tmp_path / "numbers", None).codec is None
