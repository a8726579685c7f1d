"""Textures hold what the photo shows, and the other half where it shows nothing."""

import dataclasses

import cv2
import numpy as np
import pytest

from synergynet.drawing import maps, texture
from synergynet.drawing.texture import Unwrapping
from synergynet.morphable_folder import read_morphable_folder

SIZE = 256


@pytest.fixture(scope="module")
def unwrapping(morphable):
    return texture.unwrap_model(morphable)


def paint(morphable, verts, colours, shape):
    """A photo of a face whose vertices have these colours (V, 3), 0 to 1."""
    return maps._paint([verts], morphable.triangles, [colours], shape)


@pytest.fixture(scope="module")
def gradient(morphable):
    """Smooth colours (V, 3), 0 to 1, that tell every place, alike in both halves."""
    x, y, z = morphable.mean_face.T
    values = np.column_stack([np.abs(x), y, z])
    return 0.1 + 0.8 * (values - values.min(0)) / np.ptp(values, axis=0)


# ---------------------------------------------------------------- coordinates


def test_cylinder_coordinates_are_symmetric_and_within_the_texture(morphable, unwrapping):
    uv, mirror = unwrapping.uv, unwrapping.mirror_uv
    assert uv.min() >= 0.009
    assert uv.max() <= 0.991
    # of a symmetric face the other half's place is the reflected one
    error = np.abs(mirror - np.column_stack([1 - uv[:, 0], uv[:, 1]]))
    assert np.quantile(error, 0.95) < 0.01
    nose = morphable.mean_face[:, 2].argmax()
    assert uv[nose, 0] == pytest.approx(0.5, abs=0.01)
    left_of_subject = morphable.u.reshape(-1, 3)[:, 0].argmax()
    assert uv[left_of_subject, 0] > 0.7


def test_cylinder_of_a_cylinder_is_its_angle_and_height():
    angle, height = np.meshgrid(np.linspace(-1.2, 1.2, 9), np.linspace(-3, 5, 7))
    points = np.column_stack([np.sin(angle.flat), height.flat, np.cos(angle.flat)])
    want = np.column_stack([(angle.ravel() + 1.2) / 2.4, (height.ravel() + 3) / 8])
    margin = texture.MARGIN
    np.testing.assert_allclose(
        texture.cylinder_uv(points), margin + (1 - 2 * margin) * want, atol=1e-9
    )


def test_a_models_own_coordinates_are_used(morphable):
    own = np.random.default_rng(0).random((morphable.n_vertices, 2)).astype(np.float32)
    with_own = dataclasses.replace(morphable, uv=own)
    np.testing.assert_array_equal(texture.unwrap_model(with_own).uv, own)


# ---------------------------------------------------------------- texture


def test_flat_square_comes_back_pixel_for_pixel():
    """A square that fills texture and photo: unwrapping is the identity where it is all visible."""
    rng = np.random.default_rng(0)
    photo = cv2.GaussianBlur(rng.integers(0, 256, (64, 64, 3), np.uint8), (0, 0), 3)
    verts = np.array([[0, 0, 0], [0, 64, 0], [64, 64, 0], [64, 0, 0]], float).T - 0.5
    uv = np.array([[0, 1], [0, 0], [1, 0], [1, 1]], np.float32)
    flat = Unwrapping(uv, uv, np.zeros(4, np.float32))
    triangles = np.array([[0, 1, 2], [0, 2, 3]])
    got, visible = texture.unwrap_texture(photo, verts, triangles, flat, 64)
    assert (visible == 1).all()
    np.testing.assert_allclose(got.astype(int), photo, atol=2)


@pytest.mark.parametrize("yaw_deg", [0.0, 35.0, -35.0, 70.0])
def test_a_turned_faces_texture_is_whole(morphable, unwrapping, gradient, yaw_deg, photographed):
    """Vertices get the colours that the face was painted with, hidden ones the other half's."""
    verts = photographed(morphable, yaw_deg)
    photo = paint(morphable, verts, gradient, (300, 300))
    image, visible = texture.unwrap_texture(photo, verts, morphable.triangles, unwrapping, SIZE)
    colours = texture.vertex_colours(image, unwrapping.uv)
    used = np.unique(morphable.triangles)
    error = np.abs(colours / 255.0 - gradient).max(1)[used]
    assert np.median(error) < 0.02
    assert np.quantile(error, 0.85) < 0.12  # sides, ears and mouth are filled from around
    assert visible.min() >= 0
    assert visible.max() <= 1
    low, high = visible[:, : SIZE // 2].mean(), visible[:, SIZE // 2 :].mean()
    if yaw_deg:  # turned to its left, a face shows its right half: u below 0.5
        assert (low > 1.5 * high, high > 1.5 * low) == (yaw_deg < 0, yaw_deg > 0)


def test_what_is_outside_the_photo_is_not_visible(morphable, unwrapping, gradient, photographed):
    verts = photographed(morphable, 0.0)
    photo = paint(morphable, verts, gradient, (300, 300))
    half = photo[:, :150]
    image, visible = texture.unwrap_texture(half, verts, morphable.triangles, unwrapping, SIZE)
    assert not visible[:, SIZE // 2 + 8 :].any()
    assert visible[:, : SIZE // 2].max() == 1
    whole, _ = texture.unwrap_texture(photo, verts, morphable.triangles, unwrapping, SIZE)
    colours = (texture.vertex_colours(t, unwrapping.uv).astype(int) for t in (image, whole))
    difference = np.abs(np.subtract(*colours)).max(1)[np.unique(morphable.triangles)]
    assert np.median(difference) < 6  # symmetric colours, so the other half is as good


def test_a_face_wholly_outside_gives_a_black_texture(morphable, unwrapping, photographed):
    verts = photographed(morphable, 0.0) + 900
    photo = np.full((300, 300, 3), 200, np.uint8)
    image, visible = texture.unwrap_texture(photo, verts, morphable.triangles, unwrapping, 64)
    assert not image.any()
    assert not visible.any()


def test_vertex_colours_are_bilinear_at_pixel_centres():
    picture = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3) * 5
    uv = np.array([[0.125, 0.875], [0.25, 0.875], [0.875, 0.125]])
    got = texture.vertex_colours(picture, uv)
    middle = picture[0, :2].astype(float).mean(0)
    np.testing.assert_allclose(got, [picture[0, 0], middle, picture[3, 3]], atol=1)


def test_real_model_unwraps(shared_folder):
    own = texture.unwrap_model(read_morphable_folder(shared_folder / "data/3dmm_bfm"))
    assert [getattr(own, f.name).shape for f in dataclasses.fields(own)] == [
        (53_215, 2), (53_215, 2), (53_215,)
    ]  # fmt: skip
    error = np.abs(own.mirror_uv - np.column_stack([1 - own.uv[:, 0], own.uv[:, 1]]))
    assert np.quantile(error, 0.9) < 0.02
