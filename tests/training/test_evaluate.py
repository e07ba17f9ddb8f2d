"""Measures against scikit-learn and against what can be worked out by hand; intervals by lead."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from training.evaluate import (
    SHARES,
    Estimate,
    Outcomes,
    Predictions,
    auc,
    evaluate,
    measure,
    reliability,
    wilson,
)

ROWS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]), st.booleans()), min_size=1
)


def outcomes(converted: Any, lead: Any = None, value: Any = None) -> Outcomes:
    won = np.asarray(converted, dtype=bool)
    leads = np.arange(len(won)) if lead is None else np.asarray(lead)
    known = None if value is None else np.asarray(value, dtype=float)
    return Outcomes(leads.astype(str).astype(object), np.arange(len(won)), won, known)


def said(probability: Any, value: Any = None, name: str = "model") -> Predictions:
    expected = None if value is None else np.asarray(value, dtype=float)
    return Predictions(name, np.asarray(probability, dtype=float), expected)


def funnel(leads: int, rows: int, seed: int) -> tuple[Outcomes, Predictions]:
    """Leads of ``rows`` rows each, one outcome a lead, true probabilities."""
    draw = np.random.default_rng(seed)
    probability = draw.beta(2, 4, leads)
    won = draw.random(leads) < probability
    value = np.where(won, draw.lognormal(8, 1, leads), 0.0)
    lead = np.arange(leads).repeat(rows)
    truth = said(probability.repeat(rows), probability.repeat(rows))
    return outcomes(won.repeat(rows), lead, value.repeat(rows)), truth


@given(ROWS)
def test_measures_equal_scikit_learn(rows: list[tuple[float, bool]]) -> None:
    probability, won = np.array([p for p, _ in rows]), np.array([w for _, w in rows])
    found = measure(outcomes(won), said(probability))
    assert found["brier"] == pytest.approx(metrics.brier_score_loss(won, probability, pos_label=1))
    certain = np.clip(np.where(won, probability, 1 - probability), 1e-15, 1)
    assert found["log_loss"] == pytest.approx(-np.log(certain).mean())
    if won.all() or not won.any():
        assert found["auc"] is None
    else:
        assert found["auc"] == pytest.approx(metrics.roc_auc_score(won, probability))
        assert auc(won, probability * 7 - 3) == pytest.approx(found["auc"])


def test_log_loss_equals_scikit_learn_inside_the_open_interval() -> None:
    truth, model = funnel(500, 1, seed=1)
    found = measure(truth, model)
    assert found["log_loss"] == pytest.approx(metrics.log_loss(truth.converted, model.probability))


@given(ROWS, st.randoms())
def test_the_order_of_rows_changes_no_measure(rows: list[tuple[float, bool]], draw: Any) -> None:
    other = rows.copy()
    draw.shuffle(other)

    def measured(these: list[tuple[float, bool]]) -> dict[str, float | None]:
        scores, won = [p for p, _ in these], [w for _, w in these]
        value = [3.0 * w for w in won]
        return measure(outcomes(won, value=value), said(scores, scores), capacity=0.3)

    for name, value in measured(rows).items():
        assert measured(other)[name] == pytest.approx(value), name


def test_lift_and_value_by_hand() -> None:
    won = [True, False, True, False, False, False, False, False, False, False]
    value = [100.0, 0, 300, 0, 0, 0, 0, 0, 0, 0]
    scores = [0.9, 0.8, 0.7, *[0.1] * 7]
    found = measure(outcomes(won, value=value), said(scores, scores), capacity=0.2)
    assert found["lift"] == pytest.approx(0.5 / 0.2)
    assert found["value_at_capacity"] == pytest.approx(0.25)


def test_tied_rows_at_the_cut_count_in_proportion() -> None:
    constant = said([0.5] * 10, [1.0] * 10)
    truth = outcomes([True] * 3 + [False] * 7, value=[9.0, 1, 1] + [0.0] * 7)
    found = measure(truth, constant, capacity=0.15)
    assert found["lift"] == pytest.approx(1.0)
    assert found["value_at_capacity"] == pytest.approx(0.15)
    assert found["auc"] == 0.5


@given(st.lists(st.floats(0, 100), min_size=2, max_size=30), st.floats(0.05, 1), st.randoms())
def test_no_order_holds_more_value_than_the_oracle(
    values: list[float], capacity: float, draw: Any
) -> None:
    truth = outcomes([v > 0 for v in values], value=values)
    flat = [0.5] * len(values)
    guess = [draw.random() for _ in values]
    best = measure(truth, said(flat, values), capacity)["value_at_capacity"]
    other = measure(truth, said(flat, guess), capacity)["value_at_capacity"]
    if best is None or other is None:
        assert sum(values) == 0
    else:
        assert other <= best + 1e-9


def test_oracle_curve_is_above_every_other_and_all_reach_one() -> None:
    truth, model = funnel(400, 2, seed=3)
    found = evaluate(truth, [model], main="model")
    assert set(found.value) == {"model", "model, by probability", "oracle"}
    for curve in (*found.value.values(), *found.gain.values()):
        assert curve[0] == 0
        assert curve[-1] == pytest.approx(1)
        assert (np.diff(curve) >= -1e-12).all()
        assert len(curve) == len(SHARES)
    assert (found.value["oracle"] >= found.value["model"] - 1e-12).all()
    at = found.measures["model"]["value_at_capacity"].value
    assert np.interp(0.2, SHARES, found.value["model"]) == pytest.approx(at)


def test_calibration_error_of_a_perfect_model_is_zero() -> None:
    rates = np.linspace(0, 1, 11)[:10]
    probability = rates.repeat(100)
    won = np.concatenate([np.arange(100) < round(100 * rate) for rate in rates])
    found = measure(outcomes(won), said(probability))
    assert found["calibration_error"] == pytest.approx(0, abs=1e-12)
    shifted = measure(outcomes(won), said(probability + 0.05))
    assert shifted["calibration_error"] == pytest.approx(0.05)


def test_reliability_table_by_hand() -> None:
    truth = outcomes([False, True, True, True])
    low, high = reliability(truth, np.array([0.2, 0.2, 0.8, 0.8]))
    assert (low.rows, low.leads, low.predicted, low.observed) == (2, 2, 0.2, 0.5)
    assert (high.predicted, high.observed, high.high) == (0.8, 1.0, 1.0)
    assert (high.low, high.high) == wilson(1.0, 2, 0.95)


def test_a_band_never_counts_more_than_the_leads() -> None:
    won = [True, False] * 19 + [True, True]
    (line,) = reliability(outcomes(won, np.arange(20).repeat(2)), np.full(40, 0.5))
    assert (line.low, line.high) == wilson(21 / 40, 20)


def test_wilson_against_the_published_example() -> None:
    # Newcombe (1998), Statistics in Medicine 17, table I: 81 of 263, 95 %.
    assert wilson(81 / 263, 263, 0.95) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_reliability_bands_hold_together() -> None:
    missed = 0
    for seed in range(100):
        truth, model = funnel(600, 3, seed)
        table = reliability(truth, model.probability)
        missed += any(not line.low <= line.predicted <= line.high for line in table)
    assert missed <= 18  # 10 expected; binomial, 99 %


@pytest.mark.parametrize("copies", [2, 7])
def test_copies_of_rows_narrow_nothing(copies: int) -> None:
    truth, model = funnel(150, 2, seed=5)
    worse = said(np.clip(model.probability + 0.1, 0, 1), name="worse")
    once = evaluate(truth, [model, worse], main="model")
    again = evaluate(
        Outcomes(
            *(np.repeat(c, copies) for c in (truth.lead_id, truth.as_of, truth.converted)),
            value=np.repeat(truth.value, copies),
        ),
        [
            said(np.repeat(c.probability, copies), np.repeat(model.expected_value, copies), c.name)
            for c in (model, worse)
        ],
        main="model",
    )
    for name, estimate in once.measures["model"].items():
        assert _numbers(again.measures["model"][name]) == pytest.approx(_numbers(estimate)), name
    assert again.differences["worse"]["auc"].error == pytest.approx(
        once.differences["worse"]["auc"].error
    )
    for a, b in zip(once.reliability, again.reliability, strict=True):
        assert (a.leads, a.low, a.high) == pytest.approx((b.leads, b.low, b.high))


def _numbers(estimate: Estimate) -> list[float]:
    parts = (estimate.value, estimate.low, estimate.high, estimate.error)
    return [math.nan if part is None else part for part in parts] if parts[0] is not None else []


@pytest.mark.parametrize("name", ["auc", "log_loss", "brier", "lift", "value_at_capacity"])
def test_intervals_cover_the_truth(name: str) -> None:
    truth, model = funnel(40_000, 1, seed=99)
    goal = measure(truth, model)[name]
    covered = 0
    for seed in range(60):
        sample, model = funnel(250, 3, seed)
        estimate = evaluate(sample, [model], main="model", replicates=100).measures["model"][name]
        assert estimate.low is not None
        covered += estimate.low <= goal <= estimate.high
    assert 46 <= covered <= 60  # 54 expected; binomial, 99.5 %, and small-sample bias


def test_intervals_by_row_would_be_too_narrow() -> None:
    truth, model = funnel(200, 10, seed=7)
    by_row = replace(truth, lead_id=np.arange(2000).astype(str))
    wide = evaluate(truth, [model], main="model").measures["model"]["auc"].error
    narrow = evaluate(by_row, [model], main="model").measures["model"]["auc"].error
    assert wide == pytest.approx(narrow * math.sqrt(10), rel=0.25)


def test_a_contender_differs_from_itself_by_exactly_nothing() -> None:
    truth, model = funnel(100, 3, seed=8)
    twin = replace(model, name="twin")
    found = evaluate(truth, [model, twin], main="model")
    for estimate in found.differences["twin"].values():
        assert estimate == Estimate(0.0, 0.0, 0.0, 0.0)


def test_paired_differences_are_sharper_than_the_measures() -> None:
    truth, model = funnel(500, 2, seed=9)
    blurred = np.clip(model.probability + np.random.default_rng(0).normal(0, 0.05, 1000), 0.01, 1)
    found = evaluate(truth, [model, said(blurred, name="blurred")], main="model")
    difference, alone = found.differences["blurred"]["auc"], found.measures["model"]["auc"]
    assert difference.value == pytest.approx(
        alone.value - found.measures["blurred"]["auc"].value, abs=1e-12
    )
    assert difference.error < alone.error / 2
    assert difference.low > 0


def test_the_seed_decides_the_intervals() -> None:
    truth, model = funnel(80, 2, seed=10)
    first, again, other = (
        evaluate(truth, [model], main="model", seed=seed).to_json() for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_coverage_of_the_deal_value_among_won() -> None:
    truth = outcomes([True] * 4 + [False] * 2, value=[10, 20, 30, math.nan, 0, 0])
    model = Predictions(
        "model", np.full(6, 0.5), None, np.array([5, 25, 30, 0, 9, 9]), np.full(6, 35.0)
    )
    assert measure(truth, model)["value_coverage"] == pytest.approx(2 / 3)


def test_won_rows_of_unknown_value_are_left_out_of_the_value_measures() -> None:
    won = [True, True, False, False, False]
    scores = [0.9, 0.8, 0.7, 0.6, 0.5]
    some = measure(outcomes(won, value=[math.nan, 5, 0, 0, 0]), said(scores, scores), 0.25)
    without = measure(outcomes(won[1:], value=[5, 0, 0, 0]), said(scores[1:], scores[1:]), 0.25)
    assert some["value_at_capacity"] == without["value_at_capacity"] == 1.0


VALUES = [None, [math.nan] * 3, [0.0] * 3]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("won", [[True] * 3, [False] * 3, [True, False, True]])
def test_degenerate_data_give_none_and_never_raise(value: Any, won: list[bool]) -> None:
    model = said([0.2, 0.2, 1.0], [1, 2, 3])
    found = evaluate(outcomes(won, value=value), [model], main="model")
    measures = found.measures["model"]
    assert measures["value_at_capacity"] == measures["value_coverage"] == Estimate(None)
    assert found.value == {}
    assert (measures["auc"].value is None) == (len(set(won)) == 1)
    assert (found.gain == {}) == (not any(won))
    json.dumps(found.to_json(), allow_nan=False)


def test_one_lead_has_measures_and_no_intervals() -> None:
    found = evaluate(outcomes([True, False], ["a", "a"]), [said([0.9, 0.1])], main="model")
    assert found.measures["model"]["auc"] == Estimate(1.0)


def test_evaluation_counts_and_json() -> None:
    truth, model = funnel(50, 2, seed=11)
    found = evaluate(truth, [model, said([0.3] * 100, name="flat")], main="model", capacity=0.1)
    plain = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert (plain["rows"], plain["leads"], plain["period"]) == (100, 50, [0, 99])
    assert plain["conversions"] == truth.converted.sum()
    assert plain["positive_rate"] == pytest.approx(truth.converted.mean())
    assert np.sum(plain["scores"]) == 100
    assert np.sum(plain["scores"][1]) == plain["conversions"]
    assert sum(line["rows"] for line in plain["reliability"]) == 100
    assert plain["measures"]["flat"]["auc"]["value"] == 0.5
    assert set(plain["differences"]) == {"flat"}
    assert set(plain["value"]) == {"model", "model, by probability", "oracle"}


@pytest.mark.parametrize(
    ("truth", "contenders", "main", "capacity", "why"),
    [
        (outcomes([]), [said([])], "model", 0.2, "no test rows"),
        (outcomes([True]), [said([0.5, 0.5])], "model", 0.2, "2 values for 1 rows"),
        (outcomes([True]), [said([math.nan])], "model", 0.2, "between 0 and 1"),
        (outcomes([True]), [said([1.2])], "model", 0.2, "between 0 and 1"),
        (outcomes([True]), [said([0.5], [math.inf])], "model", 0.2, "finite"),
        (outcomes([True]), [said([0.5]), said([0.5])], "model", 0.2, "own name"),
        (outcomes([True]), [said([0.5])], "other", 0.2, "one of the contenders"),
        (outcomes([True]), [said([0.5])], "model", 0.0, "capacity"),
        (outcomes([True], value=[1.0, 2.0]), [said([0.5])], "model", 0.2, "value: 2 values"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(
    truth: Outcomes, contenders: list[Predictions], main: str, capacity: float, why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        evaluate(truth, contenders, main=main, capacity=capacity)
