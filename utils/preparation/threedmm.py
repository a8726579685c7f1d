"""A `3dmm_data` folder of the Basel Face Model, from whichever form of it the user has.

    python prepare_data.py 3dmm --source SOURCE --output 3dmm_data

SOURCE, a folder or a zip, is one of
- 3DDFA's checkout (`train.configs/`), or a `3dmm_data` of SynergyNet: the arrays themselves;
- 3DDFA_V2's checkout (`configs/bfm_noneck_v3.pkl`): the face without its neck, 38,365 vertices;
- `01_MorphableModel.mat` of the Basel Face Model 2009 with 3DDFA's .mat files that reduce it:
  `trimIndex`, `tri` and `keypoints` (`model_info.mat`), `w_exp` and `mu_exp` (`Exp_Pca.mat`); the
  variables are found by name, whatever their file is called.

Sources: Paysan et al., AVSS 2009, for the model; 3DDFA (Zhu et al., PAMI 2017) for its reduction.
"""

from __future__ import annotations

import dataclasses
import filecmp
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import torch

from model_building import load_morphable
from synergynet import fileio
from synergynet.drawing.lines import BACKGROUND_BGR, draw_landmarks
from synergynet.drawing.surface import draw_faces
from synergynet.face_model import MorphableModel
from synergynet.geometry.parameters import N_EXPR, N_LANDMARKS, N_SHAPE
from synergynet.geometry.pose import Pose, compose_rotation
from synergynet.morphable_folder import REQUIRED_FILES, WHITENING_FILE, read_whitening
from utils.data.mat import read_mat
from utils.preparation.archive import as_folder
from utils.preparation.inventory import LANDMARK_HASHES, WHITENING_FILES, content_hash

TRIANGLES = "tri.mat"
PICTURE = "mean_face.png"
EXTRA_FILES = {
    "BFM_UV.npy": fileio.read_array,
    "keptInd.npy": fileio.read_array,
    "deletedTri.npy": fileio.read_array,
    "param_all_norm_v201.pkl": fileio.read_pickle,
    "train_aug_120x120.list.train": fileio.read_list,
}  # for textures and training; copied as they are when their reader takes them
V2_MODEL = "bfm_noneck_v3.pkl"
SUFFIXES = (".npy", ".pkl", ".mat", ".train")

VIEW_PX = 360
FACE_HEIGHT_UM = (6e4, 2e5)  # chin to nose bridge; 113 mm in the Basel Face Model


@dataclasses.dataclass(frozen=True)
class SourceArrays:
    """What a source holds, in the files' layout.

    Attributes:
        kind: what the source is, for people.
        u_shp, u_exp: (3V, 1) micrometres.
        w_shp, w_exp: (3V, 40) and (3V, 10).
        keypoints: (204,) rows of the 68 landmarks.
        triangles: (3, T) from 1 on, or None.
        whitening: file of the parameters' mean and standard deviation.
        extras: further files to copy.
    """

    kind: str
    u_shp: np.ndarray
    u_exp: np.ndarray
    w_shp: np.ndarray
    w_exp: np.ndarray
    keypoints: np.ndarray
    triangles: np.ndarray | None
    whitening: Path
    extras: tuple[Path, ...] = ()


def prepare(
    source: str | os.PathLike,
    output: str | os.PathLike,
    whitening: str | os.PathLike | None = None,
) -> dict[str, object]:
    """Write a `3dmm_data` folder; all of it or, after an error, nothing.

    Args:
        source: folder or zip, see the file's docstring.
        output: may exist and hold other things, but no morphable model; EXTRA_FILES that are there
            stay as they are.
        whitening: mean and standard deviation of the parameters, where the source has none.
    Returns:
        `kind` of source, counts of `vertices` and `triangles`, `extras` copied, and `published`:
        whether mean, shape and expression bases at the landmarks are the published numbers.
    Raises:
        InputError: nothing that is known in it; a file that is missing, damaged or of another
            shape; a mean face that does not look like one; a model in `output` already.
    """
    extras = [name for name in EXTRA_FILES if not Path(output, name).exists()]
    names = (*REQUIRED_FILES, TRIANGLES, *extras, PICTURE)
    with (
        fileio.all_or_nothing(output, names) as staging,
        as_folder(source, SUFFIXES, staging) as folder,
    ):
        arrays = _read_source(folder, str(source), whitening)
        _write(arrays, staging)
        morphable = _load_written(staging, str(source))
        _require_face(morphable, str(source))
        fileio.write_image(staging / PICTURE, mean_face_picture(morphable))
    at_landmarks = {
        name: content_hash(getattr(morphable, name)[morphable.keypoints].numpy())
        for name in LANDMARK_HASHES
    }
    return {
        "kind": arrays.kind,
        "vertices": morphable.n_vertices,
        "triangles": 0 if morphable.triangles is None else len(morphable.triangles),
        "extras": [path.name for path in arrays.extras if path.name in extras],
        "published": {name: at_landmarks[name] == LANDMARK_HASHES[name] for name in at_landmarks},
    }


def _write(arrays: SourceArrays, folder: Path) -> None:
    for name, array in (
        ("u_shp.npy", arrays.u_shp),
        ("u_exp.npy", arrays.u_exp),
        ("w_shp_sim.npy", arrays.w_shp),
        ("w_exp_sim.npy", arrays.w_exp),
    ):
        fileio.write_array(folder / name, np.ascontiguousarray(array, np.float32))
    fileio.write_array(folder / "keypoints_sim.npy", arrays.keypoints.astype(np.int64))
    mean, std = read_whitening(arrays.whitening)
    table = {"param_mean": mean, "param_std": std}
    fileio.write_pickle(folder / WHITENING_FILE, table)
    if arrays.triangles is not None:
        with fileio.whole_file(folder / TRIANGLES) as temporary:
            scipy.io.savemat(temporary, {"tri": arrays.triangles.astype(np.int32)})
    for path in arrays.extras:
        EXTRA_FILES[path.name](path)  # a damaged one is said here
        shutil.copyfile(path, folder / path.name)


def _load_written(folder: Path, source: str) -> MorphableModel:
    """Read a model as everything else will; shapes are checked there, messages name the source."""
    try:
        return load_morphable(folder)
    except fileio.InputError as error:
        raise fileio.InputError(str(error).replace(str(folder), source)) from None


def _require_face(morphable: MorphableModel, source: str) -> None:
    """Refuse a mean face whose landmarks are not where a face has them.

    Wrong axes, units or index maps still have the right shapes; a face upside down has not.
    """
    points = morphable.u[morphable.keypoints].reshape(N_LANDMARKS, 3).numpy()
    chin, bridge, nose_tip = points[8], points[27], points[30]
    right_eye, left_eye, mouth = points[36], points[45], points[48:60].mean(0)
    low, high = FACE_HEIGHT_UM
    reasons = {
        "the eyes are not above the mouth": min(right_eye[1], left_eye[1]) > mouth[1] > chin[1],
        "the subject's left eye is not at larger x": left_eye[0] > right_eye[0],
        "the nose does not stick out": nose_tip[2] > max(right_eye[2], left_eye[2], mouth[2]),
        "it is not in micrometres": low < np.linalg.norm(bridge - chin) < high,
    }
    if wrong := [reason for reason, fine in reasons.items() if not fine]:
        raise fileio.InputError(
            f"{source}: its mean face is not a face ({', '.join(wrong)}); pass files of one model"
        )


def mean_face_picture(morphable: MorphableModel) -> np.ndarray:
    """The mean face from the front and from its left, with the 68 landmarks; to be looked at.

    Returns:
        (360, 720, 3) uint8 BGR.
    """
    verts = morphable.u.double().numpy().reshape(-1, 3)  # micrometres, y up
    verts = verts - (verts.min(0) + verts.max(0)) / 2
    px_per_um = 0.8 * VIEW_PX / np.ptp(verts, axis=0).max()
    views = []
    for yaw_deg in (0.0, 40.0):
        rotation = compose_rotation(Pose(*torch.tensor([yaw_deg, 0, 0]).double())).numpy()
        points = px_per_um * verts @ rotation.T * [1, -1, 1] + [VIEW_PX / 2, VIEW_PX / 2, 0]
        picture = np.full((VIEW_PX, VIEW_PX, 3), BACKGROUND_BGR, np.uint8)
        if morphable.triangles is not None:
            picture = draw_faces(picture, [points.T], morphable.triangles, opacity=1)
        landmarks = points.reshape(-1)[morphable.keypoints].reshape(N_LANDMARKS, 3).T  # (3, 68)
        views.append(draw_landmarks(picture, landmarks))
    return np.concatenate(views, axis=1)


# ---------------------------------------------------------------- the kinds of source


def _read_source(folder: Path, source: str, whitening: str | os.PathLike | None) -> SourceArrays:
    """Recognise what a folder holds and read it; `source` is what messages call it."""
    if _find(folder, source, "u_shp.npy"):
        return _read_arrays(folder, source, whitening)
    if _find(folder, source, V2_MODEL):
        return _read_3ddfa_v2(folder, source, whitening)
    variables = _mat_variables(folder)
    if "shapePC" in variables:
        return _read_basel(variables, _whitening_file(folder, source, whitening), source)
    raise fileio.InputError(
        f"{source}: no morphable model in it (neither 3DDFA's u_shp.npy, nor 3DDFA_V2's "
        f"{V2_MODEL}, nor 01_MorphableModel.mat); `prepare_data.py check` says whom to ask"
    )


def _read_arrays(folder: Path, source: str, whitening: str | os.PathLike | None) -> SourceArrays:
    """3DDFA's `train.configs/` with `visualize/tri.mat`, or SynergyNet's `3dmm_data`."""
    files = {name: _find(folder, source, name) for name in REQUIRED_FILES[:5]}
    if missing := [name for name, path in files.items() if path is None]:
        raise fileio.InputError(f"{source}: {', '.join(missing)} missing beside u_shp.npy")
    tri_mat = _find(folder, source, TRIANGLES)
    extras = (_find(folder, source, name) for name in EXTRA_FILES)
    return SourceArrays(
        "3DDFA's arrays",
        *(fileio.read_array(path) for path in files.values()),
        triangles=None if tri_mat is None else _variable(tri_mat, "tri"),
        whitening=_whitening_file(folder, source, whitening),
        extras=tuple(path for path in extras if path is not None),
    )


def _read_3ddfa_v2(folder: Path, source: str, whitening: str | os.PathLike | None) -> SourceArrays:
    """3DDFA_V2's `configs/`; its mean is one array, and its triangles count from 0."""
    path = _find(folder, source, V2_MODEL)
    table = fileio.read_pickle(path)
    u, w_shp, w_exp, keypoints = (
        _entry(path, table, key) for key in ("u", "w_shp", "w_exp", "keypoints")
    )
    rebuilt = path.with_name("tri.pkl")  # belongs to the face without its neck
    triangles = {"tri": fileio.read_pickle(rebuilt)} if rebuilt.is_file() else table
    return SourceArrays(
        "3DDFA_V2's model without neck",
        u_shp=u.reshape(-1, 1),
        u_exp=np.zeros((u.size, 1)),
        w_shp=w_shp[..., :N_SHAPE],
        w_exp=w_exp[..., :N_EXPR],
        keypoints=keypoints.reshape(-1),
        triangles=_three_rows(_entry(rebuilt, triangles, "tri")) + 1,
        whitening=_whitening_file(folder, source, whitening),
    )


def _read_basel(variables: dict[str, Path], whitening: Path, source: str) -> SourceArrays:
    """The original model, reduced as 3DDFA does: chosen vertices, 40 and 10 components.

    Components keep the originals' length (unit for shape): 300W-LP's labels are their weights.
    """
    needed = ("shapeMU", "shapePC", "mu_exp", "w_exp", "trimIndex", "keypoints", "tri")
    if missing := [name for name in needed if name not in variables]:
        raise fileio.InputError(
            f"{source}: no .mat in it has {', '.join(missing)}; besides 01_MorphableModel.mat, "
            f"3DDFA's model_info.mat (trimIndex, tri, keypoints) and Exp_Pca.mat (mu_exp, w_exp) "
            f"are needed"
        )
    mean, basis, u_exp, w_exp, kept, keypoints, triangles = (
        _variable(variables[name], name) for name in needed
    )
    kept = kept.reshape(-1).astype(np.int64) - 1  # (V,) vertices of the original
    if kept.min() < 0 or kept.max() >= len(mean) // 3:
        raise fileio.InputError(
            f"{variables['trimIndex'].name}: trimIndex outside the {len(mean) // 3} vertices of "
            f"{variables['shapeMU'].name}"
        )
    if len(w_exp) != 3 * len(kept):
        raise fileio.InputError(
            f"{variables['w_exp'].name}: w_exp has {len(w_exp)} rows, three for each of the "
            f"{len(kept)} vertices of trimIndex are expected"
        )
    rows = _rows_of(kept)
    return SourceArrays(
        "Basel Face Model 2009",
        u_shp=mean.reshape(-1, 1)[rows],
        u_exp=u_exp.reshape(-1, 1),
        w_shp=basis[rows, :N_SHAPE],
        w_exp=w_exp[:, :N_EXPR],
        keypoints=_rows_of(keypoints.reshape(-1).astype(np.int64) - 1),
        triangles=_three_rows(triangles),
        whitening=whitening,
    )


def _rows_of(vertices: np.ndarray) -> np.ndarray:
    """(3N,) rows x, y, z of N vertices in the interleaved arrays."""
    return (3 * vertices[:, None] + np.arange(3)).reshape(-1)


def _three_rows(triangles: np.ndarray) -> np.ndarray:
    """(3, T), from either orientation."""
    return triangles if len(triangles) == 3 else triangles.T


def _find(folder: Path, source: str, name: str) -> Path | None:
    found = sorted(folder.rglob(name))
    others = [path for path in found[1:] if not filecmp.cmp(found[0], path, shallow=False)]
    if others:
        first, second = (path.relative_to(folder) for path in (found[0], others[0]))
        raise fileio.InputError(
            f"{source}: {first} and {second} in it differ; pass the folder of one model"
        )
    return found[0] if found else None


def _whitening_file(folder: Path, source: str, given: str | os.PathLike | None) -> Path:
    candidates = (_find(folder, source, name) for name in WHITENING_FILES)
    path = Path(given) if given else next(filter(None, candidates), None)
    if path is None:
        raise fileio.InputError(
            f"{source}: no {' or '.join(WHITENING_FILES)} in it; pass one with --whitening"
        )
    return path


def _mat_variables(folder: Path) -> dict[str, Path]:
    """The file of every variable in a folder's `.mat` files; contents are not read."""
    variables = {}
    for path in sorted(folder.rglob("*.mat")):
        try:
            names = [name for name, _, _ in scipy.io.whosmat(path)]
        except Exception as error:  # scipy raises a dozen kinds on damaged files
            raise fileio.InputError(f"{path}: not a readable .mat file ({error})") from None
        variables |= dict.fromkeys(names, path)
    return variables


def _variable(path: Path, name: str) -> np.ndarray:
    return _entry(path, read_mat(path), name)


def _entry(path: Path, table: Any, name: str) -> np.ndarray:
    """An array of a dict that a file holds."""
    if not isinstance(table, dict) or not isinstance(table.get(name), np.ndarray):
        raise fileio.InputError(f"{path}: no array '{name}' in it")
    return fileio.require_finite(path, table[name])
