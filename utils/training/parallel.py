"""Processes that train together: one a GPU, or several on the CPU, started here or by torchrun.

python main_train.py --devices-id 0,1
torchrun --nnodes 2 --nproc_per_node 8 --rdzv_endpoint HOST:29500 main_train.py ...
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import inspect
import logging
import os
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import torch
from torch import distributed, multiprocessing
from torch.nn.parallel import DistributedDataParallel

from model_building import SynergyNet
from synergynet import fileio
from utils.data.workers import end_with_parent

_SYNC_BUFFERS = "forward_sync_buffers"  # as PyTorch calls it from 2.15 on
if _SYNC_BUFFERS not in inspect.signature(DistributedDataParallel).parameters:
    _SYNC_BUFFERS = "broadcast_buffers"


SECONDS_TO_END = 10  # of the others after Ctrl-C
PATIENCE = datetime.timedelta(days=1)


@dataclasses.dataclass(frozen=True)
class Place:
    """A process among those that train together.

    Attributes:
        device: where it computes.
        rank: its number, from 0, on all machines together.
        world_size: how many there are.
        patient: group of all processes that waits PATIENCE; None for one process alone.
    """

    device: torch.device
    rank: int = 0
    world_size: int = 1
    patient: distributed.ProcessGroup | None = None

    def wait_for_all(self) -> None:
        """Go on when all processes are here.

        The first one validates and saves in the meantime. Without this the others would wait for
        it in the next step's exchange of gradients, which gives up after ten minutes.
        """
        if self.patient is not None:
            distributed.barrier(self.patient)


Train = Callable[[argparse.Namespace, Place], int]


def run(train: Train, args: argparse.Namespace, devices_id: list[int], processes: int) -> int:
    """Call `train(args, place)` in a process per device; returns its exit code.

    Args:
        train: the run on one process, importable by its name.
        args: what it gets.
        devices_id: numbers of GPUs.
        processes: how many share the CPU where there is no GPU.
    Raises:
        InputError, OSError: what the first process to fail for the user's sake raised.
    """
    if "RANK" in os.environ:  # torchrun started this process, and others
        return _train_together(train, args, devices_id, int(os.environ["LOCAL_RANK"]))
    processes = len(devices_id) if torch.cuda.is_available() else processes
    if processes > 1:
        return _launch(train, args, devices_id, processes)
    return train(args, Place(take_device(devices_id, 0)))


def take_device(devices_id: list[int], local_rank: int) -> torch.device:
    """A process's device: the GPU that --devices-id gives its rank, or the CPU.

    The GPU becomes the current one: what names no GPU, as NCCL and pinned memory, would else take
    the first in every process. Under torchrun with the default, --devices-id 0, rank r takes GPU r.

    Raises:
        InputError: the machine has no such GPU, or fewer ids than processes were given.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    if devices_id == [0]:
        devices_id = list(range(local_rank + 1))
    if local_rank >= len(devices_id):
        raise fileio.InputError(f"--devices-id names {len(devices_id)} GPUs for more processes")
    index = devices_id[local_rank]
    if index >= torch.cuda.device_count():
        raise fileio.InputError(
            f"--devices-id {index}: this machine has {torch.cuda.device_count()}"
        )
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def _launch(train: Train, args: argparse.Namespace, devices_id: list[int], processes: int) -> int:
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # who ends whom
    errors = multiprocessing.get_context("spawn").SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        group = {"init_method": f"file://{folder}/rendezvous", "world_size": processes}
        arguments = (train, args, devices_id, group, errors)
        started = multiprocessing.spawn(_launched, arguments, processes, join=False)
        try:
            while not started.join():
                pass
        except KeyboardInterrupt:  # a terminal sends it to all processes
            for process in started.processes:
                process.join(SECONDS_TO_END)
                process.terminate()
            raise
        except (multiprocessing.ProcessExitedException, multiprocessing.ProcessRaisedException):
            if errors.empty():
                raise
            raise errors.get() from None
    return 0


def _launched(
    rank: int,
    train: Train,
    args: argparse.Namespace,
    devices_id: list[int],
    group: dict[str, Any],
    errors: multiprocessing.SimpleQueue,
) -> None:
    end_with_parent()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() // group["world_size"]))
    try:
        _train_together(train, args, devices_id, rank, rank=rank, **group)
    except (fileio.InputError, OSError) as error:
        errors.put(error)
        sys.exit(2)


def _train_together(
    train: Train, args: argparse.Namespace, devices_id: list[int], local_rank: int, **group: Any
) -> int:
    """`group` tells how the processes find each other; torchrun says it in the environment."""
    device = take_device(devices_id, local_rank)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", **group)
    patient = distributed.new_group(timeout=PATIENCE, backend="gloo")
    try:
        rank, world_size = distributed.get_rank(), distributed.get_world_size()
        return train(args, Place(device, rank, world_size, patient))
    finally:
        distributed.destroy_process_group()


# ---------------------------------------------------------------- the network


def distribute(args: argparse.Namespace, model: SynergyNet, world_size: int) -> torch.nn.Module:
    """The model as one process trains it, compiled or not, alone or with others."""
    if args.compile:
        model.I2P.compile()
    if world_size == 1:
        return model
    # buffers are the same bases everywhere, and batch-norm statistics that rank 0 saves
    kept = {_SYNC_BUFFERS: False}
    return DistributedDataParallel(model, gradient_as_bucket_view=True, **kept)


def unwrap(network: torch.nn.Module) -> SynergyNet:
    """The SynergyNet inside DistributedDataParallel."""
    return network.module if isinstance(network, DistributedDataParallel) else network


def gradients_stay_here(
    network: torch.nn.Module, wanted: bool
) -> contextlib.AbstractContextManager:
    """Gradients of all parts of a batch are exchanged at once, after the last."""
    if wanted and isinstance(network, DistributedDataParallel):
        return network.no_sync()
    return contextlib.nullcontext()
