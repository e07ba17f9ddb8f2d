"""The simulated funnel keeps the data contract, and its truth is true."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from sklearn.metrics import roc_auc_score

from features.schema import check
from features.simulate import Simulation, Truth, simulate

WEEK = pd.Timedelta(days=7)
HORIZON = 4 * WEEK
END = pd.Timestamp("2026-07-06", tz="UTC")
TABLES = ("leads", "events", "changes", "outcomes")
INTENT = ("pricing_visit", "form_submit", "reply", "demo_request")


@pytest.fixture(scope="module")
def small() -> Simulation:
    return simulate(leads=3_000)


@pytest.fixture(scope="module")
def full() -> Simulation:
    return simulate()


@pytest.fixture(scope="module")
def matured(full: Simulation) -> pd.DataFrame:
    """The truth's rows whose horizon is over, with what came of them."""
    rows = full.truth.table
    rows = rows[rows["as_of"] + HORIZON <= END].reset_index(drop=True)
    won = full.history.outcomes.query("outcome == 'won'").set_index("lead_id")["occurred_at"]
    at = rows["lead_id"].map(won)
    rows["won"] = ((rows["as_of"] <= at) & (at < rows["as_of"] + HORIZON)).astype(float)
    return rows


def disjoint(rows: pd.DataFrame) -> pd.DataFrame:
    """Every fourth Monday: windows that do not overlap have uncorrelated errors."""
    weeks = (rows["as_of"] - rows["as_of"].min()) // WEEK
    return rows[weeks % 4 == 0]


def z_scores(rows: pd.DataFrame, by: list[pd.Series]) -> pd.Series:
    """How far wins lie from the sum of their true probabilities, in standard errors, by group."""
    p = rows["probability"]
    sums = pd.DataFrame({"error": rows["won"] - p, "variance": p * (1 - p)}).groupby(by).sum()
    return sums["error"] / np.sqrt(sums["variance"])


def seen(history_events: pd.DataFrame, rows: pd.DataFrame, weeks_back: int) -> np.ndarray:
    """Intent touches learned of in the week that ended ``weeks_back`` Mondays before as_of."""
    intent = history_events[history_events["kind"].isin(INTENT)]
    known = intent["known_at"]
    monday = known.dt.normalize() - pd.to_timedelta(known.dt.day_of_week, unit="D")
    counts = intent.groupby([intent["lead_id"], monday + (1 + weeks_back) * WEEK]).size()
    return counts.reindex(pd.MultiIndex.from_frame(rows[["lead_id", "as_of"]])).fillna(0).to_numpy()


def latest(changes: pd.DataFrame, rows: pd.DataFrame, field: str) -> np.ndarray:
    """The field's last value known before as_of."""
    facts = changes.loc[changes["field"] == field, ["lead_id", "known_at", "value"]]
    ordered = rows[["lead_id", "as_of"]].reset_index().sort_values("as_of", kind="stable")
    found = pd.merge_asof(
        ordered, facts, left_on="as_of", right_on="known_at", by="lead_id",
        allow_exact_matches=False,
    )  # fmt: skip
    return found.set_index("index")["value"].reindex(rows.index).to_numpy()


@pytest.mark.parametrize(("leads", "days"), [(3_000, 548), (1, 7)])
def test_tables_keep_the_contract(leads: int, days: int) -> None:
    history = simulate(leads=leads, days=days).history
    for table, key in zip(
        (history.leads, history.events, history.changes, history.outcomes),
        (["lead_id"], ["lead_id", "event_id"], ["lead_id", "change_id"], ["lead_id"]),
        strict=True,
    ):
        assert not table.duplicated(key).any()
        assert table["lead_id"].isin(history.leads["lead_id"]).all()
        assert isinstance(table.index, pd.RangeIndex)
        for name, column in table.items():
            if str(name).endswith("_at"):
                assert column.dtype == "datetime64[us, UTC]"
                assert column.notna().all()
                assert (column < END).all()
            elif column.dtype != "float64":
                assert column.dtype == "str"
            else:
                assert not (column < 0).any()
    required = ["lead_id", "event_id", "kind", "occurred_at", "known_at", "channel", "campaign"]
    assert [*history.events.columns[:8]] == [*required, "value"]
    assert [*history.leads.columns[:3]] == ["lead_id", "created_at", "account_id"]
    assert [*history.changes.columns] == ["lead_id", "change_id", "field", "value", "known_at"]
    outcome = ["lead_id", "outcome", "occurred_at", "known_at", "deal_value", "reason"]
    assert [*history.outcomes.columns] == outcome


def test_check_has_nothing_to_change(small: Simulation) -> None:
    checked = check(*(getattr(small.history, name) for name in TABLES))
    for name in TABLES:
        assert_frame_equal(getattr(checked, name), getattr(small.history, name))


def test_facts_come_in_a_possible_order(small: Simulation) -> None:
    history = small.history
    created = history.leads.set_index("lead_id")["created_at"]
    for table in (history.events, history.outcomes):
        assert (table["occurred_at"] >= table["lead_id"].map(created)).all()
        assert (table["known_at"] >= table["occurred_at"]).all()
    assert (history.changes["known_at"] >= history.changes["lead_id"].map(created)).all()


def test_no_fact_follows_the_outcome(small: Simulation) -> None:
    history = small.history
    closed = history.outcomes.set_index("lead_id")["occurred_at"]
    for table in (history.events, history.changes):
        end = table["lead_id"].map(closed)
        assert not (table["known_at"] >= end).any()


def test_only_won_deals_have_a_value_and_only_lost_ones_a_reason(small: Simulation) -> None:
    outcomes = small.history.outcomes
    won = outcomes["outcome"] == "won"
    assert set(outcomes["outcome"]) == {"won", "lost"}
    assert (outcomes["deal_value"].notna() == won).all()
    assert (outcomes["reason"].notna() == ~won).all()


def test_same_seed_same_tables_and_another_seed_others(small: Simulation) -> None:
    again, other = simulate(leads=3_000), simulate(leads=3_000, seed=8)
    for name in TABLES:
        assert_frame_equal(getattr(small.history, name), getattr(again.history, name))
        assert not getattr(small.history, name).equals(getattr(other.history, name))
    assert_frame_equal(small.truth.table, again.truth.table)


def test_default_size(full: Simulation) -> None:
    assert len(full.history.leads) == 20_000
    assert 1_050_000 <= len(full.history.events) <= 1_250_000
    begin = full.history.leads["created_at"].min()
    assert 530 <= (END - begin).days <= 548


def test_some_events_are_late(full: Simulation) -> None:
    lag = full.history.events["known_at"] - full.history.events["occurred_at"]
    assert 0.03 <= (lag > pd.Timedelta(hours=1)).mean() <= 0.05
    assert lag.quantile(0.999) < pd.Timedelta(days=7)


def test_leads_share_accounts_and_what_the_account_is(full: Simulation) -> None:
    leads = full.history.leads
    shared = leads[leads.duplicated("account_id", keep=False)]
    assert len(shared) >= 0.4 * len(leads)
    firm = shared.groupby("account_id")[["industry", "company_size", "country"]]
    assert (firm.nunique(dropna=False) == 1).all(axis=None)
    assert (shared.groupby("account_id")["source"].nunique() > 1).any()


def test_pipeline_is_bounded_and_ends_with_open_young_leads(full: Simulation) -> None:
    open_leads = full.truth.table.groupby("as_of").size()
    assert open_leads.iloc[20:].max() < 1.3 * open_leads.iloc[20:].min()
    leads = full.history.leads
    still_open = ~leads["lead_id"].isin(full.history.outcomes["lead_id"])
    young = leads["created_at"] >= END - HORIZON
    assert still_open[young].mean() > 0.6
    assert still_open[leads["created_at"] < END - 52 * WEEK].mean() < 0.01


def test_truth_covers_exactly_the_open_leads_of_each_monday(small: Simulation) -> None:
    leads, outcomes = small.history.leads, small.history.outcomes.set_index("lead_id")
    known = leads["lead_id"].map(outcomes["known_at"])
    mondays = pd.date_range(END - 78 * WEEK, END, freq=WEEK, unit="us")
    expected = {
        (lead, monday)
        for monday in mondays
        for lead in leads["lead_id"][(leads["created_at"] < monday) & ~(known < monday)]
    }
    table = small.truth.table
    assert len(table) == len(expected)
    assert set(zip(table["lead_id"], table["as_of"], strict=True)) == expected


def test_probability_is_true_in_every_decile(matured: pd.DataFrame) -> None:
    rows = disjoint(matured)
    decile = pd.qcut(rows["probability"], 10, labels=False)
    assert z_scores(rows, [decile]).abs().max() < 4
    p = rows["probability"]
    brier = ((p - rows["won"]) ** 2).mean()
    assert brier == pytest.approx((p * (1 - p)).mean(), abs=4 * (p * (1 - p)).std() / len(p) ** 0.5)


def test_probability_is_true_in_every_week(matured: pd.DataFrame) -> None:
    assert z_scores(matured, [matured["as_of"]]).abs().max() < 4
    rows = disjoint(matured)
    p = rows["probability"]
    assert abs((rows["won"] - p).sum()) < 4 * np.sqrt((p * (1 - p)).sum())


def test_probability_is_true_under_each_team_whatever_the_uplift(
    full: Simulation, matured: pd.DataFrame
) -> None:
    rows = disjoint(matured)
    team = pd.Series(latest(full.history.changes, rows, "owner_team"), index=rows.index)
    quintile = pd.qcut(rows["uplift"], 5, labels=False)
    scores = z_scores(rows, [team, quintile])
    assert len(scores) == 10
    assert scores.abs().max() < 4


SAME = ["recent", "earlier", "stage", "as_of", "age", "source", "industry", "seniority", "size"]


@pytest.fixture(scope="module")
def observed(full: Simulation) -> pd.DataFrame:
    """The truth's rows beside what anybody could have seen at as_of."""
    rows = full.truth.table
    leads = full.history.leads.set_index("lead_id").loc[rows["lead_id"]].reset_index()
    return rows.assign(
        recent=np.minimum(seen(full.history.events, rows, 0), 3),
        earlier=np.minimum(seen(full.history.events, rows, 1), 3),
        stage=latest(full.history.changes, rows, "stage"),
        team=latest(full.history.changes, rows, "owner_team"),
        age=(rows["as_of"] - leads["created_at"]) // WEEK,
        source=leads["source"],
        industry=leads["industry"],
        seniority=leads["seniority"],
        size=leads["company_size"].fillna(-1),
    )


def differing(rows: pd.DataFrame, column: str, by: list[str]) -> tuple[int, int]:
    """Groups of two rows or more, and how many of them hold more than one value."""
    groups = rows.groupby(by)[column].agg(["size", "min", "max"]).query("size > 1")
    return len(groups), int((groups["max"] - groups["min"] > 1e-12).sum())


def test_truth_is_a_function_of_what_was_visible(observed: pd.DataFrame) -> None:
    alike, apart = differing(observed, "probability", [*SAME, "team"])
    assert alike > 200
    assert apart == 0
    for needed in ("recent", "earlier", "stage", "team"):
        fewer = [name for name in (*SAME, "team") if name != needed]
        assert differing(observed, "probability", fewer)[1] > 0


def test_uplift_is_the_difference_between_leads_that_differ_in_team_alone(
    observed: pd.DataFrame,
) -> None:
    nurtured = observed["team"] == "nurture"
    observed["if_sales"] = observed["probability"] + observed["uplift"] * nurtured
    observed["if_nurture"] = observed["if_sales"] - observed["uplift"]
    both = observed.groupby(SAME)["team"].nunique() == 2
    assert both.sum() > 50
    for column in ("if_sales", "if_nurture"):
        assert differing(observed, column, SAME)[1] == 0


def test_uplift_is_positive_on_average_and_not_for_everyone(full: Simulation) -> None:
    uplift = full.truth.table["uplift"]
    assert 0.01 < uplift.mean() < 0.10
    assert 0.01 < (uplift < 0).mean() < 0.25


def test_both_teams_hold_leads_like_any_other(observed: pd.DataFrame) -> None:
    share = observed.groupby(["source", "stage"])["team"].agg(lambda team: (team == "sales").mean())
    assert share.between(0.05, 0.97).all()
    assert share.max() - share.min() > 0.2


def test_the_ceiling_is_that_of_an_honest_lead_scorer(matured: pd.DataFrame) -> None:
    assert 0.80 < roc_auc_score(matured["won"], matured["probability"]) < 0.83
    assert 0.05 < matured["won"].mean() < 0.12


def test_base_rate_drifts(full: Simulation) -> None:
    first = full.truth.table.sort_values("as_of").drop_duplicates("lead_id")
    quarter = first.groupby((first["as_of"] - first["as_of"].min()) // (13 * WEEK))
    means = quarter["probability"].mean()[quarter.size() > 1_000]
    assert 1.2 < means.max() / means.min() < 2


def test_value_is_the_mean_of_the_deals_won(full: Simulation) -> None:
    outcomes = full.history.outcomes.dropna(subset=["deal_value"])
    last = full.truth.table.drop_duplicates("lead_id").set_index("lead_id")
    expected = outcomes["lead_id"].map(last["value"])
    ratio = outcomes["deal_value"] / expected
    groups = ratio.groupby(pd.qcut(expected, 4, labels=False))
    assert ((groups.mean() - 1).abs() < 4 * groups.sem()).all()
    assert ratio.mean() == pytest.approx(1, abs=4 * ratio.sem())
    assert ratio.max() > 10


def test_at_answers_row_by_row_in_order(small: Simulation) -> None:
    table = small.truth.table
    picked = table.sample(200, random_state=1, replace=True)
    answer = small.truth.at(picked[["lead_id", "as_of"]])
    assert [*answer.columns] == ["probability", "value", "expected_value", "uplift"]
    assert answer.index.equals(picked.index)
    for column in ("probability", "value", "uplift"):
        assert (answer[column] == picked[column]).all()
    assert (answer["expected_value"] == picked["probability"] * picked["value"]).all()


def test_at_refuses_what_it_does_not_know(small: Simulation) -> None:
    row = small.truth.table[["lead_id", "as_of"]].iloc[[0]]
    closed = small.history.outcomes["lead_id"].iloc[:1]
    for spine in (
        row.assign(as_of=row["as_of"] + pd.Timedelta(days=1)),
        row.assign(lead_id="nobody"),
        pd.DataFrame({"lead_id": closed, "as_of": pd.Series([END], dtype="datetime64[us, UTC]")}),
    ):
        with pytest.raises(ValueError, match="open leads"):
            small.truth.at(spine)


def test_written_tables_read_back_the_same(small: Simulation, tmp_path: Path) -> None:
    small.write(tmp_path / "made" / "here")
    for name in TABLES:
        again = pd.read_parquet(tmp_path / "made" / "here" / f"{name}.parquet")
        assert_frame_equal(again, getattr(small.history, name))
    truth = Truth.from_parquet(tmp_path / "made" / "here" / "truth")
    assert_frame_equal(truth.table, small.truth.table)


def test_progress_grows_from_nothing_to_all() -> None:
    heard: list[float] = []
    simulate(leads=10, days=70, progress=heard.append)
    assert heard[0] == 0
    assert heard[-1] == 1
    assert heard == sorted(heard)


def test_the_last_monday_ends_the_history() -> None:
    on_sunday = simulate(leads=50, days=70, end="2026-07-12")
    assert on_sunday.truth.table["as_of"].max() == END
    assert_frame_equal(on_sunday.truth.table, simulate(leads=50, days=70).truth.table)


@pytest.mark.parametrize("size", [{"leads": 0}, {"leads": 10, "days": 6}])
def test_nothing_cannot_be_simulated(size: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least one lead and seven days"):
        simulate(**size)
