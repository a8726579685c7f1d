"""One run at a time in a folder, and nothing in it of runs that were killed.

    with only_run("training_set"):
        ...  # another process that tries the same meanwhile gets one line

The lock is the operating system's: it ends with its process, however that ends.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from synergynet import fileio

LOCK_SUFFIX = ".lock"
DEPTH = 3  # of folders below that are cleaned up, which is as deep as anything is written
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}(\.\w+)?")  # files of `fileio.whole_file`


@contextlib.contextmanager
def only_run(
    folder: str | os.PathLike[str], name: str = "run", is_shared: bool = False
) -> Iterator[None]:
    """Keep other runs out of a folder, which is made if it is not there.

    What earlier runs left unfinished is removed first. A folder that was made for the run and holds
    nothing after it is removed as well.

    Args:
        folder: that the run writes to.
        name: of the run; runs of other names are not kept out.
        is_shared: whether there may be such runs; then nothing is removed.
    Raises:
        InputError: another run of this name is at work, or the folder cannot be written to.
    """
    is_new = not Path(folder).exists()
    path = fileio.make_output_folder(folder) / f".{name}{LOCK_SUFFIX}"
    with open(path, "a") as file:
        if not (_try_lock(file) and _is_at(file, path)):
            raise fileio.InputError(f"{folder}: another run writes there; wait, or choose another")
        try:
            if not is_shared:
                remove_remains(path.parent)
            yield
        finally:
            with contextlib.suppress(OSError):  # Windows keeps files that are open
                path.unlink()
            if is_new:
                with contextlib.suppress(OSError):
                    path.parent.rmdir()


def remove_remains(folder: Path, depth: int = DEPTH) -> None:
    """Remove half-written files of runs that were killed; folders of runs at work are left alone.

    Args:
        folder: no run may be writing to it.
        depth: of the folders below that are looked through.
    """
    for entry in list(os.scandir(folder)):
        if not entry.is_dir(follow_symlinks=False):
            if _TEMPORARY.fullmatch(entry.name):
                Path(entry).unlink(missing_ok=True)
        elif entry.name.startswith(fileio.STAGING):
            shutil.rmtree(entry, ignore_errors=True)
        elif depth and not any(name.endswith(LOCK_SUFFIX) for name in os.listdir(entry)):
            remove_remains(Path(entry), depth - 1)


def _is_at(file: IO[str], path: Path) -> bool:
    """Whether a file is still there: the run that held its lock has removed it since, or not."""
    return path.exists() and os.path.samestat(os.fstat(file.fileno()), os.stat(path))


def _try_lock(file: IO[str]) -> bool:
    """Lock a file for this process; False where another has locked it."""
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a file system without locks
        return True
    return True
