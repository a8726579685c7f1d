"""The rasteriser's coordinates are exact: they are what makes synthetic labels exact."""

import numpy as np
import pytest

from synergynet.drawing.rasterize import (
    cover_pixels,
    rasterize,
    rasterize_depth,
    rasterize_triangles,
)


def quad(x0, y0, x1, y1, z):
    return [[x0, y0, z], [x1, y0, z], [x1, y1, z], [x0, y1, z]]


@pytest.fixture
def two_quads():
    """A rectangle at z = 40 and a smaller one over it at z = 50."""
    verts = np.array(quad(3, 5, 10, 20, 40) + quad(8, 5, 12, 9, 50), float)
    return verts, np.array([[0, 1, 2], [0, 2, 3], [4, 6, 5], [4, 7, 6]])


def test_covers_exactly_the_pixels_whose_centres_are_inside(two_quads):
    _, depth = rasterize(*two_quads, np.zeros((8, 3)), 30, 24)
    expected = np.zeros((30, 24), bool)
    expected[5:20, 3:10] = expected[5:9, 8:12] = True
    np.testing.assert_array_equal(np.isfinite(depth), expected)


def test_nearer_triangle_wins_whatever_its_orientation(two_quads):
    _, depth = rasterize(*two_quads, np.zeros((8, 3)), 30, 24)
    assert depth[6, 9] == pytest.approx(50, abs=0.01)
    assert depth[15, 9] == pytest.approx(40, abs=0.01)


def test_the_depth_alone_is_the_same(two_quads):
    _, depth = rasterize(*two_quads, np.zeros((8, 3)), 30, 24)
    np.testing.assert_array_equal(rasterize_depth(*two_quads, 30, 24), depth)


def test_attributes_are_interpolated_at_pixel_centres(two_quads):
    verts, triangles = two_quads
    attributes = np.zeros((8, 3))
    attributes[:, :2] = verts[:, :2] / (24, 30)
    image, _ = rasterize(verts, triangles[:2], attributes, 30, 24, background=0.5)
    np.testing.assert_allclose(image[10, 5, :2] * (24, 30), (5.5, 10.5), atol=1e-3)
    assert (image[0, 0] == 0.5).all()


def test_depth_does_not_shift_the_picture():
    """Weak perspective: a square stands at the same pixels at any depth, off the centre too."""
    masks = []
    for z in (-2000.0, 0.0, 2000.0):
        verts = np.array(quad(50.2, 3.2, 60.8, 9.8, z))
        _, depth = rasterize(verts, np.array([[0, 1, 2], [0, 2, 3]]), np.zeros((4, 3)), 64, 64)
        masks.append(np.isfinite(depth))
    assert masks[0].sum() == 11 * 7
    np.testing.assert_array_equal(masks[0], masks[1])
    np.testing.assert_array_equal(masks[0], masks[2])


def test_triangles_and_weights_interpolate_as_attributes_do():
    rng = np.random.default_rng(3)
    verts = rng.uniform(0, 40, (60, 3))
    triangles = rng.integers(0, 60, (200, 3))
    attributes = rng.uniform(0, 1, (60, 3))
    expected, expected_depth = rasterize(verts, triangles, attributes, 40, 40, background=-1)
    triangle, weights, depth = rasterize_triangles(verts, triangles, 40, 40)
    np.testing.assert_array_equal(depth, expected_depth)
    np.testing.assert_array_equal(triangle < 0, depth == -np.inf)
    seen = triangle >= 0
    corners = attributes[triangles[triangle[seen]]]  # (M, 3, 3)
    found = (corners * weights[seen][..., None]).sum(1)
    np.testing.assert_allclose(found, expected[seen], atol=1e-4)


def test_triangles_that_cover_no_pixel_are_not_missed():
    """Triangles of about a pixel, some across the border, others beyond it."""
    rng = np.random.default_rng(4)
    middle = rng.uniform(-8, 48, (3000, 1, 2))
    verts = np.zeros((3000, 3, 3), np.float32)
    verts[..., :2] = middle + rng.normal(0, 0.5, (3000, 3, 2))
    verts[..., 2] = rng.uniform(-9, 9, (3000, 1))
    verts, triangles = verts.reshape(-1, 3), np.arange(9000).reshape(-1, 3)
    kept = np.flatnonzero(cover_pixels(verts[:, :2].T, triangles.T, 40))
    expected, expected_weights, _ = rasterize_triangles(verts, triangles, 40, 40)
    found, weights, _ = rasterize_triangles(verts, triangles[kept], 40, 40)
    np.testing.assert_array_equal(np.where(found < 0, -1, kept[found]), expected)
    np.testing.assert_array_equal(weights, expected_weights)
    assert len(np.unique(expected)) - 1 <= len(kept) < 0.6 * len(triangles)


@pytest.mark.parametrize(
    ("low", "high", "covers"),
    [(3.1, 3.4, False), (3.5, 3.5, True), (3.6, 4.4, False), (3.4, 3.6, True), (-2, 0.4, False),
     (-2, 0.5, True), (39.5, 44, True), (39.6, 44, False), (40, 44, False), (-5, 0, False)],
)  # fmt: skip
def test_pixel_centres_are_at_halves(low, high, covers):
    along, across = [low, high, high], [3.0, 9.0, 30.0]
    for axes in ((along, across), (across, along)):
        found = cover_pixels(np.float32(axes), np.array([[0], [1], [2]]), 40)
        assert found.tolist() == [covers]
