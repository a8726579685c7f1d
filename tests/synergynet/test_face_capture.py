"""Tables as Live Link Face writes them."""

from __future__ import annotations

import numpy as np
import pytest

from synergynet.blendshapes import ARKIT_NAMES
from synergynet.face_capture import CHANNELS, HEADER, row_of, timecode

# What public importers expect, typed here independently.
LIVE_LINK_FACE = (
    "Timecode,BlendShapeCount,EyeBlinkLeft,EyeLookDownLeft,EyeLookInLeft,EyeLookOutLeft,"
    "EyeLookUpLeft,EyeSquintLeft,EyeWideLeft,EyeBlinkRight,EyeLookDownRight,EyeLookInRight,"
    "EyeLookOutRight,EyeLookUpRight,EyeSquintRight,EyeWideRight,JawForward,JawRight,JawLeft,"
    "JawOpen,MouthClose,MouthFunnel,MouthPucker,MouthRight,MouthLeft,MouthSmileLeft,"
    "MouthSmileRight,MouthFrownLeft,MouthFrownRight,MouthDimpleLeft,MouthDimpleRight,"
    "MouthStretchLeft,MouthStretchRight,MouthRollLower,MouthRollUpper,MouthShrugLower,"
    "MouthShrugUpper,MouthPressLeft,MouthPressRight,MouthLowerDownLeft,MouthLowerDownRight,"
    "MouthUpperUpLeft,MouthUpperUpRight,BrowDownLeft,BrowDownRight,BrowInnerUp,BrowOuterUpLeft,"
    "BrowOuterUpRight,CheekPuff,CheekSquintLeft,CheekSquintRight,NoseSneerLeft,NoseSneerRight,"
    "TongueOut,HeadYaw,HeadPitch,HeadRoll,LeftEyeYaw,LeftEyePitch,LeftEyeRoll,RightEyeYaw,"
    "RightEyePitch,RightEyeRoll"
)


def test_the_header_is_live_link_faces():
    assert ",".join(HEADER) == LIVE_LINK_FACE
    assert len(CHANNELS) == 61


@pytest.mark.parametrize(
    ("frame", "fps", "text"),
    [
        (0, 60, "00:00:00:00.000"),
        (61, 60, "00:00:01:01.000"),
        (25 * 3725 + 24, 25.0, "01:02:05:24.000"),
        (30, 29.97, "00:00:01:00.000"),
        (3, 0.4, "00:00:03:00.000"),
    ],
)
def test_time_codes_count_frames(frame, fps, text):
    assert timecode(frame, fps) == text


def test_a_row_holds_strengths_and_the_heads_angles():
    strengths = np.linspace(0, 1, 52).round(4).tolist()
    face = {
        "blendshapes": dict(zip(ARKIT_NAMES, strengths, strict=True)),
        "pose": {"exact": {"yaw": 90.0, "pitch": -45.0, "roll": 0.0}},
    }
    row = dict(zip(HEADER, row_of(face, 1, 60), strict=True))
    assert row["Timecode"] == "00:00:00:01.000"
    assert row["BlendShapeCount"] == 61
    assert [row[name[0].upper() + name[1:]] for name in ARKIT_NAMES] == strengths
    assert row["HeadYaw"] == pytest.approx(np.pi / 2, abs=1e-6)
    assert row["HeadPitch"] == pytest.approx(-np.pi / 4, abs=1e-6)
    assert row["RightEyeRoll"] == 0
