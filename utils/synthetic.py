"""Synthetic faces with exact labels, from the open morphable model's whole head.

`python prepare_data.py synthetic --count 20000 --output synthetic_data` writes a training set in
3DDFA's files; with `--test` it writes a test set of other people in AFLW2000-3D's files.

Picture i of a set depends on (seed, i) only, not on the number of workers. A picture agrees with its
label exactly: the decoded landmarks are the continuous coordinates (pixel centres at +0.5) at which
the head was drawn.

Sources: 3DDFA (Zhu et al., PAMI 2017) for files and crops; 300W-LP for the distribution of poses.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from utils.open_model import OpenHead
from utils.params import (
    EXPR,
    IMG_SIZE,
    N_EXPR,
    N_LANDMARKS,
    N_PARAMS,
    N_POSE,
    N_SHAPE,
    POSE,
    SHAPE,
    MorphableModel,
)
from utils.pose import Pose, compose_rotation

CROP_FACTOR = np.sqrt(2)  # side of the crop over the longer side of the landmarks' tight box


@dataclasses.dataclass(frozen=True)
class LabelSampler:
    """Draws people, expressions, poses and crops as real 62-number labels.

    Attributes:
        landmark_mean: (68, 3); landmark_shp: (68, 3, 40); landmark_expr: (68, 3, 10) micrometres.
        identities: (I, 40) people to mix; expressions: (E, 10).
        yaw_bins: share of |yaw| in [0, 30], (30, 60], (60, 90]; None for the training distribution.
        crop_jitter: whether the crop is shifted and scaled at random.
    """

    landmark_mean: np.ndarray
    landmark_shp: np.ndarray
    landmark_expr: np.ndarray
    identities: np.ndarray
    expressions: np.ndarray
    yaw_bins: tuple[float, float, float] | None = None
    crop_jitter: bool = True

    @classmethod
    def for_training(cls, head: OpenHead, morphable: MorphableModel) -> LabelSampler:
        """All people but the held-out ones, yaw to +-90 degrees, jittered crops."""
        return cls(*_landmark_model(morphable), head.identities, head.expressions)

    @classmethod
    def for_testing(cls, head: OpenHead, morphable: MorphableModel) -> LabelSampler:
        """Held-out people only, AFLW2000-3D's proportions of |yaw|, exact crops."""
        return cls(
            *_landmark_model(morphable),
            head.held_out_identities,
            head.expressions,
            yaw_bins=AFLW2000_YAW_BINS,
            crop_jitter=False,
        )

    def sample(self, rng: np.random.Generator, yaw_deg: float | None = None) -> np.ndarray:
        """One label, (62,) float32 real parameters, for a 120-px crop.

        Args:
            rng: decides everything.
            yaw_deg: fixes the yaw.
        """
        shape = _mix(self.identities, rng)
        shape = shape + 0.15 * rng.standard_normal(N_SHAPE)
        expr = _blend(self.expressions, rng)
        pose = sample_pose(rng) if yaw_deg is None else sample_pose(rng, yaw_deg)
        landmarks = self.landmark_mean + self.landmark_shp @ shape + self.landmark_expr @ expr
        params = np.empty(N_PARAMS, np.float32)
        params[POSE] = self._camera(landmarks, pose, rng).reshape(N_POSE)
        params[SHAPE], params[EXPR] = shape, expr
        return params

    def _camera(self, landmarks: np.ndarray, pose: Pose, rng: np.random.Generator) -> np.ndarray:
        """(3, 4) [s R | t] that puts landmarks (68, 3) into the crop as AFLW2000-3D is cropped; their
        mean depth is 0."""
        rotation = compose_rotation(pose).numpy()
        turned = landmarks @ rotation.T  # (68, 3) micrometres, y up
        low, high = turned[:, :2].min(0), turned[:, :2].max(0)
        side = (high - low).max() * CROP_FACTOR  # micrometres
        centre = np.array([*(low + high) / 2, turned[:, 2].mean()])
        if self.crop_jitter:
            side *= rng.uniform(0.9, 1.15)
            centre[:2] += side * rng.uniform(-0.08, 0.08, 2)
        scale = IMG_SIZE / side
        middle = np.array([IMG_SIZE / 2, IMG_SIZE / 2 + 1, 0])  # y down is IMG_SIZE + 1 - y
        translation = middle - scale * centre
        return np.concatenate([scale * rotation, translation[:, None]], 1)


AFLW2000_YAW_BINS = (1312 / 2000, 383 / 2000, 305 / 2000)


def sample_pose(rng: np.random.Generator, yaw_deg: float | None = None) -> Pose:
    """Yaw broad to +-90 degrees; pitch and roll normal, pitch wider where the face is frontal."""
    if yaw_deg is None:
        yaw_deg = rng.normal(0, 25) if rng.random() < 0.5 else rng.uniform(-90, 90)
    yaw_deg = float(np.clip(yaw_deg, -90, 90))
    pitch_std = 17 - 6 * abs(yaw_deg) / 90
    pitch_deg = float(np.clip(rng.normal(-3, pitch_std), -45, 45))
    roll_deg = float(np.clip(rng.normal(0, 15), -50, 50))
    angles = torch.tensor([yaw_deg, pitch_deg, roll_deg], dtype=torch.float64)
    return Pose(*angles)


def sample_labels(head: OpenHead, morphable: MorphableModel, count: int, seed: int) -> np.ndarray:
    """Labels (count, 62) float32 real parameters of a training set, without its pictures."""
    sampler = LabelSampler.for_training(head, morphable)
    return np.stack([sampler.sample(np.random.default_rng((seed, i))) for i in range(count)])


def _mix(bank: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A new person between two of the bank, (40,); the mixture keeps the bank's variance."""
    first, second = bank[rng.integers(len(bank), size=2)]
    turn = rng.uniform(0, np.pi / 2)
    return np.cos(turn) * first + np.sin(turn) * second


def _blend(bank: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A new expression between two of the bank, (10,), mostly close to one of them."""
    first, second = bank[rng.integers(len(bank), size=2)]
    weight = rng.beta(0.4, 0.4)
    return weight * first + (1 - weight) * second + 0.05 * rng.standard_normal(N_EXPR)


def _landmark_model(morphable: MorphableModel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The 68 landmarks as a linear model: (68, 3), (68, 3, 40), (68, 3, 10) micrometres."""
    rows = morphable.keypoints
    return (
        morphable.u[rows].numpy().reshape(N_LANDMARKS, 3),
        morphable.w_shp[rows].numpy().reshape(N_LANDMARKS, 3, N_SHAPE),
        morphable.w_exp[rows].numpy().reshape(N_LANDMARKS, 3, N_EXPR),
    )
