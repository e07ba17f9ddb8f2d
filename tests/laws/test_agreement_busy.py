"""Agreement on thousands of histories full of events: beside the others, not after them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from tests.histories import busy
from tests.laws.test_agreement import SEEDS, THOUSANDS, all_agree


@pytest.mark.slow
@settings(max_examples=THOUSANDS)
@given(SEEDS)
def test_every_engine_equals_the_judge_on_thousands_of_busy_histories(seed: int) -> None:
    all_agree(*busy(seed))
