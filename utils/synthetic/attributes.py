"""What each picture of a synthetic test set shows, in words: attributes.csv beside its labels.

A row an image, a column an attribute. `benchmarks/breakdown.py` breaks a model's errors down by it,
and would do so by anybody's own table of the same form.

Source: Del Bino and Bernerd, "Variations in skin colour and the biological consequences of
ultraviolet radiation exposure", 2013, for the classes of the individual typology angle (ITA).
"""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence

import cv2
import numpy as np

from synergynet import fileio
from utils.evaluation.metrics import YAW_BINS_DEG, yaw_bins
from utils.synthetic.portrait.scene import Scene
from utils.synthetic.portrait.scenery import OCCLUDERS

ATTRIBUTES_FILE = "attributes.csv"  # in eval/
IMAGE = "image"  # the column of file names
VALUES = {
    "yaw": tuple(YAW_BINS_DEG),
    "pitch": ("down", "level", "up"),
    "mouth": ("shut", "open", "wide open"),
    "eyes": ("shut", "half shut", "open"),
    "skin": ("dark", "brown", "tan", "intermediate", "light", "very light"),
    "beard": ("none", "stubble", "full"),
    "glasses": ("none", "clear", "dark"),
    "occluder": ("none", *OCCLUDERS),
    "border": ("outside", "in the crop"),
}  # of each attribute, in order
_LIMITS = {
    "pitch": (-20, 20),  # degrees
    "mouth": (0.1, 0.3),  # distance of the inner lips / of the eyes
    "eyes": (0.1, 0.18),  # height / width of the lids' opening
    "skin": (-30, 10, 28, 41, 55),  # ITA, degrees
    "beard": (0, 0.45),  # `Look.beard`
    "glasses": (-0.5, 0.5),  # `Glasses.tint`, -1 where there are none
}  # numbers that part these values


def face_attributes(landmarks: np.ndarray, pose_deg: np.ndarray) -> dict[str, list[str]]:
    """What labels say.

    Args:
        landmarks: (N, 3, 68) in a frame whose three axes have one scale.
        pose_deg: (N, 3) pitch, yaw, roll; looking up is positive.
    """
    mouth, eyes = openings(landmarks)
    return {
        "yaw": [VALUES["yaw"][index] for index in yaw_bins(pose_deg[:, 1])],
        "pitch": _in_words("pitch", pose_deg[:, 0]),
        "mouth": _in_words("mouth", mouth),
        "eyes": _in_words("eyes", eyes),
    }


def openings(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far mouths and eyes are open, of landmarks (N, 3, 68) whose three axes have one scale.

    Returns:
        (N,) distance of the inner lips over that of the eyes; (N,) height of the lids' opening
        over its width.
    """
    gap = _distance(landmarks, [61, 62, 63], [67, 66, 65]).mean(1)  # along the inner lips
    height = _distance(landmarks, [37, 38, 43, 44], [41, 40, 47, 46]).mean(1)
    return gap / eye_distance(landmarks), height / _distance(landmarks, [36, 42], [39, 45]).mean(1)


def eye_distance(landmarks: np.ndarray) -> np.ndarray:
    """Between the middles of both eyes, (N,), of landmarks (N, 3, 68)."""
    right, left = (landmarks[:, :, eye].mean(2) for eye in (slice(36, 42), slice(42, 48)))
    return np.linalg.norm(right - left, axis=1)


def scene_attributes(scenes: Sequence[Scene]) -> dict[str, list[str]]:
    """What the scenes say."""
    looks = [scene.look for scene in scenes]
    return {
        "skin": _in_words("skin", typology_angle(np.stack([scene.skin for scene in scenes]))),
        "beard": _in_words("beard", [look.beard for look in looks]),
        "glasses": _in_words("glasses", [k.glasses.tint if k.glasses else -1 for k in looks]),
        "occluder": [scene.occluder or "none" for scene in scenes],
        "border": [VALUES["border"][scene.has_border] for scene in scenes],
    }


def typology_angle(colours: np.ndarray) -> np.ndarray:
    """ITA of linear BGR colours (N, 3): atan((L* - 50) / b*), (N,) degrees; light skin is high."""
    lightness, _, b = cv2.cvtColor(colours[None].astype(np.float32), cv2.COLOR_LBGR2Lab)[0].T
    return np.degrees(np.arctan2(lightness - 50, b))


def _distance(landmarks: np.ndarray, first: list[int], second: list[int]) -> np.ndarray:
    """Between pairs of landmarks, (N, pairs)."""
    return np.linalg.norm(landmarks[:, :, first] - landmarks[:, :, second], axis=1)


def _in_words(attribute: str, numbers: Sequence[float]) -> list[str]:
    return [VALUES[attribute][index] for index in np.searchsorted(_LIMITS[attribute], numbers)]


def values_in_order(attribute: str, values: np.ndarray) -> list[str]:
    """The different ones among values (N,): as VALUES orders them, then by name."""
    found = np.unique(values).tolist()
    known = [value for value in VALUES.get(attribute, ()) if value in found]
    return known + [value for value in found if value not in known]


# ---------------------------------------------------------------- file


def write_attributes(
    path: str | os.PathLike, names: list[str], attributes: dict[str, list[str]]
) -> None:
    """Write a row an image: its name, then its attributes (each N values)."""
    with fileio.whole_file(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([IMAGE, *attributes])
        writer.writerows(zip(names, *attributes.values(), strict=True))


def read_attributes(path: str | os.PathLike, names: list[str]) -> dict[str, np.ndarray]:
    """Read `write_attributes`' file: (N,) strings by attribute.

    Raises:
        InputError: missing, no such table, or of other images.
    """
    header, *rows = [*csv.reader(fileio.read_list(path))] or [[]]
    if header[:1] != [IMAGE] or len(header) < 2 or any(len(row) != len(header) for row in rows):
        raise fileio.InputError(f"{path}: not a table of {IMAGE},ATTRIBUTE,... with a row an image")
    images, *columns = zip(*rows, strict=True)
    if list(images) != names:
        raise fileio.InputError(f"{path}: lists other images than the test set; draw the set again")
    return {title: np.array(column) for title, column in zip(header[1:], columns, strict=True)}
