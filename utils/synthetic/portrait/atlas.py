"""Where on a face things are: masks on an atlas that unrolls the mean head like a cylinder.

To the right the angle about the head's axis, downwards the height. Masks are placed by the 68
landmarks of the mean face, so they belong to any head that has the same canonical coordinates.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np

from synergynet.drawing.rasterize import rasterize
from utils.synthetic.portrait.appearance import Look
from utils.synthetic.portrait.curves import (
    SHIFT,
    draw_line,
    fill_polygon,
    fixed_point,
    smooth_curve,
)
from utils.synthetic.portrait.geometry import HeadGeometry
from utils.synthetic.portrait.wardrobe import Garment

WIDTH, HEIGHT = 1024, 512
TOP_MM, BOTTOM_MM = 140.0, -200.0
PX_PER_MM = HEIGHT / (TOP_MM - BOTTOM_MM)

# Landmarks along the right brow, outwards from the nose, and along the lids of the right eye.
_BROW = [21, 20, 19, 18, 17]
_UPPER_LID, _LOWER_LID = [36, 37, 38, 39], [39, 40, 41, 36]

_BAKED_GAIN = 1.6  # brings the blurred hairs of a strip back to the opacity of hair

MASKS = ("lips", "lids", "sockets", "wrinkles", "blush", "stubble", "t_zone", "moustache")


class Atlas:
    """The masks of one head.

    Args:
        geometry: of the head.
    """

    def __init__(self, geometry: HeadGeometry):
        self._geometry = geometry
        self._masks = self._draw_masks()  # (H * W, 8)
        marks = self.px(geometry.landmarks[17:48])  # brows, nose and eyes
        left = int(min(marks[:, 0].min(), WIDTH - marks[:, 0].max())) - 32
        top, bottom = int(marks[:, 1].min()) - 32, int(marks[:, 1].max()) + 32
        self._band_start = np.array([left, top])  # x, y of the atlas' part around them ...
        self._band_size = np.array([WIDTH - 2 * left, bottom - top])  # ... which is symmetric
        self._brow, self._upper_lid, self._lower_lid = (
            self.px(smooth_curve(geometry.landmarks[ids], 24)) - self._band_start
            for ids in (_BROW, _UPPER_LID, _LOWER_LID)
        )

    def px(self, canonical: np.ndarray) -> np.ndarray:
        """Atlas px (..., 2) float32 of canonical points (..., 3)."""
        return _px(self._geometry.angle(canonical), canonical[..., 1])

    def bake(self, strips: Garment) -> np.ndarray:
        """Opacity, uint8, of textured strips that lie on the face, in the part around the eyes."""
        verts_model = strips.follow @ self._geometry.head_mean + strips.offset  # micrometres
        canonical = ((verts_model - self._geometry.origin) / 1000).astype(np.float32)
        away_px = np.linalg.norm(canonical, axis=1) * PX_PER_MM
        verts = np.column_stack([self.px(canonical) - self._band_start, away_px])
        (width, height), uv = self._band_size, np.insert(strips.uv, 2, 0, axis=1)
        seen, depth = rasterize(verts, np.concatenate(strips.shells), uv, height, width)
        mask, shown = np.zeros(depth.shape, np.uint8), np.isfinite(depth)
        u, v, _ = seen[shown].T
        mask[shown] = 255 * strips.texture.look_up(u, v)[1]
        return cv2.convertScaleAbs(cv2.GaussianBlur(mask, (0, 0), 1.0), alpha=_BAKED_GAIN)

    def look_up(
        self,
        angle: np.ndarray,
        height_mm: np.ndarray,
        look: Look,
        brows: np.ndarray | None,
        rng: np.random.Generator,
    ) -> dict[str, np.ndarray]:
        """The masks, and "brows" and "lashes" of a look, at M canonical points: (M,), 0 to 1.

        Baked brows are taken where there are some, else they are drawn.
        """
        column, row = _px(angle, height_mm).T.astype(np.int32)
        row, column = np.clip(row, 0, HEIGHT - 1), np.clip(column, 0, WIDTH - 1)
        found = self._masks.take(row * WIDTH + column, 0).T  # (8, M)
        found = np.multiply(found, np.float32(1 / 255), order="C")
        masks = dict(zip(MASKS, found, strict=True))
        (x0, y0), (width, height) = self._band_start, self._band_size
        row, column = row - y0, column - x0
        band = np.flatnonzero((row >= 0) & (row < height) & (column >= 0) & (column < width))
        at = (row * width + column)[band]
        layers = {
            "brows": self._draw_brows(look, rng) if brows is None else brows,
            "lashes": self._draw_lashes(look),
        }
        for name, layer in layers.items():
            masks[name] = np.zeros(len(angle), np.float32)
            masks[name][band] = layer.take(at) * np.float32(1 / 255)
        return masks

    def _draw_masks(self) -> np.ndarray:
        geometry, marks = self._geometry, self._geometry.landmarks

        def soft(mask: np.ndarray, sigma_mm: float) -> np.ndarray:
            return cv2.GaussianBlur(mask, (0, 0), sigma_mm * PX_PER_MM)

        def filled(points: np.ndarray, sigma_mm: float) -> np.ndarray:
            mask = _blank()
            fill_polygon(mask, self.px(points))
            return soft(mask, sigma_mm)

        def line(points: np.ndarray, width_px: int, sigma_mm: float) -> np.ndarray:
            mask = _blank()
            draw_line(mask, self.px(smooth_curve(points, 24)), 255, width_px)
            return soft(mask, sigma_mm)

        def spot(centre: np.ndarray, axes_mm: tuple[float, float], sigma_mm: float) -> np.ndarray:
            mask = _blank()
            x, y = self.px(centre)
            per_mm = WIDTH / (2 * np.pi * np.hypot(centre[0], centre[2] - geometry.axis_z))
            axes = int(axes_mm[0] * per_mm), int(axes_mm[1] * PX_PER_MM)
            cv2.ellipse(mask, (int(x), int(y)), axes, 0, 0, 360, 255, -1, cv2.LINE_AA)
            return soft(mask, sigma_mm)

        def union(*masks: np.ndarray) -> np.ndarray:
            return functools.reduce(cv2.max, masks)

        up, out = np.array([0, 1, 0], np.float32), np.array([1, 0, 0], np.float32)
        lips = filled(smooth_curve(marks[[*range(48, 60), 48]], 60), 0.6)
        eyes = [marks[36:42], marks[42:48]]
        lids = union(*(spot(eye.mean(0) + 4 * up, (17, 9), 2.0) for eye in eyes))
        sockets = union(*(spot(eye.mean(0) + 1 * up, (21, 12), 5.0) for eye in eyes))
        creases = [line(eye[:4] + np.array([0, 5, 0]), 1, 0.9) for eye in (eyes[0], eyes[1])]
        bags = [line(eye[[3, 4, 5, 0]] - 6 * up, 2, 1.6) for eye in eyes]
        folds = [
            line(
                np.stack([marks[wing] + sign * 4 * out, marks[corner] + sign * 9 * out + 6 * up]),
                2,
                1.8,
            )
            for wing, corner, sign in ((31, 48, -1), (35, 54, 1))
        ]
        cheeks = [
            spot(marks[eye] * (1.05, 0, 1) + (marks[33, 1] + 6) * up, (20, 15), 8)
            for eye in (36, 45)
        ]
        nose = spot(marks[30], (14, 10), 5)
        jaw = [marks[k] for k in range(2, 15)]
        low_face = filled(np.array([*jaw, marks[54] + 12 * out, marks[54] + 4 * up + 6 * out,
                                    marks[33] - 2 * up, marks[48] + 4 * up - 6 * out,
                                    marks[48] - 12 * out]), 5)  # fmt: skip
        below_jaw = filled(np.array([*jaw, *(point - 16 * up for point in jaw[::-1])]), 6)
        moustache = line(
            np.stack([marks[48] + 2 * up, marks[50] + 4 * up, marks[51] + 4 * up,
                      marks[52] + 4 * up, marks[54] + 2 * up]), 12, 2.0)  # fmt: skip
        t_zone = union(spot(marks[29], (8, 22), 4), spot(marks[27] + 30 * up, (34, 14), 9))
        masks = {
            "lips": lips,
            "lids": lids,
            "sockets": sockets,
            "wrinkles": union(*creases, *bags, *folds),
            "blush": union(*cheeks, nose),
            "stubble": union(low_face, below_jaw),
            "t_zone": t_zone,
            "moustache": moustache,
        }
        return np.stack([masks[name].reshape(-1) for name in MASKS], 1)

    def _draw_brows(self, look: Look, rng: np.random.Generator) -> np.ndarray:
        """Brows hair by hair, alike on both sides: the band around them, uint8."""
        brows = np.zeros(self._band_size[::-1], np.uint8)
        _draw_brow(brows, self._brow, look, rng)
        return cv2.GaussianBlur(np.maximum(brows, brows[:, ::-1]), (3, 3), 0.7)

    def _draw_lashes(self, look: Look) -> np.ndarray:
        """Lashes as lines along the lids: the band around them, uint8."""
        lashes = np.zeros(self._band_size[::-1], np.uint8)
        draw_line(lashes, self._upper_lid - np.float32([0, 0.6]), 255, look.lash_width)
        draw_line(lashes, self._lower_lid, int(255 * look.lower_lash), 1)
        return cv2.GaussianBlur(np.maximum(lashes, lashes[:, ::-1]), (3, 3), 0.8)


def _px(angle: np.ndarray, height_mm: np.ndarray) -> np.ndarray:
    x = (angle * (0.5 / np.pi) + 0.5) * WIDTH
    y = (TOP_MM - height_mm) * PX_PER_MM
    return np.stack([x, y], -1).astype(np.float32)


def _blank() -> np.ndarray:
    return np.zeros((HEIGHT, WIDTH), np.uint8)


def _draw_brow(atlas: np.ndarray, curve: np.ndarray, look: Look, rng: np.random.Generator) -> None:
    """Hairs of the right brow along a curve (24, 2) atlas px that runs outwards from the nose."""
    width = look.brow_width_mm * PX_PER_MM
    curve = curve - (0, look.brow_lift_mm * PX_PER_MM)
    count = int(170 * (0.5 + look.brow_density))
    along = rng.beta(1.0, 1.15, count)
    thickness = width * np.interp(along, [0, 0.15, 0.6, 1], [0.75, 1.0, 0.85, 0.25])
    position = along * (len(curve) - 1)
    low = position.astype(int).clip(0, len(curve) - 2)
    root = curve[low] + (position - low)[:, None] * (curve[low + 1] - curve[low])
    root[:, 1] += thickness * rng.uniform(-0.5, 0.5, count)
    lean = np.interp(along, [0, 0.3, 0.7, 1], [1.2, 0.7, 0.15, -0.2]) + rng.normal(0, 0.2, count)
    length = rng.uniform(3.0, 6.5, count) * PX_PER_MM * 0.8
    tip = root + length[:, None] * np.stack([-np.cos(lean), -np.sin(lean)], 1)
    base = np.zeros_like(atlas)
    draw_line(base, curve, int(140 * look.brow_density), max(int(width * 0.6), 1))
    x0, y0 = np.maximum(curve.min(0) - 24, 0).astype(int)
    x1, y1 = (curve.max(0) + 24).astype(int)
    patch = atlas[y0:y1, x0:x1]
    np.maximum(patch, cv2.GaussianBlur(base[y0:y1, x0:x1], (0, 0), 1.5), out=patch)
    strokes = list(fixed_point(np.stack([root, tip], 1)))
    cv2.polylines(atlas, strokes, False, int(120 + 130 * look.brow_density), 1, cv2.LINE_AA, SHIFT)
