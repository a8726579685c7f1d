"""Overlays show landmarks where the picture has them, beside the label."""

import numpy as np
import torch

from synergynet import fileio
from synergynet.drawing import lines
from synergynet.geometry.pose import Pose
from utils.data.evaluation_crops import CROPS, EVAL, EvaluationCrops, EvaluationLabels, write_labels
from utils.evaluation import pictures
from utils.evaluation.sources import Prediction


def one_dot(folder) -> EvaluationCrops:
    """A grey crop with one white pixel, which all landmarks of the label but one are far from."""
    image = np.full((120, 120, 3), 90, np.uint8)
    image[70, 30] = 255
    fileio.write_image(folder / CROPS / "a.png", image)
    fileio.write_list(folder / "AFLW2000-3D_crop.list", ["a.png"])
    landmarks = np.full((1, 3, 68), 100.0)
    landmarks[0, :2, 8] = 30.5, 70.5  # the pixel's centre
    box, yaw = np.array([[0.0, 0, 120, 120]]), np.zeros(1)
    write_labels(folder / EVAL, EvaluationLabels(landmarks, None, yaw, box, None, None))
    return EvaluationCrops(folder)


def test_a_label_is_drawn_on_what_it_names(tmp_path):
    crops = one_dot(tmp_path)
    prediction = Prediction(landmarks=crops.labels.landmarks + 5)
    picture = pictures.draw_overlay(0, crops, prediction)
    scale = pictures.OVERLAY_PX // 120
    right = picture[: pictures.OVERLAY_PX, -pictures.OVERLAY_PX :]
    shown = right[70 * scale : 71 * scale, 30 * scale : 31 * scale]
    assert shown.mean() > 200  # the landmark's white dot covers the white pixel
    left = picture[: pictures.OVERLAY_PX, : pictures.OVERLAY_PX]
    moved = left[75 * scale : 76 * scale, 35 * scale : 36 * scale]
    assert moved.mean() > 200


def test_axes_are_drawn_when_there_is_a_rotation(tmp_path):
    crops = one_dot(tmp_path)
    landmarks = crops.labels.landmarks
    pose = Pose(*torch.zeros(3, 1))
    with_axes = Prediction(landmarks, torch.eye(3)[None], pose, pose)
    drawn = [pictures.draw_overlay(0, crops, p) for p in (Prediction(landmarks), with_axes)]
    red = [(picture == lines.AXES_BGR[0]).all(axis=2).sum() for picture in drawn]
    assert red[0] < red[1]


def test_captions_round_every_kind_of_float():
    text = pictures._angles(np.float32(65.6), -0.04, 18)
    assert text == "yaw 65.6, pitch 0.0, roll 18.0 degrees"
