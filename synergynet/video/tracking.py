"""Faces of a video with identities that last: detected now and then, tracked in between.

    tracker = Tracker(net, smooth=True)
    for index, image in enumerate(frames):
        ids, faces = tracker.step(image, seconds=index / 25)

In between detections a face's crop comes from its landmarks in the frame before, as the training
crops came from theirs. Detection finds faces that are new and takes away those that are gone.
"""

from __future__ import annotations

import dataclasses
import itertools

import cv2
import numpy as np

from synergynet.detection.boxes import match, overlap, overlaps
from synergynet.faces import Faces, decode_faces
from synergynet.geometry.crop import square_box_from_landmarks, tight_box
from synergynet.geometry.parameters import N_LANDMARKS
from synergynet.net import SynergyNet
from synergynet.video.smoothing import FaceSmoother

DETECT_EVERY = 10  # frames; also when a face is in doubt, and while there is none
PATIENCE = 3  # detections in a row that may miss a face before it is gone
REMEMBERED_S = 1.0  # for so long a face that comes back where it went gets its identity back
# overlaps are intersection over union; a detector's box and the landmarks' share about 0.6
SAME_FACE = 0.2
DRIFTED = 0.35  # below it, the detector's box is trusted more than the landmarks
JUMPED = 0.3  # of the landmarks' boxes of two frames: to be looked at by the detector
TWINS = 0.6  # of two tracks: they follow the same face
CUT = 30.0  # mean difference of two frames, of 255: another scene, or a flash
MIN_SIDE_PX = 8.0  # of a crop that can be a face


@dataclasses.dataclass
class Track:
    """One person.

    Attributes:
        id: counted from 0, never given twice.
        landmarks: (3, 68) photo px in the frame last seen, not smoothed.
        seconds: time of that frame.
        misses: detections in a row that did not find this face; above PATIENCE it is gone.
        smoother: of its parameters.
        score: of the detector, when it last saw the face.
    """

    id: int
    landmarks: np.ndarray
    seconds: float
    smoother: FaceSmoother
    score: float
    misses: int = 0

    @property
    def box(self) -> np.ndarray:
        """(4,) tight box of the landmarks, photo px."""
        return tight_box(self.landmarks)


class Tracker:
    """Follows all faces of a video from frame to frame.

    Args:
        net: detects and regresses.
        smooth: whether to filter the parameters over time.
        detect_every: frames between detections while nothing is in doubt.
    """

    def __init__(self, net: SynergyNet, smooth: bool = False, detect_every: int = DETECT_EVERY):
        self.net = net
        self.smooth = smooth
        self.detect_every = detect_every
        self._tracks: list[Track] = []
        self._ids = itertools.count()
        self._since_detection = detect_every
        self._thumbnail: np.ndarray | None = None

    def step(self, image: np.ndarray, seconds: float) -> tuple[np.ndarray, Faces]:
        """The faces of the next frame.

        Args:
            image: (H, W, 3) uint8 BGR, of one size in all frames.
            seconds: time of the frame, larger than the last one's.
        Returns:
            identities (N,) in rising order, and the faces; their boxes are the landmarks' own.
        """
        self._tracks = [t for t in self._tracks if seconds - t.seconds <= REMEMBERED_S]
        active = self._active()
        self._since_detection += 1
        is_cut = self._is_cut(image)
        in_doubt = is_cut or not active or any(track.misses for track in active)
        if in_doubt or self._since_detection >= self.detect_every:
            self._since_detection = 0
            self._detect(image, seconds, patience=0 if is_cut else PATIENCE)
        faces = self._follow(image, seconds)
        active = self._active()
        if self.smooth and active:
            faces = self._smoothed(faces, active)
        return np.array([track.id for track in active], np.int64), faces

    def _active(self) -> list[Track]:
        return [track for track in self._tracks if track.misses <= PATIENCE]

    def _is_cut(self, image: np.ndarray) -> bool:
        """Whether the picture as a whole is another than in the frame before."""
        before = self._thumbnail
        self._thumbnail = cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA)
        return before is not None and bool(cv2.absdiff(before, self._thumbnail).mean() > CUT)

    def _detect(self, image: np.ndarray, seconds: float, patience: int) -> None:
        """Match detected faces to tracks; new tracks for those left over."""
        found = self.net.predict([image])  # D
        boxes = np.array([track.box for track in self._tracks]).reshape(-1, 4)
        table = overlaps(boxes, found.boxes)  # (T, D)
        row_of = match(table, SAME_FACE)
        tracked = [track.misses <= patience for track in self._tracks]
        for track in self._tracks:
            track.misses += 1 + PATIENCE - patience
        for column, (landmarks, score) in enumerate(
            zip(found.landmarks, found.scores.tolist(), strict=True)
        ):
            row = row_of.get(column)
            if row is None:
                track = Track(next(self._ids), landmarks, seconds, FaceSmoother(), score)
                self._tracks.append(track)
                continue
            track = self._tracks[row]
            track.misses, track.score = 0, score
            if not tracked[row] or table[row, column] < DRIFTED:
                track.landmarks, track.smoother = landmarks, FaceSmoother()

    def _follow(self, image: np.ndarray, seconds: float) -> Faces:
        """The faces of the active tracks, cut out around their last landmarks, which they renew.

        Tracks that ran away, or onto the face of an older one, end here.
        """
        for track in self._active():
            if not _can_be_cut_out(track.landmarks, image.shape):
                self._tracks.remove(track)
        active = self._active()
        landmarks = np.array([t.landmarks for t in active]).reshape(-1, 3, N_LANDMARKS)
        roi_boxes = square_box_from_landmarks(landmarks)
        index = np.zeros(len(active), np.int64)
        faces = self.net.predict_crops([image], index, roi_boxes, roi_boxes, exact=True)
        scores = np.array([track.score for track in active])
        faces = dataclasses.replace(faces, boxes=tight_box(faces.landmarks), scores=scores)
        kept = np.ones(len(active), bool)
        for row, (track, box) in enumerate(zip(active, faces.boxes, strict=True)):
            if (overlap(box, faces.boxes[:row][kept[:row]]) > TWINS).any():
                kept[row] = False
                self._tracks.remove(track)
            elif overlap(track.box, box[None])[0] < JUMPED:
                track.misses = max(track.misses, 1)  # for the detector to look at
            track.landmarks, track.seconds = faces.landmarks[row], seconds
        return faces[kept]

    def _smoothed(self, faces: Faces, tracks: list[Track]) -> Faces:
        params = [
            track.smoother(faces.params[row], track.landmarks, faces.roi_boxes[row], track.seconds)
            for row, track in enumerate(tracks)
        ]
        faces = decode_faces(
            faces.model,
            np.stack(params),
            faces.roi_boxes,
            faces.boxes,
            faces.image_index,
            faces.scores,
            faces.doubtful,
        )
        return dataclasses.replace(faces, boxes=tight_box(faces.landmarks))


def _can_be_cut_out(landmarks: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether the crop around landmarks is centred in the image and of a face's size."""
    height, width = shape[:2]
    sx, sy, ex, ey = square_box_from_landmarks(landmarks)
    centred = 0 <= (sx + ex) / 2 < width and 0 <= (sy + ey) / 2 < height
    return bool(centred and MIN_SIDE_PX <= ex - sx <= 2 * max(height, width))
