"""Read a `3dmm_data` folder: a face model in the files of 3DDFA and SynergyNet.

    face_model = read_morphable_folder("3dmm_data")

Sources: 3DDFA (Zhu et al., PAMI 2017) for the files; the published system for their names.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from synergynet import fileio
from synergynet.blendshapes import FacialActions, actions_of
from synergynet.face_model import MorphableModel
from synergynet.geometry.parameters import N_EXPR, N_LANDMARKS, N_PARAMS, N_SHAPE
from synergynet.matfile import read_mat_array

WHITENING_FILE = "param_whitening.pkl"
TRIANGLES_FILE = "tri.mat"
UV_FILE = "BFM_UV.npy"
ACTIONS_FILE = "facial_actions.npz"
REQUIRED_FILES = (
    "u_shp.npy",
    "u_exp.npy",
    "w_shp_sim.npy",
    "w_exp_sim.npy",
    "keypoints_sim.npy",
    WHITENING_FILE,
)


def read_morphable_folder(folder: str | os.PathLike[str]) -> MorphableModel:
    """Read REQUIRED_FILES, and triangles, texture coordinates and facial actions where they are
    there.

    Raises:
        InputError: a file is missing, damaged, or its shape does not fit the others.
    """
    folder = Path(folder)
    if missing := [name for name in REQUIRED_FILES if not (folder / name).is_file()]:
        raise fileio.InputError(
            f"{folder}: no morphable model here ({', '.join(missing)} missing); see README, "
            f"'Published weights and data', or use the open one, 3dmm_data/open"
        )
    u_shp = fileio.read_array(folder / "u_shp.npy", (None, 1))
    rows = len(u_shp)
    if rows % 3:
        raise fileio.InputError(f"{folder / 'u_shp.npy'}: {rows} rows, not a multiple of 3")
    u_exp = fileio.read_array(folder / "u_exp.npy", (rows, 1))
    w_shp = fileio.read_array(folder / "w_shp_sim.npy", (rows, N_SHAPE))
    w_exp = fileio.read_array(folder / "w_exp_sim.npy", (rows, N_EXPR))
    keypoints = fileio.read_array(folder / "keypoints_sim.npy").reshape(-1)
    if keypoints.shape != (3 * N_LANDMARKS,) or keypoints.min() < 0 or keypoints.max() >= rows:
        raise fileio.InputError(
            f"{folder / 'keypoints_sim.npy'}: not {3 * N_LANDMARKS} rows below {rows}"
        )
    mean, std = read_whitening(folder / WHITENING_FILE)
    u = u_shp + u_exp
    return MorphableModel(
        u=_float32(u),
        w_shp=_float32(w_shp),
        w_exp=_float32(w_exp),
        keypoints=keypoints.astype(np.int64),
        param_mean=mean,
        param_std=std,
        triangles=_read_triangles(folder / TRIANGLES_FILE, u.reshape(-1, 3)),
        name=_read_name(folder),
        uv=_read_uv(folder / UV_FILE, rows // 3),
        actions=_read_actions(folder / ACTIONS_FILE),
    )


def read_whitening(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray]:
    """Read mean and standard deviation of the parameters, each (62,) float32.

    Reads `param_mean`/`param_std` (SynergyNet, 3DDFA) and `mean`/`std` (3DDFA_V2); of files with
    102 entries (40 more for texture) the first 62 are used.

    Raises:
        InputError: missing, damaged, or no whitening.
    """
    table = fileio.read_pickle(path)
    for keys in (("param_mean", "param_std"), ("mean", "std")):
        if isinstance(table, dict) and all(key in table for key in keys):
            mean, std = (
                fileio.require_finite(path, np.asarray(table[key])).reshape(-1)[:N_PARAMS]
                for key in keys
            )
            if len(mean) == len(std) == N_PARAMS and (std > 0).all():
                return _float32(mean), _float32(std)
    raise fileio.InputError(
        f"{path}: no whitening of {N_PARAMS} parameters (param_mean, param_std) in it"
    )


def _read_name(folder: Path) -> str:
    path = folder / "morphable.json"
    if not path.is_file():
        return folder.resolve().name
    facts = fileio.read_json(path)
    if not isinstance(facts, dict) or not isinstance(facts.get("name"), str):
        raise fileio.InputError(f'{path}: no "name" of the morphable model in it')
    return str(facts["name"])


def _read_triangles(path: Path, mean: np.ndarray) -> np.ndarray | None:
    """Triangles of the mean face (V, 3), turned to be counter-clockwise from outside.

    The Basel Face Model's files have them clockwise.
    """
    if not path.is_file():
        return None
    table = read_mat_array(path, "tri")
    if table.ndim != 2 or len(table) != 3:
        raise fileio.InputError(f"{path}: 'tri' has shape {table.shape}, expected (3, any)")
    triangles = table.T.astype(np.int64) - 1
    if triangles.min() < 0 or triangles.max() >= len(mean):
        raise fileio.InputError(f"{path}: triangles outside the model's {len(mean)} vertices")
    a, b, c = ((mean - mean.mean(0))[corner] for corner in triangles.T)  # (T, 3) each
    inside_out = (a * np.cross(b, c)).sum() < 0  # six times the volume below the surface
    return np.ascontiguousarray(triangles[:, ::-1] if inside_out else triangles)


def _read_uv(path: Path, n_vertices: int) -> np.ndarray | None:
    """Texture coordinates (V, 2); they count when the file has the model's vertices."""
    if not path.is_file():
        return None
    uv = fileio.read_array(path, (None, 2))
    return _float32(uv) if len(uv) == n_vertices else None


def _read_actions(path: Path) -> FacialActions | None:
    if not path.is_file():
        return None
    try:
        return actions_of(fileio.read_arrays(path))
    except ValueError as error:
        raise fileio.InputError(f"{path}: its {error}") from None


def _float32(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, np.float32)
