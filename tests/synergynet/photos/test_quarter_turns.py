"""Quarter turns: where np.rot90 takes pixels, boxes and heads."""

from __future__ import annotations

import numpy as np
import pytest

from synergynet.geometry.camera import compose_camera, move_params, rotation_from_vector
from synergynet.geometry.parameters import N_POSE
from synergynet.photos.quarter_turns import turn_back, turn_boxes_back, turns_to_upright


@pytest.mark.parametrize("turns", range(4))
def test_points_go_back_to_the_pixel_they_came_from(turns):
    picture = np.arange(5 * 7).reshape(5, 7)
    turned = np.rot90(picture, turns)
    (back,) = turn_back(np.array([turns]), width=7, height=5)
    for row, column in np.ndindex(turned.shape):
        x, y = back[:, :2] @ (column + 0.5, row + 0.5) + back[:, 2]
        assert picture[int(y), int(x)] == turned[row, column]


@pytest.mark.parametrize("turns", range(4))
def test_boxes_go_back_to_what_they_held(turns):
    picture = np.zeros((60, 90), int)
    picture[10:30, 50:85] = 1
    rows, columns = np.nonzero(np.rot90(picture, turns))
    box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1, 0.8]
    found = turn_boxes_back(np.array([box, box]), turns, width=90, height=60)
    np.testing.assert_array_equal(found, [[50, 10, 85, 30, 0.8]] * 2)


def lying(angle_deg: float) -> np.ndarray:
    """Parameters (1, 62) of a head that nods and is turned clockwise in the image plane."""
    turn = rotation_from_vector(np.array([0, 0, -np.radians(angle_deg)]))  # y up: to the right
    nod = rotation_from_vector(np.array([0.4, 0.1, 0]))
    camera = compose_camera(np.array(1e-3), turn @ nod, np.array([60.0, 61, 0]))
    return np.concatenate([camera.reshape(N_POSE), np.ones(50)])[None]


@pytest.mark.parametrize(("angle_deg", "turns"), [(0, 0), (38, 0), (-38, 0), (52, 1), (90, 1),
                                                  (180, 2), (-90, 3), (-128, 3)])  # fmt: skip
def test_heads_are_turned_upright(angle_deg, turns):
    params = lying(angle_deg)
    assert turns_to_upright(params) == [turns]
    for more in range(4):  # the crop turned clockwise by `more`, and what then is to be done
        turned = move_params(params, turn_back(np.array([more])))
        assert turns_to_upright(turned) == [(turns + more) % 4]
