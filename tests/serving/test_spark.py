"""Spark scores, and feeds training, as one machine does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from features import catalog
from features.schema import TABLES, History
from features.source import Population
from features.times import DAY
from serving.scorer import score_table
from tests import cluster
from tests.judge import alike
from training.bundle import Bundle
from training.dataset import build, labelled

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="module")
def session() -> Iterator[SparkSession]:
    cluster.needs_spark()
    with cluster.session("local[2]") as made:
        yield made


def test_spark_scores_every_open_lead_as_the_list_does(
    session: SparkSession, directory: Path, loaded: Bundle, history: History, today: int,
    tmp_path: Path,
) -> None:  # fmt: skip
    from serving.spark import score_spark

    for name in TABLES:
        getattr(history, name).to_parquet(tmp_path / f"{name}.parquet", index=False)
    tables = {name: session.read.parquet(str(tmp_path / f"{name}.parquet")) for name in TABLES}
    for moment in (today, today - 200 * DAY):
        expected = score_table(loaded, history, moment).drop(columns="rank")
        found = score_spark(session, directory, tables, moment).toArrow().to_pandas()
        assert len(found) > 100
        order = ["expected_value", "lead_id"]
        found = found.sort_values(order, ascending=[False, True], ignore_index=True)
        alike(found, expected)


def test_a_training_set_of_spark_is_the_one_of_duckdb(
    session: SparkSession, history: History
) -> None:
    from features.engines.spark import Spark

    rows = labelled(history, Population("weekly", None, 28 * DAY, 0, "won"))
    features = catalog.default(history)
    found, expected = (
        build(rows, features, history, engine=Spark(session)),
        build(rows, features, history),
    )
    pd.testing.assert_frame_equal(found.rows, expected.rows)
    alike(found.columns, expected.columns)
