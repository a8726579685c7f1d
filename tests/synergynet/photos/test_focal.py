"""Focal lengths in JPEGs' EXIF: as Pillow writes them, and damaged in every way."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synergynet.photos.focal import find_exif, read_exif, read_focal_px

SHAPE = (60, 80)  # a diagonal of 100 px
PER_MM = 100 / np.hypot(36, 24)


def write_photo(path: Path, focal_mm: int | None, size: tuple[int, int] | None = None) -> Path:
    exif = Image.Exif()
    exif[0x0112] = 6
    folder = exif.get_ifd(0x8769)
    if focal_mm is not None:
        folder[0xA405] = focal_mm
    if size is not None:
        folder[0xA002], folder[0xA003] = size
    Image.new("RGB", SHAPE[::-1]).save(path, exif=exif)
    return path


@pytest.mark.parametrize("focal_mm", [13, 26, 400])
@pytest.mark.parametrize("size", [None, (80, 60), (4000, 3000), (3000, 4000)])
def test_the_equivalent_focal_length_goes_with_the_diagonal(tmp_path, focal_mm, size):
    path = write_photo(tmp_path / "photo.jpg", focal_mm, size)
    assert read_focal_px(path, (*SHAPE, 3)) == pytest.approx(focal_mm * PER_MM)
    assert read_focal_px(path, SHAPE[::-1]) == pytest.approx(focal_mm * PER_MM)


@pytest.mark.parametrize(
    ("focal_mm", "size"), [(None, None), (0, None), (60000, None), (26, (4000, 2250))]
)
def test_unknown_focal_lengths_and_cropped_pictures_give_none(tmp_path, focal_mm, size):
    assert read_focal_px(write_photo(tmp_path / "photo.jpg", focal_mm, size), SHAPE) is None


def test_other_files_give_none(tmp_path):
    plain, png = tmp_path / "plain.jpg", tmp_path / "photo.png"
    Image.new("RGB", (8, 8)).save(plain)
    write_photo(png, 26)
    for path in (plain, png, tmp_path / "absent.jpg", tmp_path):
        assert read_focal_px(path, SHAPE) is None


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders(order):
    head = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 8)
    first = struct.pack(f"{order}HHHIII", 1, 0x8769, 4, 1, 26, 0)
    second = struct.pack(f"{order}HHHIHHI", 1, 0xA405, 3, 1, 28, 0, 0)
    assert read_exif(head + first + second)[0xA405] == 28


def test_damaged_files_are_read_without_harm(tmp_path):
    """Every cut, and every byte changed: a number or None, no error."""
    data = write_photo(tmp_path / "photo.jpg", 26, (4000, 3000)).read_bytes()
    block = find_exif(data)
    assert read_exif(block)[0xA405] == 26
    for end in range(len(block)):
        read_exif(block[:end])
        read_exif(find_exif(data[:end]))
    for at in range(len(block)):
        for byte in (0, 255, block[at] ^ 1):
            read_exif(block[:at] + bytes([byte]) + block[at + 1 :])
    path = tmp_path / "changed.jpg"
    for at in range(0, 60):
        path.write_bytes(data[:at] + b"\xff" + data[at + 1 :])
        read_focal_px(path, SHAPE)


def test_a_file_that_cannot_be_read_gives_none(broken):
    assert read_focal_px(broken("photo.jpg"), SHAPE) is None
