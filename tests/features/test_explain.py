"""The explanation of a feature: its SQL runs, its worked rows are what the judge says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import duckdb
import pandas as pd
import pytest
from click.testing import CliRunner

from features.explain import explain
from features.feature import Aggregate, Feature
from features.language import (
    DeclarationError,
    FeatureSet,
    account_events,
    age,
    attribute,
    changes,
    events,
    open_leads,
    other_events,
    rate,
    recent,
)
from features.schema import History
from features.times import DAY, from_micros, instant, micros
from serving.cli import main
from tests.histories import START, busy, every_feature, frame, history
from tests.judge import judge

FIRST = {feature.aggregate: feature for feature in reversed(every_feature())}
CHOSEN = [
    *FIRST.values(),
    account_events("call").response(account_events("page visit")),
    other_events(channel="web").entropy("page"),
    other_events("call").latest("page"),
    rate("lost", changes("owner").latest(), "14d"),
    recent("won", events().latest("campaign")),
]
ROW = re.compile(r"^  lead (\S+) as of (\S+): (.*)$", re.M)


def worked(text: str) -> list[tuple[str, int, str]]:
    """Lead, as_of and value of each worked row."""
    return [(lead, instant(moment), value) for lead, moment, value in ROW.findall(text)]


def statement(text: str) -> str:
    return text.split("since 1970, UTC)\n", 1)[1].split("\nWorked rows", 1)[0]


def run_as_it_is_printed(text: str, spine: pd.DataFrame, known: History) -> list[object]:
    """What DuckDB answers to the printed statement, a value a spine row."""
    tables = {"spine": spine.assign(_row=range(len(spine)))}
    tables |= {name: getattr(known, name) for name in ("leads", "events", "changes", "outcomes")}
    with duckdb.connect() as con:
        for name, table in tables.items():
            times = table.select_dtypes("datetimetz").columns
            con.register(name, table.assign(**{time: micros(table[time]) for time in times}))
        return [value for _, value in sorted(con.execute(statement(text)).fetchall())]


def same(printed: str, value: object) -> bool:
    if value is None:
        return printed == "missing"
    if isinstance(value, str):
        return printed == value
    return float(printed) == pytest.approx(value, rel=1e-9, abs=1e-9)


def test_every_aggregate_is_among_those_explained() -> None:
    assert {feature.aggregate for feature in CHOSEN} == set(get_args(Aggregate))


@pytest.mark.parametrize("feature", CHOSEN, ids=lambda feature: feature.name)
def test_statement_and_worked_rows_say_what_the_judge_says(feature: Feature) -> None:
    for seed in range(3):
        known, spine, _ = busy(seed)
        text = explain(feature, known, spine)
        for label, told in (
            ("meaning", feature.sentence), ("unit", feature.unit), ("missing", feature.null),
        ):  # fmt: skip
            assert re.search(rf"^{label} +{re.escape(told)}$", text, re.M)
        rows = worked(text)
        assert 1 <= len(rows) <= 3
        asked = frame([{"lead_id": lead, "as_of": moment} for lead, moment, _ in rows],
                      "lead_id", "as_of")  # fmt: skip
        right = [value for [value] in judge(FeatureSet([feature]), asked, known)]
        found = run_as_it_is_printed(text, asked, known)
        for (_, _, printed), expected, value in zip(rows, right, found, strict=True):
            assert same(printed, expected), text
            assert same(printed, value), text


def test_three_rows_differ_where_values_do() -> None:
    known, spine, _ = busy(1)
    values = [value for *_, value in worked(explain(events().count(), known, spine))]
    assert len(set(values)) == 3


@pytest.mark.parametrize("dialect", ["sqlite", "postgres", "spark"])
def test_the_statement_is_in_the_asked_dialect(dialect: str) -> None:
    known, spine, _ = busy(0)
    text = explain(events("call").mean(), known, spine, dialect)
    assert f"SQL ({dialect}; " in text
    quote = "`" if dialect == "spark" else '"'
    assert f"{quote}kind{quote} = 'call'" in statement(text)


DEALS = [("1", 1, "won"), ("2", 2, "lost"), ("3", 3, "lost")]


def small() -> tuple[History, pd.DataFrame]:
    """Five leads, of which three are settled; asked after ten days about the fourth."""
    leads = [
        {"lead_id": str(one), "created_at": START, "account_id": "acme",
         "industry": "bank" if one in (1, 2, 4) else "it", "size": None}
        for one in range(1, 6)
    ]  # fmt: skip
    moments = [("visit", 1), ("call", 2), ("call", 4), ("visit", 6), ("call", 6.5)]
    touches = [
        {"lead_id": "4", "event_id": str(number), "kind": kind, "value": None, "page": None,
         "occurred_at": START + int(day * DAY), "known_at": START + int(day * DAY),
         "channel": None, "campaign": None, "score": None}
        for number, (kind, day) in enumerate(moments)
    ]  # fmt: skip
    ended = [
        {"lead_id": lead, "outcome": outcome, "occurred_at": START + day * DAY,
         "known_at": START + day * DAY, "deal_value": None, "reason": None}
        for lead, day, outcome in DEALS
    ]  # fmt: skip
    spine = pd.DataFrame({"lead_id": ["4"], "as_of": from_micros([START + 10 * DAY])})
    return history(leads, touches, [], ended), spine


@pytest.mark.parametrize(
    ("feature", "value", "shown"),
    [
        # One of two banks won, one of three in all: (1 + 20 / 3) / 22
        (
            rate("won", by=attribute("industry", "text")),
            (1 + 20 / 3) / 22,
            "'industry' is 'bank': 1 of 2 outcomes; (1 + 20 x 1 / 3) / (2 + 20)",
        ),
        (
            recent("won", by=attribute("industry", "text")),
            1,
            "'industry' is 'bank': 1 of 2 outcomes\n",
        ),
        (
            open_leads(by=attribute("industry", "text")),
            1,
            "'industry' is 'bank': 1 open leads\n",
        ),
        # From 1 to 2 and from 6 to 6.5; the call of day 4 follows a call
        (events("call").response(to=events("visit")), 0.75, " call          0.5"),
        (events("call").open(events("visit")), 1, "3 started, 2 ended\n"),
        (events("call").share(), 0.6, "3 of 5 events\n"),
        # Within 5 days: the call of 6.5
        (events("call").ratio("5d", "9d"), 1 / 3, "1 in the shorter window, 3 in the longer\n"),
    ],
    ids=lambda one: getattr(one, "name", ""),
)
def test_worked_rows_show_what_the_value_is_made_of(
    feature: Feature, value: float, shown: str
) -> None:
    text = explain(feature, *small())
    [(lead, _, printed)] = worked(text)
    assert lead == "4"
    assert float(printed) == pytest.approx(value, rel=1e-12)
    assert shown in text.split("Worked rows")[1]


def test_long_histories_are_cut_short() -> None:
    known, spine = small()
    many = pd.concat([known.events] * 5, ignore_index=True)
    many["event_id"] = many.index.astype("str")
    longer = History(known.leads, many, known.changes, known.outcomes)
    shown = explain(events().count(), longer, spine).split("Worked rows")[1]
    assert "17 earlier ones, then" in shown
    assert shown.count("visit") + shown.count("call") == 8


def test_no_rows_and_no_facts_are_told() -> None:
    known, spine = small()
    assert "the history has no rows" in explain(age(), known, spine.iloc[:0])
    assert "no visible events" in explain(events("fax").count(), known, spine)


def test_a_feature_that_the_history_cannot_feed_is_refused() -> None:
    with pytest.raises(DeclarationError, match="events have no column 'colour'"):
        explain(events().latest("colour"), *small())


@pytest.fixture(scope="module")
def funnel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The declaration of a small funnel on disk."""
    made = tmp_path_factory.mktemp("simulated") / "funnel"
    done = CliRunner().invoke(main, ["simulate", "--out", str(made), "--leads", "120"])
    assert done.exit_code == 0, done.output
    return made / "source.toml"


def said(funnel: Path, *arguments: str) -> str:
    done = CliRunner().invoke(main, ["explain", "--config", str(funnel), *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_command_explains_by_name_and_by_declaration(funnel: Path) -> None:
    named = said(funnel, "count(call, 7d)")
    assert "number of 'call' events in the last 7 days" in named
    assert len(worked(named)) == 3
    assert said(funnel, 'events("call").count("7d")') == named
    assert "SQL (sqlite;" in said(funnel, "age()", "--dialect", "sqlite")
    assert "'industry' is '" in said(funnel, 'rate("won", by=attribute("industry", "text"))')


def test_the_command_explains_each_of_a_sequence(funnel: Path) -> None:
    assert said(funnel, "events().sequence(2)").count("Worked rows") == 2


def test_the_command_lists_all_names(funnel: Path) -> None:
    listed = said(funnel)
    assert "age(): days since the lead was created" in listed
    assert "count(call, 7d): number of 'call' events in the last 7 days" in listed


def test_the_command_says_what_is_wrong_with_a_declaration(funnel: Path) -> None:
    for text, told in (("count(calls)", "begin with"), ('attribute("hue", "text")', "no column")):
        done = CliRunner().invoke(main, ["explain", "--config", str(funnel), text])
        assert done.exit_code == 1
        assert told in done.output
        assert "Traceback" not in done.output
