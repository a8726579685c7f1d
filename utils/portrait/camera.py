"""What surrounds a face and what happens to its picture: background, occluders, camera, file."""

from __future__ import annotations

import cv2
import numpy as np

from utils.params import IMG_SIZE
from utils.portrait.appearance import GAMMA, SKIN_TONES, linear, mix_row


def background(rng: np.random.Generator) -> np.ndarray:
    """(120, 120, 3) linear: gradients, blobs, stripes, checks, shapes, blurred."""
    size = IMG_SIZE

    def colour() -> np.ndarray:
        grey = rng.uniform(5, 235)
        spread = rng.choice([8, 40, 90])
        return linear(grey + rng.normal(0, spread, 3))

    cells = int(rng.choice([2, 3, 5, 9, 16]))
    base = colour()
    grid = np.clip(base * np.exp(rng.normal(0, rng.uniform(0.1, 0.9), (cells, cells, 1)))
                   + rng.normal(0, 0.06, (cells, cells, 3)), 0, 1).astype(np.float32)  # fmt: skip
    picture = cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.2:
        y, x = np.mgrid[0:size, 0:size].astype(np.float32)
        turn, period = rng.uniform(0, np.pi), rng.uniform(4, 50)
        wave = np.sin((x * np.cos(turn) + y * np.sin(turn)) * (2 * np.pi / period))
        if rng.random() < 0.4:
            wave *= np.sin((y * np.cos(turn) - x * np.sin(turn)) * (2 * np.pi / period))
        picture += (np.sign(wave) * rng.uniform(0.1, 0.6))[..., None] * (colour() - base)
    picture = np.ascontiguousarray(np.clip(picture, 0, 1))
    for _ in range(rng.poisson(4) if rng.random() < 0.7 else 0):
        _draw_shape(picture, colour(), rng.uniform(3, 60), rng)
    if rng.random() < 0.75:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.gamma(2, 1.6) + 0.3)
    return picture * rng.uniform(0.3, 1.3)


def _draw_shape(
    picture: np.ndarray, colour: np.ndarray, size: float, rng: np.random.Generator
) -> None:
    """An ellipse, a polygon or a line somewhere."""
    x, y = (int(v) for v in rng.uniform(-10, IMG_SIZE + 10, 2))
    paint = [float(c) for c in colour]
    kind = rng.integers(4)
    if kind == 0:
        axes = int(size / 2) + 1, int(size * rng.uniform(0.2, 0.6)) + 1
        cv2.ellipse(picture, (x, y), axes, rng.uniform(0, 180), 0, 360, paint, -1, cv2.LINE_AA)
    elif kind == 1:
        turn = rng.uniform(0, 2 * np.pi)
        to = int(x + 200 * np.cos(turn)), int(y + 200 * np.sin(turn))
        cv2.line(picture, (x, y), to, paint, int(rng.integers(1, 12)), cv2.LINE_AA)
    else:
        corners = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 7)))
        spokes = size * rng.uniform(0.5, 1, len(corners))
        points = np.stack([x + spokes * np.cos(corners), y + spokes * np.sin(corners)], 1)
        cv2.fillPoly(picture, [points.astype(np.int32)], paint, cv2.LINE_AA)


def occlude(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sometimes something hides part of the face."""
    if rng.random() < 0.12:
        picture = np.ascontiguousarray(picture)
        for _ in range(rng.integers(1, 3)):
            tone = mix_row(SKIN_TONES, rng.uniform(0, 6))[::-1]
            colour = linear(tone if rng.random() < 0.4 else rng.uniform(5, 240, 3))
            _draw_shape(picture, colour * rng.uniform(0.3, 1), rng.uniform(12, 38), rng)
    return picture


def photograph(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Camera and file: blur, white balance, exposure, tone curve, noise, JPEG.

    Args:
        picture: (120, 120, 3) linear BGR.
    Returns:
        (120, 120, 3) uint8.
    """
    if rng.random() < 0.5:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.25, 0.9))
    if rng.random() < 0.12:  # enlarged from a small picture
        small = int(rng.uniform(40, 100))
        picture = cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA)
        picture = cv2.resize(picture, (IMG_SIZE, IMG_SIZE), interpolation=cv2.INTER_LINEAR)
    middle = picture[24:96, 24:96].mean() + 0.02
    exposure = rng.uniform(0.13, 0.36) / middle
    picture = picture * (exposure ** rng.uniform(0.4, 0.9) * rng.uniform(0.75, 1.25))
    picture = picture * (1 + rng.normal(0, 0.06, 3).astype(np.float32))
    if rng.random() < 0.1:
        weights = rng.dirichlet([4, 6, 6])
        picture = np.repeat((picture @ weights.astype(np.float32))[..., None], 3, 2)
    picture = np.clip(picture, 0, None)
    picture = picture / (1 + picture * 0.25) * 1.2  # soft shoulder
    picture = np.clip(picture, 0, 1) ** (1 / GAMMA * rng.uniform(0.85, 1.15))
    contrast = rng.uniform(0.85, 1.15)
    picture = (picture - 0.45) * contrast + 0.45
    noise = rng.gamma(1.5, 0.008)
    picture = picture + rng.standard_normal(picture.shape, np.float32) * noise
    result = np.clip(picture * 255 + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.uniform(30, 90))]
        result = cv2.imdecode(cv2.imencode(".jpg", result, quality)[1], cv2.IMREAD_COLOR)
    return result
