"""Tiles show the face with its landmarks in place; sheets have rows of at most four."""

import numpy as np

from synergynet.drawing.tiles import COLUMNS, TILE_PX, contact_sheet, face_tile


def test_a_tile_is_the_face_with_its_landmarks():
    rng = np.random.default_rng(0)
    landmarks = rng.uniform(100, 200, (3, 68))
    image = np.zeros((300, 300, 3), np.uint8)
    plain = face_tile(image, landmarks, None, ["one", "two"])
    both = face_tile(image, landmarks, landmarks[:2] + 10, ["one", "two"])
    assert plain.shape == both.shape
    assert plain.shape[0] > plain.shape[1] == TILE_PX
    drawn = plain[:TILE_PX].any(2)
    side = 100 * np.sqrt(2)  # nearly, of the box around random points in [100, 200]
    rows, columns = drawn.nonzero()
    for found, axis in ((columns, 0), (rows, 1)):
        expected = (landmarks[axis].max() - landmarks[axis].min()) / side * TILE_PX
        assert abs(np.ptp(found) - expected) < 0.06 * TILE_PX
    assert (both != plain).any()
    assert not image.any()


def test_sheets_are_filled_with_black():
    tiles = [np.full((10, 20, 3), value, np.uint8) for value in range(1, COLUMNS + 2)]
    sheet = contact_sheet(tiles)
    assert sheet.shape == (20, 20 * COLUMNS, 3)
    np.testing.assert_array_equal(sheet[0, ::20, 0], range(1, COLUMNS + 1))
    np.testing.assert_array_equal(sheet[10, ::20, 0], [COLUMNS + 1] + [0] * (COLUMNS - 1))
    assert contact_sheet(tiles[:2]).shape == (10, 40, 3)
