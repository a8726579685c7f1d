"""Work shared out over processes."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import cv2

from synergynet.fileio import InputError

_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
START_METHOD = "spawn" if sys.platform == "win32" else "forkserver"

Task, Result = TypeVar("Task"), TypeVar("Result")


def map_in_order(
    function: Callable[[Task], Result], tasks: Iterable[Task], workers: int, chunk_size: int = 1
) -> Iterator[Result]:
    """`map(function, tasks)` by processes of one thread each; 0 workers: by this one.

    The processes end when this one does, even when it is killed.

    Args:
        function: of a module, or a method; it and the tasks are pickled.
        tasks: all of them are taken at once.
        workers: number of processes.
        chunk_size: tasks that travel to a process together; the function travels once with them.
    Raises:
        InputError: a process was killed; and whatever `function` raises.
    """
    if workers == 0:
        yield from map(function, tasks)
        return
    context = multiprocessing.get_context(START_METHOD)
    if START_METHOD == "forkserver":
        context.set_forkserver_preload([function.__module__])  # import once, not once a worker
    pool = concurrent.futures.ProcessPoolExecutor(workers, context, _start_worker)
    try:
        with _one_thread_each():
            yield from pool.map(function, tasks, chunksize=chunk_size)
    except BrokenProcessPool:
        raise InputError("a worker was killed, perhaps for memory; use fewer --workers") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    cv2.setNumThreads(1)
    # the fork server may be older than the call, and have the environment of that time
    os.environ.update(_ONE_THREAD)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
    end_with_parent()


def end_with_parent() -> None:
    """End this process when the one that started it ends, even when that one is killed."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)  # the process's own end would wait for work that never comes


@contextlib.contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started meanwhile compute with one thread: theirs are enough."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(_ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
