"""Z-buffered triangles under weak perspective, by OpenCV's software rasteriser: no GPU needed.

Image coordinates here are continuous: the picture spans [0, width] x [0, height], y down, and the
centre of its first pixel is (0.5, 0.5). z grows towards the viewer, in the same unit as x and y.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np

# OpenCV offers a perspective camera only. From this many pixels away its rays are nearly parallel;
# what remains of the perspective is divided out beforehand.
_CAMERA_DISTANCE = 2.0**15
_NEAR, _FAR = 0.75 * _CAMERA_DISTANCE, 1.25 * _CAMERA_DISTANCE


def rasterize(
    verts: np.ndarray,
    triangles: np.ndarray,
    attributes: np.ndarray,
    height: int,
    width: int,
    background: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Interpolate three attributes over the visible triangles.

    Args:
        verts: (V, 3) image coordinates x, y, z; |z| below 8,000. Not modified.
        triangles: (T, 3) vertex indices, either orientation.
        attributes: (V, 3) float values within [0, 1], one row a vertex.
        height, width: size of the picture in pixels.
        background: value of the pixels that no triangle covers.
    Returns:
        attribute image (height, width, 3) float32 and depth (height, width) float32: the z of the
        visible point, -inf where nothing is.
    """
    seen_by_camera = _place_before_camera(verts, height, width)
    return _rasterize(seen_by_camera, triangles, attributes, height, width, background)


def rasterize_depth(
    verts: np.ndarray, triangles: np.ndarray, height: int, width: int
) -> np.ndarray:
    """The depth of `rasterize` alone, in half the time."""
    depth = np.full((height, width), _FAR, np.float32)
    distances = cv2.triangleRasterizeDepth(
        _place_before_camera(verts, height, width),
        np.ascontiguousarray(triangles, np.int32),
        depth,
        *_camera(height),
        _settings(),
    )
    return _towards_viewer(distances)


def rasterize_attributes(
    verts: np.ndarray, triangles: np.ndarray, attributes: np.ndarray, height: int, width: int
) -> np.ndarray:
    """The attributes of `rasterize` alone, 0 where nothing is."""
    return np.asarray(
        cv2.triangleRasterizeColor(
            _place_before_camera(verts, height, width),
            np.ascontiguousarray(triangles, np.int32),
            np.ascontiguousarray(attributes, np.float32),
            np.zeros((height, width, 3), np.float32),
            *_camera(height),
            _settings(),
        )
    )


def _place_before_camera(verts: np.ndarray, height: int, width: int) -> np.ndarray:
    """Vertices (V, 3) float32 before OpenCV's camera: x right, y up, z towards the viewer."""
    camera = np.empty((len(verts), 3), np.float32)
    toward = 1.0 - verts[:, 2] / _CAMERA_DISTANCE
    camera[:, 0] = (verts[:, 0] - width / 2) * toward
    camera[:, 1] = (height / 2 - verts[:, 1]) * toward
    camera[:, 2] = verts[:, 2] - _CAMERA_DISTANCE
    return camera


def _rasterize(
    camera: np.ndarray,
    triangles: np.ndarray,
    attributes: np.ndarray,
    height: int,
    width: int,
    background: float,
) -> tuple[np.ndarray, np.ndarray]:
    """`rasterize` of vertices that are placed before the camera."""
    color = np.full((height, width, 3), background, np.float32)
    depth = np.full((height, width), _FAR, np.float32)
    drawn, distances = cv2.triangleRasterize(
        camera,
        np.ascontiguousarray(triangles, np.int32),
        np.ascontiguousarray(attributes, np.float32),
        color,
        depth,
        *_camera(height),
        _settings(),
    )
    return np.asarray(drawn), _towards_viewer(distances)


def _camera(height: int) -> tuple[np.ndarray, float, float, float]:
    """Pose, field of view and the nearest and farthest distance of OpenCV's camera."""
    view = 2 * float(np.arctan(height / 2 / _CAMERA_DISTANCE))
    return np.eye(4, dtype=np.float32), view, _NEAR, _FAR


def _settings() -> cv2.TriangleRasterizeSettings:
    settings = cv2.TriangleRasterizeSettings()
    settings.setShadingType(cv2.RASTERIZE_SHADING_SHADED)
    settings.setCullingMode(cv2.RASTERIZE_CULLING_NONE)
    return settings


def _towards_viewer(distances: cv2.typing.MatLike) -> np.ndarray:
    """z of a buffer of distances from the camera; -inf where nothing is."""
    z = _CAMERA_DISTANCE - np.asarray(distances)
    z[z <= _CAMERA_DISTANCE - _FAR] = -np.inf
    return z


def rasterize_triangles(
    verts: np.ndarray, triangles: np.ndarray, height: int, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which triangle each pixel shows and where on it, to interpolate any number of attributes.

    Args:
        verts: (V, 3) image coordinates x, y, z; |z| below 8,000. Not modified.
        triangles: (T, 3) vertex indices, either orientation; T from 1 to 2**20 - 1.
        height, width: size of the picture in pixels.
    Returns:
        triangle (height, width) int32, -1 where nothing is; weights (height, width, 3) float32 of
        its corners; depth (height, width) float32: the z of the visible point, -inf where nothing
        is.
    """
    count = len(triangles)
    size = 1 << count.bit_length()  # above the count
    own_corners, labels = _separate_triangles(size)
    corners = _place_before_camera(verts, height, width).take(triangles.reshape(-1), 0)
    seen, depth = _rasterize(
        corners, own_corners[:count], labels[: 3 * count], height, width, background=0.0
    )
    triangle = np.rint(seen[..., 0] * size).astype(np.int32) - 1
    seen[..., 0] = 1 - seen[..., 1] - seen[..., 2]
    return triangle, seen, depth


def cover_pixels(verts: np.ndarray, corners: np.ndarray, size: int) -> np.ndarray:
    """(T,) bool: triangles whose box has the centre of a pixel in it; the others are not seen.

    Args:
        verts: (2, N) image coordinates x, y; the picture spans [0, size] in both. Not modified.
        corners: (3, T) vertex indices. Not modified.
        size: of the picture in pixels.
    """
    covers = np.ones(corners.shape[1], bool)
    for axis in verts:
        a, b, c = axis.take(corners)
        low = np.maximum(np.minimum(np.minimum(a, b), c), 0)
        high = np.minimum(np.maximum(np.maximum(a, b), c), size)
        # The first and the last pixel whose centre lies between, with slack for rounding.
        covers &= np.ceil(low - np.float32(0.51)) <= np.floor(high - np.float32(0.49))
    return covers


@functools.lru_cache(maxsize=4)
def _separate_triangles(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Triangles (size, 3) int32 that share no corner, and attributes (3 * size, 3) of the corners:
    the triangle's number from 1 on, over `size`, and the weights of the second and the third."""
    labels = np.zeros((size, 3, 3), np.float32)
    labels[:, :, 0] = (np.arange(size, dtype=np.float32)[:, None] + 1) / size
    labels[:, 1, 1] = labels[:, 2, 2] = 1
    return np.arange(3 * size, dtype=np.int32).reshape(size, 3), labels.reshape(-1, 3)
