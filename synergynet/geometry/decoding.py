"""From the 62 numbers to points of a linear face: the one decoder of network, files and scores.

`X = mean + shp a_shp + expr a_exp` in the model frame, `v = P X + t` in the crop with y up, then
image rows: y = 121 - y. Source: SynergyNet, section 3, equations 1 and 2.
"""

from __future__ import annotations

from synergynet.geometry.arrays import Array, namespace
from synergynet.geometry.camera import camera_of
from synergynet.geometry.parameters import EXPR, IMG_SIZE, SHAPE


def decode_points(params: Array, mean: Array, shp: Array, expr: Array) -> Array:
    """Points of faces in the crop, from real (de-whitened) parameters.

    Args:
        params: (B, 62), of the dtype and on the device of the bases.
        mean: (3N, 1) micrometres, interleaved x0 y0 z0 x1 ...; all vertices, or the landmarks'.
        shp, expr: (3N, 40) and (3N, 10) bases.
    Returns:
        (B, 3, N) crop px, y down.
    """
    camera = camera_of(params)  # (B, 3, 4) [P | t]
    return turn_y(camera[:, :, :3] @ model_points(params, mean, shp, expr) + camera[:, :, 3:])


def model_points(params: Array, mean: Array, shp: Array, expr: Array) -> Array:
    """`decode_points` before the camera: (B, 3, N) micrometres in the model frame, y up."""
    verts_model = params[:, SHAPE] @ shp.T  # (B, 3N), one pass a basis
    verts_model += params[:, EXPR] @ expr.T
    verts_model += mean.T
    return verts_model.reshape(-1, mean.shape[0] // 3, 3).mT


def turn_y(points: Array) -> Array:
    """Points (..., 2 or 3, N) of the crop from y up to y down, and back. Not modified."""
    xp = namespace(points)
    x, y, rest = points[..., :1, :], points[..., 1:2, :], points[..., 2:, :]
    return xp.concat([x, IMG_SIZE + 1 - y, rest], axis=-2)
