"""What surrounds a face and what hides it: backgrounds, hands, microphones, strands of hair.

Colours are linear BGR, coordinates px of the 120-px crop.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np

from synergynet.geometry.parameters import IMG_SIZE
from utils.synthetic.portrait.appearance import SKIN_TONES, linear, mix_row
from utils.synthetic.portrait.curves import SHIFT, fixed_point, smooth_curve

_BACKDROPS, _BACKDROP_SIZE = 128, 200
OCCLUDERS = {"hand": 0.05, "microphone": 0.03, "strands": 0.06, "shapes": 0.1}  # how often


def background(rng: np.random.Generator, margin_px: int = 0) -> np.ndarray:
    """(120, 120, 3) linear, with a margin more on each side: part of a backdrop, tinted, sometimes
    with somebody else's head."""
    picture = _backdrops()[rng.integers(_BACKDROPS)]
    size = int(rng.uniform(0.5, 1) * _BACKDROP_SIZE)
    y, x = rng.integers(0, _BACKDROP_SIZE - size + 1, 2)
    picture = picture[y : y + size, x : x + size].astype(np.float32)
    shown = 2 * (IMG_SIZE + 2 * margin_px,)
    picture = cv2.resize(picture, shown, interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.5:
        picture = np.ascontiguousarray(picture[:, ::-1])
    if rng.random() < 0.12:
        _draw_other_head(picture, rng)
    return picture * (rng.uniform(0.3, 1.3) * np.exp(rng.normal(0, 0.12, 3)).astype(np.float32))


@functools.lru_cache(maxsize=1)
def _backdrops() -> np.ndarray:
    """(128, 200, 200, 3) float16, always the same."""
    rngs = (np.random.default_rng((2021, i)) for i in range(_BACKDROPS))
    return np.stack([_draw_backdrop(rng).astype(np.float16) for rng in rngs])


def _draw_backdrop(rng: np.random.Generator) -> np.ndarray:
    """(200, 200, 3) linear: gradients, blobs, stripes, checks, clutter, blurred."""
    size = _BACKDROP_SIZE

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
    for _ in range(rng.poisson(rng.choice([0, 6, 6, 25]))):
        _draw_shape(picture, colour(), rng.uniform(3, 60), rng)
    if rng.random() < 0.75:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.gamma(2, 1.6) + 0.3)
    return np.clip(picture, 0, 1)


def _draw_shape(
    picture: np.ndarray,
    colour: np.ndarray,
    size: float,
    rng: np.random.Generator,
    margin_px: int = 0,
) -> None:
    """An ellipse, a polygon or a line somewhere, but not in the margin."""
    x, y = (int(v) for v in rng.uniform(margin_px - 10, len(picture) - margin_px + 10, 2))
    paint = _paint(colour)
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


def _draw_other_head(picture: np.ndarray, rng: np.random.Generator) -> None:
    """Somebody else's head with hair, well off the middle."""
    turn, size = rng.uniform(0, 2 * np.pi), rng.uniform(15, 45)
    middle = len(picture) / 2 + (45 + size / 2) * np.array([np.cos(turn), np.sin(turn)])
    tilt = rng.normal(0, 20)
    skin = _skin(rng)
    hair = linear(rng.uniform(10, 120) + rng.normal(0, 12, 3))
    for colour, drop, share in ((hair, -0.15, 1.1), (skin, 0.1, 0.85)):
        axes = (int(16 * size * share * 0.8), int(16 * size * share))
        at = fixed_point(middle + np.array([0, drop * size])).tolist()
        cv2.ellipse(picture, at, axes, tilt, 0, 360, _paint(colour), -1, cv2.LINE_AA, SHIFT)


def sample_occluder(rng: np.random.Generator) -> str | None:
    """What hides part of the face, one of OCCLUDERS, or None."""
    at = rng.random()
    for kind, share in OCCLUDERS.items():
        at -= share
        if at < 0:
            return kind
    return None


def occlude(
    picture: np.ndarray, occluder: str, hair: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Hide part of the face.

    Args:
        picture: (120, 120, 3), with any margin more on each side. Not modified.
        occluder: one of OCCLUDERS.
        hair: (3,) the person's hair colour.
        rng: makes every choice.
    Returns:
        As large as `picture`.
    """
    over, margin_px = picture.copy(), _margin_px(picture)
    if occluder == "hand":
        _draw_hand(over, rng)
    elif occluder == "microphone":
        _draw_microphone(over, rng)
    elif occluder == "strands":
        _draw_strands(over, hair, rng)
    else:
        for _ in range(rng.integers(1, 3)):
            colour = _skin(rng) if rng.random() < 0.3 else linear(rng.uniform(5, 240, 3))
            colour = colour * rng.uniform(0.3, 1)
            _draw_shape(over, colour, rng.uniform(12, 45), rng, margin_px)
    return over


def _draw_hand(picture: np.ndarray, rng: np.random.Generator) -> None:
    """Fingers and the back of a hand that reach in from a side."""
    skin = _skin(rng) * rng.uniform(0.4, 1.2)
    turn = rng.uniform(0, 2 * np.pi)
    along = np.array([np.cos(turn), np.sin(turn)])
    across = np.array([-along[1], along[0]])
    tip = len(picture) / 2 + rng.uniform(-28, 28, 2)  # of the longest finger
    width = rng.uniform(7, 11)
    spread = rng.uniform(-0.15, 0.35)
    palm = tip - along * width * rng.uniform(3.2, 5)
    fingers = [(0.6, -1.5), (0.9, -0.5), (1.0, 0.5), (0.75, 1.5)]
    for reach, offset in fingers[: rng.integers(1, 5)]:
        bend = rng.normal(0, 1.5, 2)
        root = palm + across * offset * width * 1.02
        end = root + (tip - palm) * reach + across * offset * spread * width
        _draw_limb(picture, np.stack([root, (root + end) / 2 + bend, end]), width, skin, rng)
    arm = np.stack([palm - along * 160, palm - along * 2 * width, palm])
    _draw_limb(picture, arm, 4.2 * width, skin, rng)


def _draw_microphone(picture: np.ndarray, rng: np.random.Generator) -> None:
    """A dark ball with a handle that comes from below."""
    size = rng.uniform(14, 26)
    at = np.array([IMG_SIZE / 2 + rng.normal(0, 18), rng.uniform(70, 105)]) + _margin_px(picture)
    to = at + np.array([rng.normal(0, 60), 120])
    grey = linear(rng.uniform(8, 90) + rng.normal(0, 5, 3))
    _draw_limb(picture, np.stack([at, (at + to) / 2, to]), 0.55 * size, grey * 0.7, rng)
    _draw_limb(picture, np.stack([at - 0.5, at, at + 0.5]), size, grey, rng)


def _draw_limb(
    picture: np.ndarray,
    points: np.ndarray,
    width: float,
    colour: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """A rounded tube along points (K, 2): dark edges, a lighter line along its lit side."""
    curve = smooth_curve(points, 12)
    lit = rng.normal(0, 0.12, 2) * width
    for share, tone in ((1.0, 0.65), (0.86, 0.85), (0.6, 1.0), (0.3, 1.08)):
        line = fixed_point(curve + lit * (1 - share))
        thickness = max(round(width * share), 1)
        cv2.polylines(picture, [line], False, _paint(colour * tone), thickness, cv2.LINE_AA, SHIFT)


def _draw_strands(picture: np.ndarray, colour: np.ndarray, rng: np.random.Generator) -> None:
    """Locks of hair that fall from above over forehead, eye and cheek, and thin out downwards."""
    start = np.array([rng.uniform(25, 95), rng.uniform(-15, 15)])
    end = np.array([rng.uniform(10, 110), rng.uniform(60, 135)])
    bow = (start + end) / 2 + rng.normal(0, 14, 2)
    width, count = rng.uniform(2, 12), int(rng.uniform(12, 80))
    shifts = rng.normal(0, width, (count, 2)) * (1, 0.4)
    lengths, tones = rng.uniform(0.4, 1, count), rng.uniform(0.4, 1.4, count)
    fanned = end + shifts * 1.5 + rng.normal(0, 2, (count, 2))
    paths = smooth_curve(np.stack([start + 0.5 * shifts, bow + shifts, fanned], 1), 16)
    paths = paths + np.float32(_margin_px(picture))
    for path, length, tone in zip(paths, lengths, tones, strict=True):
        line, paint = fixed_point(path[: int(16 * length)]), _paint(colour * tone)
        cv2.polylines(picture, [line], False, paint, 1, cv2.LINE_AA, SHIFT)


def _margin_px(picture: np.ndarray) -> int:
    return (len(picture) - IMG_SIZE) // 2


def _skin(rng: np.random.Generator) -> np.ndarray:
    """Some skin's colour, linear BGR."""
    return linear(mix_row(SKIN_TONES, rng.uniform(0, len(SKIN_TONES) - 1))[::-1])


def _paint(colour: np.ndarray) -> list[float]:
    """A colour as OpenCV's drawing functions want it."""
    return [float(channel) for channel in colour]
