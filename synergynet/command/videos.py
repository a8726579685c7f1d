"""Videos of a run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from synergynet import fileio
from synergynet.drawing.faces import draw_frame
from synergynet.net import SynergyNet
from synergynet.photos.sources import Source
from synergynet.video.annotate import CODECS, VideoSummary, annotate_video, is_annotated


def do_videos(
    net: SynergyNet, videos: Sequence[Source], output: Path, args: argparse.Namespace
) -> bool:
    """Annotate videos; whether one shows a face, or an earlier run has done some of them."""
    draw = None if args.results_only else draw_frame
    flags = {"--mesh": args.mesh, "--texture": args.texture, "--depth": args.depth}
    flags |= {"--pncc": args.pncc, "--save-crops": args.save_crops}
    if given := [flag for flag, value in flags.items() if value]:
        print(f"{', '.join(given)}: of pictures only; videos get none", file=sys.stderr)
    n_done = n_faces = 0
    for video in videos:
        stem = output / "videos" / video.name
        if args.resume and is_annotated(video.path, stem, draw is not None, args.blendshapes):
            n_done += 1
            continue
        try:
            summary = annotate_video(
                net,
                video.path,
                stem,
                draw,
                smooth=args.smooth,
                focal_px=args.focal,
                blendshapes=args.blendshapes,
            )
        except fileio.InputError as error:
            print(f"skipped: {error}", file=sys.stderr)
            continue
        if summary.problem:
            print(summary.problem, file=sys.stderr)
        people = "1 person" if summary.identities == 1 else f"{summary.identities} people"
        print(f"{video.path}: {people}, {summary.frames} frames: {stem}.*{_codec_note(summary)}")
        n_faces += summary.faces
    return n_faces > 0 or n_done > 0


def _codec_note(summary: VideoSummary) -> str:
    if summary.codec in (None, CODECS["avc1"]):
        return ""
    return f" ({summary.codec}, which browsers do not play: docs/USING.md)"
