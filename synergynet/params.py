"""The 62 parameters, their constants, and the 3D morphable model they belong to.

A face is 62 numbers: a weak-perspective pose (12, the rows of a 3x4 matrix), 40 shape and 10
expression coefficients. Networks see them whitened: `params = params_w * std + mean`. Frames:
*model* (micrometres, y up, z out of the face), *crop* (the network's 120-px input, y down),
*photo* (the original picture, y down).

Sources: 3DDFA (Zhu et al., PAMI 2017) for the parametrisation and files; SynergyNet, section 3.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import torch

from synergynet import fileio

POSE, SHAPE, EXPR = slice(0, 12), slice(12, 52), slice(52, 62)
N_PARAMS, N_POSE, N_SHAPE, N_EXPR = 62, 12, 40, 10
N_LANDMARKS = 68
RECIPES = ("released", "paper", "corrected", "backbone")  # of network and loss; see README

IMG_SIZE = 120
PIXEL_MEAN, PIXEL_STD = 127.5, 128.0

ROOT = Path(__file__).resolve().parent.parent
BFM_FOLDER = ROOT / "3dmm_data"
OPEN_FOLDER = ROOT / "3dmm_data" / "open"
WHITENING_FILE = "param_whitening.pkl"
REQUIRED_FILES = (
    "u_shp.npy",
    "u_exp.npy",
    "w_shp_sim.npy",
    "w_exp_sim.npy",
    "keypoints_sim.npy",
    WHITENING_FILE,
)  # of a morphable model


@dataclasses.dataclass(frozen=True)
class MorphableModel:
    """Linear 3D face model, `X = u + w_shp a_shp + w_exp a_exp`, with its 68 landmarks.

    Attributes:
        u: (3V, 1) float32 mean face in micrometres, interleaved x0 y0 z0 x1 ...
        w_shp, w_exp: (3V, 40) and (3V, 10) float32 bases.
        keypoints: (204,) int64 rows of u and w that belong to the 68 landmarks.
        param_mean, param_std: (62,) float32 whitening of the training targets.
        triangles: (T, 3) int64, counter-clockwise from outside; None without a tri.mat.
        name: what messages call it, its folder's unless morphable.json says; `hash` identifies it.
    """

    u: torch.Tensor
    w_shp: torch.Tensor
    w_exp: torch.Tensor
    keypoints: torch.Tensor
    param_mean: torch.Tensor
    param_std: torch.Tensor
    triangles: np.ndarray | None
    name: str

    @property
    def n_vertices(self) -> int:
        """Number of vertices V."""
        return self.u.shape[0] // 3

    @property
    def hash(self) -> str:
        """16 hex digits over mean, bases and landmarks; whitening travels with the weights."""
        digest = hashlib.sha256()
        for tensor in (self.u, self.w_shp, self.w_exp, self.keypoints):
            digest.update(np.ascontiguousarray(tensor.numpy()).tobytes())
        return digest.hexdigest()[:16]

    def with_whitening(self, mean: torch.Tensor, std: torch.Tensor) -> MorphableModel:
        """The same face model with another mean and standard deviation of the parameters."""
        return dataclasses.replace(self, param_mean=mean, param_std=std)


def load_morphable(folder: str | Path) -> MorphableModel:
    """Read a `3dmm_data` folder: REQUIRED_FILES, and tri.mat when present.

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
    mean, std = load_whitening(folder / WHITENING_FILE)
    u = u_shp + u_exp
    return MorphableModel(
        u=_float_tensor(u),
        w_shp=_float_tensor(w_shp),
        w_exp=_float_tensor(w_exp),
        keypoints=torch.from_numpy(keypoints.astype(np.int64)),
        param_mean=mean,
        param_std=std,
        triangles=_load_triangles(folder / "tri.mat", u.reshape(-1, 3)),
        name=_read_name(folder),
    )


def load_whitening(path: str | Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Read mean and standard deviation of the parameters, each (62,) float32.

    Reads `param_mean`/`param_std` (SynergyNet, 3DDFA) and `mean`/`std` (3DDFA_V2); of files with
    102 entries (40 more for texture) the first 62 are used.
    """
    table = fileio.read_pickle(path)
    for keys in (("param_mean", "param_std"), ("mean", "std")):
        if isinstance(table, dict) and all(key in table for key in keys):
            mean, std = (
                fileio.require_finite(path, np.asarray(table[key])).reshape(-1)[:N_PARAMS]
                for key in keys
            )
            if len(mean) == len(std) == N_PARAMS and (std > 0).all():
                return _float_tensor(mean), _float_tensor(std)
    raise fileio.InputError(
        f"{path}: no whitening of {N_PARAMS} parameters (param_mean, param_std) in it"
    )


def default_morphable_folder() -> Path:
    """The Basel Face Model in `3dmm_data/`, even in part, else the open model that ships."""
    present = any((BFM_FOLDER / name).exists() for name in REQUIRED_FILES)
    return BFM_FOLDER if present else OPEN_FOLDER


def _read_name(folder: Path) -> str:
    path = folder / "morphable.json"
    if not path.is_file():
        return folder.resolve().name
    facts = fileio.read_json(path)
    if not isinstance(facts, dict) or not isinstance(facts.get("name"), str):
        raise fileio.InputError(f'{path}: no "name" of the morphable model in it')
    return facts["name"]


def _float_tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))


def _load_triangles(path: Path, mean: np.ndarray) -> np.ndarray | None:
    """Triangles of the mean face (V, 3), turned to be counter-clockwise from outside.

    The Basel Face Model's files have them clockwise.
    """
    n_vertices = len(mean)
    if not path.is_file():
        return None
    table = fileio.read_mat(path)
    if "tri" not in table or table["tri"].shape[0] != 3:
        raise fileio.InputError(f"{path}: no (3, T) array 'tri' in it")
    triangles = table["tri"].T.astype(np.int64) - 1
    if triangles.min() < 0 or triangles.max() >= n_vertices:
        raise fileio.InputError(f"{path}: triangles outside the model's {n_vertices} vertices")
    a, b, c = ((mean - mean.mean(0))[corner] for corner in triangles.T)  # (T, 3) each
    inside_out = (a * np.cross(b, c)).sum() < 0  # six times the volume below the surface
    return np.ascontiguousarray(triangles[:, ::-1] if inside_out else triangles)
