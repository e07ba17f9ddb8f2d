"""A Spark session of this machine's own, and a standalone cluster on 127.0.0.1."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROOT = Path(__file__).parent.parent
OPTIONS = {
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.memory": "2g",
    "spark.executor.memory": "1536m",
    "spark.executorEnv.PYTHONPATH": str(ROOT),
    "spark.executorEnv.OMP_NUM_THREADS": "1",
    "spark.pyspark.python": sys.executable,
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
}


def needs_spark() -> None:
    """Skip where Spark cannot run."""
    import pytest

    pytest.importorskip("pyspark", reason="needs the extra [spark]")
    if shutil.which("java") is None:
        pytest.skip("the extra [spark] needs Java 17 on the path")


@contextmanager
def session(master: str, partitions: int = 2) -> Iterator[SparkSession]:
    """A session that is stopped afterwards."""
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master(master).appName("leadcast")
    for name, value in OPTIONS.items():
        builder = builder.config(name, value)
    made = builder.config("spark.sql.shuffle.partitions", str(partitions)).getOrCreate()
    try:
        yield made
    finally:
        made.stop()


@contextmanager
def standalone(directory: Path, workers: int = 2) -> Iterator[str]:
    """One master and workers of one core and 2 GiB; the address is ``spark://127.0.0.1:port``."""
    port, launcher = free_port(), str(Path(_home()) / "bin" / "spark-class")
    environment = {
        **os.environ, "SPARK_HOME": _home(), "SPARK_LOCAL_IP": "127.0.0.1",
        "PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": sys.executable, "SPARK_DAEMON_MEMORY": "512m",
    }  # fmt: skip

    @contextmanager
    def started(name: str, kind: str, *options: str) -> Iterator[None]:
        command = [launcher, f"org.apache.spark.deploy.{kind}"]  # which becomes java itself
        command += ["--host", "127.0.0.1", "--webui-port", str(free_port()), *options]
        with (directory / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            try:
                yield
            finally:
                process.terminate()
                process.wait(timeout=30)

    url = f"spark://127.0.0.1:{port}"
    with ExitStack() as stack:
        stack.enter_context(started("master", "master.Master", "--port", str(port)))
        _wait(port)
        for number in range(workers):
            own = ["--cores", "1", "--memory", "2g", "--work-dir", str(directory / f"w{number}")]
            stack.enter_context(started(f"worker{number}", "worker.Worker", *own, url))
        for number in range(workers):
            _said(directory / f"worker{number}.log", "Successfully registered with master")
        yield url


def executors(session: SparkSession, wanted: int, seconds: float = 90) -> int:
    """How many executors there are; they take their time to register."""
    end = time.monotonic() + seconds
    while True:
        found = int(session.sparkContext._jsc.sc().getExecutorMemoryStatus().size()) - 1
        if found >= wanted or time.monotonic() > end:
            return found
        time.sleep(0.2)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _home() -> str:
    import pyspark

    return os.path.dirname(str(pyspark.__file__))


def _wait(port: int, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def _said(log: Path, words: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while words not in log.read_text(errors="replace"):
        assert time.monotonic() < end, log.read_text(errors="replace")
        time.sleep(0.1)
