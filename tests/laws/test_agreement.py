"""Agreement: every engine equals the judge; integers and text exactly, numbers within 1e-9."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.engines import compute, duckdb
from features.language import FeatureSet, attribute, rate
from features.schema import History
from features.times import DAY
from tests.histories import FEATURE_SETS, busy, frame, histories, history, readable
from tests.judge import judge, scale

HISTORIES, THOUSANDS = 100, 4_000
SEEDS = st.integers(0, 2**32)


@settings(max_examples=HISTORIES)
@given(histories(), FEATURE_SETS)
def test_every_engine_equals_the_judge(
    generated: tuple[History, pd.DataFrame], features: FeatureSet
) -> None:
    all_agree(*generated, features)


@settings(max_examples=HISTORIES)
@given(SEEDS)
def test_every_engine_equals_the_judge_on_busy_histories(seed: int) -> None:
    all_agree(*busy(seed))


@pytest.mark.slow
@pytest.mark.thousands
@settings(max_examples=THOUSANDS)
@given(histories(), FEATURE_SETS)
def test_every_engine_equals_the_judge_thousands_of_times(
    generated: tuple[History, pd.DataFrame], features: FeatureSet
) -> None:
    all_agree(*generated, features)


@settings(max_examples=100)
@given(histories(), FEATURE_SETS)
def test_duckdb_in_many_blocks_on_many_threads_equals_the_judge(
    generated: tuple[History, pd.DataFrame], features: FeatureSet
) -> None:
    history, spine = generated
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duckdb, "BLOCK", 1)
        found = compute(features, spine, history)
    agreed(found, judge(features, spine, history), features, history, "duckdb in blocks")


def test_two_words_that_no_fact_has_stay_two_features() -> None:
    lead = {"lead_id": "1", "created_at": 0, "account_id": None, "industry": "bank", "size": None}
    spine = frame([{"lead_id": "1", "as_of": 9 * DAY}], "lead_id", "as_of")
    rates = [rate(outcome, by=attribute("industry", "text")) for outcome in ("won", "lost")]
    all_agree(history([lead], [], []), spine, FeatureSet(rates))


def all_agree(history: History, spine: pd.DataFrame, features: FeatureSet) -> None:
    """Every engine in process equals the judge."""
    expected = judge(features, spine, history)
    for engine in ("duckdb", "sqlite"):
        agreed(compute(features, spine, history, engine), expected, features, history, engine)
    some = readable(features, "memory")
    those = [place for place, one in enumerate(features.features) if one in some.features]
    wanted = [[row[place] for place in those] for row in expected]
    agreed(compute(some, spine, history, "memory"), wanted, some, history, "memory")


def agreed(
    found: pd.DataFrame,
    expected: list[list[object]],
    features: FeatureSet,
    history: History,
    engine: str,
) -> None:
    """Integers and text exactly; a standard deviation within 1e-9 of the numbers it is over."""
    assert list(found.columns) == list(features.names)
    assert len(found) == len(expected)
    for position, feature in enumerate(features.features):
        dtype = found.iloc[:, position].dtype
        assert dtype == ("float64" if feature.type == "number" else "str"), feature.name
        near = 1e-9 * scale(feature, history)
        for row, value in enumerate(found.iloc[:, position]):
            _same(value, expected[row][position], near, f"{engine}: {feature.name} in row {row}")


def _same(value: object, expected: object, near: float, where: str) -> None:
    if expected is None:
        assert pd.isna(value), where
    elif isinstance(expected, float):
        assert value == pytest.approx(expected, rel=1e-9, abs=near), where
    else:
        assert value == expected, where
