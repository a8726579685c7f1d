"""Expressions that people show before a camera, as strengths of ARKit's 52 facial actions.

Facial actions do not come one by one: who laughs raises cheeks and upper lip, and shows the upper
teeth. The table follows the action units of the basic emotions (Ekman and Friesen, Facial Action
Coding System, 1978); how often each is seen in photographs is an estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Display(NamedTuple):
    """An expression: its share of all, and least and greatest strength of the actions it takes."""

    share: float
    actions: dict[str, tuple[float, float]]


DISPLAYS = {
    "rest": Display(0.22, {}),
    "smile": Display(
        0.16,
        {
            "mouthSmile": (0.2, 0.9),
            "mouthDimple": (0, 0.4),
            "cheekSquint": (0, 0.7),
            "eyeSquint": (0, 0.4),
        },
    ),
    "grin": Display(
        0.26,
        {
            "mouthSmile": (0.3, 1),
            "mouthStretch": (0, 0.5),
            "mouthUpperUp": (0.2, 0.8),
            "mouthLowerDown": (0.1, 0.7),
            "jawOpen": (0, 0.15),
            "cheekSquint": (0.2, 0.9),
            "eyeSquint": (0, 0.6),
        },
    ),
    "laugh": Display(
        0.08,
        {
            "mouthSmile": (0.5, 1),
            "mouthUpperUp": (0.3, 1),
            "mouthLowerDown": (0.2, 0.8),
            "jawOpen": (0.15, 0.6),
            "cheekSquint": (0.4, 1),
            "eyeSquint": (0.2, 0.9),
        },
    ),
    "speech": Display(
        0.12,
        {
            "mouthUpperUp": (0, 0.5),
            "mouthLowerDown": (0, 0.6),
            "mouthFunnel": (0, 0.6),
            "mouthStretch": (0, 0.3),
            "jawOpen": (0, 0.35),
        },
    ),
    "kiss": Display(0.05, {"mouthPucker": (0.3, 1), "mouthFunnel": (0, 0.5)}),
    "surprise": Display(
        0.04,
        {
            "browInnerUp": (0.3, 1),
            "browOuterUp": (0.3, 1),
            "eyeWide": (0.2, 1),
            "jawOpen": (0.1, 0.8),
        },
    ),
    "anger": Display(
        0.04,
        {
            "browDown": (0.3, 1),
            "eyeSquint": (0.1, 0.7),
            "noseSneer": (0, 0.5),
            "mouthPress": (0, 0.8),
            "mouthFrown": (0, 0.5),
        },
    ),
    "sadness": Display(
        0.03, {"browInnerUp": (0.2, 1), "mouthFrown": (0.2, 1), "mouthShrugLower": (0, 0.7)}
    ),
}
_SIDES = ("", "Left", "Right")
_SHUT_EYES = 0.06
_BY_CHANCE = 0.06  # of all other actions


def sample_displays(labels: Sequence[str], count: int, rng: np.random.Generator) -> np.ndarray:
    """Strengths (count, A) in [0, 1] of the A facial actions with these labels; the two sides of a
    face nearly agree, and actions that do not belong to a display come in weakly."""
    column = {label: i for i, label in enumerate(labels)}
    strengths = (rng.random((count, len(labels))) < _BY_CHANCE) * rng.beta(
        1, 2.5, (count, len(labels))
    )
    shares = np.array([display.share for display in DISPLAYS.values()])
    kind = rng.choice(len(DISPLAYS), count, p=shares)
    wanted = [
        (kind == i, action, rng.uniform(*limits, count))
        for i, display in enumerate(DISPLAYS.values())
        for action, limits in display.actions.items()
    ]
    lids = np.where(
        rng.random(count) < _SHUT_EYES, rng.uniform(0.7, 1, count), rng.beta(1, 5, count)
    )
    wanted.append((np.ones(count, bool), "eyeBlink", lids))
    for rows, action, strength in wanted:
        for label in (action + side for side in _SIDES if action + side in column):
            uneven = 1 + (0 if label == action else 0.1) * rng.standard_normal(count)
            shown = np.clip(strength * uneven, 0, 1)[rows]
            own = strengths[rows, column[label]]
            strengths[rows, column[label]] = np.maximum(own, shown)
    return strengths


def sample_facial_actions(
    labels: Sequence[str], count: int, rng: np.random.Generator
) -> np.ndarray:
    """(count, A) strengths in [0, 1]: a few actions at a time, mostly alike on both sides; jaw and
    eyelids, which matter most, move more often."""
    often = np.array(["jawOpen" in label or "eyeBlink" in label for label in labels])
    active = rng.random((count, len(labels))) < np.where(often, 0.35, 0.10)
    strengths = active * rng.beta(1.2, 1.6, active.shape)
    for left, label in enumerate(labels):
        if label.endswith("Left") and label.replace("Left", "Right") in labels:
            right = labels.index(label.replace("Left", "Right"))
            alike = rng.random(count) < 0.8
            strengths[alike, right] = strengths[alike, left]
    return strengths
