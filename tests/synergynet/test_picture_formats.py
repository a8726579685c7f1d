"""Pictures of kinds that OpenCV alone reads wrong or not at all."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest

from synergynet import fileio, picture_formats

QUARTERS = np.zeros((48, 80, 3), np.uint8)  # of four colours, so that every turn shows
QUARTERS[:24, :40], QUARTERS[:24, 40:] = (250, 0, 0), (0, 250, 0)
QUARTERS[24:, :40], QUARTERS[24:, 40:] = (0, 0, 250), (250, 250, 250)
MOST_DIFFERENCE = 25  # of a lossy format


@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_pictures_are_turned_as_their_file_says(orientation):
    pillow = pytest.importorskip("PIL.Image")
    features, operations = (pytest.importorskip(f"PIL.{n}") for n in ("features", "ImageOps"))
    if not features.check("avif"):
        pytest.skip("needs Pillow with AVIF")
    file, exif = io.BytesIO(), pillow.Exif()
    exif[0x0112] = orientation
    pillow.fromarray(QUARTERS[:, :, ::-1]).save(file, "AVIF", exif=exif, quality=95)
    expected = operations.exif_transpose(pillow.open(file)).convert("RGB")
    found = picture_formats.decode(file.getvalue())
    assert found.shape == ((48, 80, 3) if orientation < 5 else (80, 48, 3))
    difference = cv2.absdiff(found, np.ascontiguousarray(np.asarray(expected)[:, :, ::-1]))
    assert difference.max() < MOST_DIFFERENCE


@pytest.mark.parametrize("cut", [40, 60, 100, 200])
def test_spoilt_avif_pictures_are_refused_or_read(cut):
    ok, data = cv2.imencode(".avif", QUARTERS)
    if not ok:
        pytest.skip("needs an OpenCV that writes AVIF")
    picture_formats.decode(data.tobytes()[:cut] + bytes(8) + data.tobytes()[cut:])


@pytest.mark.parametrize("white", [1.0, 0.5, 255.0, 4000.0])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_tiff_pictures_of_many_bits(tmp_path, dtype, white):
    """From 0 to 1, as they should be, or from 0 to their largest number."""
    if dtype == "int32" and white <= 1:
        return
    cv2.imwrite(str(tmp_path / "a.tiff"), (QUARTERS / 250 * white).astype(dtype))
    expected = QUARTERS / 250 * (255 * min(1, white))
    np.testing.assert_allclose(fileio.read_image(tmp_path / "a.tiff"), expected, atol=1)


def test_grey_tiff_and_numbers_that_are_none(tmp_path):
    values = np.full((9, 9), 0.5, np.float32)
    values[0, :3] = np.nan, np.inf, -1
    cv2.imwrite(str(tmp_path / "a.tiff"), values)
    image = fileio.read_image(tmp_path / "a.tiff")
    assert image[0, :3].max() == 0
    assert (image[1:] == 128).all()
