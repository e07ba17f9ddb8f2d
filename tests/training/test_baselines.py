"""The contenders: by hand where the formula allows it, by behaviour where it does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.baselines import BaseRate, Contender, NaiveBayes, Scorecard
from training.evaluate import auc

CONTENDERS: list[Contender] = [BaseRate(), NaiveBayes(), Scorecard()]

FRAMES = st.lists(
    st.tuples(
        st.one_of(st.just(np.nan), st.floats(-1e12, 1e12)),
        st.sampled_from([0.0, 0.0, 1.0, np.nan]),
        st.sampled_from(["web", "trade fair", "", "NaN", None, "00123"]),
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


def frame(rows: list[tuple[float, float, str | None, bool]]) -> tuple[pd.DataFrame, np.ndarray]:
    columns = {"amount": [r[0] for r in rows], "flag": [r[1] for r in rows]}
    X = pd.DataFrame(columns, dtype=float).assign(
        empty=np.nan, source=pd.Series([r[2] for r in rows], dtype="str")
    )
    return X, np.array([r[3] for r in rows])


def source(*values: str | None) -> pd.DataFrame:
    return pd.DataFrame({"source": pd.Series(values, dtype="str")})


SIX = source("web", "web", "web", "referral", "referral", None)
SIX_WON = np.array([True, False, False, True, True, False])


def test_base_rate_is_the_weighted_mean_with_a_wilson_interval() -> None:
    fitted = BaseRate().fit(SIX[:4], np.array([True, False, False, False]), np.array([1, 1, 1, 5]))
    assert fitted.probability(SIX).tolist() == [0.125] * 6
    low, high = fitted.interval()
    assert 0 < low < 0.125 < high < 1
    # by hand, n = 8, z^2 = 2.705543: (0.125 + 0.169096) / 1.338193 -/+ 0.256094 / 1.338193
    assert (low, high) == pytest.approx((0.02840, 0.41114), abs=1e-5)


def test_more_leads_narrow_the_interval_of_the_base_rate() -> None:
    few = BaseRate().fit(SIX, SIX_WON, np.full(6, 0.5)).interval()
    many = BaseRate().fit(SIX, SIX_WON, np.full(6, 50.0)).interval()
    assert few[0] < many[0] < 0.5 < many[1] < few[1]


def test_base_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        BaseRate().fit(SIX[:0], SIX_WON[:0], np.empty(0))


def test_naive_bayes_by_hand() -> None:
    fitted = NaiveBayes().fit(SIX, SIX_WON, np.ones(6))
    # won: web 1, referral 2; lost: web 2, referral 0; 3 won, 3 lost; 0.1 added to each
    web = (1.1 / 3.2) / (1.1 / 3.2 + 2.1 / 2.2)
    referral = (2.1 / 3.2) / (2.1 / 3.2 + 0.1 / 2.2)
    found = fitted.probability(source("web", "referral", None, "never seen"))
    assert found == pytest.approx([web, referral, 0.5, 0.5])


def test_naive_bayes_multiplies_fields_and_counts_weight() -> None:
    X = SIX.assign(size=[1.0, 1, 9, 1, 9, np.nan])
    fitted = NaiveBayes(bins=2).fit(X, SIX_WON, np.array([2.0, 1, 1, 1, 1, 1]))
    # won weight 4 (web 2, referral 2; size 1: 3, 9: 1), lost 3 (web 2, referral 0; 1: 1, 9: 1);
    won = 4.1 * (2.1 / 4.2) * (1.1 / 4.2)
    lost = 3.1 * (2.1 / 2.2) * (1.1 / 2.2)
    new = source("web").assign(size=[7.0])
    assert fitted.probability(new)[0] == pytest.approx(won / (won + lost))


def test_naive_bayes_bins_numbers_by_quantile() -> None:
    X = pd.DataFrame({"visits": np.arange(100.0)})
    fitted = NaiveBayes().fit(X, np.arange(100) >= 60, np.ones(100))
    found = fitted.probability(pd.DataFrame({"visits": [-5.0, 10, 30, 65, 200]}))
    assert found[0] == found[1] == pytest.approx(found[2])
    assert found[2] < 0.01 < 0.99 < found[3]
    assert len(np.unique(fitted.probability(X).round(9))) <= 5


def test_naive_bayes_stays_off_certainty() -> None:
    X = pd.DataFrame({f"copy {n}": ["yes", "no"] * 50 for n in range(40)}, dtype="str")
    found = NaiveBayes().fit(X, np.arange(100) % 2 == 0, np.ones(100)).probability(X)
    assert (found.min(), found.max()) == (0.0001, 0.9999)


@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda c: c.name)
@settings(max_examples=30)
@given(FRAMES, FRAMES)
def test_any_data_give_a_probability_a_row(contender, seen, new) -> None:
    X, y = frame(seen)
    fresh, _ = frame(new)
    fresh.index = fresh.index + 17
    fitted = contender.fit(X, y, np.ones(len(y)))
    found = fitted.probability(fresh)
    assert found.shape == (len(fresh),)
    assert ((found >= 0) & (found <= 1)).all()
    backwards = fitted.probability(fresh[::-1])[::-1]
    assert backwards == pytest.approx(found)


@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda c: c.name)
def test_a_weight_of_three_is_three_rows(contender: Contender) -> None:
    times = np.array([1, 3, 2, 1, 1, 4])
    weighted = contender.fit(SIX, SIX_WON, times.astype(float)).probability(SIX)
    again = SIX.loc[np.repeat(SIX.index, times)]
    repeated = contender.fit(again, np.repeat(SIX_WON, times), np.ones(12)).probability(SIX)
    assert weighted == pytest.approx(repeated, abs=1e-4)
    assert weighted != pytest.approx(contender.fit(SIX, SIX_WON, np.ones(6)).probability(SIX))


def funnel(rows: int, seed: int) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Frame, conversions and the true probability: heavy-tailed, missing and text columns."""
    draw = np.random.default_rng(seed)
    visits = np.floor(draw.lognormal(1, 1, rows))
    channel = draw.choice(["web", "fair", "referral"], rows)
    unknown = draw.random(rows) < 0.3
    odds = -2 + np.log1p(visits) + 1.5 * (channel == "referral") - unknown
    truth = 1 / (1 + np.exp(-odds))
    X = pd.DataFrame(
        {
            "visits": visits,
            "size": np.where(unknown, np.nan, draw.normal(size=rows)),
            "channel": pd.Series(channel, dtype="str"),
            "noise": draw.normal(size=rows),
        }
    )
    return X, draw.random(rows) < truth, truth


def test_the_scorecard_finds_a_logistic_truth() -> None:
    X, y, _ = funnel(4000, seed=0)
    new, _, truth = funnel(2000, seed=1)
    found = Scorecard().fit(X, y, np.ones(4000)).probability(new)
    assert np.abs(found - truth).mean() < 0.03
    assert np.corrcoef(found, truth)[0, 1] > 0.98


def test_rare_text_is_pooled_with_text_never_seen() -> None:
    common = ["a", "b"] * 100
    rare = [f"rare {n}" for n in range(40)]
    X = source(*common, *rare)
    y = np.array([False, True] * 100 + [True] * 40)
    fitted = Scorecard(levels=2).fit(X, y, np.ones(240))
    never, seldom, a, b = fitted.probability(source("never seen", "rare 7", "a", "b"))
    assert never == seldom
    assert a < 0.25 < 0.75 < min(b, never)


@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda c: c.name)
def test_one_class_gives_a_steady_answer(contender: Contender) -> None:
    X, _, _ = funnel(30, seed=2)
    for y in (np.zeros(30, dtype=bool), np.ones(30, dtype=bool)):
        found = contender.fit(X, y, np.ones(30)).probability(X)
        assert (np.abs(found - y) < 0.02).all()


def test_a_scorecard_without_columns_is_the_base_rate() -> None:
    nothing = pd.DataFrame(index=range(4))
    found = Scorecard().fit(nothing, np.array([True, False, False, False]), np.ones(4))
    assert found.probability(nothing).tolist() == [0.25] * 4


LEAKS = ["Tags", "Lead Quality", "Lead Profile", "Last Activity", "Last Notable Activity"]
IDS = ["Prospect ID", "Lead Number", "Unnamed: 37", "Converted"]


@pytest.mark.parametrize(
    ("contender", "low", "high"),
    [(NaiveBayes(), 0.80, 0.87), (Scorecard(), 0.84, 0.90)],
    ids=["naive Bayes", "scorecard"],
)
def test_on_real_leads(data: Path, contender: Contender, low: float, high: float) -> None:
    leads = pd.read_csv(data / "xeducation" / "Leads.csv.gz").sort_values("Lead Number")
    leaks = [*LEAKS, *IDS, *leads.columns[leads.columns.str.startswith("Asymm")]]
    X, y = leads.drop(columns=leaks).replace("Select", np.nan), leads["Converted"].to_numpy(bool)
    first = len(X) * 7 // 10
    fitted = contender.fit(X[:first], y[:first], np.ones(first))
    found = auc(y[first:], fitted.probability(X[first:]))
    assert found is not None
    assert low < found < high
