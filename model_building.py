"""SynergyNet: image -> 3DMM parameters -> landmarks -> refined landmarks -> parameters again.

    model = build_model("mobilenet_v2", morphable=load_morphable("3dmm_data/open"))
    load_weights(model, "pretrained/open_mobilenet_v2.pth.tar")
    params_w = model.regress(images)       # (B, 62), all that inference needs
    points = model.landmarks(params_w)     # (B, 3, 68) crop px, y down

Module and buffer names are a file format: they are those of published checkpoints.
Source: Wu, Xu, Neumann, "Synergy between 3DMM and 3D Landmarks for Accurate 3D Facial Geometry",
3DV 2021, section 3 and figure 2.
"""

from __future__ import annotations

import dataclasses
import math
import os
import warnings
import zipfile
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backbone_nets import THREEDDFA_V2, build_backbone
from backbone_nets.mobilenet_v1 import from_3ddfa_v2
from synergynet import fileio
from synergynet.face_model import ARRAYS, MorphableModel
from synergynet.geometry.decoding import decode_points
from synergynet.geometry.parameters import EXPR, N_EXPR, N_POSE, N_SHAPE, SHAPE, unwhiten
from synergynet.morphable_folder import read_morphable_folder

RECIPES = ("released", "paper", "corrected", "backbone")  # of network and loss; see README
RESIDUAL_SCALE = 0.05  # refined = landmarks + RESIDUAL_SCALE * refiner output; section 3.2
BASIS_BUFFERS = ("u", "w_shp", "w_exp", "u_base", "w_shp_base", "w_exp_base")
WHITENING_BUFFERS = ("param_mean", "param_std")
# entries of our checkpoints that are read; published ones have `epoch` and `state_dict`
CHECKPOINT_ENTRIES = {
    **{"arch": str, "recipe": str, "state_dict": dict, "optimizer": dict},
    **{"epoch": int, "step": int, "versions": dict, "args": dict, "data": str},
}
BASIS_TOLERANCE = 1e-5  # relative; sums in another order, not another face model


class I2P(nn.Module):
    """Image to parameters: the backbone alone, under the name that checkpoints give it."""

    def __init__(self, arch: str) -> None:
        super().__init__()
        self.backbone = build_backbone(arch)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 3, 120, 120) -> whitened parameters (B, 62), pooled features (B, C)."""
        return self.backbone(images)


class LandmarkRefiner(nn.Module):
    """`forwardDirection`: landmark offsets from points, image and face parameters; section 3.2.

    PointNet-like: 1x1 convolutions over the points, one maximum over all of them.

    Args:
        pooled_channels: C, length of the pooled image features.
    """

    def __init__(self, pooled_channels: int) -> None:
        super().__init__()
        fused = 64 + 1024 + pooled_channels + N_SHAPE + N_EXPR  # 2418 for MobileNetV2
        self.conv1, self.bn1 = _point_layer(3, 64)
        self.conv2, self.bn2 = _point_layer(64, 64)
        self.conv3, self.bn3 = _point_layer(64, 64)
        self.conv4, self.bn4 = _point_layer(64, 128)
        self.conv5, self.bn5 = _point_layer(128, 1024)
        self.conv6, self.bn6 = _point_layer(fused, 512)
        self.conv7, self.bn7 = _point_layer(512, 256)
        self.conv8, self.bn8 = _point_layer(256, 128)
        self.conv9, self.bn9 = _point_layer(128, 3)

    def forward(self, points: Tensor, pooled: Tensor, params_w: Tensor, rectify: bool) -> Tensor:
        """Offsets before RESIDUAL_SCALE, (B, 3, N); `rectify` puts a ReLU after the last layer."""
        features = F.relu(self.bn1(self.conv1(points)))
        point_feature = F.relu(self.bn2(self.conv2(features)))  # (B, 64, N)
        features = F.relu(self.bn3(self.conv3(point_feature)))
        features = F.relu(self.bn4(self.conv4(features)))
        features = F.relu(self.bn5(self.conv5(features)))
        global_feature = features.amax(dim=2)  # (B, 1024)
        face = torch.cat([global_feature, pooled, params_w[:, SHAPE], params_w[:, EXPR]], dim=1)
        # conv6 of [point feature; face repeated N times] in two parts: the face's is computed once
        of_point, of_face = self.conv6.weight.tensor_split([64], dim=1)  # (512, 64 | C + 1074, 1)
        fused = F.linear(face, of_face[:, :, 0], self.conv6.bias)[:, :, None]  # (B, 512, 1)
        fused = fused + F.conv1d(point_feature, of_point)  # (B, 512, N)
        features = F.relu(self.bn6(fused))
        features = F.relu(self.bn7(self.conv7(features)))
        features = F.relu(self.bn8(self.conv8(features)))
        offsets = self.bn9(self.conv9(features))  # (B, 3, N)
        return F.relu(offsets) if rectify else offsets


class InverseRegressor(nn.Module):
    """`reverseDirection`: whitened parameters from refined landmarks; section 3.3."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = _point_layer(3, 64)
        self.conv2, self.bn2 = _point_layer(64, 64)
        self.conv3, self.bn3 = _point_layer(64, 64)
        self.conv4, self.bn4 = _point_layer(64, 128)
        self.conv5, self.bn5 = _point_layer(128, 1024)
        self.conv6_1, self.bn6_1 = _point_layer(1024, N_POSE)
        self.conv6_2, self.bn6_2 = _point_layer(1024, N_SHAPE)
        self.conv6_3, self.bn6_3 = _point_layer(1024, N_EXPR)

    def forward(self, points: Tensor, rectify: bool) -> Tensor:
        """Points (B, 3, N) -> (B, 62); `rectify` puts a ReLU after the last layer."""
        features = F.relu(self.bn1(self.conv1(points)))
        features = F.relu(self.bn2(self.conv2(features)))
        features = F.relu(self.bn3(self.conv3(features)))
        features = F.relu(self.bn4(self.conv4(features)))
        features = F.relu(self.bn5(self.conv5(features)))
        global_feature = features.amax(dim=2, keepdim=True)  # (B, 1024, 1)
        pose = self.bn6_1(self.conv6_1(global_feature))
        shape = self.bn6_2(self.conv6_2(global_feature))
        expression = self.bn6_3(self.conv6_3(global_feature))
        params_w = torch.cat([pose, shape, expression], dim=1).squeeze(2)  # (B, 62)
        return F.relu(params_w) if rectify else params_w


class SynergyNet(nn.Module):
    """The whole network with its morphable model as buffers.

    `forwardDirection` and `reverseDirection` are None with recipe `backbone`, and after loading
    weights that have none.

    Attributes:
        arch, recipe: as given; `recipe` follows the checkpoint once weights are loaded.
        morphable_id: name and hash of the morphable model.
    """

    def __init__(self, arch: str, morphable: MorphableModel, recipe: str) -> None:
        super().__init__()
        self.arch = arch
        self.recipe = recipe
        self.morphable_id = {"name": morphable.name, "hash": morphable.hash}
        self._morphable = morphable  # what no checkpoint holds: name, triangles, uv
        self.I2P = I2P(arch)
        self.forwardDirection: LandmarkRefiner | None = None
        self.reverseDirection: InverseRegressor | None = None
        if recipe != "backbone":
            self.forwardDirection = LandmarkRefiner(self.I2P.backbone.channels)
            self.reverseDirection = InverseRegressor()
        rows = morphable.keypoints
        self.register_buffer("param_mean", morphable.param_mean.clone())
        self.register_buffer("param_std", morphable.param_std.clone())
        self.register_buffer("w_shp", morphable.w_shp)
        self.register_buffer("u", morphable.u)
        self.register_buffer("w_exp", morphable.w_exp)
        self.register_buffer("u_base", morphable.u[rows])
        self.register_buffer("w_shp_base", morphable.w_shp[rows])
        self.register_buffer("w_exp_base", morphable.w_exp[rows])
        self.register_buffer("keypoints", rows, persistent=False)  # in no published checkpoint

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """All outputs that training and the refined benchmark need.

        Args:
            images: (B, 3, 120, 120), pre-processed.
        Returns:
            params (B, 62) whitened, pooled (B, C), landmarks and refined_landmarks (B, 3, 68) in
            crop px with y down, params_from_landmarks (B, 62) whitened; without refiner and inverse
            regressor the first three.
        """
        params_w, pooled = self.I2P(images)
        # bfloat16 resolves 0.5 px at 120: under autocast only the backbone uses it
        with torch.autocast(images.device.type, enabled=False):
            params_w, pooled = params_w.to(self.u), pooled.to(self.u)
            landmarks = self.landmarks(params_w)
            outputs = {"params": params_w, "pooled": pooled, "landmarks": landmarks}
            if self.forwardDirection is None or self.reverseDirection is None:
                return outputs
            rectify = self.recipe != "corrected"
            offsets = self.forwardDirection(landmarks, pooled, params_w, rectify)
            refined = landmarks + RESIDUAL_SCALE * offsets
            inverse = self.reverseDirection(refined, rectify)
        return outputs | {"refined_landmarks": refined, "params_from_landmarks": inverse}

    def regress(self, images: Tensor) -> Tensor:
        """Whitened parameters (B, 62): the backbone alone, as in inference and the benchmark."""
        return self.I2P(images)[0]

    def params(self, params_w: Tensor) -> Tensor:
        """Real parameters (B, 62) from whitened ones."""
        return unwhiten(params_w, self.param_mean, self.param_std)

    def landmarks(self, params_w: Tensor) -> Tensor:
        """68 landmarks (B, 3, 68) in crop px, y down, from whitened parameters."""
        params = self.params(params_w)
        return decode_points(params, self.u_base, self.w_shp_base, self.w_exp_base)

    def vertices(self, params_w: Tensor) -> Tensor:
        """All vertices (B, 3, V) in crop px, y down, from whitened parameters."""
        return decode_points(self.params(params_w), self.u, self.w_shp, self.w_exp)

    def face_model(self) -> MorphableModel:
        """The face model in numpy, with the whitening of the weights: what the runtime needs."""
        own = dataclasses.replace(self._morphable, **{n: getattr(self, n) for n in ARRAYS})
        return own.convert(lambda tensor: tensor.numpy(force=True))


def load_morphable(folder: str | os.PathLike) -> MorphableModel:
    """Read a `3dmm_data` folder, its arrays as tensors; see `read_morphable_folder`."""
    return read_morphable_folder(folder).convert(torch.from_numpy)


def build_model(
    arch: str = "mobilenet_v2", *, morphable: MorphableModel, recipe: str = "paper"
) -> SynergyNet:
    """A SynergyNet with fresh weights.

    Raises:
        InputError: unknown arch or recipe.
    """
    if recipe not in RECIPES:
        raise fileio.InputError(f"unknown recipe '{recipe}'; choose from {', '.join(RECIPES)}")
    try:
        return SynergyNet(arch, morphable, recipe)
    except ValueError as error:
        raise fileio.InputError(str(error)) from None


# ---------------------------------------------------------------- checkpoints


def read_checkpoint(path: str | os.PathLike) -> dict[str, Any]:
    """Read a PyTorch checkpoint to the CPU, tensors and plain values only.

    Raises:
        InputError: missing, damaged, not a dict, or containing anything that would run code.
    """
    with fileio.open_to_read(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, on damaged files of its old format
        try:
            if zipfile.is_zipfile(file):  # PyTorch checks neither sizes nor sums
                archive = zipfile.ZipFile(file)
                fileio.require_modest(archive)
                if archive.testzip() is not None:
                    raise ValueError("a member's checksum is wrong")
            file.seek(0)
            checkpoint = torch.load(file, map_location="cpu", weights_only=True)
        except OSError:
            raise
        except Exception:  # a damaged checkpoint can raise anything
            raise fileio.InputError(
                f"{path}: not a checkpoint of plain tensors (damaged, or it holds code and is "
                f"refused)"
            ) from None
    if not isinstance(checkpoint, dict):
        raise fileio.InputError(
            f"{path}: holds a {type(checkpoint).__name__}, not a checkpoint dict"
        )
    for key, kind in CHECKPOINT_ENTRIES.items():
        if not isinstance(checkpoint.get(key, kind()), kind):
            raise fileio.InputError(f"{path}: its entry {key} is no {kind.__name__}; damaged")
    return checkpoint


def describe(model: SynergyNet) -> dict[str, Any]:
    """What a checkpoint says about itself: arch, recipe and morphable model."""
    return {"arch": model.arch, "recipe": model.recipe, "morphable": model.morphable_id}


def published_state(model: SynergyNet) -> dict[str, Tensor]:
    """State dict on the CPU under published names: every key starts with `module.`."""
    return {f"module.{key}": value.cpu() for key, value in model.state_dict().items()}


def pack_weights(model: SynergyNet) -> dict[str, Any]:
    """A small checkpoint to ship: weights in half precision, the morphable model left out.

    Batch-norm entries and biases stay in single precision: they are few, and may be large or tiny.
    """
    bases = {f"module.{name}" for name in BASIS_BUFFERS}
    state = {
        key: value.half() if value.ndim > 1 else value
        for key, value in published_state(model).items()
        if key not in bases
    }
    return describe(model) | {"state_dict": state}


def load_weights(model: SynergyNet, path: str | os.PathLike) -> dict[str, Any]:
    """Fill `model` from a checkpoint: published, ours, or 3DDFA_V2's MobileNet; all or nothing.

    Keys may start with `module.`; half precision is cast. The whitening is taken over from the
    checkpoint. Absent may be: the six morphable-model bases where the checkpoint names its model
    by hash (`pack_weights`), the two landmark networks, which become None, where the checkpoint's
    recipe is `backbone`, and for 3DDFA_V2 all that is not its backbone, the whitening, which the
    caller must see to, too. A model without landmark networks leaves the checkpoint's alone.

    Returns:
        The checkpoint's other entries (epoch, optimizer, ...).
    Raises:
        InputError: unreadable, of another arch or morphable model, or any entry missing, unknown,
            of another shape or not finite. The model is unchanged then.
    """
    checkpoint = read_checkpoint(path)
    state = _plain_state(checkpoint, path)
    own = model.state_dict()
    absent_allowed = set(BASIS_BUFFERS) if morphable_hash(checkpoint) else set()
    heads = ("forwardDirection.", "reverseDirection.")
    if model.forwardDirection is None:
        state = {key: value for key, value in state.items() if not key.startswith(heads)}
    if checkpoint.get("recipe") == "backbone":
        absent_allowed |= {key for key in own if key.startswith(heads)}
    if "fc_param.weight" in state:
        if model.arch != THREEDDFA_V2:
            raise fileio.InputError(f"{path}: weights of 3DDFA_V2; pass --arch {THREEDDFA_V2}")
        state = _from_3ddfa_v2(state, path)
        absent_allowed = {key for key in own if key.startswith(heads)}
        absent_allowed |= {*BASIS_BUFFERS, *WHITENING_BUFFERS}
    _check_origin(model, checkpoint, path)
    _check_entries(own, state, absent_allowed, path, model.arch)
    _check_bases(own, state, path)
    model.load_state_dict(state, strict=False)  # strictness is checked above, by name
    if not any(key.startswith(heads) for key in state):
        model.forwardDirection = model.reverseDirection = None
    # NOTE(released): published checkpoints name no recipe; theirs is `released`
    model.recipe = checkpoint.get("recipe", "released")
    return {key: value for key, value in checkpoint.items() if key != "state_dict"}


def morphable_hash(checkpoint: dict[str, Any]) -> str | None:
    """Hash of the morphable model that a checkpoint names; None when it names none."""
    named = checkpoint.get("morphable")
    return named.get("hash") if isinstance(named, dict) else None


def _plain_state(checkpoint: dict[str, Any], path: str | os.PathLike) -> dict[str, Tensor]:
    state = checkpoint.get("state_dict", checkpoint)
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise fileio.InputError(f"{path}: no state_dict of weights in it")
    for key, value in state.items():
        if not _holds_plain_numbers(value):
            raise fileio.InputError(
                f"{path}: {key} holds {value.dtype} on {value.device.type}, {value.layout}; "
                f"expected plain numbers"
            )
    return {key.removeprefix("module."): value for key, value in state.items()}


def _holds_plain_numbers(value: Tensor) -> bool:
    is_there = value.layout == torch.strided and value.device.type == "cpu"
    return is_there and (value.is_floating_point() or value.dtype in (torch.int64, torch.int32))


def _from_3ddfa_v2(state: dict[str, Tensor], path: str | os.PathLike) -> dict[str, Tensor]:
    try:
        renamed = from_3ddfa_v2(state)
    except (KeyError, RuntimeError, ValueError) as error:
        raise fileio.InputError(f"{path}: not 3DDFA_V2's MobileNet 0.5 ({error})") from None
    return {f"I2P.backbone.{key}": value for key, value in renamed.items()}


def _check_origin(model: SynergyNet, checkpoint: dict[str, Any], path: str | os.PathLike) -> None:
    arch = checkpoint.get("arch", model.arch)
    if arch != model.arch:
        raise fileio.InputError(f"{path}: weights of {arch}, not {model.arch}; pass --arch {arch}")
    if checkpoint.get("recipe", "released") not in RECIPES:
        raise fileio.InputError(f"{path}: unknown recipe '{checkpoint['recipe']}'")
    if morphable_hash(checkpoint) not in (None, model.morphable_id["hash"]):
        raise fileio.InputError(
            f"{path}: trained with morphable model {checkpoint['morphable']}, "
            f"not {model.morphable_id}; pass its folder with --morphable"
        )


def _check_entries(
    own: dict[str, Tensor],
    state: dict[str, Tensor],
    absent_allowed: set[str],
    path: str | os.PathLike,
    arch: str,
) -> None:
    missing = sorted(own.keys() - state.keys() - absent_allowed)
    unknown = sorted(state.keys() - own.keys())
    both = own.keys() & state.keys()
    other_shape = sorted(key for key in both if own[key].shape != state[key].shape)
    if bases := [key for key in other_shape if key in BASIS_BUFFERS]:
        raise fileio.InputError(
            f"{path}: {bases[0]} of shape {tuple(state[bases[0]].shape)}, the morphable model has "
            f"{tuple(own[bases[0]].shape)}; pass the checkpoint's own with --morphable"
        )
    if missing or unknown or other_shape:
        kinds = {"missing": missing, "unknown": unknown, "of another shape": other_shape}
        faults = [f"{len(keys)} {kind} ({keys[0]}, ...)" for kind, keys in kinds.items() if keys]
        raise fileio.InputError(
            f"{path}: does not fit SynergyNet with arch {arch}: entries {', '.join(faults)}"
        )
    for key in sorted(both):
        if own[key].is_floating_point() != state[key].is_floating_point():
            raise fileio.InputError(f"{path}: {key} holds {state[key].dtype}, not {own[key].dtype}")
        if not state[key].isfinite().all():
            raise fileio.InputError(f"{path}: {key} is not finite; the training run had diverged")
        least = 1e-12 if key == "param_std" else 0 if key.endswith("running_var") else -math.inf
        if (state[key] < least).any():
            raise fileio.InputError(f"{path}: {key} holds deviations that cannot be; damaged")


def _check_bases(own: dict[str, Tensor], state: dict[str, Tensor], path: str | os.PathLike) -> None:
    for key in BASIS_BUFFERS:
        if key not in state:
            continue
        expected = own[key].cpu()
        tolerance = BASIS_TOLERANCE * expected.abs().max().item()
        if not torch.allclose(state[key].to(expected), expected, rtol=0, atol=tolerance):
            raise fileio.InputError(
                f"{path}: trained with another morphable model ({key} differs); "
                f"pass its folder with --morphable"
            )


def _point_layer(inputs: int, outputs: int) -> tuple[nn.Conv1d, nn.BatchNorm1d]:
    return nn.Conv1d(inputs, outputs, 1), nn.BatchNorm1d(outputs)
