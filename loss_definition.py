"""Training losses: wing loss on landmarks, root mean squared error on whitened parameters.

    total, parts = SynergyLoss("paper")(model(images), targets_w, model)

Source: SynergyNet, section 3.4, equations 6-9; Feng et al., "Wing Loss", CVPR 2018.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor, nn

from model_building import RECIPES
from synergynet.geometry.parameters import EXPR, N_EXPR, N_SHAPE, POSE, SHAPE

WING_WIDTH = 10.0  # crop px
WING_CURVATURE = 2.0
LOG_AT_WING_WIDTH = math.log1p(WING_WIDTH / WING_CURVATURE)

# weights of the five parts; section 4.1
LANDMARK_WEIGHT = 0.05
PARAM_WEIGHT = 0.02
REFINED_WEIGHT = 0.05
INVERSE_WEIGHT = 0.02
CONSISTENCY_WEIGHT = 0.001

FACE = slice(SHAPE.start, EXPR.stop)  # the 50 shape and expression entries


class LandmarkDecoder(Protocol):
    """What the loss needs of the model."""

    def landmarks(self, params_w: Tensor) -> Tensor: ...


class WingLoss(nn.Module):
    """w ln(1 + d / c) below w, d - (w - w ln(1 + w / c)) above; mean over all coordinates."""

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Any two tensors of one shape -> scalar."""
        distance = (prediction - target).abs()
        near = WING_WIDTH * torch.log1p(distance / WING_CURVATURE)
        far = distance - (WING_WIDTH - WING_WIDTH * LOG_AT_WING_WIDTH)
        return torch.where(distance < WING_WIDTH, near, far).mean()


class ParamLoss(nn.Module):
    """Root mean squared error of whitened parameters, per sample (B,).

    Args:
        released: NOTE(released): `face` compares entries 0:50 of the prediction, twelve of them
            pose, with the target's shape and expression 12:62. The authors confirmed the slip;
            it is kept for parity with published figures.
    """

    def __init__(self, released: bool = False) -> None:
        super().__init__()
        self.released = released

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """(B, 62) twice -> (B,): pose and face count alike, each by its mean square."""
        squares = (prediction - target).square()
        return (squares[:, POSE].mean(dim=1) + squares[:, FACE].mean(dim=1)).sqrt()

    def face(self, prediction: Tensor, target: Tensor) -> Tensor:
        """(B, 62) twice -> (B,): shape and expression only."""
        read = slice(0, N_SHAPE + N_EXPR) if self.released else FACE
        return (prediction[:, read] - target[:, FACE]).square().mean(dim=1).sqrt()


class SynergyLoss(nn.Module):
    """Weighted sum of the five losses of section 3.4.

    Args:
        recipe: `released`, `paper`, `corrected` or `backbone`; the last three differ in the network
            only.
    Raises:
        ValueError: any other recipe.
    """

    def __init__(self, recipe: str = "paper") -> None:
        super().__init__()
        if recipe not in RECIPES:
            raise ValueError(f"unknown recipe '{recipe}'; choose from {', '.join(RECIPES)}")
        self.wing = WingLoss()
        self.param = ParamLoss(released=recipe == "released")

    def forward(
        self, outputs: dict[str, Tensor], targets: Tensor, model: LandmarkDecoder
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Total and its parts.

        Args:
            outputs: of `SynergyNet.forward`.
            targets: (B, 62) whitened.
            model: decodes the targets to landmarks.
        Returns:
            Scalar total, and the five weighted batch means by their published names; two of a
            network without refiner and inverse regressor.
        """
        truth = model.landmarks(targets)  # (B, 3, 68) crop px
        params, refined = outputs["params"], outputs.get("refined_landmarks")
        parts = {"loss_LMK_f0": LANDMARK_WEIGHT * self.wing(outputs["landmarks"], truth)}
        if refined is not None:
            parts["loss_LMK_pointNet"] = REFINED_WEIGHT * self.wing(refined, truth)
        parts["loss_Param_In"] = PARAM_WEIGHT * self.param(params, targets).mean()
        if refined is not None:
            inverse = outputs["params_from_landmarks"]
            parts["loss_Param_S2"] = INVERSE_WEIGHT * self.param.face(inverse, targets).mean()
            parts["loss_Param_S1S2"] = CONSISTENCY_WEIGHT * self.param.face(inverse, params).mean()
        return torch.stack(list(parts.values())).sum(), parts
