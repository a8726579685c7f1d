"""A run of the command over its pictures and videos."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

import cv2

from synergynet import fileio
from synergynet.command.pictures import do_pictures
from synergynet.detection.boxes import Choice
from synergynet.detection.detectors import Detector, make_detector, read_boxes
from synergynet.net import SynergyNet
from synergynet.photos.sources import find_sources, rank_and_world_size
from synergynet.run_folder import only_run

LEAST = {"--batch-size": 1, "--workers": 1, "--max-faces": 1, "--min-score": 0, "--min-size": 0}
LEAST |= {"--focal": 1}
LEAST_DETECT_PX = 32  # CenterFace's coarsest cells


def run_sources(
    args: argparse.Namespace, make_net: Callable[[argparse.Namespace, str | Detector], SynergyNet]
) -> int:
    """Everything that the arguments ask for; returns the exit code.

    Args:
        args: of `parser.get_args_parser`.
        make_net: from arguments and detector to the network.
    Raises:
        InputError: nothing to do, or files and flags that do not fit.
    """
    fileio.require_at_least(args, LEAST)
    wanted = [*args.sources, *args.files]
    if not wanted:
        raise fileio.InputError("name pictures, folders, patterns, videos or webcam:N; see --help")
    if not args.output or "" in wanted:
        raise fileio.InputError("a name is empty; `.` is this folder")
    output = fileio.make_output_folder(args.output)
    rank, world_size = rank_and_world_size()
    if world_size > 1:
        cv2.setNumThreads(int(os.environ.get("OMP_NUM_THREADS", 1)))  # torchrun sets it
    pictures, videos = find_sources(wanted, skip=output)
    if args.png:
        pictures = [picture for picture in pictures if picture.path.lower().endswith(".png")]
        if not pictures and not videos:
            raise fileio.InputError(f"--png: no PNG file in {' '.join(wanted)}")
    kind, _, boxes_file = args.detector.partition(":")
    choice = Choice(args.min_score, args.min_size, args.max_faces)
    boxes = None
    if kind == "boxes":
        boxes = {name: choice.of(rows) for name, rows in read_boxes(boxes_file).items()}
    if videos and boxes is not None:
        raise fileio.InputError(
            f"{videos[0].path}: videos need a detector, not --detector {args.detector}"
        )
    detect = make_detector(
        "none" if boxes is not None else args.detector, parse_detect_size(args.detect_size)
    )
    net = make_net(args, detect)
    net.choice = choice
    if args.blendshapes and net.model.actions is None:
        raise fileio.InputError(
            f"--blendshapes: the expressions of the face model {net.model.name} are not made of "
            f"ARKit's facial actions; those of the open one are"
        )
    if rank == 0:
        print(f"weights {net.weights.path}, morphable model {net.model.name}")
    net.load_ahead()
    found = False
    with only_run(output, f"rank{rank}", is_shared=world_size > 1):
        if videos:
            from synergynet.command.videos import do_videos  # most runs show none

            found = do_videos(net, videos[rank::world_size], output, args)
        if pictures:
            found |= do_pictures(net, pictures[rank::world_size], boxes, output, args)
    return 0 if found or world_size > 1 else 2


def parse_detect_size(text: str) -> int | None:
    """The value of --detect-size in px; None for auto.

    Raises:
        InputError: neither auto nor a size that detectors can work with.
    """
    if text == "auto":
        return None
    if not text.isascii() or not text.isdigit() or int(text) < LEAST_DETECT_PX:
        raise fileio.InputError(
            f"--detect-size {text}: auto, or a number of px from {LEAST_DETECT_PX}"
        )
    return int(text)
