"""Videos and webcams: every frame's faces drawn and written down.

    summary = annotate_video(net, "clip.mp4", "inference_output/clip", draw, smooth=True)

writes clip.mp4 (without sound), clip.csv with a line for each face of each frame, clip.jsonl with a
line for each frame, and clip.json about the whole; clip_blendshapes_0.csv ..., one a person, where
they are wanted. They appear when they are complete. clip.mp4 has
one rate: of videos and webcams whose frames come unevenly it repeats some and leaves some out, so
that it plays as fast as they do.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import functools
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import cv2
import numpy as np

from synergynet import face_capture, fileio, table
from synergynet.drawing.lines import TEXT_BGR
from synergynet.faces import POSE_CONVENTION, Faces, describe_faces
from synergynet.geometry.pinhole import METRIC_CONVENTION, Lens
from synergynet.net import SynergyNet
from synergynet.photos.sources import WEBCAM
from synergynet.progress import Progress
from synergynet.video.tracking import DETECT_EVERY, Tracker

DEFAULT_FPS = 25.0  # of videos and webcams that do not tell
# H.264, which browsers play, where this build of OpenCV can write it; MPEG-4 part 2 is everywhere
CODECS = {"avc1": "H.264", "mp4v": "MPEG-4 part 2"}
CSV_HEADER = ["frame", "seconds", "id", *table.COLUMNS]


@dataclasses.dataclass(frozen=True)
class VideoSummary:
    """What was found in a video.

    Attributes:
        frames: read and written.
        faces: on all frames together.
        identities: people that were told apart.
        codec: of the video that was written, one of CODECS' names; None where there is none.
        problem: one line about a video that is cut off; None for a whole one.
    """

    frames: int
    faces: int
    identities: int
    codec: str | None
    problem: str | None


# ---------------------------------------------------------------- reading


class VideoReader:
    """The frames of a video file or of `webcam:N`, as (seconds, (H, W, 3) uint8 BGR).

    Attributes:
        fps: frames a second.
        n_frames: that a file announces, which may be wrong; None when it, or a webcam, does not.

    Raises:
        InputError: there is no such file or webcam, or it holds no frame.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        webcam = WEBCAM.match(source)
        if not webcam and not Path(source).is_file():
            raise fileio.InputError(
                f"{source}: no such video file; webcams are webcam:0, webcam:1, ..."
            )
        if source != source.encode(errors="ignore").decode():  # which would end the process
            raise fileio.InputError(f"{source!r}: OpenCV reads names in UTF-8 only; rename it")
        self.is_live = webcam is not None
        with _quiet_opencv():
            self._capture = cv2.VideoCapture(int(webcam[1]) if webcam else source)
        self._first = self._read()
        if self._first is None:
            what = "no picture from this webcam" if webcam else "not a video that OpenCV can read"
            raise fileio.InputError(f"{source}: {what}")
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 1 <= fps <= 1000 else DEFAULT_FPS
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.n_frames = count if count > 0 and not self.is_live else None

    def __iter__(self) -> Iterator[tuple[float, np.ndarray]]:
        start, seconds = self._clock(), 0.0
        image = self._first
        while image is not None:
            yield seconds, image
            image = self._read()
            now = self._clock() - start
            # some files have no times, or times that stand still
            seconds = now if now > seconds else seconds + 1 / self.fps

    def broke_off(self, n_read: int) -> bool:
        """Whether a file ended before its time; announced counts may be off by a little."""
        return self.n_frames is not None and n_read < 0.99 * self.n_frames - 2

    def _clock(self) -> float:
        """Seconds of the frame last read: by the file's own time stamps, or by the clock."""
        if self.is_live:
            return time.monotonic()
        return float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000

    def _read(self) -> np.ndarray | None:
        ok, image = self._capture.read()
        return image if ok else None


@contextlib.contextmanager
def _quiet_opencv() -> Iterator[None]:
    # OpenCV and the FFmpeg in it have lines of their own for what gets one line here; FFmpeg's
    # level is read when the first video of a process is opened
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


# ---------------------------------------------------------------- writing


class ResultsWriter:
    """Frame by frame: pictures into a video, numbers into CSV and JSON lines.

    Used as a context; what it wrote appears under its names when that ends without an error.

    Args:
        stem: output path without suffix.
        fps: frames a second of the video.
        blendshapes: whether to write a table of them for each person.

    Attributes:
        codec: of the video, one of CODECS' names; None before the first picture.
    """

    def __init__(self, stem: str | os.PathLike[str], fps: float, blendshapes: bool = False) -> None:
        self.stem = stem
        self.fps = fps
        self._with_blendshapes = blendshapes
        self._captures: dict[int, TextIO] = {}  # by identity
        self.codec: str | None = None
        self._n_written = 0
        self._last: np.ndarray | None = None
        self._stack = contextlib.ExitStack()
        self._video: cv2.VideoWriter | None = None

    def __enter__(self) -> ResultsWriter:
        with contextlib.ExitStack() as stack:
            self._csv = csv.writer(stack.enter_context(_text_file(f"{self.stem}.csv")))
            self._csv.writerow(CSV_HEADER)
            self._jsonl = stack.enter_context(_text_file(f"{self.stem}.jsonl"))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return self._stack.__exit__(*error)

    def add_picture(self, seconds: float, image: np.ndarray) -> None:
        """Write the picture of the frame at this time, with all that is drawn on it.

        The last picture fills a gap before it; a frame whose place is taken is left out.
        """
        if self._video is None:
            path = self._stack.enter_context(fileio.whole_file(f"{self.stem}.mp4"))
            self._video = self._open(str(path), (image.shape[1], image.shape[0]))
            self._stack.callback(self._video.release)  # before the file is moved to its name
        due = round(seconds * self.fps)
        while self._last is not None and self._n_written < due:
            self._write(self._last)
        if self._n_written <= due:
            self._write(image)
        self._last = image

    def _write(self, image: np.ndarray) -> None:
        assert self._video is not None
        self._video.write(image)
        self._n_written += 1

    def _open(self, path: str, size: tuple[int, int]) -> cv2.VideoWriter:
        fourcc = best_codec()
        with _quiet_opencv():
            video = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*fourcc), self.fps, size)
        if not video.isOpened():
            raise fileio.InputError(f"{self.stem}.mp4: OpenCV cannot write a video here")
        self.codec = CODECS[fourcc]
        return video

    def add_faces(self, row: FrameFaces) -> None:
        """Write the faces of the next frame."""
        described = describe_faces(row.faces, row.lens)
        ids = row.ids.tolist()
        faces = [{"id": id_} | face for id_, face in zip(ids, described, strict=True)]
        line = {"frame": row.frame, "seconds": round(row.seconds, 4), "faces": faces}
        self._jsonl.write(json.dumps(line, allow_nan=False) + "\n")
        for face in faces:
            cells = table.cells(face)
            self._csv.writerow([row.frame, line["seconds"], face["id"], *cells])
            if self._with_blendshapes:
                frame = round(row.seconds * self.fps)
                capture = face_capture.row_of(face, frame, self.fps)
                csv.writer(self._capture(face["id"])).writerow(capture)

    def _capture(self, identity: int) -> TextIO:
        if identity not in self._captures:
            file = self._stack.enter_context(_text_file(f"{self.stem}_blendshapes_{identity}.csv"))
            csv.writer(file).writerow(face_capture.HEADER)
            self._captures[identity] = file
        return self._captures[identity]


@functools.cache
def best_codec() -> str:
    """The first of CODECS that OpenCV can write here."""
    with tempfile.TemporaryDirectory() as folder, _quiet_opencv():
        for fourcc in CODECS:
            path = os.path.join(folder, f"{fourcc}.mp4")
            video = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*fourcc), DEFAULT_FPS, (64, 64))
            if video.isOpened():
                video.release()
                return fourcc
    return fourcc


@dataclasses.dataclass(frozen=True)
class FrameFaces:
    """The faces of one frame.

    Attributes:
        frame: counted from 0.
        seconds: since the first.
        ids: (N,) identities.
        faces: N of them.
        lens: that the frame was taken with, where it is known.
    """

    frame: int
    seconds: float
    ids: np.ndarray
    faces: Faces
    lens: Lens | None = None


@contextlib.contextmanager
def _text_file(path: str) -> Iterator[TextIO]:
    with fileio.whole_file(path) as temporary, open(temporary, "w", newline="") as file:
        yield file


# ---------------------------------------------------------------- both


def annotate_video(
    net: SynergyNet,
    source: str,
    stem: str | os.PathLike[str],
    draw: Callable[[np.ndarray, Faces], np.ndarray] | None,
    *,
    smooth: bool = False,
    detect_every: int = DETECT_EVERY,
    focal_px: float | None = None,
    blendshapes: bool = False,
) -> VideoSummary:
    """Track the faces of a video and write what was found.

    A video that is cut off, and one that is stopped with Ctrl-C, leave whole files of all that was
    read. Ctrl-C is how webcams end; from a video file it goes on to the caller.

    Args:
        net: detects and regresses.
        source: video file, or webcam:N.
        stem: output path without suffix.
        draw: from a frame (H, W, 3) uint8 BGR and its faces to the picture to write; None writes
            numbers only.
        smooth: whether to filter the parameters over time.
        detect_every: frames between detections while nothing is in doubt.
        focal_px: of the lens, for the faces' metric pose; None leaves that out.
        blendshapes: whether to write a table of each person's, as Live Link Face does; the face
            model has facial actions then.
    Raises:
        InputError: the source cannot be read, or the video not be written, or only over the source.
    """
    reader = VideoReader(source)
    target = Path(f"{stem}.mp4")
    if target.is_file() and not reader.is_live and target.samefile(source):
        raise fileio.InputError(
            f"{source}: the result would replace it; choose another output folder"
        )
    tracker = Tracker(net, smooth, detect_every)
    frames = n_faces = 0
    seen: set[int] = set()
    stopped, problem = False, None
    progress = Progress(reader.n_frames, "frame", source)
    with ResultsWriter(stem, reader.fps, blendshapes) as results, progress:
        try:
            for seconds, image in reader:
                ids, faces = tracker.step(image, seconds)
                if draw is not None:
                    results.add_picture(seconds, draw_ids(draw(image, faces), ids, faces))
                lens = None if focal_px is None else Lens.of_photo(focal_px, image.shape)
                results.add_faces(FrameFaces(frames, seconds, ids, faces, lens))
                frames += 1
                n_faces += len(faces)
                seen.update(ids.tolist())
                progress.update()
        except KeyboardInterrupt:
            stopped, problem = True, f"{source}: stopped after {frames} frames"
        else:
            if reader.broke_off(frames):
                problem = f"{source}: is cut off after {frames} of {reader.n_frames} frames"
    summary = VideoSummary(frames, n_faces, len(seen), results.codec, problem)
    facts = {"video": source, "fps": reader.fps, "smooth": smooth, **dataclasses.asdict(summary)}
    facts |= {"morphable": net.model.morphable_id, "pose_convention": POSE_CONVENTION}
    facts |= {"focal_px": focal_px, "metric_convention": METRIC_CONVENTION}
    actions = net.model.actions
    facts["reliable_blendshapes"] = None if actions is None else actions.reliable
    facts["blendshapes"] = blendshapes
    fileio.write_json(f"{stem}.json", facts)
    if stopped and not reader.is_live:
        raise KeyboardInterrupt
    return summary


def is_annotated(
    source: str, stem: str | os.PathLike[str], drawn: bool, blendshapes: bool = False
) -> bool:
    """Whether `annotate_video` has done the source to its end, with a video and blendshapes where
    they are wanted."""
    path = Path(f"{stem}.json")
    if not path.is_file() or (drawn and not Path(f"{stem}.mp4").is_file()):
        return False
    facts = fileio.read_json(path)
    is_whole = facts["video"] == source and facts["problem"] is None
    return is_whole and (not blendshapes or facts.get("blendshapes") is True)


def draw_ids(image: np.ndarray, ids: np.ndarray, faces: Faces) -> np.ndarray:
    """The picture with each face's identity above its box."""
    image = image.copy()
    scale = max(image.shape[:2]) / 1200
    for id_, box in zip(ids.tolist(), faces.boxes, strict=True):
        corner = np.add(box[:2], (0, -8 * scale))
        at = corner.clip([0, 24 * scale], None).round().astype(int).tolist()
        for colour, width in (((0, 0, 0), 4), (TEXT_BGR, 1.5)):
            thickness = max(1, round(width * scale))
            font = cv2.FONT_HERSHEY_SIMPLEX
            cv2.putText(image, f"#{id_}", at, font, scale, colour, thickness, cv2.LINE_AA)
    return image
