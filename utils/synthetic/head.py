"""The open face model's whole head, which moves with the same 50 coefficients as its face.

`prepare_data.py open-model` writes it beside the morphable model, in `3dmm_data/open/`; synthetic
faces are drawn from it.
"""

from __future__ import annotations

import dataclasses
import zipfile
from pathlib import Path

import numpy as np

from synergynet import fileio

HEAD_FILE = "head.npz"
BASE_VERTICES = "base_vertices.npy"  # binds MakeHuman's assets to the head

PARTS = ("skin", "eye_left", "eye_right", "mouth", "tongue", "teeth")  # left is the subject's
SKIN, EYE_LEFT, EYE_RIGHT, MOUTH, TONGUE, TEETH = range(len(PARTS))


@dataclasses.dataclass(frozen=True)
class OpenHead:
    """The whole head in the morphable model's frame (micrometres, x subject's left, y up, z front).

    Attributes:
        mean: (N, 3) float32; w_shp: (N, 3, 40) and w_exp: (N, 3, 10) float32 bases.
        triangles: (T, 3) int32, counter-clockwise from outside.
        part: (T,) uint8, index into PARTS.
        identities: (I, 40) float32 shape coefficients of sampled people, zero mean.
        held_out_identities: (H, 40) float32, of others, for test sets only.
        expressions: (E, 10) float32 coefficients: half of random facial actions, half of
            expressions that people show to cameras.
    """

    mean: np.ndarray
    w_shp: np.ndarray
    w_exp: np.ndarray
    triangles: np.ndarray
    part: np.ndarray
    identities: np.ndarray
    held_out_identities: np.ndarray
    expressions: np.ndarray


def load_head(folder: str | Path) -> OpenHead:
    """Read `head.npz` of an open morphable model's folder.

    Raises:
        InputError: missing or damaged.
    """
    path = Path(folder) / HEAD_FILE
    if not path.is_file():
        raise fileio.InputError(
            f"{path}: file not found; only the open morphable model has a whole head"
        )
    try:
        with np.load(path, allow_pickle=False) as arrays:
            fields = {field.name: arrays[field.name] for field in dataclasses.fields(OpenHead)}
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise fileio.InputError(f"{path}: not a readable head ({error})") from None
    for name in ("w_shp", "w_exp"):  # stored in millimetres, good to some micrometres
        fields[name] = fields[name].astype(np.float32) * 1000
    for name in ("identities", "held_out_identities", "expressions"):
        fields[name] = fields[name].astype(np.float32)
    return OpenHead(**fields)


def write_head(folder: str | Path, head: OpenHead) -> None:
    """Write `head.npz`, as `load_head` reads it: bases in millimetres, half precision.

    Args:
        folder: exists.
        head: not modified.
    """
    arrays = dataclasses.asdict(head)
    for name in ("w_shp", "w_exp"):
        arrays[name] = (arrays[name] / 1000).astype(np.float16)
    for name in ("identities", "held_out_identities", "expressions"):
        arrays[name] = arrays[name].astype(np.float16)
    with fileio.whole_file(Path(folder) / HEAD_FILE) as temporary:
        np.savez_compressed(temporary, **arrays)
