"""Textures of faces: unwrapped from the photo, and colours of vertices.

A texture is a square picture; its coordinates uv run from 0 to 1, u to the right and v up, as OBJ
and BFM_UV.npy have them. What the photo does not show of a face is taken from its other half.
Faces are (3, V) photo px, y down, z towards the viewer, as in `drawing.surface`.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from synergynet.drawing.maps import depth_map
from synergynet.drawing.rasterize import rasterize
from synergynet.face_model import MorphableModel
from synergynet.meshes.dense import EYES, MOUTH, DenseSurface
from synergynet.meshes.normals import vertex_normals
from synergynet.meshes.topology import nearest_points

TEXTURE_PX = 1024
MARGIN = 0.01  # of a texture that stays empty at each side
# A surface counts in full when this much of it faces the camera (cosine), and fades to nothing.
FACING_NONE, FACING_FULL = 0.3, 0.7
HIDDEN_BEHIND = 0.02  # a point so far behind the visible one is hidden, relative to the face's size
FADE = 1 / 64  # of the texture's side: how softly the photo's part passes into the mirrored one


@dataclasses.dataclass(frozen=True, eq=False)
class Unwrapping:
    """How the surface of a face model lies in a texture.

    Attributes:
        uv: (V, 2) float32 texture coordinates.
        mirror_uv: (V, 2) float32 those of the same place on the face's other half.
        order: (V,) float32, 0 to 1: where parts of the surface overlap, the larger is seen.
    """

    uv: np.ndarray
    mirror_uv: np.ndarray
    order: np.ndarray


def unwrap_model(model: MorphableModel) -> Unwrapping:
    """Texture coordinates of a face model: its own, or its mean face unrolled as a cylinder.

    Args:
        model: of numpy arrays.
    """
    mean = model.mean_face
    uv = cylinder_uv(mean) if model.uv is None else model.uv
    radius = np.hypot(mean[:, 0], mean[:, 2])
    # the mean face is nearly symmetric: the other half's place lies among the nearest vertices
    mirror_uv = _from_nearest(mean, uv, mean * (-1, 1, 1))
    order = (radius - radius.min()) / np.ptp(radius)
    return Unwrapping(*(np.asarray(a, np.float32) for a in (uv, mirror_uv, order)))


def unwrap_surface(model: MorphableModel, surface: DenseSurface) -> Unwrapping:
    """The layout of `unwrap_model` for all vertices (W, ...) of one of the model's dense surfaces.

    Eyeballs and inner mouth lie where closed eyes and lips do, which hide them.

    Args:
        model: of numpy arrays.
        surface: its `dense` or `dense_with_parts`.
    """
    plain = unwrap_model(model)
    values = np.column_stack([plain.uv, plain.mirror_uv, plain.order])  # (V, 5)
    values = surface.apply(values.T).clip(0, 1).T
    if surface is not model.dense:
        front = (1, 1, 0)
        closed = model.dense.apply(model.mean_face.T).T * front
        mean = surface.apply(model.mean_face.T).T * front
        known = unwrap_surface(model, model.dense).uv
        for part in (EYES, MOUTH):
            shown, hidden = model.dense.vertices_of(part), surface.vertices_of(part)
            if len(shown) and len(hidden):
                values[hidden, :2] = _from_nearest(closed[shown], known[shown], mean[hidden])
    return Unwrapping(values[:, :2], values[:, 2:4], values[:, 4])


def _from_nearest(points: np.ndarray, values: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Values (M, C) at queries (M, 3) from those (N, C) of the three nearest of points (N, 3)."""
    distance, nearest = nearest_points(points, queries, count=3)  # (M, 3) each
    weight = 1 / (distance + 1e-6 * np.abs(points).max())
    return np.einsum("vk,vkc->vc", weight / weight.sum(1, keepdims=True), values[nearest])


def cylinder_uv(mean: np.ndarray) -> np.ndarray:
    """Texture coordinates (V, 2) of a face (V, 3), y up: the angle about the y axis, the height."""
    unrolled = np.column_stack([np.arctan2(mean[:, 0], mean[:, 2]), mean[:, 1]])
    low, high = unrolled.min(0), unrolled.max(0)
    widest = max(-low[0], high[0])
    low[0], high[0] = -widest, widest  # the middle of the face is the middle of the texture
    return MARGIN + (1 - 2 * MARGIN) * (unrolled - low) / (high - low)


def unwrap_texture(
    image: np.ndarray,
    verts_photo: np.ndarray,
    triangles: np.ndarray,
    unwrapping: Unwrapping,
    size_px: int = TEXTURE_PX,
) -> tuple[np.ndarray, np.ndarray]:
    """A face's texture from its photo; what is hidden is filled from the other half.

    What neither half shows is filled smoothly from around.

    Args:
        image: (H, W, 3) uint8 BGR. Not modified.
        verts_photo: (3, V).
        triangles: (T, 3).
        unwrapping: of the face model.
        size_px: side of the texture.
    Returns:
        texture (size_px, size_px, 3) uint8 BGR, and how visible each of its pixels is in the photo,
        (size_px, size_px) float32 from 0 to 1.
    """
    image, verts_photo = _around_face(image, verts_photo)
    low = verts_photo.min(axis=1, keepdims=True)
    extent = np.maximum(np.ptp(verts_photo, axis=1, keepdims=True), 1e-6)
    facing = vertex_normals(verts_photo.T * (1, -1, 1), triangles)[:, 2].clip(0, 1)  # cosine
    looks = np.column_stack([facing, unwrapping.mirror_uv])
    place, covered = _rasterize_uv(((verts_photo - low) / extent).T, triangles, unwrapping, size_px)
    looks, _ = _rasterize_uv(looks, triangles, unwrapping, size_px)
    x, y, z = np.moveaxis(place * extent[:, 0] + low[:, 0], 2, 0).astype(np.float32)
    facing, mirror_u, mirror_v = np.moveaxis(looks, 2, 0)

    colours = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    depth = depth_map([verts_photo], triangles, image.shape)
    nearest = cv2.remap(  # depth of what the photo shows there; NaN where that is no face
        depth, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=np.inf
    )
    hidden = z < nearest - HIDDEN_BEHIND * extent.max()  # or outside the photo
    visible = np.clip((facing - FACING_NONE) / (FACING_FULL - FACING_NONE), 0, 1)
    visible[hidden | ~covered] = 0
    fade = (max(1, round(size_px * FADE)),) * 2
    visible = cv2.blur(cv2.erode(visible, np.ones(fade)), fade)

    mirror = mirror_u * size_px - 0.5, (1 - mirror_v) * size_px - 0.5
    mirrored_colours = cv2.remap(colours, *mirror, cv2.INTER_LINEAR).astype(np.float32)
    mirrored = cv2.remap(visible, *mirror, cv2.INTER_LINEAR) * (1 - visible) * covered
    own = visible**2  # what is seen at a slant may be background already: rather the other half's
    mixed = own[:, :, None] * colours + mirrored[:, :, None] * mirrored_colours
    mixed /= np.maximum(own + mirrored, 1e-6)[:, :, None]
    known = visible + mirrored
    return np.round(_fill(mixed, known)).astype(np.uint8), visible


def _around_face(image: np.ndarray, verts_photo: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part of a photo with a face in it, and the vertices (3, V) there.

    The whole photo may have more rows or columns than OpenCV can map from, 32,767.
    """
    size = np.array(image.shape[1::-1])
    start = (np.floor(verts_photo[:2].min(axis=1)).astype(int) - 1).clip(0, size - 1)
    end = (np.ceil(verts_photo[:2].max(axis=1)).astype(int) + 2).clip(start + 1, size)
    part = image[start[1] : end[1], start[0] : end[0]]
    return part, verts_photo - np.array([*start, 0.0])[:, None]


def _rasterize_uv(
    attributes: np.ndarray, triangles: np.ndarray, unwrapping: Unwrapping, size_px: int
) -> tuple[np.ndarray, np.ndarray]:
    """Three attributes (V, 3), 0 to 1, laid out in a texture, and where the face covers it."""
    u, v = unwrapping.uv.T
    verts = np.column_stack([u, 1 - v, unwrapping.order]) * size_px
    pixels, depth = rasterize(verts, triangles, attributes, size_px, size_px)
    return pixels, np.isfinite(depth)


def _fill(colours: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Fill what is not known from ever coarser pictures; `known` (H, W) is from 0 to 1."""
    height, width = known.shape
    if max(height, width) == 1:
        return colours
    half = (width + 1) // 2, (height + 1) // 2
    weight = cv2.resize(known, half, interpolation=cv2.INTER_AREA)
    sums = cv2.resize(colours * known[:, :, None], half, interpolation=cv2.INTER_AREA)
    coarse = _fill(sums / np.maximum(weight, 1e-6)[:, :, None], np.minimum(4 * weight, 1))
    around = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return known[:, :, None] * colours + (1 - known[:, :, None]) * around


def vertex_colours(texture: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Colours (V, 3) uint8 BGR of vertices at texture coordinates (V, 2)."""
    height, width = texture.shape[:2]
    grid = -(-len(uv) // 256), 256  # cv2 limits rows and columns to 32767 each
    x = np.resize(uv[:, 0] * width - 0.5, grid).astype(np.float32)
    y = np.resize((1 - uv[:, 1]) * height - 0.5, grid).astype(np.float32)
    colours = cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return colours.reshape(-1, 3)[: len(uv)]
