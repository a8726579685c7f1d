"""What happens to a picture: lens, sensor, tone curve, file, and the border of the photo."""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np

from synergynet.geometry.parameters import IMG_SIZE
from utils.synthetic.portrait.appearance import GAMMA


def photograph(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Camera and file: blur, vignette, exposure, colours, tone curve, noise, sharpening, JPEG.

    Args:
        picture: (120, 120, 3) linear BGR, with any margin more on each side.
    Returns:
        As large, uint8.
    """
    picture = _blur(picture, rng)
    exposure = rng.uniform(0.13, 0.36) / _brightness(picture)
    wrong = rng.uniform(0.75, 1.25) if rng.random() < 0.85 else math.exp(rng.normal(0, 0.8))
    cast = rng.normal(0, 0.06 if rng.random() < 0.85 else 0.22, 3).astype(np.float32)
    picture = picture * (exposure ** rng.uniform(0.4, 0.9) * wrong * np.exp(cast))
    if rng.random() < 0.2:
        picture *= _vignette(rng, len(picture))
    picture = _fade(picture, rng)
    picture = _tone(picture, 1 / GAMMA * rng.uniform(0.85, 1.15))
    contrast = rng.uniform(1.0, 1.5) if rng.random() < 0.85 else rng.uniform(0.5, 1.7)
    picture = (picture - 0.45) * contrast + rng.normal(0.45, 0.02)
    picture += _grain(rng, len(picture)) * rng.gamma(1.5, 0.008)
    if rng.random() < 0.4:  # as cameras do
        picture += rng.uniform(0.3, 1.3) * (picture - cv2.GaussianBlur(picture, (0, 0), 1))
    result = _quantise(picture)
    if rng.random() < 0.5:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.uniform(30, 90))]
        result = cv2.imdecode(cv2.imencode(".jpg", result, quality)[1], cv2.IMREAD_COLOR)
    return result


def photograph_perfectly(picture: np.ndarray) -> np.ndarray:
    """`photograph` in focus, well exposed and without noise; there is nothing random."""
    exposure = 0.22 / _brightness(picture)
    return _quantise((_tone(picture * exposure**0.65, 1 / GAMMA) - 0.45) * 1.15 + 0.45)


def _brightness(picture: np.ndarray) -> float:
    middle = slice(len(picture) // 2 - 36, len(picture) // 2 + 36)
    return picture[middle, middle].mean() + 0.02


def _tone(picture: np.ndarray, gamma: float) -> np.ndarray:
    picture = picture / (1 + picture * 0.25) * 1.2  # soft shoulder
    return cv2.pow(np.clip(picture, 0, 1), gamma)


def _quantise(picture: np.ndarray) -> np.ndarray:
    return np.clip(picture * 255 + 0.5, 0, 255).astype(np.uint8)


def _grain(rng: np.random.Generator, size: int) -> np.ndarray:
    """(size, size, 3) noise of unit deviation; size below 360."""
    y, x = rng.integers(0, 3 * IMG_SIZE - size, 2)
    return _grain_table()[y : y + size, x : x + size]


@functools.lru_cache(maxsize=1)
def _grain_table() -> np.ndarray:
    """(360, 360, 3) float32 white noise, always the same: drawing it again would take longer."""
    rng = np.random.default_rng(2021)
    return rng.standard_normal((3 * IMG_SIZE, 3 * IMG_SIZE, 3), np.float32)


def _blur(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Out of focus, shaken, enlarged from a small picture, or none of these."""
    kind = rng.random()
    if kind < 0.45:
        return cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.25, 0.75))
    if kind < 0.5:
        return cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.9, 2.2))
    if kind < 0.56:
        turn, length = rng.uniform(0, np.pi), rng.uniform(1, 4)
        reach = length * np.array([np.cos(turn), np.sin(turn)])
        path = np.zeros((11, 11), np.float32)
        cv2.line(path, *(np.rint(5 + side * reach).astype(int) for side in (-1, 1)), 1, 1)
        return cv2.filter2D(picture, -1, path / path.sum(), borderType=cv2.BORDER_REPLICATE)
    if kind < 0.67:
        size = len(picture)
        small = int(rng.uniform(36, 100) * (size / IMG_SIZE))
        picture = cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA)
        return cv2.resize(picture, (size, size), interpolation=cv2.INTER_LINEAR)
    return picture


def _vignette(rng: np.random.Generator, size: int) -> np.ndarray:
    """(size, size, 1) light that falls off from somewhere."""
    edge = (size - 1) / (IMG_SIZE - 1)  # 1 at the crop's
    across = np.linspace(-edge, edge, size, dtype=np.float32)
    x, y = across - rng.normal(0, 0.4), across[:, None] - rng.normal(0, 0.4)
    return (1 / (1 + rng.uniform(0.1, 0.8) * (x**2 + y**2)))[..., None].astype(np.float32)


def _fade(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Colours paler than they are, sometimes grey or toned as old prints are."""
    share = rng.dirichlet([4, 6, 6])  # of the channels in the grey
    strength = rng.uniform(0.4, 1)
    tone = np.ones(3)
    if rng.random() < 0.12:
        strength = 0
        if rng.random() < 0.3:
            tone = np.exp(rng.normal(0, 0.12, 3))
    mixing = strength * np.eye(3) + (1 - strength) * np.outer(tone, share)
    return cv2.transform(picture, mixing.astype(np.float32))


def cut_off(picture: np.ndarray, rng: np.random.Generator) -> None:
    """Blacken what lies outside the photo at one or two sides, in place, as crops are cut.

    Args:
        picture: (120, 120, 3), with any margin more on each side.
        rng: makes every choice.
    """
    size = len(picture)
    for most in (0.3, 0.1)[: rng.integers(1, 3)]:
        side, depth = rng.integers(4), int(rng.uniform(2, most * IMG_SIZE))
        depth += (size - IMG_SIZE) // 2
        rows = picture if side < 2 else picture.swapaxes(0, 1)
        rows[slice(0, depth) if side % 2 else slice(size - depth, None)] = 0
