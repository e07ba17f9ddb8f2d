"""Nesting: what is counted in a shorter window, or of fewer kinds, is counted in the longer."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings

from features import language as say
from features.engines import compute
from features.language import FeatureSet
from features.schema import History
from tests.histories import KINDS, facts, histories

Generated = tuple[History, pd.DataFrame]
ENGINES = pytest.mark.parametrize("engine", ["duckdb", "sqlite", "memory"])


@ENGINES
@settings(max_examples=100)
@given(histories(), facts())
def test_windows_nest(engine: str, generated: Generated, chosen: say.Facts) -> None:
    columns = {"changes": "value", "leads": "industry", "outcomes": "reason"}
    column = columns.get(chosen.count().source, "page")
    found = _values(
        engine, generated,
        week=chosen.count("7d"), month=chosen.count("30d"), all=chosen.count(),
        different=chosen.distinct(column), different_week=chosen.distinct(column, "7d"),
        first=chosen.since_first(), last=chosen.since_last(), last_week=chosen.since_last("7d"),
        share=chosen.ratio("7d", "30d"), share_all=chosen.ratio("7d"),
    )  # fmt: skip
    assert (found["week"] <= found["month"]).all()
    assert (found["month"] <= found["all"]).all()
    assert (found["different"] <= found["all"]).all()
    assert (found["different_week"] <= found["different"]).all()
    some = found["all"] > 0
    assert (found["first"].notna() == some).all()
    assert (found["last"].notna() == some).all()
    assert (found["last"] <= found["first"])[some].all()
    assert ((found["first"] == found["last"]) | (found["all"] > 1))[some].all()
    assert (found["last_week"].notna() == (found["week"] > 0)).all()
    assert found["last_week"].dropna().between(0, 7).all()
    assert found["share"].equals((found["week"] / found["month"]).rename("share"))
    assert found["share_all"].equals((found["week"] / found["all"]).rename("share_all"))
    assert pd.concat([found["share"], found["share_all"]]).dropna().between(0, 1).all()


@ENGINES
@settings(max_examples=50)
@given(histories())
def test_the_kinds_add_up_to_all_events(engine: str, generated: Generated) -> None:
    kinds = {f"kind {kind}": say.events(kind).count("7d") for kind in KINDS}
    several = say.events(KINDS[:2]).count("7d")
    found = _values(engine, generated, all=say.events().count("7d"), several=several, **kinds)
    each = found[list(kinds)]
    assert (each.sum(axis=1) == found["all"]).all()
    assert (each.iloc[:, :2].sum(axis=1) == found["several"]).all()


@ENGINES
@settings(max_examples=50)
@given(histories())
def test_the_mean_lies_between_the_extremes(engine: str, generated: Generated) -> None:
    calls = say.events()
    found = _values(
        engine, generated,
        least=calls.min("score", "30d"), middle=calls.mean("score", "30d"),
        most=calls.max("score", "30d"), total=calls.sum("score", "30d"),
        some=calls.count("30d"), last=calls.latest("score", "number", "30d"),
    )  # fmt: skip
    known = found["middle"].notna()
    assert (found["least"] <= found["middle"])[known].all()
    assert (found["middle"] <= found["most"])[known].all()
    assert (found["total"] <= found["some"] * found["most"].clip(lower=0))[known].all()
    assert (found["total"][~known] == 0).all()
    assert ((found["least"] <= found["last"]) & (found["last"] <= found["most"]))[
        found["last"].notna()
    ].all()


@ENGINES
@settings(max_examples=50)
@given(histories())
def test_the_account_counts_at_least_what_its_lead_counts(
    engine: str, generated: Generated
) -> None:
    found = _values(
        engine, generated,
        lead=say.events("call").count(), account=say.account_events("call").count(),
        age=say.age(), of=say.attribute("account_id", "text"),
    )  # fmt: skip
    within = found["of"].notna()
    assert (found["lead"] <= found["account"])[within].all()
    assert (found["account"][~within] == 0).all()
    assert (found["age"].dropna() > 0).all()


def _values(engine: str, generated: Generated, **named: say.Feature) -> pd.DataFrame:
    """The features under names of the test's own."""
    history, spine = generated
    return compute(FeatureSet(named.values()), spine, history, engine).set_axis([*named], axis=1)
