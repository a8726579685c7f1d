"""The flags of `synergynet` and `singleImage.py`; nothing heavy is imported, so --help is quick."""

from __future__ import annotations

import argparse

from synergynet import __version__
from synergynet.detection import DETECTORS
from synergynet.engines import ENGINES
from synergynet.errors import add_debug

MESHES = ("obj", "ply", "glb")

NOTES = """\
Pictures: files of any kind that OpenCV reads (JPEG, PNG, TIFF, WebP, AVIF, BMP, GIF, ...; grey,
with transparency or 16 bits too), turned as their EXIF says; of animations the first picture.
A picture that cannot be read, or that shows no face, gets one line on stderr; the others are done.

Exit code: 0 when a face was found, 2 when there was none or nothing could be read. Under torchrun a
process that found none ends with 0, so that the others go on.

--resume passes over the pictures in results_rank*.jsonl and the videos with a .json, but for those
that failed.

`synergynet check` says what is installed and whether the numbers are right.
"""


def get_args_parser(program: str | None = None) -> argparse.ArgumentParser:
    """The parser of the command.

    Args:
        program: what usage lines call it; None takes the name it was started under.
    """
    parser = argparse.ArgumentParser(
        prog=program,
        description="Landmarks, head pose and a 3D face of everybody in your photos and videos.",
        epilog=NOTES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    what = "pictures, folders, patterns, videos, webcam:N"
    add("sources", nargs="*", metavar="FILE", help=what)
    add("-f", "--files", nargs="+", default=[], metavar="FILE", help="the same, as published")
    add("--png", action="store_true", help="of pictures the PNG files only, as published")
    add("-w", "--weights", help="ONNX file of export.py (default: the open weights)")
    add("--engine", default="auto", help=f"{', '.join(ENGINES)} (default: %(default)s)")
    add("--detector", default="auto", help=f"{DETECTORS} (default: %(default)s)")
    size = "px of the longer side at which faces are searched; auto: 320, and 640 where that shows "
    add("--detect-size", default="auto", help=size + "none, small or doubtful ones")
    add("--min-score", type=float, default=0.0, help="of faces (detectors give 0.6 and more)")
    add("--min-size", type=float, default=0.0, metavar="PX", help="height of a face's box")
    add("--max-faces", type=int, help="in a picture, the largest (default: all)")
    add("--refine-crop", action="store_true", help="look twice, cut out around the landmarks")
    add("--smooth", action="store_true", help="videos: filter the parameters over time")
    add("--mesh", choices=MESHES, help="meshes/NAME_0.obj, ... of every face, in its colours")
    add("--mesh-parts", action="store_true", help="meshes with eyeballs and an inner mouth")
    add("--texture", action="store_true", help="textures/NAME_0.png, ... and what of it is seen")
    add("--depth", action="store_true", help="depth/NAME.png: white is nearest")
    add("--pncc", action="store_true", help="pncc/NAME.png: place on the mean face as colour")
    add("--save-crops", action="store_true", help="crops/NAME_0.png, ... as the network saw them")
    capture = "blendshapes.csv for face-capture tools, of videos one a person"
    add("--blendshapes", action="store_true", help=capture)
    focal = "focal length in px, for metric pose (default: of JPEGs their EXIF's, if they have one)"
    add("--focal", type=float, metavar="PX", help=focal)
    add("--output", default="inference_output", help="folder (default: %(default)s)")
    add("--results-only", action="store_true", help="write numbers only, no pictures")
    add("--resume", action="store_true", help="go on with an interrupted run")
    add("--batch-size", type=int, default=8, help="pictures at a time (default: %(default)s)")
    add("--workers", type=int, default=4, help="threads that read ahead (default: %(default)s)")
    add("--version", action="version", version=f"synergynet {__version__}")
    group = parser.add_argument_group(
        "checkpoints of PyTorch", "for singleImage.py of the project; export.py makes ONNX of them"
    )
    add = group.add_argument
    add("-a", "--arch", help="default: the checkpoint's, else mobilenet_v2")
    add("-d", "--device", default="auto", help="auto, cpu, cuda or a number (default: %(default)s)")
    add("--morphable", help="3dmm_data folder (default: the checkpoint's)")
    add("--whitening", help="parameter mean and std, for weights that carry none (3DDFA_V2)")
    add_debug(parser)
    return parser
