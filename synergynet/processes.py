"""Things that hold threads of their own, such as loaded networks, in programs that fork."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

import cv2

T = TypeVar("T")

_ALL: weakref.WeakSet[PerProcess[Any]] = weakref.WeakSet()


class PerProcess(Generic[T]):
    """A value that is built when it is first needed, once in every process.

    The threads of an inference session do not survive a fork: a child that used its parent's
    session would wait for them for good. Pickling keeps how to build the value, not the value.

    Args:
        build: makes the value; may be called from any thread, once at a time.
    """

    lock: threading.RLock
    _value: T | None
    _is_built: bool

    def __init__(self, build: Callable[[], T]) -> None:
        self._build = build
        self._forget()
        _ALL.add(self)

    def get(self) -> T:
        """The value of this process."""
        with self.lock:
            if not self._is_built:
                self._value = self._build()
                self._is_built = True
            return cast(T, self._value)

    def build_ahead(self) -> None:
        """Begin to build the value in a thread; `get` waits for it, and raises what goes wrong."""
        threading.Thread(target=self._try_to_build).start()

    def _try_to_build(self) -> None:
        with contextlib.suppress(Exception):  # `get` tries again, where somebody hears of it
            self.get()

    def _forget(self) -> None:
        self.lock = threading.RLock()  # a thread of the parent may have held the old one
        self._is_built = False
        self._value = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_build": self._build}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["_build"])  # type: ignore[misc]


class LoadsAhead:
    """A part of the network that holds something loaded, and can begin to load it early.

    Attributes:
        loaded: what is held.
    """

    loaded: PerProcess[Any]

    def load_ahead(self) -> None:
        """Begin to load in a thread."""
        self.loaded.build_ahead()


def load_ahead(part: object) -> None:
    """Begin to load a part in a thread, if it is one that can; functions of the user's can not."""
    if hasattr(part, "load_ahead"):
        part.load_ahead()


_opencv_threads = 1  # while a fork is under way, as many as there were before it


def _before_fork() -> None:
    global _opencv_threads
    _opencv_threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # closes OpenCV's pool, whose threads a child would wait for


def _after_fork() -> None:
    cv2.setNumThreads(_opencv_threads)


def _in_child() -> None:
    _after_fork()
    for holder in list(_ALL):
        # its end, now or at the child's, would wait for threads that the child does not have
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(holder._value))
        holder._forget()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)
