"""One JSON object a line on standard error. Never ids of leads, bodies, queries or messages of
exceptions: what a customer sent is in none of them."""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from collections import deque
from contextlib import suppress
from typing import Any

import msgspec

from features.times import iso, now

_FLUSH_SECONDS = 0.2
_FLUSH_LINES = 256
_encode = msgspec.json.Encoder().encode
_lines: deque[bytes] = deque()
_timed = False


def event(name: str, **fields: Any) -> None:
    """Write a line at once, from any thread."""
    _lines.append(_line(name, fields))
    flush()


def later(name: str, **fields: Any) -> None:
    """Write a line within a fifth of a second, from the event loop; cheap."""
    global _timed
    _lines.append(_line(name, fields))
    if not _timed:
        _timed = True
        asyncio.get_running_loop().call_later(_FLUSH_SECONDS, _flush_timed)
    if len(_lines) >= _FLUSH_LINES:
        flush()


def flush() -> None:
    """Write what is waiting."""
    waiting = []
    with suppress(IndexError):  # another thread may take some
        while True:
            waiting.append(_lines.popleft())
    if waiting:
        sys.stderr.write((b"\n".join(waiting) + b"\n").decode())
        sys.stderr.flush()


def _flush_timed() -> None:
    global _timed
    _timed = False
    flush()


def places(error: BaseException) -> list[str]:
    """Where an exception came from, innermost last: file, line and function, no values."""
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    return [f"{one.filename.rpartition('/')[2]}:{one.lineno} {one.name}" for one in frames]


class _Json(logging.Formatter):
    """The lines of libraries, in the form of ours; of an exception its type and places."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {"level": record.levelname.lower(), "logger": record.name}
        failure = record.exc_info[1] if record.exc_info else None
        if failure is not None:
            fields |= {"error": type(failure).__name__, "at": places(failure)}  # type: ignore[dict-item]
        return _line("log", fields | {"message": record.getMessage()}).decode()


def adopt() -> None:
    """Let the loggers that are set up by now write JSON."""
    named = [logging.getLogger(name) for name in ("", "bentoml", "uvicorn", "uvicorn.error")]
    for logger in named:
        for handler in logger.handlers:
            handler.setFormatter(_Json())


def _line(name: str, fields: dict[str, Any]) -> bytes:
    return _encode({"time": iso(now()), "event": name, **fields})
