"""Checkpoints of a training run: all that the run needs to go on as if it had not stopped.

A file is written whole or not at all, so that a run killed at any moment leaves the one before. Of
random numbers nothing is stored but their seed: those of a step follow from seed, epoch and step.
"""

from __future__ import annotations

import argparse
import io as bytes_io
import logging
import platform
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torchvision
from torch.optim.swa_utils import AveragedModel

from model_building import (
    SynergyNet,
    describe,
    load_weights,
    pack_weights,
    published_state,
    read_checkpoint,
)
from synergynet import fileio

MAY_DIFFER = {  # flags of a resumed run that leave the numbers alone, or only extend the run
    *("epochs", "resume", "validation", "workers", "snapshot", "save_val_freq", "save_freq"),
    *("test_initial", "print_freq", "log_file", "plot", "tensorboard", "dry_run", "root"),
    *("val_batch_size", "log_mode", "img_size", "task", "resume_pose"),
    *("filelists_train", "param_fp_train", "morphable", "devices_id", "weights", "start_epoch"),
}

log = logging.getLogger("train")


def snapshot_path(args: argparse.Namespace, name: str) -> Path:
    """A checkpoint of this run."""
    snapshot = Path(args.snapshot)
    return snapshot.with_name(f"{snapshot.name}_{name}.pth.tar")


def save_checkpoint(
    path: Path,
    model: SynergyNet,
    optimizer: torch.optim.Optimizer,
    averaged: AveragedModel | None,
    position: dict[str, Any],
) -> None:
    """Write everything that `resume` needs; `state_dict` holds the weights to use.

    Args:
        path: of the file.
        model, optimizer: of the run.
        averaged: moving average of the weights, the ones to use, or None.
        position: plain values: `epoch`, how many are done, `step`, how many of the next epoch are,
            and what else the run wants to find again.
    Raises:
        InputError: it could not be written, or the run has diverged; the file that was there is
            unchanged.
    """
    result = model if averaged is None else averaged.module
    for network in (model, result):
        _require_finite(path, network)
    entries = describe(model) | {
        "state_dict": published_state(result),
        "optimizer": optimizer.state_dict(),
        "versions": versions(),
        **position,
    }
    if averaged is not None:
        entries["raw_state_dict"] = model.state_dict()  # what the optimiser goes on from
    _write(path, entries)


def save_weights(path: Path, model: SynergyNet) -> None:
    """Write the weights alone, in half precision.

    Raises:
        InputError: it could not be written, or the run has diverged.
    """
    _require_finite(path, model)
    _write(path, pack_weights(model))


def _require_finite(path: Path, model: SynergyNet) -> None:
    """Refuse to replace good weights by those of a run that has diverged.

    Raises:
        InputError: a weight or a statistic is not a finite number.
    """
    for name, value in model.state_dict().items():
        if not value.isfinite().all():
            raise fileio.InputError(
                f"{path}: not written, {name} is no longer finite: the run has diverged; go on "
                f"from an older checkpoint with a lower --base-lr"
            )


def _write(path: Path, entries: dict[str, Any]) -> None:
    # torch.save to a file hides a full disk behind errors of its own
    buffer = bytes_io.BytesIO()
    torch.save(entries, buffer)
    try:
        with fileio.whole_file(path, durable=True) as temporary:
            temporary.write_bytes(buffer.getbuffer())
    except fileio.InputError as error:
        raise fileio.InputError(f"{error}; make room, go on with --resume auto") from None


def versions() -> dict[str, str]:
    """What the numbers of a run depend on beside its flags and data."""
    libraries = {"torch": torch, "torchvision": torchvision, "numpy": np, "opencv": cv2}
    found = {name: str(library.__version__) for name, library in libraries.items()}
    return {"python": platform.python_version()} | found


def require_new(args: argparse.Namespace) -> None:
    """Refuse to begin anew where the checkpoints of an earlier run would be replaced.

    Raises:
        InputError: there are such, and the run does not go on from any.
    """
    last = snapshot_path(args, "last")
    if not args.resume and last.is_file():
        raise fileio.InputError(
            f"{last}: of an earlier run; go on with --resume auto, choose another --snapshot, or "
            f"remove it"
        )


def remove_remains(snapshot: Path) -> None:
    """Remove what a run that was killed while it wrote a checkpoint left beside it."""
    kinds = r"(?:last|best|weights|checkpoint_epoch_\d+)"  # not of a run whose name begins alike
    remains = re.compile(rf"\.{re.escape(snapshot.name)}_{kinds}\.pth\.[0-9a-f]{{8}}\.tar")
    for path in snapshot.parent.glob(".*.tar"):
        if remains.fullmatch(path.name):
            path.unlink(missing_ok=True)


def resume(
    path: str | Path,
    model: SynergyNet,
    optimizer: torch.optim.Optimizer,
    averaged: AveragedModel | None,
) -> dict[str, Any]:
    """Load a checkpoint of `save_checkpoint`; returns its `position`, `versions` and the like.

    Raises:
        InputError: not such a checkpoint, or of another arch, recipe, optimiser or morphable model.
    """
    recipe = model.recipe
    entries = load_weights(model, path)
    if "optimizer" not in entries:
        raise fileio.InputError(
            f"{path}: weights only; start from them with --weights, "
            f"--resume needs a checkpoint of main_train.py"
        )
    if model.recipe != recipe:
        raise fileio.InputError(f"{path}: trained with --recipe {model.recipe}, not {recipe}")
    if averaged is not None:
        averaged.module.load_state_dict(model.state_dict())
        averaged.n_averaged.fill_(1)  # the next update averages instead of copying
    try:
        saved_group = entries["optimizer"]["param_groups"][0]
        same_optimizer = optimizer.param_groups[0].keys() == saved_group.keys()
        if same_optimizer:
            optimizer.load_state_dict(entries["optimizer"])
        if "raw_state_dict" in entries:
            model.load_state_dict(entries["raw_state_dict"])
        for key in ("epoch", "step"):
            entries[key] = int(entries.get(key, 0))
        best = entries.get("best")
        if best is not None:
            best["epoch"], best["nme"] = int(best["epoch"]), float(best["nme"])
    except Exception as error:  # a damaged state can raise anything
        raise fileio.InputError(f"{path}: cannot go on from it, damaged ({error!r})") from None
    if not same_optimizer:
        raise fileio.InputError(f"{path}: trained with another --optimizer")
    return entries


def check_run(
    path: str | Path, entries: dict[str, Any], data: str, args: dict[str, Any]
) -> list[str]:
    """Compare a checkpoint with the run that is to go on from it.

    Args:
        path, entries: the checkpoint.
        data: fingerprint of the training set.
        args: flags of this run.
    Returns:
        A line for every flag or version that will make the run another one.
    Raises:
        InputError: another training set, or other batches in the middle of an epoch.
    """
    if entries.get("data", data) != data:
        raise fileio.InputError(
            f"{path}: trained on other data; to start from its weights use --weights"
        )
    saved = entries.get("args", {})
    if entries["step"] and saved.get("batch_size") != args["batch_size"]:
        raise fileio.InputError(
            f"{path}: stopped in the middle of an epoch of --batch-size {saved.get('batch_size')}; "
            f"keep that size"
        )
    lines = [
        f"--{name.replace('_', '-')} is {args[name]}, the checkpoint has {saved[name]}"
        for name in sorted(saved.keys() & args.keys() - MAY_DIFFER)
        if saved[name] != args[name]
    ]
    now = versions()
    lines += [
        f"{name} is {now[name]}, the checkpoint has {version}"
        for name, version in entries.get("versions", {}).items()
        if now.get(name) != version
    ]
    return lines


def restore(
    args: argparse.Namespace,
    model: SynergyNet,
    optimizer: torch.optim.Optimizer,
    averaged: AveragedModel | None,
    data: str,
) -> dict[str, Any]:
    """Where the run stands: at --start-epoch, or where --resume says, which is loaded.

    Returns:
        `epoch` how many are done, `step` how many of the next are, `best` validation so far,
        `data` and `args`, by which a checkpoint knows its run, and whether the run is `resumed`.
    Raises:
        InputError: the checkpoint does not belong to this run.
    """
    position: dict[str, Any] = {"epoch": args.start_epoch - 1, "step": 0, "best": None}
    last = snapshot_path(args, "last")
    source = (last if last.is_file() else "") if args.resume == "auto" else args.resume
    if source:
        entries = resume(source, model, optimizer, averaged)
        for line in check_run(source, entries, data, vars(args)):
            log.warning(f"{source}: not the same run any more: {line}")
        position |= {name: entries[name] for name in position if name in entries}
        log.info(f"going on from {source}, epoch {position['epoch'] + 1} step {position['step']}")
    if position["epoch"] >= args.epochs:
        raise fileio.InputError(
            f"nothing to train: the next epoch is {position['epoch'] + 1}, --epochs {args.epochs}"
        )
    return position | {"data": data, "args": vars(args).copy(), "resumed": bool(source)}


def forget_best(position: dict[str, Any], path: Path, scored: str) -> None:
    """Choose anew where the best so far cannot be compared, or is lost.

    Args:
        position: of `restore`; its `best` is set to None then, which is logged.
        path: checkpoint of the best weights.
        scored: fingerprint of the validation set.
    Raises:
        InputError: that checkpoint is damaged.
    """
    best = position["best"]
    if best is None:
        return
    reason = None
    if best.get("set") != scored:
        reason = "was chosen on another validation set"
    elif not path.is_file() or read_checkpoint(path).get("best") != best:
        reason = f"is lost, {path} does not hold it"
    if reason is not None:
        log.warning(f"best on validation, epoch {best['epoch']}, {reason}: choosing again")
        position["best"] = None
