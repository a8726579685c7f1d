"""A test crop with what a model predicts beside what its label says."""

from __future__ import annotations

import numpy as np

from utils import metrics, render
from utils.crop import photo_to_crop
from utils.ddfa import CROPS, EvaluationCrops, EvaluationLabels, read_crop
from utils.evaluation import Prediction
from utils.params import IMG_SIZE

OVERLAY_PX = 480
NOSE_TIP = 30  # of the 68 landmarks


def draw_overlay(index: int, crops: EvaluationCrops, prediction: Prediction) -> np.ndarray:
    """One crop twice, enlarged: predicted landmarks with the head's axes, and the true ones.

    Args:
        index: of the crop.
        crops: the test set.
        prediction: of this crop alone; it has landmarks.
    """
    labels = crops.labels
    crop = read_crop(crops.folder / CROPS / crops.names[index])
    image = render.enlarge(crop, OVERLAY_PX)
    box, truth_photo = labels.roi_box[index], labels.landmarks[index]
    predicted = _enlarged(photo_to_crop(prediction.landmarks[0], box))
    truth = _enlarged(photo_to_crop(truth_photo, box))
    left = render.draw_landmarks(image, predicted)
    right = render.draw_landmarks(image, truth, render.TRUTH_BGR)
    nme = metrics.landmark_nme(prediction.landmarks, truth_photo[None])[0]
    caption = [f"prediction: NME {100 * nme:.2f} %", ""]
    if prediction.rotation is not None:
        rotation = prediction.rotation[0].numpy()
        left = render.draw_pose_axes(left, rotation, predicted[:2, NOSE_TIP], OVERLAY_PX / 5)
        caption[1] = _angles(*(a.item() for a in prediction.exact))
    left = render.add_caption(left, caption)
    right = render.add_caption(
        right, [f"label: {crops.names[index]}", _label_angles(index, labels)]
    )
    return render.side_by_side([left, right])


def _enlarged(landmarks_crop: np.ndarray) -> np.ndarray:
    """Crop px, pixel j being the interval [j, j + 1], to pixel centres of the large picture."""
    return landmarks_crop * (OVERLAY_PX / IMG_SIZE) - 0.5


def _angles(yaw: float, pitch: float, roll: float) -> str:
    yaw, pitch, roll = (round(float(angle), 1) + 0.0 for angle in (yaw, pitch, roll))  # no -0.0
    return f"yaw {yaw:.1f}, pitch {pitch:.1f}, roll {roll:.1f} degrees"


def _label_angles(index: int, labels: EvaluationLabels) -> str:
    rows = labels.pose_rows
    if rows is None or index not in rows:
        return f"yaw {labels.yaw_deg[index]:.1f} degrees"
    pitch, yaw, roll = labels.pose_deg[np.searchsorted(rows, index)]
    return _angles(yaw, pitch, roll)
