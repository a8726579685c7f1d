"""Parts of a training step: schedule, optimiser, the guard against bad gradients, and memory.

Source: SynergyNet, section 4.1, and the published training script.
"""

from __future__ import annotations

import ctypes
import itertools
import logging
import math
import os
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import update_bn

from loss_definition import SynergyLoss
from model_building import SynergyNet
from synergynet import fileio
from synergynet.geometry.parameters import IMG_SIZE, N_PARAMS
from utils.data.preprocessing import TRAIN, preprocess
from utils.data.training_crops import Batch

WARMUP_FACTOR = 0.2
DECAY_FACTOR = 0.2
MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4  # on everything, biases and batch norms too
ADAMW_WEIGHT_DECAY = 0.01  # decoupled from the gradient, hence of another size
MAX_SKIPPED_IN_A_ROW = 50
SUSPECTS = 3  # images that are named when a step fails
STATISTICS_BATCHES = 20  # that averaged weights see; as many as a running average remembers
OPTIMIZERS = ("sgd", "adamw")
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h, and its defaults
DEFAULT_TRIM_THRESHOLD, DEFAULT_MMAP_MAX = 128 * 1024, 65536

log = logging.getLogger("train")


def learning_rate(epoch: int, base_lr: float, warmup: int, milestones: list[int]) -> float:
    """Learning rate of an epoch, counted from 1; milestones act from the epoch after them."""
    if epoch <= warmup:
        return WARMUP_FACTOR * base_lr
    return base_lr * DECAY_FACTOR ** sum(epoch > milestone for milestone in milestones)


def build_optimizer(
    model: torch.nn.Module,
    base_lr: float,
    name: str = "sgd",
    momentum: float = MOMENTUM,
    weight_decay: float | None = None,
) -> torch.optim.Optimizer:
    """The published optimiser, or AdamW for short runs; both decay all parameters.

    Args:
        model: whose parameters to train.
        base_lr: learning rate.
        name: `sgd`, with Nesterov momentum, or `adamw`. The pose entries move the landmarks far
            more than the others do, and AdamW scales each gradient: after 36 steps on 32 synthetic
            faces the loss was 1.06 with it, 1.68 with the best rate of the other.
        momentum: of sgd.
        weight_decay: None takes WEIGHT_DECAY or ADAMW_WEIGHT_DECAY.
    """
    if weight_decay is None:
        weight_decay = ADAMW_WEIGHT_DECAY if name == "adamw" else WEIGHT_DECAY
    if name == "adamw":
        return torch.optim.AdamW(
            model.parameters(), lr=base_lr, weight_decay=weight_decay, fused=True
        )
    return torch.optim.SGD(
        model.parameters(),
        lr=base_lr,
        momentum=momentum,
        weight_decay=weight_decay,
        nesterov=momentum > 0,
        fused=True,
    )


class GuardedStep:
    """An optimiser step that leaves everything as it was when a gradient is not finite.

    NOTE(released): the published loop skips such a step for some parameters only.

    Attributes:
        skipped, taken: steps skipped, and taken, so far.
        in_a_row: how many of them since the last good one.
    """

    def __init__(self, model: SynergyNet, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self.parameters = list(model.parameters())
        self.statistics = [
            buffer for name, buffer in model.named_buffers() if "running_" in name
        ]  # a forward pass moves them, so a skipped step must move them back
        self.skipped = self.taken = self.in_a_row = 0

    def snapshot(self) -> list[Tensor]:
        """Batch-norm statistics before the forward pass."""
        return [buffer.clone() for buffer in self.statistics]

    def step(self, before: list[Tensor]) -> bool:
        """Apply the gradients and return True, or restore `before` and return False."""
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, math.inf)  # measures, clips nothing
        if norm.isfinite():
            self.optimizer.step()
            self.taken += 1
            self.in_a_row = 0
            return True
        with torch.no_grad():
            for buffer, old in zip(self.statistics, before, strict=True):
                buffer.copy_(old)
        self.skipped += 1
        self.in_a_row += 1
        return False


def report_skipped(guard: GuardedStep, batch: Batch, names: list[str]) -> None:
    """Name the images whose targets are largest; labels are what breaks a step most often.

    Raises:
        InputError: MAX_SKIPPED_IN_A_ROW steps in a row were skipped.
    """
    largest = batch.params_w.abs().amax(dim=1).topk(min(SUSPECTS, len(batch.rows)))
    suspects = ", ".join(
        f"{names[batch.rows[index]]} ({value:.3g})"
        for value, index in zip(largest.values, largest.indices, strict=True)
    )
    log.error(f"step skipped, its gradient is not finite; largest targets: {suspects}")
    if guard.in_a_row == MAX_SKIPPED_IN_A_ROW:
        raise fileio.InputError(
            f"{guard.in_a_row} steps in a row without a finite gradient; lower --base-lr, or look "
            f"for wrong labels; the largest whitened targets of the last step: {suspects}"
        )


def step_seed(seed: int, epoch: int, step: int, part: int) -> int:
    """Seed of a step's erasing and dropout on one part of its batch."""
    return int(np.random.SeedSequence((seed, epoch, step, part)).generate_state(1)[0])


def measure_batch_norms(model: SynergyNet, batches: Iterable[Batch]) -> None:
    """Measure the batch-norm statistics of averaged weights again, on STATISTICS_BATCHES batches.

    Averaged weights are smaller than the weights they average, and so are their activations:
    neither the trained model's statistics nor the average of those fit them.
    """
    torch.manual_seed(0)  # of erasing: the same weights get the same statistics
    device = model.u.device
    first = itertools.islice(batches, STATISTICS_BATCHES)
    update_bn((preprocess(batch.images.to(device), TRAIN) for batch in first), model)


# ---------------------------------------------------------------- memory


def keep_freed_memory(keep: bool = True) -> None:
    """Let the C library keep what a training step frees for the next step, or not.

    By default glibc gives every block above 32 MB back to the system, and the next step pays for
    fresh, zeroed pages: a fifth of a step at batch 128 on a CPU. Elsewhere this does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0 if keep else DEFAULT_MMAP_MAX)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1 if keep else DEFAULT_TRIM_THRESHOLD)


def estimate_memory(model: SynergyNet, criterion: SynergyLoss, images: int) -> int:
    """Bytes that a float32 training step of `images` images on one device will need.

    Weights, gradients and two numbers of the optimiser for each, and what two images make the
    backward pass keep, scaled up.
    """
    own = {tensor.data_ptr() for tensor in model.state_dict().values()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in own:
            kept[tensor.data_ptr()] = tensor
        return tensor

    state = {name: value.clone() for name, value in model.state_dict().items()}
    device = model.u.device
    inputs = preprocess(torch.zeros(2, IMG_SIZE, IMG_SIZE, 3, dtype=torch.uint8, device=device))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        criterion(model.train()(inputs), torch.zeros(2, N_PARAMS, device=device), model)
    model.load_state_dict(state)  # the pass moved batch-norm statistics
    activations = sum(tensor.nbytes for tensor in kept.values()) // 2
    return 16 * sum(p.numel() for p in model.parameters()) + images * activations
