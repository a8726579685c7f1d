"""What the photo shows of a face, pixel by pixel: depth, and the place on the mean face (PNCC).

Faces are (3, V) photo px, y down, z towards the viewer, as in `drawing.surface`.
Source: 3DDFA (Zhu et al., CVPR 2016) for PNCC, the projected normalised coordinate code.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from synergynet.drawing.surface import far_to_near, front_triangles, rasterize_face


def depth_map(
    verts_photo: Sequence[np.ndarray] | np.ndarray, triangles: np.ndarray, shape: Sequence[int]
) -> np.ndarray:
    """Depth (H, W) float32 of the visible surface: z in photo px, NaN where no face is.

    Only differences within one face mean anything: weak perspective has no distance.

    Args:
        verts_photo: (3, V) of each face.
        triangles: (T, 3).
        shape: height and width of the photo, and more.
    """
    picture = np.full(shape[:2], np.nan, np.float32)
    for index in far_to_near(verts_photo):
        verts = verts_photo[index]
        front = front_triangles(verts, triangles)
        if drawn := rasterize_face(verts, front, np.zeros((verts.shape[1], 3)), shape):
            box, _, depth = drawn
            picture[box] = np.where(np.isfinite(depth), depth, picture[box])
    return picture


def depth_picture(
    verts_photo: Sequence[np.ndarray] | np.ndarray, triangles: np.ndarray, shape: Sequence[int]
) -> np.ndarray:
    """Depth to look at, (H, W, 3) uint8: white is each face's nearest point, black no face.

    Arguments as for `depth_map`.
    """
    shades = [
        np.column_stack([(verts[2] - verts[2].min()) / np.ptp(verts[2]) * 0.85 + 0.15] * 3)
        for verts in verts_photo
    ]
    return _paint(verts_photo, triangles, shades, shape)


def pncc(
    verts_photo: Sequence[np.ndarray] | np.ndarray,
    triangles: np.ndarray,
    mean: np.ndarray,
    shape: Sequence[int],
) -> np.ndarray:
    """Projected normalised coordinate code, (H, W, 3) uint8: says which place of the face is seen.

    Each vertex has its place on the mean face as its colour, scaled to 0 .. 255 by axis: x is red,
    y green, z blue; the picture is BGR as all are here. Black where no face is.

    Args:
        verts_photo, triangles, shape: as for `depth_map`.
        mean: (V, 3) mean face, y up.
    """
    code = (mean - mean.min(0)) / np.ptp(mean, axis=0)
    return _paint(verts_photo, triangles, [code[:, ::-1]] * len(verts_photo), shape)


def _paint(
    faces: Sequence[np.ndarray] | np.ndarray,
    triangles: np.ndarray,
    colours: Sequence[np.ndarray],
    shape: Sequence[int],
) -> np.ndarray:
    """Faces in the colours (V, 3), 0 to 1, of their vertices on black, without light."""
    picture = np.zeros((*shape[:2], 3), np.uint8)
    for index in far_to_near(faces):
        front = front_triangles(faces[index], triangles)
        if drawn := rasterize_face(faces[index], front, colours[index], shape):
            box, pixels, depth = drawn
            picture[box][np.isfinite(depth)] = np.round(pixels * 255)[np.isfinite(depth)]
    return picture
