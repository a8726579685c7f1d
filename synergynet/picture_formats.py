"""What OpenCV leaves undone when it decodes pictures, by their bytes.

It takes JPEG and PNG files that are cut off, refuses TIFF files of more than 16 bits, and leaves
AVIF pictures as the camera was held.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

# followed by a segment, or the end; not what coded pixels contain: 0xff itself, restart markers
_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]", re.DOTALL)

_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def decode(data: bytes) -> np.ndarray | None:
    """A picture as (H, W, 3) uint8 BGR, turned as it is to be seen; None if it is none."""
    image = _decode(data, cv2.IMREAD_COLOR)
    if image is None and data[:4] in _TIFF_MAGIC:
        return _to_8_bits(_decode(data, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH))
    if image is None or data[4:12] != b"ftypavif":
        return image
    return _upright_avif(image, data)


def _decode(data: bytes, flags: int) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error:  # more pixels than OpenCV admits
        return None


def _to_8_bits(image: np.ndarray | None) -> np.ndarray | None:
    """A picture of any numbers: white is 1, or the largest of them where some are above 1."""
    if image is None:
        return None
    values = np.nan_to_num(image.astype(np.float64), posinf=0, neginf=0).clip(0)
    grey_levels = np.round(values * (255 / max(1.0, values.max()))).astype(np.uint8)
    return cv2.cvtColor(grey_levels, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else grey_levels


def _upright_avif(image: np.ndarray, data: bytes) -> np.ndarray:
    """Turn and mirror a picture as its file says; OpenCV does it for all kinds but this.

    Source: ISO/IEC 23008-12:2022, 6.5.10 and 6.5.12.
    """
    properties = {kind: content for kind, content in _boxes(data, ("meta", "iprp", "ipco"))}
    if turn := properties.get("irot"):
        image = np.rot90(image, turn[0] & 3)
    if mirror := properties.get("imir"):
        image = image[:, ::-1] if mirror[0] & 1 else image[::-1]
    return np.ascontiguousarray(image)


def _boxes(data: bytes, path: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """The boxes, kind and content, in the box at the end of a path through those of a file."""
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8].decode("latin1")
        content = data[at + 8 : at + size] if size >= 8 else data[at + 8 :]
        if not path:
            yield kind, content
        elif kind == path[0]:
            yield from _boxes(content[4:] if kind == "meta" else content, path[1:])  # a full box
        at += size if size >= 8 else len(data)


def is_truncated(data: bytes) -> bool:
    """Whether a JPEG or PNG file lacks its end."""
    # libjpeg fills what is missing with grey and libpng with black, both without an error.
    if data.startswith(b"\xff\xd8"):
        return not _has_jpeg_end(data)
    if data.startswith(b"\x89PNG"):
        at = 8
        while data[at + 4 : at + 8] not in (b"IEND", b""):
            at += 12 + int.from_bytes(data[at : at + 4], "big")  # length, name, content, checksum
        return at + 8 > len(data)
    return False


def _has_jpeg_end(data: bytes) -> bool:
    """Whether a JPEG's own end marker is there: not one of an embedded thumbnail, and whatever
    follows it, such as the film of a phone's motion photo.
    """
    at = 2
    while marker := _JPEG_MARKER.search(data, at):
        if marker[0] == b"\xff\xd9":
            return True
        at = marker.end()
        at += int.from_bytes(data[at : at + 2], "big")  # the segment; coded pixels may follow
    return False
