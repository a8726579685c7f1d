"""Synthetic pictures show what their labels say, whoever draws them."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from synergynet.drawing.rasterize import rasterize
from synergynet.geometry.parameters import IMG_SIZE, POSE
from utils.data.folders import OPEN_FOLDER
from utils.data.turned_crops import cut_middle
from utils.synthetic.head import load_head
from utils.synthetic.pictures import Generator
from utils.synthetic.portrait import studio as studio_module
from utils.synthetic.portrait.appearance import Look
from utils.synthetic.portrait.camera import cut_off
from utils.synthetic.portrait.geometry import project_to_crop
from utils.synthetic.portrait.scenery import OCCLUDERS, occlude
from utils.synthetic.portrait.surface import CANVAS, SUPERSAMPLING

DOT_PX = 0.3  # the centroid of a dot that the nose's curve hides in part
SILHOUETTE_SHARE = 0.003  # of the pixels: the head's outline against the face's own mesh


def bald(rng):
    """A person with nothing on the head."""
    return dataclasses.replace(Look.sample(rng), has_hair=False, has_sheet=False, glasses=None)


def test_picture_depends_on_its_generator_only(generator):
    (first, params), (second, _) = (generator.draw(np.random.default_rng(5)) for _ in range(2))
    other, other_params = generator.draw(np.random.default_rng(6))
    assert first.shape == (IMG_SIZE, IMG_SIZE, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, second)
    assert (first != other).mean() > 0.5
    assert not np.array_equal(params, other_params)


@pytest.mark.parametrize("seed", range(6))
def test_dot_on_the_nose_is_where_the_camera_puts_it(generator, monkeypatch, seed):
    # Paint a white dot at a vertex of the mean head only; find it in the picture.
    studio, head_mean = generator.studio, generator.head.mean
    landmark = generator.labels.landmark_mean[(30, 27)[seed % 2]]
    vertex = np.linalg.norm(head_mean - landmark, axis=1).argmin()
    params, face, camera = generator.labels.shoot(
        np.random.default_rng(seed), yaw_range_deg=(0, 25)
    )
    if seed < 3:  # the label's own person and camera
        face, camera = params, params[POSE].reshape(3, 4)
    verts = generator.head_verts(face)
    expected = project_to_crop(camera, verts[[vertex]])[0, :2]
    place = studio.geometry.canonical[vertex][:, None]

    def shade(surface, look, outfit, lights, rng):
        dot = np.exp(-((surface.canonical - place) ** 2).sum(0) / (2 * 0.8**2))  # mm
        return np.repeat(dot[None], 3, 0)

    scene = dataclasses.replace(
        studio.stage(np.random.default_rng(0)),
        look=bald(np.random.default_rng(seed)),
        occluder=None,
        has_border=False,
    )
    black = np.zeros((IMG_SIZE, IMG_SIZE, 3), np.float32)
    monkeypatch.setattr(studio, "shade", shade)
    monkeypatch.setattr(studio_module, "background", lambda rng, margin_px: black)
    monkeypatch.setattr(studio_module, "photograph", lambda picture, rng: picture)
    picture = studio.draw(verts, camera, scene)[..., 0]
    rows, columns = np.mgrid[0:IMG_SIZE, 0:IMG_SIZE] + 0.5
    found = np.array([(columns * picture).sum(), (rows * picture).sum()]) / picture.sum()
    np.testing.assert_allclose(found, expected, atol=DOT_PX)


def test_head_covers_the_face_of_the_label(generator, morphable, decode):
    # The face's mesh, decoded from the label, lies inside the head's outline and at its depth.
    for seed, yaw_range_deg in enumerate(((0, 10), (30, 40), (70, 90))):
        params = generator.labels.sample(np.random.default_rng(seed), yaw_range_deg)
        camera = params[POSE].reshape(3, 4)
        look = bald(np.random.default_rng(seed))
        surface = generator.studio.geometry.see(generator.head_verts(params), camera, look)
        face = decode(params) * SUPERSAMPLING
        _, depth = rasterize(face, morphable.triangles, np.zeros_like(face), CANVAS, CANVAS)
        covered = depth > -np.inf
        assert covered.mean() > 0.15
        assert (covered & ~surface.mask).mean() < SILHOUETTE_SHARE
        head_depth = surface.depth_mm[covered] / surface.mm_px
        assert np.median(np.abs(head_depth - depth[covered])) < 0.05


def test_without_exact_crops_all_are_loose_and_those_that_were_stay(morphable):
    head = load_head(OPEN_FOLDER)
    half, loose = (Generator(head, morphable, without=names) for names in ((), ["exactness"]))
    assert Generator(head, morphable, held_out=True, without=["exactness"]).labels.exact_crops == 1
    is_same = []
    for seed in range(40):
        one, other = (g.shoot(np.random.default_rng(seed)) for g in (half, loose))
        np.testing.assert_array_equal(one.face, other.face)
        is_same.append(np.array_equal(one.params, other.params))
    assert 8 < sum(is_same) < 32


def test_held_out_people_stay_out(morphable):
    head = load_head(OPEN_FOLDER)
    training = Generator(head, morphable).labels.identities
    testing = Generator(head, morphable, held_out=True).labels.identities
    assert len(training) > len(testing) >= 100
    nearest = np.linalg.norm(training[:, None] - testing[None], axis=-1).min()
    assert nearest > 1  # in standard deviations of 40 components


def test_faces_stand_out_from_their_background(generator):
    # A picture without a face, or one lost in the dark, fails here.
    spread = []
    for seed in range(12):
        image, _ = generator.draw(np.random.default_rng(seed))
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        spread.append(grey[30:90, 30:90].std())
    assert np.median(spread) > 15


@pytest.mark.parametrize("seed", range(4))
def test_a_margin_shows_more_of_the_same(generator, morphable, monkeypatch, seed):
    # of the painted head alone; light at the crop's edge sees more of the head
    def background(rng, margin_px=0):
        return np.zeros(2 * (IMG_SIZE + 2 * margin_px,) + (3,), np.float32)

    monkeypatch.setattr(studio_module, "background", background)
    without = ("faults", "occluders", "borders")
    pictures = []
    for margin_px in (0, 30):
        wide = Generator(generator.head, morphable, without=without, margin_px=margin_px)
        picture, params = wide.draw(np.random.default_rng(seed))
        pictures.append(cut_middle(picture).astype(float))
    assert picture.shape == (180, 180, 3)
    assert picture[:30].any() or picture[-30:].any()
    np.testing.assert_array_equal(params, generator.draw(np.random.default_rng(seed))[1])
    off = np.abs(pictures[0] - pictures[1]).max(-1)
    assert np.median(off) <= 1
    assert (off > 20).mean() < 0.02


@pytest.mark.parametrize("occluder", OCCLUDERS)
def test_a_margin_leaves_what_hides_the_face_where_it_is(occluder):
    colour = np.array([0.2, 0.4, 0.6])
    small, large = (
        occlude(np.zeros((size, size, 3), np.float32), occluder, colour, np.random.default_rng(1))
        for size in (IMG_SIZE, 180)
    )
    off = np.abs(cut_middle(large) - small).mean()  # lines end at other fractions of a pixel
    assert off < 0.01 * small.mean()
    assert small.mean() > 0


def test_borders_reach_into_the_crop_as_far_as_without_a_margin():
    for seed in range(20):
        small, large = (np.ones((size, size, 3), np.uint8) for size in (IMG_SIZE, 180))
        cut_off(small, np.random.default_rng(seed))
        cut_off(large, np.random.default_rng(seed))
        np.testing.assert_array_equal(cut_middle(large), small)
