"""SynergyNet as a library: photos in; landmarks, head pose and dense 3D faces out.

    from synergy3DMM import SynergyNet

    net = SynergyNet()
    faces = net.predict([cv2.imread("photo.jpg")])
    faces.landmarks  # (N, 3, 68) photo px, y down
    faces.pose("exact").yaw  # (N,) degrees
    faces.vertices  # (N, 3, V) photo px, y down

Importing reads no file; building the object reads weights and face model.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from model_building import load_model
from synergynet.detection.detectors import Detector, make_detector
from synergynet.faces import Faces, decode_faces
from synergynet.geometry.crop import network_crop, roi_box_from_face_box, square_box_from_landmarks
from synergynet.params import BFM_FOLDER, N_PARAMS, REQUIRED_FILES, ROOT
from utils.data.ddfa import BENCHMARK, IN_THE_WILD, Preset, preprocess
from utils.inference.regressor import choose_device, make_regressor

PUBLISHED_WEIGHTS = ROOT / "pretrained" / "best.pth.tar"
OPEN_WEIGHTS = ROOT / "pretrained" / "open_mobilenet_v2.pth.tar"


def default_weights() -> Path:
    """The published weights when they and the Basel Face Model are there, else the open ones."""
    files = [PUBLISHED_WEIGHTS, *(BFM_FOLDER / name for name in REQUIRED_FILES)]
    return PUBLISHED_WEIGHTS if all(file.is_file() for file in files) else OPEN_WEIGHTS


class SynergyNet:
    """Face detector, network and face model together.

    Args:
        weights: checkpoint; None takes `default_weights`.
        device: auto, cpu, cuda, or a GPU's number.
        morphable: 3dmm_data folder; None is the checkpoint's own.
        detector: name for `make_detector`, or a function from a photo to its boxes; it is built
            when first needed, so that photos with boxes need none.
        engine: auto, torch or onnx (ONNX Runtime, which auto takes on CPUs when it is installed).
        refine_crop: look twice: cut each face out again around its landmarks, as the training
            crops were cut, and with their black border. Boxes of detectors differ in how much
            forehead and cheek they hold, crops from landmarks do not.
        arch: overrides what the checkpoint says.
        whitening: file of mean and standard deviation, for weights that carry none (3DDFA_V2).
    Raises:
        InputError: a file is missing or damaged, or two do not belong together.
    """

    def __init__(
        self,
        weights: str | os.PathLike | None = None,
        device: str = "auto",
        morphable: str | os.PathLike | None = None,
        detector: str | Detector = "auto",
        engine: str = "auto",
        *,
        refine_crop: bool = False,
        arch: str | None = None,
        whitening: str | os.PathLike | None = None,
    ):
        self.weights = Path(weights) if weights is not None else default_weights()
        self.device = choose_device(device)
        self.model = load_model(self.weights, arch, morphable, whitening).eval().to(self.device)
        self.regress = make_regressor(self.model, engine=engine)
        self.refine_crop = refine_crop
        self._detector = detector

    @functools.cached_property
    def detect(self) -> Detector:
        """From a photo (H, W, 3) to boxes (N, 5) x0 y0 x1 y1 score, surest first."""
        return make_detector(self._detector) if isinstance(self._detector, str) else self._detector

    def predict(
        self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray] | None = None
    ) -> Faces:
        """All faces of a list of photos, in one batch.

        Args:
            images: (H, W, 3) uint8 BGR each, of any sizes. Not modified.
            boxes: for each image the faces' boxes (n, 4 or more) x0 y0 x1 y1; None detects them.
        Returns:
            faces in the order of images and, within one, of boxes.
        Raises:
            ValueError: an image is not (H, W, 3) uint8, or `boxes` is of another length.
        """
        for image in images:
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
                raise ValueError(f"expected (H, W, 3) uint8, got {image.shape} {image.dtype}")
        if boxes is None:
            boxes = [self.detect(image) for image in images]
        if len(boxes) != len(images):
            raise ValueError(f"{len(images)} photos, boxes of {len(boxes)}")
        image_index = np.repeat(np.arange(len(images)), [len(rows) for rows in boxes])
        boxes = np.concatenate([np.empty((0, 4)), *(np.asarray(b)[:, :4] for b in boxes)])
        faces = self.predict_crops(images, image_index, boxes, roi_box_from_face_box(boxes))
        if self.refine_crop:
            roi_boxes = square_box_from_landmarks(faces.landmarks)
            faces = self.predict_crops(images, image_index, boxes, roi_boxes, BENCHMARK)
        return faces

    def predict_crops(
        self,
        images: Sequence[np.ndarray],
        image_index: np.ndarray,
        boxes: np.ndarray,
        roi_boxes: np.ndarray,
        preset: Preset = IN_THE_WILD,
    ) -> Faces:
        """The faces in crop boxes that are known already, as when tracking a video.

        Args:
            images: (H, W, 3) uint8 BGR each.
            image_index, boxes, roi_boxes: see `synergynet.faces.Faces`.
            preset: pre-processing.
        """
        params_w = torch.empty(0, N_PARAMS)
        if len(roi_boxes):
            pairs = zip(image_index, roi_boxes, strict=True)
            crops = np.stack([network_crop(images[index], box) for index, box in pairs])
            params_w = self.regress(preprocess(torch.from_numpy(crops).to(self.device), preset))
        return decode_faces(self.model, params_w, roi_boxes, boxes, image_index)

    def get_all_outputs(
        self, image: np.ndarray
    ) -> tuple[list[np.ndarray], list[np.ndarray], list[list[np.ndarray]]]:
        """Everything about the faces of one photo, as the published system returns it.

        Args:
            image: (H, W, 3) uint8 BGR. Not modified.
        Returns:
            for each face its landmarks (3, 68), its vertices (3, V), both photo px with y down, and
            [angles (3) yaw pitch roll in degrees by the published decoding, translation (3)].
        """
        faces = self.predict([image])
        angles = np.stack(faces.pose("published"), axis=1)  # (N, 3)
        poses = [list(pair) for pair in zip(angles, faces.translations, strict=True)]
        return list(faces.landmarks), list(faces.vertices), poses
