"""Row independence: rows in = rows out, in order, each unaffected by the others."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.engines import compute
from features.engines.memory import Leads
from features.language import FeatureSet, age, attribute, events
from features.schema import History
from tests.histories import FEATURE_SETS, histories, readable
from tests.judge import alike

Generated = tuple[History, pd.DataFrame]
ENGINES = ["duckdb", "sqlite", "memory"]


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=50)
@given(histories(), FEATURE_SETS)
def test_a_row_alone_is_the_row_among_others(
    engine: str, generated: Generated, features: FeatureSet
) -> None:
    history, spine = generated
    features = readable(features, engine)
    together = compute(features, spine, history, engine)
    alone = [
        compute(features, spine.iloc[[place]], history, engine)
        for place in range(min(len(spine), 3))
    ]
    alike(together.head(len(alone)), pd.concat(alone))


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=50)
@given(histories(), FEATURE_SETS, st.data())
def test_rows_come_back_in_their_order_under_their_index(
    engine: str, generated: Generated, features: FeatureSet, data: st.DataObject
) -> None:
    history, spine = generated
    features = readable(features, engine)
    places = data.draw(st.lists(st.sampled_from(range(len(spine))), max_size=8))
    index = pd.Index([f"row {place}" for place in places], name="question", dtype="str")
    chosen = spine.iloc[places].set_axis(index)
    found = compute(features, chosen, history, engine)
    expected = compute(features, spine, history, engine).iloc[places].set_axis(index)
    alike(found, expected)


def test_of_no_leads_there_are_no_rows() -> None:
    """A call of which every lead is refused asks for none."""
    wanted = FeatureSet([attribute("size", "number"), attribute("industry", "text"), age(),
                         events().count("7d"), events().latest("page")])  # fmt: skip
    found = Leads(wanted).vectors(Leads(wanted).known([]), 0)
    assert found.numbers.shape == (0, 5)
    assert all(not held for held in found.texts.values())
