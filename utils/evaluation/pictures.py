"""Pictures of a benchmark: its first images with prediction and label, and error curves."""

from __future__ import annotations

import numpy as np

from synergynet import fileio
from synergynet.drawing import lines
from synergynet.geometry.crop import photo_to_crop
from synergynet.geometry.parameters import IMG_SIZE
from utils.data.evaluation_crops import CROPS, EvaluationCrops, EvaluationLabels
from utils.data.loader import read_crop
from utils.evaluation import metrics, plots
from utils.evaluation.results import N_OVERLAYS, Results
from utils.evaluation.sources import Prediction
from utils.evaluation.summary import Entry

OVERLAY_PX = 480
NOSE_TIP = 30  # of the 68 landmarks


def write_pictures(results: Results, entries: list[Entry]) -> None:
    """Write overlays 0.png ... 49.png of the first model, and ced.png and error_vs_yaw.png.

    Models without landmarks have no pictures.
    """
    entries = [entry for entry in entries if entry.errors.nme is not None]
    if not entries:
        return
    crops = entries[0].source.crops
    count = min(N_OVERLAYS, len(crops))
    batches = entries[0].source.predict(np.arange(count))
    for index, prediction in enumerate(one for batch in batches for one in batch.split()):
        fileio.write_image(results.path(f"{index}.png"), draw_overlay(index, crops, prediction))
    curves = {entry.name: 100 * entry.errors.nme for entry in entries}
    if len(entries) == 1 and entries[0].errors.nme_reannotated is not None:
        curves["re-annotated labels"] = 100 * entries[0].errors.nme_reannotated
    title = f"{len(crops)} images of {entries[0].result['data']}"
    fileio.write_image(results.path("ced.png"), plots.cumulative_error_plot(curves, title))
    nme = 100 * entries[0].errors.nme
    plot = plots.error_against_yaw_plot(nme, crops.labels.yaw_deg, title)
    fileio.write_image(results.path("error_vs_yaw.png"), plot)


def draw_overlay(index: int, crops: EvaluationCrops, prediction: Prediction) -> np.ndarray:
    """One crop twice, enlarged: predicted landmarks with the head's axes, and the true ones.

    Args:
        index: of the crop.
        crops: the test set.
        prediction: of this crop alone; it has landmarks.
    """
    labels = crops.labels
    crop = read_crop(crops.folder / CROPS / crops.names[index])
    image = lines.enlarge(crop, OVERLAY_PX)
    box, truth_photo = labels.roi_box[index], labels.landmarks[index]
    predicted = _enlarged(photo_to_crop(prediction.landmarks[0], box))
    truth = _enlarged(photo_to_crop(truth_photo, box))
    left = lines.draw_landmarks(image, predicted)
    right = lines.draw_landmarks(image, truth, lines.TRUTH_BGR)
    nme = metrics.landmark_nme(prediction.landmarks, truth_photo[None])[0]
    caption = [f"prediction: NME {100 * nme:.2f} %", ""]
    if prediction.rotation is not None:
        rotation = prediction.rotation[0].numpy()
        left = lines.draw_pose_axes(left, rotation, predicted[:2, NOSE_TIP], OVERLAY_PX / 5)
        caption[1] = _angles(*(a.item() for a in prediction.exact))
    left = lines.add_caption(left, caption)
    right = lines.add_caption(right, [f"label: {crops.names[index]}", _label_angles(index, labels)])
    return lines.side_by_side([left, right])


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
