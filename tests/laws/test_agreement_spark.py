"""Agreement on Spark: the engine, as users run it, equals the judge."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from hypothesis import given, settings

from features.engines import compute
from features.language import FeatureSet
from features.schema import History
from tests import cluster
from tests.histories import FEATURE_SETS, busy, histories
from tests.judge import judge
from tests.laws.test_agreement import agreed

if TYPE_CHECKING:
    from features.engines.spark import Spark

HISTORIES = 100


@pytest.fixture(scope="module")
def engine() -> Iterator[Spark]:
    cluster.needs_spark()
    from features.engines.spark import Spark

    with cluster.session("local[2]", partitions=1) as session:
        yield Spark(session)


@pytest.mark.slow
def test_spark_equals_the_judge(engine: Spark) -> None:
    @settings(max_examples=HISTORIES // 2)
    @given(histories(), FEATURE_SETS)
    def law(generated: tuple[History, pd.DataFrame], features: FeatureSet) -> None:
        past, spine = generated
        found = compute(features, spine, past, engine)
        agreed(found, judge(features, spine, past), features, past, "spark")

    law()


@pytest.mark.slow
def test_spark_equals_the_judge_on_busy_histories(engine: Spark) -> None:
    for seed in range(HISTORIES // 2):
        past, spine, features = busy(seed)
        found = compute(features, spine, past, engine)
        agreed(found, judge(features, spine, past), features, past, f"spark, seed {seed}")
