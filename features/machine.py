"""Machine code (numba): how it is kept."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from numba import njit

_sources: dict[str, float] = {}
"""Files whose functions are compiled, and when they were last written."""


def compiled(function: Callable[..., Any]) -> Any:
    """As machine code that holds no lock.

    Kept on disk between runs, where there is a directory to write to.
    """
    source = function.__code__.co_filename
    if source not in _sources:
        with suppress(OSError):
            _sources[source] = Path(source).stat().st_mtime
    try:
        made = njit(cache=True, nogil=True)(function)
    except RuntimeError:
        return njit(nogil=True)(function)
    _forget(made, max(_sources.values(), default=0.0))
    return made


def _forget(made: Any, changed: float) -> None:
    """Drop what was kept before a file that this one may call into was written.

    numba looks at the function's own file alone, and functions of others are part of its code.
    """
    function, directory = made.py_func, made.stats.cache_path
    name = f"*.{function.__qualname__}-{function.__code__.co_firstlineno}.*.nbi"
    for kept in Path(directory).glob(name) if directory else ():
        with suppress(OSError):
            if kept.stat().st_mtime < changed:
                kept.unlink()


@njit("CPointer(uint8)(CPointer(uint8))")
def bytes_at(pointer: Any) -> Any:
    """Where an array of bytes is (``array.ctypes``), for machine code.

    What a pointer points to is read without looking where it ends, and without counting who holds
    the array: a third of the time in functions of a few instructions.
    """
    return pointer


@njit("CPointer(int64)(CPointer(int64))")
def ints_at(pointer: Any) -> Any:
    """The same for integers."""
    return pointer


@njit("CPointer(float64)(CPointer(float64))")
def floats_at(pointer: Any) -> Any:
    """The same for numbers."""
    return pointer
