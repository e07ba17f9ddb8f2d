"""The command: help that teaches, errors that say what to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click
import pandas as pd
import pytest
from click.testing import CliRunner

from features import databases
from features.schema import History
from features.simulate import Simulation, Truth
from serving.cli import main
from serving.commands.data import SIMULATED
from serving.commands.scoring import worklist
from serving.store import Store
from tests.conftest import ROOT
from tests.postgres import fresh


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_has_a_help_that_teaches(name: str) -> None:
    done = CliRunner().invoke(main, [name, "--help"])
    assert done.exit_code == 0
    about = done.output.split("Options:")[0].split("\n\n", 1)[1]
    assert len(about.split()) >= 8
    options = [one for one in main.commands[name].params if isinstance(one, click.Option)]
    assert all(getattr(one, "help", None) for one in options)


def test_help_shows_a_first_round() -> None:
    said = CliRunner().invoke(main, ["--help"]).output
    for name in ("simulate", "check", "train", "promote", "score", "serve"):
        assert f"leadcast {name}" in said


def config(directory: Path, leads: str) -> str:
    (directory / "leads.csv").write_text(leads, encoding="utf-8")
    path = directory / "source.toml"
    path.write_text('name = "x"\n[leads]\npath = "leads.csv"\n[population]\nhorizon = "7d"\n')
    return str(path)


def test_bad_data_are_told_without_a_traceback(tmp_path: Path) -> None:
    path = config(tmp_path, "lead_id,created_at\n1,yesterday\n2,2026-01-01\n")
    done = CliRunner().invoke(main, ["check", "--config", path])
    assert done.exit_code == 1
    assert "unparsable-time" in done.output
    assert "remedy" in done.output
    assert "Traceback" not in done.output


def test_quarantine_keeps_the_good_rows(tmp_path: Path) -> None:
    path = config(tmp_path, "lead_id,created_at\n1,yesterday\n2,2026-01-01\n")
    bad = tmp_path / "bad"
    done = CliRunner().invoke(main, ["check", "--config", path, "--quarantine", str(bad)])
    assert done.exit_code == 0
    assert "yesterday" in (bad / "leads.csv").read_text()


def test_a_mistyped_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "source.toml"
    text = (ROOT / "examples" / "xeducation.toml").read_text()
    path.write_text(text.replace("order_by", "order_bye"))
    done = CliRunner().invoke(main, ["check", "--config", str(path)])
    assert done.exit_code == 1
    assert "did you mean 'order_by'" in done.output


def test_without_a_model_there_is_a_remedy(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["promote", "--mlruns", str(tmp_path)])
    assert done.exit_code == 1
    assert "leadcast train" in done.output
    done = CliRunner().invoke(main, ["serve", "--bundle", str(tmp_path / "none")])
    assert done.exit_code == 1
    assert "leadcast promote" in done.output


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_work_list_goes_into_a_database(
    kind: str,
    history: History,
    directory: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = f"sqlite:///{tmp_path}/crm.db"
    if kind == "postgres":
        url = request.getfixturevalue("postgres")
    ranked = worklist(history, directory, None, [url, str(tmp_path / "worklist.csv")])
    assert len(ranked) > 0
    found = databases.read_table(url, "worklist")
    pd.testing.assert_frame_equal(found, ranked, check_dtype=False)
    assert len(pd.read_csv(tmp_path / "worklist.csv")) == len(ranked)
    assert databases.shown(url) in capsys.readouterr().out.replace("\n", "")


def test_an_audit_names_the_leak_and_fails(history: History, tmp_path: Path) -> None:
    won = history.outcomes.loc[history.outcomes["outcome"] == "won", "lead_id"]
    told = history.leads["lead_id"].isin(won).map({True: "yes", False: "no"})
    leads = history.leads.assign(customer=told)
    Simulation(replace(history, leads=leads), Truth(pd.DataFrame())).write(tmp_path)
    path = tmp_path / "source.toml"
    path.write_text(SIMULATED.format(origin="2026-01-05"))
    done = CliRunner().invoke(main, ["audit", "--config", str(path)])
    assert done.exit_code == 1
    assert "label-copy:customer" in done.output
    assert "remedy" in done.output
    path.write_text(
        path.read_text().replace('leads.parquet"', 'leads.parquet"\nexclude=["customer"]')
    )
    done = CliRunner().invoke(main, ["audit", "--config", str(path)])
    assert (done.exit_code, "nothing found" in done.output) == (0, True)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_history_goes_into_a_store_once(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    place = str(tmp_path / "store.db")
    if kind == "postgres":
        place = fresh(request.getfixturevalue("postgres"))
    columns = dict.fromkeys(("events", "changes", "outcomes"), ("lead_id",))
    columns["leads"] = ("lead_id", "size")
    told = config(tmp_path, "lead_id,created_at,size\n1,2026-01-01,5\n2,2026-01-02,\n")
    for _ in range(2):
        done = CliRunner().invoke(main, ["store", "load", "--config", told, "--store", place])
        assert (done.exit_code, "2 leads, 0 events" in done.output) == (0, True), done.output
    config(tmp_path, "lead_id,created_at,size\n3,2026-01-01,5\n2,2026-01-03,\n")
    done = CliRunner().invoke(main, ["store", "load", "--config", told, "--store", place])
    assert done.exit_code == 1
    assert "already there with other content" in done.output
    held = Store(place)
    found = [held.read(lead, columns, account=False) for lead in ("1", "2", "3")]
    held.close()
    assert [one and list(one.leads) for one in found] == [[("1", "5")], [("2", None)], None]


def test_every_acceptance_needs_its_reason(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["promote", "--mlruns", str(tmp_path), "--accept", "x:y"])
    assert done.exit_code == 1
    assert "1 --accept and 0 --because" in done.output
