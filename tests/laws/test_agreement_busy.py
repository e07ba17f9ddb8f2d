"""Agreement on a thousand histories full of events: beside the others, not after them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from tests.histories import busy
from tests.laws.test_agreement import SEEDS, all_agree


@pytest.mark.slow
@pytest.mark.thousands
@settings(max_examples=1_000)
@given(SEEDS)
def test_every_engine_equals_the_judge_on_a_thousand_busy_histories(seed: int) -> None:
    all_agree(*busy(seed))
