"""A throw-away PostgreSQL server: made of the installed binaries, gone at the end."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

_WAIT = 60.0
_OLDEST = 15
_LANGUAGE = ("--no-locale", "--locale-provider", "icu", "--icu-locale", "en")
"""Text is ordered as in a dictionary unless a statement says otherwise, as on most servers."""

_SMALL = {"listen_addresses": "", "shared_buffers": "64MB"}
_QUICK = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def missing() -> str | None:
    """What this machine lacks for a server and how to get it; None when all is here."""
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "no psycopg here: install the extra [postgres]"
    binaries = _binaries()
    if binaries is None:
        return "no PostgreSQL server binaries here: install PostgreSQL, with pg_config or initdb"
    version = subprocess.check_output([binaries / "postgres", "--version"], text=True)
    if int(re.findall(r"\d+", version)[0]) < _OLDEST:
        return f"PostgreSQL {_OLDEST} or newer is needed, here is {version.strip()}"
    if os.geteuid() == 0 and not _has_user("postgres"):
        return "initdb refuses root, and there is no user postgres here: run the tests as a user"
    return None


def fresh(url: str) -> str:
    """The URL of a new, empty database of a server."""
    import psycopg

    name = f"made_{uuid.uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as con:
        con.execute(f"CREATE DATABASE {name}".encode())
    return url.replace("/postgres?", f"/{name}?")


class Server:
    """A server that can be stopped and started again; ``url`` is that of its first database."""

    def __init__(self, command: list[Any], url: str, log: Path, who: dict[str, Any]) -> None:
        self.url = url
        self._command, self._log, self._who = command, log, who
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; returns when it answers."""
        with self._log.open("ab") as said:
            self._running = subprocess.Popen(
                self._command, stdout=said, stderr=said, cwd=self._log.parent, **self._who
            )
        _await(self.url, self._running, self._log)

    def stop(self) -> None:
        """End it at once, without a checkpoint."""
        if self._running is not None:
            self._running.send_signal(signal.SIGQUIT)
            self._running.wait(_WAIT)
            self._running = None


@contextmanager
def server(durable: bool = False) -> Iterator[str]:
    """Start an empty server on a socket of its own; yields a URL of it.

    Nothing is synced, and nothing survives a crash, unless it is to be ``durable``.
    """
    with installed(durable) as made:
        made.start()
        yield made.url


@contextmanager
def installed(durable: bool = False) -> Iterator[Server]:
    """An empty server that is not running yet; see :func:`server`."""
    binaries = _binaries()
    assert binaries is not None
    with TemporaryDirectory(prefix="leadcast-pg-", ignore_cleanup_errors=True) as scratch:
        who: dict[str, Any] = {}
        if os.geteuid() == 0:
            who = {"user": "postgres", "group": "postgres", "extra_groups": []}
            shutil.chown(scratch, "postgres", "postgres")
        data, log = Path(scratch) / "data", Path(scratch) / "log"
        subprocess.run(
            [binaries / "initdb", "--pgdata", data, "--encoding", "UTF8", *_LANGUAGE,
             "--auth", "trust", "--username", "leadcast", "--no-sync"],
            check=True, capture_output=True, cwd=scratch, **who,
        )  # fmt: skip
        settings = {**_SMALL, **({} if durable else _QUICK), "unix_socket_directories": scratch}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        url = f"postgresql://leadcast@/postgres?host={scratch}"
        made = Server([binaries / "postgres", "-D", data, *options], url, log, who)
        try:
            yield made
        finally:
            made.stop()


def _await(url: str, running: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg

    deadline = time.monotonic() + _WAIT
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            if running.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text()) from None
            time.sleep(0.05)
        else:
            return


def _binaries() -> Path | None:
    for name in ("pg_config", "initdb"):
        found = shutil.which(name)
        if found is None:
            continue
        place = Path(found).resolve().parent
        if name == "pg_config":
            place = Path(subprocess.check_output([found, "--bindir"], text=True).strip())
        if (place / "initdb").exists() and (place / "postgres").exists():
            return place
    return None


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
