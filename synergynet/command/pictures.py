"""Pictures of a run: read ahead, through the network in batches, results written as they come."""

from __future__ import annotations

import argparse
import collections
import os
from collections.abc import Iterator, Sequence
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from synergynet import fileio
from synergynet.command.faces_csv import BLENDSHAPES, FACES, FacesTable
from synergynet.command.results import (
    describe_picture,
    plan_surface,
    require_apart,
    write_crops,
    write_files,
    written_files,
)
from synergynet.errors import one_line
from synergynet.faces import Faces
from synergynet.net import SynergyNet
from synergynet.photos.sources import OLDER, ResultsFile, Source, rank_and_world_size
from synergynet.progress import Progress

MOST_PX = 200_000_000  # of pictures in memory: read ahead, and again in a batch; 3 bytes each
USUAL_PX = 12_000_000  # of a picture that is not read yet


def do_pictures(
    net: SynergyNet,
    pictures: Sequence[Source],
    boxes: dict[str, np.ndarray] | None,
    output: Path,
    args: argparse.Namespace,
) -> bool:
    """Annotate pictures; whether one of them, or of the run that goes on, shows a face."""
    surface = plan_surface(net.model, args)
    results = ResultsFile(output, args.resume)
    older = results.path.with_name(f"{OLDER}{results.path.name}")
    if not args.resume and older.is_file():
        print(f"the older run's results are in {older}")
    done = results.done() if args.resume else {}
    kinds = (FACES, BLENDSHAPES) if args.blendshapes else (FACES,)
    tables = [FacesTable(output, args.resume, kind) for kind in kinds]

    def lacks_nothing(picture: Source) -> bool:
        n_faces = done.get(picture.path)
        if not n_faces or args.results_only:
            return n_faces is not None
        files = written_files(output, picture.name, n_faces, surface)
        return all(file.is_file() for file in files)

    pictures = [picture for picture in pictures if not lacks_nothing(picture)]
    n_read = n_faces = 0
    sources = {os.path.realpath(picture.path) for picture in pictures}
    reading = read_ahead(pictures, args.workers, args.batch_size)
    rank, _ = rank_and_world_size()
    with Progress(len(pictures), "picture", is_quiet=rank > 0) as progress:
        for picture, outcome in predict_pictures(net, reading, boxes, args.batch_size):
            progress.update()
            if isinstance(outcome, fileio.InputError):
                progress.note(f"skipped: {outcome}")
                results.add({"image": picture.path, "error": str(outcome)})
                continue
            photo, faces = outcome
            n_read += 1
            n_faces += len(faces)
            description = describe_picture(picture, photo, faces, args.focal)
            if not len(faces):
                progress.note(f"{picture.path}: no face found")
            for index in np.flatnonzero(faces.doubtful):
                progress.note(f"{picture.path}: face {index} in doubt: it lies, or is no face")
            if len(faces) and not args.results_only:
                files = written_files(output, picture.name, len(faces), surface)
                require_apart(files, sources)
                try:
                    write_files(output, picture, photo, faces, surface)
                    if surface.crops:
                        border_px = net.weights.border_px if net.refine_crop else 0
                        write_crops(output, picture, photo, faces, border_px)
                    fileio.write_json(output / "json" / f"{picture.name}.json", description)
                except (fileio.FormatError, cv2.error) as error:  # the picture is too large
                    progress.note(f"{picture.path}: not all is written: {one_line(error)}")
            if picture.path not in done:  # else only files were wanting
                results.add(description)
                for table in tables:
                    table.add(description)
    what = "1 face" if n_faces == 1 else f"{n_faces} faces"
    print(f"{what} in {n_read} of {len(pictures)} pictures: {output}")
    return n_faces > 0 or any(done.values())


def read_ahead(
    pictures: Sequence[Source], workers: int, count: int
) -> Iterator[tuple[Source, Future[np.ndarray]]]:
    """The pictures with what reading them gives, up to `count` of them read in advance by threads.

    Of large ones, fewer are read in advance: about MOST_PX in all.
    """
    waiting: collections.deque[tuple[Source, Future[np.ndarray]]] = collections.deque()
    largest_px = USUAL_PX
    with ThreadPoolExecutor(workers) as pool:
        for picture in pictures:
            while waiting:
                known = [_pixels(future) for _, future in waiting if future.done()]
                largest_px = max([largest_px, *known])
                expected = sum(known) + (len(waiting) - len(known) + 1) * largest_px
                if len(waiting) < count and expected <= MOST_PX:
                    break
                yield waiting.popleft()
            waiting.append((picture, pool.submit(fileio.read_image, picture.path)))
        while waiting:
            yield waiting.popleft()


def _pixels(reading: Future[np.ndarray]) -> int:
    """Pixels of a picture that has been read; 0 of one that cannot be."""
    return 0 if reading.exception() else reading.result().size // 3


def predict_pictures(
    net: SynergyNet,
    reading: Iterator[tuple[Source, Future[np.ndarray]]],
    boxes: dict[str, np.ndarray] | None,
    batch_size: int,
) -> Iterator[tuple[Source, tuple[np.ndarray, Faces] | fileio.InputError]]:
    """Each picture with its photo and faces, or with what is wrong with it.

    Args:
        net: finds the faces where `boxes` is None.
        reading: from `read_ahead`.
        boxes: (n, 5) of the faces by path or file name of the picture.
        batch_size: pictures that go through the network together; fewer of large ones.
    """
    for batch in _batches(reading, batch_size):
        good: list[tuple[Source, np.ndarray]] = []
        known: list[np.ndarray] = []
        for picture, future in batch:
            try:
                photo = future.result()
                if boxes is not None:
                    known.append(look_up(picture, photo, boxes))
                good.append((picture, photo))
            except fileio.InputError as error:
                yield picture, error
        faces = net.predict([photo for _, photo in good], known if boxes is not None else None)
        for index, (picture, photo) in enumerate(good):
            yield picture, (photo, faces.of_image(index))


def _batches(
    reading: Iterator[tuple[Source, Future[np.ndarray]]], batch_size: int
) -> Iterator[list[tuple[Source, Future[np.ndarray]]]]:
    """Up to `batch_size` pictures at a time, of MOST_PX in all or one that is larger."""
    batch: list[tuple[Source, Future[np.ndarray]]] = []
    held_px = 0
    for picture, future in reading:
        futures.wait([future])
        pixels = _pixels(future)
        if batch and (len(batch) == batch_size or held_px + pixels > MOST_PX):
            yield batch
            batch, held_px = [], 0
        batch.append((picture, future))
        held_px += pixels
    if batch:
        yield batch


def look_up(picture: Source, photo: np.ndarray, boxes: dict[str, np.ndarray]) -> np.ndarray:
    """The boxes (n, 5) of one picture.

    Raises:
        InputError: the table does not name the picture, or a box lies beside it.
    """
    rows = boxes.get(picture.path, boxes.get(os.path.basename(picture.path)))
    if rows is None:
        raise fileio.InputError(
            f"{picture.path}: not among the boxes; give it [] if it shows no face"
        )
    height, width = photo.shape[:2]
    beside = (rows[:, 2:4] <= 0) | (rows[:, :2] >= [width, height])  # (n, 2)
    if beside.any() or (rows[:, 2:4] - rows[:, :2] > 2 * max(height, width)).any():
        raise fileio.InputError(f"{picture.path}: a box does not fit its {width} x {height} px")
    return rows
