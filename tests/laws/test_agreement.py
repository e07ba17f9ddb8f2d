"""Agreement: every engine equals the judge; integers and text exactly, numbers within 1e-9."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings

from features.engines import compute, duckdb
from features.language import FeatureSet
from features.schema import History
from tests.histories import FEATURE_SETS, histories
from tests.judge import judge

HISTORIES = 2_000


@settings(max_examples=HISTORIES)
@given(histories(), FEATURE_SETS)
def test_every_engine_equals_the_judge(
    generated: tuple[History, pd.DataFrame], features: FeatureSet
) -> None:
    history, spine = generated
    expected = judge(features, spine, history)
    for engine in ("duckdb", "sqlite"):
        agreed(compute(features, spine, history, engine), expected, features, engine)


@settings(max_examples=200)
@given(histories(), FEATURE_SETS)
def test_duckdb_in_many_blocks_on_many_threads_equals_the_judge(
    generated: tuple[History, pd.DataFrame], features: FeatureSet
) -> None:
    history, spine = generated
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duckdb, "BLOCK", 1)
        found = compute(features, spine, history)
    agreed(found, judge(features, spine, history), features, "duckdb in blocks")


def agreed(
    found: pd.DataFrame, expected: list[list[object]], features: FeatureSet, engine: str
) -> None:
    assert list(found.columns) == list(features.names)
    assert len(found) == len(expected)
    for position, feature in enumerate(features.features):
        dtype = found.iloc[:, position].dtype
        assert dtype == ("float64" if feature.type == "number" else "str"), feature.name
        for row, value in enumerate(found.iloc[:, position]):
            _same(value, expected[row][position], f"{engine}: {feature.name} in row {row}")


def _same(value: object, expected: object, where: str) -> None:
    if expected is None:
        assert pd.isna(value), where
    elif isinstance(expected, float):
        assert value == pytest.approx(expected, rel=1e-9, abs=0), where
    else:
        assert value == expected, where
