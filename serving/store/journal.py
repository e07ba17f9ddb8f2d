"""Rows that are on disk before they are in their table: what an answer waits for is an append.

An append is one call of the system, a commit of a row into a table that is clustered by lead costs
ten times that.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import select
import struct
import time
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import NamedTuple

import msgspec

from serving.scorer import Row
from serving.store.appender import Appender
from serving.store.database import StoreUnavailable, UnfitRow
from serving.store.writer import Outcome, Writer

SOON = 1.0
"""Seconds after which rows are in their table, or else it is tried again."""

_HEAR_SECONDS = 0.05
"""How long is waited for appends before it is seen whether somebody else has heard of them."""

_FILES = "-ledger-1", "-ledger-2"
_HEAD = struct.Struct("<II")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[object, ...]]).decode

Done = Callable[[Exception | None], None]
"""Is told that rows are on disk, or why they are not."""


def is_left(store: Path) -> bool:
    """Whether beside a store there are rows on their way into it."""
    for name in _FILES:
        with suppress(OSError):
            if Path(f"{store}{name}").stat().st_size:
                return True
    return False


class Taken(Exception):
    """Another process has the journal."""


class _File:
    """Records one after another, each with its length and its sum, and the rows that they hold.

    What comes after a record that is torn was never acknowledged.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_DSYNC
        self.path, self.file = path, os.open(path, flags, 0o600)
        self.rows: list[Row] = []

    def lock(self) -> None:
        """Keep others out, until this process ends. Raises :class:`Taken`."""
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Taken from None
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(self.file), self.path.stat()):
                return
        raise Taken  # who had it has dropped the file meanwhile

    def read(self) -> None:
        """Take the rows that are there."""
        held, at = self.path.read_bytes(), 0
        while at + _HEAD.size <= len(held):
            length, its_sum = _HEAD.unpack_from(held, at)
            record = held[at + _HEAD.size : at + _HEAD.size + length]
            if len(record) < length or zlib.crc32(record) != its_sum:
                break
            self.rows += _decode(record)
            at += _HEAD.size + length

    def clear(self) -> None:
        """Forget the rows; on disk, too. Raises ``OSError``."""
        os.ftruncate(self.file, 0)
        os.fdatasync(self.file)
        self.rows = []

    def drop(self) -> None:
        """Close it, and leave nothing where it holds nothing."""
        if not self.rows:
            with suppress(OSError):
                self.path.unlink()
        self.close()

    def close(self) -> None:
        """Close it."""
        os.close(self.file)


class _Kept(NamedTuple):
    """Rows that are being appended to a file, whom to tell, and in which event loop."""

    rows: Sequence[Row]
    file: _File
    done: Done
    loop: asyncio.AbstractEventLoop


class _Settling:
    """Somebody who waits until what was kept before is in the table."""

    def __init__(self) -> None:
        self.future: Future[None] = Future()
        self.moves = 0


class _Filling:
    """The first rows of a file are there."""


class _Ending:
    """Nothing comes after it."""


class Journal:
    """The way of a table's rows into it: on disk first, and in the table within a second.

    Two files beside the store take turns: rows are appended to the one while those of the other
    are written to the table. What a process left that was killed is written by the next one; a row
    that is in the table already stays as it is. Of processes with one store the first has the
    journal, the others get :class:`Taken`. ``check`` raises :class:`StoreUnavailable` where the
    store cannot be written; while rows do not get into their table no more are taken.

    Appends are asked for and told of in the event loop; a thread has the rows moved.
    """

    def __init__(self, store: Path, table: str, check: Callable[[], None], writer: Writer) -> None:
        self._table, self._check, self._writer = table, check, writer
        self._asked = SimpleQueue[_Filling | _Settling | _Ending | Outcome]()
        self._settling: list[_Settling] = []
        self._lack: Exception | None = None
        self._filled: _File | None = None
        self._busy, self._due = False, 0.0
        self._store = store
        with ExitStack() as undone:
            try:
                self._files = [_File(Path(f"{store}{name}")) for name in _FILES]
                for one in self._files:
                    undone.callback(one.close)
                self._files[0].lock()
                for one in self._files:
                    one.read()
                    if one.rows:
                        writer.write_now({table: one.rows})
                    one.clear()
            except OSError as error:
                raise _unavailable(store, error) from None
            undone.pop_all()
        self._current, self._spare = self._files
        self._lock = Lock()
        self._kept = deque[_Kept]()
        self._appender = Appender(self._current.file)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = Thread(target=self._run, name="store-journal", daemon=True)
        self._thread.start()

    def keep(self, rows: Sequence[Row], done: Done) -> None:
        """Put rows on disk, and call ``done`` in the event loop that runs now once they are.

        It is told :class:`StoreUnavailable`, or :class:`UnfitRow` for what nothing can hold.
        """
        error = self._lack
        try:
            if error is None:
                self._check()
                record = _encode(rows)
        except (UnicodeError, OverflowError):
            error = UnfitRow(f"{self._store}: a row of {self._table}")
        except Exception as failed:
            error = _unavailable(self._store, failed)
        if error is not None:
            done(error)
            return
        loop = self._listening()
        with self._lock:
            self._kept.append(_Kept(rows, self._current, done, loop))
            self._appender.append(_HEAD.pack(len(record), zlib.crc32(record)) + record)

    def settle(self) -> None:
        """Return once all that was kept before is in the table. Raises :class:`StoreUnavailable`.

        Not for an event loop: it blocks.
        """
        settling = _Settling()
        self._asked.put(settling)
        settling.future.result()

    def close(self) -> None:
        """Bring what was kept into the table, where that can be done, and end."""
        with suppress(StoreUnavailable):
            self.settle()
        self._asked.put(_Ending())
        self._thread.join()
        self._appender.end()
        self._hear()
        self._deafen()
        for one in reversed(self._files):  # that with the lock last
            one.drop()

    def _listening(self) -> asyncio.AbstractEventLoop:
        """The event loop that runs now, and is told of appends from now on."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop = loop
            loop.add_reader(self._appender.told, self._hear)
        return loop

    def _deafen(self) -> None:
        """Close what is heard of appends, once no event loop looks at it."""
        if self._loop is None or self._loop.is_closed():
            os.close(self._appender.told)
        else:
            self._loop.call_soon_threadsafe(_close_read, self._loop, self._appender.told)

    def _hear(self) -> None:
        """Take rows that are on disk as such, and tell who waits for that."""
        with self._lock:
            heard = [(self._kept.popleft(), error) for error in self._appender.hear()]
            for one, error in heard:
                if error is None:
                    if not one.file.rows:
                        self._asked.put(_Filling())
                    one.file.rows += one.rows
        here = _running_loop()
        for one, error in heard:
            told = None if error is None else _unavailable(self._store, error)
            if one.loop is here:
                one.done(told)
            else:
                with suppress(RuntimeError):  # its loop has ended, and nobody waits
                    one.loop.call_soon_threadsafe(one.done, told)

    def _hear_all(self) -> None:
        """Return once all that is being appended is on disk, or is known not to be."""
        told = select.poll()
        told.register(self._appender.told, select.POLLIN)
        while self._kept:
            told.poll(1e3 * _HEAR_SECONDS)
            self._hear()

    def _run(self) -> None:
        ended = False
        while not ended:
            for one in self._next():
                if isinstance(one, _Filling):
                    self._due = time.monotonic() + SOON
                elif isinstance(one, _Settling):
                    self._hear_all()
                    one.moves = (self._filled is not None) + bool(self._current.rows)
                    self._settling.append(one)
                elif isinstance(one, (dict, Exception)):
                    self._moved(one)
                ended = ended or isinstance(one, _Ending)
            self._settle(None)
            self._move()

    def _next(self) -> list[_Filling | _Settling | _Ending | Outcome]:
        """What was asked for meanwhile; nothing when it is time to move rows."""
        waits = not self._busy and (self._filled or self._current.rows)
        try:
            left = max(self._due - time.monotonic(), 0.0) if waits else None
            some = [self._asked.get(timeout=left)]
        except Empty:
            return []
        while not self._asked.empty():
            some.append(self._asked.get())
        return some

    def _move(self) -> None:
        """Have rows written to their table, when it is time or somebody waits for it."""
        if self._busy or not (time.monotonic() >= self._due or self._settling):
            return
        if self._filled is None and self._current.rows:
            with self._lock:
                self._filled, self._current, self._spare = self._current, self._spare, self._current
                self._appender.use(self._current.file)
            self._hear_all()
        if self._filled is not None:
            self._busy = True
            self._writer.write_soon({self._table: self._filled.rows}, self._asked.put)

    def _moved(self, outcome: Outcome) -> None:
        """Rows are in their table, or it will be tried again."""
        self._busy = False
        try:
            if isinstance(outcome, Exception):
                raise outcome
            if self._filled is not None:
                self._filled.clear()
        except Exception as error:
            self._lack, self._due = _unavailable(self._store, error), time.monotonic() + SOON
            self._settle(self._lack)
            return
        self._lack = self._filled = None
        for one in self._settling:
            one.moves -= 1

    def _settle(self, error: Exception | None) -> None:
        """Tell those whose rows are in their table now, or all what stands in the way."""
        for one in [*self._settling]:
            if error is not None or one.moves == 0:
                self._settling.remove(one)
                if error is None:
                    one.future.set_result(None)
                else:
                    one.future.set_exception(error)


def _close_read(loop: asyncio.AbstractEventLoop, file: int) -> None:
    loop.remove_reader(file)
    os.close(file)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    with suppress(RuntimeError):
        return asyncio.get_running_loop()
    return None


def _unavailable(store: Path, error: Exception) -> StoreUnavailable:
    return error if isinstance(error, StoreUnavailable) else StoreUnavailable(f"{store}: {error}")
