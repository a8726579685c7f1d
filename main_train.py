"""Train SynergyNet.

    bash train_script.sh                                # published settings, or a synthetic set
    python main_train.py --resume ckpts/SynergyNet_checkpoint_epoch_10.pth.tar
    python main_train.py --devices-id 0,1,2,3           # a process per GPU; torchrun works too

Every epoch seeds its own random numbers, so a resumed run goes on as if it had not stopped. The
schedule is fixed and the last epoch is the result: validation is reported and decides nothing.
Source: SynergyNet, section 4.1, and the published training script.
"""

from __future__ import annotations

import argparse
import ctypes
import datetime
import itertools
import logging
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, multiprocessing
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn
from torch.utils.data import DataLoader

import benchmark
import model_building
from backbone_nets import BACKBONES
from loss_definition import SynergyLoss
from model_building import SynergyNet
from utils import ddfa, io
from utils.params import default_morphable_folder, load_morphable

WARMUP_FACTOR = 0.2
DECAY_FACTOR = 0.2
MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4  # on everything, biases and batch norms too
ADAMW_WEIGHT_DECAY = 0.01  # decoupled from the gradient, hence of another size
MAX_SKIPPED_IN_A_ROW = 50
DRY_RUN_STEPS = 2
STATISTICS_BATCHES = 50  # that averaged weights see before they are used
OPTIMIZERS = ("sgd", "adamw")
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h
LEAST = {
    "--epochs": 1,
    "--start-epoch": 1,
    "--warmup": 0,
    "--processes": 1,
    "--workers": 0,
    "--seed": 0,
    "--save_val_freq": 1,
    "--print-freq": 1,
}  # of the numeric flags

log = logging.getLogger("train")


def get_args_parser() -> argparse.ArgumentParser:
    """The published script's flags and ours; defaults are the published settings."""
    parser = argparse.ArgumentParser(description="Train SynergyNet")
    add = parser.add_argument
    add("--arch", default="mobilenet_v2", help=f"{', '.join(BACKBONES)} or timm:NAME")
    add("--recipe", default="paper", choices=model_building.RECIPES, help="see README, 'Recipes'")
    add("--root", default="train_aug_120x120", help="folder of the training crops")
    add("--filelists-train", default="3dmm_data/train_aug_120x120.list.train", help="their names")
    add("--param-fp-train", default="3dmm_data/param_all_norm_v201.pkl", help="whitened targets")
    add("--morphable", help="3DMM folder; default: 3dmm_data when complete, else 3dmm_data/open")
    add("--validation", help="folder like aflw2000_data; default: aflw2000_data or its open/")
    add("--batch-size", type=int, default=1024, help="images a step over all devices (%(default)s)")
    add("--base-lr", type=float, default=0.08, help="learning rate (%(default)s)")
    add("--optimizer", default="sgd", choices=OPTIMIZERS, help="adamw learns sooner (%(default)s)")
    add("--epochs", type=int, default=80, help="last epoch (%(default)s)")
    add("--start-epoch", type=int, default=1, help="first epoch; --resume overrides it")
    add("--warmup", type=int, default=5, help=f"epochs at {WARMUP_FACTOR} x base lr (%(default)s)")
    add("--milestones", type=int_list, default=[48, 64], help="lr x 0.2 after these (48,64)")
    add("--ema", type=float, default=0.0, help="decay of averaged weights, e.g. 0.998; 0: none")
    add("--amp", action="store_true", help="backbone in bfloat16; pays on GPUs")
    add("--devices-id", type=int_list, default=[0], help="GPUs, e.g. 0,1; without GPU: the CPU")
    add("--processes", type=int, default=1, help="without GPU: share a batch (%(default)s)")
    cores = os.cpu_count() or 1
    add("--workers", type=int, default=min(4, cores), help="loading processes per device")
    add("--seed", type=int, default=0, help="of weights, order, augmentation and dropout")
    add("--snapshot", default="ckpts/SynergyNet", help="prefix of checkpoints (%(default)s)")
    add("--save_val_freq", type=int, default=10, help="epochs between checkpoints (%(default)s)")
    add("--resume", default="", help="checkpoint to go on from")
    add("--test_initial", action="store_true", help="validate before training")
    add("--print-freq", type=int, default=50, help="steps between lines of the log (%(default)s)")
    add("--log-file", default="", help="also write the log here")
    add("--dry-run", action="store_true", help=f"{DRY_RUN_STEPS} steps, validate, write nothing")
    return parser


def int_list(text: str) -> list[int]:
    """`48,64` -> [48, 64]."""
    return [int(item) for item in text.split(",") if item]


def check_flags(args: argparse.Namespace) -> None:
    """Refuse numbers that make no sense, before anything is read.

    Raises:
        InputError: names the flag.
    """
    io.require_at_least(args, LEAST)
    if not 0 <= args.ema < 1:
        raise io.InputError(f"--ema {args.ema}: must be at least 0 and below 1")
    if not 0 < args.base_lr < math.inf:
        raise io.InputError(f"--base-lr {args.base_lr}: must be above 0")
    if not args.devices_id or min(args.devices_id) < 0:
        raise io.InputError("--devices-id: give numbers of GPUs, for instance 0,1")


def learning_rate(epoch: int, base_lr: float, warmup: int, milestones: list[int]) -> float:
    """Learning rate of an epoch, counted from 1; milestones act from the epoch after them."""
    if epoch <= warmup:
        return WARMUP_FACTOR * base_lr
    return base_lr * DECAY_FACTOR ** sum(epoch > milestone for milestone in milestones)


def build_optimizer(
    model: torch.nn.Module, base_lr: float, name: str = "sgd"
) -> torch.optim.Optimizer:
    """The published optimiser, or AdamW for short runs; both decay all parameters.

    Args:
        model: whose parameters to train.
        base_lr: learning rate.
        name: `sgd`, with Nesterov momentum, or `adamw`. The pose entries move the landmarks far
            more than the others do, and AdamW scales each gradient: after 36 steps on 32 synthetic
            faces the loss was 1.06 with it, 1.68 with the best rate of the other.
    """
    if name == "adamw":
        return torch.optim.AdamW(
            model.parameters(), lr=base_lr, weight_decay=ADAMW_WEIGHT_DECAY, fused=True
        )
    return torch.optim.SGD(
        model.parameters(),
        lr=base_lr,
        momentum=MOMENTUM,
        weight_decay=WEIGHT_DECAY,
        nesterov=True,
        fused=True,
    )


# ---------------------------------------------------------------- one step


class GuardedStep:
    """An optimiser step that leaves everything as it was when a gradient is not finite.

    NOTE(released): the published loop skips such a step for some parameters only.

    Attributes:
        skipped: steps skipped so far.
        in_a_row: how many of them since the last good one.
    """

    def __init__(self, model: SynergyNet, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self.parameters = list(model.parameters())
        self.statistics = [
            buffer for name, buffer in model.named_buffers() if "running_" in name
        ]  # a forward pass moves them, so a skipped step must move them back
        self.skipped = self.in_a_row = 0

    def snapshot(self) -> list[Tensor]:
        """Batch-norm statistics before the forward pass."""
        return [buffer.clone() for buffer in self.statistics]

    def step(self, before: list[Tensor]) -> bool:
        """Apply the gradients and return True, or restore `before` and return False.

        Raises:
            InputError: MAX_SKIPPED_IN_A_ROW steps in a row were not finite.
        """
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, math.inf)  # measures, clips nothing
        if norm.isfinite():
            self.optimizer.step()
            self.in_a_row = 0
            return True
        with torch.no_grad():
            for buffer, old in zip(self.statistics, before, strict=True):
                buffer.copy_(old)
        self.skipped += 1
        self.in_a_row += 1
        if self.in_a_row == MAX_SKIPPED_IN_A_ROW:
            raise io.InputError(
                f"{self.in_a_row} steps in a row without a finite gradient; "
                f"lower --base-lr, or look for labels that are not finite"
            )
        return False


def train_one_epoch(
    network: torch.nn.Module,
    criterion: SynergyLoss,
    guard: GuardedStep,
    batches: Iterable[tuple[Tensor, Tensor]],
    progress: Progress,
    *,
    averaged: AveragedModel | None = None,
    amp: bool = False,
) -> None:
    """One pass over `batches`.

    Args:
        network: the model, or the model inside DistributedDataParallel.
        criterion: the recipe's loss.
        guard: holds the optimiser, with this epoch's learning rate set.
        batches: (images (B, 120, 120, 3) uint8 BGR, params_w (B, 62)).
        progress: is told about every step.
        averaged: moving average of the weights, updated after every good step.
        amp: run the backbone in bfloat16.
    """
    model = unwrap(network)
    device = model.u.device
    network.train()
    for images, targets in batches:
        inputs = ddfa.preprocess(images.to(device, non_blocking=True), ddfa.TRAIN)
        targets = targets.to(device, non_blocking=True)  # (B, 62)
        statistics = guard.snapshot()
        with torch.autocast(device.type, torch.bfloat16, enabled=amp):
            outputs = network(inputs)
        total, parts = criterion(outputs, targets, model)
        guard.optimizer.zero_grad(set_to_none=True)
        total.backward()
        if guard.step(statistics) and averaged is not None:
            averaged.update_parameters(model)
        progress.update(len(images), {"loss": total, **parts})


def measure_batch_norms(model: SynergyNet, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Measure the batch-norm statistics of averaged weights anew, on STATISTICS_BATCHES batches.

    Averaged weights are smaller than the weights they average, and so are their activations:
    neither the trained model's statistics nor the average of those fit them.
    """
    device = model.u.device
    first = itertools.islice(batches, STATISTICS_BATCHES)
    update_bn((ddfa.preprocess(images.to(device), ddfa.TRAIN) for images, _ in first), model)


def unwrap(network: torch.nn.Module) -> SynergyNet:
    """The SynergyNet inside DistributedDataParallel."""
    return network.module if isinstance(network, DistributedDataParallel) else network


class Progress:
    """Mean losses, speed and remaining time, in the log every `print_freq` steps.

    Args:
        steps: of the whole run.
        print_freq: steps between two lines.
        world_size: processes, each of which sees a batch like the one reported.
    """

    def __init__(self, steps: int, print_freq: int, world_size: int) -> None:
        self.steps, self.print_freq, self.world_size = steps, print_freq, world_size
        self.step = 0
        self._restart()

    def _restart(self) -> None:
        self.window: list[Tensor] = []
        self.images = 0
        self.since = time.perf_counter()

    def update(self, images: int, losses: dict[str, Tensor]) -> None:
        """Count one step of `images` images; losses are averaged from line to line."""
        self.step += 1
        self.images += images * self.world_size
        self.window.append(torch.stack([loss.detach() for loss in losses.values()]))
        if self.step % self.print_freq and self.step < self.steps:
            return
        means = torch.stack(self.window).mean(dim=0).tolist()
        seconds = time.perf_counter() - self.since
        remaining_s = (self.steps - self.step) * seconds / len(self.window)
        named = ", ".join(f"{k} {v:.4f}" for k, v in zip(losses, means, strict=True))
        log.info(
            f"step {self.step}/{self.steps}, {named}, {self.images / seconds:.0f} img/s, "
            f"ETA {datetime.timedelta(seconds=round(remaining_s))}"
        )
        self._restart()


# ---------------------------------------------------------------- checkpoints


def save_checkpoint(
    path: Path,
    epoch: int,
    model: SynergyNet,
    optimizer: torch.optim.Optimizer,
    averaged: AveragedModel | None,
) -> None:
    """Write everything that `resume` needs; `state_dict` holds the weights to use."""
    result = model if averaged is None else averaged.module
    entries: dict[str, Any] = model_building.describe(model) | {
        "epoch": epoch,
        "state_dict": model_building.published_state(result),
        "optimizer": optimizer.state_dict(),
    }
    if averaged is not None:
        entries["raw_state_dict"] = model.state_dict()  # what the optimiser goes on from
    with io.whole_file(path) as temporary:
        torch.save(entries, temporary)


def resume(
    path: str,
    model: SynergyNet,
    optimizer: torch.optim.Optimizer,
    averaged: AveragedModel | None,
) -> int:
    """Load a checkpoint of `save_checkpoint`; returns the epoch to start with.

    Raises:
        InputError: not such a checkpoint, or of another arch, recipe, optimiser or morphable model.
    """
    recipe = model.recipe
    entries = model_building.load_weights(model, path)
    if "optimizer" not in entries:
        raise io.InputError(f"{path}: weights only; --resume needs a checkpoint of main_train.py")
    if model.recipe != recipe:
        raise io.InputError(f"{path}: trained with --recipe {model.recipe}, not {recipe}")
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
        first = entries["epoch"] + 1
    except Exception as error:  # a damaged state can raise anything
        raise io.InputError(f"{path}: cannot go on from it, damaged ({error!r})") from None
    if not same_optimizer:
        raise io.InputError(f"{path}: trained with another --optimizer")
    return first


# ---------------------------------------------------------------- the run


def keep_freed_memory() -> None:
    """Let the C library keep what a training step frees for the next step.

    By default glibc gives every block above 32 MB back to the system, and the next step pays for
    fresh, zeroed pages: a fifth of a step at batch 128 on a CPU. Elsewhere this does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def pick_device(devices_id: list[int], local_rank: int) -> torch.device:
    """A process's device: the GPU that --devices-id gives its rank, or the CPU.

    Raises:
        InputError: the machine has no such GPU, or fewer ids than processes were given.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    if local_rank >= len(devices_id):
        raise io.InputError(f"--devices-id names {len(devices_id)} GPUs for more processes")
    index = devices_id[local_rank]
    if index >= torch.cuda.device_count():
        raise io.InputError(f"--devices-id {index}: this machine has {torch.cuda.device_count()}")
    return torch.device("cuda", index)


def log_to(file: str, rank: int) -> None:
    """Log to stdout, and to `file` when given, from the first process only."""
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout)]
    if file:
        io.make_output_folder(Path(file).parent)
        handlers.append(logging.FileHandler(file))
    logging.basicConfig(format="%(asctime)s %(message)s", handlers=handlers, force=True)
    log.setLevel(logging.INFO if rank == 0 else logging.ERROR)


def validate(model: SynergyNet, folder: str | Path, device: torch.device, workers: int) -> None:
    """Log the headline figures of `benchmark.evaluate`."""
    report = benchmark.evaluate(model, folder, device, workers=workers)
    line = f"NME {report['nme']['mean']:.3f} %"
    if report["pose_mae"]:
        line += f", pose MAE {report['pose_mae']['mean']:.3f} deg"
    log.info(f"{folder}: {report['images']} images, {line}")


def main(args: argparse.Namespace) -> int:
    """Train from --start-epoch or --resume to --epochs, in a process per device."""
    check_flags(args)
    if "RANK" in os.environ:  # torchrun started this process, and others
        return train_together(args, int(os.environ["LOCAL_RANK"]))
    processes = len(args.devices_id) if torch.cuda.is_available() else args.processes
    if processes > 1:
        return launch(args, processes)
    return train(args, pick_device(args.devices_id, 0), rank=0, world_size=1)


def launch(args: argparse.Namespace, processes: int) -> int:
    """Train in `processes` processes of this machine.

    Raises:
        InputError, OSError: what the first process to fail for the user's sake raised.
    """
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # who ends whom
    errors = multiprocessing.get_context("spawn").SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        rendezvous = f"file://{folder}/rendezvous"
        try:
            multiprocessing.spawn(_launched, (args, processes, rendezvous, errors), processes)
        except (multiprocessing.ProcessExitedException, multiprocessing.ProcessRaisedException):
            if errors.empty():
                raise
            raise errors.get() from None
    return 0


def _launched(
    rank: int,
    args: argparse.Namespace,
    processes: int,
    rendezvous: str,
    errors: multiprocessing.SimpleQueue,
) -> None:
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() // processes))
    try:
        train_together(args, rank, init_method=rendezvous, rank=rank, world_size=processes)
    except (io.InputError, OSError) as error:
        errors.put(error)
        sys.exit(2)


def train_together(args: argparse.Namespace, local_rank: int, **group: Any) -> int:
    """One of several processes that train together; `group` tells how they find each other."""
    device = pick_device(args.devices_id, local_rank)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", **group)
    try:
        return train(args, device, distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def train(args: argparse.Namespace, device: torch.device, rank: int, world_size: int) -> int:
    """The run on one process."""
    keep_freed_memory()
    snapshot = Path(args.snapshot)
    if not args.dry_run:
        io.make_output_folder(snapshot.parent)
    log_to("" if args.dry_run else args.log_file, rank)
    per_device = args.batch_size // world_size
    if args.batch_size % world_size or per_device < 2:
        raise io.InputError(
            f"--batch-size {args.batch_size}: batch norm needs the same number of images, "
            f"2 or more, on each of {world_size} devices"
        )
    morphable_folder = args.morphable or default_morphable_folder()
    validation = args.validation or ddfa.default_test_folder()
    log.info(f"morphable model in {morphable_folder}, validation on {validation}")
    morphable = load_morphable(morphable_folder)
    ddfa.EvaluationCrops(validation)  # a missing folder must not show after hours of training
    torch.manual_seed(args.seed)
    model = model_building.build_model(args.arch, morphable=morphable, recipe=args.recipe)
    model = model.to(device, memory_format=torch.channels_last)
    optimizer = build_optimizer(model, args.base_lr, args.optimizer)
    averaged = None
    if args.ema:
        averaging = get_ema_multi_avg_fn(args.ema)
        averaged = AveragedModel(model, multi_avg_fn=averaging)
    first = resume(args.resume, model, optimizer, averaged) if args.resume else args.start_epoch
    if not Path(args.filelists_train).is_file():
        raise io.InputError(
            f"{args.filelists_train}: no training data here; `bash train_script.sh` makes a "
            f"synthetic set, README, 'Training', says where real data goes"
        )
    crops = ddfa.TrainingCrops(args.root, args.filelists_train, args.param_fp_train, args.seed)
    if len(crops) < args.batch_size:
        raise io.InputError(f"--batch-size {args.batch_size}: there are {len(crops)} images only")
    if first > args.epochs:
        raise io.InputError(f"nothing to train: the next epoch is {first}, --epochs {args.epochs}")

    network: torch.nn.Module = model
    if world_size > 1:
        # buffers are the same bases everywhere, and batch-norm statistics that rank 0 saves
        network = DistributedDataParallel(
            model, broadcast_buffers=False, gradient_as_bucket_view=True
        )
    result = model if averaged is None else averaged.module
    criterion = SynergyLoss(args.recipe)
    guard = GuardedStep(model, optimizer)

    def loader(epoch: int) -> DataLoader:
        return ddfa.training_loader(crops, per_device, epoch, args.workers, rank, world_size)

    steps = len(loader(first))
    log.info(
        f"{args.arch}, recipe {args.recipe}, morphable model {morphable.name}, {world_size} x "
        f"{device}, {len(crops)} images, {steps} steps of {args.batch_size} an epoch, "
        f"epochs {first} to {args.epochs}"
    )
    if args.test_initial and rank == 0:
        validate(result, validation, device, args.workers)
    total_steps = DRY_RUN_STEPS if args.dry_run else steps * (args.epochs - first + 1)
    progress = Progress(total_steps, args.print_freq, world_size)
    for epoch in range(first, args.epochs + 1):
        lr = learning_rate(epoch, args.base_lr, args.warmup, args.milestones)
        for group in optimizer.param_groups:
            group["lr"] = lr
        # an epoch's dropout and erasing depend on seed, epoch and rank only
        torch.manual_seed((args.seed * 100_003 + epoch) * 1_009 + rank)
        log.info(f"epoch {epoch}, learning rate {lr:.5g}")
        batches = loader(epoch)
        if args.dry_run:
            batches = itertools.islice(batches, DRY_RUN_STEPS)
        train_one_epoch(
            network, criterion, guard, batches, progress, averaged=averaged, amp=args.amp
        )
        if guard.skipped:
            log.info(f"{guard.skipped} steps skipped so far: gradient not finite")
        if args.dry_run:
            break
        if rank == 0 and (epoch % args.save_val_freq == 0 or epoch == args.epochs):
            if averaged is not None:
                measure_batch_norms(averaged.module, loader(epoch))
            validate(result, validation, device, args.workers)
            path = snapshot.with_name(f"{snapshot.name}_checkpoint_epoch_{epoch}.pth.tar")
            save_checkpoint(path, epoch, model, optimizer, averaged)
            log.info(f"saved {path}")
    if rank == 0 and args.dry_run:
        validate(result, validation, device, args.workers)
        log.info("dry run: nothing was written")
    elif rank == 0:
        path = snapshot.with_name(f"{snapshot.name}_weights.pth.tar")
        with io.whole_file(path) as temporary:
            torch.save(model_building.pack_weights(result), temporary)
        log.info(f"saved {path}: the weights alone, in half precision")
    return 0


if __name__ == "__main__":
    sys.exit(io.run_command(main, get_args_parser().parse_args()))
