"""Start the service as a process of its own, wait until it is ready, and end it completely."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil  # type: ignore[import-untyped]

from features.databases import is_database
from training import bundle as bundles

_READY_SECONDS, _END_SECONDS, _TOLD = 180.0, 20.0, 2_000
_ROOT = Path(__file__).parent.parent


class ServiceError(RuntimeError):
    """The service did not start; carries the end of what it said."""


@dataclass(frozen=True)
class Running:
    """A service that answers at ``url``."""

    url: str
    process: subprocess.Popen[bytes]

    def lack(self) -> str | None:
        """Why it is not ready, though it is up; None when it is."""
        try:
            urllib.request.urlopen(f"{self.url}/readyz", timeout=10).close()
        except urllib.error.HTTPError as answer:
            return str(json.load(answer).get("output", answer))
        return None

    def wait(self) -> None:
        """Return when the service has ended, or on Ctrl-C."""
        with suppress(KeyboardInterrupt):
            self.process.wait()


@contextmanager
def serving(
    bundle: Path,
    store: Path | str | None,
    port: int,
    host: str = "127.0.0.1",
    policy: Path | None = None,
    challenger: Path | None = None,
) -> Iterator[Running]:
    """Serve a bundle on ``host`` while the context is open; no process is left behind.

    ``policy`` is a file for :meth:`serving.decide.Policy.read`, ``challenger`` a bundle for the
    shadow (:mod:`serving.shadow`).

    Raises :class:`training.bundle.BundleError` for a bundle that is not what was written and
    :class:`ServiceError`, with what it said, when the service refuses to start.
    """
    bundles.verify(bundle)
    environment = {"LEADCAST_BUNDLE": str(bundle.absolute())}
    if policy is not None:
        environment["LEADCAST_POLICY"] = str(policy.absolute())
    if challenger is not None:
        environment["LEADCAST_CHALLENGER"] = str(challenger.absolute())
    if store is not None:
        place = str(store)
        environment["LEADCAST_STORE"] = place if is_database(place) else str(Path(place).resolve())
    with process("serving.service:Leadcast", port, environment, host) as running:
        yield running


@contextmanager
def process(
    service: str,
    port: int,
    environment: dict[str, str],
    host: str = "127.0.0.1",
    log: IO[bytes] | None = None,
) -> Iterator[Running]:
    """Run any BentoML service of this checkout (``module:Class``) on ``host``:``port``.

    What it says goes into the file ``log``, from its beginning. It has a home of its own: a BentoML
    service that starts deletes the metrics of another one with the same home.
    """
    command = [sys.executable, "-m", "bentoml", "serve", service]
    command += ["--host", host, "--port", str(port), "--working-dir", str(_ROOT)]
    with tempfile.TemporaryDirectory(prefix="leadcast-", ignore_cleanup_errors=True) as home:
        told = {"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": home, **environment}
        with running_command(command, port, told, "/livez", host, log) as running:
            yield running


@contextmanager
def running_command(
    command: list[str],
    port: int,
    environment: dict[str, str],
    ready: str = "/readyz",
    host: str = "127.0.0.1",
    log: IO[bytes] | None = None,
) -> Iterator[Running]:
    """Run a server on ``host``:``port`` once it answers at ``ready``; no process is left."""
    with tempfile.TemporaryFile() if log is None else nullcontext(log) as said_to:
        started = subprocess.Popen(
            command,
            cwd=_ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            stdout=said_to,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is ours to pass on
        )
        family: list[psutil.Process] = []
        try:
            here = "127.0.0.1" if host == "0.0.0.0" else host
            running = Running(f"http://{here}:{port}", started)
            if not _becomes_ready(running, ready):
                said_to.seek(0)
                said = said_to.read().decode(errors="replace")[-_TOLD:].strip()
                raise ServiceError(f"the service did not become ready; it said: {said}")
            family = _children(started)
            yield running
        finally:
            _end(started, family)


def _becomes_ready(running: Running, path: str) -> bool:
    limit = time.monotonic() + _READY_SECONDS
    while running.process.poll() is None and time.monotonic() < limit:
        with suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            urllib.request.urlopen(f"{running.url}{path}", timeout=2).close()
            return True
        time.sleep(0.05)
    return False


def _children(started: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The workers: each has a session of its own, so no signal to a group reaches them."""
    try:
        return psutil.Process(started.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _end(started: subprocess.Popen[bytes], family: list[psutil.Process]) -> None:
    """Ask the supervisor to end, which ends its workers; insist where one stays."""
    family = list({*family, *_children(started)})
    started.terminate()
    with suppress(subprocess.TimeoutExpired):
        started.wait(_END_SECONDS)
    started.kill()
    started.wait()
    _, alive = psutil.wait_procs(family, timeout=1)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=_END_SECONDS)
