"""Textured skin, and textured meshes that a head wears: hair and hats, drawn over it by depth."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from scipy.sparse import csr_matrix

from utils.portrait.appearance import Look, linear
from utils.portrait.geometry import project
from utils.portrait.light import Lights
from utils.portrait.surface import CANVAS, CLOTH, SKIN_PULL, SUPERSAMPLING, Surface
from utils.rasterize import rasterize

_LINEAR = linear(np.arange(256))
_TOLERANCE_PX = 1.5  # hair that lies this much under the skin is drawn
_MOST_BRIGHTNESS = 3.0  # of light on hair, which is rasterised as a number in [0, 1]


@dataclasses.dataclass(frozen=True)
class Texture:
    """Colours of a mesh.

    Attributes:
        image: (H, W, 4) uint8 BGRA.
        mean: (3,) linear BGR of its opaque pixels.
    """

    image: np.ndarray
    mean: np.ndarray

    @classmethod
    def of(cls, image: np.ndarray) -> Texture:
        """A texture of a picture (H, W, 4) uint8 BGRA."""
        few = image[::4, ::4]
        opaque = _LINEAR[few[few[..., 3] > 128][:, :3]]
        return cls(image, np.maximum(opaque.mean(0), 1e-3) if len(opaque) else np.ones(3))

    def look_up(self, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Linear colours (..., 3) and opacity (...) at coordinates of one shape; both wrap."""
        height, width = self.image.shape[:2]
        column = np.asarray(u * width - 0.5, np.float32)
        row = np.asarray((1 - v) * height - 0.5, np.float32)
        shape = column.shape
        if column.size == 0:
            return np.zeros((*shape, 3), np.float32), np.zeros(shape, np.float32)
        flat = (-1, 1) if column.ndim == 1 else shape  # cv2.remap wants two axes
        found = cv2.remap(
            self.image,
            column.reshape(flat),
            row.reshape(flat),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_WRAP,
        ).reshape(*shape, 4)
        return _LINEAR[found[..., :3]], found[..., 3] * np.float32(1 / 255)


@dataclasses.dataclass(frozen=True)
class Garment:
    """A textured mesh that follows the head.

    Attributes:
        follow: (A, N) weights of the head's vertices; offset: (A, 3) micrometres.
        uv: (A, 2) texture coordinates in [0, 1].
        shells: triangles (T, 3) int32 of each half-transparent layer.
        texture: its colours.
        is_long: reaches below the chin.
    """

    follow: csr_matrix
    offset: np.ndarray
    uv: np.ndarray
    shells: list[np.ndarray]
    texture: Texture
    is_long: bool


@dataclasses.dataclass(frozen=True)
class Wardrobe:
    """What there is to wear.

    Attributes:
        skins: textures; skin_uv: (T, 3, 2) texture coordinates of the head's triangles.
        hair, hats: meshes; fabrics: textures.
    """

    skins: list[Texture]
    skin_uv: np.ndarray
    hair: list[Garment]
    hats: list[Garment]
    fabrics: list[Texture]


@dataclasses.dataclass(frozen=True)
class Outfit:
    """What one person wears.

    Attributes:
        skin: texture; skin_gain: (3,) that brings it near the person's tone.
        skin_uv: (T, 3, 2) texture coordinates of the head's triangles.
        garments: meshes with the linear BGR (3,) that their textures are multiplied with.
        fabric: texture of the clothes, or None; fabric_uv: (3,) scale per mm and offset.
    """

    skin: Texture
    skin_gain: np.ndarray
    skin_uv: np.ndarray
    garments: list[tuple[Garment, np.ndarray]]
    fabric: Texture | None
    fabric_uv: np.ndarray

    @classmethod
    def sample(
        cls, wardrobe: Wardrobe, look: Look, rng: np.random.Generator
    ) -> tuple[Outfit, Look]:
        """Clothes for a person, and the person without the painted hair that they replace."""
        difference = [abs(np.log(skin.mean / look.skin).mean()) for skin in wardrobe.skins]
        nearest = np.argsort(difference)[: max(len(difference) // 3, 1)]
        skin = wardrobe.skins[rng.choice(nearest)]
        garments = []
        hat = wardrobe.hats and rng.random() < 0.07
        styles = [style for style in wardrobe.hair if style.is_long == look.has_sheet]
        if styles and look.has_hair and rng.random() < 0.85:
            style = styles[rng.integers(len(styles))]
            garments.append((style, look.hair_colour / style.texture.mean))
            look = dataclasses.replace(look, has_hair=False, has_sheet=False)
        if hat:
            tint = rng.uniform(0.3, 1.5) * np.exp(rng.normal(0, 0.2, 3))
            garments.append((wardrobe.hats[rng.integers(len(wardrobe.hats))], tint))
        fabric = None
        if wardrobe.fabrics and rng.random() < 0.7:
            fabric = wardrobe.fabrics[rng.integers(len(wardrobe.fabrics))]
        outfit = cls(
            skin=skin,
            skin_gain=(look.skin / skin.mean) ** SKIN_PULL,
            skin_uv=wardrobe.skin_uv,
            garments=garments,
            fabric=fabric,
            fabric_uv=np.array([rng.uniform(0.0008, 0.004), *rng.random(2)]),
        )
        return outfit, look

    def skin_albedo(self, surface: Surface) -> np.ndarray:
        """Linear colours (3, M) of the skin at a surface's points; anything where there is none."""
        ours = surface.triangle < len(self.skin_uv)
        corners = self.skin_uv[np.where(ours, surface.triangle, 0)]  # (M, 3, 2)
        u, v = (corners * surface.weights[..., None]).sum(1).T
        colour, _ = self.skin.look_up(u, v)
        return np.ascontiguousarray(colour.T) * self.skin_gain[:, None].astype(np.float32)

    def fabric_albedo(self, surface: Surface) -> np.ndarray:
        """Linear colours (3, K) of the clothes at a surface's K points of them."""
        x, y, _ = surface.canonical[:, surface.part == CLOTH]
        scale, *offset = self.fabric_uv
        colour, _ = self.fabric.look_up(x * scale + offset[0], y * scale + offset[1])
        return colour.T


@dataclasses.dataclass(frozen=True)
class Layer:
    """One half-transparent layer over a canvas of C x C pixels.

    Attributes:
        colour: (C, C, 4) linear BGR and opacity, not premultiplied.
        depth_mm: (C, C) towards the viewer, -inf where nothing is.
    """

    colour: np.ndarray
    depth_mm: np.ndarray


def drape(
    garment: Garment,
    tint: np.ndarray,
    verts_model: np.ndarray,
    camera: np.ndarray,
    lights: Lights,
    surface: Surface,
) -> list[Layer]:
    """The layers of a garment on a posed head.

    Args:
        garment: the mesh.
        tint: (3,) linear BGR that multiplies its texture.
        verts_model: the head's own vertices, micrometres, (N, 3).
        camera: (3, 4) real pose block [s R | t]; crop px, y up.
        lights: of the scene.
        surface: the head under it; what lies behind is left away.
    """
    worn = garment.follow @ verts_model + garment.offset  # (A, 3)
    verts = project(camera, worn) * SUPERSAMPLING
    outward = verts - verts.mean(0)  # hair stands away from the head, which is smoother than
    outward /= np.linalg.norm(outward, axis=1, keepdims=True) + 1e-6  # its strips' normals
    brightness = lights.brightness(outward.T) / _MOST_BRIGHTNESS
    attributes = np.column_stack([garment.uv, brightness.clip(0, 1)])
    layers = []
    for triangles in garment.shells:
        seen, depth = rasterize(verts, triangles, attributes, CANVAS, CANVAS)
        albedo, opacity = garment.texture.look_up(seen[..., 0], seen[..., 1])
        light = seen[..., 2:] * _MOST_BRIGHTNESS * lights.tint
        depth_mm = depth * surface.mm_px
        behind = np.where(surface.mask, surface.depth_mm, -np.inf) - _TOLERANCE_PX * surface.mm_px
        opacity = opacity * (depth_mm > behind)
        layers.append(Layer(np.dstack([albedo * (tint * light), opacity]), depth_mm))
    return layers


def put_over(canvas: np.ndarray, layers: list[Layer]) -> None:
    """Blend layers over a canvas (C, C, 4) linear BGR, premultiplied, and alpha, farthest first."""
    if not layers:
        return
    order = np.argsort([layer.depth_mm for layer in layers], axis=0)[..., None]  # (L, C, C, 1)
    colours = np.take_along_axis(np.stack([layer.colour for layer in layers]), order, 0)
    for colour in colours:
        opacity = colour[..., 3:].copy()
        colour[..., 3] = 1
        canvas += opacity * (colour - canvas)
