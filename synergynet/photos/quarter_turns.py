"""Pictures and crops turned by quarter turns: faces that lie or stand on their heads.

A quarter turn moves pixels and changes none. `np.rot90` counts them counter-clockwise, and so does
everything here. Points are in continuous px, y down: pixel j is the interval [j, j + 1].
"""

from __future__ import annotations

import numpy as np

from synergynet.geometry.parameters import IMG_SIZE
from synergynet.geometry.pose import in_plane_angle

# where (x, y) of a picture turned by k quarters was in the picture of width w and height h, as
# x0 + x a + y b; x0 in units of w and h
_A = np.array([[[1, 0], [0, 1]], [[0, -1], [1, 0]], [[-1, 0], [0, -1]], [[0, 1], [-1, 0]]])
_START = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])


def turns_to_upright(params: np.ndarray) -> np.ndarray:
    """Quarter turns (N,), 0 to 3, of their crops that bring heads within 45 degrees of upright.

    Args:
        params: (N, 62) real.
    """
    quarters = np.nan_to_num(in_plane_angle(params) / 90)  # of no head at all: none
    return np.round(quarters).astype(int) % 4


def turn_back(turns: np.ndarray, width: float = IMG_SIZE, height: float = IMG_SIZE) -> np.ndarray:
    """Maps (N, 2, 3) from pictures turned by quarter turns (N,) to the picture itself, px, y down.

    Args:
        turns: of `np.rot90`.
        width, height: of the picture itself.
    """
    shift = _START[turns] * (width, height)
    return np.concatenate([_A[turns], shift[:, :, None]], axis=2).astype(np.float64)


def turn_boxes_back(boxes: np.ndarray, turns: int, width: float, height: float) -> np.ndarray:
    """Boxes (N, 4 or more) x0 y0 x1 y1 of a turned picture in the picture itself.

    Args:
        boxes: more columns stay as they are. Not modified.
        turns: of `np.rot90`.
        width, height: of the picture itself.
    """
    (to_picture,) = turn_back(np.array([turns]), width, height)
    corners = boxes[:, :4].reshape(-1, 2, 2) @ to_picture[:, :2].T + to_picture[:, 2]
    low, high = corners.min(axis=1), corners.max(axis=1)
    return np.concatenate([low, high, boxes[:, 4:]], axis=1)
