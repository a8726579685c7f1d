"""Photos in; landmarks, head pose and dense 3D faces out.

    net = SynergyNet()
    faces = net.predict([cv2.imread("photo.jpg")])
    faces.landmarks  # (N, 3, 68) photo px, y down
    faces.pose("exact").yaw  # (N,) degrees
    faces.vertices  # (N, 3, V) photo px, y down

Importing reads no file; building the object reads the face model; network and detector are loaded
when they are first needed. One object serves many threads, may be pickled, and works after a fork.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Sequence

import cv2
import numpy as np

from synergynet.detection.boxes import Choice
from synergynet.detection.detectors import Detector, make_detector
from synergynet.engines.backbone import Engine, make_engine
from synergynet.errors import InputError
from synergynet.faces import Faces, concatenate_faces, decode_faces
from synergynet.geometry.camera import move_params
from synergynet.geometry.crop import roi_box_from_face_box, square_box_from_landmarks
from synergynet.geometry.parameters import IMG_SIZE, N_PARAMS
from synergynet.photos.crops import blacken_border, network_crop
from synergynet.photos.lying_heads import find_lying_heads
from synergynet.photos.quarter_turns import turn_back, turns_to_upright
from synergynet.processes import load_ahead
from synergynet.weights import Weights, read_weights

FARTHEST_PX = 10_000_000  # that a box may reach beyond a photo
FACES_AT_ONCE = 64  # through the network, which takes 3 MB for each


class SynergyNet:
    """Face detector, network and face model together.

    Args:
        weights: ONNX file of `export.py --format runtime`, with its `.npz` beside it; None takes
            the open weights that the package holds. `Weights` where `engine` is a function.
        engine: auto, onnx (ONNX Runtime, which auto takes where it is installed) or opencv; or a
            function from crops (B, 120, 120, 3) uint8 BGR to whitened parameters (B, 62).
        detector: name for `make_detector`, or a function from a photo (H, W, 3) uint8 BGR to boxes
            (N, 5) x0 y0 x1 y1 score; a named one is built when first needed, so that photos with
            boxes need none.
        refine_crop: look twice: cut each face out again around its landmarks, as the training
            crops were cut, and with their black border. Boxes of detectors differ in how much
            forehead and cheek they hold, crops from landmarks do not.
    Attributes:
        choice: which of the faces that are detected are wanted; all, unless it is set.
    Raises:
        InputError: a file is missing or damaged, or two do not belong together.
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | Weights | None = None,
        engine: str | Engine = "auto",
        detector: str | Detector = "auto",
        refine_crop: bool = False,
    ) -> None:
        self.weights = weights if isinstance(weights, Weights) else read_weights(weights)
        self.model = self.weights.face_model
        self.engine: Engine = (
            make_engine(engine, self.weights.path) if isinstance(engine, str) else engine
        )
        self.refine_crop = refine_crop
        self.choice = Choice()
        self._detector = detector

    @functools.cached_property
    def detector(self) -> Detector:
        """From a photo (H, W, 3) to boxes (N, 5) of all its faces."""
        return make_detector(self._detector) if isinstance(self._detector, str) else self._detector

    def detect(self, photo: np.ndarray) -> np.ndarray:
        """Boxes (N, 5) x0 y0 x1 y1 score of the wanted faces of a photo (H, W, 3), surest first."""
        return self.choice.of(_as_boxes(self.detector(photo)))

    def load_ahead(self) -> None:
        """Begin to load detector and network in threads, while the caller reads the first photo.

        Raises:
            InputError: the detector's file is missing; other problems are raised at the first use.
        """
        load_ahead(self.detector)
        load_ahead(self.engine)

    def predict(
        self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray] | None = None
    ) -> Faces:
        """All faces of a list of photos, in one batch.

        Heads that lie are detected again in the photo turned upright, see `lying_heads`.

        Args:
            images: (H, W, 3) uint8 BGR each, of any sizes. Not modified.
            boxes: for each image the faces' boxes (n, 4) x0 y0 x1 y1, or (n, 5) with a score; None
                detects them.
        Returns:
            faces in the order of images and, within one, of boxes, surest first where detected.
        Raises:
            ValueError: `images` is not a list of (H, W, 3) uint8 photos, or `boxes` does not fit.
        """
        return self._predict(images, boxes, cv2.INTER_LINEAR)

    def _predict(
        self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray] | None, interpolation: int
    ) -> Faces:
        _check_photos(images)
        if boxes is None:
            faces = self._look(images, [self.detect(image) for image in images], interpolation)
            if turns_to_upright(faces.params).any():
                faces = self._with_lying_heads(images, faces, interpolation)
        elif len(boxes) == len(images):
            faces = self._look(images, [_as_boxes(rows) for rows in boxes], interpolation)
        else:
            raise ValueError(f"photos: {len(images)}, lists of boxes: {len(boxes)}")
        if not self.refine_crop:
            return faces
        roi_boxes = square_box_from_landmarks(faces.landmarks)
        again = self.predict_crops(images, faces.image_index, faces.boxes, roi_boxes, exact=True)
        return dataclasses.replace(again, scores=faces.scores, doubtful=faces.doubtful)

    def _look(
        self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray], interpolation: int
    ) -> Faces:
        """The faces in boxes (n, 5) of each image."""
        image_index = np.repeat(np.arange(len(images)), [len(rows) for rows in boxes])
        table = np.concatenate([np.empty((0, 5)), *boxes])
        roi_boxes = roi_box_from_face_box(table)
        faces = self.predict_crops(
            images, image_index, table[:, :4], roi_boxes, interpolation=interpolation
        )
        return dataclasses.replace(faces, scores=table[:, 4])

    def _with_lying_heads(
        self, images: Sequence[np.ndarray], faces: Faces, interpolation: int
    ) -> Faces:
        """The faces; those of heads that lie come from the photos turned upright."""

        def look(photo: np.ndarray) -> Faces:
            return self._look([photo], [self.detect(photo)], interpolation)

        parts = []
        for index, image in enumerate(images):
            part = find_lying_heads(look, image, faces.of_image(index))
            wanted = part[self.choice.rows(part.boxes, part.scores)]
            parts.append(dataclasses.replace(wanted, image_index=np.full(len(wanted), index)))
        return concatenate_faces(parts)

    def predict_crops(
        self,
        images: Sequence[np.ndarray],
        image_index: np.ndarray,
        boxes: np.ndarray,
        roi_boxes: np.ndarray,
        exact: bool = False,
        interpolation: int = cv2.INTER_LINEAR,
    ) -> Faces:
        """The faces in crop boxes that are known already, as when tracking a video.

        Args:
            images: (H, W, 3) uint8 BGR each.
            image_index, boxes, roi_boxes: see `Faces`.
            exact: whether the crops were cut around landmarks, as those of the training were; they
                get the black border that the weights were trained with.
            interpolation: of OpenCV, for the resize to 120 px.
        """
        params = np.empty((len(roi_boxes), N_PARAMS), np.float32)
        doubtful = np.empty(len(roi_boxes), bool)
        for start in range(0, len(roi_boxes), FACES_AT_ONCE):
            part = slice(start, start + FACES_AT_ONCE)
            crops = np.empty((len(roi_boxes[part]), IMG_SIZE, IMG_SIZE, 3), np.uint8)
            for crop, index, box in zip(crops, image_index[part], roi_boxes[part], strict=True):
                crop[:] = network_crop(images[index], box, interpolation)
            if exact:
                blacken_border(crops, self.weights.border_px)
            params[part], doubtful[part] = self._regress(crops)
        return decode_faces(self.model, params, roi_boxes, boxes, image_index, doubtful=doubtful)

    def _regress(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Real parameters (N, 62) of crops (N, 120, 120, 3), and which are doubtful (N,).

        Networks see few heads that lie. Where the first look finds one, the crop is turned upright
        for a second, which counts if it finds the head upright there; else it is in doubt.
        """
        doubtful = np.zeros(len(crops), bool)
        params = self.model.unwhiten(self.engine(crops))
        if not np.isfinite(params).all():
            raise InputError(f"{self.weights.path}: the network gives values that are not finite")
        turns = turns_to_upright(params)
        lying = np.flatnonzero(turns)
        if not len(lying):
            return params, doubtful
        upright = np.stack([np.rot90(crops[i], turns[i]) for i in lying])
        found = self.model.unwhiten(self.engine(upright))
        agrees = turns_to_upright(found) == 0
        doubtful[lying[~agrees]] = True
        lying, found = lying[agrees], found[agrees]
        params[lying] = move_params(found, turn_back(turns[lying]))
        return params, doubtful

    def get_all_outputs(
        self, image: np.ndarray
    ) -> tuple[list[np.ndarray], list[np.ndarray], list[list[np.ndarray]]]:
        """Everything about the faces of one photo, as the published system returns it.

        Crops are resized with Lanczos' kernel here, as there; `predict` does it bilinearly, as the
        training and benchmark crops were made.

        Args:
            image: (H, W, 3) uint8 BGR. Not modified.
        Returns:
            for each face its landmarks (3, 68), its vertices (3, V), both photo px with y down, and
            [angles (3) yaw pitch roll in degrees by the published decoding, translation (3)].
        """
        faces = self._predict([image], None, cv2.INTER_LANCZOS4)
        angles = np.stack(faces.pose("published"), axis=1)  # (N, 3)
        poses = [list(pair) for pair in zip(angles, faces.translations, strict=True)]
        return list(faces.landmarks), list(faces.vertices), poses


def _check_photos(images: Sequence[np.ndarray]) -> None:
    if isinstance(images, np.ndarray) and images.ndim == 3:
        raise ValueError("expected a list of photos, got one photo; pass [photo]")
    if not isinstance(images, (Sequence, np.ndarray)) or isinstance(images, (str, bytes)):
        raise ValueError(f"expected a list of photos, got {type(images).__name__}")
    for image in images:
        if not isinstance(image, np.ndarray):
            raise ValueError(
                f"expected photos as arrays, got {type(image).__name__}; "
                f"cv2.imread returns None for a file that it cannot read"
            )
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"expected (H, W, 3) uint8, got {image.shape} {image.dtype}")
        if not image.size:
            raise ValueError(f"expected a photo, got {image.shape}, which has no pixel")


def _as_boxes(rows: np.ndarray) -> np.ndarray:
    """Boxes of one image as (n, 5) float64, the score 1 where they have none.

    Raises:
        ValueError: no such numbers, another shape, or a box without area or far beside any photo.
    """
    try:
        table = np.asarray(rows, np.float64)
    except (TypeError, ValueError):
        raise ValueError("boxes are no numbers, expected (n, 4) x0 y0 x1 y1") from None
    if table.size == 0:
        return np.empty((0, 5))
    if table.ndim != 2 or table.shape[1] < 4:
        raise ValueError(f"boxes of shape {table.shape}, expected (n, 4) x0 y0 x1 y1")
    if not np.isfinite(table).all() or (table[:, 2:4] <= table[:, :2]).any():
        raise ValueError("boxes x0 y0 x1 y1 with x1 <= x0, y1 <= y0 or values that are not finite")
    if np.abs(table[:, :4]).max() > FARTHEST_PX:
        raise ValueError(f"boxes beside the photo, farther than {FARTHEST_PX:,} px")
    score = table[:, 4] if table.shape[1] > 4 else np.ones(len(table))
    return np.column_stack([table[:, :4], score])
