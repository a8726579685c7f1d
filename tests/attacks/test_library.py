"""Photos and boxes that cannot be, given to the library: a ValueError that says what is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from synergynet import SynergyNet
from synergynet.detection.detectors import whole_photo

PHOTO = np.full((90, 120, 3), 99, np.uint8)
BOX = [[10.0, 10, 80, 80]]

# what, photos, boxes, what the error says: one line a case
CASES = [
    ("nothing", None, None, "expected a list of photos"),
    ("one photo", PHOTO, None, r"pass \[photo\]"),
    ("a name", "photo.jpg", None, "expected a list of photos"),
    ("a list of names", ["photo.jpg"], None, "expected photos as arrays, got str"),
    ("a list of nothing", [None], None, "cv2.imread returns None"),
    ("a list of lists", [[[1, 2, 3]]], None, "expected photos as arrays, got list"),
    ("a number", 3, None, "expected a list of photos"),
    ("grey", [PHOTO[..., 0]], None, r"expected \(H, W, 3\) uint8"),
    ("four channels", [np.zeros((9, 9, 4), np.uint8)], None, r"expected \(H, W, 3\) uint8"),
    ("floats", [PHOTO / 255], None, r"expected \(H, W, 3\) uint8"),
    ("16 bits", [PHOTO.astype(np.uint16)], None, r"expected \(H, W, 3\) uint8"),
    ("signed", [PHOTO.astype(np.int8)], None, r"expected \(H, W, 3\) uint8"),
    ("truths", [PHOTO > 3], None, r"expected \(H, W, 3\) uint8"),
    ("objects", [PHOTO.astype(object)], None, r"expected \(H, W, 3\) uint8"),
    ("channels first", [np.moveaxis(PHOTO, 2, 0)], None, r"expected \(H, W, 3\) uint8"),
    ("a batch in an array of floats", np.zeros((2, 9, 9, 3)), None, r"expected \(H, W, 3\) uint8"),
    ("no row", [PHOTO[:0]], None, "no pixel"),
    ("no column", [PHOTO[:, :0]], None, "no pixel"),
    ("boxes for another count", [PHOTO], [BOX, BOX], "photos: 1, lists of boxes: 2"),
    ("no list of boxes", [PHOTO], [], "photos: 1, lists of boxes: 0"),
    ("boxes of one list too few", [PHOTO], BOX, r"expected \(n, 4\)"),
    ("boxes of three numbers", [PHOTO], [[[1, 2, 3]]], r"expected \(n, 4\)"),
    ("boxes of text", [PHOTO], [[["a", "b", "c", "d"]]], "boxes"),
    ("boxes of nothing", [PHOTO], [[[None, 1, 2, 3]]], "not finite"),
    ("boxes of objects", [PHOTO], [[{"x": 1}]], "boxes"),
    ("boxes with nan", [PHOTO], [[[np.nan, 1, 2, 3]]], "not finite"),
    ("boxes without end", [PHOTO], [[[0, 0, np.inf, 3]]], "not finite"),
    ("swapped boxes", [PHOTO], [[[80, 80, 10, 10]]], "x1 <= x0"),
    ("boxes without height", [PHOTO], [[[10, 10, 80, 10]]], "y1 <= y0"),
    ("boxes beyond whole numbers", [PHOTO], [[[0, 0, 1e30, 1e30]]], "beside"),
    ("boxes far away", [PHOTO], [[[1e12, 0, 1e12 + 9, 9]]], "beside"),
]  # fmt: skip


@pytest.fixture(scope="module")
def net() -> SynergyNet:
    return SynergyNet(detector=whole_photo)


@pytest.mark.parametrize(
    ("photos", "boxes", "says"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_what_cannot_be_a_photo_or_a_box_is_named(net, photos, boxes, says):
    with pytest.raises(ValueError, match=says):
        net.predict(photos, boxes)


@pytest.mark.parametrize("side_px", [1e4, 1e6, 9e6])
def test_huge_boxes_cost_no_memory(net, side_px):
    faces = net.predict([PHOTO], [[[-side_px, -side_px, side_px, side_px]]])
    assert np.isfinite(faces.landmarks).all()
