"""Pictures of the open model's heads, each with its label, from a random generator of its own."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from model_building import load_morphable
from synergynet import fileio
from synergynet.face_model import MorphableModel
from synergynet.geometry.parameters import N_EXPR, N_POSE, N_SHAPE, POSE
from utils.synthetic.head import BASE_VERTICES, OpenHead, load_head
from utils.synthetic.labels import LabelSampler, Shot
from utils.synthetic.portrait.makehuman import load_wardrobe
from utils.synthetic.portrait.scene import WITHOUT
from utils.synthetic.portrait.studio import Studio
from utils.synthetic.portrait.wardrobe import Wardrobe

PERSPECTIVE, DISPLAYS, EXACTNESS = "perspective", "displays", "exactness"
INGREDIENTS = (PERSPECTIVE, DISPLAYS, EXACTNESS, *WITHOUT)  # that pictures can be drawn without


class Generator:
    """Pictures and their labels, each from a random generator of its own.

    Args:
        head: the open model's whole head.
        morphable: the open model.
        held_out: draw the held-out people and exact crops of a test set.
        wardrobe: MakeHuman's assets; without them everything is painted.
        without: names of INGREDIENTS, of what the pictures are to lack.
        margin_px: what pictures show beyond each side of the crop, for `--geometry`.
    """

    def __init__(
        self,
        head: OpenHead,
        morphable: MorphableModel,
        held_out: bool = False,
        wardrobe: Wardrobe | None = None,
        without: Sequence[str] = (),
        margin_px: int = 0,
    ):
        self.head = head
        basis = np.concatenate([head.w_shp, head.w_exp], 2).reshape(-1, N_SHAPE + N_EXPR)
        self._head_basis = np.ascontiguousarray(basis)  # (3N, 50)
        if DISPLAYS in without:  # random facial actions remain
            expressions = head.expressions[: len(head.expressions) // 2]
            head = dataclasses.replace(head, expressions=expressions)
        self.labels = LabelSampler.of(head, morphable, held_out)
        if EXACTNESS in without and not held_out:  # test sets are always cut exactly
            self.labels = dataclasses.replace(self.labels, exact_crops=0.0)
        self._in_perspective = PERSPECTIVE not in without
        staged = [name for name in without if name in WITHOUT]
        self.studio = Studio(head, self.labels.landmark_mean, wardrobe, staged, margin_px)

    def head_verts(self, params: np.ndarray) -> np.ndarray:
        """The whole head (N, 3), micrometres in the model frame.

        Args:
            params: (62,) real parameters, or (50,) shape and expression alone.
        """
        return self.head.mean + (self._head_basis @ params[-N_SHAPE - N_EXPR :]).reshape(-1, 3)

    def draw(
        self, rng: np.random.Generator, yaw_range_deg: tuple[float, float] = (0.0, 90.0)
    ) -> tuple[np.ndarray, np.ndarray]:
        """One picture (120, 120, 3) uint8 BGR and its real parameters (62,) float32."""
        shot = self.shoot(rng, yaw_range_deg)
        return self.render(shot, rng), shot.params

    def shoot(
        self,
        rng: np.random.Generator,
        yaw_range_deg: tuple[float, float] = (0.0, 90.0),
        expression: np.ndarray | None = None,
    ) -> Shot:
        """`LabelSampler.shoot`; without perspective what is drawn is the label itself."""
        shot = self.labels.shoot(rng, yaw_range_deg, expression)
        if self._in_perspective:
            return shot
        return Shot(shot.params, shot.params[N_POSE:], shot.params[POSE].reshape(3, 4))

    def render(self, shot: Shot, rng: np.random.Generator) -> np.ndarray:
        """The picture (120, 120, 3) uint8 BGR of a random scene, with its margin."""
        return self.studio.render(self.head_verts(shot.face), shot.camera, rng)


class GeneratorSource(NamedTuple):
    """What a generator is made of."""

    folder: Path
    held_out: bool
    assets: Path | None
    without: tuple[str, ...]
    margin_px: int = 0

    @classmethod
    def of(
        cls,
        folder: str | os.PathLike,
        held_out: bool,
        assets: str | os.PathLike | None,
        without: Sequence[str],
        margin_px: int = 0,
    ) -> GeneratorSource:
        if unknown := [name for name in without if name not in INGREDIENTS]:
            raise fileio.InputError(
                f"--without {unknown[0]}: no such ingredient; choose from {', '.join(INGREDIENTS)}"
            )
        assets = None if assets is None else Path(assets)
        return cls(Path(folder), held_out, assets, tuple(without), margin_px)


@functools.lru_cache(maxsize=2)  # once a process
def load_generator(source: GeneratorSource) -> Generator:
    head, morphable = load_head(source.folder), load_morphable(source.folder)
    wardrobe = None
    if source.assets is not None:
        base_vertices = fileio.read_array(source.folder / BASE_VERTICES, (len(head.mean),))
        wardrobe = load_wardrobe(source.assets, head, base_vertices)
    return Generator(head, morphable, source.held_out, wardrobe, source.without, source.margin_px)
