"""Many pictures and videos: finding them, sharing them out, recording what is done.

They may be files, folders with all below them, or glob patterns. Under `torchrun` every process
takes each n-th and writes its own results file, so that nothing is shared but the folder.
"""

from __future__ import annotations

import collections
import dataclasses
import glob
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from synergynet import fileio

# of files in folders; a file that is named itself may have any. OpenCV reads no HEIC, the format of
# many phones: such a picture is named as unreadable, not passed over in silence
PICTURE_SUFFIX = re.compile(
    r"\.(avif|bmp|dib|gif|hdr|hei[cf]|jp2|jpe|jpe?g|p[bfgnpx]m|png|ras|sr|tiff?|webp)$",
    re.IGNORECASE,
)
VIDEO_SUFFIX = re.compile(r"\.(3gp|avi|flv|m4v|mjpe?g|mkv|mov|mp4|mpe?g|mts|ts|webm|wmv)$", re.I)
WEBCAM = re.compile(r"webcam:(\d{1,3})$")

RESULTS_FILES = "results_rank*.jsonl"  # beside the folders of what was made of pictures
RESULT_FOLDERS = frozenset(
    {"landmarks", "poses", "rendering_overlay", "depth", "pncc", "textures", "meshes", "json"}
    | {"crops"}
)


@dataclasses.dataclass(frozen=True)
class Source:
    """A picture or video to work on.

    Attributes:
        path: where it is, as the user wrote it; of webcams webcam:N.
        name: relative path without suffix, of the files that are made from it.
    """

    path: str
    name: str


def is_video(path: str) -> bool:
    """Whether a path is a video file by its suffix, or `webcam:N`."""
    return bool(VIDEO_SUFFIX.search(path) or WEBCAM.match(path))


def find_sources(
    sources: Sequence[str], skip: str | os.PathLike[str] | None = None
) -> tuple[list[Source], list[Source]]:
    """Pictures, and videos, of files, folders and glob patterns, sorted.

    Named files are taken whatever their suffix, and whether they exist or not: reading them will
    tell. Names are relative to their folder or to a pattern's fixed part; they keep the suffix
    where another picture, or another video, has the same name but for it.

    In folders and patterns the results of earlier runs are no sources, wherever these lie.

    Args:
        sources: files, folders (searched to the bottom), patterns or webcams.
        skip: folder in which folders and patterns find nothing, because results go there.
    Raises:
        InputError: a folder or pattern holds none, or two pictures, or two videos, share a name.
    """
    found: dict[str, str] = {}  # path -> relative path
    for source in sources:
        paths = list(_expand(source, skip))
        if not paths:
            kinds = "this pattern matches" if glob.has_magic(source) else "below this folder are"
            raise fileio.InputError(
                f"{source}: {kinds} no pictures or videos; see --help for the kinds"
            )
        found |= {path: found.get(path, relative) for path, relative in paths}
    pictures, videos = (
        _name({path: relative for path, relative in found.items() if is_video(path) == kind})
        for kind in (False, True)
    )
    return pictures, videos


def _name(found: dict[str, str]) -> list[Source]:
    """Files of one kind, relative path by path, with the names of what is made from them."""
    stems = collections.Counter(os.path.splitext(relative)[0] for relative in found.values())
    named: dict[str, Source] = {}
    for path, relative in sorted(found.items()):
        stem = os.path.splitext(relative)[0]
        source = Source(path, stem if stems[stem] == 1 else relative)
        if (other := named.setdefault(source.name, source)) is not source:
            raise fileio.InputError(
                f"{path}: its results would have the names of {other.path}'s; "
                f"pass the folder above both, or one at a time"
            )
    return list(named.values())


def _expand(source: str, skip: str | os.PathLike[str] | None) -> Iterator[tuple[str, str]]:
    """Paths of a source, each with its path relative to the source's fixed part."""
    if os.path.isdir(source):
        yield from _walk(source, skip)
    elif glob.has_magic(source) and not os.path.exists(source):
        base = source[: next(i for i, c in enumerate(source) if c in "*?[")]
        base = os.path.dirname(base)
        for path in glob.glob(source, recursive=True):
            below = Path(path).relative_to(base).parents if base else Path(path).parents
            folders = [os.path.join(base, folder) for folder in below][:-1]
            is_left_out = any(_is_left_out(folder, skip) for folder in folders)
            if os.path.isfile(path) and _is_wanted(path) and not is_left_out:
                yield path, os.path.relpath(path, base or ".")
    else:
        webcam = WEBCAM.match(source)
        yield source, source.replace(":", "") if webcam else os.path.basename(source)


def _walk(folder: str, skip: str | os.PathLike[str] | None) -> Iterator[tuple[str, str]]:
    for root, folders, files in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and not _is_left_out(os.path.join(root, name), skip)
        ]
        for name in files:
            path = os.path.join(root, name)
            if _is_wanted(path):
                yield path, os.path.relpath(path, folder)


def _is_left_out(folder: str, skip: str | os.PathLike[str] | None) -> bool:
    """Whether a folder is the one to skip, or holds what a run made of pictures."""
    if skip and _same(folder, skip):
        return True
    parent, name = os.path.split(os.path.normpath(folder))
    return name in RESULT_FOLDERS and any(Path(parent).glob(RESULTS_FILES))


def _is_wanted(path: str) -> bool:
    if os.path.basename(path).startswith("."):
        return False
    return PICTURE_SUFFIX.search(path) is not None or (is_video(path) and not _is_annotated(path))


def _is_annotated(path: str) -> bool:
    """Whether a video is what a run made of another: its tables lie beside it."""
    stem = os.path.splitext(path)[0]
    return all(os.path.isfile(f"{stem}.{suffix}") for suffix in ("csv", "json", "jsonl"))


def _same(path: str, other: str | os.PathLike[str]) -> bool:
    return os.path.exists(other) and os.path.samefile(path, other)


# ---------------------------------------------------------------- processes


def rank_and_world_size() -> tuple[int, int]:
    """This process's number and their count under `torchrun`; (0, 1) without it."""
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


# ---------------------------------------------------------------- results files


OLDER = "older_"
BLOCK_BYTES = 2**16


class ResultsFile:
    """One process's `results_rank{RANK}.jsonl`: a line of JSON a picture, written at once.

    A run that is stopped loses at most the line it was writing, which the next one leaves out.

    Args:
        folder: of the results files of all processes.
        resume: go on with what is there; else this process's share of old files is put aside, under
            names that begin with OLDER.
    """

    def __init__(self, folder: str | os.PathLike[str], resume: bool):
        rank, world_size = rank_and_world_size()
        self.folder = Path(folder)
        self.path = self.folder / f"results_rank{rank}.jsonl"
        if resume:
            self._drop_unfinished_line()
        else:
            for path in self.folder.glob(RESULTS_FILES):
                number = path.stem.removeprefix("results_rank")
                if number.isdecimal() and int(number) % world_size == rank:
                    path.replace(path.with_name(f"{OLDER}{path.name}"))

    def done(self) -> dict[str, int]:
        """Number of faces by path of the pictures that any process has finished, failed ones not
        among them."""
        done = {}
        for path in sorted(self.folder.glob(RESULTS_FILES)):
            with open(path) as file:
                for line in file:
                    try:
                        entry = json.loads(line)
                    except ValueError:
                        continue  # another process is writing this line, or was stopped at it
                    if "error" not in entry:
                        done[entry["image"]] = len(entry["faces"])
        return done

    def add(self, entry: dict[str, Any]) -> None:
        """Append one picture's entry; it must name the picture as `image`."""
        with open(self.path, "a") as file:
            file.write(json.dumps(entry, allow_nan=False) + "\n")

    def _drop_unfinished_line(self) -> None:
        if not self.path.is_file():
            return
        with open(self.path, "rb+") as file:
            end = size = file.seek(0, os.SEEK_END)
            while end > 0:  # from the end, as the file may be large
                start = max(0, end - BLOCK_BYTES)
                file.seek(start)
                last = file.read(end - start).rfind(b"\n")
                if last >= 0:
                    end = start + last + 1
                    break
                end = start
            if end < size:
                file.truncate(end)
