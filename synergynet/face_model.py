"""The linear 3D face that the 62 numbers move: mean, bases, landmarks, triangles, whitening.

    face_model, facts = read_face_model("face.npz")
    landmarks = face_model.landmarks(params)  # (B, 3, 68) crop px, y down, of real parameters

Its arrays are numpy's here and torch's in training; what it computes is the same for both.
Sources: 3DDFA (Zhu et al., PAMI 2017) for the parametrisation; SynergyNet, section 3.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from synergynet import fileio
from synergynet.blendshapes import FacialActions, actions_of, arrays_of
from synergynet.geometry.arrays import Array
from synergynet.geometry.decoding import decode_points, model_points
from synergynet.geometry.parameters import (
    N_EXPR,
    N_LANDMARKS,
    N_PARAMS,
    N_SHAPE,
    unwhiten,
    whiten,
)
from synergynet.meshes.dense import DenseSurface, build_dense
from synergynet.meshes.topology import nearest_points

ARRAYS = ("u", "w_shp", "w_exp", "keypoints", "param_mean", "param_std")


@dataclasses.dataclass(frozen=True, eq=False)
class MorphableModel:
    """Linear 3D face model, `X = u + w_shp a_shp + w_exp a_exp`, with its 68 landmarks.

    Attributes:
        u: (3V, 1) float32 mean face in micrometres, interleaved x0 y0 z0 x1 ...
        w_shp, w_exp: (3V, 40) and (3V, 10) float32 bases.
        keypoints: (204,) int64 rows of u and w that belong to the 68 landmarks.
        param_mean, param_std: (62,) float32 whitening of the training targets.
        triangles: (T, 3) int64 numpy, counter-clockwise from outside; None where it has none.
        name: what messages call it; `hash` identifies it.
        uv: (V, 2) float32 numpy texture coordinates, v up, or None.
        actions: what its expressions were made of, in numpy; None of models but the open one.
    """

    u: Array
    w_shp: Array
    w_exp: Array
    keypoints: Array
    param_mean: Array
    param_std: Array
    triangles: np.ndarray | None
    name: str
    uv: np.ndarray | None = None
    actions: FacialActions | None = None

    @property
    def n_vertices(self) -> int:
        """Number of vertices V."""
        return int(self.u.shape[0]) // 3

    @functools.cached_property
    def hash(self) -> str:
        """16 hex digits over mean, bases and landmarks; whitening travels with the weights."""
        digest = hashlib.sha256()
        for array in (self.u, self.w_shp, self.w_exp, self.keypoints):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    @property
    def morphable_id(self) -> dict[str, str]:
        """Name and hash, as checkpoints and results record them."""
        return {"name": self.name, "hash": self.hash}

    @functools.cached_property
    def on_surface(self) -> np.ndarray:
        """(V,) the vertex itself, or of those without a triangle the nearest that has one.

        The open model's landmarks lie between vertices of its surface and belong to no triangle.

        Raises:
            ValueError: the model has no triangles.
        """
        if self.triangles is None:
            raise ValueError(f"{self.name}: a face model without triangles has no surface")
        rows = np.arange(self.n_vertices)
        used = np.unique(self.triangles)
        bare = np.setdiff1d(rows, used)
        if len(bare):
            mean = np.asarray(self.mean_face)
            rows[bare] = used[nearest_points(mean[used], mean[bare])[1][:, 0]]
        return rows

    @functools.cached_property
    def landmark_vertices(self) -> np.ndarray:
        """(68,) which vertices the landmarks are."""
        return np.asarray(self.keypoints)[::3] // 3

    @functools.cached_property
    def landmark_triangles(self) -> np.ndarray:
        """(M, 3) the triangles about the landmarks' places on the surface; raises as that does."""
        about = self.on_surface[self.landmark_vertices]
        assert self.triangles is not None
        return self.triangles[np.isin(self.triangles, about).any(axis=1)]

    @functools.cached_property
    def dense(self) -> DenseSurface:
        """The smooth surface that is drawn and written, of more vertices where these are few.

        Raises:
            ValueError: the model has no triangles.
        """
        return self._build_dense(with_parts=False)

    @functools.cached_property
    def dense_with_parts(self) -> DenseSurface:
        """`dense` with eyeballs and an inner mouth; raises as that does."""
        return self._build_dense(with_parts=True)

    def _build_dense(self, *, with_parts: bool) -> DenseSurface:
        if self.triangles is None:
            raise ValueError(f"{self.name}: a face model without triangles has no surface")
        mean = np.asarray(self.mean_face)
        return build_dense(mean, self.triangles, self.landmark_vertices, with_parts=with_parts)

    @property
    def mean_face(self) -> Array:
        """The mean face (V, 3) in micrometres, y up."""
        return self.u.reshape(-1, 3)

    def whiten(self, params: Array) -> Array:
        """Whitened parameters (..., 62) from real ones."""
        return whiten(params, self.param_mean, self.param_std)

    def unwhiten(self, params_w: Array) -> Array:
        """Real parameters (..., 62) from whitened ones."""
        return unwhiten(params_w, self.param_mean, self.param_std)

    def landmarks(self, params: Array) -> Array:
        """68 landmarks (B, 3, 68) in crop px, y down, from real parameters (B, 62)."""
        rows = self.keypoints
        return decode_points(params, self.u[rows], self.w_shp[rows], self.w_exp[rows])

    def landmarks_model(self, params: Array) -> Array:
        """68 landmarks (B, 3, 68) micrometres, model frame, y up, of real parameters (B, 62)."""
        rows = self.keypoints
        return model_points(params, self.u[rows], self.w_shp[rows], self.w_exp[rows])

    def vertices(self, params: Array) -> Array:
        """All vertices (B, 3, V) in crop px, y down, from real parameters (B, 62)."""
        return decode_points(params, self.u, self.w_shp, self.w_exp)

    def convert(self, function: Callable[[Array], Array]) -> MorphableModel:
        """The same face model with every array of ARRAYS replaced by `function` of it."""
        return dataclasses.replace(self, **{n: function(getattr(self, n)) for n in ARRAYS})


# ---------------------------------------------------------------- files


FACTS = "facts"  # entry of a file: JSON as bytes
_ACTION = "action_"  # before the names of arrays of facial actions


def read_face_model(path: str | os.PathLike[str]) -> tuple[MorphableModel, dict[str, Any]]:
    """Read a face model that `write_face_model` wrote, as numpy arrays, and the facts beside it.

    Raises:
        InputError: missing, damaged, or its arrays do not fit together.
    """
    table = fileio.read_arrays(path)
    expected: dict[str, tuple[int | None, ...]] = {
        "u": (None, 1),
        "w_shp": (None, N_SHAPE),
        "w_exp": (None, N_EXPR),
        "keypoints": (3 * N_LANDMARKS,),
        "param_mean": (N_PARAMS,),
        "param_std": (N_PARAMS,),
        FACTS: (None,),
    }
    for name, shape in expected.items():
        if name not in table or not fileio.has_shape(table[name], shape):
            raise fileio.InputError(f"{path}: not a face model, {name} is missing or misshaped")
    rows = len(table["u"])
    keypoints, triangles, uv = table["keypoints"], table.get("triangles"), table.get("uv")
    fits = rows % 3 == 0 and len(table["w_shp"]) == len(table["w_exp"]) == rows
    fits = fits and keypoints.min() >= 0 and keypoints.max() < rows
    if triangles is not None:
        fits = fits and fileio.has_shape(triangles, (None, 3))
        fits = fits and triangles.min() >= 0 and triangles.max() < rows // 3
    if uv is not None:
        fits = fits and uv.shape == (rows // 3, 2)
    if not fits or (table["param_std"] <= 0).any():
        raise fileio.InputError(f"{path}: a face model whose arrays do not fit together")
    try:
        actions = actions_of(table, _ACTION)
    except ValueError as error:
        raise fileio.InputError(f"{path}: a face model whose {error}") from None
    facts = fileio.decode_json(path, table[FACTS].astype(np.uint8).tobytes())
    if not isinstance(facts, dict) or not isinstance(facts.get("name"), str):
        raise fileio.InputError(f"{path}: a face model without a name")
    floats = {name: table[name].astype(np.float32) for name in ARRAYS if name != "keypoints"}
    model = MorphableModel(
        **floats,
        keypoints=keypoints.astype(np.int64),
        triangles=None if triangles is None else triangles.astype(np.int64),
        name=facts["name"],
        uv=None if uv is None else uv.astype(np.float32),
        actions=actions,
    )
    return model, facts


def write_face_model(
    path: str | os.PathLike[str], model: MorphableModel, facts: dict[str, Any]
) -> None:
    """Write a face model as one `.npz` file for `read_face_model`.

    Args:
        path: of the file.
        model: of arrays of either kind.
        facts: what else to store in the file; the model's name is added.
    """
    arrays = {name: np.asarray(getattr(model, name)) for name in ARRAYS}
    arrays["keypoints"] = arrays["keypoints"].astype(np.int32)
    text = json.dumps({"name": model.name} | facts)
    arrays[FACTS] = np.frombuffer(text.encode(), np.uint8)
    if model.triangles is not None:
        arrays["triangles"] = model.triangles.astype(np.int32)
    if model.uv is not None:
        arrays["uv"] = model.uv
    if model.actions is not None:
        arrays |= arrays_of(model.actions, _ACTION)
    fileio.write_arrays(path, arrays)
