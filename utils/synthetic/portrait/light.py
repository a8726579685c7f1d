"""Light on a surface: lamps, sky, hollows and shadows, from the depth map of one view."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from utils.synthetic.portrait.surface import Material, Surface


@dataclasses.dataclass(frozen=True)
class Lamp:
    """A distant lamp.

    Attributes:
        towards: (3,) unit vector to it: x right, y down, z to the viewer; colour: (3,) linear BGR.
        wrap: how far its light reaches around an edge; darkness: of the shadows it casts, 0 to 1.
    """

    towards: np.ndarray
    colour: np.ndarray
    wrap: float
    darkness: float

    def diffuse(self, normal: np.ndarray) -> np.ndarray:
        """Light (M,) on surfaces with normals (3, M), without shadows."""
        return np.clip((self.towards @ normal + self.wrap) / (1 + self.wrap), 0, None)


@dataclasses.dataclass(frozen=True)
class Lights:
    """Sky, linear BGR (3,), and one to three lamps."""

    sky: np.ndarray
    lamps: list[Lamp]

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Lights:
        """Random light, a fifth of it dramatic: little sky, hard shadows, lamps of any colour."""
        dramatic = rng.random() < 0.2
        sky = rng.uniform(0.15, 0.75) * (0.25 if dramatic else 1) * _lamp_colour(rng, 0.08)
        lamps = []
        for lamp in range(1 + rng.binomial(2, 0.45)):
            azimuth, elevation = rng.normal(0, 1.5 if lamp else 0.9), rng.normal(0.45, 0.45)
            x, z = np.sin(azimuth) * np.cos(elevation), np.cos(azimuth) * np.cos(elevation)
            strength = rng.uniform(0.1, 0.6) if lamp else rng.uniform(0.45, 1.3)
            darkness = rng.uniform(0.8, 1.0) if dramatic else rng.uniform(0.3, 0.9)
            lamps.append(
                Lamp(
                    towards=np.array([x, -np.sin(elevation), z], np.float32),
                    colour=strength * _lamp_colour(rng, 0.35 if dramatic else 0.12),
                    wrap=rng.uniform(0.0, 0.1) if dramatic else rng.uniform(0.05, 0.4),
                    darkness=0.0 if lamp else darkness,
                )
            )
        return cls(sky, lamps)

    @property
    def tint(self) -> np.ndarray:
        """Colour of all light together, linear BGR (3,) of mean 1."""
        colour = self.sky + sum(lamp.colour for lamp in self.lamps)
        return colour / colour.mean()

    def brightness(self, normal: np.ndarray) -> np.ndarray:
        """Light (M,), without its colour, on surfaces with normals (3, M)."""
        lamps = sum(lamp.colour.mean() * lamp.diffuse(normal) for lamp in self.lamps)
        return self.sky.mean() * _sky_share(normal) + lamps


# as on a bright, overcast day
EVEN_LIGHT = Lights(
    sky=np.full(3, 0.6, np.float32),
    lamps=[Lamp(np.array([0, -0.6, 0.8], np.float32), np.full(3, 0.6, np.float32), 0.4, 0.3)],
)


def _sky_share(normal: np.ndarray) -> np.ndarray:
    return 0.75 - 0.25 * normal[1]


def illuminate(
    surface: Surface, material: Material, lights: Lights
) -> tuple[np.ndarray, np.ndarray]:
    """Diffuse and specular light (3, M) on the surface.

    Hemispheric ambient light with occlusion from the depth map; for each lamp wrapped diffuse light
    and Blinn-Phong highlights, for the first one a shadow marched through the depth map.
    """
    normal = surface.normal
    occlusion = ambient_occlusion(surface)
    log_gloss = np.log(material.gloss + 1e-6)
    light = _sky_share(normal) * occlusion * lights.sky[:, None]  # (3, M)
    shine = np.zeros_like(light)
    for lamp in lights.lamps:
        colour = lamp.colour[:, None]
        diffuse = lamp.diffuse(normal)
        if lamp.darkness > 0:
            diffuse *= 1 - lamp.darkness * cast_shadow(surface, lamp.towards)
        light += diffuse * (0.55 + 0.45 * occlusion) * colour
        half = lamp.towards + np.array([0, 0, 1], np.float32)
        facing = np.clip((half / np.linalg.norm(half)) @ normal, 1e-3, 1)
        highlight = np.exp(np.log(facing) * material.sharpness + log_gloss)
        shine += highlight * occlusion * (0.6 * colour)
    return light, shine


def _lamp_colour(rng: np.random.Generator, spread: float) -> np.ndarray:
    """Linear BGR near white, mostly between warm and cool."""
    warmth = rng.normal(0, spread)
    colour = np.array([1 - warmth, 1.0, 1 + warmth]) + rng.normal(0, spread / 4, 3)
    return np.clip(colour, 0.3, 2).astype(np.float32)


def ambient_occlusion(surface: Surface) -> np.ndarray:
    """Light that reaches hollows (M,), 0 to 1: by how far a point lies behind the mean depth around
    it, at two sizes."""
    depth, weight = surface.depth_mm, surface.mask.astype(np.float32)
    own = depth.reshape(-1)[surface.index]
    occlusion = np.ones_like(own)
    for radius_mm, full_mm, strength in ((7, 5.0, 0.45), (22, 16.0, 0.4)):
        size = max(int(radius_mm / surface.mm_px) | 1, 3)
        around = cv2.blur(depth, (size, size)) / (cv2.blur(weight, (size, size)) + 1e-3)
        behind = around.reshape(-1)[surface.index] - own
        occlusion *= 1 - strength * np.clip(behind / full_mm, 0, 1)
    return occlusion


def cast_shadow(surface: Surface, towards: np.ndarray) -> np.ndarray:
    """Share of a lamp's light (M,) that nearer surface keeps off, marching through the depth map.

    Args:
        surface: what the light falls on.
        towards: (3,) unit vector to the lamp, y down.
    """
    shadow = np.zeros_like(surface.depth_mm)
    depth, blocker = surface.depth_mm, surface.blocker_mm
    lateral = max(float(np.hypot(towards[0], towards[1])), 0.1)
    for distance_mm in (5, 10, 17, 26, 38, 55):
        dx, dy = (round(t / lateral * distance_mm / surface.mm_px) for t in towards[:2].tolist())
        rise_mm = distance_mm * max(float(towards[2]), 0.05) / lateral
        source, target = _overlap(depth.shape, dx, dy)
        above = blocker[source] - depth[target] - rise_mm
        # What is much nearer than the ray is a separate thing that light passes behind.
        above = np.clip((above - 1) / 4, 0, 1) * (above < 45)
        np.maximum(shadow[target], above, out=shadow[target])
    return cv2.blur(shadow, (5, 5)).reshape(-1)[surface.index]


def _overlap(
    shape: tuple[int, int], dx: int, dy: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Slices that pair each pixel (second) with the one (dx, dy) away from it (first)."""
    height, width = shape

    def pair(shift: int, size: int) -> tuple[slice, slice]:
        shift = min(max(shift, 1 - size), size - 1)
        if shift >= 0:
            return slice(shift, size), slice(0, size - shift)
        return slice(0, size + shift), slice(-shift, size)

    (sy, ty), (sx, tx) = pair(dy, height), pair(dx, width)
    return (sy, sx), (ty, tx)
