"""The visible outline of a posed face, for 2D points whose jaw (points 0 to 16) follows it.

On a turned head the far cheek hides the jaw bone, and annotators of 2D points mark the cheek. Each
jaw landmark therefore has a *curve* on the face, from itself inwards to the brows, eyes and mouth;
the point of it that lies furthest out in the picture is on the outline. On a face seen from the
front, and on the near side of others, that is the landmark itself.

Source: Zhu et al., "High-Fidelity Pose and Expression Normalization", CVPR 2015 (landmark
marching), as 300W-LP was fitted. There the curves are level; here they lie along the outward
direction of the jaw line, so that the chin moves too.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from synergynet.drawing.rasterize import rasterize_triangles
from synergynet.face_model import MorphableModel
from synergynet.geometry.parameters import N_EXPR, N_LANDMARKS, N_SHAPE

N_JAW = 17
JAW = slice(0, N_JAW)
N_STEPS = 24  # points of a curve
RASTER_UM = 500.0  # the mean face is looked up at this resolution
RASTER_PX = 480  # which shows 240 mm
REACH_PX = 160  # longest curve


@dataclasses.dataclass(frozen=True)
class JawCurves:
    """`X = mean + basis a` on the curves of the 17 jaw landmarks, float64, micrometres, y up.

    Attributes:
        mean: (17, S, 3), the first of each curve's S points being the landmark.
        basis: (17, S, 3, 50) of shape and expression.
        outward: (17, 2) unit vectors of the mean face's front view, x and y: away from the face.
    """

    mean: np.ndarray
    basis: np.ndarray
    outward: np.ndarray

    @classmethod
    def of(cls, morphable: MorphableModel) -> JawCurves:
        """The curves of a morphable model.

        Raises:
            ValueError: it has no triangles.
        """
        if morphable.triangles is None:
            raise ValueError(f"{morphable.name}: no triangles (tri.mat), so no outline")
        verts = np.asarray(morphable.mean_face, np.float64)  # (V, 3)
        rows = np.asarray(morphable.keypoints).reshape(N_LANDMARKS, 3)[:, 0] // 3
        outward = _outward(verts[rows[JAW], :2])
        looked_up = _look_up(verts, morphable.triangles)
        inner = cv2.convexHull(_to_pixels(verts[rows[N_JAW:], :2]).astype(np.float32))
        corners, weights = [], []  # each point of a curve is a mean of three vertices
        for row, direction in zip(rows[JAW], outward, strict=True):
            places = _walk(_to_pixels(verts[row, :2]), direction, inner)  # (n, 2)
            triangle, share = (image[places[:, 1], places[:, 0]] for image in looked_up)
            seen = triangle >= 0
            corner = np.concatenate([[[row] * 3], morphable.triangles[triangle[seen]]])
            share = np.concatenate([[[1.0, 0, 0]], share[seen]])
            length = np.linalg.norm(np.diff(_mix(verts, corner, share), axis=0), axis=1).cumsum()
            evenly = np.searchsorted(length, np.linspace(0, length[-1], N_STEPS)[1:]) + 1
            steps = np.concatenate([[0], evenly.clip(max=len(length))])
            corners.append(corner[steps])
            weights.append(share[steps])
        corner, share = np.stack(corners), np.stack(weights)  # (17, S, 3) each
        bases = [morphable.w_shp, morphable.w_exp]
        columns = [
            _mix(np.asarray(basis, np.float64).reshape(-1, 3 * count), corner, share)
            for basis, count in zip(bases, (N_SHAPE, N_EXPR), strict=True)
        ]
        shp, expr = (c.reshape(*c.shape[:2], 3, -1) for c in columns)
        return cls(_mix(verts, corner, share), np.concatenate([shp, expr], axis=3), outward)

    def outermost(self, points: np.ndarray, camera: np.ndarray) -> np.ndarray:
        """Which point of each curve is on the outline, (17,) from 0 to S - 1.

        Args:
            points: (17, S, 3) of the curves of some face.
            camera: (2 or 3, 3) scaled rotation, y up; only its first two rows matter.
        """
        up = camera[:2, 1] / max(np.linalg.norm(camera[:2, 1]), np.finfo(float).tiny)
        sideways = np.array([up[1], -up[0]])  # where the left of an upright face is: to the right
        direction = self.outward @ np.stack([sideways, up])  # (17, 2) in the picture
        return np.einsum("kd,dc,ksc->ks", direction, camera[:2], points).argmax(1)


def _outward(jaw: np.ndarray) -> np.ndarray:
    """Unit normals (17, 2) of the jaw line (17, 2), x to the right and y up, from its left end."""
    x, y = np.gradient(jaw, axis=0).T
    normals = np.stack([y, -x], axis=1)  # to the right of the way: down at the chin
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def _look_up(verts: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Triangle (480, 480) and weights (480, 480, 3) that the face shows from the front."""
    pixels = _to_pixels(verts[:, :2])
    placed = np.column_stack([pixels, verts[:, 2] / RASTER_UM])
    triangle, weights, _ = rasterize_triangles(placed, triangles, RASTER_PX, RASTER_PX)
    return triangle, weights.astype(np.float64)


def _to_pixels(points: np.ndarray) -> np.ndarray:
    return points * (1 / RASTER_UM, -1 / RASTER_UM) + RASTER_PX / 2


def _walk(start: np.ndarray, outward: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Pixels (n, 2) from a jaw landmark inwards, up to the hull of the inner landmarks."""
    inwards = outward * (-1, 1)  # y down
    way = start + np.arange(1, REACH_PX)[:, None] * inwards
    depth = np.array([cv2.pointPolygonTest(inner, place.tolist(), True) for place in way])
    inside = (depth >= 0).nonzero()[0]
    end = inside[0] if len(inside) else depth.argmax()
    return np.floor(way[: max(end, 1)]).astype(int)


def _mix(values: np.ndarray, corners: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Means (..., C) of rows of values (V, C) at corners (..., 3)."""
    return np.einsum("...kc,...k->...c", values[corners], weights)
