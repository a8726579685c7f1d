"""Textured skin, and textured meshes that a head wears: hair and hats, drawn over it by depth."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from scipy.sparse import csr_matrix

from synergynet.drawing.rasterize import cover_pixels, rasterize
from utils.synthetic.head import SKIN
from utils.synthetic.portrait.appearance import Look, linear
from utils.synthetic.portrait.geometry import project_to_crop
from utils.synthetic.portrait.light import Lights
from utils.synthetic.portrait.surface import SKIN_PULL, SUPERSAMPLING, Surface, put_pixels

_LINEAR = linear(np.arange(256))
_TOLERANCE_MM = 1.5  # hair that lies this much under the skin is drawn
IRIS_SHARE = 0.4
_HIDDEN_MM = 8.0  # a strip that lies this much behind the skin is not seen
_MOST_HIDDEN = 0.5  # of the face, by hair or a hat
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
        return cls(image, np.maximum(opaque.mean(0), 0.01) if len(opaque) else np.ones(3))

    def look_up(self, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Linear colours (M, 3) and opacity (M,) at coordinates (M,), which wrap."""
        if len(u) == 0:
            return np.zeros((0, 3), np.float32), np.zeros(0, np.float32)
        height, width = self.image.shape[:2]
        at = np.empty((1, len(u), 2), np.float32)  # one row: OpenCV is slow on many short ones
        at[0, :, 0] = u * width - 0.5
        at[0, :, 1] = (1 - v) * height - 0.5
        found = cv2.remap(self.image, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        return cv2.LUT(found, _LINEAR)[0, :, :3], found[0, :, 3] * np.float32(1 / 255)


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
        skins: textures; skin_uv: (2, 3, T) texture coordinates of the head's triangles' corners.
        hair, hats: meshes; fabrics: textures.
        brows: strips on the face.
        eyes: textures of eyeballs from the front, IRIS_SHARE of them the iris; mean: of the iris.
    """

    skins: list[Texture]
    skin_uv: np.ndarray
    hair: list[Garment]
    hats: list[Garment]
    fabrics: list[Texture]
    brows: list[Garment]
    eyes: list[Texture]


@dataclasses.dataclass(frozen=True)
class Lay:
    """How hair or a hat sits: no two people wear one style the same.

    Attributes:
        turn: radians about the head's vertical axis, so that one cheek is covered more.
        swell: how far it stands away, sideways and in depth; length: of what hangs, below the eyes.
    """

    turn: float = 0.0
    swell: float = 1.0
    length: float = 1.0

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Lay:
        """Half of all styles as they were modelled but for a little, half rearranged."""
        spread = 1.0 if rng.random() < 0.5 else 0.25
        return cls(
            turn=spread * rng.normal(0, 0.16),
            swell=1 + spread * rng.uniform(-0.04, 0.12),
            length=1 + spread * rng.uniform(-0.3, 0.5),
        )

    def arrange(self, worn: np.ndarray, axis: np.ndarray) -> np.ndarray:
        """A worn mesh (A, 3), micrometres, about a point (3,) on the head's axis at eye level."""
        x, y, z = (worn - axis).T
        cos, sin = np.cos(self.turn) * self.swell, np.sin(self.turn) * self.swell
        y = np.where(y < 0, y * self.length, y)
        return np.stack([cos * x + sin * z, y, cos * z - sin * x], axis=1) + axis


@dataclasses.dataclass(frozen=True)
class Outfit:
    """What one person wears.

    Attributes:
        skin: texture; skin_gain: (3,) that brings it near the person's tone.
        skin_uv: (2, 3, T) texture coordinates of the head's triangles' corners.
        garments: meshes with the linear BGR (3,) that their textures are multiplied with.
        lay: how they sit.
        fabric: texture of the clothes, or None; fabric_uv: (3,) scale per mm and offset.
        brows: index into the wardrobe's; eye: texture; None where they are painted.
    """

    skin: Texture
    skin_gain: np.ndarray
    skin_uv: np.ndarray
    garments: list[tuple[Garment, np.ndarray]]
    lay: Lay
    fabric: Texture | None
    fabric_uv: np.ndarray
    brows: int | None
    eye: Texture | None

    @classmethod
    def sample(
        cls, wardrobe: Wardrobe, look: Look, rng: np.random.Generator
    ) -> tuple[Outfit, Look]:
        """Clothes for a person, and the person without the painted hair that they replace."""
        skins = _alike(wardrobe.skins, look.skin)
        skin = skins[rng.integers(len(skins))]
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
        outfit = cls(
            skin=skin,
            skin_gain=(look.skin / skin.mean) ** SKIN_PULL,
            skin_uv=wardrobe.skin_uv,
            garments=garments,
            lay=Lay.sample(rng),
            fabric=_choose(wardrobe.fabrics, 0.7, rng),
            fabric_uv=np.array([rng.uniform(0.0008, 0.004), *rng.random(2)]),
            brows=_choose(range(len(wardrobe.brows)), 0.75, rng),
            eye=_choose(_alike(wardrobe.eyes, look.iris), 0.75, rng),
        )
        return outfit, look

    @property
    def skin_mean(self) -> np.ndarray:
        """Mean colour of the skin, linear BGR (3,)."""
        return self.skin.mean * self.skin_gain

    def skin_albedo(self, triangle: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Linear colours (3, M) of the skin on triangles (M,) of the head, by weights (M, 3)."""
        shares = np.ascontiguousarray(weights.T)  # (3, M)
        u, v = ((axis.take(triangle, 1) * shares).sum(0) for axis in self.skin_uv)
        colour, _ = self.skin.look_up(u, v)
        gain = self.skin_gain[:, None].astype(np.float32)
        return np.multiply(colour.T, gain, order="C")

    def fabric_albedo(self, canonical: np.ndarray) -> np.ndarray:
        """Linear colours (3, K) of the clothes at canonical points (3, K) of them."""
        x, y, _ = canonical
        scale, *offset = self.fabric_uv
        colour, _ = self.fabric.look_up(x * scale + offset[0], y * scale + offset[1])
        return colour.T


def _alike(textures: Sequence[Texture], colour: np.ndarray) -> list[Texture]:
    """The third of the textures whose mean is most like a linear BGR colour (3,)."""
    means = np.array([texture.mean for texture in textures]).reshape(-1, 3)
    apart = np.abs(np.log(means / colour)).sum(1)
    return [textures[i] for i in np.argsort(apart)[: -(-len(textures) // 3)]]


def _choose(things: Sequence, share: float, rng: np.random.Generator) -> Any:
    """One of the things, or None where there are none and in 1 - share of all cases."""
    return things[rng.integers(len(things))] if things and rng.random() < share else None


@dataclasses.dataclass(frozen=True)
class Layer:
    """What is seen of one half-transparent layer, K pixels of the flat canvas.

    Attributes:
        index: (K,) of the pixels; colour: (K, 4) linear BGR and 1; opacity: (K, 1).
    """

    index: np.ndarray
    colour: np.ndarray
    opacity: np.ndarray


def dress(
    garments: list[tuple[Garment, np.ndarray]],
    arrange: Callable[[np.ndarray], np.ndarray],
    verts_model: np.ndarray,
    camera: np.ndarray,
    lights: Lights,
    surface: Surface,
) -> tuple[list[Layer], Surface]:
    """The layers of what a posed head wears, and the surface in their shadow.

    Garments that would hide most of the face are left out.

    Args:
        garments: meshes with the linear BGR (3,) that their textures are multiplied with.
        arrange: moves their vertices (A, 3), micrometres, as they sit on the head.
        verts_model: the head's own vertices, micrometres, (N, 3).
        camera: (4, 4), or a pose block (3, 4); crop px, y up.
        lights: of the scene.
        surface: the head. Not modified.
    Returns:
        layers to be blended in this order; the surface with their solid pixels as blockers.
    """
    layers, blocker_mm = [], surface.blocker_mm.reshape(-1).copy()
    x, y, z = surface.canonical
    face = (surface.part == SKIN) & (np.abs(x) < 45) & (y > -75) & (y < 15) & (z > 0)
    shown = np.zeros(len(blocker_mm), bool)
    shown[surface.index[face]] = True
    for garment, tint in garments:
        worn = arrange(garment.follow @ verts_model + garment.offset)  # (A, 3)
        added, blockers = _drape(garment, tint, worn, camera, lights, surface, blocker_mm)
        hidden = shown & (blockers > blocker_mm)
        if hidden.sum() < _MOST_HIDDEN * shown.sum():
            layers, blocker_mm = layers + added, blockers
    blocker_mm = blocker_mm.reshape(surface.blocker_mm.shape)
    return layers, dataclasses.replace(surface, blocker_mm=blocker_mm)


def _drape(
    garment: Garment,
    tint: np.ndarray,
    worn: np.ndarray,
    camera: np.ndarray,
    lights: Lights,
    surface: Surface,
    blocker_mm: np.ndarray,
) -> tuple[list[Layer], np.ndarray]:
    """The layers of one garment, of vertices (A, 3), before what is in the way (C * C), and what is
    then."""
    blocker_mm, size = blocker_mm.copy(), len(surface.mask)
    verts = project_to_crop(camera, worn) * SUPERSAMPLING
    outward = verts - verts.mean(0)  # hair stands away from the head: smoother than the normals
    outward /= np.linalg.norm(outward, axis=1, keepdims=True) + 1e-6  # of its strips
    brightness = lights.brightness(outward.T) / _MOST_BRIGHTNESS
    attributes = np.column_stack([garment.uv, brightness.clip(0, 1)])
    column, row = verts[:, :2].clip(0, size - 1).astype(np.int32).T
    behind_mm = blocker_mm[row * size + column] - verts[:, 2] * surface.mm_px
    hidden = behind_mm > _HIDDEN_MM
    layers = []
    for shell in garment.shells:
        shown = cover_pixels(verts[:, :2].T, shell.T, size)
        a, b, c = hidden.take(shell.T)
        triangles = shell[shown & ~(a & b & c)]
        seen, depth = rasterize(verts, triangles, attributes, size, size)
        depth_mm = depth.reshape(-1) * surface.mm_px
        index = np.flatnonzero(depth_mm > blocker_mm - _TOLERANCE_MM)
        u, v, light = seen.reshape(-1, 3).take(index, 0).T
        colour, opacity = garment.texture.look_up(u, v)
        pixels = np.ones((len(index), 4), np.float32)
        for channel, gain in enumerate(tint * lights.tint * _MOST_BRIGHTNESS):
            pixels[:, channel] = colour[:, channel] * (gain * light)
        solid = index[opacity > 0.5]
        blocker_mm[solid] = np.maximum(blocker_mm[solid], depth_mm[solid])
        layers.append(Layer(index, pixels, opacity[:, None]))
    return layers, blocker_mm


def put_over(canvas: np.ndarray, layers: list[Layer]) -> None:
    """Blend layers over a canvas (C * C, 4), premultiplied linear BGR and alpha, in place."""
    for layer in layers:
        under = canvas.take(layer.index, 0)
        put_pixels(canvas, layer.index, under + layer.opacity * (layer.colour - under))
