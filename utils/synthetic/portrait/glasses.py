"""Glasses: flat lenses, rims, a bridge and two temples, drawn over a painted head by depth."""

from __future__ import annotations

import cv2
import numpy as np

from utils.synthetic.portrait.appearance import Glasses
from utils.synthetic.portrait.curves import draw_line, fill_polygon, smooth_curve
from utils.synthetic.portrait.geometry import HeadGeometry, project_to_crop
from utils.synthetic.portrait.surface import SUPERSAMPLING, Surface

_CURVATURE_PER_MM = 0.0022  # how frames bend around the face
_TOLERANCE_MM = 2.0  # what is hidden by less than this is drawn


def put_on_glasses(
    canvas: np.ndarray,
    surface: Surface,
    geometry: HeadGeometry,
    verts_model: np.ndarray,
    camera: np.ndarray,
    glasses: Glasses,
) -> None:
    """Draw glasses where nothing is nearer to the viewer.

    Args:
        canvas: (C, C, 4) linear BGR, premultiplied, and alpha. Modified in place.
        surface: the head under the glasses.
        geometry: of the head.
        verts_model: the head's own vertices, micrometres, (., 3).
        camera: (4, 4), or a pose block (3, 4); crop px, y up.
        glasses: form and colour.
    """
    lenses, bars = _outlines(geometry, verts_model, glasses)

    def to_canvas(points: np.ndarray) -> np.ndarray:
        return project_to_crop(camera, points * 1000) * SUPERSAMPLING

    behind = np.where(surface.mask, surface.depth_mm, -1e4) - _TOLERANCE_MM
    for lens in map(to_canvas, lenses):
        _draw_lens(canvas, lens, behind / surface.mm_px, glasses)
    cover = np.zeros(surface.mask.shape, np.uint8)
    depth = np.full(surface.mask.shape, -1e4, np.float32)  # px, of what is drawn
    width_px = max(round(glasses.rim_mm / surface.mm_px), 1)
    for line in map(to_canvas, [*lenses, *bars]):
        draw_line(cover, line[:, :2], 255, width_px)
        ends, middles = line[:, :2].astype(int).tolist(), (line[:-1, 2] + line[1:, 2]) / 2
        for start, end, depth_px in zip(ends[:-1], ends[1:], middles.tolist(), strict=True):
            cv2.line(depth, start, end, depth_px, width_px + 2)
    visible = np.nonzero((cover > 0) & (depth * surface.mm_px > behind))
    opacity = cover[visible][:, None] * np.float32(1 / 255)
    frame = np.append(glasses.colour, 1).astype(np.float32)
    canvas[visible] += opacity * (frame - canvas[visible])


def _outlines(
    geometry: HeadGeometry, verts_model: np.ndarray, glasses: Glasses
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Outlines of the two lenses, and lines of temples and bridge, each (K, 3) mm, model axes."""
    eyes = np.stack([verts_model[eye].mean(0) for eye in geometry.eyes]) / 1000  # (2, 3)
    front = verts_model[geometry.nose_bridge, 2] / 1000 + glasses.distance_mm
    half_width = min(glasses.half_width_mm, eyes[0, 0] - 5)
    half_height = half_width * glasses.aspect
    origin = geometry.origin / 1000
    ear = np.array([0.83 * np.abs(verts_model[:, 0]).max() / 1000, 4, geometry.axis_z + 6]) + origin
    turn = np.linspace(0, 2 * np.pi, 33)
    across, up = (
        np.sign(wave) * np.abs(wave) ** glasses.roundness for wave in (np.cos(turn), np.sin(turn))
    )
    loop = np.stack([half_width * across, half_height * up, 0 * turn], 1)
    lenses, bars = [], []
    for eye in eyes:
        side = np.sign(eye[0])
        centre = np.array([eye[0] + 2 * side, eye[1] + glasses.height_mm, front])
        lens = centre + loop
        lens[:, 2] -= _CURVATURE_PER_MM * lens[:, 0] ** 2
        lenses.append(lens)
        hinge = lens[(side * lens[:, 0]).argmax()].copy()
        hinge[1] += 0.4 * half_height
        bars.append(np.linspace(hinge, ear * (side, 1, 1), 9))
    left, right = lenses[0][lenses[0][:, 0].argmin()], lenses[1][lenses[1][:, 0].argmax()]
    middle = (left + right) / 2 + np.array([0, 2, 2])
    bars.append(smooth_curve(np.stack([left, middle, right]), 7))
    return lenses, bars


def _draw_lens(canvas: np.ndarray, lens: np.ndarray, behind: np.ndarray, glasses: Glasses) -> None:
    """Tint a lens (K, 3) canvas px where it is nearer than `behind` (C, C) px."""
    cover = np.zeros(behind.shape, np.uint8)
    fill_polygon(cover, lens[:, :2])
    plane, *_ = np.linalg.lstsq(np.insert(lens[:, :2], 2, 1, 1), lens[:, 2], rcond=1e-4)
    rows, columns = np.nonzero(cover)
    visible = columns * plane[0] + rows * plane[1] + plane[2] > behind[rows, columns]
    rows, columns = rows[visible], columns[visible]
    opacity = cover[rows, columns, None] * np.float32(glasses.tint / 255)
    stripe = np.abs((columns - lens[:, 0].mean()) * 0.1 + glasses.glare_shift)
    glare = glasses.glare * np.clip(1 - stripe, 0, 1)
    tinted = glasses.tint_colour * canvas[rows, columns, 3:] + glare[:, None]
    canvas[rows, columns, :3] += opacity * (tinted - canvas[rows, columns, :3])
