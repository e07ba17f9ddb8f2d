"""Machine code that is kept on disk is that of the sources that are there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
CALLED = """
from features.machine import compiled

@compiled
def called(number):
    return number + {}
"""
CALLER = """
from called import called
from features.machine import compiled

@compiled
def caller(number):
    return called(number)

print(caller(1), sum(caller.stats.cache_hits.values()))
"""


def test_what_calls_into_a_file_that_was_changed_is_compiled_anew(tmp_path: Path) -> None:
    def run() -> list[str]:
        path = os.pathsep.join([str(tmp_path), str(ROOT)])
        told = subprocess.run(
            [sys.executable, "-m", "caller"], env={**os.environ, "PYTHONPATH": path},
            cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        return told.stdout.split()

    (tmp_path / "caller.py").write_text(CALLER)
    (tmp_path / "called.py").write_text(CALLED.format(1))
    assert run() == ["2", "0"]
    assert run() == ["2", "1"]
    (tmp_path / "called.py").write_text(CALLED.format(10))
    os.utime(tmp_path / "called.py", (time.time() + 2, time.time() + 2))
    assert run() == ["11", "0"]
