"""Meshes come back from trimesh as they were written; normals equal a plain loop's."""

import io as byte_io

import cv2
import numpy as np
import pytest

from model_building import load_morphable
from synergynet.geometry.crop import crop_to_photo
from synergynet.meshes import formats
from utils.data.folders import OPEN_FOLDER

trimesh = pytest.importorskip("trimesh")

MM_TOLERANCE = 1e-4  # what OBJ's four decimals and float32 keep of a head
COLOUR_TOLERANCE = 1  # of 255: rounding


@pytest.fixture(scope="module")
def face():
    """The open model's mean face in mm, its triangles, colours and texture coordinates."""
    morphable = load_morphable(OPEN_FOLDER)
    verts = morphable.u.reshape(-1, 3).numpy() / formats.UM_PER_MM
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (len(verts), 3), np.uint8)
    return verts, morphable.triangles, colours, rng.random((len(verts), 2))


def read_back(data, kind):
    data = data.encode() if isinstance(data, str) else data
    scene = trimesh.load_scene(byte_io.BytesIO(data), file_type=kind, process=False)
    (back,) = scene.geometry.values()
    return back


def read_colours(back):
    """(V, 3) BGR 0 to 255, as sRGB."""
    if back.visual.kind == "vertex":
        return np.asarray(back.visual.vertex_colors)[:, 2::-1].astype(float)
    light = back.visual.vertex_attributes["color"][:, ::-1]  # of a glTF: proportional to light
    return 255 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize(
    ("kind", "write", "unit_mm"),
    [("obj", formats.obj_text, 1), ("ply", formats.ply_bytes, 1), ("glb", formats.glb_bytes, 1000)],
)
def test_round_trip(face, kind, write, unit_mm):
    """Corner by corner, because trimesh leaves out an OBJ's vertices without a triangle."""
    verts, triangles, colours, _ = face
    back = read_back(write(verts, triangles, colours), kind)
    corners = back.vertices[back.faces] * unit_mm
    np.testing.assert_allclose(corners, verts[triangles], atol=MM_TOLERANCE)
    got = read_colours(back)[back.faces]
    np.testing.assert_allclose(got, colours[triangles], atol=COLOUR_TOLERANCE)


@pytest.mark.parametrize("write", [formats.obj_text, formats.ply_bytes, formats.glb_bytes])
def test_colours_are_optional(face, write):
    kind = {formats.obj_text: "obj", formats.ply_bytes: "ply", formats.glb_bytes: "glb"}[write]
    back = read_back(write(*face[:2]), kind)
    assert back.visual.kind != "vertex"
    assert "color" not in getattr(back.visual, "vertex_attributes", {})
    assert len(back.faces) == len(face[1])


def test_the_outside_is_outside(face):
    """Normals of a face that looks at the viewer do so too, after a round trip."""
    back = read_back(formats.glb_bytes(*face[:2]), "glb")
    nose = back.faces[np.isin(back.faces, np.argmax(back.vertices[:, 2])).any(1)]
    corners = back.vertices[nose]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (normals.mean(0)[2]) > 0.5 * np.linalg.norm(normals.mean(0))


def test_glb_carries_normals_texture_and_coordinates(face):
    verts, triangles, _, uv = face
    picture = np.random.default_rng(1).integers(0, 256, (8, 8, 3), np.uint8)
    png = cv2.imencode(".png", picture)[1].tobytes()
    back = read_back(formats.glb_bytes(verts, triangles, uv=uv, texture_png=png), "glb")
    np.testing.assert_allclose(back.visual.uv, uv, atol=1e-6)  # trimesh turns v up again
    texture = np.asarray(back.visual.material.baseColorTexture.convert("RGB"))
    np.testing.assert_array_equal(texture[:, :, ::-1], picture)
    used = np.unique(triangles)
    normals = formats.vertex_normals(verts, triangles)
    np.testing.assert_allclose(back.vertex_normals[used], normals[used], atol=1e-5)


def test_obj_names_its_material_and_texture(face, tmp_path):
    verts, triangles, _, uv = face
    (tmp_path / "face.obj").write_text(
        formats.obj_text(verts, triangles, uv=uv, material_file="face.mtl")
    )
    (tmp_path / "face.mtl").write_text(formats.mtl_text("face.png"))
    picture = np.full((4, 4, 3), (10, 200, 30), np.uint8)
    cv2.imwrite(str(tmp_path / "face.png"), picture)
    back = trimesh.load(tmp_path / "face.obj", process=False, maintain_order=True)
    assert len(back.faces) == len(triangles)
    np.testing.assert_allclose(back.vertices[back.faces], verts[triangles], atol=MM_TOLERANCE)
    np.testing.assert_allclose(back.visual.uv[back.faces], uv[triangles], atol=1e-6)
    assert back.visual.material.image.convert("RGB").getpixel((0, 0)) == (30, 200, 10)


def test_units_are_stated(face):
    for data in (formats.obj_text(*face[:2]), formats.ply_bytes(*face[:2])[:300].decode("latin1")):
        assert "unit: millimetre" in data


def test_mesh_from_photo_undoes_scale_and_turns_y_up(face):
    """A face seen from the front at any scale is the model itself, in millimetres."""
    verts = face[0].astype(float)
    roi_box = np.array([100, 50, 340, 290])  # 2 photo px per crop px
    params = np.zeros(62)
    params[[0, 5, 10]] = 6e-4  # crop px per micrometre
    crop = verts.T * 0.6 * [[1], [-1], [1]] + [[60], [61], [-400]]
    got = formats.mesh_from_photo(crop_to_photo(crop, roi_box), params, roi_box)
    middle = (verts.min(0) + verts.max(0)) / 2
    np.testing.assert_allclose(got, verts - middle, atol=1e-3)


# ---------------------------------------------------------------- normals


def test_vertex_normals_equal_a_plain_loop(face):
    verts, triangles = face[0].astype(float), face[1]
    want = np.zeros_like(verts)
    for i, j, k in triangles:
        normal = np.cross(verts[j] - verts[i], verts[k] - verts[i])
        for corner in (i, j, k):
            want[corner] += normal
    lengths = np.linalg.norm(want, axis=1)
    want[lengths > 0] /= lengths[lengths > 0, None]
    got = formats.vertex_normals(verts, triangles)
    np.testing.assert_allclose(got, want, atol=1e-6)
    unused = np.setdiff1d(np.arange(len(verts)), triangles)
    assert len(unused) == 68  # the landmarks' vertices
    assert not got[unused].any()


def test_a_sphere_has_its_radii_as_normals():
    ball = trimesh.creation.icosphere(3)
    got = formats.vertex_normals(ball.vertices, ball.faces)
    np.testing.assert_allclose(got, ball.vertices, atol=0.02)
