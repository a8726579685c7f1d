"""The 68 landmarks as a linear model in float64, for fits and labels.

Data preparation works with *photo parameters*: the 62 numbers for the box (0, 0, 120, 120), whose
crop px are photo px; `geometry.camera` moves them to any other box.

Source: 3DDFA (Zhu et al., PAMI 2017) for the parametrisation.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from synergynet.face_model import MorphableModel
from synergynet.geometry.decoding import decode_points
from synergynet.geometry.parameters import IMG_SIZE, N_EXPR, N_LANDMARKS, N_SHAPE

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
            mean=morphable.u[rows].double().cpu().numpy().reshape(N_LANDMARKS, 3),
            shp=morphable.w_shp[rows].double().cpu().numpy().reshape(N_LANDMARKS, 3, N_SHAPE),
            expr=morphable.w_exp[rows].double().cpu().numpy().reshape(N_LANDMARKS, 3, N_EXPR),
            param_mean=morphable.param_mean.double().cpu().numpy(),
            param_std=morphable.param_std.double().cpu().numpy(),
        )

    def decode(self, params: np.ndarray) -> np.ndarray:
        """Landmarks (3, 68) of real parameters (62,), px of the crop they are for, y down."""
        rows = 3 * N_LANDMARKS
        shp, expr = self.shp.reshape(rows, N_SHAPE), self.expr.reshape(rows, N_EXPR)
        return decode_points(params[None], self.mean.reshape(rows, 1), shp, expr)[0]
