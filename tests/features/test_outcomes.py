"""Who is at risk, and what came of it, against an obvious reading."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.outcomes import at_risk, label, observed_until
from features.schema import History
from features.source import Population
from features.times import DAY, from_micros, micros
from tests.histories import START, frame

WEEKLY = Population(at="weekly", after=None, horizon=14 * DAY, grace=0, target="won")
MONDAY = START // (7 * DAY) * 7 * DAY + 4 * DAY
MOMENTS = st.one_of(
    st.integers(0, 60).map(lambda day: MONDAY + day * DAY),
    st.integers(0, 60 * DAY).map(lambda shift: MONDAY + shift),
)


def history(leads: list[Any], outcomes: list[Any], events: list[Any] | None = None) -> History:
    leads = [{"account_id": None, **lead} for lead in leads]
    outcomes = [{"reason": None, **outcome} for outcome in outcomes]
    events = [{"known_at": event["occurred_at"], **event} for event in events or []]
    return History(
        leads=frame(leads, "lead_id", "created_at", "account_id"),
        events=frame(events, "lead_id", "event_id", "kind", "occurred_at", "known_at"),
        changes=frame([], "lead_id", "change_id", "field", "value", "known_at"),
        outcomes=frame(
            outcomes, "lead_id", "outcome", "occurred_at", "known_at", "deal_value", "reason"
        ),
    )


@st.composite
def settled(draw: st.DrawFn) -> History:
    """Leads, some won or lost, some outcomes known late."""
    leads, outcomes = [], []
    for number in range(draw(st.integers(1, 5))):
        created = draw(MOMENTS)
        leads.append({"lead_id": str(number), "created_at": created})
        for name in draw(st.sampled_from([[], ["won"], ["lost"], ["won", "lost"]])):
            occurred = max(created, draw(MOMENTS))
            late = draw(st.sampled_from([0, 0, DAY, 9 * DAY]))
            worth = draw(st.one_of(st.none(), st.floats(1, 1e6)))
            outcomes.append(
                {
                    "lead_id": str(number),
                    "outcome": name,
                    "occurred_at": occurred,
                    "known_at": occurred + late,
                    "deal_value": worth,
                }
            )
    return history(leads, outcomes)


def rows(table: pd.DataFrame) -> list[tuple[str, int]]:
    return list(zip(table["lead_id"], micros(table["as_of"]).tolist(), strict=True))


@pytest.mark.parametrize(("at", "step"), [("weekly", 7 * DAY), ("daily", DAY)])
@settings(max_examples=200)
@given(settled())
def test_every_open_lead_is_at_risk_at_every_grid_point(at: str, step: int, made: History) -> None:
    end, expected = observed_until(made), []
    for lead, created in zip(made.leads["lead_id"], micros(made.leads["created_at"]), strict=True):
        grid = range(MONDAY - 7 * DAY, end + 1, step)
        open_then = [t for t in grid if created < t <= end and not _visible(made, lead, t)]
        expected += [(lead, as_of) for as_of in open_then]
    expected.sort(key=lambda row: row[1])  # stable: leads stay in the order of the history
    assert rows(at_risk(made, replace(WEEKLY, at=at))) == expected


def _visible(made: History, lead: str, as_of: int) -> bool:
    mine = made.outcomes[made.outcomes["lead_id"] == lead]
    return bool(((micros(mine["occurred_at"]) < as_of) & (micros(mine["known_at"]) < as_of)).any())


@settings(max_examples=300)
@given(settled(), st.sampled_from([0, DAY, 10 * DAY]))
def test_labels_are_read_off_the_horizon(made: History, grace: int) -> None:
    population = replace(WEEKLY, grace=grace)
    spine = at_risk(made, population)
    found = label(spine, made, population)
    end = observed_until(made)
    for (lead, as_of), (_, row) in zip(rows(spine), found.iterrows(), strict=True):
        close = as_of + population.horizon
        mine = made.outcomes[made.outcomes["lead_id"] == lead]
        occurred = micros(mine["occurred_at"])
        won = (mine["outcome"] == "won") & (as_of <= occurred) & (occurred < close)
        won &= micros(mine["known_at"]) < close + grace
        assert row["converted"] == won.any()
        assert row["mature"] == (close + grace <= end and not (occurred < as_of).any())
        worth = mine.loc[won, "deal_value"].iloc[0] if won.any() else 0.0
        assert row["value"] == worth or (pd.isna(worth) and pd.isna(row["value"]))


@settings(max_examples=300)
@given(settled(), st.sampled_from([0, 10 * DAY]), st.integers(0, 120 * DAY))
def test_a_label_that_is_certain_stays(made: History, grace: int, passed: int) -> None:
    """What a history says that was cut at a moment, of every label that is certain by then."""
    population, moment = replace(WEEKLY, grace=grace), MONDAY + passed
    spine = at_risk(made, population)
    found = label(spine, made, population)
    close = micros(spine["as_of"]) + population.horizon + grace
    known_at = found["known_at"]
    assert (micros(known_at[found["mature"]]) <= close[found["mature"]]).all()
    certain = known_at.notna().to_numpy() & (known_at <= from_micros([moment])[0]).to_numpy()
    rows, then = spine[certain], made.until(moment)
    same = label(rows, then, population, until=moment)
    assert same["converted"].equals(found.loc[certain, "converted"])
    over, shown = close[certain] <= moment, [_visible(then, *row) for row in at(rows, moment)]
    assert (over | np.array(shown, dtype=bool)).all()


def at(table: pd.DataFrame, moment: int) -> list[tuple[str, int]]:
    return [(lead, moment) for lead in table["lead_id"]]


def test_the_horizon_is_half_open_to_the_microsecond() -> None:
    def converted(occurred: int) -> bool:
        won = {"lead_id": "a", "outcome": "won", "occurred_at": occurred, "known_at": occurred,
               "deal_value": 5.0}  # fmt: skip
        made = history([{"lead_id": "a", "created_at": MONDAY - 1}], [won])
        spine = pd.DataFrame({"lead_id": ["a"], "as_of": from_micros([MONDAY])})
        return bool(label(spine, made, WEEKLY)["converted"].iloc[0])

    assert not converted(MONDAY - 1)
    assert converted(MONDAY)
    assert converted(MONDAY + WEEKLY.horizon - 1)
    assert not converted(MONDAY + WEEKLY.horizon)


def test_a_lead_enters_after_its_first_declared_event() -> None:
    leads = [{"lead_id": "a", "created_at": MONDAY}, {"lead_id": "b", "created_at": MONDAY}]
    first = {"lead_id": "a", "event_id": "1", "kind": "offer", "occurred_at": MONDAY + 8 * DAY}
    late = {"lead_id": "a", "event_id": "2", "kind": "end", "occurred_at": MONDAY + 21 * DAY}
    made = history(leads, [], [first, late])
    after = replace(WEEKLY, after="offer")
    assert rows(at_risk(made, after)) == [("a", MONDAY + 14 * DAY), ("a", MONDAY + 21 * DAY)]
    at_offer = replace(WEEKLY, at="first offer")
    assert rows(at_risk(made, at_offer)) == [("a", MONDAY + 8 * DAY + 1)]
    at_creation = replace(WEEKLY, at="created")
    assert rows(at_risk(made, at_creation)) == [("a", MONDAY + 1), ("b", MONDAY + 1)]
