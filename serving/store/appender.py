"""Appends that are on disk when they are told, by a thread that never asks for the interpreter.

Who asks and who is told is an event loop that seldom lets go of the interpreter: a thread of Python
would wait for it before each append and after it, several times as long as the disk takes.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from collections import deque
from threading import Thread
from typing import Any

import numpy as np
from numba import types
from numba.core.types import ExternalFunction

from features.machine import bytes_at, compiled, ints_at

_ASKED, _TOLD = struct.Struct("qq"), struct.Struct("q")
_MOST = 64
"""So many are appended in one call of the system."""

_BYTES, _INTS = types.CPointer(types.uint8), types.CPointer(types.int64)
_read: Any = ExternalFunction("read", types.int64(types.int32, _BYTES, types.uint64))
_write: Any = ExternalFunction("write", types.int64(types.int32, _INTS, types.uint64))
_writev: Any = ExternalFunction("writev", types.int64(types.int32, _INTS, types.int32))
_ftruncate: Any = ExternalFunction("ftruncate", types.int32(types.int32, types.int64))
_errno: Any = ExternalFunction(
    "__error" if sys.platform == "darwin" else "__errno_location", types.CPointer(types.int32)()
)


@compiled
def _appended(file: int, pieces: Any, count: int, size: int, torn: bool) -> tuple[int, int]:
    """Append pieces, all or none, to a file of so many bytes: its size then, and an error.

    ``torn``: there may be a part of what was not appended behind these bytes.
    """
    if torn and _ftruncate(np.int32(file), size) < 0:
        return size, _errno()[0]
    length = 0
    for number in range(count):
        length += pieces[2 * number + 1]
    while True:
        done = _writev(np.int32(file), ints_at(pieces.ctypes), np.int32(count))
        if done == length:
            return size + length, 0
        if done >= 0:
            return size, errno.ENOSPC
        if _errno()[0] != errno.EINTR:
            return size, _errno()[0]


@compiled
def _work(asked: int, told: int, file: int, pieces: Any, errors: Any) -> None:
    """Do what is asked for until nobody can ask any more.

    ``pieces`` (2 x most) are of the sort ``iovec``; one at 0 names the file of those that follow.
    """
    size, error = 0, 0
    while True:
        room = np.uint64(8 * len(pieces))
        got = _read(np.int32(asked), bytes_at(pieces.view(np.uint8).ctypes), room)
        if got < 0 and _errno()[0] == errno.EINTR:
            continue
        if got <= 0:
            return
        number, asked_for = 0, got // 16
        while number < asked_for:
            if pieces[2 * number] == 0:
                file, size, error = pieces[2 * number + 1], 0, 0
                number += 1
                continue
            first = number
            while number < asked_for and pieces[2 * number] != 0:
                number += 1
            count = number - first
            size, error = _appended(file, pieces[2 * first :], count, size, error != 0)
            errors[:count] = error
            _write(np.int32(told), ints_at(errors.ctypes), np.uint64(8 * count))


def ready() -> None:
    """Have the machine code made: where none is kept that takes a second."""
    asked, nobody = os.pipe()
    os.close(nobody)
    _work(asked, asked, asked, *_buffers())
    os.close(asked)


def _buffers() -> tuple[Any, Any]:
    return np.empty(2 * _MOST, np.int64), np.empty(_MOST, np.int64)


class Appender:
    """Appends to a file at a time, which is empty at first and nobody else's.

    ``told`` can be read, and nobody waits, when there is something to :meth:`hear`.
    """

    def __init__(self, file: int) -> None:
        asked, self._asked = os.pipe()
        self.told, told = os.pipe()
        self._own = asked, told
        os.set_blocking(self.told, False)
        self._kept = deque[bytes]()
        work = asked, told, file, *_buffers()
        self._thread = Thread(target=_work, args=work, name="store-appends", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """How many appends were not heard of yet."""
        return len(self._kept)

    def append(self, data: bytes) -> None:
        """Ask for ``data`` to be appended."""
        self._kept.append(data)  # which stays where it is until it was appended
        where = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value
        os.write(self._asked, _ASKED.pack(where, len(data)))

    def use(self, file: int) -> None:
        """What is asked for from now on is appended to another file."""
        os.write(self._asked, _ASKED.pack(0, file))

    def hear(self) -> list[OSError | None]:
        """What became of appends, in their order: None for each that is on disk."""
        try:
            told = os.read(self.told, _TOLD.size * _MOST)
        except BlockingIOError:
            return []
        errors = [error for (error,) in _TOLD.iter_unpack(told)]
        for _ in errors:
            self._kept.popleft()
        return [OSError(error, os.strerror(error)) if error else None for error in errors]

    def end(self) -> None:
        """Append what was asked for, and end; who hears closes ``told``."""
        os.close(self._asked)
        self._thread.join()
        for one in self._own:
            os.close(one)
