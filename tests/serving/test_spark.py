"""A standalone Spark cluster scores, and feeds training, as one machine does."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from features import catalog
from features.schema import TABLES, History
from features.source import Population
from features.times import DAY, instant
from serving.listing import score_table
from tests import cluster
from tests.judge import alike
from tests.test_readme import SPARK
from training.bundle import Bundle
from training.dataset import build, labelled

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    cluster.needs_spark()
    with (
        cluster.standalone(tmp_path_factory.mktemp("cluster")) as master,
        cluster.session(master) as made,
    ):
        yield made


@pytest.fixture(scope="module")
def written(history: History, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that holds the tables as Parquet in ``funnel``."""
    made = tmp_path_factory.mktemp("written")
    (made / "funnel").mkdir()
    for name in TABLES:
        getattr(history, name).to_parquet(made / "funnel" / f"{name}.parquet", index=False)
    return made


def same_scores(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert len(found) == len(expected) > 100
    order = ["expected_value", "lead_id"]
    found = found.sort_values(order, ascending=[False, True], ignore_index=True)
    alike(found, expected.drop(columns="rank"))


def test_spark_scores_every_open_lead_as_the_list_does(
    session: SparkSession, directory: Path, loaded: Bundle, history: History, written: Path,
    today: int,
) -> None:  # fmt: skip
    from serving.spark import score_spark

    then = today - 200 * DAY
    parquet = session.read.parquet
    tables = {name: parquet(str(written / "funnel" / f"{name}.parquet")) for name in TABLES}
    found = score_spark(session, directory, tables, then).toArrow().to_pandas()
    same_scores(found, score_table(loaded, history, then))


def test_the_readme_scores_on_spark(
    session: SparkSession, directory: Path, loaded: Bundle, history: History, written: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    assert session.version >= "4"
    shutil.copytree(directory, written / ".leadcast" / "champion")
    monkeypatch.chdir(written)
    [block] = SPARK
    # Spark does not follow this process to another directory.
    block = block.replace("funnel/", f"{written}/funnel/").replace(
        'scores")', f'{written}/scores")'
    )
    exec(block, {})
    found = pd.read_parquet(written / "scores")
    same_scores(found, score_table(loaded, history, instant("2026-07-06")))


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
