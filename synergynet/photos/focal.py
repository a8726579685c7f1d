"""The focal length that a camera or phone wrote into a JPEG, in px of the picture.

EXIF's FocalLengthIn35mmFilm is the focal length that would show the same diagonal angle of view on
film of 36 x 24 mm: f_px = f_mm * diagonal_px / 43.27. Resizing and turning leave that right;
cropping does not, and is found out only where the size in EXIF has another aspect ratio.
Sources: CIPA DC-008 (Exif 2.32), tags 0x8769, 0xA405, 0xA002 and 0xA003; TIFF 6.0 for their form.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Sequence

from synergynet import fileio

FILM_DIAGONAL_MM = math.hypot(36, 24)
EXIF_FOLDER, WIDTH, HEIGHT, FOCAL_35_MM = 0x8769, 0xA002, 0xA003, 0xA405
MOST_FOCAL_MM = 2000  # of lenses that show faces; more is damage
MOST_HEAD_BYTES = 2**18  # EXIF stands in the first segments, of 64 kB each
ASPECT_TOLERANCE = 0.01
INTEGERS = {3: "H", 4: "I"}  # TIFF's types SHORT and LONG


def read_focal_px(path: str | os.PathLike[str], shape: Sequence[int]) -> float | None:
    """The focal length of a JPEG in px; None where it holds none, was cropped, or is not there.

    Args:
        path: of the file; of other kinds of pictures nothing is read.
        shape: height and width of the picture, and more; turned by EXIF or not.
    """
    try:
        with fileio.open_to_read(path) as file:
            data = file.read(MOST_HEAD_BYTES)
    except fileio.InputError:  # the picture is in memory, its file has gone since
        return None
    tags = read_exif(find_exif(data))
    focal_mm = tags.get(FOCAL_35_MM, 0)
    if not 0 < focal_mm <= MOST_FOCAL_MM:
        return None
    sides = sorted((tags.get(WIDTH, 0), tags.get(HEIGHT, 0)))
    if sides[0] and not math.isclose(
        sides[1] / sides[0], max(shape[:2]) / min(shape[:2]), rel_tol=ASPECT_TOLERANCE
    ):
        return None
    return focal_mm * math.hypot(*shape[:2]) / FILM_DIAGONAL_MM


def find_exif(data: bytes) -> bytes:
    """The EXIF block of a file that begins so; empty where it is no JPEG, or has none."""
    at = 2 if data.startswith(b"\xff\xd8") else len(data)
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            return data[at + 10 : at + 2 + length]
        if marker == 0xDA:  # the pixels
            break
        at += 2 + length
    return b""


def read_exif(block: bytes) -> dict[int, int]:
    """The whole numbers of an EXIF block by tag, of its first and its EXIF folder.

    What is damaged is left out.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None or len(block) < 8:
        return {}
    (start,) = struct.unpack_from(f"{order}I", block, 4)
    tags = _read_folder(block, order, start)
    return tags | _read_folder(block, order, tags.get(EXIF_FOLDER, len(block)))


def _read_folder(block: bytes, order: str, start: int) -> dict[int, int]:
    tags: dict[int, int] = {}
    if start + 2 > len(block):
        return tags
    (count,) = struct.unpack_from(f"{order}H", block, start)
    for at in range(start + 2, min(start + 2 + 12 * count, len(block) - 11), 12):
        tag, kind, length = struct.unpack_from(f"{order}HHI", block, at)
        if length == 1 and kind in INTEGERS:
            (tags[tag],) = struct.unpack_from(f"{order}{INTEGERS[kind]}", block, at + 8)
    return tags
