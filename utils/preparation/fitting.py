"""The 62 parameters of a face from its 68 landmarks: regularised weak-perspective fitting.

Minimised over scaled rotation, translation, shape and expression, with an analytic Jacobian:

    sum_k w_k |project(X_k) - landmark_k|^2 / sigma^2  +  sum_i ((a_i - mean_i) / std_i)^2

The first sum is in units of the face's size; the second is a Gaussian prior with the whitening of
the morphable model. The weights w_k are Cauchy's and come from the last round's distances, so that
points which the 3D model cannot explain fade out.

Where the jaw of 2D points is the visible outline, X_k of points 0 to 16 is the point of the face
that is on the outline under the last round's pose (`utils.preparation.contour`), and it may slide
along it: what lies along the annotated line counts SLIDE times less, because nobody knows where on
it an annotator put which point. Points 17 to 67 count fully.

Sources: Blanz & Vetter, PAMI 2003, for the prior; 3DDFA (Zhu et al., PAMI 2017) for the parameters;
Zhu et al., CVPR 2015, for the outline.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.optimize
from scipy.spatial.transform import Rotation

from synergynet.geometry.parameters import IMG_SIZE, N_LANDMARKS, N_POSE
from utils.data.landmark_model import LandmarkModel
from utils.preparation.contour import JAW, N_JAW, JawCurves

NOISE = 0.01  # standard deviation of a landmark, in face sizes
CAUCHY_SCALE = 2.0  # a point this many standard deviations off has half its weight
SLIDE = 3.0  # an outline point's deviation along the outline, in those across it
ROUNDS = 6  # the first with points all alike, the others re-weighted
OUTLINE_AT_FIRST = 0.1  # weight of outline points, which lie wrong where the first camera does
ROUNDS_OF_OUTLINES = 10  # whose points move from round to round


@dataclasses.dataclass(frozen=True)
class Fit:
    """A fitted face.

    Attributes:
        params: (62,) float64 real photo parameters (see `synergynet.geometry.landmark_model`).
        landmarks: (3, 68) of the fitted face, photo px, y down; the mean z is 0 after a 2D fit.
        distance_px: (68,) 2D distance of each annotation from its landmark, photo px, and of one on
            an outline from the fitted face's outline.
        residual: its mean over the face's size: a fraction, as the NME is.
    """

    params: np.ndarray
    landmarks: np.ndarray
    distance_px: np.ndarray
    residual: float


def fit_landmarks(
    landmarks: np.ndarray, model: LandmarkModel, curves: JawCurves | None = None
) -> Fit:
    """Fit pose, shape and expression to the landmarks of one face.

    Args:
        landmarks: (2 or 3, 68) photo px, y down; z, if there, out of the face. Not modified.
        model: landmarks of a morphable model.
        curves: of the same morphable model, where the jaw of 2D landmarks is the visible outline;
            None: it is the jaw bone, also where the face hides it.
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
    problem = _Problem((target - centre) / face_px, model, curves)
    unknowns, weights = problem.start(), problem.first_weights()
    for _ in range(ROUNDS_OF_OUTLINES if problem.curves else ROUNDS):
        unknowns = problem.solve(unknowns, weights)
        weights = problem.weights(unknowns)  # (68,)
    params = problem.params(unknowns, face_px, centre[:, 0])
    fitted = model.decode(params)
    distance_px = np.hypot(*(fitted[:2] - landmarks[:2]))  # (68,)
    if problem.curves:
        problem.move_outline(unknowns)
        distance_px[JAW] = face_px * problem.distance_from_outline(unknowns)
    return Fit(params, fitted, distance_px, distance_px.mean() / face_px)


class _Problem:
    """One face in units of its size. Unknowns: quaternion (4), translation (D), coefficients (50).

    The quaternion is not normalised: its squared length is the camera's scale, so that scaled
    rotations are plain quadratic polynomials of four numbers, without constraints.
    """

    def __init__(
        self, target: np.ndarray, model: LandmarkModel, curves: JawCurves | None = None
    ) -> None:
        self.target = target  # (D, 68)
        self.dims = len(target)
        self.unit = np.sqrt(model.mean.var(axis=0).sum())  # micrometres
        self.prior_mean, self.prior_std = model.param_mean[N_POSE:], model.param_std[N_POSE:]
        self.offset = model.mean.mean(0) / self.unit
        basis = np.concatenate([model.shp, model.expr], axis=2)  # (68, 3, 50)
        self.mean, self.basis = self._whiten(model.mean, basis)  # (68, 3), (68, 3, 50)
        self.landmark_mean, self.landmark_basis = self.mean, self.basis  # wherever the outline is
        self.metric = np.broadcast_to(np.eye(self.dims), (N_LANDMARKS, self.dims, self.dims))
        self.curves = curves if self.dims == 2 else None  # with depth there is no outline
        if self.curves:
            self.curve_mean, self.curve_basis = self._whiten(curves.mean, curves.basis)
            along = np.gradient(target[:, JAW], axis=1)  # (2, 17)
            along = along / np.maximum(np.linalg.norm(along, axis=0), np.finfo(float).tiny)
            self.metric = self.metric.copy()
            self.metric[JAW] -= (1 - 1 / SLIDE) * np.einsum("ik,jk->kij", along, along)

    def start(self) -> np.ndarray:
        """The mean face under the scaled rotation nearest to its best affine camera.

        Where the outline is depends on the pose. So there are two cameras, from all points and from
        those that do not move; the one from which the face comes nearer is taken.
        """
        if not self.curves:
            return self._start(slice(None))
        starts = [self._start(slice(None)), self._start(slice(N_JAW, None))]
        costs = []
        for start in starts:
            solved = self.solve(start, self.first_weights())
            costs.append(np.sum(self.residuals(solved, self.weights(solved)) ** 2))
        return starts[int(np.argmin(costs))]

    def first_weights(self) -> np.ndarray:
        """(68,) of the first round, when nobody knows which points the 3D model can explain."""
        weights = np.ones(N_LANDMARKS)
        if self.curves:
            weights[JAW] = OUTLINE_AT_FIRST
        return weights

    def _start(self, rows: slice) -> np.ndarray:
        mean, target = self.mean[rows], self.target[:, rows]
        centre, target_centre = mean.mean(0), target.mean(1)
        affine = np.linalg.lstsq(mean - centre, (target.T - target_centre)[:, :2], rcond=None)[0]
        left, scales, right = np.linalg.svd(affine.T, full_matrices=False)  # (2, 2), (2,), (2, 3)
        turn = left @ right  # (2, 3) orthonormal
        rotation = Rotation.from_matrix(np.vstack([turn, np.cross(*turn)]))
        quaternion = np.sqrt(scales.mean()) * np.roll(rotation.as_quat(), 1)  # w first
        translation = target_centre - (scales.mean() * rotation.as_matrix() @ centre)[: self.dims]
        return np.concatenate([quaternion, translation, np.zeros(self.basis.shape[2])])

    def solve(self, unknowns: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """The unknowns of least squares, the outline being where the given ones have it."""
        self.move_outline(unknowns)
        return scipy.optimize.least_squares(
            self.residuals, unknowns, self.jacobian, method="lm", args=(weights,)
        ).x

    def move_outline(self, unknowns: np.ndarray) -> None:
        """Have the jaw of `mean` and `basis` where the outline of this face is; without one, no-op.

        Between rounds only: derivatives hold for points that stay on the face.
        """
        if not self.curves:
            return
        points = self.curve_mean + self.curve_basis @ unknowns[4 + self.dims :]  # (17, S, 3)
        step = self.curves.outermost(points, _scaled_rotation(unknowns[:4]))
        jaw = np.arange(N_JAW), step
        self.mean = np.concatenate([self.curve_mean[jaw], self.landmark_mean[N_JAW:]])
        self.basis = np.concatenate([self.curve_basis[jaw], self.landmark_basis[N_JAW:]])

    def residuals(self, unknowns: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """(D * 68 + 50,): landmarks in standard deviations of their noise, then the prior."""
        error = self._errors(unknowns) * np.sqrt(weights)  # (D, 68)
        return np.concatenate([error.ravel(), unknowns[4 + self.dims :]])

    def jacobian(self, unknowns: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """(D * 68 + 50, 4 + D + 50) derivatives of `residuals`."""
        dims, coefficients = self.dims, self.basis.shape[2]
        slopes = _scaled_rotation_slopes(unknowns[:4])[:, :dims]  # (4, D, 3)
        rotation = _scaled_rotation(unknowns[:4])[:dims]  # (D, 3)
        by_quaternion = np.einsum("qdc,kc->kdq", slopes, self._points(unknowns))
        by_translation = np.broadcast_to(np.eye(dims), (N_LANDMARKS, dims, dims))
        by_coefficient = rotation @ self.basis  # (68, D, 50)
        data = np.concatenate([by_quaternion, by_translation, by_coefficient], axis=2)
        data = self.metric @ data * (np.sqrt(weights) / NOISE)[:, None, None]  # (68, D, 54 + D)
        prior = np.eye(coefficients, 4 + dims + coefficients, 4 + dims)
        return np.concatenate([data.swapaxes(0, 1).reshape(dims * N_LANDMARKS, -1), prior])

    def weights(self, unknowns: np.ndarray) -> np.ndarray:
        """Cauchy's weight of each landmark, (68,) in (0, 1]."""
        error = np.linalg.norm(self._errors(unknowns)[:2], axis=0)  # (68,)
        return 1 / (1 + (error / CAUCHY_SCALE) ** 2)

    def distance_from_outline(self, unknowns: np.ndarray) -> np.ndarray:
        """(17,) of the jaw's points from the line through the outline's."""
        line = self._project(unknowns)[:, JAW].T  # (17, 2)
        start, way = line[:-1], np.diff(line, axis=0)  # (16, 2) each
        from_start = self.target[:2, JAW].T[:, None] - start  # (17, 16, 2)
        length = np.maximum((way**2).sum(1), np.finfo(float).tiny)
        share = np.clip((from_start * way).sum(2) / length, 0, 1)[..., None]  # (17, 16, 1)
        return np.linalg.norm(from_start - share * way, axis=2).min(1)

    def params(self, unknowns: np.ndarray, face_px: float, centre: np.ndarray) -> np.ndarray:
        """Real photo parameters (62,); `centre` (D,) is the target's, photo px, y up."""
        rotation = _scaled_rotation(unknowns[:4])  # (3, 3)
        landmarks = self.landmark_mean + self.landmark_basis @ unknowns[4 + self.dims :]  # (68, 3)
        translation = -rotation @ landmarks.mean(0)  # the mean landmark lies at 0 ...
        translation[: self.dims] = unknowns[4 : 4 + self.dims]  # ... where nothing else is known
        translation = face_px * (translation - rotation @ self.offset)
        translation[: self.dims] += centre
        camera = np.column_stack([face_px / self.unit * rotation, translation])  # (3, 4)
        coefficients = self.prior_mean + self.prior_std * unknowns[4 + self.dims :]
        return np.concatenate([camera.reshape(N_POSE), coefficients])

    def _whiten(self, mean: np.ndarray, basis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points (..., 3) and bases (..., 3, 50) in units of the face, of whitened coefficients."""
        basis = basis / self.unit
        return mean / self.unit - self.offset + basis @ self.prior_mean, basis * self.prior_std

    def _points(self, unknowns: np.ndarray) -> np.ndarray:
        return self.mean + self.basis @ unknowns[4 + self.dims :]  # (68, 3)

    def _project(self, unknowns: np.ndarray) -> np.ndarray:
        rotation = _scaled_rotation(unknowns[:4])[: self.dims]  # (D, 3)
        return rotation @ self._points(unknowns).T + unknowns[4 : 4 + self.dims, None]  # (D, 68)

    def _errors(self, unknowns: np.ndarray) -> np.ndarray:
        """(D, 68) from the target, in standard deviations of its noise."""
        return np.einsum("kij,jk->ik", self.metric, self._project(unknowns) - self.target) / NOISE


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
