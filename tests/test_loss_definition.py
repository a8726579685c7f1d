"""Losses: reference vectors, formulas by hand, and what tells the recipes apart."""

from __future__ import annotations

import math

import pytest
import torch

from loss_definition import ParamLoss, SynergyLoss, WingLoss

TOLERANCE = 1e-5  # relative, in float64


def random_params(count: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, count, 62, generator=generator, dtype=torch.float64).unbind()


def test_wing_loss_matches_the_reference(reference):
    loss = WingLoss()(reference.tensor("wing_a").double(), reference.tensor("wing_b").double())
    assert loss.item() == pytest.approx(reference.facts["wing"], rel=TOLERANCE)


def test_param_losses_match_the_reference(reference):
    a, b = reference.tensor("param_a").double(), reference.tensor("param_b").double()
    normal = reference.tensor("param_loss_normal").double()
    released = reference.tensor("param_loss_only_3dmm").double()
    torch.testing.assert_close(ParamLoss()(a, b), normal, rtol=TOLERANCE, atol=0)
    torch.testing.assert_close(
        ParamLoss(released=True).face(a, b), released, rtol=TOLERANCE, atol=0
    )


@pytest.mark.parametrize("distance", [0.0, 0.5, 9.999, 10.0, 40.0])
def test_wing_loss_by_hand(distance):
    loss = WingLoss()(torch.tensor([distance], dtype=torch.float64), torch.zeros(1))
    near, far = 10 * math.log(1 + distance / 2), distance - (10 - 10 * math.log(6))
    assert loss.item() == pytest.approx(near if distance < 10 else far)


def test_wing_loss_has_no_step_at_its_width():
    below, above = (WingLoss()(torch.tensor([10 + e]), torch.zeros(1)) for e in (-1e-4, 1e-4))
    assert below.item() == pytest.approx(above.item(), abs=1e-3)


def test_param_loss_weighs_pose_and_face_alike():
    target = torch.zeros(2, 62)
    prediction = torch.zeros(2, 62)
    prediction[0, :12] = 3
    prediction[1, 12:] = 3
    torch.testing.assert_close(ParamLoss()(prediction, target), torch.tensor([3.0, 3.0]))
    torch.testing.assert_close(ParamLoss().face(prediction, target), torch.tensor([0.0, 3.0]))


def test_released_face_loss_reads_the_first_fifty_entries():
    prediction, target = random_params()
    by_hand = (prediction[:, :50] - target[:, 12:]).square().mean(1).sqrt()
    torch.testing.assert_close(ParamLoss(released=True).face(prediction, target), by_hand)
    assert (ParamLoss().face(prediction, target) - by_hand).abs().min() > 1e-3


def test_unknown_recipes_are_refused():
    with pytest.raises(ValueError, match="typo"):
        SynergyLoss("typo")


class IdentityDecoder:
    """Landmarks that are the parameters themselves."""

    def landmarks(self, params_w: torch.Tensor) -> torch.Tensor:
        return params_w


def outputs_of(prediction: torch.Tensor, inverse: torch.Tensor) -> dict[str, torch.Tensor]:
    return {
        "params": prediction,
        "landmarks": prediction,
        "refined_landmarks": prediction + 1,
        "params_from_landmarks": inverse,
    }


def test_total_is_the_weighted_sum_of_the_five_parts():
    prediction, target = random_params()
    inverse = prediction.flip(0)
    total, parts = SynergyLoss("paper")(outputs_of(prediction, inverse), target, IdentityDecoder())
    wing, param = WingLoss(), ParamLoss()
    expected = {
        "loss_LMK_f0": 0.05 * wing(prediction, target),
        "loss_LMK_pointNet": 0.05 * wing(prediction + 1, target),
        "loss_Param_In": 0.02 * param(prediction, target).mean(),
        "loss_Param_S2": 0.02 * param.face(inverse, target).mean(),
        "loss_Param_S1S2": 0.001 * param.face(inverse, prediction).mean(),
    }
    assert parts == {name: pytest.approx(value.item()) for name, value in expected.items()}
    assert total.item() == pytest.approx(sum(parts.values()).item())


def test_backbone_alone_has_two_of_the_parts():
    prediction, target = random_params()
    whole = outputs_of(prediction, prediction.flip(0))
    alone = {name: whole[name] for name in ("params", "landmarks")}
    total, parts = SynergyLoss("backbone")(alone, target, IdentityDecoder())
    _, expected = SynergyLoss("paper")(whole, target, IdentityDecoder())
    assert parts == {name: expected[name] for name in ("loss_LMK_f0", "loss_Param_In")}
    assert total.item() == pytest.approx(sum(parts.values()).item())


@pytest.mark.parametrize(
    ("recipe", "slips"), [("released", True), ("paper", False), ("corrected", False)]
)
def test_recipes_differ_in_what_the_inverse_is_compared_with(recipe, slips):
    target = torch.randn(4, 62, generator=torch.Generator().manual_seed(1))
    outputs = outputs_of(target, target)
    _, parts = SynergyLoss(recipe)(outputs, target, IdentityDecoder())
    assert (parts["loss_Param_S2"] > 0) == slips
    assert (parts["loss_Param_S1S2"] > 0) == slips
