"""Photographs of one head: geometry, paint, light and camera put together."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import cv2
import numpy as np

from synergynet.geometry.parameters import IMG_SIZE
from utils.synthetic.head import MOUTH, TEETH, OpenHead
from utils.synthetic.portrait.appearance import Look, glance
from utils.synthetic.portrait.camera import cut_off, photograph, photograph_perfectly
from utils.synthetic.portrait.geometry import HeadGeometry
from utils.synthetic.portrait.glasses import put_on_glasses
from utils.synthetic.portrait.light import Lights, illuminate
from utils.synthetic.portrait.paint import Painter
from utils.synthetic.portrait.scene import WITHOUT, Scene
from utils.synthetic.portrait.scenery import background, occlude
from utils.synthetic.portrait.surface import CANVAS, SUPERSAMPLING, Surface, put_pixels
from utils.synthetic.portrait.wardrobe import Outfit, Wardrobe, dress, put_over


class Studio:
    """Everything that does not change from picture to picture.

    Args:
        head: the whole head.
        landmarks: (68, 3) of its mean face, micrometres.
        wardrobe: textures and meshes to wear; without it everything is painted.
        without: names in `scene.WITHOUT`, of what pictures are to lack.
        margin_px: what pictures show beyond each side of the crop.
    """

    def __init__(
        self,
        head: OpenHead,
        landmarks: np.ndarray,
        wardrobe: Wardrobe | None = None,
        without: Sequence[str] = (),
        margin_px: int = 0,
    ):
        self._margin_px = margin_px
        self._wardrobe = wardrobe
        self._without = [WITHOUT[name] for name in without]
        self.geometry = HeadGeometry(head, landmarks)
        self._painter = Painter(self.geometry, wardrobe.brows if wardrobe else ())

    def render(
        self, verts_model: np.ndarray, camera: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Photograph the head in a random scene; see `draw`."""
        return self.draw(verts_model, camera, self.stage(rng))

    def stage(self, rng: np.random.Generator) -> Scene:
        """A random scene; what has been drawn from `rng` before does not matter."""
        scene = Scene.sample(self._wardrobe, rng)
        for leave_out in self._without:
            scene = leave_out(scene)
        return scene

    def draw(self, verts_model: np.ndarray, camera: np.ndarray, scene: Scene) -> np.ndarray:
        """Photograph the head.

        Args:
            verts_model: the head's vertices, micrometres, (., 3).
            camera: (4, 4) perspective or weak-perspective (see `portrait.projection`), or the
                pose block (3, 4) of real parameters; crop px, y up.
            scene: what is seen; its generators are drawn from.
        Returns:
            (120, 120, 3) uint8 BGR, with the margin more on each side.
        """
        look, outfit, lights = scene.look, scene.outfit, scene.lights
        if scene.has_glance:
            look = dataclasses.replace(look, gaze=glance(look.gaze, camera))
        camera, size = self._widen(camera), CANVAS + int(2 * SUPERSAMPLING * self._margin_px)
        surface = self.geometry.see(verts_model, camera, look, size)
        layers = []
        if outfit is not None:
            arrange = functools.partial(outfit.lay.arrange, axis=self.geometry.axis)
            layers, surface = dress(outfit.garments, arrange, verts_model, camera, lights, surface)
        canvas = np.zeros((size * size, 4), np.float32)  # linear BGR, premultiplied, and alpha
        solid = np.ones((len(surface.index), 4), np.float32)
        solid[:, :3] = self.shade(surface, look, outfit, lights, scene.paint).T
        put_pixels(canvas, surface.index, solid)
        picture = canvas.reshape(size, size, 4)  # the same memory
        if look.glasses is not None:
            put_on_glasses(picture, surface, self.geometry, verts_model, camera, look.glasses)
        put_over(canvas, layers)
        shown = 2 * (IMG_SIZE + 2 * self._margin_px,)
        picture = cv2.resize(picture, shown, interpolation=cv2.INTER_AREA)
        behind = background(scene.surroundings, self._margin_px)
        picture = picture[..., :3] + (1 - picture[..., 3:]) * behind
        if scene.occluder is not None:
            picture = occlude(picture, scene.occluder, look.hair_colour, scene.cover)
        if scene.has_faults:
            picture = photograph(picture, scene.camera)
        else:
            picture = photograph_perfectly(picture)
        if scene.has_border:
            cut_off(picture, scene.border)
        return picture

    def _widen(self, camera: np.ndarray) -> np.ndarray:
        """The camera into the crop and its margin: x + m, and y up, from 121 - y down, - m."""
        shift = np.array([self._margin_px, -self._margin_px], camera.dtype)
        widened = camera.copy()
        last = camera[3] if len(camera) == 4 else np.array([0, 0, 0, 1], camera.dtype)
        widened[:2] += shift[:, None] * last
        return widened

    def shade(
        self,
        surface: Surface,
        look: Look,
        outfit: Outfit | None,
        lights: Lights,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """Linear colour (3, M) of a surface's points."""
        material = self._painter.paint(surface, look, outfit, rng)
        light, shine = illuminate(surface, material, lights)
        cavity = np.flatnonzero((surface.part >= MOUTH) & (surface.part <= TEETH))
        light[:, cavity] *= look.mouth_light
        shine[:, cavity] *= 0.3
        return material.albedo * light + shine
