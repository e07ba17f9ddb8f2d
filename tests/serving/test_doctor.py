"""The doctor names what is wrong, and how to mend it."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from serving import keys
from serving.cli import main
from tests.serving.asking import free_port


def told(*arguments: str, **environment: str) -> tuple[int, dict[str, Any]]:
    ran = CliRunner().invoke(main, ["doctor", "--json", *arguments], env=environment)
    found = {one["part"]: one for one in json.loads(ran.output)}
    for one in found.values():
        assert one["remedy"] or one["state"] == "ok"
    return ran.exit_code, found


def test_a_sound_installation(directory: Path, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    keys.add(path, "crm", ("score",))
    status, found = told(
        "--bundle", str(directory), "--store", str(tmp_path / "store.db"), "--mlruns",
        str(tmp_path), "--port", str(free_port()), LEADCAST_KEYS=str(path),
    )  # fmt: skip
    assert status == 0
    assert {part for part, one in found.items() if one["state"] == "ok"} >= {
        "libraries", "store", "keys", "port", "clock"
    }  # fmt: skip
    assert "nothing was trained here" in found["registry"]["seen"]


def test_what_is_wrong_is_named(directory: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bundle"
    shutil.copytree(directory, bad)
    (bad / "conversion.txt").write_bytes((bad / "conversion.txt").read_bytes()[:-500])
    no_file = tmp_path / "store.db"
    no_file.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, found = told(
            "--bundle", str(bad), "--store", str(no_file), "--port",
            str(taken.getsockname()[1]), LEADCAST_KEYS=str(tmp_path / "none.json"),
        )  # fmt: skip
    assert status == 1
    assert "conversion.txt is not the file that was written" in found["model"]["seen"]
    assert "promote" in found["model"]["remedy"]
    assert found["store"]["state"] == "fail"
    assert found["keys"]["state"] == "fail"
    assert found["port"]["state"] == "warn"


@pytest.mark.parametrize(("mode", "state"), [(0o600, "ok"), (0o666, "fail")])
def test_keys_that_others_may_write_are_none(
    directory: Path, tmp_path: Path, mode: int, state: str
) -> None:
    path = tmp_path / "keys.json"
    keys.add(path, "crm", ("score",))
    path.chmod(mode)
    _, found = told("--bundle", str(directory), LEADCAST_KEYS=str(path))
    assert found["keys"]["state"] == state


def test_it_reads_well(directory: Path) -> None:
    ran = CliRunner().invoke(main, ["doctor", "--bundle", str(directory)])
    assert "warn  store" in ran.output
    assert "remedy: leadcast serve --store store.db" in ran.output
