"""The README, word for word: its commands run and its Python says what the comments say."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import pytest

from features.feature import Aggregate
from features.written import read_features
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.M | re.S)
SHELL = [text for language, text in BLOCKS if language == "sh"]
PYTHON = [text for language, text in BLOCKS if language == "python" and "pyspark" not in text]
SPARK = [text for language, text in BLOCKS if language == "python" and "pyspark" in text]


def shell(script: str, directory: Path) -> str:
    """Run a block as typed into a shell with the environment active; returns what it printed."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-em", "-c", script], cwd=directory, env=environment, timeout=600,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_two_commands_exist() -> None:
    for line in SHELL[0].splitlines():
        plan = shell(f"make --dry-run {line.removeprefix('make ')}", ROOT)
        assert ".venv/bin" in plan


def test_a_step_at_a_time(tmp_path: Path) -> None:
    said = shell(SHELL[1], tmp_path)
    assert "The contract holds." in said
    assert "leadcast minus the others" in said
    assert "the same model, bit for bit" in said
    assert "is the champion" in said
    assert (tmp_path / "worklist.csv").read_text().startswith("rank,lead_id,probability")
    assert "<svg" in (tmp_path / "report.html").read_text()
    told = shell(SHELL[4], tmp_path)
    shown = README.split(SHELL[4])[1].split("```")[2]
    for line in shown.strip().splitlines():
        assert line.strip() == "..." or line in told.splitlines(), line
    answer = shell(SHELL[2], tmp_path)
    for name in ("probability", "expected_value", "reasons", "route", "model_version"):
        assert f'"{name}"' in answer
    assert falls_silent(3000), "the service is still there after it was asked to end"


def falls_silent(port: int) -> bool:
    """Whether nobody answers on a port of this machine any more, within some seconds."""
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            return True
        time.sleep(0.2)
    return False


@pytest.mark.slow
def test_real_data(data: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    os.environ["LEADCAST_DATA"] = str(data)
    said = shell(SHELL[3], tmp_path)
    assert "Leadcast on bpic2012" in said
    assert "Leadcast on xeducation" in said
    assert said.count("as challenger") == 2


def test_python_says_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    for block in PYTHON:
        exec(block, {})
        promised = re.findall(r"print\(.*\)\s+# (.*)", block)
        assert capsys.readouterr().out.splitlines() == promised


def test_every_example_of_the_vocabulary_can_be_written() -> None:
    rows = re.findall(r"^\| (`\w+`.*?) \| .*? \| `(.*)` \|$", README, re.M)
    for names, example in rows:
        assert read_features(example)
        assert any(f"{name}(" in example for name in re.findall(r"`(\w+)`", names)), example
    named = {name for names, _ in rows for name in re.findall(r"`(\w+)`", names)}
    assert named == {*get_args(Aggregate), "sequence"}


def test_every_block_is_known() -> None:
    assert (len(SHELL), len(PYTHON), len(SPARK)) == (5, 1, 1)


def test_files_that_are_named_exist() -> None:
    quoted = re.findall(r"`((?:examples|notebooks)/[\w./]+)`", README)
    for name in [*quoted, *re.findall(r"\]\(([\w./]+)\)", README)]:
        assert (ROOT / name).exists(), name
