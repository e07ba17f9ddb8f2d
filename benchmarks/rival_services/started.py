"""Start the peers and floors of :mod:`benchmarks.serving`, each until its context ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serving.run import Running, process, running_command


@contextmanager
def mlflow(model: Path, port: int) -> Iterator[Running]:
    """`mlflow models serve`, one worker, offline."""
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # finds uvicorn
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    command += ["-h", "127.0.0.1", "-p", str(port), "-m", str(model)]
    environment = {"MLFLOW_DISABLE_TELEMETRY": "true", "PATH": beside}
    with running_command(command, port, environment, "/health") as running:
        yield running


@contextmanager
def bento(booster: Path, port: int) -> Iterator[Running]:
    """BentoML as it comes."""
    environment = {"RIVAL_BOOSTER": str(booster)}
    with process("benchmarks.rival_services.bento:Predict", port, environment) as running:
        yield running


@contextmanager
def starlette(port: int) -> Iterator[Running]:
    """Bare Starlette under uvicorn."""
    command = [sys.executable, "-m", "uvicorn", "benchmarks.rival_services.bare:app"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--no-access-log"]
    with running_command(command, port, {}) as running:
        yield running
