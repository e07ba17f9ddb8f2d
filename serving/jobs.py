"""Large files of leads, scored beside the service: submitted, watched, fetched, removed.

A job is a directory. One child process at a time works on them (:mod:`serving.job_process`), at low
priority, so that who asks for one lead need not wait for a million. What a service leaves behind
when it ends, the next one begins anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Literal

import msgspec
from anyio import to_thread
from msgspec.structs import replace

from features.databases import is_database, is_postgres, sqlite_path
from features.times import DAY, instant, iso, now
from serving import logs
from serving.http import MOST_BYTES
from serving.problems import Breach, invalid

ASKED, ANSWERED, STATE = "asked.ndjson", "answered.ndjson", "job.json"
MOST_JOB_BYTES, MOST_JOBS = 2**30, 32
KEPT = DAY
"""So long after its end a job's answer can be fetched."""

_COMMAND = (
    "import sys; sys.modules['sklearn'] = None  # LightGBM imports it where it is there: a second\n"
    "from serving.job_process import main; main()"
)
_ROOT = Path(__file__).parent.parent
_BUFFER, _PAUSE = 2**20, 1.0
_LOOK_SECONDS = 5.0
"""So often it is looked for jobs that another service took in, and for answers to forget."""
_ID = re.compile(r"[0-9a-f]{16}")


class Job(msgspec.Struct, frozen=True):
    """How far a job is: of ``leads``, so many are scored and so many refused.

    One model answers all of it: that in service when it began. ``problem``: why it failed.
    """

    job_id: str
    status: Literal["waiting", "running", "done", "failed"]
    submitted_at: str
    as_of: str
    reasons: int
    leads: int
    scored: int = 0
    refused: int = 0
    model_version: str | None = None
    ended_at: str | None = None
    problem: str | None = None


def read_job(place: Path) -> Job:
    """The job of a directory. Raises ``OSError`` where there is none."""
    return msgspec.json.decode((place / STATE).read_bytes(), type=Job)


def write_job(place: Path, job: Job) -> None:
    """Keep how far a job is: who reads it meanwhile sees it before or after."""
    fresh = place / f"{STATE}.{os.getpid()}"
    fresh.write_bytes(msgspec.json.encode(job))
    fresh.replace(place / STATE)


def jobs_beside(store: str | None) -> Path:
    """Where jobs are kept if nothing else is said: beside a store that is a file.

    Those of another database in a place of their own: who works on them writes into its ledger.
    """
    if store is None:
        return Path(".leadcast/jobs")
    if is_postgres(store):
        which = store.partition("://")[2].rpartition("@")[2]  # not who asks, nor the password
        return Path(f".leadcast/jobs-{hashlib.sha256(which.encode()).hexdigest()[:12]}")
    path = sqlite_path(store) if is_database(store) else Path(store)
    return path.with_name(path.name + ".jobs")


class Jobs:
    """The jobs in the directory ``place``, which is made when the first one comes.

    ``bundle`` is where the model in service is. Services may share a directory; one of them works.
    """

    def __init__(self, place: Path, bundle: Path) -> None:
        self._place = place
        path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._environment = {**os.environ, "LEADCAST_BUNDLE": str(bundle), "PYTHONPATH": path}
        self._wake, self._lock = threading.Event(), threading.Lock()
        self._running: tuple[str, subprocess.Popen[bytes]] | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Go on with what was left behind."""
        if self._place.is_dir():
            self._work_on()

    async def submit(self, stream: AsyncIterator[bytes], as_of: int, reasons: int) -> Job:
        """Take in a file of leads, one in JSON a line, to be scored as of a moment (microseconds).

        Raises :class:`Breach`: 413 for more than a GiB, 422 for no lead, 409 for too many jobs,
        503 for a full disk.
        """
        which = secrets.token_hex(8)
        place = self._place / which
        try:
            await to_thread.run_sync(self._make_room)
            place.mkdir(parents=True)
            await _take_in(stream, place / ASKED)
            leads = await to_thread.run_sync(_count, place / ASKED)
            job = Job(which, "waiting", iso(now()), iso(as_of), reasons, leads)
            write_job(place, job)
        except BaseException as error:
            shutil.rmtree(place, ignore_errors=True)
            if isinstance(error, OSError):
                raise _no_room("the disk takes no more") from None
            raise
        self._work_on()
        return job

    def find(self, which: str) -> Job:
        """How far a job is. Raises :class:`Breach` (404)."""
        try:
            return read_job(self._directory(which))
        except OSError:
            raise _unknown() from None

    def answered(self, which: str) -> Path:
        """The file of a job's answers. Raises :class:`Breach` (404, 409)."""
        job = self.find(which)
        if job.status != "done":
            raise Breach("not-done", "The job is not done", job.problem or f"it is {job.status}",
                         remedy="ask for the job until its status is done", status=409)  # fmt: skip
        return self._directory(which) / ANSWERED

    def remove(self, which: str) -> Job:
        """End a job and forget it. Raises :class:`Breach` (404)."""
        job = self.find(which)
        with self._lock:
            shutil.rmtree(self._directory(which), ignore_errors=True)
            if self._running and self._running[0] == which:
                self._running[1].kill()
                self._running[1].wait()
            shutil.rmtree(self._directory(which), ignore_errors=True)
        return job

    def _directory(self, which: str) -> Path:
        if not _ID.fullmatch(which):
            raise _unknown()
        return self._place / which

    def _held(self) -> list[tuple[Path, Job]]:
        """Those that are there, the oldest first."""
        found = []
        for place in self._place.iterdir() if self._place.is_dir() else ():
            with suppress(OSError):  # not a job yet, or not any more
                found.append((place, read_job(place)))
        return sorted(found, key=lambda one: one[1].submitted_at)

    def _make_room(self) -> None:
        self._forget_old()
        if len(self._held()) >= MOST_JOBS:
            raise _no_room(f"there are {MOST_JOBS} jobs already", 409)

    def _forget_old(self) -> None:
        for place, job in self._held():
            if job.ended_at is not None and instant(job.ended_at) < now() - KEPT:
                shutil.rmtree(place, ignore_errors=True)

    def _work_on(self) -> None:
        self._wake.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        """Work on one after another, while no other service does."""
        with (self._place / "lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            while True:
                self._wake.clear()
                self._forget_old()
                open_jobs = [one for one in self._held() if one[1].ended_at is None]
                if not open_jobs:
                    self._wake.wait(_LOOK_SECONDS)
                    continue
                place, job = open_jobs[0]
                self._run(place, job)

    def _run(self, place: Path, job: Job) -> None:
        command = [sys.executable, "-c", _COMMAND, str(place)]
        with self._lock:
            if not place.exists():
                return
            child = subprocess.Popen(command, stdin=subprocess.PIPE, env=self._environment)
            self._running = job.job_id, child
        child.wait()
        assert child.stdin is not None
        child.stdin.close()
        with self._lock:
            self._running = None
        self._settle(place, child.returncode)

    def _settle(self, place: Path, code: int) -> None:
        """Say of a job whose process has ended how that went."""
        with self._lock:
            if not place.exists():
                return
            job = read_job(place)
            if job.ended_at is None and code == -signal.SIGTERM:
                self._wake.wait(_PAUSE)  # the service is about to end: the next one begins anew
            elif job.ended_at is None:
                why = "the process that worked on it was ended: submit it again"
                job = replace(job, status="failed", ended_at=iso(now()), problem=why)
                write_job(place, job)
        logs.event("job", job=job.job_id, status=job.status)


async def _take_in(stream: AsyncIterator[bytes], path: Path) -> None:
    """Write a body to a file, a MiB at a time."""
    size, held = 0, bytearray()

    def append(file: IO[bytes], content: bytes) -> None:
        file.write(content)

    with path.open("wb") as file:
        async for part in stream:
            size += len(part)
            if size > MOST_JOB_BYTES:
                raise Breach("too-large", "The file is too large", "the file is larger than 1 GiB",
                             remedy="cut it into several jobs", status=413,
                             headers={"Connection": "close"})  # fmt: skip
            held += part
            if len(held) >= _BUFFER:
                await to_thread.run_sync(append, file, bytes(held))
                held.clear()
        await to_thread.run_sync(append, file, bytes(held))


def _count(path: Path) -> int:
    """The lines of a file that hold something. Raises :class:`Breach` (413, 422)."""
    leads, number = 0, 0
    with path.open("rb") as file:
        while line := file.readline(MOST_BYTES + 1):
            number += 1
            if len(line) > MOST_BYTES:
                raise Breach("too-large", "A lead is too large",
                             f"line {number} is longer than {MOST_BYTES // 2**20} MiB",
                             remedy="write one lead a line", status=413)  # fmt: skip
            leads += not line.isspace()
    if not leads:
        raise invalid("", "there is no lead in the file", "write one lead in JSON a line")
    return leads


def _no_room(why: str, status: int = 503) -> Breach:
    return Breach("no-room", "There is no room for another job", why,
                  remedy="remove jobs that are done, or try again later", status=status,
                  headers={"Retry-After": "60"})  # fmt: skip


def _unknown() -> Breach:
    return Breach("no-such-job", "There is no such job", "nothing is kept under this id",
                  "job_id", "submit it again: answers are kept for a day", 404)  # fmt: skip
