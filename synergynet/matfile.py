"""One numeric array out of a MATLAB file (level 5, as versions 5 to 7.2 save), with numpy alone.

    triangles = read_mat_array("tri.mat", "tri")  # (3, T)

The published face model keeps its triangles in such a file, and the runtime goes without SciPy.
Only real numeric matrices are understood, nothing is evaluated, and what a file unpacks to is
bounded. Source: The MathWorks, "MAT-File Format", 2019, chapter 1.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator

import numpy as np

from synergynet import fileio

MAX_BYTES = 2**30  # that a compressed array may unpack to
HEADER_BYTES = 128
CHUNK_BYTES = 2**20
MATRIX, COMPRESSED = 14, 15
COMPLEX_FLAG = 0x0800
DTYPES = {
    **{1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4"},
    **{7: "f4", 9: "f8", 12: "i8", 13: "u8"},
}  # by the format's data type
NUMERIC_CLASSES = range(6, 16)  # double, single and the integers


def read_mat_array(path: str | os.PathLike[str], name: str) -> np.ndarray:
    """Read one array of finite numbers.

    Args:
        path: the file.
        name: of the variable.
    Returns:
        the array in the dtype in which the file stores it, which may be smaller than its class.
    Raises:
        InputError: missing, no such file, damaged, or without such an array.
    """
    data = fileio.read_bytes(path)
    try:
        order = {b"IM": "<", b"MI": ">"}[data[126:128]]
        for kind, content in _elements(data[HEADER_BYTES:], order):
            if kind == COMPRESSED:
                [(kind, content)] = _elements(_unpack(content), order)
            if kind == MATRIX and (array := _matrix(content, order, name)) is not None:
                return fileio.require_finite(path, array)
    except (KeyError, ValueError, IndexError, struct.error, zlib.error) as error:
        raise fileio.InputError(f"{path}: not a readable .mat file ({error!r})") from None
    raise fileio.InputError(f"{path}: no array '{name}' in it")


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """The data elements of a block: type and content."""
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if kind >> 16:  # small element: size and type share a word, the content follows in it
            yield kind & 0xFFFF, data[at + 4 : at + 4 + (kind >> 16)]
            at += 8
            continue
        content = data[at + 8 : at + 8 + size]
        if len(content) < size:
            raise ValueError("it is cut off")
        yield kind, content
        at += 8 + size + (-size % 8 if kind != COMPRESSED else 0)


def _unpack(content: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(content, MAX_BYTES)
    if not unpacker.eof:
        raise ValueError("an array is cut off or too large")
    return data


def require_modest(data: bytes) -> None:
    """Refuse a file whose compressed elements would fill the memory; nothing is kept of them.

    Raises:
        ValueError, KeyError: they would, or it is no such file.
    """
    order = {b"IM": "<", b"MI": ">"}[data[126:128]]
    most, unpacked = fileio.max_unpacked(len(data)), 0
    for kind, content in _elements(data[HEADER_BYTES:], order):
        if kind != COMPRESSED:
            continue
        unpacker = zlib.decompressobj()
        while content and not unpacker.eof:
            unpacked += len(unpacker.decompress(content, CHUNK_BYTES))
            content = unpacker.unconsumed_tail
            if unpacked > most:
                raise ValueError(f"it unpacks to more than {most / 1e9:.1f} GB")


def _matrix(content: bytes, order: str, name: str) -> np.ndarray | None:
    """The array of a matrix element; None if it has another name."""
    parts = list(_elements(content, order))
    flags, sizes, label = (parts[i][1] for i in range(3))
    if label.rstrip(b"\0").decode("latin1") != name:
        return None
    (word,) = struct.unpack_from(f"{order}I", flags)
    if word & 0xFF not in NUMERIC_CLASSES or word & COMPLEX_FLAG:
        raise ValueError(f"'{name}' is not an array of real numbers")
    shape = np.frombuffer(sizes, f"{order}i4")
    kind, values = parts[3]
    return np.frombuffer(values, f"{order}{DTYPES[kind]}").reshape(shape, order="F")
