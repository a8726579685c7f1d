"""Every file the project can use: whether it is there, what it is, and whom to ask for it.

    python prepare_data.py check

Files are told apart by what they hold, not by their bytes: the same numbers saved by another
version of numpy or MATLAB have the same `content_hash`. Of the published shape and expression bases
only the landmarks' rows were at hand, so these are compared.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from model_building import load_morphable, read_checkpoint
from synergynet import fileio
from synergynet.geometry.parameters import N_EXPR, N_LANDMARKS, N_PARAMS, N_SHAPE
from synergynet.morphable_folder import read_whitening
from utils.data.evaluation_crops import (
    CROPS,
    EVAL,
    LANDMARKS_FILE,
    LIST,
    POSE_FILE,
    REANNOTATED_FILE,
    ROI_BOX_FILE,
    SKIPPED_FILE,
    YAW_FILE,
    EvaluationCrops,
)
from utils.data.folders import ROOT
from utils.data.mat import read_mat
from utils.data.training_crops import TrainingCrops
from utils.preparation.training_set import TRAINING_IMAGES, TRAINING_LIST, TRAINING_PARAMS

KEYPOINTS = "keypoints_sim.npy"
WHITENING_FILES = ("param_whitening.pkl", "param_mean_std_62d_120x120.pkl")  # SynergyNet, 3DDFA_V2
BASES = ("w_shp_sim.npy", "w_exp_sim.npy")  # hashed at the landmarks' rows
PICTURES = (".jpg", ".png")

# of the published model's mean and bases at the 68 landmarks, rows that every cut of it has
LANDMARK_HASHES = {
    "u": "d521b0d2774cdbaf",
    "w_shp": "64b490263cb65679",
    "w_exp": "b93d903fad0e2201",
}


class KnownFile(NamedTuple):
    """A file, or a folder of pictures.

    Attributes:
        name: relative to its group's folder.
        shape: of its array, None for any length; None for files that hold no array.
        published: hash of the published file, or None where it was not at hand.
    """

    name: str
    shape: tuple[int | None, ...] | None = None
    published: str | None = None


@dataclasses.dataclass(frozen=True)
class Group:
    """Files that are used together.

    Attributes:
        folder: relative to the project.
        what, licence, ask, unlocks: for people.
        files: that belong to it, not all of them necessary.
        use: reads them as the project's commands do and says what they are; raises InputError.
    """

    folder: str
    what: str
    licence: str
    ask: str
    unlocks: str
    files: tuple[KnownFile, ...]
    use: Callable[[Path], str]


class FileState(NamedTuple):
    """What was found of a KnownFile.

    Attributes:
        name: relative to its group's folder.
        state: "present", "missing", or what is wrong with it.
        shape: of its array; of a list or a folder (entries,).
        dtype: of its array.
        hash: of its array, else of its bytes; None for folders.
        published: whether that is the published file's; None where the published one's is unknown.
    """

    name: str
    state: str
    shape: tuple[int, ...] | None = None
    dtype: str | None = None
    hash: str | None = None
    published: bool | None = None


class GroupState(NamedTuple):
    """A group, its files, and what it is good for: `usable`, or why it is not in `problem`."""

    group: Group
    files: list[FileState]
    usable: str | None
    problem: str | None


# ---------------------------------------------------------------- looking


def inspect(root: Path = ROOT) -> list[GroupState]:
    """Look at every file of GROUPS below a folder; nothing is changed."""
    states = []
    for group in GROUPS:
        folder = root / group.folder
        files = [_inspect_file(folder, file) for file in group.files]
        usable = problem = None
        try:
            usable = group.use(folder)
        except fileio.InputError as error:
            problem = str(error).replace(f"{root}{os.sep}", "")
        states.append(GroupState(group, files, usable, problem))
    return states


def content_hash(array: np.ndarray) -> str:
    """16 hex digits over shape and values; whole numbers as int64, others as float32."""
    kind = np.int64 if array.dtype.kind in "iub" else np.float32
    digest = hashlib.sha256(str(array.shape).encode())
    digest.update(np.ascontiguousarray(array, kind).tobytes())
    return digest.hexdigest()[:16]


def _inspect_file(folder: Path, file: KnownFile) -> FileState:
    path = folder / file.name
    if not path.exists():
        return FileState(file.name, "missing")
    if path.is_dir():
        pictures = sum(entry.suffix.lower() in PICTURES for entry in path.iterdir())
        return FileState(file.name, "present", (pictures,))
    try:
        content = _read(path)
        digest = _hash(path, content)
    except fileio.InputError as error:
        return FileState(file.name, str(error).removeprefix(f"{path}: "))
    array = content if isinstance(content, np.ndarray) else None
    shape = (len(content),) if isinstance(content, list) else getattr(array, "shape", None)
    dtype = None if array is None else str(array.dtype)
    published = None if file.published is None else digest == file.published
    state = "present" if _fits(shape, file.shape) else f"expected {_format_shape(file.shape)}"
    return FileState(file.name, state, shape, dtype, digest, published)


def _read(path: Path) -> np.ndarray | list[str] | None:
    """The array or list of a file; None where it holds neither."""
    if path.name in WHITENING_FILES:
        return np.stack(read_whitening(path))  # (2, 62)
    if path.suffix == ".npy":
        return fileio.read_array(path)
    if path.suffix == ".pkl":
        content = fileio.read_pickle(path)
        return fileio.require_finite(path, content) if isinstance(content, np.ndarray) else None
    if path.suffix == ".mat":
        content = read_mat(path).get("tri")
        return None if content is None else fileio.require_finite(path, content)
    if path.suffix in (".list", ".train"):
        return fileio.read_list(path)
    return None


def _hash(path: Path, content: np.ndarray | list[str] | None) -> str:
    if path.name in BASES and content.ndim == 2:
        rows = fileio.read_array(path.with_name(KEYPOINTS), (3 * N_LANDMARKS,)).astype(np.int64)
        content = content[np.clip(rows, 0, len(content) - 1)]
    if isinstance(content, np.ndarray):
        return content_hash(content)
    return fileio.file_hash(path)


def _fits(shape: tuple[int, ...] | None, expected: tuple[int | None, ...] | None) -> bool:
    if expected is None:
        return True
    return (
        shape is not None
        and len(shape) == len(expected)
        and all(want in (None, got) for want, got in zip(expected, shape, strict=True))
    )


# ---------------------------------------------------------------- what there is to use


def _use_morphable(folder: Path) -> str:
    model = load_morphable(folder)
    return f"morphable model {model.name}, {model.n_vertices} vertices, hash {model.hash}"


def _use_test_set(folder: Path) -> str:
    return f"test set of {len(EvaluationCrops(folder))} images"


def _use_training_set(root: Path) -> str:
    list_file, params_file = (
        root / "3dmm_data" / name for name in (TRAINING_LIST, TRAINING_PARAMS)
    )
    crops = TrainingCrops(root / TRAINING_IMAGES, list_file, params_file)
    return f"training set of {len(crops)} crops"


def _use_weights(name: str) -> Callable[[Path], str]:
    def use(folder: Path) -> str:
        checkpoint = read_checkpoint(folder / name)
        return f"checkpoint of {len(checkpoint.get('state_dict', checkpoint))} entries"

    return use


def _unpublished(files: tuple[KnownFile, ...]) -> tuple[KnownFile, ...]:
    return tuple(KnownFile(file.name, file.shape) for file in files)


RESEARCH = "research only"
FREE = "free for any use, see docs/LICENSES.md"
SHIPS = "ships with the project"
MORPHABLE = (
    KnownFile("u_shp.npy", (None, 1), "31bb1491dffd5d98"),
    KnownFile("u_exp.npy", (None, 1), "4d5958243869b098"),
    KnownFile("w_shp_sim.npy", (None, N_SHAPE), LANDMARK_HASHES["w_shp"]),
    KnownFile("w_exp_sim.npy", (None, N_EXPR), LANDMARK_HASHES["w_exp"]),
    KnownFile(KEYPOINTS, (3 * N_LANDMARKS,), "04da3a5ebaa15f22"),
    KnownFile(WHITENING_FILES[0], (2, N_PARAMS), "655e59e900ae2dea"),
    KnownFile("tri.mat", (3, None), "935af7adae22f8ac"),
)
TEST_SET = (
    KnownFile(CROPS, (None,)),
    KnownFile(LIST, (None,)),
    KnownFile(f"{EVAL}/{LANDMARKS_FILE}", (None, 3, N_LANDMARKS), "b679c206f9f67a7a"),
    KnownFile(f"{EVAL}/{REANNOTATED_FILE}", (None, 2, N_LANDMARKS), "fcc229f645a77f86"),
    KnownFile(f"{EVAL}/{YAW_FILE}", (None,), "50d1643aca342850"),
    KnownFile(f"{EVAL}/{ROI_BOX_FILE}", (None, 4), "65d96730d56d54a3"),
    KnownFile(f"{EVAL}/{POSE_FILE}", (None, 3)),
    KnownFile(f"{EVAL}/{SKIPPED_FILE}", (None,)),
)
TEXTURE = (
    KnownFile("BFM_UV.npy", (None, 2)),
    KnownFile("keptInd.npy"),
    KnownFile("deletedTri.npy"),
)

GROUPS = (
    Group(
        "3dmm_data",
        "Basel Face Model 2009, cut to 53,215 vertices by 3DDFA",
        f"{RESEARCH}; expression bases: FaceWarehouse, {RESEARCH}",
        "University of Basel for the model, Zhejiang University for the expressions; the arrays "
        "are in 3DDFA's repository and SynergyNet's 3dmm_data.zip; prepare_data.py 3dmm",
        "published weights, 3DDFA_V2's weights, training on 300W-LP, prepare_data.py labels",
        MORPHABLE + TEXTURE,
        _use_morphable,
    ),
    Group(
        "aflw2000_data",
        "AFLW2000-3D, 2,000 photographs",
        f"{RESEARCH}; the photographs belong to their makers",
        "authors of 3DDFA (CVPR 2016) for AFLW2000-3D.zip, then prepare_data.py aflw2000; the "
        "re-annotated landmarks: LS3D-W's authors, or 3DDFA's test.configs",
        "python benchmark.py with figures that compare with published ones",
        TEST_SET,
        _use_test_set,
    ),
    Group(
        ".",
        "300W-LP, 636,252 training crops",
        f"{RESEARCH}; the photographs belong to their makers",
        "SynergyNet's or 3DDFA's authors for the crops; or authors of 3DDFA (CVPR 2016) for "
        "300W-LP.zip, then prepare_data.py 300w-lp",
        "bash train_script.sh as published",
        (
            KnownFile(TRAINING_IMAGES, (None,)),
            KnownFile(f"3dmm_data/{TRAINING_LIST}", (None,)),
            KnownFile(f"3dmm_data/{TRAINING_PARAMS}", (None, None)),
        ),
        _use_training_set,
    ),
    Group(
        "pretrained",
        "SynergyNet's published weights",
        f"trained on 300W-LP: {RESEARCH}",
        "authors of SynergyNet (3DV 2021)",
        "python benchmark.py -w pretrained/best.pth.tar, singleImage.py with published accuracy",
        (KnownFile("best.pth.tar"),),
        _use_weights("best.pth.tar"),
    ),
    Group(
        "pretrained",
        "3DDFA_V2's MobileNet 0.5",
        f"trained on 300W-LP: {RESEARCH}",
        "3DDFA_V2's repository (weights/ and configs/)",
        "python benchmark.py -w pretrained/mb05_120x120.pth -a 3ddfa_v2:mb05 --whitening "
        "pretrained/param_mean_std_62d_120x120.pkl",
        (
            KnownFile("mb05_120x120.pth", None, "f93ed7f1c4c0382b"),
            KnownFile(WHITENING_FILES[1], (2, N_PARAMS), "655e59e900ae2dea"),
        ),
        _use_weights("mb05_120x120.pth"),
    ),
    Group(
        "3dmm_data/open",
        "open morphable model",
        FREE,
        SHIPS,
        "everything, with nothing downloaded",
        _unpublished(MORPHABLE),
        _use_morphable,
    ),
    Group(
        "aflw2000_data/open",
        "open synthetic test set",
        FREE,
        SHIPS,
        "python benchmark.py, with nothing downloaded",
        _unpublished(TEST_SET),
        _use_test_set,
    ),
    Group(
        "pretrained",
        "open weights, trained on synthetic faces",
        FREE,
        SHIPS,
        "benchmark.py, singleImage.py and synergy3DMM, with nothing downloaded",
        (KnownFile("open_mobilenet_v2.pth.tar"),),
        _use_weights("open_mobilenet_v2.pth.tar"),
    ),
)


# ---------------------------------------------------------------- saying it


def format_report(states: list[GroupState]) -> str:
    """The table for the terminal."""
    lines = []
    for group, files, usable, problem in states:
        lines += [
            f"{group.folder}/  {group.what}",
            f"  usable:   {usable or f'no; {problem}'}",
            f"  unlocks:  {group.unlocks}",
            f"  licence:  {group.licence}",
            f"  ask:      {group.ask}",
        ]
        width = max(len(file.name) for file in files)
        for file in files:
            shape = "" if file.shape is None else _format_shape(file.shape)
            origin = {True: "as published", False: "not as published", None: ""}[file.published]
            if origin and file.name in BASES:
                origin += " at the landmarks"
            cells = (shape, file.dtype or "", file.hash or "", origin)
            line = f"    {file.name:{width}}  {file.state:8}  {cells[0]:15}  {cells[1]:8}"
            lines.append(f"{line}  {cells[2]:16}  {cells[3]}".rstrip())
        lines.append("")
    return "\n".join(lines)


def as_json(states: list[GroupState]) -> list[dict[str, Any]]:
    """The same as plain values."""
    texts = ("folder", "what", "licence", "ask", "unlocks")
    return [
        {name: getattr(state.group, name) for name in texts}
        | {"usable": state.usable, "problem": state.problem}
        | {"files": [file._asdict() for file in state.files]}
        for state in states
    ]


def _format_shape(shape: tuple[int | None, ...]) -> str:
    return "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
