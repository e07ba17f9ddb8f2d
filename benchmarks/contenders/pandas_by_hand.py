"""pandas and NumPy as an expert writes them: ``python pandas_by_hand.py <directory> <way>``.

- ``pairs``: merge, filter, group by (row, kind), scatter. Like ours, it lets facts be late.
- ``running``: one sort, running totals, three binary searches; a row gathers the totals at its
  as-of time, a week before, and at its lead's beginning. Running totals have one time axis, so
  every fact must be known the moment it occurs, as in this data.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from rounds import DAY, WEEK, answer

directory = Path(sys.argv[1])
events = pd.read_parquet(directory / "events.parquet")
spine = pd.read_parquet(directory / "spine.parquet")


def pairs() -> pd.DataFrame:
    lead, leads = pd.factorize(events["lead_id"])
    kind, kinds = pd.factorize(events["kind"], sort=True)
    at, known = micros(events["occurred_at"]), micros(events["known_at"])
    facts = pd.DataFrame({"lead": lead, "kind": kind, "at": at, "known": known})
    rows = pd.DataFrame(
        {"lead": leads.get_indexer(spine["lead_id"]), "as_of": micros(spine["as_of"])}
    )
    rows["row"] = np.arange(len(rows))
    both = rows.merge(facts, on="lead")
    both = both[(both["at"] < both["as_of"]) & (both["known"] < both["as_of"])]
    age = (both["as_of"] - both["at"]).to_numpy()
    cell = both["kind"].to_numpy() * len(rows) + both["row"].to_numpy()
    cells = len(kinds) * len(rows)
    oldest, newest = np.full(cells, np.nan), np.full(cells, np.nan)
    found = pd.Series(age).groupby(cell, sort=False).agg(["min", "max"])
    newest[found.index], oldest[found.index] = found["min"] / DAY, found["max"] / DAY
    made = {
        "count": np.bincount(cell, minlength=cells),
        "count7": np.bincount(cell[age <= WEEK], minlength=cells),
        "since_first": oldest,
        "since_last": newest,
    }
    lines = np.vstack([one.reshape(len(kinds), len(rows)) for one in made.values()])
    names = [f"{aggregate}|{name}" for aggregate in made for name in kinds]
    return pd.DataFrame(lines.T, columns=names, copy=False)


def micros(moments: pd.Series) -> np.ndarray:
    return moments.dt.as_unit("us").astype("int64").to_numpy()


def running() -> pd.DataFrame:
    lead, leads = pd.factorize(events["lead_id"])
    kind, kinds = pd.factorize(events["kind"], sort=True)
    at = micros(events["occurred_at"])
    mine = leads.get_indexer(spine["lead_id"])
    as_of = micros(spine["as_of"])
    base = min(at.min(), as_of.min() - WEEK)
    span = max(at.max(), as_of.max()) - base + 1
    key = lead * span + (at - base)
    order = np.argsort(key, kind="stable")
    key, lead, kind, at = key[order], lead[order], kind[order], at[order]
    n, k = len(key), len(kinds)
    total = np.zeros((n + 1, k), dtype=np.int32)
    total[np.arange(1, n + 1), kind] = 1
    np.cumsum(total, axis=0, out=total)
    place = np.lexsort((np.arange(n), kind))  # events by kind, then lead and time
    start = np.searchsorted(key, mine * span)
    now = np.searchsorted(key, mine * span + (as_of - base))
    week = np.searchsorted(key, mine * span + (as_of - WEEK - base))
    before, seen = total[start], total[now]
    count = seen - before
    recent = seen - total[np.maximum(week, start)]
    kind_start = np.concatenate([[0], np.cumsum(np.bincount(kind, minlength=k))[:-1]])
    sorted_at = np.append(at[place], 0)
    first = sorted_at[kind_start + before]
    last = sorted_at[kind_start + seen - 1]
    missing = count == 0
    since_first = (as_of[:, None] - first) / DAY
    since_last = (as_of[:, None] - last) / DAY
    since_first[missing] = np.nan
    since_last[missing] = np.nan
    made = {"count": count, "count7": recent, "since_first": since_first, "since_last": since_last}
    names = [f"{aggregate}|{name}" for aggregate in made for name in kinds]
    return pd.DataFrame(np.hstack(list(made.values())), columns=names, copy=False)


answer(
    {"pairs": pairs, "running": running}[sys.argv[2]], lambda found, path: found.to_parquet(path)
)
