"""The 68 landmarks as a linear model in numpy, and parameters that move between photo and crop.

Data preparation works with *photo parameters*: the 62 numbers for the box (0, 0, 120, 120), whose
crop px are photo px. For any other box only the pose block changes, and it does so exactly.

Source: 3DDFA (Zhu et al., PAMI 2017) for the parametrisation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from synergynet.geometry.crop import crop_to_photo, photo_to_crop
from synergynet.params import (
    EXPR,
    IMG_SIZE,
    N_EXPR,
    N_LANDMARKS,
    N_POSE,
    N_SHAPE,
    POSE,
    SHAPE,
    MorphableModel,
)

PHOTO_BOX = np.array([0, 0, IMG_SIZE, IMG_SIZE])  # the box of photo parameters


@dataclasses.dataclass(frozen=True)
class LandmarkModel:
    """`X = mean + shp a_shp + expr a_exp` for the landmarks only, float64.

    Attributes:
        mean: (68, 3); shp: (68, 3, 40); expr: (68, 3, 10), micrometres, y up.
        param_mean, param_std: (62,) whitening of the morphable model.
    """

    mean: np.ndarray
    shp: np.ndarray
    expr: np.ndarray
    param_mean: np.ndarray
    param_std: np.ndarray

    @classmethod
    def of(cls, morphable: MorphableModel) -> LandmarkModel:
        """The landmarks of a morphable model."""
        rows = morphable.keypoints
        return cls(
            mean=morphable.u[rows].double().numpy().reshape(N_LANDMARKS, 3),
            shp=morphable.w_shp[rows].double().numpy().reshape(N_LANDMARKS, 3, N_SHAPE),
            expr=morphable.w_exp[rows].double().numpy().reshape(N_LANDMARKS, 3, N_EXPR),
            param_mean=morphable.param_mean.double().numpy(),
            param_std=morphable.param_std.double().numpy(),
        )

    def decode(self, params: np.ndarray) -> np.ndarray:
        """Landmarks (3, 68) of real parameters (62,), px of the crop they are for, y down."""
        model = self.mean + self.shp @ params[SHAPE] + self.expr @ params[EXPR]  # (68, 3)
        camera = params[POSE].reshape(3, 4)
        points = camera[:, :3] @ model.T + camera[:, 3:]  # (3, 68), y up
        return _turn_y(points)


def params_to_crop(params: np.ndarray, roi_box: np.ndarray) -> np.ndarray:
    """Photo parameters (62,) for the crop `roi_box` (4,) of the photo. Not modified."""
    return _move(params, photo_to_crop, roi_box)


def params_to_photo(params: np.ndarray, roi_box: np.ndarray) -> np.ndarray:
    """The inverse of `params_to_crop`."""
    return _move(params, crop_to_photo, roi_box)


def _move(params: np.ndarray, move: Callable, roi_box: np.ndarray) -> np.ndarray:
    # a camera is where the ends of the model's axes and their origin go, and points can be moved
    camera = params[POSE].reshape(3, 4)
    points = np.column_stack([camera[:, :3] + camera[:, 3:], camera[:, 3]])  # (3, 4), y up
    points = _turn_y(move(_turn_y(points), roi_box))
    camera = np.column_stack([points[:, :3] - points[:, 3:], points[:, 3]])
    return np.concatenate([camera.reshape(N_POSE), params[N_POSE:]])


def _turn_y(points: np.ndarray) -> np.ndarray:
    """y up to y down and back, (3, N)."""
    return np.stack([points[0], IMG_SIZE + 1 - points[1], points[2]])
