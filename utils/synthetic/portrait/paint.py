"""Painting a surface: skin, hair, eyes, mouth and clothes, by canonical coordinates.

The rasteriser carries each pixel's position on the mean head; so lips, brows and hairline follow
identity, expression and pose by themselves. Colours are BGR in linear light.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from utils.synthetic.head import EYE_LEFT, EYE_RIGHT, MOUTH, SKIN, TEETH, TONGUE
from utils.synthetic.portrait.appearance import Look, linear
from utils.synthetic.portrait.atlas import Atlas
from utils.synthetic.portrait.geometry import HeadGeometry, height_above_hairline
from utils.synthetic.portrait.surface import CLOTH, HAIR, Material, Surface, put_columns
from utils.synthetic.portrait.wardrobe import IRIS_SHARE, Garment, Outfit

# What blood and shade take from skin, by channel.
_REDDENING = np.array([0.75, 0.62, 0.08], np.float32)
_SHADOWING = np.array([0.85, 0.75, 0.62], np.float32)
_LASH = linear([14, 13, 16])
_HAIR_FRINGE_MM = 30.0  # how far single strands reach below the hairline
_WHITES = 0.75  # of their sclera is left, which is brighter than skin
_EYE_SHARPNESS, _HAIR_SHARPNESS = 90.0, 18.0
_MOUTH = linear([34, 26, 70])
_TONGUE = linear([98, 92, 178])


_NOISE_SIZE = 512


class Painter:
    """Paints any view of one head.

    Args:
        geometry: of the head.
        brows: strips that outfits name by their index.
    """

    def __init__(self, geometry: HeadGeometry, brows: Sequence[Garment] = ()):
        self._atlas = Atlas(geometry)
        self._brows = [self._atlas.bake(strips) for strips in brows]
        self._eye_centres = geometry.eye_centres
        self._collar_mm = geometry.collar_mm
        self._noise_table = _noise_table()

    def paint(
        self, surface: Surface, look: Look, outfit: Outfit | None, rng: np.random.Generator
    ) -> Material:
        """The material of a surface's M points, for one person; an outfit brings textures."""
        material = Material.of(len(surface.part))
        self._paint_skin(material, surface, look, outfit, rng)
        if look.has_hair:
            self._paint_hair(material, surface, look, rng)
        self._paint_eyes(material, surface, look, outfit)
        self._paint_mouth(material, surface, look)
        self._paint_cloth(material, surface, look, rng)
        if outfit is not None and outfit.fabric is not None:
            cloth = np.flatnonzero(surface.part == CLOTH)
            albedo = outfit.fabric_albedo(surface.canonical.take(cloth, 1))
            put_columns(material.albedo, cloth, albedo)
        if look.neckline_mm > 0:
            skin = look.skin if outfit is None else outfit.skin_mean
            self._bare(material, surface, look, skin, rng)
        return material

    def _paint_skin(
        self,
        material: Material,
        surface: Surface,
        look: Look,
        outfit: Outfit | None,
        rng: np.random.Generator,
    ) -> None:
        inside = np.flatnonzero(surface.part == SKIN)
        x, y = surface.canonical[:2].take(inside, 1)
        brows = None if outfit is None or outfit.brows is None else self._brows[outfit.brows]
        mask = self._atlas.look_up(surface.angle[inside], y, look, brows, rng)
        noise = self._noise(x * 1.1, y * 1.1, rng)
        coarse = self._noise(x * 0.25, y * 0.25, rng)
        grain = self._noise(x * 4, y * 4, rng)
        tone = 1 + look.skin_blotches * (0.35 * noise + 0.65 * coarse) + 0.03 * grain
        red = look.redness * (mask["blush"] + 0.5 * mask["lids"]) + 0.04 * noise
        shade = look.socket_shade * mask["sockets"] + look.wrinkles * mask["wrinkles"]
        if look.freckles > 0:
            spots = np.clip(self._noise(x * 3.2, y * 3.2, rng) * 2.2 - 1.6, 0, 1)
            shade += look.freckles * spots * mask["blush"]
        lips = mask["lips"] * look.lip_strength
        if outfit is None:
            skin = np.repeat(look.skin[:, None], len(inside), 1)
        else:  # the texture has lips, blushes and wrinkles of its own
            skin = outfit.skin_albedo(surface.triangle[inside], surface.weights.take(inside, 0))
            red, shade = 0.3 * red, 0.4 * shade
            lips *= 1.0 if look.has_lipstick else 0.4
        for channel in range(3):
            skin[channel] *= tone * (1 - red * _REDDENING[channel])
            skin[channel] *= 1 - shade * _SHADOWING[channel]
        _blend(skin, lips * (1 + 0.1 * noise), look.lip_colour)
        if look.eye_shadow > 0:
            _blend(skin, mask["lids"] * look.eye_shadow, look.eye_shadow_colour)
        if look.beard > 0:
            strands = np.clip(0.75 + 0.9 * self._noise(x * 3, y * 1.6, rng), 0, 1.2)
            cover = (mask["stubble"] * look.beard + mask["moustache"] * look.moustache) * strands
            _blend(skin, np.minimum(cover, 0.96) * (1 - mask["lips"]), look.beard_colour)
        _blend(skin, mask["brows"], look.brow_colour)
        _blend(skin, mask["lashes"] * look.lash_strength, _LASH)
        put_columns(material.albedo, inside, skin)
        material.gloss[inside] = look.skin_gloss * (0.5 + mask["t_zone"]) * (1 + mask["lips"])
        material.sharpness[:] = look.skin_sharpness

    def _paint_hair(
        self, material: Material, surface: Surface, look: Look, rng: np.random.Generator
    ) -> None:
        height = height_above_hairline(surface.angle, surface.canonical[1], look)
        on_scalp = (surface.part == SKIN) & (height > -_HAIR_FRINGE_MM)
        inside = np.flatnonzero(on_scalp | (surface.part == HAIR))
        (x, y), height = surface.canonical[:2].take(inside, 1), height[inside]
        coarse = self._noise(x * 0.25, y * 0.25, rng)
        across = surface.angle[inside] * 600 + y * look.strand_slant + 6 * coarse * look.hair_curl
        strand = self._noise(across * look.strand_density, y * 0.25, rng)
        cover = np.clip(0.5 + (height + look.hair_edge * (strand + coarse)) / 6, 0, 1)
        cover = np.where(on_scalp[inside], cover * np.float32(look.hair_opacity), np.float32(1))
        tone = np.clip(0.8 + 0.55 * strand + 0.25 * coarse, 0.2, 2)
        albedo = material.albedo.take(inside, 1)
        _blend(albedo, cover, look.hair_colour, tone)
        put_columns(material.albedo, inside, albedo)
        gleam = look.hair_gloss * np.clip(0.4 + strand, 0, 1)
        material.gloss[inside] += cover * (gleam - material.gloss[inside])
        material.sharpness[inside] += cover * (_HAIR_SHARPNESS - material.sharpness[inside])

    def _paint_eyes(
        self, material: Material, surface: Surface, look: Look, outfit: Outfit | None
    ) -> None:
        """Sclera, iris and pupil about the direction of gaze, painted or from a texture."""
        sideways = np.cross([0, 1, 0], look.gaze)
        sideways /= np.linalg.norm(sideways)
        axes = np.stack([sideways, np.cross(look.gaze, sideways), look.gaze]).astype(np.float32)
        inside = np.flatnonzero((surface.part == EYE_LEFT) | (surface.part == EYE_RIGHT))
        centres = self._eye_centres[surface.part[inside] - EYE_LEFT].T
        outward = surface.canonical.take(inside, 1) - centres
        seen = axes @ outward  # (3, K) mm: to the side, up and along the gaze
        if outfit is None or outfit.eye is None:
            colour = _painted_eye(seen, look)
        else:
            u, v = 0.5 + seen[:2] * np.float32(0.5 * IRIS_SHARE / look.iris_radius)
            colour = outfit.eye.look_up(u, v)[0].T * _WHITES
        lid_shadow = 1 - 0.55 * np.clip((outward[1] - 1.5) / 4.5, 0, 1)
        put_columns(material.albedo, inside, colour * lid_shadow)
        material.gloss[inside] = look.eye_gloss
        material.sharpness[inside] = _EYE_SHARPNESS

    def _paint_mouth(self, material: Material, surface: Surface, look: Look) -> None:
        """Gums and tongue, and teeth with gaps between them."""
        for part, colour, gloss in ((MOUTH, _MOUTH, 0.1), (TONGUE, _TONGUE, 0.2)):
            inside = np.flatnonzero(surface.part == part)
            put_columns(material.albedo, inside, colour)
            material.gloss[inside] = gloss
        inside = np.flatnonzero(surface.part == TEETH)
        gaps = np.clip(np.cos(surface.canonical[0].take(inside) * (2 * np.pi / 7.5)) * 8 - 7, 0, 1)
        put_columns(material.albedo, inside, look.teeth[:, None] * (1 - 0.25 * gaps))
        material.gloss[inside] = 0.25

    def _paint_cloth(
        self, material: Material, surface: Surface, look: Look, rng: np.random.Generator
    ) -> None:
        inside = np.flatnonzero(surface.part == CLOTH)
        x, y = surface.canonical[:2].take(inside, 1) * look.cloth_scale
        weave = 1 + look.cloth_pattern * self._noise(x, y, rng)
        put_columns(material.albedo, inside, look.cloth[:, None] * weave)
        material.gloss[inside] = 0.02

    def _bare(
        self,
        material: Material,
        surface: Surface,
        look: Look,
        skin: np.ndarray,
        rng: np.random.Generator,
    ) -> None:
        """The skin (3,) that clothes with a wide neck leave bare."""
        cloth = np.flatnonzero(surface.part == CLOTH)
        x, y = surface.canonical[:2].take(cloth, 1)
        edge = self._collar_mm - look.neckline_mm + look.neckline_slope * np.abs(x)
        bare = y > edge
        tone = 1 + 0.5 * look.skin_blotches * self._noise(x[bare] * 0.25, y[bare] * 0.25, rng)
        put_columns(material.albedo, cloth[bare], np.outer(skin, tone).astype(np.float32))
        material.gloss[cloth[bare]] = look.skin_gloss * 0.5

    def _noise(self, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Smooth noise of unit deviation at points (M,), with detail of 1 to 64 units."""
        shift_x, shift_y = rng.uniform(1000, 2000, 2)
        column = (x + np.float32(shift_x)).astype(np.int32) & (_NOISE_SIZE - 1)
        row = (y + np.float32(shift_y)).astype(np.int32) & (_NOISE_SIZE - 1)
        return self._noise_table[row * _NOISE_SIZE + column]


def _painted_eye(seen: np.ndarray, look: Look) -> np.ndarray:
    """Colours (3, K) of an eye at points (3, K) mm: to the side, up and along the gaze."""
    across = np.hypot(seen[0], seen[1])
    across = np.where(seen[2] > 0, across, np.linalg.norm(seen, axis=0))
    veins = 1 - 0.015 * np.clip(across - look.iris_radius, 0, 9) * _REDDENING[:, None]
    fibres = 0.75 + 0.5 * np.clip(across / look.iris_radius, 0, 1) ** 2
    limbus = 1 - 0.65 * np.clip((across - look.iris_radius) / 1.2 + 1, 0, 1)
    pupil = np.clip((across - look.pupil_radius) / 0.6 + 0.5, 0, 1)
    colour = look.iris[:, None] * (fibres * limbus * pupil) + 0.003
    edge = np.clip((across - look.iris_radius) / 0.7 + 0.5, 0, 1)
    return colour + edge * (look.sclera[:, None] * veins - colour)


def _blend(
    under: np.ndarray, alpha: np.ndarray, colour: np.ndarray, tone: np.ndarray | float = 1
) -> None:
    """Paint a colour (3,) times tone (M,) on `under` (3, M) with opacity alpha (M,), in place."""
    for channel in range(3):
        under[channel] += alpha * (colour[channel] * tone - under[channel])


def _noise_table() -> np.ndarray:
    """(512 * 512,) float32 noise of several octaves that tiles; unit deviation, always the same."""
    rng = np.random.default_rng(2021)
    noise = np.zeros((_NOISE_SIZE, _NOISE_SIZE), np.float32)
    for octave, cells in enumerate((256, 64, 32, 16, 8, 8)):
        grid = rng.standard_normal((cells, cells)).astype(np.float32)
        scale = _NOISE_SIZE // cells
        tiled = np.pad(grid, 4, mode="wrap")
        large = cv2.resize(tiled, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        noise += large[4 * scale : -4 * scale, 4 * scale : -4 * scale] * 1.6**octave
    return (noise / noise.std()).reshape(-1)
