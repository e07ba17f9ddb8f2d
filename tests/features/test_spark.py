"""Spark tables in, Spark tables out: what a user of a cluster relies on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from features.engines import compute
from features.language import DeclarationError, FeatureSet, attribute, changes, events
from features.times import DAY
from tests import cluster
from tests.histories import START, frame, history
from tests.judge import judge
from tests.laws.test_agreement import agreed

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from features.engines.spark import Spark

pytestmark = pytest.mark.slow

ODD = ["${spark.master}", "back\\slash", "it's", "`", "{leads}", "%s", "a.b"]


@pytest.fixture(scope="module")
def session() -> Iterator[SparkSession]:
    cluster.needs_spark()
    with cluster.session("local[2]", partitions=1) as made:
        yield made


@pytest.fixture(scope="module")
def engine(session: SparkSession) -> Spark:
    from features.engines.spark import Spark

    return Spark(session)


def event(number: int, **more: Any) -> dict[str, Any]:
    made = {"lead_id": "1", "event_id": f"{number:05}", "kind": "call", "occurred_at": START}
    made |= {"known_at": START, "channel": "web", "campaign": None, "value": 2.0}
    return {**made, "page": f"p{number}", "score": None, **more}


LEADS = [
    {"lead_id": one, "created_at": START - DAY, "account_id": None, "industry": "x", "size": 1.0}
    for one in ("1", "2")
]


def tables(session: SparkSession) -> dict[str, DataFrame]:
    """Two events of lead 1, times as Spark's own timestamps."""
    stamp = f"timestamp_micros({START})"
    sql = session.sql
    return {
        "leads": sql(f"SELECT stack(2, '1', '2') AS lead_id, {stamp} AS created_at,"
                     " string(null) AS account_id, 7 AS size"),
        "events": sql(f"SELECT stack(2, '1', '1') AS lead_id, string(uuid()) AS event_id,"
                      f" 'call' AS kind, {stamp} AS occurred_at, {stamp} AS known_at,"
                      " CAST(1.5 AS DECIMAL(3,1)) AS value"),
    }  # fmt: skip


def test_every_row_comes_back_with_its_columns(engine: Spark) -> None:
    session = engine.session
    spine = session.sql(
        f"SELECT lead_id, timestamp_micros({START + DAY}) AS as_of, note AS `my.note`"
        " FROM VALUES ('1', 'a'), ('1', 'a'), ('1', null), ('2', null) AS t(lead_id, note)"
    )
    features = FeatureSet([events("call").sum("value"), attribute("size", "number")])
    made = engine.table(features, spine, tables(session))
    assert made.columns == ["lead_id", "as_of", "my.note", *features.names]
    assert made.dtypes[1][1] == "timestamp"
    rows = sorted((row[0], row[2] or "", row[3], row[4]) for row in made.collect())
    assert rows == [("1", "", 3.0, 7.0), ("1", "a", 3.0, 7.0), ("1", "a", 3.0, 7.0),
                    ("2", "", 0.0, 7.0)]  # fmt: skip


def test_words_of_the_session_change_nothing(engine: Spark) -> None:
    session = engine.session
    session.sql("SELECT 'mine' AS a").createOrReplaceTempView("events")
    past = history(LEADS, [event(n, kind=kind) for n, kind in enumerate(ODD)], [])
    past = dataclasses.replace(past, events=past.events.rename(columns={"page": "p`a.${x}"}))
    features = FeatureSet(
        [events(kind).count() for kind in ODD]
        + [events(ODD[:2]).count(), events(ODD[1]).latest("p`a.${x}")]
        + [events(ODD[0], channel="web").distinct("p`a.${x}"), events(kind="call").count()]
    )
    spine = frame([{"lead_id": "1", "as_of": START + 1}] * 2, "lead_id", "as_of")
    found = compute(features, spine, past, engine)
    agreed(found, judge(features, spine, past), features, past, "spark")
    assert session.table("events").collect()[0][0] == "mine"
    assert session.conf.get("spark.sql.variable.substitute") == "true"
    assert [view.name for view in session.catalog.listTables() if view.isTemporary] == ["events"]
    session.catalog.dropTempView("events")


def test_a_lead_with_very_many_events_is_no_trap(engine: Spark) -> None:
    """Looking ahead for the next fact, Spark compares each event with each: minutes here."""
    many = 100_000
    facts = [event(n, occurred_at=START + n, known_at=START + n) for n in range(many)]
    past = history(LEADS, facts, [])
    spine = frame([{"lead_id": "1", "as_of": START + many // 2}], "lead_id", "as_of")
    features = FeatureSet([events("call").latest("page"), events().distinct("page")])
    found = compute(features, spine, past, engine)
    assert found.iloc[0].tolist() == [f"p{many // 2 - 1}", many // 2]


def test_what_a_table_lacks_is_named(engine: Spark) -> None:
    session = engine.session
    spine = session.sql(f"SELECT '1' AS lead_id, timestamp_micros({START}) AS as_of")
    with pytest.raises(DeclarationError, match="'page'"):
        engine.table(FeatureSet([events().distinct("page")]), spine, tables(session))
    with pytest.raises(DeclarationError, match="changes have no column"):
        engine.table(FeatureSet([changes("stage").count()]), spine, tables(session))
    local = session.sql("SELECT '1' AS lead_id, timestamp_ntz'2024-01-01' AS as_of")
    with pytest.raises(ValueError, match="as_of: timestamp_ntz is not a time in UTC"):
        engine.table(FeatureSet([events().count()]), local, tables(session))
