"""From the model frame into a crop: weak-perspective and perspective cameras, one map for both.

A camera is (4, 4), homogeneous: it takes (x, y, z, 1) of the model to (x w, y w, z w, w) of the
crop, y up, z towards the viewer. The last row of a weak-perspective camera is (0, 0, 0, 1) and may
be left out, as the pose block [s R | t] of real parameters does. A perspective camera takes planes
to planes, depth included; so a z-buffer of flat triangles stays right.
"""

from __future__ import annotations

import cv2
import numpy as np

_NEAREST = 0.1  # of the camera's distance: what comes closer, shoulders below the crop, stays there
_FIT_ROUNDS = 3  # of Gauss-Newton; the fourth changes 1e-6 of the face's size


def perspective_camera(rotation: np.ndarray, centre: np.ndarray, distance: float) -> np.ndarray:
    """A camera (4, 4) that looks at a point from some distance.

    Args:
        rotation: (3, 3) model frame to camera frame: x right, y up, z towards the viewer.
        centre: (3,) the point, which is taken to 0; in its plane the scale is 1.
        distance: between camera and point, in the model's unit.
    """
    camera = np.eye(4)
    camera[:3, :3] = rotation
    camera[:3, 3] = -rotation @ centre
    camera[3] -= camera[2] / distance  # w = 1 - z / distance
    return camera


def project(camera: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (N, 3) of the model frame by a camera (3 or 4, 4): (N, 3), y up."""
    seen = points @ camera[:, :3].T + camera[:, 3]
    if len(camera) == 3:
        return seen
    return seen[:, :3] / np.maximum(seen[:, 3:], np.float32(_NEAREST))


def fit_face(
    points: np.ndarray,
    basis: np.ndarray,
    stiffness: np.ndarray,
    image: np.ndarray,
    start: np.ndarray,
    change: np.ndarray | None = None,
    rounds: int = _FIT_ROUNDS,
) -> tuple[np.ndarray, np.ndarray]:
    """The weak-perspective camera and the changed face nearest to image points, by least squares.

    Args:
        points: (K, 3) of the face, in the model frame. Not modified.
        basis: (K, 3, C) how its C coefficients move them. Not modified.
        stiffness: (C,) what a change of 1 of each coefficient costs, as a distance in the image.
        image: (K, 2), y up. Not modified.
        start: (3, 3) scaled rotation near the wanted one. Not modified.
        change: (C,) changes of the coefficients to start from; None: 0. Not modified.
        rounds: steps of Gauss-Newton.
    Returns:
        (4, 4) camera [s R | t; 0 0 0 1]; the points' mean depth is 0, as depth is not seen.
        (C,) changes of the coefficients.
    """
    count, middle = len(stiffness), image.mean(0)
    image = (image - middle).T  # (2, K)
    by_axis = (basis - basis.mean(0)).transpose(1, 0, 2).reshape(3, len(points) * count)
    penalty = np.append(np.zeros(4), stiffness**2)  # (4 + C,)
    change = np.zeros(count) if change is None else change
    turned = start  # s R
    for _ in range(rounds):
        moved = points + basis @ change
        x, y, z = turned @ (moved - moved.mean(0)).T
        zero = np.zeros_like(z)
        # of growing, and of turning about x, y and z; then of the coefficients
        rigid = np.array([[x, y], [zero, -z], [z, zero], [-y, x]]).reshape(4, -1).T
        soft = (turned[:2] @ by_axis).reshape(image.size, count)
        slopes = np.concatenate([rigid, soft], axis=1)  # (2 K, 4 + C)
        error = (image - (x, y)).ravel() @ slopes - penalty * np.append(np.zeros(4), change)
        step = np.linalg.solve(slopes.T @ slopes + np.diag(penalty), error)
        turned = np.exp(step[0]) * cv2.Rodrigues(step[1:4])[0] @ turned
        change = change + step[4:]
    camera = np.eye(4)
    camera[:3, :3] = turned
    camera[:3, 3] = np.append(middle, 0) - turned @ (points + basis @ change).mean(0)
    return camera, change
