"""The value head: in the unit of the deals, calm about giants, exact where the amount is known."""

from __future__ import annotations

from itertools import pairwise
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit

from features.engines.tables import frame_of
from features.language import FeatureSet, attribute
from features.simulate import Simulation
from training.dataset import TrainingSet, blocks
from training.encode import Encoder
from training.experiment import Result
from training.grow import here
from training.model import train
from training.recipe import Recipe
from training.spread import Spread
from training.value import LEAST_CAPPED, MOST_SHARE, ValueHead, deals_of, fit_value, tamed

Floats = npt.NDArray[np.float64]
FEATURES = FeatureSet(
    [attribute("amount", "number"), attribute("age", "number"), attribute("industry", "text")]
)
INDUSTRIES = ("retail", "software", "public", None)


def deals(leads: int, seed: int = 0, noise: float = 0.6) -> TrainingSet:
    """One row a lead, every second one won; its value is amount x industry x luck."""
    rng = np.random.default_rng(seed)
    amount = np.exp(rng.normal(8, 1, leads)).round(2)
    industry = rng.integers(0, len(INDUSTRIES), leads)
    value = amount * np.exp(0.3 * industry * (noise > 0) + noise * rng.normal(size=leads))
    columns = pd.DataFrame(
        {
            "amount": np.where(rng.random(leads) < 0.1 * (noise > 0), np.nan, amount),
            "age": rng.normal(40, 10, leads),
            "industry": pd.Series([INDUSTRIES[i] for i in industry], dtype="str"),
        }
    )
    won = np.arange(leads) % 2 == 0
    rows = pd.DataFrame(
        {
            "lead_id": pd.Series(np.arange(leads)).astype("str"),
            "as_of": pd.date_range("2025-01-01", periods=leads, freq="h", tz="UTC"),
            "converted": won,
            "value": np.where(won, value, 0.0),
        }
    )
    return TrainingSet(rows, columns.set_axis(FEATURES.names, axis=1), FEATURES)


def with_values(data: TrainingSet, value: Floats) -> TrainingSet:
    return TrainingSet(data.rows.assign(value=value), data.columns, data.features)


def fitted(data: TrainingSet) -> tuple[ValueHead, Floats]:
    """The head, and what it says of every row."""
    encoder = Encoder.fit(FEATURES, blocks(data))
    won = deals_of(data, encoder)
    assert won is not None
    head = fit_value(won, Recipe(rounds=120), here)
    return head, head.mean(encoder.matrix(data.columns))


def test_the_unit_of_the_values_does_not_matter() -> None:
    data = deals(1_000)
    head, said = fitted(data)
    other, thousand = fitted(with_values(data, 1_000 * data.value))
    assert other.scale.keys() == head.scale.keys()
    assert np.allclose(thousand, 1_000 * said, rtol=1e-6)
    assert np.allclose(other.ratios, head.ratios, rtol=1e-6)


@pytest.mark.parametrize("leads", [300, 2_000])
def test_one_giant_deal_does_not_move_the_other_leads(leads: int) -> None:
    data = deals(leads)
    value = data.value.copy()
    value[0] = 1_000 * np.median(value[data.converted])
    _, before = fitted(data)
    _, after = fitted(with_values(data, value))
    moved = np.abs(after / before - 1)[1:]
    assert np.median(moved) < 0.05
    assert np.quantile(moved, 0.95) < 0.10


def test_a_known_amount_is_learned_as_it_is() -> None:
    data = deals(800, noise=0.0)
    head, said = fitted(data)
    off = np.abs(said[data.converted] / data.value[data.converted] - 1)
    assert np.median(off) < 0.002
    assert np.quantile(off, 0.99) < 0.01
    assert head.ratios[2] / head.ratios[0] < 1.02
    model = train(data, Recipe(rounds=32))
    assert model.spread is not None
    assert model.spread.value < 0.02


def test_quantiles_are_in_order_and_hold_on_deals_not_seen() -> None:
    data, later = deals(2_000), deals(2_000, seed=1)
    model = train(data, Recipe(rounds=120))
    said = model.predict(model.encoder.matrix(later.columns))
    ends = said.value_low, said.value_median, said.value_high
    for lower, upper in pairwise([np.zeros(len(later)), *ends]):
        assert lower is not None
        assert upper is not None
        assert (lower < upper).all()
    won = later.converted
    under = [float((later.value[won] <= end[won]).mean()) for end in ends if end is not None]
    assert under == pytest.approx([0.05, 0.5, 0.95], abs=0.06)
    assert said.value is not None
    assert said.value[won].sum() == pytest.approx(later.value[won].sum(), rel=0.06)


@pytest.mark.parametrize("won", [1, 2, 12, 60])
def test_few_deals_are_enough_for_an_answer(won: int) -> None:
    data = deals(2 * max(won, 40))
    kept = np.cumsum(data.converted) <= won
    data = with_values(data, np.where(data.converted & kept, data.value, np.nan_to_num(0.0)))
    model = train(data, Recipe(rounds=32))
    said = model.predict(model.encoder.matrix(data.columns))
    assert said.value is not None
    assert said.expected_low is not None
    assert said.expected_high is not None
    assert np.isfinite(said.value).all()
    assert (said.expected_low > 0).all()
    assert (said.expected_low <= said.expected_value).all()
    assert (said.expected_value <= said.expected_high).all()
    assert np.isfinite(said.expected_high).all()


def test_the_interval_of_the_expected_value_holds_the_true_one(
    result: Result, funnel: Simulation
) -> None:
    early = result.data.as_of <= np.quantile(result.data.as_of, 0.6)
    later = result.data.where(~early)
    model = train(result.data.where(early), Recipe(rounds=150))
    said = model.predict(model.encoder.matrix(later.columns))
    truth = funnel.truth.at(later.rows[["lead_id", "as_of"]])["expected_value"].to_numpy()
    assert said.expected_low is not None
    assert said.expected_high is not None
    inside = (said.expected_low <= truth) & (truth <= said.expected_high)
    assert 0.80 <= inside.mean() <= 0.98
    assert model.spread is not None
    certain, worth = model.spread.ends(np.array([1.0]), np.array([5.0]))
    assert certain[0] <= 5 <= worth[0] <= 5 * np.exp(1.65 * model.spread.value) + 1e-6


chances = st.lists(st.floats(0.001, 0.999), min_size=1, max_size=20).map(np.array)
doubts = st.lists(st.tuples(st.integers(-60, 60), st.floats(0, 3)), min_size=1, max_size=8,
                  unique_by=lambda one: one[0])  # fmt: skip


@given(chances, doubts, st.floats(0, 2))
def test_an_interval_is_as_wide_as_odds_and_value_may_be_off(
    chance: Floats, doubt: list[tuple[int, float]], worth: float
) -> None:
    at, off = np.array(sorted(doubt)).T * [[0.1], [1.0]]
    low, high = Spread(tuple(at), tuple(off), worth).ends(chance, 100 * chance)
    sure = NormalDist().inv_cdf(0.95)
    reach, odds = sure * np.interp(logit(chance), at, off), logit(chance)
    down, up = np.log(chance / expit(odds - reach)), np.log(expit(odds + reach) / chance)
    np.testing.assert_allclose(low, 100 * chance * np.exp(-np.hypot(down, sure * worth)), 1e-6)
    np.testing.assert_allclose(high, 100 * chance * np.exp(np.hypot(up, sure * worth)), 1e-6)


values = st.lists(st.floats(0.01, 1e6), min_size=1, max_size=60).map(np.array)


@given(values)
def test_no_deal_counts_for_more_than_its_share(value: Floats) -> None:
    lead = np.arange(len(value))
    made = tamed(value, lead)
    share = max(MOST_SHARE, LEAST_CAPPED / len(value))
    assert (made <= value).all()
    assert share >= 1 or made.max() <= share * made.sum() * (1 + 1e-9)
    if share >= 1 or value.max() <= share * value.sum():
        assert np.array_equal(made, value)
    assert np.allclose(tamed(1_000 * value, lead), 1_000 * made)


def test_a_text_never_seen_and_a_missing_one_have_an_answer() -> None:
    data = deals(1_000)
    encoder = Encoder.fit(FEATURES, blocks(data))
    won = deals_of(data, encoder)
    assert won is not None
    head = fit_value(won, Recipe(rounds=32), here)
    asked = [(1e3, 40.0, "nowhere"), (None, None, None), (1e12, -1e12, "retail")]
    rows = encoder.matrix(frame_of(FEATURES, asked))
    said = head.mean(rows)
    assert np.isfinite(said).all()
    assert (said > 0).all()
    assert said[2] < 1e4 * np.max(data.value), "far outside of what was seen, the slope ends"
    assert np.array_equal(said, [head.mean(row[None])[0] for row in rows])
