"""People, expressions, poses and crops as labels of synthetic faces, without their pictures.

Heads are drawn in perspective and labels are weak-perspective: camera, person and expression of a
label are the best fit to the 68 drawn landmarks. From afar a picture agrees with its label exactly:
landmarks decode to the continuous coordinates (pixel centres at +0.5) at which they were drawn.

Sources: 3DDFA (Zhu et al., PAMI 2017) for the crops; AFLW2000-3D for the spread of poses.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import numpy as np

from synergynet.face_model import MorphableModel
from synergynet.geometry.crop import CROP_FACTOR
from synergynet.geometry.parameters import (
    EXPR,
    IMG_SIZE,
    N_EXPR,
    N_LANDMARKS,
    N_POSE,
    N_SHAPE,
    POSE,
    SHAPE,
)
from utils.evaluation.metrics import landmark_nme
from utils.synthetic.head import OpenHead
from utils.synthetic.portrait.geometry import project_to_crop
from utils.synthetic.portrait.projection import fit_face, perspective_camera, project

# From a selfie at arm's length to a telephoto lens, each doubling of the distance as often: what
# perspective does to a face goes with the inverse of its distance, so the near ones matter most.
CAMERA_DISTANCES_M = (0.5, 5.0)
# A change of a coefficient by its spread costs as much as one coordinate off by this much.
LABEL_STIFFNESS_UM = 1_700.0
_LABEL_ROUNDS = 3  # of fitting, a step each; labels at 0.5 m are 0.005 of the spread off (RMS)
_ANGLE_LIMITS_DEG = np.array([[-1], [1]]) * (50, 90, 45, 75)  # of nod, turn, lift and tilt
# Share of a training set's crops that the landmarks fill as they fill AFLW2000-3D's; where the
# picture says little, networks may rely on it. The others are as loose as detectors' boxes.
EXACT_CROPS = 0.5
# The bank's people differ more in proportions than those of 300W-LP's and AFLW2000-3D's labels do.
PEOPLE_SPREAD = 0.85
WIDE_MOUTHS = 0.06  # share of faces whose expression is among the fifth with the widest mouths


class Shot(NamedTuple):
    """A label and what its picture is drawn with.

    Attributes:
        params: (62,) float32 real parameters for a 120-px crop cut like AFLW2000-3D's, the
            landmarks' mean depth 0.
        face: (50,) float32 shape and expression of the drawn head.
        camera: (4, 4) float32 perspective camera into the same crop, px, y up.
    """

    params: np.ndarray
    face: np.ndarray
    camera: np.ndarray


@dataclasses.dataclass(frozen=True)
class LabelSampler:
    """Draws people, expressions, poses and crops as real 62-number labels.

    Attributes:
        landmark_mean: (68, 3); landmark_shp: (68, 3, 40); landmark_expr: (68, 3, 10) micrometres.
        identities: (I, 40) people to mix; expressions: (E, 10), the widest mouths last.
        stiffness: (50,) of shape and expression in the fit of labels, micrometres.
        exact_crops: share of crops that are not shifted and scaled at random.
    """

    landmark_mean: np.ndarray
    landmark_shp: np.ndarray
    landmark_expr: np.ndarray
    identities: np.ndarray
    expressions: np.ndarray
    stiffness: np.ndarray
    exact_crops: float = EXACT_CROPS

    @classmethod
    def of(cls, head: OpenHead, morphable: MorphableModel, held_out: bool) -> LabelSampler:
        """The people to train with, in crops of which some are loose, or the held-out ones."""
        mean, shp, expr = _landmark_model(morphable)
        people = head.held_out_identities if held_out else head.identities
        expressions = _by_mouth(head.expressions, mean, expr)
        spread = np.concatenate([people.std(0), expressions.std(0)])
        stiffness = LABEL_STIFFNESS_UM / spread
        exact_crops = 1.0 if held_out else EXACT_CROPS
        return cls(mean, shp, expr, people, expressions, stiffness, exact_crops)

    @functools.cached_property
    def basis(self) -> np.ndarray:
        """How shape and expression move the landmarks, (68, 3, 50) micrometres."""
        return np.concatenate([self.landmark_shp, self.landmark_expr], axis=2)

    def sample(
        self, rng: np.random.Generator, yaw_range_deg: tuple[float, float] = (0.0, 90.0)
    ) -> np.ndarray:
        """One label, (62,) float32 real parameters, for a 120-px crop; see `shoot`."""
        return self.shoot(rng, yaw_range_deg)[0]

    def shoot(
        self,
        rng: np.random.Generator,
        yaw_range_deg: tuple[float, float] = (0.0, 90.0),
        expression: np.ndarray | None = None,
    ) -> Shot:
        """One label, and the head and the camera to draw.

        A near camera sees a large nose and small ears, which no weak-perspective camera does. As in
        fits to photographs, the label's person takes some of that on. The people sampled are those
        of such labels; so the head that is drawn has it taken off.

        Args:
            rng: decides everything.
            yaw_range_deg: of |yaw|, as drawn.
            expression: (10,) that the person shows; None samples one.
        """
        shape = PEOPLE_SPREAD * _mix(self.identities, rng)
        shape = shape + 0.15 * rng.standard_normal(N_SHAPE)
        shown = _blend(self.expressions, rng) if expression is None else expression
        sampled = np.concatenate([shape, shown])  # (50,)
        rotation = sample_rotation(rng, yaw_range_deg)
        distance = 1e6 * np.exp(rng.uniform(*np.log(CAMERA_DISTANCES_M)))  # micrometres
        turned, change = rotation, np.zeros_like(sampled)
        for _ in range(_LABEL_ROUNDS):
            face = sampled - change
            landmarks = self.landmark_mean + self.basis @ face
            camera = perspective_camera(rotation, landmarks.mean(0), distance)
            image = project(camera, landmarks)[:, :2]
            fitted, change = fit_face(
                landmarks, self.basis, self.stiffness, image, turned, change, rounds=1
            )
            turned = fitted[:3, :3]
        to_crop = self._crop(project(fitted, landmarks + self.basis @ change)[:, :2], rng)
        params = np.concatenate([(to_crop @ fitted)[:3].reshape(N_POSE), face + change])
        drawn = (face, to_crop @ camera)
        return Shot(params.astype(np.float32), *(part.astype(np.float32) for part in drawn))

    def fit_error(self, shot: Shot) -> float:
        """How far the label's landmarks are from those drawn: NME, percent."""
        drawn = project_to_crop(shot.camera, self.landmark_mean + self.basis @ shot.face)  # (68, 3)
        decoded = decode_landmarks(self, shot.params[None])  # (1, 3, 68)
        return 100 * float(landmark_nme(decoded, drawn.T[None])[0])

    def _crop(self, landmarks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(4, 4) similarity that puts landmarks (68, 2), y up, into a crop cut like AFLW2000-3D's;
        it leaves a depth of 0 as it is."""
        low, high = landmarks.min(0), landmarks.max(0)
        side, centre = (high - low).max() * CROP_FACTOR, (low + high) / 2
        if rng.random() >= self.exact_crops:
            side *= rng.uniform(0.9, 1.15)
            centre += side * rng.uniform(-0.08, 0.08, 2)
        scale = IMG_SIZE / side
        middle = np.array([IMG_SIZE / 2, IMG_SIZE / 2 + 1])  # y down is IMG_SIZE + 1 - y
        to_crop = np.diag([scale, scale, scale, 1.0])
        to_crop[:2, 3] = middle - scale * centre
        return to_crop


def sample_rotation(
    rng: np.random.Generator, yaw_range_deg: tuple[float, float] = (0.0, 90.0)
) -> np.ndarray:
    """(3, 3) float64 rotation of a head that nods and turns, before a lifted and tilted camera.

    The camera's lift is what shows profiles from above and below: by nodding alone they would all
    be seen straight from the side, and AFLW2000-3D's are not.
    Wide turns are frequent, because they are what networks learn last.

    Args:
        rng: decides everything.
        yaw_range_deg: rotations with |yaw| outside are drawn again.
    """
    while True:
        broad = rng.uniform(-1, 1)
        turn_deg = 90 * np.sign(broad) * abs(broad) ** 0.75
        if rng.random() < 0.45:
            turn_deg = rng.normal(0, 22)
        is_wide = rng.random(3) < 0.25
        mean_deg = np.where(is_wide, 0, (5, 0, 0))
        spread_deg = np.where(is_wide, (26, 22, 26), (9, 9, 12))
        nod_deg, lift_deg, tilt_deg = rng.normal(mean_deg, spread_deg)
        angles_deg = np.clip([nod_deg, turn_deg, lift_deg, tilt_deg], *_ANGLE_LIMITS_DEG)
        nod, turn, lift, tilt = np.radians(angles_deg)
        rotation = _about(2, tilt) @ _about(0, lift) @ _about(1, turn) @ _about(0, nod)
        yaw_deg = np.degrees(np.arcsin(abs(rotation[0, 2])))
        if yaw_range_deg[0] <= yaw_deg <= yaw_range_deg[1]:
            return rotation


def _about(axis: int, angle: float) -> np.ndarray:
    """Rotation (3, 3) about x, y or z; it brings y to z, z to x or x to y."""
    rotation = np.eye(3)
    after, last = (axis + 1) % 3, (axis + 2) % 3
    rotation[after, after] = rotation[last, last] = np.cos(angle)
    rotation[last, after], rotation[after, last] = np.sin(angle), -np.sin(angle)
    return rotation


def sample_labels(head: OpenHead, morphable: MorphableModel, count: int, seed: int) -> np.ndarray:
    """Labels (count, 62) float32 real parameters of a training set, without its pictures."""
    sampler = LabelSampler.of(head, morphable, held_out=False)
    return np.stack([sampler.sample(np.random.default_rng((seed, i))) for i in range(count)])


def _mix(bank: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A new person between two of the bank, (40,); the mixture keeps the bank's variance."""
    first, second = bank[rng.integers(len(bank), size=2)]
    turn = rng.uniform(0, np.pi / 2)
    return np.cos(turn) * first + np.sin(turn) * second


def _by_mouth(expressions: np.ndarray, mean: np.ndarray, expr: np.ndarray) -> np.ndarray:
    """Expressions (E, 10) in the order of how wide they open the mouth of the mean face."""
    upper, lower = [61, 62, 63], [67, 66, 65]  # along the inner lips
    gap = expressions @ (expr[upper] - expr[lower]).swapaxes(1, 2)  # (3, E, 3) micrometres
    gap += (mean[upper] - mean[lower])[:, None]
    return expressions[np.linalg.norm(gap, axis=-1).sum(0).argsort()]


def _blend(bank: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A new expression between two of the bank, (10,), mostly close to one of them; most are faint,
    as people's are."""
    is_wide = rng.random() < WIDE_MOUTHS
    least = int(0.8 * len(bank)) if is_wide else 0
    first, second = bank[rng.integers(least, len(bank), size=2)]
    weight = rng.beta(0.4, 0.4)
    strength = 1 if is_wide else rng.uniform(0.4, 1)
    blend = strength * (weight * first + (1 - weight) * second)
    return blend + 0.05 * rng.standard_normal(N_EXPR)


def _landmark_model(morphable: MorphableModel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The 68 landmarks as a linear model: (68, 3), (68, 3, 40), (68, 3, 10) micrometres."""
    rows = morphable.keypoints
    return (
        morphable.u[rows].numpy().reshape(N_LANDMARKS, 3),
        morphable.w_shp[rows].numpy().reshape(N_LANDMARKS, 3, N_SHAPE),
        morphable.w_exp[rows].numpy().reshape(N_LANDMARKS, 3, N_EXPR),
    )


def decode_landmarks(labels: LabelSampler, params: np.ndarray) -> np.ndarray:
    """Landmarks (B, 3, 68) crop px, y down, of real parameters (B, 62)."""
    model = (
        labels.landmark_mean
        + np.einsum("kcs,bs->bkc", labels.landmark_shp, params[:, SHAPE])
        + np.einsum("kcs,bs->bkc", labels.landmark_expr, params[:, EXPR])
    )  # (B, 68, 3)
    camera = params[:, POSE].reshape(-1, 3, 4)
    crop = camera[:, :, :3] @ model.transpose(0, 2, 1) + camera[:, :, 3:]  # (B, 3, 68)
    crop[:, 1] = IMG_SIZE + 1 - crop[:, 1]
    return crop
