"""Identities over time, with a made-up network that finds painted faces exactly."""

import dataclasses

import numpy as np
import pytest

from synergynet.geometry.parameters import N_LANDMARKS
from synergynet.video.tracking import PATIENCE, REMEMBERED_S, Tracker, tight_box

FPS = 25.0
SIDE = 60.0  # of a face, px
TEMPLATE = np.random.default_rng(0).uniform(-0.5, 0.5, (3, N_LANDMARKS))
TEMPLATE[:2, :2] = [[-0.5, 0.5], [-0.5, 0.5]]  # its tight box is the face's


@dataclasses.dataclass(frozen=True)
class Found:
    """What the tracker reads of `Faces`."""

    boxes: np.ndarray
    landmarks: np.ndarray
    scores: np.ndarray

    def __len__(self):
        return len(self.landmarks)

    def __getitem__(self, rows):
        return Found(self.boxes[rows], self.landmarks[rows], self.scores[rows])


class PaintedFaces:
    """A network for frames whose faces are known: it sees the one nearest to a crop's centre.

    Where no face is near, it says that the crop itself is one, as real networks do.
    """

    model = None

    def __init__(self):
        self.centres = np.empty((0, 2))
        self.detections = 0
        self.blind = False  # the detector, not the network
        self.score = 1.0

    def predict(self, images):
        self.detections += 1
        centres = self.centres if not self.blind else self.centres[:0]
        return self._see(np.concatenate([centres - SIDE / 2, centres + SIDE / 2], 1))

    def predict_crops(self, images, image_index, boxes, roi_boxes, exact):
        assert exact
        return self._see(roi_boxes)

    def _see(self, boxes):
        landmarks = []
        for box in np.asarray(boxes):
            centre = (box[:2] + box[2:4]) / 2
            distance = np.linalg.norm(self.centres - centre, axis=1)
            if len(distance) and distance.min() < SIDE / 2:
                centre = self.centres[distance.argmin()]
            landmarks.append(TEMPLATE * SIDE + [[centre[0]], [centre[1]], [0]])
        landmarks = np.array(landmarks).reshape(-1, 3, N_LANDMARKS)
        return Found(tight_box(landmarks), landmarks, np.full(len(landmarks), self.score))


class Film:
    """Runs a tracker over frames that are given as lists of face centres."""

    def __init__(self, **options):
        self.net = PaintedFaces()
        self.tracker = Tracker(self.net, **options)
        self.index = 0
        self.grey = 0

    def show(self, *centres) -> dict[int, np.ndarray]:
        """The next frame: identities with the centres of their boxes."""
        self.net.centres = np.array(centres, float).reshape(-1, 2)
        image = np.full((300, 400, 3), self.grey, np.uint8)
        ids, faces = self.tracker.step(image, self.index / FPS)
        self.index += 1
        assert len(ids) == len(faces)
        return {
            id_: (box[:2] + box[2:]) / 2 for id_, box in zip(ids.tolist(), faces.boxes, strict=True)
        }


def test_faces_keep_their_identities_while_they_pass_each_other():
    film = Film()
    for step in range(60):
        upper, lower = (60 + 4 * step, 100), (340 - 4 * step, 190)
        found = film.show(upper, lower) if step % 2 else film.show(lower, upper)
        assert found.keys() == {0, 1}
        np.testing.assert_allclose([found[0], found[1]], [lower, upper], atol=1)


def test_scores_are_the_detectors_last():
    film = Film(detect_every=2)
    image = np.zeros((300, 400, 3), np.uint8)
    film.net.centres = np.array([[200.0, 150]])
    found = []
    for index, score in enumerate((0.9, 0.8, 0.7, 0.6)):
        film.net.score = score
        found += film.tracker.step(image, index / FPS)[1].scores.tolist()
    assert found == [0.9, 0.9, 0.7, 0.7]


def test_the_detector_is_asked_now_and_then_only():
    film = Film(detect_every=10)
    for _ in range(31):
        film.show((200, 150))
    assert film.net.detections == 4


def test_frames_without_a_face_are_frames_like_others():
    film = Film()
    assert film.show() == {}
    assert film.show().keys() == set()
    assert film.show((200, 150)).keys() == {0}
    for _ in range(20):
        found = film.show()
    assert found == {}


def test_a_new_face_is_found_within_a_period():
    film = Film(detect_every=5)
    for _ in range(7):
        film.show((100, 150))
    for _ in range(5):
        found = film.show((100, 150), (300, 150))
    assert found.keys() == {0, 1}


def test_a_face_outlives_detections_that_miss_it():
    film = Film(detect_every=5)
    film.show((100, 150))
    for _ in range(4):
        film.show((100, 150))
    film.net.blind = True
    for _ in range(PATIENCE):
        assert film.show((100, 150)).keys() == {0}
    film.net.blind = False
    assert film.show((100, 150)).keys() == {0}


@pytest.mark.parametrize(("pause_s", "expected"), [(REMEMBERED_S / 2, 0), (REMEMBERED_S * 2, 1)])
def test_a_face_that_comes_back_soon_is_the_same(pause_s, expected):
    film = Film(detect_every=1)
    film.show((100, 150))
    for _ in range(round(pause_s * FPS)):
        film.show()
    assert film.show((110, 150)).keys() == {expected}


def test_a_cut_ends_faces_at_once_and_a_flash_does_not_change_identities():
    film = Film(detect_every=100)
    film.show((100, 150))
    film.grey = 200
    assert film.show() == {}
    film.grey = 0
    assert film.show((100, 150)).keys() == {0}


def test_two_tracks_on_one_face_become_one():
    film = Film(detect_every=100)
    film.show((100, 150), (200, 150))
    for step in range(20):
        found = film.show((100, 150), (max(200 - 10 * step, 104), 150))
    film.net.centres = np.array([[100.0, 150.0]])
    for _ in range(5):
        found = film.show((100, 150))
    assert found.keys() == {0}


def test_a_face_that_leaves_the_picture_ends():
    film = Film(detect_every=1000)
    for step in range(30):
        found = film.show((300 + 10 * step, 150))
    assert found == {}
