"""A smooth map on the logit: recovered, increasing, dropped when it does not help."""

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


def test_a_calibrated_model_is_left_alone_or_nearly() -> None:
    happened = DRAW.random(len(RAW)) < expit(RAW)
    chosen = choose(RAW, happened, TIME)
    assert np.abs(chosen(RAW) - expit(RAW)).max() < 0.03


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


def test_no_map_is_the_logistic() -> None:
    assert np.allclose(Calibration()(RAW), expit(RAW), rtol=1e-12)
