"""Train SynergyNet.

    bash train_script.sh                                # published settings, or a synthetic set
    python main_train.py --resume auto                  # go on after a crash
    python main_train.py --weights pretrained/best.pth.tar --base-lr 0.001     # fine-tune
    python main_train.py --devices-id 0,1,2,3           # a process per GPU; torchrun works too

Random numbers of a step follow from seed, epoch and step, so a resumed run goes on bit for bit.
Source: SynergyNet, section 4.1, and the published training script.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import logging
import math
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

import benchmark
import model_building
from loss_definition import SynergyLoss
from model_building import SynergyNet
from synergynet import fileio
from synergynet.geometry.parameters import IMG_SIZE
from synergynet.run_folder import only_run
from utils.data import evaluation_crops
from utils.data.evaluation_crops import EvaluationCrops
from utils.data.folders import default_morphable_folder
from utils.data.mixed_crops import MixedCrops
from utils.data.preprocessing import TRAIN, preprocess
from utils.data.training_crops import Batch, TrainingCrops, training_loader
from utils.data.turned_crops import Geometry
from utils.inference.arguments import add_network
from utils.inference.loading import load_model
from utils.training import checkpoint, parallel, start
from utils.training.optimization import (
    ADAMW_WEIGHT_DECAY,
    MOMENTUM,
    OPTIMIZERS,
    WARMUP_FACTOR,
    WEIGHT_DECAY,
    GuardedStep,
    build_optimizer,
    estimate_memory,
    keep_freed_memory,
    learning_rate,
    measure_batch_norms,
    report_skipped,
    step_seed,
)
from utils.training.progress import Progress, log_to, peak_memory, training_plot

DRY_RUN_STEPS = 4
TRUE_WORDS, FALSE_WORDS = ("yes", "true", "t", "y", "1"), ("no", "false", "f", "n", "0")
LEAST = {
    "--epochs": 1,
    "--val-batch-size": 1,
    "--start-epoch": 1,
    "--warmup": 0,
    "--processes": 1,
    "--accumulate": 1,
    "--workers": 0,
    "--seed": 0,
    "--save_val_freq": 1,
    "--save-freq": 1,
    "--print-freq": 1,
}  # of the numeric flags

log = logging.getLogger("train")


def get_args_parser() -> argparse.ArgumentParser:
    """The published script's flags and ours; defaults are the published settings."""
    parser = argparse.ArgumentParser(description="Train SynergyNet")
    add = parser.add_argument
    add_network(parser, arch="mobilenet_v2", what="checkpoint to start from")
    add("--recipe", default="paper", choices=model_building.RECIPES, help="see README, 'Recipes'")
    add("--root", default="train_aug_120x120", help="folder of the crops, or a packed file of them")
    add("--filelists-train", default="3dmm_data/train_aug_120x120.list.train", help="their names")
    add("--param-fp-train", default="3dmm_data/param_all_norm_v201.pkl", help="whitened targets")
    add(
        "--mix",
        nargs="+",
        default=[],
        metavar="FOLDER:SHARE",
        help="of every epoch, shares from other sets of prepare_data.py",
    )
    add("--validation", help="folder like aflw2000_data that chooses the best weights; never a test"
        " set. Default: none are chosen, the test set is reported")  # fmt: skip
    add(
        "-b",
        "--batch-size",
        type=int,
        default=1024,
        help="images a step over all devices (%(default)s)",
    )
    add("-vb", "--val-batch-size", type=int, default=64, help="images at a time in validation (64)")
    add("--accumulate", type=int, default=1, help="parts of a device's batch, to save memory")
    add("--base-lr", "--learning-rate", type=float, default=0.08, help="default: %(default)s")
    add("--optimizer", default="sgd", choices=OPTIMIZERS, help="adamw learns sooner (%(default)s)")
    add("--momentum", type=float, default=MOMENTUM, help="of sgd (%(default)s)")
    add("--weight-decay", "--wd", type=float, help=f"default: {WEIGHT_DECAY} of sgd, "
        f"{ADAMW_WEIGHT_DECAY} of adamw")  # fmt: skip
    add("--epochs", type=int, default=80, help="last epoch (%(default)s)")
    add("--start-epoch", type=int, default=1, help="first epoch; --resume overrides it")
    add("--mirror", action="store_true", help="show crops as mirror images every second epoch")
    add("--geometry", default="", metavar="ROLL,SCALE,SHIFT", help="turn crops by ROLL degrees"
        ", scale by 1 -+ SCALE, shift by SHIFT sides, e.g. 180,0.15,0.08")  # fmt: skip
    add("--warmup", type=int, default=5, help=f"epochs at {WARMUP_FACTOR} x base lr (%(default)s)")
    add("--milestones", type=int_list, default=[48, 64], help="lr x 0.2 after these (48,64)")
    add("--ema", type=float, default=0.0, help="decay of averaged weights, e.g. 0.998; 0: none")
    add("--amp", action="store_true", help="backbone in bfloat16; pays on GPUs")
    add("--compile", action="store_true", help="torch.compile the backbone; a C++ compiler's work")
    add("--sync-bn", action="store_true", help="batch norms over all GPUs")
    add("--devices-id", type=int_list, default=[0], help="GPUs, e.g. 0,1; without GPU: the CPU")
    add("--processes", type=int, default=1, help="without GPU: share a batch (%(default)s)")
    cores = os.cpu_count() or 1
    add("-j", "--workers", type=int, default=min(4, cores), help="loading processes per device")
    add("--seed", type=int, default=0, help="of weights, order, augmentation and dropout")
    add("--snapshot", default="ckpts/SynergyNet", help="prefix of checkpoints (%(default)s)")
    add("--save_val_freq", type=int, default=10, help="epochs between checkpoints (%(default)s)")
    add("--save-freq", type=int, default=500, help="steps between saves of PREFIX_last (500)")
    add("--resume", default="", help="checkpoint to go on from; auto: PREFIX_last, if there is one")
    add(
        "--test_initial",
        type=truth,
        nargs="?",
        const=True,
        default=False,
        metavar="BOOL",
        help="validate before training; =True and =False work too",
    )
    add("-p", "--print-freq", type=int, default=50, help="steps between lines of the log (50)")
    add("--log-file", default="", help="also write the log here")
    add("--log-mode", choices=("w", "a"), help="start the log file again, or add to it (default: w;"
        " a with --resume)")  # fmt: skip
    add("--img_size", type=int, default=IMG_SIZE, help="always %(default)s, as published")
    add("--task", default="all", help="taken and not used, as published")
    add("--resume_pose", default="", help="taken and not used, as published")
    add("--plot", default="results/training.png", help="picture of the curves (%(default)s)")
    add("--tensorboard", action="store_true", help="write curves to PREFIX_tensorboard/")
    add("--dry-run", action="store_true", help=f"{DRY_RUN_STEPS} steps, validate, write nothing")
    fileio.add_debug(parser)
    return parser


def truth(text: str) -> bool:
    """`True`, `yes`, `1`, ... and their opposites, as the published script reads them."""
    word = text.lower()
    if word not in {*TRUE_WORDS, *FALSE_WORDS}:
        raise argparse.ArgumentTypeError(f"'{text}' is neither true nor false")
    return word in TRUE_WORDS


def int_list(text: str) -> list[int]:
    """`48,64` -> [48, 64]."""
    return [int(item) for item in text.split(",") if item]


def check_flags(args: argparse.Namespace) -> None:
    """Refuse numbers that make no sense, before anything is read.

    Raises:
        InputError: names the flag.
    """
    fileio.require_at_least(args, LEAST)
    if not 0 <= args.ema < 1:
        raise fileio.InputError(f"--ema {args.ema}: must be at least 0 and below 1")
    if not 0 < args.base_lr < math.inf:
        raise fileio.InputError(f"--base-lr {args.base_lr}: must be above 0")
    if args.img_size != IMG_SIZE:
        raise fileio.InputError(
            f"--img_size {args.img_size}: the crops are {IMG_SIZE} px; leave it out"
        )
    if not 0 <= args.momentum < 1:
        raise fileio.InputError(f"--momentum {args.momentum}: must be at least 0 and below 1")
    if args.optimizer != "sgd" and args.momentum != MOMENTUM:
        raise fileio.InputError(
            f"--momentum {args.momentum}: {args.optimizer} has none; leave it out"
        )
    if args.weight_decay is not None and not 0 <= args.weight_decay < math.inf:
        raise fileio.InputError(f"--weight-decay {args.weight_decay}: must be at least 0")
    if not args.devices_id or min(args.devices_id) < 0:
        raise fileio.InputError("--devices-id: give numbers of GPUs, for instance 0,1")
    if args.geometry:
        Geometry.parse(args.geometry)
    if args.weights and args.resume not in ("", "auto"):
        raise fileio.InputError(
            "--weights and --resume: a resumed run has its own weights; give one"
        )
    if args.compile and not any(map(shutil.which, ("c++", "g++", "clang++", "cl"))):
        raise fileio.InputError(
            "--compile: no C++ compiler here; install one or leave the flag out"
        )


def flags_without_meaning(args: argparse.Namespace) -> list[str]:
    """A line for every published flag that is given and does nothing, here and there."""
    given = {"--task": args.task != "all" and args.task, "--resume_pose": args.resume_pose}
    return [f"{flag} {value}: no script ever read it" for flag, value in given.items() if value]


# ---------------------------------------------------------------- one epoch


def train_one_epoch(
    network: torch.nn.Module,
    criterion: SynergyLoss,
    guard: GuardedStep,
    batches: Iterable[Batch],
    progress: Progress,
    *,
    names: list[str],
    seed: tuple[int, int] = (0, 0),
    first_step: int = 0,
    accumulate: int = 1,
    rank: int = 0,
    averaged: AveragedModel | None = None,
    amp: bool = False,
) -> None:
    """One pass over `batches`.

    A batch of W processes in K parts each is trained as one of W x K processes would be: part k of
    rank r holds the images, and draws the random numbers, of rank r + kW. Batch norms see a part.

    Args:
        network: the model, or the model inside DistributedDataParallel.
        criterion: the recipe's loss.
        guard: holds the optimiser, with this epoch's learning rate set.
        batches: this rank's images and targets.
        progress: is told about every step.
        names: of the set's images, for messages.
        seed: the run's, and the epoch.
        first_step: of the epoch.
        accumulate: parts of a batch whose gradients are averaged before a step is taken.
        rank: this process.
        averaged: moving average of the weights, updated after every good step.
        amp: run the backbone in bfloat16.
    Raises:
        InputError: 50 steps in a row without a finite gradient.
    """
    model = parallel.unwrap(network)
    device = model.u.device
    network.train()
    progress.start_clock()
    for step, batch in enumerate(batches, first_step):
        before = guard.snapshot()
        guard.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        for part in range(accumulate):
            torch.manual_seed(step_seed(*seed, step, rank + part * progress.world_size))
            images = batch.images[part::accumulate].to(device, non_blocking=True)
            targets = batch.params_w[part::accumulate].to(device, non_blocking=True)  # (B, 62)
            inputs = preprocess(images, TRAIN)  # (B, 3, 120, 120)
            with parallel.gradients_stay_here(network, part < accumulate - 1):
                with torch.autocast(device.type, torch.bfloat16, enabled=amp):
                    outputs = network(inputs)
                total, parts = criterion(outputs, targets, model)
                (total / accumulate).backward()
            for name, loss in {"loss": total, **parts}.items():
                sums[name] = sums.get(name, 0) + loss.detach() / accumulate
        if not guard.step(before):
            report_skipped(guard, batch, names)
        elif averaged is not None:
            averaged.update_parameters(model)
        progress.update(batch, sums)


# ---------------------------------------------------------------- the run


def main(args: argparse.Namespace) -> int:
    """Train from --start-epoch or --resume to --epochs, in a process per device."""
    check_flags(args)
    try:
        with sole_run(args):
            return parallel.run(train, args, args.devices_id, args.processes)
    except KeyboardInterrupt:
        last = checkpoint.snapshot_path(args, "last")
        if args.dry_run or not last.is_file():
            raise
        raise KeyboardInterrupt(f"{last} is kept; go on with --resume auto") from None


def sole_run(args: argparse.Namespace) -> contextlib.AbstractContextManager:
    """Keeps a second run from writing the same checkpoints; a run's first process holds it.

    Raises:
        InputError: there is one, or an earlier one's checkpoints would be replaced.
    """
    if args.dry_run or int(os.environ.get("RANK", 0)):
        return contextlib.nullcontext()
    checkpoint.require_new(args)
    snapshot = Path(args.snapshot)
    return only_run(snapshot.parent, snapshot.name, is_shared=True)


@dataclasses.dataclass(frozen=True)
class Run:
    """What the parts of a training run share on one process.

    Attributes:
        args, place: its flags, and which process this is.
        model: the network that is trained.
        averaged: moving average of its weights, or None.
        criterion, guard: the loss; the optimiser in its guard.
        crops: the training set.
        validation, validation_set: folder that is scored, and its fingerprint.
        chooses: whether it may choose weights.
        position: see `checkpoint.restore`; moves on with the run.
        progress: what it shows.
    """

    args: argparse.Namespace
    place: parallel.Place
    model: SynergyNet
    averaged: AveragedModel | None
    criterion: SynergyLoss
    guard: GuardedStep
    crops: TrainingCrops | MixedCrops
    validation: Path
    validation_set: str
    chooses: bool
    position: dict[str, Any]
    progress: Progress

    @property
    def result(self) -> SynergyNet:
        """The weights to use: the averaged ones where there are such."""
        return self.model if self.averaged is None else self.averaged.module

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return len(self.crops) // self.args.batch_size

    def batches(self, epoch: int, start: int = 0) -> DataLoader:
        """This process's batches of an epoch, from a step on."""
        args, place = self.args, self.place
        return training_loader(
            self.crops, args.batch_size, epoch, args.workers, place.rank, place.world_size, start
        )


def train(args: argparse.Namespace, place: parallel.Place) -> int:
    """The run on one process."""
    keep_freed_memory()
    prepare_output(args, place.rank)
    run = begin(args, place)
    announce(run)
    network = parallel.distribute(args, run.model, place.world_size)
    if place.rank == 0 and args.test_initial:
        validate(run, "initial weights", run.result, run.validation)
    for epoch in range(run.position["epoch"] + 1, args.epochs + 1):
        train_epoch(run, network, epoch)
        if run.guard.skipped:
            log.info(f"{run.guard.skipped} steps skipped so far: gradient not finite")
        if args.dry_run:
            break
    log.info(f"peak memory {peak_memory(place.device) / 2**30:.2f} GiB a process")
    run.progress.close()
    if place.rank == 0:
        finish(run)
    return 0


def prepare_output(args: argparse.Namespace, rank: int) -> None:
    """Folder of checkpoints, and log."""
    snapshot = Path(args.snapshot)
    if not args.dry_run:
        fileio.make_output_folder(snapshot.parent)
        if rank == 0:
            checkpoint.remove_remains(snapshot)
    mode = args.log_mode or ("a" if args.resume else "w")
    log_to("" if args.dry_run else args.log_file, rank, mode)


def begin(args: argparse.Namespace, place: parallel.Place) -> Run:
    """Read and build all that a run needs, before it takes a step.

    Raises:
        InputError: a flag or a file does not fit the others.
    """
    parts = place.world_size * args.accumulate
    if args.batch_size % parts or args.batch_size < 2 * parts:
        raise fileio.InputError(
            f"--batch-size {args.batch_size}: batch norm needs the same number of images, 2 or "
            f"more, in each of {parts} parts ({place.world_size} devices x --accumulate)"
        )
    validation, chooses = start.validation_folder(args)
    scored = EvaluationCrops(validation)  # what it lacks must not show after hours
    model = start.start_model(args, place.device)
    optimizer = build_optimizer(
        model, args.base_lr, args.optimizer, args.momentum, args.weight_decay
    )
    averaged = None
    if args.ema:
        averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(args.ema))
    crops = start.load_crops(args, model)
    position = checkpoint.restore(args, model, optimizer, averaged, crops.fingerprint())
    resumed = position.pop("resumed")
    validation_set = start.fingerprint(scored)
    if chooses and place.rank == 0:
        checkpoint.forget_best(position, checkpoint.snapshot_path(args, "best"), validation_set)
    return Run(
        args=args,
        place=place,
        model=model,
        averaged=averaged,
        criterion=SynergyLoss(args.recipe),
        guard=GuardedStep(model, optimizer),
        crops=crops,
        validation=validation,
        validation_set=validation_set,
        chooses=chooses,
        position=position,
        progress=start_progress(args, place, position, len(crops) // args.batch_size, resumed),
    )


def start_progress(
    args: argparse.Namespace,
    place: parallel.Place,
    position: dict[str, Any],
    steps: int,
    resumed: bool,
) -> Progress:
    """What shows a run of `steps` an epoch; the first process alone shows and writes anything."""
    snapshot, writes = Path(args.snapshot), place.rank == 0 and not args.dry_run
    done = position["epoch"] * steps + position["step"]
    return Progress(
        args.epochs * steps,
        done,
        args.print_freq,
        place.world_size,
        table=snapshot.with_name(f"{snapshot.name}_log.csv") if writes else None,
        tensorboard=snapshot.with_name(f"{snapshot.name}_tensorboard")
        if writes and args.tensorboard
        else None,
        quiet=place.rank > 0,
        resumed=resumed,
    )


def announce(run: Run) -> None:
    """Log what is trained, on what, and how much memory that needs."""
    args, place = run.args, run.place
    for line in flags_without_meaning(args):
        log.info(line)
    log.info(
        f"morphable model in {args.morphable or default_morphable_folder()}, "
        f"validation on {run.validation}"
        + ("" if run.chooses else ": a test set, which is reported and chooses nothing")
    )
    images = args.batch_size // (place.world_size * args.accumulate)
    memory = estimate_memory(run.model, run.criterion, images)
    log.info(
        f"{args.arch}, recipe {args.recipe}, {place.world_size} x {place.device}, "
        f"{len(run.crops)} images, {run.steps} steps of {args.batch_size} an epoch, epochs "
        f"{run.position['epoch'] + 1} to {args.epochs}; a step in float32 "
        f"needs about {memory / 2**30:.2f} GiB a device"
    )


def train_epoch(run: Run, network: torch.nn.Module, epoch: int) -> None:
    """The rest of an epoch, saved every --save-freq steps; of a dry run its first steps."""
    args, position = run.args, run.position
    rate = learning_rate(epoch, args.base_lr, args.warmup, args.milestones)
    for group in run.guard.optimizer.param_groups:
        group["lr"] = rate
    run.progress.start_epoch(epoch, rate)
    batches = iter(run.batches(epoch, position["step"]))
    while position["epoch"] < epoch:
        count = min(args.save_freq, run.steps - position["step"])
        run.place.wait_for_all()
        train_one_epoch(
            network,
            run.criterion,
            run.guard,
            itertools.islice(batches, DRY_RUN_STEPS if args.dry_run else count),
            run.progress,
            names=run.crops.names,
            seed=(args.seed, epoch),
            first_step=position["step"],
            accumulate=args.accumulate,
            rank=run.place.rank,
            averaged=run.averaged,
            amp=args.amp,
        )
        if args.dry_run:
            return
        position["step"] += count
        if position["step"] == run.steps:
            position |= {"epoch": epoch, "step": 0}
        if run.place.rank == 0:
            validate_and_save(run, epoch)


def validate_and_save(run: Run, epoch: int) -> None:
    """Save where the run stands, after every --save_val_freq epochs with its figures."""
    args, position = run.args, run.position
    if run.averaged is not None:
        measure_batch_norms(run.averaged.module, run.batches(epoch))
    if position["epoch"] == epoch and (epoch % args.save_val_freq == 0 or epoch == args.epochs):
        nme = validate(run, f"epoch {epoch}", run.result, run.validation)
        if run.chooses and (position["best"] is None or nme < position["best"]["nme"]):
            position["best"] = {"epoch": epoch, "nme": nme, "set": run.validation_set}
            save(run, checkpoint.snapshot_path(args, "best"))
        save(run, checkpoint.snapshot_path(args, f"checkpoint_epoch_{epoch}"))
        fileio.write_image(args.plot, training_plot(run.progress.rows))
    save(run, checkpoint.snapshot_path(args, "last"))


def validate(run: Run, name: str, weights: SynergyNet, folder: Path, prefix: str = "") -> float:
    """Score weights on a folder, log and tabulate the figures; the mean NME in percent."""
    args = run.args
    report = benchmark.evaluate(
        weights,
        folder,
        run.place.device,
        batch_size=args.val_batch_size,
        workers=args.workers,
    )
    run.progress.validated(f"{name} on {folder}", report, prefix)
    return report["nme"]["mean"]


def save(run: Run, path: Path) -> None:
    """Write a checkpoint from which the run can go on."""
    checkpoint.save_checkpoint(path, run.model, run.guard.optimizer, run.averaged, run.position)
    log.info(f"saved {path}")


def finish(run: Run) -> None:
    """Leave the weights alone in a small file, and score last and best ones on the test set."""
    args = run.args
    if args.dry_run:
        validate(run, "after these steps", run.result, run.validation)
        log.info("dry run: nothing was written")
        return
    if run.guard.skipped and not run.guard.taken:
        raise fileio.InputError(
            "no step had a finite gradient, so nothing was learned; lower --base-lr"
        )
    path = checkpoint.snapshot_path(args, "weights")
    checkpoint.save_weights(path, run.result)
    log.info(f"saved {path}: the weights alone, in half precision")
    if run.chooses:
        test = evaluation_crops.default_test_folder()
        validate(run, f"last weights, epoch {args.epochs}", run.result, test, "test_")
        best = checkpoint.snapshot_path(args, "best")
        chosen = load_model(best, morphable=args.morphable)
        name = f"best on validation, epoch {run.position['best']['epoch']}"
        validate(run, name, chosen, test, "test_")


if __name__ == "__main__":
    sys.exit(fileio.run_command(main, get_args_parser().parse_args()))
