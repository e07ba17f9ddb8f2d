"""A Bento serves the model that is inside it, wherever it is started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from serving.run import running_command
from tests.serving.asking import free_port
from training import bundle


@pytest.mark.slow
def test_it_serves_what_is_inside(directory: Path, tmp_path: Path) -> None:
    home = {"BENTOML_HOME": str(tmp_path / "home"), "BENTOML_DO_NOT_TRACK": "True"}
    version = bundle.load(directory).version
    done = subprocess.run(
        [sys.executable, "-m", "serving.cli", "bento", "--bundle", str(directory), "--out",
         str(tmp_path / "leadcast.bento")],
        env={**os.environ, **home}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"leadcast:{version}" in done.stdout
    assert (tmp_path / "leadcast.bento").stat().st_size > 100_000
    made = tmp_path / "home" / "bentos" / "leadcast" / version
    assert "FROM python" in (made / "env" / "docker" / "Dockerfile").read_text()
    pinned = (made / "env" / "python" / "requirements.txt").read_text()
    assert "lightgbm==" in pinned
    assert "psycopg[binary,pool]==" in pinned
    assert "://" not in pinned
    command = [sys.executable, "-m", "bentoml", "serve", f"leadcast:{version}"]
    port = free_port()
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with running_command(command, port, home, "/readyz") as running:
        told = httpx.get(f"{running.url}/v1/model").json()
    assert told["version"] == version
