"""Drawings land where the numbers say, and change nothing they are given."""

import numpy as np
import pytest

from synergynet.drawing import lines

BLACK = np.zeros((480, 480, 3), np.uint8)


def grid_landmarks() -> np.ndarray:
    """68 landmarks 40 px apart, (3, 68), in reading order."""
    index = np.arange(68)
    return np.stack([40 + 40 * (index % 10), 40 + 40 * (index // 10), np.zeros(68)])


def test_face_parts_cover_68_landmarks_once():
    members = [i for part, _ in lines.FACE_PARTS.values() for i in part]
    assert members == list(range(68))


def test_landmarks_are_drawn_at_their_places_with_lines_by_part():
    landmarks = grid_landmarks()
    image = lines.draw_landmarks(BLACK, landmarks)
    assert not BLACK.any()
    for x, y in landmarks[:2].T.astype(int):
        assert (image[y, x] > 200).all()  # white dots
    assert (image[40, 60] == lines.PREDICTION_BGR).all()  # between 0 and 1, both jaw
    between_jaw_and_brow = image[80, 300]  # 16 and 17 are neighbours but of two parts
    assert not between_jaw_and_brow.any()
    closing = image[200 - 2 : 200 + 3, 160:200]  # eye 36..41 closes from 41 (80, 200) to 36
    assert closing.any()


def test_dots_of_hidden_landmarks_are_hollow():
    landmarks, visible = grid_landmarks(), np.arange(68) % 3 > 0
    image = lines.draw_landmarks(BLACK, landmarks, visible=visible)
    full = lines.draw_landmarks(BLACK, landmarks)
    for (x, y), is_seen in zip(landmarks[:2].T.astype(int), visible, strict=True):
        dot, ring = image[y, x], image[y - 4 : y + 5, x]
        assert (dot == full[y, x]).all() if is_seen else (dot < 60).all()
        assert ring.max() > 150  # white around the hollow too
    np.testing.assert_array_equal(
        lines.draw_landmarks(BLACK, landmarks, visible=visible | True), full
    )
    small = lines.draw_landmarks(BLACK, landmarks / 4, crop_px=120, visible=visible)
    np.testing.assert_array_equal(small, lines.draw_landmarks(BLACK, landmarks / 4, crop_px=120))


def test_subpixel_places_move_the_drawing():
    landmarks = grid_landmarks()
    shifted = lines.draw_landmarks(BLACK, landmarks + 0.5)
    assert (shifted != lines.draw_landmarks(BLACK, landmarks)).any()


def test_landmarks_far_outside_do_not_break_the_drawing():
    lines.draw_landmarks(BLACK, grid_landmarks() * 1e7)


@pytest.mark.parametrize(("axis", "place"), [(0, (340, 240)), (1, (240, 340))])
def test_axes_of_a_frontal_head_point_right_and_down(axis, place):
    image = lines.draw_pose_axes(BLACK, np.eye(3), np.array([240, 240]), length_px=100)
    x, y = place
    inside = tuple(np.array([y, x]) - (np.array([y, x]) - 240) // 10)
    assert (image[inside] == lines.AXES_BGR[axis]).all()
    assert not BLACK.any()


def test_a_head_turned_to_its_side_points_its_blue_axis_there():
    turned = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]])  # z of the model to +x of the crop
    image = lines.draw_pose_axes(BLACK, turned, np.array([240, 240]), length_px=100)
    assert (image[240, 330] == lines.AXES_BGR[2]).all()


def test_enlarge_caption_and_side_by_side_have_the_expected_sizes():
    image = np.full((120, 120, 3), 77, np.uint8)
    large = lines.enlarge(image, 480)
    assert large.shape == (480, 480, 3)
    assert (large == 77).all()
    captioned = lines.add_caption(large, ["one", "two"])
    assert captioned.shape[0] > 480
    assert captioned.shape[1] == 480
    assert (captioned[480:] > 200).any()  # there is text
    assert lines.side_by_side([captioned, captioned]).shape[1] == 480 * 2 + 6


def test_drawing_in_place_gives_the_same_picture():
    drawn, axes = BLACK.copy(), BLACK.copy()
    assert lines.draw_landmarks(drawn, grid_landmarks(), in_place=True) is drawn
    np.testing.assert_array_equal(drawn, lines.draw_landmarks(BLACK, grid_landmarks()))
    place = np.array([240, 240])
    assert lines.draw_pose_axes(axes, np.eye(3), place, 100, in_place=True) is axes
    np.testing.assert_array_equal(axes, lines.draw_pose_axes(BLACK, np.eye(3), place, 100))
    assert not BLACK.any()
