"""From files to a network: a checkpoint, the arch it names, and the face model it belongs to."""

from __future__ import annotations

import os
from typing import Any

import torch

from backbone_nets import THREEDDFA_V2
from model_building import (
    SynergyNet,
    build_model,
    load_morphable,
    load_weights,
    morphable_hash,
    read_checkpoint,
)
from synergynet import fileio
from synergynet.face_model import MorphableModel
from synergynet.morphable_folder import read_whitening
from utils.data.folders import OPEN_FOLDER, default_morphable_folder


def load_model(
    weights: str | os.PathLike,
    arch: str | None = None,
    morphable: str | os.PathLike | None = None,
    whitening: str | os.PathLike | None = None,
) -> SynergyNet:
    """The network of a checkpoint, which names its arch and morphable model when it is ours.

    Args:
        weights: checkpoint: published, ours, or 3DDFA_V2's.
        arch: overrides what the checkpoint says; published ones say nothing and are mobilenet_v2.
        morphable: folder; None looks for the checkpoint's own in the default folders.
        whitening: file with mean and standard deviation of the parameters, replaces the others.
    Raises:
        InputError: a file is missing or damaged, or two do not belong together.
    """
    checkpoint = read_checkpoint(weights)
    arch = arch or checkpoint.get("arch", "mobilenet_v2")
    foreign = lacks_whitening(arch, checkpoint, weights, whitening)
    model = build_model(arch, morphable=_choose_morphable(morphable, checkpoint))
    load_weights(model, weights)
    if whitening is not None:
        mean, std = map(torch.from_numpy, read_whitening(whitening))
        # weights that name no face model belong to the one that came with their whitening
        pairs = ((mean, model.param_mean), (std, model.param_std))
        if foreign and not all(torch.allclose(*pair) for pair in pairs):
            raise fileio.InputError(
                f"{whitening}: not the whitening of morphable model {model.morphable_id['name']}, "
                f"so these weights belong to another; pass its folder with --morphable"
            )
        model.param_mean, model.param_std = mean, std
    return model


def _choose_morphable(
    folder: str | os.PathLike | None, checkpoint: dict[str, Any]
) -> MorphableModel:
    if folder:
        return load_morphable(folder)
    shipped = load_morphable(OPEN_FOLDER)
    if morphable_hash(checkpoint) == shipped.hash:  # whatever lies beside it, whole or in part
        return shipped
    return load_morphable(default_morphable_folder())


def lacks_whitening(
    arch: str,
    checkpoint: dict[str, Any],
    weights: str | os.PathLike,
    whitening: str | os.PathLike | None,
) -> bool:
    """Whether these are 3DDFA_V2's own weights, which carry no whitening.

    Args:
        arch: of the weights.
        checkpoint: they, or its entries without them.
        weights: their path, for messages.
        whitening: the file that then replaces it.
    Raises:
        InputError: they are, and there is no such file.
    """
    lacks = arch == THREEDDFA_V2 and morphable_hash(checkpoint) is None
    if lacks and not whitening:
        raise fileio.InputError(
            f"{weights}: 3DDFA_V2's weights carry no whitening; "
            f"pass its param_mean_std_62d_120x120.pkl with --whitening"
        )
    return lacks
