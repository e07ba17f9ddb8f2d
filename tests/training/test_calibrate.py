"""A smooth map on the logit: recovered, increasing, at the latest level, dropped when it hurts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from training.calibrate import Calibration, choose, fit, log_loss

DRAW = np.random.default_rng(5)
RAW = DRAW.normal(-1, 1.5, 40_000)
TIME = np.arange(40_000)


@pytest.mark.parametrize(
    ("slope", "shift", "form"), [(0.6, 0.5, "platt"), (1.7, -0.4, "platt"), (1.0, 0.8, "intercept")]
)
def test_the_true_map_is_recovered(slope: float, shift: float, form: str) -> None:
    happened = DRAW.random(len(RAW)) < expit(slope * RAW + shift)
    found = fit(form, RAW, happened)  # type: ignore[arg-type]
    assert found.a == pytest.approx(slope, abs=0.05)
    assert found.c == pytest.approx(shift, abs=0.06)
    chosen = choose(RAW, happened, TIME)
    assert log_loss(chosen(RAW), happened) < log_loss(expit(RAW), happened)


def test_the_three_numbers_of_a_beta_map_are_recovered() -> None:
    happened = DRAW.random(len(RAW)) < Calibration("beta", 1.6, 0.5, 0.7)(RAW)
    found = fit("beta", RAW, happened)
    assert (found.a, found.b, found.c) == pytest.approx((1.6, 0.5, 0.7), abs=0.25)
    assert choose(RAW, happened, TIME).form == "beta"


def test_where_there_is_nothing_to_gain_probabilities_stay() -> None:
    moved = []
    for seed in range(5):
        happened = np.random.default_rng(seed).random(len(RAW)) < expit(RAW)
        moved.append(np.abs(choose(RAW, happened, TIME)(RAW) - expit(RAW)).mean())
    assert np.mean(moved) < 0.0125  # a standard error of the rate of the latest 1,000 outcomes


def test_the_level_follows_the_latest_outcomes() -> None:
    drift = np.linspace(-1.0, 1.0, len(RAW))
    happened = DRAW.random(len(RAW)) < expit(RAW + drift)
    chosen = choose(RAW, happened, TIME, known_at=TIME + 2_000)
    assert chosen.recent == 1_000
    latest = np.arange(len(TIME))[-chosen.recent :]
    assert chosen(RAW[latest]).mean() == pytest.approx(happened[latest].mean(), abs=1e-9)
    assert "latest 1,000 outcomes" in chosen.text


def test_a_level_that_would_come_too_late_is_dropped() -> None:
    """It swings to and fro in the time that an outcome takes."""
    swing = np.sin(TIME / len(TIME) * 2 * np.pi * 10)
    happened = DRAW.random(len(RAW)) < expit(RAW + 1.5 * swing)
    half = len(TIME) // 20
    assert choose(RAW, happened, TIME, known_at=TIME + half).recent == 0


def test_the_level_follows_outcomes_that_are_settled_early() -> None:
    """The rate fell, the horizon of no row since is over, but half of them are settled.

    With as many rows before the fall that weigh double, a third of the way is what can be had.
    """
    horizon, now = 2_000, len(TIME)
    happened = DRAW.random(len(RAW)) < expit(RAW - 1.5 * (now - horizon <= TIME))
    known_at = TIME + np.where(DRAW.random(len(RAW)) < 0.5, horizon // 10, horizon)
    chosen = choose(RAW, happened, TIME, known_at=known_at, now=now)
    cut = TIME + horizon <= now
    stale = choose(RAW[cut], happened[cut], TIME[cut], known_at=known_at[cut], now=now)
    truth = expit(RAW - 1.5)
    assert abs((chosen(RAW) - truth).mean()) < 0.75 * abs((stale(RAW) - truth).mean())


def test_outcomes_of_the_future_are_not_looked_at() -> None:
    happened = DRAW.random(len(RAW)) < expit(RAW)
    known_at, now = TIME + np.where(happened, 500, 2_000), 39_000
    later = known_at > now
    changed = np.where(later, ~happened, happened), np.where(later, np.nan, RAW)
    told = {"known_at": known_at[:now], "now": now}
    first = choose(RAW[:now], happened[:now], TIME[:now], **told)
    assert first == choose(changed[1][:now], changed[0][:now], TIME[:now], **told)
    assert first.recent > 1_000


def test_few_leads_with_many_rows_are_few_outcomes() -> None:
    happened = DRAW.random(len(RAW)) < expit(RAW)
    assert choose(RAW, happened, TIME, lead=TIME // 1_000) == Calibration()


def test_rows_of_one_moment_set_the_level_together() -> None:
    days = TIME // 1_500
    happened = DRAW.random(len(RAW)) < expit(RAW + np.linspace(-1, 1, len(RAW)))
    orders = [np.arange(len(RAW)), DRAW.permutation(len(RAW))]
    first, second = (choose(RAW[o], happened[o], days[o], TIME[o]) for o in orders)
    assert first.recent == second.recent == len(RAW) - 39_000
    assert (first.a, first.c) == pytest.approx((second.a, second.c), abs=1e-6)


def test_few_outcomes_mean_no_map() -> None:
    happened = np.zeros(300, dtype=bool)
    happened[::10] = True
    assert choose(RAW[:300], happened, TIME[:300]) == Calibration()
    assert "none" in Calibration().text


@given(st.floats(0.05, 20), st.floats(0.05, 20), st.floats(-5, 5))
def test_every_map_is_increasing(a: float, b: float, c: float) -> None:
    grid = np.linspace(-30, 30, 301)
    said = Calibration("beta", a, b, c)(grid)
    assert (np.diff(said) >= 0).all()
    assert ((said >= 0) & (said <= 1)).all()


@given(st.integers(0, 1_000), st.floats(0.2, 3), st.floats(-3, 3))
def test_every_chosen_map_is_increasing_and_at_the_observed_rate(
    seed: int, slope: float, shift: float
) -> None:
    draw = np.random.default_rng(seed)
    raw = draw.normal(0, 2, 800)
    happened = draw.random(800) < expit(slope * raw + shift)
    chosen = choose(raw, happened, np.arange(800))
    assert (np.diff(chosen(np.sort(raw))) >= 0).all()
    if chosen.recent:
        assert chosen(raw).mean() == pytest.approx(happened.mean(), abs=1e-9)


def test_a_level_moves_any_map_to_the_observed_rate() -> None:
    happened = DRAW.random(len(RAW)) < 0.03
    for shape in (Calibration(), Calibration("beta", 2.0, 0.3, 1.0), Calibration("platt", 5, 5, 9)):
        moved = shape.at_level(RAW, happened)
        assert moved(RAW).mean() == pytest.approx(happened.mean(), abs=1e-9)
        assert (moved.a, moved.b) == (shape.a, shape.b)
    assert Calibration().at_level(RAW, np.zeros(len(RAW), dtype=bool)) == Calibration()


def test_no_map_is_the_logistic() -> None:
    assert np.allclose(Calibration()(RAW), expit(RAW), rtol=1e-12)
