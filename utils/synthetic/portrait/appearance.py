"""Random people: every number that makes one face look unlike another.

Colours are BGR in linear light, lengths millimetres, angles radians. The probabilities are ours,
chosen by eye for variety rather than to match a population.
"""

from __future__ import annotations

import dataclasses

import numpy as np

GAMMA = 2.2

# sRGB skin tones from light to dark; neighbours are mixed.
SKIN_TONES = np.array(
    [[252, 222, 205], [240, 196, 168], [226, 174, 138], [202, 146, 108],
     [168, 112, 78], [124, 78, 54], [88, 56, 42], [58, 38, 31]], np.float32)  # fmt: skip
_HAIR_COLOURS = np.array(
    [[18, 14, 13], [32, 23, 18], [58, 38, 25], [92, 60, 36],
     [142, 98, 56], [196, 158, 104], [120, 52, 26], [150, 148, 146]], np.float32)  # fmt: skip
_IRIS_COLOURS = np.array(
    [[52, 30, 16], [84, 52, 26], [110, 84, 42], [86, 104, 74], [82, 118, 150], [112, 128, 138]],
    np.float32)  # fmt: skip

# Hairline: height in mm above the eyes by angle from straight ahead.
HAIRLINE_ANGLES = np.radians([0, 25, 48, 62, 72, 81, 88, 95, 122, 150, 180], dtype=np.float32)
_HAIRLINE_MM = np.array([66, 64, 55, 40, 24, 6, 10, 34, -30, -62, -70], np.float32)

_MOST_TURN = np.radians([32, 25])  # of eyes, sideways and up or down
_FARTHEST_GLANCE = np.radians(55)  # sideways; people do not try to look farther round
_STRAYING = 0.25  # share of the other gaze in a glance at the camera


def linear(srgb: np.ndarray) -> np.ndarray:
    """sRGB 0..255 to linear light 0..1, by a plain gamma."""
    return (np.clip(np.asarray(srgb, np.float32), 0, 255) / 255) ** GAMMA


def mix_row(table: np.ndarray, position: float) -> np.ndarray:
    """Row of a table at a fractional position."""
    low = int(min(position, len(table) - 1.001))
    return table[low] + (position - low) * (table[low + 1] - table[low])


@dataclasses.dataclass(frozen=True)
class Sheet:
    """Form of hanging hair: the angle (radians) from the front where it begins, how it falls."""

    start: float
    sway: float
    length_mm: float
    width: float
    flare: float
    folds: float
    waves: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Sheet:
        """Random hanging hair."""
        return cls(
            start=rng.uniform(1.05, 1.75),
            sway=rng.normal(0, 0.15),
            length_mm=rng.uniform(70, 260),
            width=rng.uniform(0.97, 1.15),
            flare=rng.uniform(0.85, 1.3),
            folds=rng.uniform(0, 0.05),
            waves=rng.uniform(3, 11),
        )


@dataclasses.dataclass(frozen=True)
class Glasses:
    """Form and colour of glasses; tint 0 is clear, 1 opaque."""

    half_width_mm: float
    aspect: float
    roundness: float
    height_mm: float
    distance_mm: float
    rim_mm: float
    colour: np.ndarray
    tint: float
    tint_colour: np.ndarray
    glare: float
    glare_shift: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Glasses:
        """Random glasses, a third of them sunglasses."""
        dark = rng.random() < 0.33
        return cls(
            half_width_mm=rng.uniform(21, 29),
            aspect=rng.uniform(0.55, 0.95),
            roundness=rng.uniform(0.45, 1.0),
            height_mm=rng.uniform(-6, 0),
            distance_mm=rng.uniform(2, 6),
            rim_mm=rng.uniform(0.7, 4.0),
            colour=linear(rng.uniform(5, 110) + rng.beta(1, 3) * rng.uniform(-80, 80, 3)),
            tint=rng.uniform(0.55, 0.97) if dark else rng.uniform(0.0, 0.2),
            tint_colour=linear(rng.uniform(5, 60) + rng.uniform(-15, 25, 3)),
            glare=rng.uniform(0, 0.5),
            glare_shift=rng.uniform(-1.5, 1.5),
        )


@dataclasses.dataclass(frozen=True)
class Look:
    """Everything about a person's appearance that is a number; colours are linear BGR."""

    skin: np.ndarray
    skin_blotches: float
    skin_gloss: float
    skin_sharpness: float
    redness: float
    socket_shade: float
    wrinkles: float
    freckles: float
    lip_colour: np.ndarray
    lip_strength: float
    has_lipstick: bool
    eye_shadow: float
    eye_shadow_colour: np.ndarray
    has_hair: bool
    hairline: np.ndarray
    hair_parting: float
    has_sheet: bool
    sheet: Sheet
    hair_thickness: float
    hair_curl: float
    hair_wave: np.ndarray
    hair_phase: np.ndarray
    hair_edge: float
    hair_opacity: float
    hair_gloss: float
    hair_colour: np.ndarray
    strand_density: float
    strand_slant: float
    beard: float
    moustache: float
    beard_colour: np.ndarray
    brow_colour: np.ndarray
    brow_density: float
    brow_width_mm: float
    brow_lift_mm: float
    lash_strength: float
    lash_width: int
    lower_lash: float
    sclera: np.ndarray
    eye_gloss: float
    iris: np.ndarray
    iris_radius: float
    pupil_radius: float
    gaze: np.ndarray
    teeth: np.ndarray
    mouth_light: float
    glasses: Glasses | None
    neckline_mm: float
    neckline_slope: float
    cloth: np.ndarray
    cloth_pattern: float
    cloth_scale: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Look:
        """A random person."""
        tone = rng.uniform(0, 1) ** 1.3 * (len(SKIN_TONES) - 1)
        skin_srgb = mix_row(SKIN_TONES, tone) * rng.uniform(0.94, 1.04, 3)
        skin = linear(skin_srgb)[::-1]
        dark = tone / (len(SKIN_TONES) - 1)
        feminine = rng.random() < 0.6
        make_up = feminine and rng.random() < 0.6
        hair_range = (0, 3.2) if dark > 0.55 else (0, len(_HAIR_COLOURS) - 1)
        hair_srgb = mix_row(_HAIR_COLOURS, rng.uniform(*hair_range)) * rng.uniform(0.93, 1.07, 3)
        hair = linear(hair_srgb)[::-1]
        long_hair = rng.random() < (0.75 if feminine else 0.1)
        hairline = _HAIRLINE_MM + rng.normal(0, 4, 11)
        hairline[:4] += rng.normal(0, 6)
        if rng.random() < 0.3:
            hairline[:4] -= rng.uniform(5, 36)  # a fringe
        elif not feminine and rng.random() < 0.3:
            hairline[:6] += rng.uniform(5, 40)  # receding
        bearded = not feminine and rng.random() < 0.55
        beard = 0.0
        if bearded:  # a Python float: NumPy's doubles would make doubles of whole pictures
            beard = float(rng.choice([rng.uniform(0.1, 0.4), rng.uniform(0.5, 1.0)]))
        brow = hair * rng.uniform(0.5, 1.0) if rng.random() < 0.8 else linear([20, 26, 34])
        yaw, pitch = rng.normal(0, 0.22), rng.normal(-0.02, 0.12)
        gaze = np.array([np.sin(yaw), np.sin(pitch), 1.0])
        lip = skin * np.array([0.60, 0.46, 0.78])
        has_lipstick = make_up and rng.random() < 0.7
        if has_lipstick:
            lip = linear([rng.uniform(30, 120), rng.uniform(20, 90), rng.uniform(120, 220)])
        return cls(
            skin=skin.astype(np.float32),
            skin_blotches=rng.uniform(0.02, 0.13),
            skin_gloss=rng.gamma(1.5, 0.05),
            skin_sharpness=rng.uniform(8, 36),
            redness=rng.uniform(0.05, 0.45) * (1 - 0.5 * dark),
            socket_shade=rng.uniform(0.1, 0.6),
            wrinkles=rng.beta(1.2, 2.5) * 0.8,
            freckles=rng.uniform(0.2, 0.7) if rng.random() < 0.12 else 0.0,
            lip_colour=lip.astype(np.float32),
            lip_strength=rng.uniform(0.5, 0.95),
            has_lipstick=has_lipstick,
            eye_shadow=rng.uniform(0.1, 0.6) if make_up else 0.0,
            eye_shadow_colour=linear(rng.uniform(10, 140, 3)),
            has_hair=rng.random() < (0.98 if feminine else 0.86),
            hairline=hairline.astype(np.float32),
            hair_parting=rng.normal(0, 9),
            has_sheet=long_hair,
            sheet=Sheet.sample(rng),
            hair_thickness=rng.uniform(2, 14) if not long_hair else rng.uniform(5, 18),
            hair_curl=rng.uniform(0, 0.4),
            hair_wave=rng.normal(0, 0.07, (3, 4)).astype(np.float32),
            hair_phase=rng.uniform(0, 6.28, 4).astype(np.float32),
            hair_edge=rng.uniform(2, 6),
            hair_opacity=rng.uniform(0.9, 1.0) if rng.random() < 0.85 else rng.uniform(0.3, 0.8),
            hair_gloss=rng.uniform(0, 0.25),
            hair_colour=hair.astype(np.float32),
            strand_density=rng.uniform(0.6, 2.0),
            strand_slant=rng.normal(0, 0.5),
            beard=beard,
            moustache=beard * rng.uniform(0.6, 1.1),
            beard_colour=(hair * rng.uniform(0.5, 1.0)).astype(np.float32),
            brow_colour=brow.astype(np.float32),
            brow_density=rng.uniform(0.35, 1.0),
            brow_width_mm=rng.uniform(4.0, 9.0) * (0.8 if feminine else 1.1),
            brow_lift_mm=rng.normal(-2.5, 0.8),
            lash_strength=rng.uniform(0.75, 1.0) if feminine else rng.uniform(0.4, 0.85),
            lash_width=int(rng.integers(2, 5)) if make_up else int(rng.integers(1, 3)),
            lower_lash=rng.uniform(0.2, 0.9) if make_up else rng.uniform(0, 0.4),
            iris=linear(mix_row(_IRIS_COLOURS, rng.uniform(0, 1.6 if dark > 0.5 else 5))[::-1]),
            sclera=linear(np.array([164, 168, 178]) * rng.uniform(0.75, 1.12)),
            eye_gloss=rng.uniform(0.1, 0.8),
            iris_radius=rng.uniform(5.8, 6.8),
            pupil_radius=rng.uniform(1.6, 3.2),
            gaze=(gaze / np.linalg.norm(gaze)).astype(np.float32),
            teeth=linear(np.array([186, 206, 214]) * rng.uniform(0.85, 1.12)),
            mouth_light=rng.uniform(0.35, 0.8),
            glasses=Glasses.sample(rng) if rng.random() < 0.14 else None,
            neckline_mm=rng.uniform(0, 130) if rng.random() < 0.6 else 0.0,
            neckline_slope=rng.uniform(-0.2, 1.5),
            cloth=linear(rng.uniform(8, 245) + rng.beta(1, 1.5) * rng.uniform(-90, 90, 3)),
            cloth_pattern=rng.uniform(0, 0.35),
            cloth_scale=rng.uniform(0.3, 3),
        )


def glance(gaze: np.ndarray, camera: np.ndarray) -> np.ndarray:
    """Where eyes look that turn to the camera, a unit vector (3,) in the model frame.

    Eyes turn as far as they can; where the camera stands far to the side they stay as they are.

    Args:
        gaze: (3,) unit vector in which they would look otherwise; a part of it is kept, as people
            look past the camera too. Not modified.
        camera: (4, 4), or a pose block (3, 4); crop px, y up. Not modified.
    """
    x, y, z = camera[2, :3] / np.linalg.norm(camera[2, :3])  # towards the viewer
    sideways, up = np.arctan2(x, z), np.arcsin(y)
    if abs(sideways) > _FARTHEST_GLANCE:
        return gaze
    sideways, up = np.clip([sideways, up], -_MOST_TURN, _MOST_TURN)
    towards = np.array([np.sin(sideways) * np.cos(up), np.sin(up), np.cos(sideways) * np.cos(up)])
    towards += _STRAYING * (gaze - (0, 0, 1))
    return (towards / np.linalg.norm(towards)).astype(np.float32)
