"""The 62 parameters of a face from its 68 landmarks: regularised weak-perspective fitting.

Minimised over scaled rotation, translation, shape and expression, with an analytic Jacobian:

    sum_k w_k |project(X_k) - landmark_k|^2 / sigma^2  +  sum_i ((a_i - mean_i) / std_i)^2

The first sum is in units of the face's size; the second is a Gaussian prior with the whitening of
the morphable model. The weights w_k are Cauchy's and come from the last round's distances, so that
points which the 3D model cannot explain fade out. 2D annotations follow the visible outline where a
turned head hides the jaw bone: there the far half of the jaw has no weight. (On a photo of 300W-LP
turned by -44 degrees, its `pt2d` give -44.0 with the open model instead of -35.7; on 8 of
AFLW2000-3D, whose points are 3D, leaving it out costs 0.2 px.)

Sources: Blanz & Vetter, PAMI 2003, for the prior; 3DDFA (Zhu et al., PAMI 2017) for the parameters.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.optimize
from scipy.spatial.transform import Rotation

from synergynet.geometry.parameters import IMG_SIZE, N_LANDMARKS, N_POSE
from utils.data.landmark_model import LandmarkModel

NOISE = 0.01  # standard deviation of a landmark, in face sizes
CAUCHY_SCALE = 2.0  # a point this many standard deviations off has half its weight
FAR_JAW_SINE = 0.35  # a head turned further than this has a hidden jaw
RIGHT_JAW, LEFT_JAW = slice(0, 8), slice(9, 17)  # landmarks; the chin is in neither
ROUNDS = 6  # the first with all points alike, the others re-weighted


@dataclasses.dataclass(frozen=True)
class Fit:
    """A fitted face.

    Attributes:
        params: (62,) float64 real photo parameters (see `synergynet.geometry.landmark_model`).
        landmarks: (3, 68) of the fitted face, photo px, y down; the mean z is 0 after a 2D fit.
        distance_px: (68,) 2D distance of each landmark from its annotation, photo px.
        residual: its mean, without a hidden jaw, over the face's size: a fraction, as the NME is.
    """

    params: np.ndarray
    landmarks: np.ndarray
    distance_px: np.ndarray
    residual: float


def fit_landmarks(landmarks: np.ndarray, model: LandmarkModel) -> Fit:
    """Fit pose, shape and expression to the landmarks of one face.

    Args:
        landmarks: (2 or 3, 68) photo px, y down; z, if there, out of the face. Not modified.
        model: landmarks of a morphable model.
    Raises:
        ValueError: another shape, not finite, or the points lie on one line.
    """
    landmarks = np.asarray(landmarks, np.float64)
    if landmarks.shape not in ((2, N_LANDMARKS), (3, N_LANDMARKS)):
        raise ValueError(f"landmarks of shape {landmarks.shape}, expected (2 or 3, {N_LANDMARKS})")
    if not np.isfinite(landmarks).all():
        raise ValueError("landmarks that are not finite")
    width, height = np.ptp(landmarks[:2], axis=1)
    face_px = np.sqrt(width * height)
    if face_px == 0:
        raise ValueError("landmarks that span no area")
    target = landmarks.copy()
    target[1] = IMG_SIZE + 1 - target[1]  # y up, as the camera has it
    centre = target.mean(1, keepdims=True)  # (D, 1)
    problem = _Problem((target - centre) / face_px, model)
    unknowns, weights = problem.start(), np.ones(N_LANDMARKS)
    for _ in range(ROUNDS):
        solution = scipy.optimize.least_squares(
            problem.residuals, unknowns, problem.jacobian, method="lm", args=(weights,)
        )
        unknowns = solution.x
        weights = problem.weights(unknowns)  # (68,)
    params = problem.params(unknowns, face_px, centre[:, 0])
    fitted = model.decode(params)
    distance_px = np.hypot(*(fitted[:2] - landmarks[:2]))  # (68,)
    return Fit(params, fitted, distance_px, distance_px[weights > 0].mean() / face_px)


class _Problem:
    """One face in units of its size. Unknowns: quaternion (4), translation (D), coefficients (50).

    The quaternion is not normalised: its squared length is the camera's scale, so that scaled
    rotations are plain quadratic polynomials of four numbers, without constraints.
    """

    def __init__(self, target: np.ndarray, model: LandmarkModel) -> None:
        self.target = target  # (D, 68)
        self.dims = len(target)
        self.unit = np.sqrt(model.mean.var(axis=0).sum())  # micrometres
        basis = np.concatenate([model.shp, model.expr], axis=2) / self.unit  # (68, 3, 50)
        self.prior_mean, self.prior_std = model.param_mean[N_POSE:], model.param_std[N_POSE:]
        self.offset = model.mean.mean(0) / self.unit
        self.mean = model.mean / self.unit - self.offset + basis @ self.prior_mean  # (68, 3)
        self.basis = basis * self.prior_std  # (68, 3, 50) of whitened coefficients

    def start(self) -> np.ndarray:
        """The mean face under the scaled rotation nearest to its best affine camera."""
        affine = np.linalg.lstsq(self.mean - self.mean.mean(0), self.target[:2].T, rcond=None)[0]
        left, scales, right = np.linalg.svd(affine.T, full_matrices=False)  # (2, 2), (2,), (2, 3)
        rows = left @ right  # (2, 3) orthonormal
        rotation = Rotation.from_matrix(np.vstack([rows, np.cross(*rows)]))
        quaternion = np.sqrt(scales.mean()) * np.roll(rotation.as_quat(), 1)  # w first
        translation = -(scales.mean() * rotation.as_matrix() @ self.mean.mean(0))[: self.dims]
        return np.concatenate([quaternion, translation, np.zeros(self.basis.shape[2])])

    def residuals(self, unknowns: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """(D * 68 + 50,): landmarks in standard deviations of their noise, then the prior."""
        error = (self._project(unknowns) - self.target) * np.sqrt(weights) / NOISE  # (D, 68)
        return np.concatenate([error.ravel(), unknowns[4 + self.dims :]])

    def jacobian(self, unknowns: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """(D * 68 + 50, 4 + D + 50) derivatives of `residuals`."""
        dims, coefficients = self.dims, self.basis.shape[2]
        slopes = _scaled_rotation_slopes(unknowns[:4])[:, :dims]  # (4, D, 3)
        rotation = _scaled_rotation(unknowns[:4])[:dims]  # (D, 3)
        by_quaternion = np.einsum("qdc,kc->dkq", slopes, self._points(unknowns))
        by_translation = np.broadcast_to(np.eye(dims)[:, None], (dims, N_LANDMARKS, dims))
        by_coefficient = np.einsum("dc,kcs->dks", rotation, self.basis)
        data = np.concatenate([by_quaternion, by_translation, by_coefficient], axis=2)
        data = data * (np.sqrt(weights) / NOISE)[:, None]  # (D, 68, 4 + D + 50)
        prior = np.eye(coefficients, 4 + dims + coefficients, 4 + dims)
        return np.concatenate([data.reshape(dims * N_LANDMARKS, -1), prior])

    def weights(self, unknowns: np.ndarray) -> np.ndarray:
        """Cauchy's weight of each landmark, (68,) in (0, 1]; 0 for a hidden jaw in 2D."""
        error = np.linalg.norm((self._project(unknowns) - self.target)[:2], axis=0) / NOISE  # (68,)
        weights = 1 / (1 + (error / CAUCHY_SCALE) ** 2)
        rotation = _scaled_rotation(unknowns[:4])
        to_the_right = rotation[0, 2] / np.linalg.norm(rotation[0])  # where the face looks, a sine
        if self.dims == 2 and abs(to_the_right) > FAR_JAW_SINE:
            weights[LEFT_JAW if to_the_right > 0 else RIGHT_JAW] = 0
        return weights

    def params(self, unknowns: np.ndarray, face_px: float, centre: np.ndarray) -> np.ndarray:
        """Real photo parameters (62,); `centre` (D,) is the target's, photo px, y up."""
        rotation = _scaled_rotation(unknowns[:4])  # (3, 3)
        translation = -rotation @ self._points(unknowns).mean(0)  # the mean landmark lies at 0 ...
        translation[: self.dims] = unknowns[4 : 4 + self.dims]  # ... where nothing else is known
        translation = face_px * (translation - rotation @ self.offset)
        translation[: self.dims] += centre
        camera = np.column_stack([face_px / self.unit * rotation, translation])  # (3, 4)
        coefficients = self.prior_mean + self.prior_std * unknowns[4 + self.dims :]
        return np.concatenate([camera.reshape(N_POSE), coefficients])

    def _points(self, unknowns: np.ndarray) -> np.ndarray:
        return self.mean + self.basis @ unknowns[4 + self.dims :]  # (68, 3)

    def _project(self, unknowns: np.ndarray) -> np.ndarray:
        rotation = _scaled_rotation(unknowns[:4])[: self.dims]  # (D, 3)
        return rotation @ self._points(unknowns).T + unknowns[4 : 4 + self.dims, None]  # (D, 68)


def _scaled_rotation(quaternion: np.ndarray) -> np.ndarray:
    """|q|^2 R(q), (3, 3), of a quaternion (w, x, y, z) of any length."""
    # quadratic forms are half their gradient times the argument
    return np.tensordot(quaternion, _scaled_rotation_slopes(quaternion), 1) / 2


def _scaled_rotation_slopes(quaternion: np.ndarray) -> np.ndarray:
    """Derivatives of `_scaled_rotation` by w, x, y and z, (4, 3, 3)."""
    w, x, y, z = quaternion
    by_w = [[w, -z, y], [z, w, -x], [-y, x, w]]
    by_x = [[x, y, z], [y, -x, -w], [z, w, -x]]
    by_y = [[-y, x, w], [x, y, z], [-w, z, -y]]
    by_z = [[-z, -w, x], [w, -z, y], [x, y, z]]
    return 2 * np.array([by_w, by_x, by_y, by_z])
