"""Reading files that come from elsewhere, and writing files that must be whole.

Every reader raises `InputError` with the file's name and what to do about it. Pickles and
checkpoints are read without code execution: an attacker's file gets an error, not a shell.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import pickle
import re
import shutil
import uuid
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np

from synergynet import picture_formats, plain_pickle
from synergynet.errors import FormatError as FormatError
from synergynet.errors import InputError as InputError
from synergynet.errors import add_debug as add_debug
from synergynet.errors import one_line
from synergynet.errors import require_at_least as require_at_least
from synergynet.errors import run_command as run_command

# a compressed file may unpack to so many bytes, and to more only where it is large itself
MOST_UNPACKED, MOST_RATIO = 2**28, 20
STAGING = ".staging_"  # of hidden folders that are filled before they are moved
MAX_STEM_BYTES = 200  # of temporary names, which are longer than their files' by ten: 255 at most

# ---------------------------------------------------------------- readers


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a picture as (H, W, 3) uint8 BGR.

    Raises:
        InputError: the file is missing, is not a picture, or is cut off.
    """
    return decode_image(path, read_bytes(path))


def decode_image(name: str | os.PathLike[str], data: bytes) -> np.ndarray:
    """`read_image` of bytes that are read already; `name` is what errors call them."""
    if picture_formats.is_truncated(data):
        raise InputError(f"{name}: the picture is cut off; copy or download it again")
    image = picture_formats.decode(data)
    if image is None:
        raise InputError(f"{name}: not a picture that OpenCV can read")
    return image


def read_array(
    path: str | os.PathLike[str], shape: tuple[int | None, ...] | None = None
) -> np.ndarray:
    """Read a `.npy` array of finite numbers, without pickle; `shape` may hold None for any length.

    Raises:
        InputError: missing, not an array, of another shape, or with values that are not finite.
    """
    with open_to_read(path) as file:
        try:
            _require_content(file, os.fstat(file.fileno()).st_size)
            array = np.lib.format.read_array(file, allow_pickle=False)
        except OSError:
            raise
        except Exception as error:  # headers that do not parse raise many kinds
            raise InputError(f"{path}: not a readable .npy array ({one_line(error)})") from None
    if shape is not None and not has_shape(array, shape):
        want = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
        raise InputError(f"{path}: shape {array.shape}, expected {want}")
    return require_finite(path, array)


def _require_content(file: BinaryIO, size: int) -> None:
    """Compare what a `.npy` header announces with the size of its file, before memory is asked for.

    Raises:
        ValueError: it announces more. The file is at its beginning again.
    """
    version = np.lib.format.read_magic(file)
    read_header = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
    shape, _, dtype = read_header[version[0]](file)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize > size - file.tell():
        raise ValueError(f"{shape} values of type {dtype} do not fit its {size} bytes")
    file.seek(0)


def has_shape(array: np.ndarray, shape: tuple[int | None, ...]) -> bool:
    """Whether an array has a shape; None in it stands for any length."""
    return array.ndim == len(shape) and all(
        want in (None, got) for want, got in zip(shape, array.shape, strict=True)
    )


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read the arrays of finite numbers in an `.npz` file, without pickle.

    Raises:
        InputError: missing, not such a file, or with values that are not finite.
    """
    with open_to_read(path) as file:
        try:
            file.read(1)  # zipfile takes a disk's error for no zip file
            require_modest(zipfile.ZipFile(file))
            file.seek(0)
            with np.load(file, allow_pickle=False) as table:
                arrays = dict(table)
        except OSError:
            raise
        except Exception as error:  # numpy and zipfile raise many kinds on damaged files
            problem = one_line(error)
            raise InputError(f"{path}: not a readable .npz file of arrays ({problem})") from None
    return {name: require_finite(path, array) for name, array in arrays.items()}


def require_modest(archive: zipfile.ZipFile) -> None:
    """Refuse a zip that would fill the memory.

    Raises:
        ValueError: it does.
    """
    members = archive.infolist()
    unpacked, packed = sum(m.file_size for m in members), sum(m.compress_size for m in members)
    if unpacked > max_unpacked(packed):
        raise ValueError(f"it unpacks to {unpacked / 1e9:.1f} GB")


def max_unpacked(packed: int) -> int:
    """To how many bytes so many compressed ones may unpack."""
    return max(MOST_UNPACKED, MOST_RATIO * packed)


def require_finite(path: str | os.PathLike[str], array: np.ndarray) -> np.ndarray:
    """The array itself when it holds numbers only that are finite, also in single precision.

    Raises:
        InputError: it holds anything else; names `path`, where the array comes from.
    """
    largest = np.abs(array).max(initial=0) if array.dtype.kind in "iuf" else math.nan
    if not largest <= np.finfo(np.float32).max:  # nor is nan
        raise InputError(f"{path}: holds values that are not finite numbers")
    return array


def read_list(path: str | os.PathLike[str]) -> list[str]:
    """Read a text file of one image name a line; empty lines are left out."""
    try:
        lines = read_bytes(path).decode("utf-8-sig").splitlines()  # with a byte-order mark or not
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file of image names") from None
    return [line.strip() for line in lines if line.strip()]


def read_names(path: str | os.PathLike[str]) -> list[str]:
    """Read a text file of names of files below one folder, one a line.

    Raises:
        InputError: not such a file, or a name that leads out of the folder.
    """
    names = read_list(path)
    for name in names:
        parts = re.split(r"[/\\\\]", name)
        if os.path.isabs(name) or ".." in parts or re.match(r"[A-Za-z]:", name):
            raise InputError(f"{path}: {name}: names stay inside the folder of the images")
    return names


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file."""
    return decode_json(path, read_bytes(path))


def decode_json(name: str | os.PathLike[str], data: bytes) -> Any:
    """`read_json` of bytes that are read already; `name` is what errors call them."""
    try:
        return json.loads(data, parse_float=_finite, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name}: not valid JSON ({error})") from None


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large")
    return number


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def read_pickle(path: str | os.PathLike[str]) -> Any:
    """Read a pickle of numpy arrays and plain containers; refuse everything else.

    Raises:
        InputError: missing, damaged, or asking for any other Python object.
    """
    with open_to_read(path) as file:
        try:
            return plain_pickle.load(file)
        except OSError:
            raise
        except pickle.UnpicklingError as error:
            raise InputError(f"{path}: refused, not a pickle of plain arrays ({error})") from None
        except Exception as error:  # a damaged pickle can raise anything
            raise InputError(f"{path}: not a readable pickle ({error})") from None


def sha256(path: str | os.PathLike[str]) -> str:
    """A file's SHA-256 in hex digits."""
    return hashlib.sha256(read_bytes(path)).hexdigest()


def file_hash(path: str | os.PathLike[str]) -> str:
    """The first 16 hex digits of a file's SHA-256."""
    return sha256(path)[:16]


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The content of a file.

    Raises:
        InputError: see `open_to_read`.
    """
    with open_to_read(path) as file:
        return file.read()


def require_file(path: str | os.PathLike[str]) -> None:
    """Refuse what is no file.

    Raises:
        InputError: missing, or a folder.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: {'is a folder' if Path(path).is_dir() else 'file not found'}")


@contextlib.contextmanager
def open_to_read(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file in binary.

    Raises:
        InputError: it is missing or a folder; or the system refuses it, now or while it is read:
            no permission, a name that is too long, a damaged disk.
    """
    try:
        require_file(path)
        with open(path, "rb") as file:
            yield file
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


# ---------------------------------------------------------------- writers


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str], durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path` and move it there on success: no half-written file.

    The temporary name keeps the suffix, which writers look at (cv2.imwrite, np.save). A `durable`
    file is on the disk before it replaces the one before, so that a power cut leaves one of them.

    Raises:
        InputError: `path` is a folder, or the system refuses to write there.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder, not a file to write to")
    stem = path.stem.encode(errors="ignore")[:MAX_STEM_BYTES].decode(errors="ignore")
    temporary = path.with_name(f".{stem}.{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if durable:
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:  # a full disk names no file
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_image(path: str | os.PathLike[str], image: np.ndarray, quality: int = 95) -> None:
    """Write (H, W, 3) uint8 BGR; the suffix chooses the format, `quality` is JPEG's."""
    write_bytes(path, encode_image(path, image, quality))


def encode_image(name: str | os.PathLike[str], image: np.ndarray, quality: int = 95) -> bytes:
    """`write_image`'s file as bytes; `name` is its name, for the suffix."""
    suffix = Path(name).suffix
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix in (".jpg", ".jpeg") else []
    try:
        ok, data = cv2.imencode(suffix, image, options)
    except cv2.error:  # JPEG ends at 65,535 px a side, WebP at 16,383
        ok = False
    if not ok:
        height, width = image.shape[:2]
        raise FormatError(f"{name}: OpenCV cannot write {width} x {height} px in this format")
    return data.tobytes()


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write bytes as they are."""
    with whole_file(path) as temporary:
        temporary.write_bytes(data)


def write_array(path: str | os.PathLike[str], array: np.ndarray) -> None:
    """Write a `.npy` file."""
    with whole_file(path) as temporary:
        np.save(temporary, array, allow_pickle=False)


def write_arrays(path: str | os.PathLike[str], arrays: dict[str, np.ndarray]) -> None:
    """Write an `.npz` file, not compressed, which is quicker to read."""
    entries: dict[str, Any] = arrays  # numpy 2.1 would store a keyword of savez as another array
    with whole_file(path) as temporary:
        np.savez(temporary, **entries)


def write_pickle(path: str | os.PathLike[str], value: Any) -> None:
    """Write arrays and plain containers as a pickle, as 3DDFA's files are."""
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        pickle.dump(value, file, protocol=4)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write indented JSON; NaN and infinity are errors, not invalid JSON."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write text as UTF-8."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_list(path: str | os.PathLike[str], names: list[str]) -> None:
    """Write one name a line."""
    write_text(path, "".join(f"{name}\n" for name in names))


def make_output_folder(path: str | os.PathLike[str]) -> Path:
    """Create a folder and prove that it can be written to, before long work starts.

    Raises:
        InputError: it cannot be created or written.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: is a file, not a folder to write to")
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".write_test_{uuid.uuid4().hex[:8]}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"{path}: cannot write here ({error.strerror})") from None
    return path


@contextlib.contextmanager
def all_or_nothing(path: str | os.PathLike[str], names: Sequence[str]) -> Iterator[Path]:
    """Yield a hidden folder inside `path`; on success move what was written there out of it.

    Args:
        path: folder to fill; may exist and hold other things.
        names: of the files and folders that are moved, in this order; the last makes it complete.
    Raises:
        InputError: one of the names exists already, or the folder cannot be written to.
    """
    path = Path(path)
    if existing := [name for name in names if (path / name).exists()]:
        raise InputError(f"{path / existing[0]}: already there; remove it or choose another folder")
    is_new = not path.exists()
    staging = make_output_folder(path) / f"{STAGING}{uuid.uuid4().hex[:8]}"
    try:
        staging.mkdir()
        yield staging
        for name in names:
            if (staging / name).exists():
                os.replace(staging / name, path / name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if is_new:
            with contextlib.suppress(OSError):
                path.rmdir()  # only when nothing came of it
