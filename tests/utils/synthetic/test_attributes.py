"""Attributes of a test set: classes by hand, the file's round trip, and what a drawn set says."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch

from synergynet import fileio
from synergynet.geometry.pose import Pose, compose_rotation
from utils.data.evaluation_crops import EVAL, EvaluationCrops
from utils.data.folders import OPEN_FOLDER
from utils.synthetic.attributes import (
    ATTRIBUTES_FILE,
    VALUES,
    face_attributes,
    read_attributes,
    scene_attributes,
    typology_angle,
    values_in_order,
    write_attributes,
)
from utils.synthetic.portrait.appearance import Glasses, linear
from utils.synthetic.portrait.scene import Scene
from utils.synthetic.portrait.studio import Studio
from utils.synthetic.sets import write_test_set


def face(lips, lids):
    """Landmarks (3, 68) with eyes 60 apart and 20 wide, and these openings."""
    points = np.zeros((3, 68))
    for first, x in ((36, -30), (42, 30)):
        points[0, first : first + 6] = x + np.array([-10, -4, 4, 10, 4, -4])
        points[1, first : first + 6] = lids * np.array([0, 0.5, 0.5, 0, -0.5, -0.5])
    points[2, [61, 62, 63]] = lips  # depth counts, too
    return points


def test_openings_by_hand():
    landmarks = np.stack([face(0, 1), face(12, 3), face(30, 9), face(0, 9)])
    pose_deg = np.array([[30, 0, 0], [-30, 45, 0], [5, -89, 0], [0, 30, 0]], float)
    assert face_attributes(landmarks, pose_deg) == {
        "yaw": ["0-30", "30-60", "60-90", "0-30"],
        "pitch": ["up", "down", "level", "level"],
        "mouth": ["shut", "open", "wide open", "shut"],
        "eyes": ["shut", "half shut", "open", "open"],
    }
    turned = np.stack([np.array([[0, -2, 0], [2, 0, 0], [0, 0, 2]]) @ one for one in landmarks])
    again = face_attributes(turned, pose_deg)
    assert again == face_attributes(landmarks, pose_deg)


def test_positive_pitch_looks_up():
    yaw, pitch, roll = torch.tensor([10.0, 30.0, 5.0])
    nose = compose_rotation(Pose(yaw, pitch, roll))[:, 2]  # y up
    assert nose[1] > 0.4
    found = face_attributes(face(0, 9)[None], np.array([[30.0, 10, 5]]))
    assert found["pitch"] == ["up"]


def test_typology_angle_of_a_lab_colour():
    lab = np.array([[70, 10, 20], [30, 5, 12]], np.float32)
    colours = cv2.cvtColor(lab[None], cv2.COLOR_Lab2LBGR)[0]
    expected = np.degrees(np.arctan2(lab[:, 0] - 50, lab[:, 2]))
    np.testing.assert_allclose(typology_angle(colours), expected, atol=0.1)
    fair, dark = linear([205, 222, 252]), linear([31, 38, 58])
    assert (typology_angle(np.stack([fair, dark])) > 0).tolist() == [True, False]


def test_scenes_in_words():
    scene = Scene.sample(None, np.random.default_rng(0))
    shades = Glasses.sample(np.random.default_rng(0))

    def variant(tint=None, beard=0.0, **fields):
        glasses = None if tint is None else dataclasses.replace(shades, tint=tint)
        look = dataclasses.replace(scene.look, glasses=glasses, beard=beard)
        return dataclasses.replace(scene, look=look, **fields)

    scenes = [
        variant(occluder=None, has_border=False),
        variant(tint=0.0, beard=0.2, occluder="hand", has_border=True),
        variant(tint=0.9, beard=0.8, occluder="shapes", has_border=False),
    ]
    found = scene_attributes(scenes)
    assert len(set(found.pop("skin"))) == 1
    assert found == {
        "beard": ["none", "stubble", "full"],
        "glasses": ["none", "clear", "dark"],
        "occluder": ["none", "hand", "shapes"],
        "border": ["outside", "in the crop", "outside"],
    }


def test_file_round_trip_and_order(tmp_path):
    path, names = tmp_path / "attributes.csv", ["a.jpg", "b.jpg", "c.jpg"]
    written = {"pitch": ["up", "down", "up"], "place": ["Rome, Italy", "Oslo", "Oslo"]}
    write_attributes(path, names, written)
    found = read_attributes(path, names)
    assert {name: values.tolist() for name, values in found.items()} == written
    assert values_in_order("pitch", found["pitch"]) == ["down", "up"]
    assert values_in_order("skin", np.array(["tan", "odd", "dark"])) == ["dark", "tan", "odd"]
    with pytest.raises(fileio.InputError, match=r"attributes\.csv: lists other images"):
        read_attributes(path, names[:2])


@pytest.mark.parametrize("text", ["", "image\n", "name,skin\na.jpg,tan\n", "image,skin\na.jpg\n"])
def test_what_is_no_table_is_refused(tmp_path, text):
    path = tmp_path / "attributes.csv"
    fileio.write_text(path, text)
    with pytest.raises(fileio.InputError, match=r"attributes\.csv: not a table of image"):
        read_attributes(path, ["a.jpg"])


def test_a_drawn_set_says_what_was_drawn(tmp_path, monkeypatch):
    drawn, draw = [], Studio.draw

    def watch(studio, verts_model, camera, scene):
        drawn.append(scene)
        return draw(studio, verts_model, camera, scene)

    monkeypatch.setattr(Studio, "draw", watch)
    write_test_set(OPEN_FOLDER, tmp_path, count=3, seed=4)
    crops = EvaluationCrops(tmp_path)
    found = read_attributes(tmp_path / EVAL / ATTRIBUTES_FILE, crops.names)
    assert found.keys() == VALUES.keys()
    for name, values in scene_attributes(drawn).items():
        assert found[name].tolist() == values
    labels = crops.labels
    for name, values in face_attributes(labels.landmarks, labels.pose_deg).items():
        assert found[name].tolist() == values
