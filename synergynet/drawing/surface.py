"""3D faces drawn over photos: shaded overlay, wireframe and pose box, without a GPU.

Faces are (3, V) photo px, y down, z towards the viewer, where whole numbers are pixel centres.
Triangles run counter-clockwise from outside. Only the part of the photo that a face covers is
rasterised, and only triangles that look at the camera. Functions return a new image.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from synergynet.drawing.lines import SUBPIXEL_BITS, fixed_point
from synergynet.drawing.rasterize import rasterize, rasterize_attributes
from synergynet.meshes.normals import vertex_normals
from synergynet.meshes.topology import nearest_points

CLAY_BGR = (244, 240, 235)
LINE_BGR = (240, 220, 120)
BOX_BGR = (60, 200, 250)

# light of the overlay; directions in x right, y up, z towards the viewer
AMBIENT, DIFFUSE, SPECULAR, SHININESS = 0.315, 0.685, 0.12, 24
LIGHT = np.array([-0.249, 0.449, 0.858])  # unit length; over the viewer's left shoulder
HALFWAY = np.array([-0.129, 0.233, 0.964])  # unit length; between light and viewer
DIRECTIONS = np.array([LIGHT, HALFWAY], np.float32)
FADE = 0.08  # of the model's height: from its cut edge inwards the overlay grows opaque

LINE_WIDTH_PX = 1.0
SPARSE_PX, FAINTEST = 6.0, 0.4  # lines of triangles this high are drawn in full, others fainter
BOX_MARGIN = 0.06  # of the pose box around the face, relative to its size

Box = tuple[slice, slice]  # rows and columns of a photo


def draw_faces(
    image: np.ndarray,
    verts_photo: Sequence[np.ndarray] | np.ndarray,
    triangles: np.ndarray | Sequence[np.ndarray],
    colour: tuple[int, int, int] = CLAY_BGR,
    opacity: float = 0.8,
    fade: np.ndarray | None = None,
    normals: Sequence[np.ndarray | None] | None = None,
) -> np.ndarray:
    """Draw shaded faces over a photo; larger faces are taken for nearer ones.

    Args:
        image: (H, W, 3) uint8 BGR. Not modified.
        verts_photo: (3, V) of each face.
        triangles: (T, 3) of all faces, or a list of each face's.
        colour: BGR of the material, 0 to 255.
        opacity: 1 hides the photo below.
        fade: (V,) factors of the opacity, as from `edge_fade`; faces of fewer vertices use as many.
        normals: (V, 3) of each face, unit vectors, y up; None for those that its triangles give.
    """
    image = image.copy()
    material = np.column_stack([colour, (255, 255, 255), (0, 0, 0)])  # diffuse, highlight, opacity
    for index in far_to_near(verts_photo):
        verts = verts_photo[index]
        own = triangles if isinstance(triangles, np.ndarray) else triangles[index]
        front = front_triangles(verts, own)
        looks = np.empty((verts.shape[1], 3), np.float32)
        given = None if normals is None else normals[index]
        looks[:, :2] = shade(verts, front) if given is None else _light(given)
        looks[:, 2] = opacity if fade is None else opacity * fade[: len(looks)]
        drawn = _rasterize_looks(verts, front, looks, image.shape)
        if drawn is None:
            continue
        box, looks = drawn
        opaque = np.ascontiguousarray(looks[:, :, 2])
        covered = (opaque > 0).astype(np.float32)
        weight = opaque * cv2.blur(covered, (3, 3))  # softer at the outline
        pixels = cv2.convertScaleAbs(cv2.transform(looks, material))
        image[box] = cv2.blendLinear(pixels, image[box], weight, 1 - weight)
    return image


def edge_fade(mean: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """Fade (V,) for `draw_faces`: 0 at the edge where the face was cut out of its head, then 1.

    Args:
        mean: (V, 3) mean face, y up, in any unit.
        edge: (E, 3) points of that edge, as `meshes.topology.outer_border` finds them.
    """
    distance = nearest_points(edge, mean)[0][:, 0]
    return np.minimum(distance / (FADE * np.ptp(mean[:, 1])), 1).astype(np.float32)


def draw_wireframe(
    image: np.ndarray,
    verts_photo: Sequence[np.ndarray] | np.ndarray,
    triangles: np.ndarray,
    colour: tuple[int, int, int] = LINE_BGR,
    opacity: float = 0.9,
) -> np.ndarray:
    """Draw the visible edges of the triangles, anti-aliased; other arguments as for `draw_faces`.

    Where triangles are not much larger than a pixel, lines are fainter, so that the photo shows.
    """
    image = image.copy()
    for index in far_to_near(verts_photo):
        verts = verts_photo[index]
        front = front_triangles(verts, triangles)
        if not len(front):
            continue
        corners = verts.T[front].reshape(-1, 3)  # (3T, 3): no two triangles share a corner
        separate = np.arange(len(corners)).reshape(-1, 3)
        altitude = _altitudes(corners[:, :2].reshape(-1, 3, 2))  # (T, 3)
        scale = max(float(altitude.max()), 1.0)
        # a corner's altitude in its own column interpolates to the distance from the edge opposite
        distance = (altitude[:, :, None] * np.eye(3) / scale).reshape(-1, 3)  # (3T, 3)
        drawn = rasterize_face(corners.T, separate, distance, image.shape)
        if drawn is None:
            continue
        box, distance, depth = drawn
        line = np.clip(LINE_WIDTH_PX / 2 + 0.5 - scale * distance.min(axis=2), 0, 1)
        strength = np.clip(np.median(altitude) / SPARSE_PX, FAINTEST, 1)
        weight = (opacity * strength * line * np.isfinite(depth)).astype(np.float32)
        pixels = np.full_like(image[box], colour)
        image[box] = cv2.blendLinear(pixels, image[box], weight, 1 - weight)
    return image


def draw_pose_box(
    image: np.ndarray,
    rotation: np.ndarray,
    verts_photo: np.ndarray,
    colour: tuple[int, int, int] = BOX_BGR,
    *,
    in_place: bool = False,
) -> np.ndarray:
    """Draw a box around the head, turned as the head is; its front is drawn thicker.

    Args:
        image: (H, W, 3) uint8 BGR. Not modified, but for `in_place`.
        rotation: (3, 3) model frame to crop frame, y up, as in `synergynet.geometry.pose`.
        verts_photo: (3, N) photo px, y down: dense face or landmarks.
        colour: BGR.
        in_place: draw on `image` itself.
    """
    image = image if in_place else image.copy()
    upright = rotation.T @ (verts_photo * [[1], [-1], [1]])  # (3, N) along the head's own axes
    low, high = upright.min(axis=1), upright.max(axis=1)
    margin = BOX_MARGIN * (high - low).max()
    low, high = low - margin, high + margin
    ends = np.stack([low, high])  # (2, 3)
    corners = np.array([[ends[i, 0], ends[j, 1], ends[k, 2]]
                        for k in (0, 1) for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))])  # fmt: skip
    points = fixed_point((corners @ rotation.T)[:, :2] * (1, -1))  # (8, 2), the back's four first
    thickness = max(1, round((high - low).max() / 160))
    for index in range(4):
        cv2.line(image, points[index], points[index + 4], colour, thickness, 16, SUBPIXEL_BITS)
    cv2.polylines(image, [points[:4]], True, colour, thickness, 16, SUBPIXEL_BITS)
    cv2.polylines(image, [points[4:]], True, colour, 2 * thickness, 16, SUBPIXEL_BITS)
    return image


# ---------------------------------------------------------------- parts


def shade(verts_photo: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Light (V, 2) on vertices, 0 to 1: ambient and diffuse, and a dull highlight."""
    return _light(vertex_normals(verts_photo.T * np.array([1, -1, 1], np.float32), triangles))


def _light(normals: np.ndarray) -> np.ndarray:
    """`shade` of normals (V, 3), y up."""
    towards_light, towards_halfway = np.maximum(normals @ DIRECTIONS.T, 0).T  # (V,) cosines each
    highlight = SPECULAR * towards_halfway**SHININESS
    return np.column_stack([AMBIENT + DIFFUSE * towards_light, highlight])


def far_to_near(faces: Sequence[np.ndarray] | np.ndarray) -> list[int]:
    """Numbers of faces (3, V) by their size in the photo, smallest first."""
    return sorted(range(len(faces)), key=lambda index: np.ptp(faces[index][1]))


def front_triangles(verts_photo: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """The triangles (M, 3) that look at the camera: counter-clockwise as one sees them."""
    a, b, c = (verts_photo[:2].take(corner, axis=1) for corner in triangles.T)  # (2, T) each
    (bx, by), (cx, cy) = b - a, c - a
    return triangles[bx * cy < by * cx]


def rasterize_face(
    verts_photo: np.ndarray, triangles: np.ndarray, attributes: np.ndarray, shape: Sequence[int]
) -> tuple[Box, np.ndarray, np.ndarray] | None:
    """Interpolate three attributes over the visible surface of a face, in its part of the photo.

    Args:
        verts_photo: (3, V).
        triangles: (T, 3), of either orientation; see `front_triangles`.
        attributes: (V, 3), 0 to 1.
        shape: height and width of the photo, and more.
    Returns:
        the covered part of the photo, attributes (h, w, 3) and depth (h, w) float32 in it, z in px
        with -inf where no face is; None when the face lies outside.
    """
    if (part := _part_of_photo(verts_photo, shape)) is None:
        return None
    box, origin = part
    height, width = (side.stop - side.start for side in box)
    pixels, depth = rasterize(verts_photo.T - origin, triangles, attributes, height, width)
    return box, pixels, depth + origin[2]


def _rasterize_looks(
    verts_photo: np.ndarray, triangles: np.ndarray, attributes: np.ndarray, shape: Sequence[int]
) -> tuple[Box, np.ndarray] | None:
    """`rasterize_face` without its depth."""
    if (part := _part_of_photo(verts_photo, shape)) is None:
        return None
    box, origin = part
    height, width = (side.stop - side.start for side in box)
    verts = verts_photo.T - origin
    return box, rasterize_attributes(verts, triangles, attributes, height, width)


def _part_of_photo(verts_photo: np.ndarray, shape: Sequence[int]) -> tuple[Box, np.ndarray] | None:
    """The part of a photo that a face (3, V) covers, and its first corner in the face's frame."""
    low = np.maximum(np.floor(verts_photo[:2].min(axis=1)).astype(int), 0)
    high = np.minimum(np.ceil(verts_photo[:2].max(axis=1)).astype(int) + 1, [shape[1], shape[0]])
    if (high <= low).any():
        return None
    middle = float(verts_photo[2].mean())  # translations along z mean nothing, and can be large
    origin = np.array([low[0] - 0.5, low[1] - 0.5, middle])  # whole numbers are pixel centres
    return (slice(low[1], high[1]), slice(low[0], high[0])), origin


def _altitudes(corners: np.ndarray) -> np.ndarray:
    """Distances (T, 3) of triangles' corners (T, 3, 2) from the edges opposite to them, px."""
    sides = np.roll(corners, -2, axis=1) - np.roll(corners, -1, axis=1)  # opposite to each corner
    area = np.abs(sides[:, 0, 0] * sides[:, 1, 1] - sides[:, 0, 1] * sides[:, 1, 0])  # twice
    return area[:, None] / np.maximum(np.linalg.norm(sides, axis=2), 1e-6)
