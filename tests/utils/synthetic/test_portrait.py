"""Dressing the open head: MakeHuman's file formats, bindings, textures, and what covers what."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from scipy.sparse import csr_matrix

from model_building import load_morphable
from synergynet import fileio
from synergynet.geometry.parameters import POSE
from utils.data.folders import OPEN_FOLDER
from utils.synthetic.head import BASE_VERTICES, EYE_LEFT, SKIN, load_head
from utils.synthetic.pictures import Generator
from utils.synthetic.portrait.appearance import Look, linear
from utils.synthetic.portrait.atlas import Atlas
from utils.synthetic.portrait.camera import cut_off, photograph, photograph_perfectly
from utils.synthetic.portrait.geometry import HeadGeometry
from utils.synthetic.portrait.light import Lamp, Lights
from utils.synthetic.portrait.makehuman import load_wardrobe, read_binding, read_obj
from utils.synthetic.portrait.scenery import OCCLUDERS, background, occlude, sample_occluder
from utils.synthetic.portrait.surface import CANVAS, CLOTH, Material, Surface
from utils.synthetic.portrait.wardrobe import (
    Garment,
    Lay,
    Layer,
    Outfit,
    Texture,
    Wardrobe,
    dress,
    put_over,
)

QUAD_OBJ = """# two faces with a seam
v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
vt 0 0
vt 1 0
vt 1 1
vt 0 1
vt 0.5 0.5
f 1/1 2/2 3/3 4/4
f 1/5 2/2 3/3
"""

BINDING = """name cap
obj_file cap.obj
x_scale 0 1 2.0
y_scale 0 2 1.0
z_scale 0 3 1.0
material cap.mhmat
verts 0
 3
 0 1 2 0.5 0.25 0.25 1.0 2.0 3.0
delete_verts
 7 - 9
"""


@pytest.fixture(scope="module")
def head():
    return load_head(OPEN_FOLDER)


@pytest.fixture(scope="module")
def base_vertices(head):
    return fileio.read_array(OPEN_FOLDER / BASE_VERTICES, (len(head.mean),))


def grey_texture(alpha=255, value=120):
    return Texture.of(np.full((8, 8, 4), (value, value, value, alpha), np.uint8))


def shell_around(head, radius_mm):
    """A square in front of the face, `radius_mm` wide to each side, 150 mm before the head."""
    middle = head.mean[:, :2].mean(0)
    front = head.mean[:, 2].max() + 150_000
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * radius_mm * 1000 + middle
    return Garment(
        follow=csr_matrix((4, len(head.mean)), dtype=np.float32),
        offset=np.column_stack([corners, np.full(4, front)]).astype(np.float32),
        uv=np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32),
        shells=[np.array([[0, 1, 2], [0, 2, 3]], np.int32)],
        texture=grey_texture(),
        is_long=False,
    )


def eyeball(canonical):
    """A surface of points (3, M) mm on the left eye."""
    names = [field.name for field in dataclasses.fields(Surface)]
    part = np.full(canonical.shape[1], EYE_LEFT)
    return Surface(**dict.fromkeys(names) | {"canonical": canonical, "part": part})


def wear(head, garments):
    """A wardrobe with one skin and these hair styles."""
    uv = np.full((2, 3, len(head.triangles)), 0.5, np.float32)
    return Wardrobe([grey_texture()], uv, garments, [], [], [], [])


# ---------------------------------------------------------------- files


def test_obj_keeps_seams(tmp_path):
    (tmp_path / "quad.obj").write_text(QUAD_OBJ)
    verts, uv, faces = read_obj(tmp_path / "quad.obj")
    np.testing.assert_array_equal(verts[2], [1, 1, 0])
    np.testing.assert_array_equal(uv[4], [0.5, 0.5])
    np.testing.assert_array_equal(faces[0], [[0, 0], [1, 1], [2, 2], [3, 3]])
    np.testing.assert_array_equal(faces[1], [[0, 4], [1, 1], [2, 2], [2, 2]])


def test_binding_places_vertices_on_the_base_mesh(tmp_path):
    base = np.array([[0, 0, 0], [4.0, 0, 0], [0, 3.0, 0], [0, 0, 2.0]])
    (tmp_path / "cap.mhclo").write_text(BINDING)
    placed, settings = read_binding(tmp_path / "cap.mhclo", base)
    np.testing.assert_allclose(placed[0], base[3])
    scale = np.array([4 / 2, 3 / 1, 2 / 1])  # the base mesh's spans over the binding's
    expected = 0.5 * base[0] + 0.25 * base[1] + 0.25 * base[2] + scale * (1, 2, 3)
    np.testing.assert_allclose(placed[1], expected)
    assert len(placed) == 2
    assert settings["obj_file"] == "cap.obj"


@pytest.mark.parametrize("text", ["v 1 2\nv 3\n", "v 0 0 0\nvt 0 0\nf 1 2 3\n"])
def test_a_damaged_mesh_is_one_clear_error(tmp_path, text):
    path = tmp_path / "bad.obj"
    path.write_text(text)
    with pytest.raises(fileio.InputError, match=r"bad\.obj: not a readable OBJ"):
        read_obj(path)


def test_a_damaged_binding_is_one_clear_error(tmp_path):
    path = tmp_path / "bad.mhclo"
    path.write_text("verts 0\n 1 2 99 0.5 0.5 0 0 0 0\n")
    with pytest.raises(fileio.InputError, match=r"bad\.mhclo: not a readable \.mhclo"):
        read_binding(path, np.zeros((5, 3)))


def test_a_folder_without_assets_is_one_clear_error(tmp_path, head, base_vertices):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(fileio.InputError, match="no MakeHuman assets here"):
            load_wardrobe(folder, head, base_vertices)


def test_base_vertices_are_the_heads(head, base_vertices):
    assert len(np.unique(base_vertices)) == len(head.mean)
    skin = np.unique(head.triangles[head.part == SKIN])
    assert base_vertices[skin].max() < 13380  # the base mesh's body comes first


# ---------------------------------------------------------------- textures


def test_texture_looks_up_linear_light_with_v_upwards():
    image = np.zeros((4, 4, 4), np.uint8)
    image[0, :, 2], image[3, :, 0] = 200, 100  # red above, blue below
    image[..., 3] = 255
    centre = np.float32(0.125)  # of the first texel
    u, v = np.array([centre, centre]), np.array([1 - centre, centre])
    colour, opacity = Texture.of(image).look_up(u, v)
    np.testing.assert_allclose(colour, [[0, 0, linear(200)], [linear(100), 0, 0]], atol=1e-6)
    np.testing.assert_array_equal(opacity, 1)
    again, _ = Texture.of(image).look_up(u + 1, v - 2)  # it wraps
    np.testing.assert_allclose(again, colour, atol=1e-6)


def test_baked_strips_are_masks_on_the_mean_face(head):
    landmarks = Generator(head, load_morphable(OPEN_FOLDER)).labels.landmark_mean
    geometry = HeadGeometry(head, landmarks)
    atlas = Atlas(geometry)
    brow = landmarks[19]  # the middle of the right one
    corners = np.array([[-8, -3], [8, -3], [8, 3], [-8, 3]]) * 1000
    strip = Garment(
        follow=csr_matrix((4, len(head.mean)), dtype=np.float32),
        offset=np.column_stack([brow[:2] + corners, np.full(4, brow[2])]).astype(np.float32),
        uv=np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32),
        shells=[np.array([[0, 1, 2], [0, 2, 3]], np.int32)],
        texture=grey_texture(),
        is_long=False,
    )
    mask = atlas.bake(strip)
    assert mask.max() == 255
    place = geometry.landmarks[[19, 24, 19]] + np.array([[0, 0, 0], [0, 0, 0], [0, 8, 0]])
    angle, height_mm = geometry.angle(place), place[:, 1].astype(np.float32)
    look, rng = Look.sample(np.random.default_rng(0)), np.random.default_rng(0)
    found = atlas.look_up(angle, height_mm, look, mask, rng)["brows"]
    np.testing.assert_array_equal(found, [1, 0, 0])  # on the strip, on the other brow, above it
    drawn = atlas.look_up(angle, height_mm + look.brow_lift_mm, look, None, rng)["brows"]
    assert drawn[0] == drawn[1] > 0.3


def test_eyes_look_where_they_look(head):
    # the iris, red in the texture, lies in the direction of gaze
    red = np.full((50, 50, 4), 255, np.uint8)
    cv2.circle(red, (25, 25), 10, (0, 0, 255, 255), -1)
    painter = Generator(head, load_morphable(OPEN_FOLDER)).studio._painter
    rng = np.random.default_rng(0)
    look, outfit = Look.sample(rng), Outfit.sample(wear(head, []), Look.sample(rng), rng)[0]
    outfit = dataclasses.replace(outfit, eye=Texture.of(red))
    for gaze in ([0, 0, 1], [0.3, 0, 0.954], [0, -0.3, 0.954]):
        look = dataclasses.replace(look, gaze=np.array(gaze, np.float32))
        directions = np.random.default_rng(1).normal(size=(3, 400)) * [[1], [1], [0.5]]
        directions[2] = np.abs(directions[2])
        directions *= 12 / np.linalg.norm(directions, axis=0)
        surface = eyeball(painter._eye_centres[0][:, None] + directions)
        material = Material.of(400)
        painter._paint_eyes(material, surface, look, outfit)
        is_iris = material.albedo[2] > 3 * material.albedo[0]
        off_mm = np.linalg.norm(np.cross(gaze, directions.T), axis=1)
        np.testing.assert_array_equal(is_iris[off_mm < 0.9 * look.iris_radius], True)
        np.testing.assert_array_equal(is_iris[off_mm > 1.1 * look.iris_radius], False)


# ---------------------------------------------------------------- what covers what


def test_layers_blend_in_order():
    canvas = np.array([[0.5, 0.5, 0.5, 1.0], [0, 0, 0, 0]], np.float32)
    red = Layer(np.array([0, 1]), np.array([[0, 0, 1, 1]] * 2, np.float32), np.full((2, 1), 0.5))
    blue = Layer(np.array([1]), np.array([[1, 0, 0, 1]], np.float32), np.full((1, 1), 0.25))
    put_over(canvas, [red, blue])
    np.testing.assert_allclose(canvas[0], [0.25, 0.25, 0.75, 1])
    np.testing.assert_allclose(canvas[1], [0.25, 0, 0.375, 0.625])


@pytest.mark.parametrize(("radius_mm", "worn"), [(25, True), (200, False)])
def test_a_garment_is_seen_where_it_is_unless_it_hides_the_face(head, radius_mm, worn):
    generator = Generator(head, load_morphable(OPEN_FOLDER))
    rng = np.random.default_rng(0)
    params = generator.labels.sample(rng, yaw_range_deg=(0, 5))
    camera, look = params[POSE].reshape(3, 4), Look.sample(rng)
    verts = generator.head_verts(params)
    surface = generator.studio.geometry.see(verts, camera, look)
    lights = Lights(np.ones(3, np.float32), [])
    garment = (shell_around(head, radius_mm), np.ones(3))
    layers, shadowed = dress([garment], lambda worn: worn, verts, camera, lights, surface)
    assert bool(layers) == worn
    assert (shadowed.blocker_mm > surface.blocker_mm).any() == worn
    if worn:
        facing = camera[2, 2] / np.linalg.norm(camera[2, :3])  # the head may nod
        side_px = 2 * radius_mm / surface.mm_px
        assert len(layers[0].index) == pytest.approx(facing * side_px**2, rel=0.1)
        assert layers[0].index.max() < CANVAS * CANVAS


def test_textured_skin_shows_and_takes_the_persons_tone(head):
    rng = np.random.default_rng(1)
    look = Look.sample(rng)
    outfit, dressed = Outfit.sample(wear(head, []), look, rng)
    assert dressed is look  # no hair to replace the painted hair with
    wanted = look.skin**0.6 * grey_texture().mean ** 0.4
    np.testing.assert_allclose(outfit.skin.mean * outfit.skin_gain, wanted, rtol=1e-5)


def test_pictures_with_a_wardrobe_keep_their_labels(head):
    morphable = load_morphable(OPEN_FOLDER)
    painted = Generator(head, morphable)
    dressed = Generator(head, morphable, wardrobe=wear(head, [shell_around(head, 10)]))
    for seed in range(3):
        picture, params = dressed.draw(np.random.default_rng(seed))
        other, expected = painted.draw(np.random.default_rng(seed))
        np.testing.assert_array_equal(params, expected)
        assert (picture != other).any()


# ---------------------------------------------------------------- light, scenery, camera


def test_brightness_is_the_mean_of_coloured_light():
    lamp = Lamp(np.array([0, 0, 1.0]), np.array([0.2, 0.5, 0.8]), wrap=0.0, darkness=0.0)
    lights = Lights(np.array([0.3, 0.3, 0.6]), [lamp])
    normal = np.array([[0, 0], [0, -1], [1, 0.0]])  # to the viewer, and up
    np.testing.assert_allclose(lights.brightness(normal), [0.75 * 0.4 + 0.5, 0.4], atol=1e-12)
    np.testing.assert_allclose(lights.tint.mean(), 1)


def test_scenery_stays_in_range():
    for seed in range(60):
        rng = np.random.default_rng(seed)
        scene = background(rng)
        assert scene.shape == (120, 120, 3)
        assert np.isfinite(scene).all()
        assert scene.min() > -1e-4
        covered = occlude(scene, [*OCCLUDERS][seed % 4], linear([30, 40, 60]), rng)
        assert covered.shape == scene.shape


def test_occluders_hide_part_of_the_picture():
    rng = np.random.default_rng(0)
    grey = np.full((120, 120, 3), 0.3, np.float32)
    for occluder in OCCLUDERS:
        covered = [occlude(grey, occluder, linear([30, 40, 60]), rng) for _ in range(40)]
        hidden = (np.abs(covered - grey).max(-1) > 0.01).mean((1, 2))  # (40,) shares
        assert hidden.max() < 0.8
        assert (hidden > 0.02).mean() > 0.6, occluder
    kinds = [sample_occluder(rng) for _ in range(4000)]
    for occluder, share in OCCLUDERS.items():
        assert kinds.count(occluder) / 4000 == pytest.approx(share, abs=0.02)


def test_borders_are_black_at_an_edge():
    for seed in range(20):
        picture = np.full((120, 120, 3), 90, np.uint8)
        cut_off(picture, np.random.default_rng(seed))
        edges = picture[0], picture[-1], picture[:, 0], picture[:, -1]
        assert any(not edge.any() for edge in edges)
        assert picture[40:80, 40:80].all()


@pytest.mark.parametrize("exposure", [0.2, 1.0, 5.0])
def test_perfect_photographs_are_exposed_for_the_middle(exposure):
    picture = exposure * np.random.default_rng(0).uniform(0.1, 0.5, (120, 120, 3))
    result = photograph_perfectly(picture.astype(np.float32))
    assert result.dtype == np.uint8
    assert 70 < result[24:96, 24:96].mean() < 190
    np.testing.assert_array_equal(result, photograph_perfectly(picture.astype(np.float32)))
    assert (photograph(picture.astype(np.float32), np.random.default_rng(0)) != result).any()


# ---------------------------------------------------------------- the real assets


@pytest.fixture(scope="module")
def wardrobe(shared_folder, head, base_vertices):
    return load_wardrobe(shared_folder / "assets" / "makehuman", head, base_vertices)


def test_real_assets_fit_the_head(wardrobe, head):
    assert len(wardrobe.skins) >= 15
    assert len(wardrobe.hair) >= 8
    assert wardrobe.hats
    assert {style.is_long for style in wardrobe.hair} == {True, False}
    eyes = head.mean[head.triangles[head.part == 1]].reshape(-1, 3).mean(0)
    for garment in wardrobe.hair + wardrobe.hats:
        verts = (garment.follow @ head.mean + garment.offset - eyes) / 1000  # mm
        top = verts[:, 1].max()
        assert 60 < top < 320
        assert np.abs(verts[:, 0].mean() + eyes[0] / 1000) < 25  # about the middle
        wider = garment.follow @ (head.mean * (1.2, 1, 1)) + garment.offset
        assert np.ptp(wider[:, 0]) > np.ptp(verts[:, 0]) * 1000  # it follows the head
    face = head.mean[head.triangles].mean(1)[:, 2] > np.percentile(head.mean[:, 2], 80)
    uv = wardrobe.skin_uv[..., face & (head.part == SKIN)]
    assert (uv > 0).all()
    assert np.ptp(uv, axis=1).max() < 0.1  # no triangle spans a seam


def test_real_brows_and_eyes(wardrobe, head):
    marks = Generator(head, load_morphable(OPEN_FOLDER)).labels.landmark_mean
    assert len(wardrobe.brows) == 12
    for strips in wardrobe.brows:
        verts = strips.follow @ head.mean + strips.offset  # micrometres
        assert 70_000 < np.ptp(verts[:, 0]) < 130_000
        low, high = marks[17:27, 1].min() - 12_000, marks[17:27, 1].max() + 5_000
        assert low < verts[:, 1].min() < verts[:, 1].max() < high
    assert len(wardrobe.eyes) >= 9
    for eye in wardrobe.eyes:
        size = len(eye.image)
        sclera = eye.image[size // 2, : size // 6, :3]
        pupil = eye.image[size // 2 - 2 : size // 2 + 2, size // 2 - 2 : size // 2 + 2, :3]
        assert sclera.mean() > 100 > 60 > pupil.mean()


def test_real_skins_have_lips_where_the_head_has_them(wardrobe, head):
    # Redder than the chin below them, in most skins: the texture lies right on the face.
    landmarks = load_morphable(OPEN_FOLDER)
    rows = landmarks.keypoints
    marks = landmarks.u[rows].numpy().reshape(68, 3)
    lip = (marks[57] + marks[66]) / 2
    chin = (marks[8] + 2 * marks[57]) / 3
    centres = head.mean[head.triangles].mean(1)

    def colour(skin, point):
        near = np.linalg.norm(centres - point, axis=1) + 1e9 * (head.part != SKIN)
        u, v = wardrobe.skin_uv[..., near.argsort()[:12]].mean(1)
        return skin.look_up(u, v)[0].mean(0)

    redder = []
    for skin in wardrobe.skins:
        (b0, g0, r0), (b1, g1, r1) = colour(skin, lip), colour(skin, chin)
        redder.append(r0 / (g0 + b0) > r1 / (g1 + b1))
    assert np.mean(redder) > 0.8


def test_a_missing_texture_is_one_clear_error(shared_folder, tmp_path, head, base_vertices):
    source = shared_folder / "assets" / "makehuman"
    (tmp_path / "hair").mkdir()
    for name in ("core/base.obj", "textures/young_lightskinned_male_diffuse.png"):
        (tmp_path / name.split("/")[-1]).write_bytes((source / name).read_bytes())
    for suffix in ("obj", "mhclo", "mhmat"):
        file = source / "base" / "hair" / "short04" / f"short04.{suffix}"
        (tmp_path / "hair" / file.name).write_bytes(file.read_bytes())
    with pytest.raises(fileio.InputError, match=r"short04\.mhclo: its texture is not"):
        load_wardrobe(tmp_path, head, base_vertices)
    (tmp_path / "short04_diffuse.png").write_bytes(
        cv2.imencode(".png", np.full((16, 16, 4), 255, np.uint8))[1].tobytes()
    )
    assert len(load_wardrobe(tmp_path, head, base_vertices).hair) == 1


def test_hair_is_laid_about_the_heads_axis():
    axis = np.array([0, 10.0, -50.0])
    worn = axis + np.array([[1.0, 5, 0], [0, -4, 2]])
    np.testing.assert_array_equal(Lay().arrange(worn, axis), worn)
    laid = Lay(turn=np.pi / 2, swell=2, length=3).arrange(worn, axis) - axis
    np.testing.assert_allclose(laid, [[0, 5, -2], [4, -12, 0]], atol=1e-12)


def test_a_wide_neck_bares_skin_and_nothing_else(generator):
    params = generator.labels.sample(np.random.default_rng(3), yaw_range_deg=(0, 10))
    verts, camera = generator.head_verts(params), 0.5 * params[POSE].reshape(3, 4)
    camera[:2, 3] += 30  # farther away: shoulders are below the crop
    scene = generator.studio.stage(np.random.default_rng(3))
    pictures = []
    for neckline_mm in (0.0, 80.0):
        look = dataclasses.replace(scene.look, neckline_mm=neckline_mm, has_sheet=False)
        surface = generator.studio.geometry.see(verts, camera, look)
        rng = np.random.default_rng(0)
        pictures.append(generator.studio.shade(surface, look, None, scene.lights, rng))
    changed = (pictures[0] != pictures[1]).any(0)
    assert changed.any()
    assert (surface.part[changed] == CLOTH).all()
