"""Agreement: every engine equals the judge; integers and text exactly, numbers within 1e-9."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings

from features.engines import compute
from features.language import FeatureSet
from features.schema import History
from tests.histories import FEATURE_SETS, histories
from tests.judge import judge

HISTORIES = 200


@pytest.mark.parametrize("engine", ["duckdb", "sqlite"])
@settings(max_examples=HISTORIES)
@given(histories(), FEATURE_SETS)
def test_every_engine_equals_the_judge(
    engine: str, generated: tuple[History, pd.DataFrame], features: FeatureSet
) -> None:
    history, spine = generated
    found = compute(features, spine, history, engine)
    expected = judge(features, spine, history)
    assert list(found.columns) == list(features.names)
    for position, feature in enumerate(features.features):
        for row, value in enumerate(found.iloc[:, position]):
            agreed(value, expected[row][position], f"{feature.name} in row {row}")


def agreed(value: object, expected: object, where: str) -> None:
    if expected is None:
        assert pd.isna(value), where
    elif isinstance(expected, float):
        assert value == pytest.approx(expected, rel=1e-9, abs=0), where
    else:
        assert value == expected, where
