"""Face meshes as OBJ, PLY and GLB, which Blender, MeshLab and browsers open.

Mesh frame: millimetres, x to the viewer's right, y up, z towards the viewer: the head as it stands
in the photo. Triangles run counter-clockwise from outside. Exporters return text or bytes; callers
write them. Colours are BGR from 0 to 255 here, as in pictures, and RGB in the files.

Sources: the Wavefront OBJ and MTL, Stanford PLY and Khronos glTF 2.0 formats.
"""

from __future__ import annotations

import json
import struct

import numpy as np

from synergynet.geometry.camera import camera_of, decompose_camera
from synergynet.geometry.crop import photo_px_per_crop_px
from synergynet.meshes.normals import vertex_normals

UM_PER_MM = 1000.0
MM_PER_M = 1000.0  # glTF's unit is the metre

# of glTF 2.0
_FLOAT, _UNSIGNED_INT = 5126, 5125
_VERTEX_DATA, _TRIANGLE_DATA = 34962, 34963
_JSON_CHUNK, _BINARY_CHUNK = b"JSON", b"BIN\0"


def mesh_from_photo(verts_photo: np.ndarray, params: np.ndarray, roi_box: np.ndarray) -> np.ndarray:
    """A face's vertices in the mesh frame, around the middle of their bounding box.

    A photo alone does not tell sizes: a millimetre is one of the morphable model, whose mean is an
    average head.

    Args:
        verts_photo: (3, V) photo px, y down, z towards the viewer. Not modified.
        params: (62,) real (de-whitened) parameters that the vertices come from.
        roi_box: (4,) crop box sx sy ex ey that the parameters belong to.
    Returns:
        (V, 3) float32 mm, y up.
    """
    crop_px_per_um, _, _ = decompose_camera(camera_of(params))
    photo_px_per_um = crop_px_per_um * photo_px_per_crop_px(roi_box)  # (3,)
    verts = verts_photo.T / (photo_px_per_um * UM_PER_MM)  # (V, 3) mm
    verts = (verts - (verts.min(0) + verts.max(0)) / 2) * (1, -1, 1)
    return verts.astype(np.float32)


# ---------------------------------------------------------------- exporters


def obj_text(
    verts: np.ndarray,
    triangles: np.ndarray,
    colours: np.ndarray | None = None,
    uv: np.ndarray | None = None,
    material_file: str | None = None,
) -> str:
    """Wavefront OBJ in millimetres.

    Args:
        verts: (V, 3) mm, y up.
        triangles: (T, 3).
        colours: (V, 3) BGR, written behind each vertex as MeshLab and Blender read them.
        uv: (V, 2) texture coordinates, v up.
        material_file: name of the file that holds `mtl_text`, beside the OBJ.
    """
    parts = ["# unit: millimetre; y up, z towards the viewer\n"]
    if material_file:
        parts.append(f"mtllib {material_file}\nusemtl face\n")
    if colours is None:
        parts.append(_format_rows("v %.4f %.4f %.4f\n", verts))
    else:
        coloured = np.column_stack([verts, colours[:, ::-1] / 255])
        parts.append(_format_rows("v %.4f %.4f %.4f %.4f %.4f %.4f\n", coloured))
    if uv is None:
        parts.append(_format_rows("f %d %d %d\n", triangles + 1))
    else:
        parts.append(_format_rows("vt %.6f %.6f\n", uv))
        parts.append(_format_rows("f %d/%d %d/%d %d/%d\n", np.repeat(triangles + 1, 2, axis=1)))
    return "".join(parts)


def mtl_text(texture_file: str) -> str:
    """The material of an OBJ: a texture picture beside it, dull."""
    return f"newmtl face\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {texture_file}\n"


def _format_rows(pattern: str, rows: np.ndarray) -> str:
    return pattern * len(rows) % tuple(rows.reshape(-1).tolist())


def ply_bytes(verts: np.ndarray, triangles: np.ndarray, colours: np.ndarray | None = None) -> bytes:
    """Binary little-endian PLY in millimetres; arguments as for `obj_text`."""
    fields = [("xyz", "<f4", 3)]
    properties = ["property float x", "property float y", "property float z"]
    if colours is not None:
        fields.append(("rgb", "u1", 3))
        properties += [f"property uchar {name}" for name in ("red", "green", "blue")]
    vertices = np.empty(len(verts), fields)
    vertices["xyz"] = verts
    if colours is not None:
        vertices["rgb"] = _to_bytes(colours[:, ::-1])
    faces = np.empty(len(triangles), [("count", "u1"), ("corners", "<i4", 3)])
    faces["count"], faces["corners"] = 3, triangles
    header = [
        "ply",
        "format binary_little_endian 1.0",
        "comment unit: millimetre; y up, z towards the viewer",
        f"element vertex {len(vertices)}",
        *properties,
        f"element face {len(faces)}",
        "property list uchar int vertex_indices",
        "end_header\n",
    ]
    return "\n".join(header).encode() + vertices.tobytes() + faces.tobytes()


def glb_bytes(
    verts: np.ndarray,
    triangles: np.ndarray,
    colours: np.ndarray | None = None,
    uv: np.ndarray | None = None,
    texture_png: bytes | None = None,
    normals: np.ndarray | None = None,
) -> bytes:
    """Binary glTF 2.0 with smooth normals, in metres as that format demands.

    Args:
        verts, triangles, colours, uv: as for `obj_text`; glTF's own v points down, this one's up.
        texture_png: an encoded PNG picture for `uv`.
        normals: (V, 3) unit vectors or zero; None for those that the triangles give.
    """
    normals = vertex_normals(verts, triangles) if normals is None else normals
    attributes = {"POSITION": verts / MM_PER_M, "NORMAL": _unit_normals(normals)}
    if colours is not None:
        attributes["COLOR_0"] = _linear_light(colours[:, ::-1] / 255)
    if uv is not None:
        attributes["TEXCOORD_0"] = np.column_stack([uv[:, 0], 1 - uv[:, 1]])
    blocks = [np.ascontiguousarray(a, "<f4").tobytes() for a in attributes.values()]
    blocks.append(np.ascontiguousarray(triangles, "<u4").tobytes())
    accessors = [
        {"bufferView": i, "componentType": _FLOAT, "count": len(a), "type": f"VEC{a.shape[1]}"}
        for i, a in enumerate(attributes.values())
    ]
    for name, bound in (("min", np.min), ("max", np.max)):
        positions = attributes["POSITION"].astype(np.float32)
        accessors[0][name] = bound(positions, axis=0).astype(float).tolist()
    indices = len(accessors)
    count = triangles.size
    accessors.append(
        {"bufferView": indices, "componentType": _UNSIGNED_INT, "count": count, "type": "SCALAR"}
    )
    targets = [{"target": _VERTEX_DATA}] * indices + [{"target": _TRIANGLE_DATA}]
    surface: dict[str, object] = {"metallicFactor": 0.0, "roughnessFactor": 0.9}
    scene: dict[str, object] = {
        "asset": {"version": "2.0", "generator": "SynergyNet"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "face"}],
        "materials": [{"name": "face", "pbrMetallicRoughness": surface, "doubleSided": True}],
        "accessors": accessors,
    }
    if texture_png is not None:
        surface["baseColorTexture"] = {"index": 0}
        scene["textures"] = [{"source": 0}]
        scene["images"] = [{"bufferView": len(blocks), "mimeType": "image/png"}]
        blocks.append(texture_png)
        targets.append({})
    primitive = {
        "attributes": {name: i for i, name in enumerate(attributes)},
        "indices": indices,
        "material": 0,
    }
    scene["meshes"] = [{"name": "face", "primitives": [primitive]}]
    blocks = [_pad(block, b"\0") for block in blocks]
    starts = np.cumsum([0, *map(len, blocks)]).tolist()
    scene["bufferViews"] = [
        {"buffer": 0, "byteOffset": start, "byteLength": len(block)} | target
        for start, block, target in zip(starts, blocks, targets, strict=False)
    ]
    scene["buffers"] = [{"byteLength": starts[-1]}]
    chunks = [
        (_JSON_CHUNK, _pad(json.dumps(scene, separators=(",", ":")).encode(), b" ")),
        (_BINARY_CHUNK, b"".join(blocks)),
    ]
    body = b"".join(struct.pack("<I", len(data)) + kind + data for kind, data in chunks)
    return b"glTF" + struct.pack("<II", 2, 12 + len(body)) + body


def _pad(block: bytes, filler: bytes) -> bytes:
    """glTF's chunks and our blocks begin at multiples of 4 bytes."""
    return block + filler * (-len(block) % 4)


def _unit_normals(normals: np.ndarray) -> np.ndarray:
    """(0, 0, 1) for vertices without a triangle, which have none: glTF admits unit vectors only."""
    return np.where(normals.any(axis=1, keepdims=True), normals, (0, 0, 1))


def _linear_light(srgb: np.ndarray) -> np.ndarray:
    """sRGB values from 0 to 1 as glTF wants vertex colours: proportional to light."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _to_bytes(colours: np.ndarray) -> np.ndarray:
    return np.clip(np.round(colours), 0, 255).astype(np.uint8)
