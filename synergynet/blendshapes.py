"""ARKit's 52 blendshapes of a face, found in its 10 expression coefficients.

The open face model's expressions were made of facial actions under ARKit's names, of which the 10
coefficients keep what moves most. So many of the 52 look alike in them, and networks see less yet.
A non-negative fit with priors says what it can: actions are at rest unless the coefficients show
more than the network's errors explain; what is badly found is held to rest more firmly; the two
sides of a face mostly agree. `FacialActions.found` says how well each is found.

Sources: ARKit, `ARFaceAnchor.BlendShapeLocation`, for the names; Lawson and Hanson, "Solving Least
Squares Problems", 1974, chapter 23, for the solver.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np

from synergynet.geometry.parameters import N_EXPR

# In the order in which Live Link Face writes them. Left and right are the subject's.
ARKIT_NAMES = (
    *("eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft"),
    *("eyeSquintLeft", "eyeWideLeft"),
    *("eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight", "eyeLookOutRight", "eyeLookUpRight"),
    *("eyeSquintRight", "eyeWideRight"),
    *("jawForward", "jawRight", "jawLeft", "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker"),
    *("mouthRight", "mouthLeft", "mouthSmileLeft", "mouthSmileRight"),
    *("mouthFrownLeft", "mouthFrownRight", "mouthDimpleLeft", "mouthDimpleRight"),
    *("mouthStretchLeft", "mouthStretchRight", "mouthRollLower", "mouthRollUpper"),
    *("mouthShrugLower", "mouthShrugUpper", "mouthPressLeft", "mouthPressRight"),
    *("mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight"),
    *("browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    *("cheekPuff", "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft", "noseSneerRight"),
    "tongueOut",
)
N_ACTIONS = len(ARKIT_NAMES)
_PAIRS = tuple(
    (i, ARKIT_NAMES.index(name.removesuffix("Left") + "Right"))
    for i, name in enumerate(ARKIT_NAMES)
    if name.endswith("Left") and name not in ("jawLeft", "mouthLeft")  # those exclude each other
)

RELIABLE = 0.5  # least correlation of found and drawn strengths
LEAST_SPREAD = 0.05  # of an action that is not found at all
SIDES_SPREAD = 0.1  # of the difference of a face's two sides
SPARSITY = 0.5  # what an action at full strength costs, in units of the log likelihood
_MOST_STEPS = 20  # of the solver, an unknown; it needs about one
EXACT_NOISE = 0.1  # of coefficients that are labels, to which no network was needed

SHAPES = {
    "effects": (N_ACTIONS, N_EXPR),
    "rest": (N_EXPR,),
    "answer_rest": (N_EXPR,),
    "answer_gain": (N_EXPR, N_EXPR),
    "answer_noise": (N_EXPR, N_EXPR),
    "spread": (N_ACTIONS,),
    "found": (N_ACTIONS,),
}


@dataclasses.dataclass(frozen=True, eq=False)
class FacialActions:
    """What 52 actions do to a face's expression coefficients, and what a network makes of these.

    A network answers faintly where it sees little. Of a face with coefficients c it says, on
    average, `answer_rest + (c - rest) @ answer_gain`.

    Attributes:
        effects: (52, 10) what each action of ARKIT_NAMES adds at full strength.
        rest: (10,) coefficients of the face without any.
        answer_rest: (10,), answer_gain: (10, 10), answer_noise: (10, 10) the network's answer to
            these, and the covariance of its errors.
        spread: (52,) of strengths, as the fit expects them; small ones stay at rest.
        found: (52,) correlation of fitted and drawn strengths on drawn faces; 0 is not measured.
    """

    effects: np.ndarray
    rest: np.ndarray
    answer_rest: np.ndarray
    answer_gain: np.ndarray
    answer_noise: np.ndarray
    spread: np.ndarray
    found: np.ndarray

    @classmethod
    def exact(cls, effects: np.ndarray, rest: np.ndarray) -> FacialActions:
        """For coefficients that are as the actions made them: labels, no network's."""
        noise = EXACT_NOISE**2 * np.eye(N_EXPR)
        ones, zeros = np.ones(N_ACTIONS), np.zeros(N_ACTIONS)
        return cls(effects, rest, rest, np.eye(N_EXPR), noise, ones, zeros)

    @property
    def reliable(self) -> tuple[str, ...]:
        """The names that are found with a correlation of RELIABLE and more."""
        return tuple(n for n, r in zip(ARKIT_NAMES, self.found, strict=True) if r >= RELIABLE)

    def expressions(self, strengths: np.ndarray) -> np.ndarray:
        """Coefficients (N, 10) of faces that show these strengths (N, 52)."""
        return self.rest + strengths @ self.effects

    def answers(self, strengths: np.ndarray) -> np.ndarray:
        """Coefficients (N, 10) that the network gives such faces on average."""
        return self.answer_rest + strengths @ self.effects @ self.answer_gain

    def fit(self, answers: np.ndarray) -> np.ndarray:
        """Strengths (N, 52) float32 in 0 to 1, the likeliest for coefficients (N, 10)."""
        hessian, towards = self._problem
        gains = (np.asarray(answers, np.float64) - self.answer_rest) @ towards - SPARSITY
        fitted = [fit_in_bounds(hessian, gain) for gain in gains]
        return np.array(fitted, np.float32).reshape(-1, N_ACTIONS)

    @functools.cached_property
    def _problem(self) -> tuple[np.ndarray, np.ndarray]:
        """(52, 52) second derivative of the cost, and (10, 52) from answers to its slope."""
        seen = self.effects.astype(np.float64) @ self.answer_gain  # (52, 10)
        towards = np.linalg.solve(self.answer_noise.astype(np.float64), seen.T)  # (10, 52)
        hessian = seen @ towards + np.diag(1 / self.spread.astype(np.float64) ** 2)
        for pair in _PAIRS:
            hessian[np.ix_(pair, pair)] += np.array([[1, -1], [-1, 1]]) / SIDES_SPREAD**2
        return hessian, towards


def fit_in_bounds(hessian: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """The x in 0 to 1 with the least `x @ hessian @ x / 2 - gain @ x`, exactly: an active set.

    Unknowns leave their bounds one at a time, each time that which gains most; those that would go
    beyond a bound stay there. The cost falls with every step, so that it ends.

    Args:
        hessian: (n, n) float64, symmetric, positive definite.
        gain: (n,) float64.
    """
    x = np.zeros(len(gain))
    free = np.zeros(len(gain), bool)
    tolerance = 1e-9 * (1 + np.abs(gain).max(initial=0))
    for _ in range(_MOST_STEPS * len(gain)):
        slope = gain - hessian @ x  # upwards where positive
        inwards = np.where(x > 0, -slope, slope)
        inwards[free] = 0
        entering = int(inwards.argmax())
        if inwards[entering] <= tolerance:
            break
        free[entering] = True
        while len(rows := np.flatnonzero(free)):
            step = np.linalg.solve(hessian[np.ix_(rows, rows)], slope[rows])
            bound = (step > 0).astype(np.float64)  # which it would reach first
            room = np.abs(bound - x[rows])
            reach = np.divide(room, np.abs(step), out=np.full(len(rows), np.inf), where=step != 0)
            first = int(reach.argmin())
            x[rows] += min(reach[first], 1.0) * step
            if reach[first] >= 1:
                break
            x[rows[first]] = bound[first]
            free[rows[first]] = False
            slope = gain - hessian @ x
    return x.clip(0, 1)


# ---------------------------------------------------------------- files


def actions_of(table: Mapping[str, np.ndarray], prefix: str = "") -> FacialActions | None:
    """Facial actions of a file's arrays, None where it has none.

    Raises:
        ValueError: some of them are missing or misshaped, or no fit is possible.
    """
    arrays = {name: table[prefix + name] for name in SHAPES if prefix + name in table}
    if not arrays:
        return None
    if any(name not in arrays or arrays[name].shape != SHAPES[name] for name in SHAPES):
        raise ValueError("facial actions are missing or misshaped")
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    noise = arrays["answer_noise"]
    if (arrays["spread"] <= 0).any() or (np.linalg.eigvalsh((noise + noise.T) / 2) <= 0).any():
        raise ValueError("facial actions without a spread")
    return FacialActions(**arrays)


def arrays_of(actions: FacialActions, prefix: str = "") -> dict[str, np.ndarray]:
    """The arrays of a file, for `actions_of`."""
    return {prefix + name: np.asarray(getattr(actions, name), np.float32) for name in SHAPES}
