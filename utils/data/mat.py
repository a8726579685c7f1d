"""MATLAB files, as 3DDFA, 300W-LP and AFLW2000-3D come in them."""

from __future__ import annotations

import os
from io import BytesIO
from typing import Any

import scipy.io

from synergynet import fileio
from synergynet.matfile import require_modest


def read_mat(path: str | os.PathLike) -> dict[str, Any]:
    """Read a MATLAB file (version 4 to 7.2).

    Raises:
        InputError: missing or damaged.
    """
    return decode_mat(path, fileio.read_bytes(path))


def decode_mat(name: str | os.PathLike, data: bytes) -> dict[str, Any]:
    """`read_mat` of bytes that are read already; `name` is what errors call them."""
    try:
        if data[:4] != bytes(4) and data[126:128] in (b"IM", b"MI"):  # not of version 4
            require_modest(data)
        return scipy.io.loadmat(BytesIO(data))
    except Exception as error:  # scipy raises a dozen kinds on damaged files
        raise fileio.InputError(f"{name}: not a readable .mat file ({error})") from None
