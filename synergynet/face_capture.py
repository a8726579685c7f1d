"""Blendshapes as tables for face-capture tools: the CSV of Epic's Live Link Face, a row a frame.

Importers for Blender, Maya, MotionBuilder and Unreal read it: a time code, a count of 61, the 52
blendshapes of ARKit with capital initials, then angles of head and eyes. Those of the head are in
radians here, in this project's sense of yaw, pitch and roll (Epic documents neither unit nor
sense); those of the eyes are 0, as no gaze is found.

Source: the headers that public importers of Live Link Face's files expect.
"""

from __future__ import annotations

import math
from typing import Any

from synergynet.blendshapes import ARKIT_NAMES

_ANGLES = ("Yaw", "Pitch", "Roll")
CHANNELS = (
    *(name[0].upper() + name[1:] for name in ARKIT_NAMES),
    *(part + angle for part in ("Head", "LeftEye", "RightEye") for angle in _ANGLES),
)
HEADER = ("Timecode", "BlendShapeCount", *CHANNELS)
PICTURES_FPS = 60  # Live Link Face's own rate; of pictures each is a frame


def timecode(frame: int, fps: float) -> str:
    """`HH:MM:SS:FF.000` of a frame counted from 0, as many frames in each second as in any other
    (no dropped numbers)."""
    seconds, rest = divmod(frame, max(1, round(fps)))
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}:{rest:02}.000"


def row_of(face: dict[str, Any], frame: int, fps: float) -> list[Any]:
    """One row of HEADER.

    Args:
        face: an entry of `describe_faces` with blendshapes.
        frame, fps: for the time code.
    """
    strengths = [face["blendshapes"][name] for name in ARKIT_NAMES]
    head = [round(math.radians(face["pose"]["exact"][name.lower()]), 6) for name in _ANGLES]
    return [timecode(frame, fps), len(CHANNELS), *strengths, *head, *([0.0] * 6)]
