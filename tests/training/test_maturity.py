"""Outcomes ripen: settled rows stand for those that are not, and nothing of the future is read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.times import DAY, from_micros
from training.dataset import TrainingSet
from training.experiment import Result
from training.maturity import Maturity
from training.model import train
from training.recipe import Recipe

ROWS = st.lists(st.tuples(st.integers(0, 99), st.integers(0, 50)), min_size=1, max_size=60)


@given(ROWS, st.integers(100, 160))
def test_a_row_stands_for_all_over_those_that_began_as_long_ago(
    drawn: list[tuple[int, int]], now: int
) -> None:
    as_of, took = np.array(drawn).T
    found = Maturity.at(now, as_of, as_of + took)
    for began, long, known, weight in zip(as_of, took, found.known, found.weight, strict=True):
        assert known == (began + long <= now)
        old_enough = sum(now - one >= long for one in as_of)
        assert weight == pytest.approx(len(as_of) / old_enough if known else 0)


@given(ROWS)
def test_where_all_is_known_every_row_stands_for_itself(drawn: list[tuple[int, int]]) -> None:
    as_of, took = np.array(drawn).T
    found = Maturity.at(200, as_of, as_of + took)
    assert found.known.all()
    assert found.weight.tolist() == [1.0] * len(as_of)


def test_the_rate_is_neither_flattered_nor_late() -> None:
    """Wins show within days, losses at the horizon; the rate doubled when half were to ripen."""
    draw, horizon, now = np.random.default_rng(3), 30 * DAY, 60 * DAY
    as_of = np.sort(draw.integers(0, now, 40_000))
    won = draw.random(len(as_of)) < np.where(as_of < 30 * DAY, 0.1, 0.2)
    known_at = as_of + np.where(won, draw.integers(0, 10 * DAY, len(as_of)), horizon)
    found = Maturity.at(now, as_of, known_at)
    rate = np.average(won, weights=found.weight)
    assert rate == pytest.approx(won.mean(), abs=0.015)
    assert won[found.known].mean() > won.mean() + 0.05
    assert won[as_of + horizon <= now].mean() < won.mean() - 0.04


def test_outcomes_of_the_future_teach_nothing(result: Result) -> None:
    """A model is the same whatever becomes of rows that are not settled by its moment."""
    data, recipe = result.data, Recipe(rounds=32)
    assert isinstance(data, TrainingSet)
    now = int(np.quantile(data.as_of, 0.6))
    past = data.where(data.as_of < now)
    later = past.known_at > now
    assert later.any()
    assert (past.known_at[~later] - past.as_of[~later]).min() < 28 * DAY
    other = past.rows.assign(
        converted=np.where(later, ~past.converted, past.converted),
        value=np.where(later, 1e6, past.value),
        known_at=from_micros(np.where(later, past.as_of + 28 * DAY, past.known_at)),
    )
    first, second = train(past, recipe, now=now), train(replace(past, rows=other), recipe, now=now)
    assert first.booster.model_to_string() == second.booster.model_to_string()
    assert first.calibration == second.calibration
    matrix = first.encoder.matrix(past.columns.head(500))
    np.testing.assert_array_equal(first.predict(matrix).value, second.predict(matrix).value)


def test_what_is_followed_are_the_labelled_rows_and_those_after(result: Result) -> None:
    followed, data, origin = result.followed, result.data, result.origin
    assert len(followed) > len(data)
    assert (followed.lead_id[: len(data)] == data.lead_id).all()
    young = followed.as_of[len(data) :]
    assert (young + origin.population.horizon > origin.observed).all()
    settled = followed.known_at[len(data) :] <= origin.observed
    assert settled.any()
    assert not settled.all()
    assert origin.trained_until <= origin.observed
    assert origin.data_digest == followed.digest != data.digest
