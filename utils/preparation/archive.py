"""Zip files from elsewhere: none may fill the disk, or write outside the folder it is given.

with as_folder("AFLW2000-3D.zip", (".jpg", ".mat"), output) as folder: ...  # or a folder as it is
with open_zip("300W-LP.zip") as archive: read_member(archive, "300W_LP/AFW/AFW_1_0.jpg")
"""

from __future__ import annotations

import contextlib
import lzma
import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from synergynet.fileio import InputError

MAX_BYTES = 64 * 2**30  # unpacked, in all; 300W-LP has 3 GB
MAX_RATIO = 100  # unpacked to packed; pictures and .mat files stay below 10, bombs reach 1,000
SMALL_BYTES = 256 * 2**20  # does no harm at any ratio

_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, OSError)


def open_zip(path: str | os.PathLike) -> zipfile.ZipFile:
    """Open a zip whose every name and size was checked; use it in a `with`.

    No member gives more bytes than it declares: `zipfile` stops there. So what is checked holds.

    Raises:
        InputError: missing, damaged, encrypted or a zip bomb; a member that is a link, is in it
            twice, or whose path leads outside the folder it would be unpacked to.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such folder or zip")
    try:
        archive = zipfile.ZipFile(path)
    except (*_DAMAGED, ValueError) as error:
        raise InputError(
            f"{path}: not a readable zip ({error}); pass a folder, or a whole zip"
        ) from None
    try:
        _check_members(path, archive.infolist())
    except InputError:
        archive.close()
        raise
    return archive


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """The content of one member of an `open_zip`, its checksum verified.

    Raises:
        InputError: it is damaged, or not there.
    """
    try:
        return archive.read(name)
    except KeyError:
        raise InputError(f"{archive.filename}: {name} is not in it") from None
    except _DAMAGED as error:
        raise InputError(
            f"{archive.filename}: {name} in it is damaged ({error}); download it again"
        ) from None


@contextlib.contextmanager
def as_folder(source: str | os.PathLike, suffixes: tuple[str, ...], place: Path) -> Iterator[Path]:
    """The folder itself, or a temporary one with a zip's files under their own paths.

    Args:
        source: folder or zip.
        suffixes: of the files that are wanted; what macOS adds to zips is left out.
        place: folder in which the temporary one is made.
    Raises:
        InputError: as `open_zip` and `read_member`, or the disk has no room for them.
    """
    if Path(source).is_dir():
        yield Path(source)
        return
    with open_zip(source) as archive, tempfile.TemporaryDirectory(dir=place) as temporary:
        wanted = [m for m in archive.infolist() if _is_wanted(m.filename, suffixes)]
        require_room(temporary, sum(member.file_size for member in wanted), str(source))
        for member in wanted:
            target = Path(temporary, member.filename)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(read_member(archive, member.filename))
        try:
            yield Path(temporary)
        except InputError as error:  # about a file in it: its path in the zip is what helps
            raise InputError(str(error).replace(temporary, str(source))) from None


def require_room(folder: str | os.PathLike, size_bytes: int, what: str) -> None:
    """Refuse work that a folder's disk has no room for, before it starts.

    Raises:
        InputError: names the folder, what needs the room, and how much.
    """
    free = shutil.disk_usage(folder).free
    if size_bytes > free:
        raise InputError(
            f"{folder}: {what} needs {size_bytes / 1e9:.1f} GB, {free / 1e9:.1f} GB are free"
        )


def leads_outside(name: str) -> bool:
    """Whether a path, joined to a folder on any system, may leave it: absolute, or with `..`."""
    windows = PureWindowsPath(name)  # reads both kinds of slash
    return bool(windows.anchor) or ".." in windows.parts


def _check_members(path: str | os.PathLike, members: list[zipfile.ZipInfo]) -> None:
    names = set()
    for member in members:
        name = member.filename
        if leads_outside(name):
            raise InputError(f"{path}: refused, {name!r} in it leads outside")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise InputError(f"{path}: refused, {name!r} in it is a link")
        if member.flag_bits & 1:
            raise InputError(f"{path}: is encrypted; unpack it and pass the folder")
        if name in names:
            raise InputError(f"{path}: {name} is in it twice")
        names.add(name)
    unpacked, packed = sum(member.file_size for member in members), Path(path).stat().st_size
    if unpacked > MAX_BYTES or unpacked > max(SMALL_BYTES, MAX_RATIO * packed):
        raise InputError(
            f"{path}: refused, would unpack from {packed / 1e6:.1f} MB to {unpacked / 1e9:.1f} GB; "
            f"if you trust it, unpack it and pass the folder"
        )


def _is_wanted(name: str, suffixes: tuple[str, ...]) -> bool:
    path = PurePosixPath(name)
    return (
        path.suffix.lower() in suffixes
        and "__MACOSX" not in path.parts
        and not path.name.startswith("._")
    )
