"""Pickles of numpy arrays and plain containers, read without numpy's own unpickling.

`numpy.dtype.__setstate__` trusts what a file says of flags and fields; a crafted one corrupts the
memory of the process. So the few names that pickled arrays ask for are given stand-ins here, which
note what the file says, and every array is built anew from its bytes, its shape and a plain dtype.
"""

from __future__ import annotations

import math
import pickle
import pickletools
import re
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

MOST_NESTED = 50  # containers within one another
_PLAIN_DTYPE = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f[248])")


def load(file: BinaryIO) -> Any:
    """The object of a pickle: arrays, numpy scalars, numbers, texts, bytes, lists, dicts, tuples.

    Raises:
        pickle.UnpicklingError: it asks for anything else.
        Exception: a damaged pickle can raise anything.
    """
    # pickle makes room for what a file announces before it looks how long the file is
    for _ in pickletools.genops(file):
        pass
    file.seek(0)
    return _built(_Unpickler(file, encoding="latin1").load(), 0)


class _DType:
    """Stands for a dtype until its byte order is known."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.code = _text(code)
        self.order = ""

    def __setstate__(self, state: Any) -> None:
        self.order = _text(state[1]).replace("|", "")

    def plain(self) -> np.dtype[Any]:
        if not _PLAIN_DTYPE.fullmatch(self.code):
            raise pickle.UnpicklingError(f"it holds values of type {self.code!r}")
        return np.dtype(self.order + self.code) if self.order in ("<", ">") else np.dtype(self.code)


class _Array:
    """Stands for an array until its state is known."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def build(self) -> np.ndarray:
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            raise pickle.UnpicklingError("it holds an array without a state")
        _, shape, dtype, is_fortran, data = self.state
        return _array(data, dtype, shape, "F" if is_fortran else "C")


class _NumpyType:
    """Stands for `numpy.ndarray`, which pickles name and nothing here calls."""


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _frombuffer(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    return _array(data, dtype, shape, order)


def _scalar(dtype: Any, data: Any) -> Any:
    return _array(data, dtype, (), "C")[()]


def _encode(text: Any, encoding: Any) -> bytes:
    """What `_codecs.encode` does in pickles: bytes that were written as text."""
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("it encodes something else than bytes")
    return text.encode("latin1")


def _array(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    if isinstance(data, str):  # of Python 2
        data = data.encode("latin1")
    if not isinstance(dtype, _DType) or not isinstance(data, bytes | bytearray | memoryview):
        raise pickle.UnpicklingError("it holds an array that is not one of plain numbers")
    plain, sizes = dtype.plain(), tuple(int(size) for size in shape)
    if min(sizes, default=0) < 0 or math.prod(sizes) * plain.itemsize != len(data):
        raise pickle.UnpicklingError(f"it holds {len(data)} bytes for an array of shape {sizes}")
    array = np.frombuffer(data, plain).reshape(sizes, order="F" if order == "F" else "C")
    return array.copy(order="K")  # a file's bytes may not be written to


_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _NumpyType,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _encode,
}
_MULTIARRAY: dict[str, Callable[..., Any]] = {"_reconstruct": _reconstruct, "scalar": _scalar}
for _core in ("numpy.core", "numpy._core"):
    _STAND_INS |= {(f"{_core}.multiarray", name): f for name, f in _MULTIARRAY.items()}
    _STAND_INS[f"{_core}.numeric", "_frombuffer"] = _frombuffer  # protocol 5


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None

    def persistent_load(self, _: Any) -> Any:
        raise pickle.UnpicklingError("it asks for something outside the file")


def _built(value: Any, depth: int) -> Any:
    """The value with its arrays built; nothing in it is a stand-in any more."""
    if depth > MOST_NESTED:
        raise pickle.UnpicklingError("it nests too deeply")
    if isinstance(value, _Array):
        return value.build()
    if isinstance(value, dict):
        return {_built(k, depth + 1): _built(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(_built(item, depth + 1) for item in value)
    if value is None or isinstance(
        value, bool | int | float | complex | str | bytes | bytearray | np.ndarray | np.generic
    ):
        return value
    raise pickle.UnpicklingError("it holds something that is neither numbers nor text")


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)
