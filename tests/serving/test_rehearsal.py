"""A policy rehearsed on the past: counted by hand from the lists and the outcomes."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from features.outcomes import observed_until
from features.schema import History
from features.times import DAY, micros
from serving.cli import main
from serving.decide import Policy
from serving.listing import score_table
from serving.rehearsal import rehearse
from training.bundle import Bundle


def test_what_it_would_have_handed_over_and_what_became_of_them(
    loaded: Bundle, history: History
) -> None:
    policy = Policy(sales=0.05, leave=0.3, least_probability=0.1, explore=0.1)
    told = rehearse(loaded, history, 30 * DAY, policy)
    as_of, until = observed_until(history) - 30 * DAY, observed_until(history)
    at = micros(history.outcomes["occurred_at"])
    won = history.outcomes[
        (history.outcomes["outcome"] == "won") & (at >= as_of) & (at < until)
    ].set_index("lead_id")["deal_value"]
    chosen = {}
    for name, one in (("present", None), ("proposed", policy)):
        ranked = score_table(loaded, history, as_of, 0, policy=one)
        chosen[name] = set(ranked["lead_id"][ranked["route"] == "sales"])
        handed = getattr(told, name)
        mine = won[won.index.isin(chosen[name])]
        assert (handed.leads, handed.wins) == (len(chosen[name]), len(mine))
        assert handed.revenue == pytest.approx(mine.sum())
    assert told.open_leads == len(ranked)
    assert told.added.leads == len(chosen["proposed"] - chosen["present"]) > 0
    assert told.dropped.leads == len(chosen["present"] - chosen["proposed"]) > 0
    assert told.present.wins > 0
    assert told.seen


def test_a_moment_without_open_leads_is_refused(loaded: Bundle, history: History) -> None:
    with pytest.raises(ValueError, match="no lead was open"):
        rehearse(loaded, history, 5_000 * DAY, Policy())


def test_the_command_shows_a_table(directory: Path, tmp_path: Path, history: History) -> None:
    (tmp_path / "policy.toml").write_text("sales = 0.1\n")
    tables = []
    for name in ("leads", "events", "changes", "outcomes"):
        getattr(history, name).to_parquet(tmp_path / f"{name}.parquet")
        tables.append(f'[{name}]\npath = "{name}.parquet"\n')
    head = 'name = "funnel"\n[population]\nat = "weekly"\nhorizon = "28d"\n'
    (tmp_path / "source.toml").write_text(head + "".join(tables))
    ran = CliRunner().invoke(
        main,
        ["policy", "--config", str(tmp_path / "source.toml"), "--bundle", str(directory),
         "--policy", str(tmp_path / "policy.toml"), "--since", "60d"],
    )  # fmt: skip
    assert ran.exit_code == 0, ran.output
    assert "proposed policy" in ran.output
    assert "The model has learned from that time" in ran.output
