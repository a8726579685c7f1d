"""The dense surface of the open model, and what becomes of models that need or have none."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from synergynet import SynergyNet, fileio
from synergynet.drawing.texture import unwrap_model, unwrap_surface
from synergynet.face_model import MorphableModel
from synergynet.faces import Faces
from synergynet.geometry.parameters import N_SHAPE
from synergynet.meshes.borders import border_loops
from synergynet.meshes.dense import EYES, FEW_PX, MANY_PX, MOUTH, SKIN, DenseSurface, build_dense
from synergynet.meshes.normals import vertex_normals
from synergynet.weights import read_weights
from utils.data.evaluation_crops import CROPS, OPEN_TEST_FOLDER

UNCHANGED_PX = 1e-5


@pytest.fixture(scope="module")
def model() -> MorphableModel:
    return read_weights().face_model


@pytest.fixture(scope="module", params=["closed", "parts"])
def surface(model, request) -> DenseSurface:
    return model.dense if request.param == "closed" else model.dense_with_parts


@pytest.fixture(scope="module")
def mean(model, surface) -> np.ndarray:
    return surface.apply(model.mean_face.T.astype(float)).T


@pytest.fixture(scope="module")
def test_faces() -> Faces:
    """What the shipped network finds in all crops of the open test set."""
    crops = sorted((OPEN_TEST_FOLDER / CROPS).glob("*.jpg"))
    return SynergyNet(detector="none").predict([fileio.read_image(crop) for crop in crops])


def test_vertices_and_landmarks_of_all_test_predictions_stay(model, surface, test_faces):
    assert len(test_faces) == 240
    verts = test_faces.vertices
    dense = surface.apply(verts)
    assert dense.shape == (240, 3, surface.n_vertices)
    np.testing.assert_array_equal(dense[:, :, : model.n_vertices], verts)
    found = dense[:, :, model.landmark_vertices]
    np.testing.assert_allclose(found, test_faces.landmarks, rtol=0, atol=UNCHANGED_PX)
    if surface is model.dense:
        np.testing.assert_array_equal(test_faces.dense_vertices, dense)


def test_there_are_about_ten_thousand_vertices(model):
    shown = len(np.unique(model.dense.triangles))
    assert 9_000 < shown < 12_000
    assert len(np.unique(model.triangles)) < 3_000


def test_edges_are_manifold_and_only_the_rim_is_open(model, surface):
    for triangles in (surface.triangles, surface.fewer):
        sides = triangles * surface.n_vertices + np.roll(triangles, -1, axis=1)
        assert len(np.unique(sides)) == sides.size
        loops = border_loops(triangles, surface.n_vertices)
        longest = max(loops, key=len)
        assert set(longest.tolist()) == set(surface.rim.tolist())
        # closed eyes and lips are joined to the skin; eyeballs lie behind the lids
        assert len(loops) == (1 if surface is model.dense else 3)


def test_lips_close(model, surface):
    """The mouth is no hole, and where the lips' edges meet nothing is left between them."""
    lips = surface.vertices_of(MOUTH)
    assert len(lips) > 100
    mouth = surface.triangles[surface.part == MOUTH]
    assert len(border_loops(mouth, surface.n_vertices)) == 1
    if surface is not model.dense:
        return
    mean = surface.apply(model.mean_face.T.astype(float)).T
    (border,) = border_loops(mouth, surface.n_vertices)
    shut = model.mean_face.T.astype(float).copy()
    y = np.interp(  # every vertex of the lips at the height of a line between the corners
        mean[:, 0],
        mean[border, 0][[mean[border, 0].argmin(), mean[border, 0].argmax()]],
        [-4e4] * 2,
    )
    edge = border[border < model.n_vertices]
    shut[1, edge] = y[edge]
    closed = surface.apply(shut).T
    spread = np.ptp(closed[lips, 1]), np.ptp(mean[lips, 1])
    assert spread[0] < 0.75 * spread[1]


def test_the_face_follows_turns_shifts_and_scales(model, surface, mean):
    rng = np.random.default_rng(0)
    turn, shift = 1.3 * np.linalg.qr(rng.normal(size=(3, 3)))[0], rng.normal(size=(3, 1)) * 1e5
    moved = surface.apply(turn @ model.mean_face.T.astype(float) + shift)
    assert np.abs(moved - (turn @ mean.T + shift)).max() < 1  # micrometres, of weights in float32


def test_fewer_triangles_are_of_the_vertices_that_all_but_the_last_stage_make(model, surface):
    count = surface.n_vertices - len(surface.stages[-1])
    assert surface.fewer.max() < count
    assert surface.fewest.max() < model.n_vertices
    assert len(surface.fewest) < len(surface.fewer) < 0.6 * len(surface.triangles)
    verts = model.mean_face.T * ([[1], [-1], [1]] / np.ptp(model.mean_face[:, 1]))
    for height, triangles, n_vertices in (
        (0.9 * FEW_PX, surface.fewest, model.n_vertices),
        (1.1 * FEW_PX, surface.fewer, count),
        (1.1 * MANY_PX, surface.triangles, surface.n_vertices),
    ):
        got_verts, got, normals = surface.for_drawing(height * verts)
        assert got is triangles
        if triangles is surface.fewer:  # the landmarks' vertices have no triangle, and no normal
            length = np.linalg.norm(normals, axis=1)[np.unique(got)]
            np.testing.assert_allclose(length, 1, atol=1e-5)
        np.testing.assert_array_equal(got_verts, surface.apply(height * verts)[:, :n_vertices])


def test_triangles_look_outside(model, surface, mean):
    """The volume behind the surface is positive, part by part for eyeballs."""
    middle = mean[surface.rim].mean(axis=0)
    for part in (SKIN, EYES):
        triangles = surface.triangles[surface.part == part]
        a, b, c = (mean[corner] - middle for corner in triangles.T)
        assert (a * np.cross(b, c)).sum() > 0
    normals = vertex_normals(mean, surface.triangles)
    nose = mean[:, 2].argmax()
    assert normals[nose, 2] > 0.7


def test_normals_are_smooth_and_of_length_one(model, surface):
    """They differ along the edges by half as much as the triangles' own, and agree in the mean."""
    verts, normals = surface.with_normals(model.mean_face.astype(float))
    np.testing.assert_array_equal(verts, surface.apply(model.mean_face.T.astype(float)).T)
    skin = surface.triangles[surface.part == SKIN]
    np.testing.assert_allclose(np.linalg.norm(normals[np.unique(surface.triangles)], axis=1), 1)
    plain = vertex_normals(verts, surface.triangles)
    used = np.unique(skin)
    cosine = (plain * normals).sum(axis=1)[used]
    assert np.quantile(cosine, 0.05) > 0.8  # ears are fine and folded
    assert np.median(cosine) > 0.998
    smooth, rough = (
        np.linalg.norm(n[skin] - np.roll(n[skin], -1, axis=1), axis=2).mean()
        for n in (normals, plain)
    )
    assert smooth < rough


def test_triangles_bend_less_than_the_models_own(model):
    """Against the normals of their corners, weighted by area: flat facets are half as flat."""
    mean = model.mean_face.astype(float)

    def bend(points, triangles):
        a, b, c = (points[corner] for corner in triangles.T)
        normal = np.cross(b - a, c - a)
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
        smooth = vertex_normals(points, triangles)[triangles].mean(axis=1)
        front = (normal[:, 2] > 0.3) & (np.abs(points[triangles].mean(axis=1)[:, 0]) < 60_000)
        cosine = (normal * smooth).sum(axis=1)[front] / np.linalg.norm(smooth[front], axis=1)
        size = np.linalg.norm(np.cross(b - a, c - a), axis=1)[front]
        return np.average(np.degrees(np.arccos(cosine.clip(-1, 1))), weights=size)

    dense = model.dense
    skin = dense.triangles[dense.part == SKIN]
    assert bend(dense.apply(mean.T).T, skin) < 0.65 * bend(mean, model.triangles)


def test_texture_coordinates_keep_their_layout(model, surface, mean):
    plain, got = unwrap_model(model), unwrap_surface(model, surface)
    np.testing.assert_array_equal(got.uv[: model.n_vertices], plain.uv)
    for array in (got.uv, got.mirror_uv, got.order):
        assert array.dtype == np.float32
        assert len(array) == surface.n_vertices
        assert array.min() >= 0
        assert array.max() <= 1
    # new vertices lie where the cylinder has them
    skin = np.unique(surface.triangles[surface.part == SKIN])
    radius = np.hypot(mean[skin, 0], mean[skin, 2])
    low, high = mean[: model.n_vertices, 1].min(), mean[: model.n_vertices, 1].max()
    v = 0.01 + 0.98 * (mean[skin, 1] - low) / (high - low)
    assert np.abs(got.uv[skin, 1] - v).max() < 0.002
    assert radius.min() > 0


def test_eyeballs_are_balls_and_stay_so_when_people_differ(model):
    surface = model.dense_with_parts
    eyes = surface.triangles[surface.part == EYES]
    params = np.zeros((2, 62), np.float32)
    params[:, [0, 5, 10]] = 1
    params[1, 12 : 12 + N_SHAPE] = np.random.default_rng(0).normal(size=N_SHAPE)
    for points in surface.apply(model.vertices(params).astype(float)):
        for side in (-1, 1):
            ball = points.T[np.unique(eyes)]
            ball = ball[np.sign(ball[:, 0]) == side]
            known = np.column_stack([2 * ball, np.ones(len(ball))])
            solved = np.linalg.lstsq(known, (ball**2).sum(axis=1), rcond=None)[0]
            radius = np.linalg.norm(ball - solved[:3], axis=1)
            assert 9_000 < radius.mean() < 17_000
            assert radius.std() < 0.12 * radius.mean()
    assert surface.light[surface.vertices_of(MOUTH)].min() < 0.3
    assert (model.dense.light == 1).all()


def test_fine_models_and_what_is_no_surface_keep_their_triangles(model, tiny_morphable, sheet):
    points, triangles = sheet(100)
    dense = build_dense(points, triangles, np.zeros(68, int))
    assert dense.triangles is triangles
    assert dense.apply(points.T) is not None
    assert dense.n_vertices == len(points)
    np.testing.assert_array_equal(dense.apply(points.T), points.T)
    assert len(dense.rim) == 400
    tiny = tiny_morphable.convert(lambda tensor: tensor.numpy())  # its triangles are made up
    assert tiny.dense.triangles is tiny.triangles
    bare = dataclasses.replace(model, triangles=None)
    with pytest.raises(ValueError, match="without triangles"):
        _ = bare.dense
