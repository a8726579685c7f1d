"""Weights of the runtime: a backbone as ONNX, and beside it the face model that it moves.

    weights = read_weights("face.onnx")  # with face.npz beside it, both from export.py

The two belong together: the `.npz` names the hash of the ONNX file that it was written with.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from synergynet import fileio
from synergynet.face_model import MorphableModel, read_face_model, write_face_model

BUILT_IN = Path(__file__).with_name("assets") / "network.onnx"


@dataclasses.dataclass(frozen=True)
class Weights:
    """A network's file, and what is needed to read its output.

    Attributes:
        path: ONNX file: crops to whitened parameters.
        face_model: with the whitening of these parameters.
        border_px: black border of the crops that the network was trained on.
        arch: of the backbone.
    """

    path: Path
    face_model: MorphableModel
    border_px: int
    arch: str


def read_weights(path: str | os.PathLike[str] | None = None) -> Weights:
    """Read the `.npz` beside an ONNX file; None takes the weights that the package holds.

    Raises:
        InputError: a file is missing or damaged, or the two do not belong together.
    """
    path = BUILT_IN if path is None else Path(path)
    if path.suffix != ".onnx":
        raise fileio.InputError(
            f"{path}: the runtime takes ONNX files; turn a checkpoint into one with "
            f"`python export.py -w {path.name} --format runtime --output face.onnx`"
        )
    fileio.require_file(path)
    beside = path.with_suffix(".npz")
    if not beside.is_file():
        raise fileio.InputError(
            f"{path}: {beside.name} is not beside it; `export.py --format runtime` writes both"
        )
    model, facts = read_face_model(beside)
    if facts.get("network_sha256") != fileio.sha256(path):
        raise fileio.InputError(f"{path}: {beside.name} beside it is of another network")
    border_px, arch = facts.get("border_px"), facts.get("arch")
    if not isinstance(border_px, int) or not isinstance(arch, str):
        raise fileio.InputError(f"{beside}: does not tell border_px and arch of the network")
    return Weights(path, model, border_px, arch)


def write_weights(
    path: str | os.PathLike[str], onnx: bytes, face_model: MorphableModel, border_px: int, arch: str
) -> None:
    """Write an ONNX file and its `.npz`; arguments as the attributes of `Weights`."""
    path = Path(path)
    fileio.write_bytes(path, onnx)
    facts = {"network_sha256": fileio.sha256(path), "border_px": border_px, "arch": arch}
    write_face_model(path.with_suffix(".npz"), face_model, facts)
