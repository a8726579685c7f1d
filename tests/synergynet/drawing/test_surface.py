"""Faces are drawn where they are, outside only, nearest on top, and light falls as it should."""

import numpy as np
import pytest
import torch

from model_building import load_morphable
from synergynet.drawing import surface
from synergynet.geometry.pose import Pose, compose_rotation
from synergynet.meshes.topology import outer_border
from utils.data.folders import OPEN_FOLDER

GREY = np.full((120, 160, 3), 90, np.uint8)


def square(x0, y0, x1, y1, z=0.0):
    """(3, 4) corners of a square that looks at the camera, and its two triangles."""
    corners = [[x0, y0, z], [x0, y1, z], [x1, y1, z], [x1, y0, z]]
    return np.array(corners, float).T, np.array([[0, 1, 2], [0, 2, 3]])


@pytest.fixture(scope="module")
def face():
    """The open model's mean face from the front, 100 px high, in a photo of 160 x 120."""
    morphable = load_morphable(OPEN_FOLDER)
    verts = morphable.u.reshape(-1, 3).numpy().astype(float).T  # y up
    scale = 100 / np.ptp(verts[1])
    return verts * [[scale], [-scale], [scale]] + [[80], [60], [-500]], morphable.triangles


def moved(verts, x, y, z=0.0):
    return verts + np.array([[x], [y], [z]])


def changed(image, before=GREY):
    return (image != before).any(axis=2)


def test_a_square_covers_the_pixels_whose_centres_are_inside():
    verts, triangles = square(9.6, 19.6, 29.6, 59.6)  # whole numbers are pixel centres
    drawn = changed(surface.draw_faces(GREY, [verts], triangles, (255, 255, 255), 1.0))
    expected = np.zeros(drawn.shape, bool)
    expected[20:60, 10:30] = True
    np.testing.assert_array_equal(drawn, expected)
    assert (GREY == 90).all()


def test_light_from_the_front_has_its_formula_and_opacity_mixes():
    verts, triangles = square(10, 10, 60, 60)
    colour = np.array([40.0, 100, 160])
    light = surface.LIGHT / np.linalg.norm(surface.LIGHT)
    halfway_z = np.sqrt((1 + light[2]) / 2)  # half the angle between light and viewer
    highlight = surface.SPECULAR * halfway_z**surface.SHININESS
    lit = colour * (surface.AMBIENT + surface.DIFFUSE * light[2]) + 255 * highlight
    for opacity in (1.0, 0.4):
        image = surface.draw_faces(GREY, [verts], triangles, tuple(colour), opacity)
        want = opacity * lit + (1 - opacity) * 90
        np.testing.assert_allclose(image[30, 30], want, atol=1.5)


def test_light_comes_from_above():
    """Of two slopes the one that looks up is brighter, y down in the photo."""
    flat, triangles = square(10, 10, 60, 60)
    shades = []
    for tilt in (0.5, -0.5):  # z over y: bottom nearer, so that the surface looks up; then down
        verts = flat.copy()
        verts[2] = tilt * verts[1]
        shades.append(surface.shade(verts, triangles)[:, 0].mean())
    assert shades[0] > shades[1] + 0.2


def test_triangles_that_look_away_are_not_drawn(face):
    verts, triangles = face
    away = np.array([[0, 2, 1]])
    for draw in (surface.draw_faces, surface.draw_wireframe):
        assert not changed(draw(GREY, [square(9, 9, 50, 50)[0]], away)).any()
    seen = changed(surface.draw_faces(GREY, [verts], triangles))
    assert 5_000 < seen.sum() < 12_000  # 100 px high, about 95 wide
    ears_and_mouth = changed(surface.draw_faces(GREY, [verts], triangles[:, ::-1]))
    assert ears_and_mouth.sum() < 0.5 * seen.sum()


def test_nearer_surface_hides_the_other_and_larger_face_the_smaller():
    far, triangles = square(10, 10, 90, 90, z=0)
    near, _ = square(40, 40, 60, 60, z=30)
    near[2, 2:] += 20  # looks away from the light, which comes from the left
    verts = np.concatenate([near, far], axis=1)
    both = np.concatenate([triangles, triangles + 4])
    image = surface.draw_faces(GREY, [verts], both, (200, 200, 200), 1.0).astype(int)
    assert abs(image[50, 50] - image[20, 20]).min() > 20
    alone = surface.draw_faces(GREY, [near], triangles, (200, 200, 200), 1.0)
    np.testing.assert_array_equal(image[45:55, 45:55], alone[45:55, 45:55])
    small = far / 2
    image = surface.draw_faces(GREY, [far, small], triangles, (200, 200, 200))
    np.testing.assert_array_equal(
        image, surface.draw_faces(GREY, [small, far], triangles, (200, 200, 200))
    )


def test_the_overlay_fades_towards_the_cut_edge_and_not_towards_the_mouth(face):
    verts, triangles = face
    mean = verts.T * (1, -1, 1)
    fade = surface.edge_fade(mean, mean[outer_border(triangles, len(mean))])
    crown, lips = verts[1].argmin(), np.hypot(verts[0] - 80, verts[1] - 83).argmin()
    assert (fade[crown], fade[lips], fade.max()) == (0, 1, 1)
    assert 0.7 < fade.mean() < 1
    plain = surface.draw_faces(GREY, [verts], triangles).astype(int)
    faded = surface.draw_faces(GREY, [verts], triangles, fade=fade).astype(int)
    np.testing.assert_allclose(faded[40:90, 60:100], plain[40:90, 60:100], atol=1)
    top = np.flatnonzero(changed(plain)[:, 80])[0]
    strength = abs(faded - 90)[top : top + 8, 80, 0] / abs(plain - 90)[top : top + 8, 80, 0]
    assert (np.diff(strength) > -0.05).all()
    assert strength[0] < 0.3
    assert strength[-1] > 0.7


def test_the_cut_edge_is_the_longest_run_of_edges_with_one_triangle():
    x, y = np.meshgrid(np.arange(9.0), np.arange(9.0))
    mean = np.column_stack([x.ravel(), y.ravel(), 0 * x.ravel()])
    a = (np.arange(8)[:, None] * 9 + np.arange(8)).ravel()
    triangles = np.concatenate(
        [np.column_stack([a, a + 1, a + 10]), np.column_stack([a, a + 10, a + 9])]
    )
    inside = a[36]  # the cell in the middle is a hole, as a mouth is
    triangles = triangles[triangles[:, 0] != inside]
    distance = np.minimum.reduce([x, y, 8 - x, 8 - y]).ravel()
    expected = np.minimum(distance / (surface.FADE * 8), 1)
    edge = mean[outer_border(triangles, len(mean))]
    np.testing.assert_allclose(surface.edge_fade(mean, edge), expected)


def test_two_faces_are_drawn_as_one_after_the_other(face):
    verts, triangles = face
    other = moved(verts * 0.4, -20, 0)
    both = surface.draw_faces(GREY, np.stack([verts, other]), triangles)
    in_turns = surface.draw_faces(GREY, [other], triangles)
    in_turns = surface.draw_faces(in_turns, [verts], triangles)
    np.testing.assert_array_equal(both, in_turns)


def test_a_face_cut_by_the_border_is_the_same_inside_it(face):
    verts, triangles = face
    larger = np.full((200, 260, 3), 90, np.uint8)
    whole = surface.draw_faces(larger, [moved(verts, 50, 40)], triangles)
    shifted = moved(verts, -30, -35)
    cut = surface.draw_faces(GREY, [shifted], triangles)
    part = whole[75 : 75 + 120, 80 : 80 + 160]
    difference = np.abs(cut.astype(int) - part)[1:-1, 1:-1]  # the outline fades at the border too
    assert (difference > 2).mean() < 0.002


@pytest.mark.parametrize("shift", [(500, 0), (0, -500), (-500, 700)])
@pytest.mark.parametrize("draw", [surface.draw_faces, surface.draw_wireframe])
def test_a_face_outside_the_photo_draws_nothing(face, draw, shift):
    verts, triangles = face
    image = draw(GREY, [moved(verts, *shift)], triangles)
    np.testing.assert_array_equal(image, GREY)


def test_translation_along_z_does_not_matter(face):
    verts, triangles = face
    image = surface.draw_faces(GREY, [verts], triangles)
    far = surface.draw_faces(GREY, [moved(verts, 0, 0, 1e5)], triangles)
    assert (np.abs(image.astype(int) - far) > 2).mean() < 1e-3


def test_depth_is_z_in_photo_px():
    verts, triangles = square(20, 30, 60, 70, z=-3000)
    verts[2, 2:] += 20  # slopes along x
    box, _, depth = surface.rasterize_face(verts, triangles, np.zeros((4, 3)), GREY.shape)
    assert (box[0].start, box[1].start) == (30, 20)
    np.testing.assert_allclose(depth[10, 10], -3000 + 20 * 10 / 40, atol=0.02)


def test_wireframe_draws_edges_and_not_what_is_between_or_hidden():
    verts, triangles = square(10, 10, 110, 110, z=50)
    behind, _ = square(30, 60, 40, 70, z=0)
    both = np.concatenate([triangles, triangles + 4])
    verts = np.concatenate([verts, behind], axis=1)
    lines = changed(surface.draw_wireframe(GREY, [verts], both))
    assert lines[12:108, 10].all()  # left edge
    assert lines[np.arange(12, 108), np.arange(12, 108)].all()  # diagonal
    assert not lines[60:70, 30:40].any()  # hidden square
    assert not lines[40:60, 70:100].any()  # inside a triangle


def test_pose_box_surrounds_the_face_and_turns_with_it(face):
    verts, _ = face
    for yaw in (0.0, 40.0):
        rotation = compose_rotation(Pose(*torch.tensor([yaw, 0.0, 0.0]))).double().numpy()
        flip = np.diag([1.0, -1, 1])
        middle = verts.mean(1, keepdims=True)
        turned = flip @ rotation @ flip @ (verts - middle) * 0.6 + middle
        box = changed(surface.draw_pose_box(GREY, rotation, turned))
        rows, columns = np.nonzero(box)
        low, high = turned[:2].min(1), turned[:2].max(1)
        assert (columns.min() < low[0], rows.min() < low[1]) == (True, True)
        assert (columns.max() > high[0], rows.max() > high[1]) == (True, True)
        inside = box[60 - 20 : 60 + 20, 80 - 12 : 80 + 12]
        assert inside.any() == (yaw > 0)  # from the front no edge crosses the face
    assert (GREY == 90).all()
