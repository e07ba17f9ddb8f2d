"""The statements: what they say, held as golden files, and what they are made of.

After a change that is meant, write the files anew and read the difference:

    LEADCAST_GOLDEN=write pytest tests/features/test_compile.py
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import get_args

import pytest
import sqlglot
from hypothesis import given, settings
from sqlglot import exp

from features.compile import long, wide
from features.feature import Aggregate
from features.language import (
    FeatureSet,
    account_events,
    age,
    attribute,
    changes,
    events,
    open_leads,
    other_events,
    other_leads,
    other_outcomes,
    rate,
    recent,
)
from tests.histories import FEATURE_SETS

GOLDEN = Path(__file__).parent.parent / "golden"
DECLARED = FeatureSet(
    [
        events("call").count("7d"),
        events("call").sum("value"),
        events("call").mean("value", "30d"),
        events("call").min("value"),
        events("call").max("value"),
        events("visit").distinct("page"),
        events("visit").since_first(),
        events("visit").since_last(),
        events("visit").latest("page"),
        events("call").ratio("7d", "30d"),
        events(["o'k", 'say "hi"'], channel="web").count(),
        account_events("call").count("36h"),
        account_events("visit").latest("page"),
        changes("stage").latest(),
        changes("stage").since_last(),
        attribute("industry", "text"),
        age(),
        events("call").std("value"),
        events("call").trend("7d", "30d"),
        events("call").decayed("14d"),
        events("call").mean_gap(),
        events("call").share("30d"),
        events("task started").open(events("task ended")),
        events("call").last_hour(-5),
        events("call").last_weekday(),
        events("call").business("30d", 1),
        events().previous("kind", back=2),
        events("call").last_gap(),
        events("call").regularity("90d"),
        events().entropy("channel", "30d"),
        events("call").response(events("visit"), "30d"),
        other_leads().count(),
        other_events("visit").since_last(),
        other_outcomes("won").sum("deal_value"),
        rate("won", by=attribute("industry", "text")),
        rate("won", by=changes("owner").latest(), window="90d"),
        recent("won", by=changes("owner").latest(), window="30d"),
        open_leads(by=changes("owner").latest()),
    ]
)
DIALECTS = ["duckdb", "sqlite", "postgres", "spark"]
PORTABLE = (
    exp.Count, exp.Sum, exp.Avg, exp.Min, exp.Max, exp.Coalesce, exp.Nullif, exp.Cast, exp.Case,
    exp.If, exp.And, exp.Or, exp.Ln, exp.Exp, exp.Round, exp.StddevSamp, exp.RowNumber, exp.Lead,
    exp.TryCast,  # how sqlglot reads CAST of Spark
)  # fmt: skip


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_wide_statement_is_the_golden_one(dialect: str) -> None:
    golden(f"{dialect}_wide.sql", [wide(DECLARED, dialect)], dialect)


def test_the_long_statements_are_the_golden_ones() -> None:
    golden("duckdb_long.sql", [cells.sql for cells in long(DECLARED, "duckdb")[0]], "duckdb")


def golden(name: str, statements: list[str], dialect: str) -> None:
    """Compare with the file; it is laid out for reading, so white space does not count."""
    path = GOLDEN / name
    if os.environ.get("LEADCAST_GOLDEN") == "write":
        laid_out = [sqlglot.parse_one(one, read=dialect).sql(dialect, pretty=True)
                    for one in statements]  # fmt: skip
        path.write_text(";\n\n".join(laid_out) + ";\n", encoding="utf-8")
    expected = path.read_text(encoding="utf-8")
    assert "".join(";".join([*statements, ""]).split()) == "".join(expected.split()), (
        f"{name} has changed: when that is meant, run LEADCAST_GOLDEN=write pytest"
        " tests/features/test_compile.py and read the difference; models trained before it stay"
        " right only where the features' values are the same"
    )


def test_the_golden_set_uses_every_aggregate() -> None:
    every = set(get_args(Aggregate))
    assert {feature.aggregate for feature in DECLARED.features} == every


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=100)
@given(features=FEATURE_SETS)
def test_statements_are_made_of_what_every_engine_has(dialect: str, features: FeatureSet) -> None:
    cells, _ = long(features, dialect)
    for statement in [wide(features, dialect), *(one.sql for one in cells)]:
        [tree] = sqlglot.parse(statement, read=dialect)
        assert isinstance(tree, exp.Select)
        odd = {type(node).__name__ for node in tree.find_all(exp.Func)} - {
            one.__name__ for one in PORTABLE
        }
        assert not odd
        assert {table.name for table in tree.find_all(exp.Table)} - {
            cte.alias for cte in tree.find_all(exp.CTE)
        } <= {"spine", "leads", "events", "changes", "outcomes"}


@settings(max_examples=100)
@given(FEATURE_SETS)
def test_every_feature_is_laid_out_once(features: FeatureSet) -> None:
    statements, rest = long(features, "duckdb")
    placed = [
        (position, cells.aggregates[number].aggregate, cells.source)
        for cells in statements
        for places in cells.places.values()
        for number, position in places
    ]
    assert sorted([position for position, *_ in placed] + rest) == list(range(len(features)))
    for position, aggregate, source in placed:
        feature = features.features[position]
        assert (feature.aggregate, feature.source) == (aggregate, source)


def test_the_columns_of_the_wide_statement_are_in_the_order_of_the_features() -> None:
    tree = sqlglot.parse_one(wide(DECLARED, "sqlite"), read="sqlite")
    assert tree.named_selects == ["_row", *(f"f{number}" for number in range(len(DECLARED)))]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", ['a"b', "a'; DROP TABLE events; --", "select", "é", "a b", "%s"])
def test_names_and_values_stay_names_and_values(dialect: str, name: str) -> None:
    declared = FeatureSet([events(name, **{name: name}).sum(name), attribute(name, "text")])
    cells, _ = long(declared, dialect)
    [tree] = sqlglot.parse(wide(declared, dialect), read=dialect)
    assert {literal.this for literal in tree.find_all(exp.Literal) if literal.is_string} == {name}
    assert name in {column.name for column in tree.find_all(exp.Column)}
    [tree] = sqlglot.parse(cells[0].sql, read=dialect)
    assert name in {column.name for column in tree.find_all(exp.Column)}
