"""Who is at risk when, and what came of it: population, horizon, maturity, value."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.schema import History
from features.source import Population
from features.times import DAY, from_micros, micros

Ints = npt.NDArray[np.int64]

_NEVER, _NAT = np.iinfo(np.int64).max, np.iinfo(np.int64).min
_MONDAY = 4 * DAY  # 1970-01-05


def at_risk(history: History, population: Population, until: int | None = None) -> pd.DataFrame:
    """The spine: one row (lead_id, as_of) for every open lead at every as-of time.

    A lead is open at as_of when ``created_at < as_of`` and none of its outcomes is visible.
    ``population.at`` is ``daily`` or ``weekly`` (midnights UTC, Mondays), ``created`` or
    ``first KIND`` (one microsecond after that fact is known). ``population.after`` delays a lead's
    entry until its first such event is known. ``until`` ends the grid (microseconds, inclusive;
    default: the last moment at which the history learned anything). In the order of time and,
    within it, of the leads in the history.
    """
    end = observed_until(history) if until is None else until
    return _spine(history, *_open_leads(history, population, end))


def cases(history: History, population: Population) -> pd.DataFrame:
    """The spine of :func:`at_risk` with what :func:`label` says of each row.

    And, where leads have accounts, account_id.
    """
    end = observed_until(history)
    lead, as_of = _open_leads(history, population, end)
    labels = _labels(history, population, lead, as_of, end)
    made = pd.concat([_spine(history, lead, as_of), labels], axis=1)
    account = history.leads["account_id"]
    if account.notna().any():
        made["account_id"] = account.iloc[lead].reset_index(drop=True)
    return made


def _spine(history: History, lead: Ints, as_of: Ints) -> pd.DataFrame:
    ids = history.leads["lead_id"].iloc[lead].reset_index(drop=True)
    return pd.DataFrame({"lead_id": ids, "as_of": from_micros(as_of)})


def _open_leads(history: History, population: Population, end: int) -> tuple[Ints, Ints]:
    """The place of each row's lead in the history, and its as_of, in the order of the spine."""
    start = micros(history.leads["created_at"]).copy()
    if population.after is not None:
        start = np.maximum(start, _first_known(history, population.after))
    if population.at in ("daily", "weekly"):
        lead, as_of = _grid(start, settled_at(history), end, population.at)
    else:
        moment = start
        if population.at != "created":
            moment = np.maximum(start, _first_known(history, population.at.removeprefix("first ")))
        open_then = (moment < end) & (moment < settled_at(history))
        lead, as_of = np.flatnonzero(open_then), moment[open_then] + 1
    order = np.argsort(as_of, kind="stable")
    return lead[order], as_of[order]


def observed_until(history: History) -> int:
    """One microsecond after the last moment at which the history learned anything."""
    known = [
        micros(frame[column]).max()
        for frame, column in (
            (history.leads, "created_at"),
            (history.events, "known_at"),
            (history.changes, "known_at"),
            (history.outcomes, "known_at"),
        )
        if len(frame)
    ]
    return int(max(known)) + 1


def settled_at(history: History) -> Ints:
    """For each lead: from when on its first outcome is visible (never: the largest int64)."""
    return _earliest(history, history.outcomes)


def _first_known(history: History, kind: str) -> Ints:
    return _earliest(history, history.events[history.events["kind"] == kind])


def _earliest(history: History, facts: pd.DataFrame) -> Ints:
    seen = np.maximum(micros(facts["occurred_at"]), micros(facts["known_at"]))
    first = pd.Series(seen, index=facts["lead_id"].to_numpy()).groupby(level=0).min()
    return _by_lead(first, history)


def _by_lead(moments: pd.Series, history: History) -> Ints:
    """One moment for each lead, in the order of the leads; never where there is none."""
    found = moments.reindex(history.leads["lead_id"].to_numpy())
    return np.asarray(found.astype("Int64").fillna(_NEVER), dtype=np.int64)


def _grid(start: Ints, settled: Ints, end: int, step: str) -> tuple[Ints, Ints]:
    width, origin = (DAY, 0) if step == "daily" else (7 * DAY, _MONDAY)
    entered = start < end
    first = np.where(entered, (np.where(entered, start, 0) - origin) // width + 1, 0)
    last = (np.minimum(settled, end) - origin) // width
    rows = np.where(entered, np.maximum(last - first + 1, 0), 0)
    lead = np.repeat(np.arange(len(start)), rows)
    step_in_lead = np.arange(len(lead)) - np.repeat(np.cumsum(rows) - rows, rows)
    return lead, (np.repeat(first, rows) + step_in_lead) * width + origin


def label(
    spine: pd.DataFrame, history: History, population: Population, until: int | None = None
) -> pd.DataFrame:
    """What came of each spine row within the horizon; same index as ``spine``.

    - converted: the target outcome occurred in ``[as_of, as_of + horizon)`` and was known before
      ``as_of + horizon + grace``
    - value: its deal value, 0 when not converted, NaN when converted at an unknown value
    - mature: ``as_of + horizon + grace <= until`` (default: what the history observed) and the
      lead was not settled already, unknown to us, at as_of; only mature rows have a label
    - known_at: from when on the label is certain: its lead is settled, and we know, or its horizon
      and grace are over; NaT without a label. A lead that is lost first and reaches the target
      within the horizon is certain then

    Raises ``KeyError`` for a lead that is not in the history.
    """
    end = observed_until(history) if until is None else until
    ids = pd.Index(history.leads["lead_id"])
    lead, as_of = ids.get_indexer(pd.Index(spine["lead_id"])), micros(spine["as_of"])
    if (lead < 0).any():
        raise KeyError(f"lead {spine['lead_id'].iloc[lead.argmin()]!r} is not in the history")
    return _labels(history, population, lead, as_of, end).set_axis(spine.index)


def _labels(
    history: History, population: Population, lead: Ints, as_of: Ints, end: int
) -> pd.DataFrame:
    reached = history.outcomes[history.outcomes["outcome"] == population.target]
    reached = reached.drop_duplicates("lead_id").set_index("lead_id")
    reached = reached.reindex(history.leads["lead_id"])
    occurred, known = (_or_never(reached[name])[lead] for name in ("occurred_at", "known_at"))
    value = reached["deal_value"].to_numpy(dtype=np.float64)[lead]
    close = as_of + population.horizon
    converted = (as_of <= occurred) & (occurred < close) & (known < close + population.grace)
    settled = _first_outcome(history)[lead] < as_of
    certain = np.minimum(settled_at(history)[lead], close + population.grace - 1)
    certain = np.where(converted, np.maximum(certain, np.maximum(occurred, known)), certain) + 1
    return pd.DataFrame(
        {
            "converted": converted,
            "value": np.where(converted, value, 0.0),
            "mature": (close + population.grace <= end) & ~settled,
            "known_at": from_micros(np.where(settled, _NAT, certain)),
        }
    )


def _or_never(times: pd.Series) -> Ints:
    return np.where(times.isna(), _NEVER, micros(times))


def _first_outcome(history: History) -> Ints:
    outcomes = history.outcomes
    first = pd.Series(micros(outcomes["occurred_at"]), index=outcomes["lead_id"].to_numpy())
    return _by_lead(first.groupby(level=0).min(), history)
