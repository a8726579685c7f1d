"""Crop boxes against AFLW2000's, and the maps between crop and photo both ways."""

import numpy as np
import pytest

from synergynet.geometry import crop

SQUARE = np.array([12.0, 40.0, 252.0, 280.0])
CLIPPED = np.array([1.0, 30.0, 201.0, 450.0])  # 200 x 420: the scales of x and y differ


@pytest.mark.parametrize("box", [SQUARE, CLIPPED])
@pytest.mark.parametrize("rows", [2, 3])
def test_maps_are_inverse(box, rows):
    points = np.random.default_rng(1).uniform(0, 120, (5, rows, 68))
    before = points.copy()
    there = crop.crop_to_photo(points, box)
    np.testing.assert_allclose(crop.photo_to_crop(there, box), points, atol=1e-10)
    np.testing.assert_array_equal(points, before)


def test_the_crop_corners_are_the_box_and_z_takes_the_mean_scale():
    corners = np.array([[0.0, 120.0], [0.0, 120.0], [0.0, 120.0]])
    expected = [[1, 201], [30, 450], [0, (200 + 420) / 2]]
    np.testing.assert_allclose(crop.crop_to_photo(corners, CLIPPED), expected)


def test_boxes_broadcast_over_images():
    points = np.random.default_rng(2).uniform(0, 120, (2, 3, 68))
    both = crop.crop_to_photo(points, np.stack([SQUARE, CLIPPED]))
    one_by_one = [crop.crop_to_photo(p, b) for p, b in zip(points, (SQUARE, CLIPPED), strict=True)]
    np.testing.assert_array_equal(both, np.stack(one_by_one))


def test_roi_box_by_hand():
    landmarks = np.array([[100.0, 200.0], [150.0, 210.0]])  # 100 wide, 60 high, centre (150, 180)
    side = 141  # round(100 sqrt 2); start is round(150 - 70.71), round(180 - 70.71)
    box = crop.roi_box_from_landmarks(landmarks, 450, 450)
    assert box.tolist() == [79, 109, 79 + side, 109 + side]
    assert crop.roi_box_from_landmarks(landmarks, 200, 240).tolist() == [79, 109, 200, 240]
    assert crop.roi_box_from_landmarks(landmarks - 99, 450, 450).tolist()[:2] == [1, 10]


def test_roi_box_of_a_detectors_box_by_hand():
    box = np.array([10.0, 20, 110, 220])  # 200 high: the side is 240; centre (60, 120)
    assert crop.roi_box_from_face_box(box).tolist() == [-60, 0, 180, 240]


def test_roi_box_equals_all_2000_of_aflw2000(shared_folder):
    folder = shared_folder / "data" / "aflw2000_eval"
    landmarks = np.load(folder / "AFLW2000-3D.pts68.npy")
    truth = np.load(folder / "AFLW2000-3D_crop.roi_box.npy")
    boxes = crop.roi_box_from_landmarks(landmarks, 450, 450)
    np.testing.assert_array_equal(boxes, truth)
    not_square = (truth[:, 2] - truth[:, 0]) != (truth[:, 3] - truth[:, 1])
    assert not_square.sum() == 54  # the fixture exercises clipping
