"""The network against the reference vectors, decoding identities, and loading weights."""

from __future__ import annotations

import copy
import dataclasses
import functools
import pickle

import pytest
import torch

import benchmark
import model_building
from loss_definition import CONSISTENCY_WEIGHT, PARAM_WEIGHT, SynergyLoss
from model_building import BASIS_BUFFERS, build_model, load_weights, pack_weights
from synergynet import fileio
from synergynet.geometry.camera import decompose_camera
from synergynet.geometry.crop import crop_to_photo
from utils.data.preprocessing import preprocess

FORWARD_TOLERANCE = 1e-4  # of the largest value: float32, kernels of another library version
TRAIN_TOLERANCE = 1e-5  # float64
GRADIENT_TOLERANCE = 1e-2  # float64 against the reference's float32
PHOTO_TOLERANCE_PX = 1e-3


@pytest.fixture(scope="module")
def published(reference, tiny_morphable, tmp_path_factory):
    """A checkpoint file like the published one, with the reference weights."""
    path = tmp_path_factory.mktemp("published") / "best.pth.tar"
    torch.save({"epoch": 80, "state_dict": reference.state_dict(tiny_morphable)}, path)
    return path


@pytest.fixture(scope="module")
def network(published, tiny_morphable):
    """The reference network in eval mode; tests must not change it."""
    model = build_model(morphable=tiny_morphable, recipe="released")
    load_weights(model, published)
    return model.eval()


def small_model(morphable, recipe="paper", arch="mobilenet_025"):
    torch.manual_seed(0)
    return build_model(arch, morphable=morphable, recipe=recipe)


def save(checkpoint, folder):
    path = folder / "checkpoint.pth.tar"
    torch.save(checkpoint, path)
    return path


# ---------------------------------------------------------------- the network


def test_parameter_counts(network):
    assert sum(p.numel() for p in network.parameters()) == 4_075_265
    assert sum(p.numel() for p in network.I2P.parameters()) == 2_303_294


def test_state_dict_is_the_published_one(network, reference):
    ours = {
        key: [list(value.shape), str(value.dtype).removeprefix("torch.")]
        for key, value in model_building.published_state(network).items()
    }
    assert ours == reference.facts["state_dict"]


@pytest.mark.parametrize(
    ("output", "entry"),
    [
        ("params", "eval_params"),
        ("pooled", "eval_pool"),
        ("landmarks", "eval_landmarks"),
        ("refined_landmarks", "eval_refined_landmarks"),
        ("params_from_landmarks", "eval_params_from_landmarks"),
    ],
)
def test_forward_matches_the_reference(network, reference, output, entry):
    expected = reference.tensor(entry)
    with torch.no_grad():
        got = network(reference.tensor("preprocessed"))[output]
    assert (got - expected).abs().max() <= FORWARD_TOLERANCE * expected.abs().max()


def test_refiner_output_matches_the_reference(network, reference):
    landmarks, pooled, params_w = (
        reference.tensor(f"eval_{name}") for name in ("landmarks", "pool", "params")
    )
    with torch.no_grad():
        residual = network.forwardDirection(landmarks, pooled, params_w, rectify=True)
    expected = reference.tensor("eval_residual")
    assert (residual - expected).abs().max() <= FORWARD_TOLERANCE * expected.abs().max()


def test_training_losses_and_gradients_match_the_reference(published, tiny_morphable, reference):
    model = build_model(morphable=tiny_morphable, recipe="released")
    load_weights(model, published)
    model = without_dropout(model).double().train()
    images = preprocess(reference.tensor("train_images")).double()
    targets = reference.tensor("train_targets").double()
    criterion = SynergyLoss("released")
    outputs = model(images)
    total, parts = criterion(outputs, targets, model)
    total.backward()

    facts = reference.facts
    assert total.item() == pytest.approx(facts["loss_total"], rel=TRAIN_TOLERANCE)
    got = {name: part.item() for name, part in parts.items()}
    assert got == pytest.approx(facts["losses"], rel=TRAIN_TOLERANCE)
    for part, expected in facts["grad_norm"].items():
        gradients = [p.grad.norm() for p in getattr(model, part).parameters()]
        norm = torch.stack(gradients).norm().item()
        assert norm == pytest.approx(expected, rel=GRADIENT_TOLERANCE)
    inverse, params = outputs["params_from_landmarks"], outputs["params"]
    per_sample = {
        "loss_Param_In_per_sample": PARAM_WEIGHT * criterion.param(params, targets),
        "loss_S1S2_per_sample": CONSISTENCY_WEIGHT * criterion.param.face(inverse, params),
    }
    for entry, got in per_sample.items():
        torch.testing.assert_close(got, reference.tensor(entry).double(), rtol=5e-5, atol=0)


def without_dropout(model):
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def test_batched_equals_one_by_one(tiny_morphable, reference):
    model = small_model(tiny_morphable).double().eval()
    images = reference.tensor("preprocessed").double()
    with torch.no_grad():
        batched = model(images)
        singles = [model(image[None]) for image in images]
    for name, value in batched.items():
        torch.testing.assert_close(value, torch.cat([single[name] for single in singles]))


def test_regress_is_the_backbone_of_forward(network, reference):
    images = reference.tensor("preprocessed")
    with torch.no_grad():
        torch.testing.assert_close(network.regress(images), network(images)["params"])


def test_corrected_recipe_lets_refiner_and_inverse_go_below_zero(tiny_morphable, reference):
    images = reference.tensor("preprocessed")
    with torch.no_grad():
        paper, corrected = (
            small_model(tiny_morphable, recipe).train()(images) for recipe in ("paper", "corrected")
        )
    for key in ("refined_landmarks", "params_from_landmarks"):
        base = {"refined_landmarks": "landmarks"}.get(key)
        lowest = [(o[key] - (o[base] if base else 0)).min() for o in (paper, corrected)]
        assert lowest[0] >= -1e-4  # rounding of landmarks + 0.05 * 0
        assert lowest[1] < -0.01


def test_autocast_leaves_decoding_in_full_precision(tiny_morphable, reference):
    model = small_model(tiny_morphable).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        outputs = model(reference.tensor("preprocessed"))
    assert {value.dtype for value in outputs.values()} == {torch.float32}
    torch.testing.assert_close(outputs["landmarks"], model.landmarks(outputs["params"]))


# ---------------------------------------------------------------- decoding


def test_landmarks_are_vertices_at_the_keypoints(tiny_morphable):
    model = small_model(tiny_morphable).double()
    params_w = torch.randn(3, 62, dtype=torch.float64)
    vertices = tiny_morphable.keypoints.reshape(68, 3)[:, 0] // 3
    torch.testing.assert_close(model.landmarks(params_w), model.vertices(params_w)[:, :, vertices])


def test_decoding_by_hand(tiny_morphable):
    """v = P (u + w_shp a_shp + w_exp a_exp) + t, then y = 121 - y, for one vertex in numpy."""
    model = small_model(tiny_morphable).double()
    params_w = torch.randn(1, 62, dtype=torch.float64)
    params = (params_w * tiny_morphable.param_std + tiny_morphable.param_mean)[0].numpy()
    camera, rows = params[:12].reshape(3, 4), slice(3 * 17, 3 * 17 + 3)
    point = tiny_morphable.u.numpy()[rows, 0] + tiny_morphable.w_shp.numpy()[rows] @ params[12:52]
    point = point + tiny_morphable.w_exp.numpy()[rows] @ params[52:]
    x, y, z = camera[:, :3] @ point + camera[:, 3]
    got = model.vertices(params_w)[0, :, 17]
    torch.testing.assert_close(got, torch.tensor([x, 121 - y, z], dtype=torch.float64))


def test_decoding_into_the_photo_matches_the_reference(network, reference):
    params_w = reference.tensor("helper_params")
    box = reference.arrays["helper_roi_box"][None, :4]
    landmarks = crop_to_photo(network.landmarks(params_w).numpy(), box.repeat(12, 0))
    vertices = crop_to_photo(network.vertices(params_w[:2]).numpy(), box.repeat(2, 0))
    assert abs(landmarks - reference.arrays["helper_landmarks"]).max() < PHOTO_TOLERANCE_PX
    assert abs(vertices - reference.arrays["helper_dense_first"]).max() < PHOTO_TOLERANCE_PX


def test_translation_matches_the_reference(network, reference):
    """x and y are mapped to the photo without y = 121 - y, z stays in crop px."""
    cameras = network.params(reference.tensor("helper_params"))[:, :12].reshape(-1, 3, 4)
    translation = decompose_camera(cameras)[2].numpy()
    box = reference.arrays["helper_roi_box"][None, :4].repeat(12, 0)
    photo = crop_to_photo(translation[:, :, None], box)[:, :, 0]
    expected = reference.arrays["helper_translation"]
    assert abs(photo[:, :2] - expected[:, :2]).max() < PHOTO_TOLERANCE_PX
    assert abs(translation[:, 2] - expected[:, 2]).max() < PHOTO_TOLERANCE_PX


# ---------------------------------------------------------------- weights


def test_published_checkpoint_is_released_and_returns_its_epoch(published, tiny_morphable):
    model = build_model(morphable=tiny_morphable)
    assert load_weights(model, published) == {"epoch": 80}
    assert model.recipe == "released"


@pytest.mark.parametrize("prefix", ["module.", ""])
def test_our_weights_round_trip(tiny_morphable, tmp_path, prefix):
    model = small_model(tiny_morphable, "corrected")
    model.param_mean += 1  # whitening travels with the weights
    state = {f"{prefix}{key}": value for key, value in model.state_dict().items()}
    path = save(model_building.describe(model) | {"state_dict": state}, tmp_path)
    other = build_model("mobilenet_025", morphable=tiny_morphable)
    load_weights(other, path)
    assert other.recipe == "corrected"
    for key, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key


def test_packed_weights_are_small_and_close(tiny_morphable, tmp_path, reference):
    model = small_model(tiny_morphable).eval()
    path = save(pack_weights(model), tmp_path)
    weights = 2 * sum(p.numel() for p in model.parameters())
    assert path.stat().st_size < 1.2 * weights
    other = build_model("mobilenet_025", morphable=tiny_morphable).eval()
    load_weights(other, path)
    images = reference.tensor("preprocessed")
    with torch.no_grad():
        a, b = model(images), other(images)
    assert (a["landmarks"] - b["landmarks"]).abs().max() < 0.1  # px


def faults(state):
    """Named ways to spoil a state dict, and what the error must name."""
    key = "module.I2P.backbone.classifier_ori.1.bias"
    nan = torch.full((12,), torch.nan)
    return {
        "missing": ({k: v for k, v in state.items() if k != key}, "classifier_ori.1.bias"),
        "unknown": (state | {"module.extra": nan}, "1 unknown"),
        "shape": (state | {key: torch.zeros(13)}, "of another shape"),
        "nan": (state | {key: nan}, "not finite"),
        "no tensors": ({"module.a": 1}, "no state_dict"),
        "bases": (state | {"module.u": state["module.u"] + 9}, "morphable"),
        "size": (state | {"module.u": torch.zeros(9, 1)}, "--morphable"),
        "3ddfa": ({"module.fc_param.weight": torch.zeros(62, 512)}, "3ddfa_v2:mb05"),
    }


@pytest.mark.parametrize("fault", [*faults({"module.u": torch.zeros(1)})])
def test_load_weights_refuses_and_leaves_the_model_alone(tiny_morphable, tmp_path, fault):
    model = small_model(tiny_morphable)
    state, message = faults(model_building.published_state(model))[fault]
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(fileio.InputError, match=message) as error:
        load_weights(model, save({"state_dict": state}, tmp_path))
    assert "checkpoint.pth.tar" in str(error.value)
    assert "\n" not in str(error.value)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("arch", "resnet50", "--arch resnet50"),
        ("recipe", "improved", "unknown recipe"),
        ("morphable", {"name": "tiny", "hash": "0" * 16}, "--morphable"),
    ],
)
def test_load_weights_refuses_weights_of_another_kind(
    tiny_morphable, tmp_path, entry, value, message
):
    model = small_model(tiny_morphable)
    path = save(pack_weights(model) | {entry: value}, tmp_path)
    with pytest.raises(fileio.InputError, match=message):
        load_weights(model, path)


class Hostile:
    """A pickle that would create a file when read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize(
    "writer", [torch.save, lambda value, p: p.write_bytes(pickle.dumps(value))]
)
def test_hostile_checkpoint_is_refused_unread(tiny_morphable, tmp_path, writer):
    path, trap = tmp_path / "evil.pth.tar", tmp_path / "trap"
    writer({"state_dict": Hostile(trap)}, path)
    trap.unlink(missing_ok=True)
    with pytest.raises(fileio.InputError, match=r"evil\.pth\.tar"):
        load_weights(small_model(tiny_morphable), path)
    assert not trap.exists()


def test_every_basis_may_be_absent_but_nothing_else(tiny_morphable, tmp_path):
    model = small_model(tiny_morphable)
    packed = pack_weights(model)
    state = packed["state_dict"]
    assert len(model.state_dict()) - len(state) == len(BASIS_BUFFERS)
    load_weights(model, save(packed, tmp_path))
    del state["module.param_mean"]
    with pytest.raises(fileio.InputError, match=r"1 missing .*param_mean"):
        load_weights(model, save(packed, tmp_path))


@pytest.mark.parametrize("named", [{}, {"morphable": None}, {"morphable": {"name": "tiny"}}])
def test_bases_are_needed_where_no_morphable_model_is_named(tiny_morphable, tmp_path, named):
    """Nothing else tells the face model whose parameters these weights regress."""
    model = small_model(tiny_morphable)
    state = pack_weights(model)["state_dict"]
    with pytest.raises(fileio.InputError, match="6 missing"):
        load_weights(model, save({"state_dict": state} | named, tmp_path))


def test_a_morphable_model_is_known_by_its_hash_not_its_name(tiny_morphable, tmp_path):
    path = save(pack_weights(small_model(tiny_morphable)), tmp_path)
    renamed = dataclasses.replace(tiny_morphable, name="renamed")
    load_weights(small_model(renamed), path)


def test_3ddfa_v2_weights_with_unknown_entries_are_refused(as_3ddfa_v2, tiny_morphable, tmp_path):
    model = build_model("3ddfa_v2:mb05", morphable=tiny_morphable)
    state = as_3ddfa_v2(model) | {"module.dw7.conv_dw.weight": torch.zeros(1)}
    with pytest.raises(fileio.InputError, match=r"unknown entries dw7\.conv_dw\.weight"):
        load_weights(model, save({"state_dict": state}, tmp_path))


def test_3ddfa_v2_weights_need_a_morphable_model_of_their_whitening(
    as_3ddfa_v2, tiny_morphable, morphable_folder, tmp_path
):
    """They name no morphable model; the whitening that belongs to one tells it."""
    model = build_model("3ddfa_v2:mb05", morphable=tiny_morphable)
    weights = save({"state_dict": as_3ddfa_v2(model)}, tmp_path)
    load = functools.partial(benchmark.load_model, weights, "3ddfa_v2:mb05", morphable_folder)
    assert load(morphable_folder / "param_whitening.pkl").arch == "3ddfa_v2:mb05"
    mean, std = tiny_morphable.param_mean.numpy(), 2 * tiny_morphable.param_std.numpy()
    other = tmp_path / "other.pkl"
    fileio.write_pickle(other, {"mean": mean, "std": std})
    with pytest.raises(fileio.InputError, match=r"other\.pkl: .*--morphable"):
        load(other)


def test_3ddfa_v2_weights_have_no_landmark_networks(
    as_3ddfa_v2, tiny_morphable, tmp_path, reference
):
    model = build_model("3ddfa_v2:mb05", morphable=tiny_morphable).eval()
    with torch.no_grad():
        expected = model.regress(reference.tensor("preprocessed"))
    path = save({"epoch": 1, "state_dict": as_3ddfa_v2(model)}, tmp_path)
    other = build_model("3ddfa_v2:mb05", morphable=tiny_morphable).eval()
    load_weights(other, path)
    with torch.no_grad():
        got = other.regress(reference.tensor("preprocessed"))
    assert torch.equal(got, expected)
    assert torch.equal(other.param_mean, tiny_morphable.param_mean)
    assert other(reference.tensor("preprocessed")).keys() == {"params", "pooled", "landmarks"}


def test_recipe_backbone_starts_and_decodes_as_the_others(tiny_morphable, tmp_path, reference):
    images = reference.tensor("preprocessed")
    whole = small_model(tiny_morphable).eval()
    bare = small_model(tiny_morphable, "backbone").eval()
    with torch.no_grad():
        expected, found = whole(images), bare(images)
    assert found.keys() == {"params", "pooled", "landmarks"}
    for name, value in found.items():
        assert torch.equal(value, expected[name]), name  # the same seed, the same backbone
    path = save(model_building.pack_weights(bare), tmp_path)
    load_weights(whole, path)
    assert (whole.recipe, whole.forwardDirection) == ("backbone", None)
    assert whole.state_dict().keys() == bare.state_dict().keys()


def test_recipe_backbone_takes_the_backbone_of_whole_weights(tiny_morphable, tmp_path):
    whole = small_model(tiny_morphable)
    path = save(model_building.describe(whole) | {"state_dict": whole.state_dict()}, tmp_path)
    torch.manual_seed(1)
    bare = build_model("mobilenet_025", morphable=tiny_morphable, recipe="backbone")
    load_weights(bare, path)
    for key, value in bare.state_dict().items():
        assert torch.equal(value, whole.state_dict()[key]), key
    assert not any(key.startswith("forwardDirection") for key in bare.state_dict())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arch": "mobilenet_v9"}, "mobilenet_v9.*mobilenet_v2.*timm:NAME"),
        ({"recipe": "best"}, "best.*released, paper, corrected"),
    ],
)
def test_unknown_arch_and_recipe_list_the_choices(tiny_morphable, options, message):
    with pytest.raises(fileio.InputError, match=message) as error:
        build_model(morphable=tiny_morphable, **options)
    assert "\n" not in str(error.value)
