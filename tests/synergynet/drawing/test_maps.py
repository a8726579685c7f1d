"""Depth and PNCC say what is seen where."""

import numpy as np
import pytest

from synergynet.drawing import maps


def test_depth_map_is_z_of_the_visible_surface(morphable, photographed):
    verts = photographed(morphable, 20.0)
    verts[2] -= 5000
    depth = maps.depth_map([verts], morphable.triangles, (300, 300))
    nose = morphable.u.reshape(-1, 3)[:, 2].argmax()
    x, y, z = verts[:, nose]
    assert depth[round(y), round(x)] == pytest.approx(z, abs=2)
    assert np.nanmax(depth) <= verts[2].max() + 0.5
    assert np.isnan(depth[0, 0])
    picture = maps.depth_picture([verts], morphable.triangles, (300, 300))
    seen = np.isfinite(depth)
    assert not picture[~seen].any()
    order = np.argsort(depth[seen])
    assert (np.diff(picture[seen][order, 0].astype(int)) >= -1).all()


def test_pncc_names_the_place_on_the_mean_face(morphable, photographed):
    mean = morphable.mean_face
    verts = photographed(morphable, 0.0)
    picture = maps.pncc([verts], morphable.triangles, mean, (300, 300))
    code = (mean - mean.min(0)) / np.ptp(mean, axis=0)
    depth = maps.depth_map([verts], morphable.triangles, (300, 300))
    x, y, z = verts
    row, column = y.round().astype(int), x.round().astype(int)
    used = np.isin(np.arange(len(mean)), morphable.triangles)
    seen = used & (np.abs(depth[row, column] - z) < 0.5)
    assert seen.sum() > 500
    error = np.abs(picture[row, column][seen, ::-1] / 255 - code[seen])
    assert np.quantile(error, 0.99) < 0.02
    assert not picture[0, 0].any()


def test_maps_of_two_faces_hold_both(morphable, photographed):
    verts = photographed(morphable, 0.0) * 0.4
    verts[0] += 150
    shape = (300, 300)
    both = maps.depth_map([photographed(morphable, 0.0) * 0.4, verts], morphable.triangles, shape)
    assert np.isfinite(both[:, :150]).any()
    assert np.isfinite(both[:, 150:]).any()
    assert not np.isfinite(maps.depth_map([], morphable.triangles, shape)).any()
