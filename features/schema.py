"""The data contract: four tables, their columns, and one gathered error for every breach."""

from __future__ import annotations

import re
import zoneinfo
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.breaches import Breach as Breach
from features.breaches import ContractError as ContractError
from features.breaches import breach, nearest
from features.columns import (
    Mask,
    empty,
    is_number,
    is_text,
    plain,
    read_numbers,
    read_text,
    read_times,
)
from features.times import duration, from_micros

TABLES: dict[str, dict[str, str]] = {
    "leads": {"lead_id": "id", "created_at": "time", "account_id": "id?"},
    "events": {
        "lead_id": "id", "event_id": "key?", "kind": "text", "occurred_at": "time",
        "known_at": "time?", "channel": "text?", "campaign": "text?", "value": "amount?",
    },
    "changes": {
        "lead_id": "id", "change_id": "key?", "field": "text", "value": "text?", "known_at": "time",
    },
    "outcomes": {
        "lead_id": "id", "outcome": "text", "occurred_at": "time", "known_at": "time?",
        "deal_value": "amount?", "reason": "text?",
    },
}  # fmt: skip
"""What each column holds; "?" marks what may be missing. A key that no row has is made here."""

_KEYS = {
    "leads": ["lead_id"],
    "events": ["lead_id", "event_id"],
    "changes": ["lead_id", "change_id"],
    "outcomes": ["lead_id", "outcome"],
}
_RESERVED = {"as_of", "created_at", "occurred_at", "known_at", "lead_id", "event_id", "change_id"}


@dataclass(frozen=True, eq=False)
class History:
    """Four checked tables; times are ``datetime64[us, UTC]``, ids and text pandas ``str``.

    Numeric attributes and properties are float64 (missing: NaN), text ones ``str`` (missing: NaN).

    - leads: lead_id, created_at, account_id; then attributes known at creation
    - events: lead_id, event_id, kind, occurred_at, known_at, channel, campaign, value;
      then properties
    - changes: lead_id, change_id, field, value (text), known_at
    - outcomes: lead_id, outcome, occurred_at, known_at, deal_value, reason

    All the named columns are present in every history, missing values as NaN.
    Keys: leads by lead_id, events by (lead_id, event_id), changes by (lead_id, change_id).
    """

    leads: pd.DataFrame
    events: pd.DataFrame
    changes: pd.DataFrame
    outcomes: pd.DataFrame

    def until(self, moment: int) -> History:
        """What was known before ``moment`` (microseconds), of the leads created before it."""
        limit = from_micros([moment])[0]
        leads = self.leads[self.leads["created_at"] < limit]

        def known(frame: pd.DataFrame) -> pd.DataFrame:
            told = (frame["known_at"] < limit) & frame["lead_id"].isin(leads["lead_id"])
            return frame[told].reset_index(drop=True)

        return History(
            leads.reset_index(drop=True),
            known(self.events),
            known(self.changes),
            known(self.outcomes),
        )


def check(
    leads: pd.DataFrame,
    events: pd.DataFrame | None = None,
    changes: pd.DataFrame | None = None,
    outcomes: pd.DataFrame | None = None,
    *,
    timezone: str = "UTC",
    lag: str = "0s",
    numeric: Mapping[str, Collection[str]] | None = None,
    targets: Collection[str] = ("won", "lost"),
    quarantine: Path | None = None,
) -> History:
    """Check raw tables against the contract and bring them to its types, in the order given.

    Times are ISO 8601 text or datetimes; one without an offset is local to ``timezone``. A missing
    ``known_at`` of events and outcomes is ``occurred_at + lag``. The empty string is missing; the
    words None, NULL and nan are text. Extra columns of leads and events become attributes and
    properties: float64 where typed as numbers or named in ``numeric`` (table -> columns), else
    text; booleans become ``true`` and ``false``. Where no row has an id, events and changes are
    numbered in the order of the table (so a repeated row is a second event); with ids, a row
    delivered twice is kept once. A lead has at most one outcome of each of ``targets``.

    Raises :class:`ContractError` with every breach, rows counted from 1 (by the index where it
    holds unique whole numbers, so that a filtered frame still names the rows of its file). With a
    ``quarantine`` directory, breaching rows (the later, of two that contradict each other) and the
    facts of leads so lost are written to ``<directory>/<table>.csv`` behind a column ``reasons``,
    and the rest goes on; breaches of a whole table, or no lead left, still raise.

    Raises ``ValueError`` for an unknown time zone, a bad ``lag`` or a target that is not one
    lower-case word, ``FileExistsError`` when a quarantine file would replace some other file.
    """
    if timezone not in zoneinfo.available_timezones():
        raise ValueError(f"{timezone!r} is not a time zone: write a name such as Europe/Berlin")
    for target in targets:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", target):
            raise ValueError(f"target {target!r} is not one lower-case word")
    given = {"leads": leads, "events": events, "changes": changes, "outcomes": outcomes}
    tables = {
        name: _Table(name, pd.DataFrame(columns=list(TABLES[name])) if frame is None else frame)
        for name, frame in given.items()
    }
    for name, table in tables.items():
        table.read(timezone, delay(lag), set((numeric or {}).get(name, ())))
    if "outcome" in tables["outcomes"].made:
        outcome = tables["outcomes"].made["outcome"]
        unknown = (outcome.notna() & ~outcome.isin(list(targets))).to_numpy()
        hint = f"declared are {', '.join(targets)}: "
        tables["outcomes"].refuse("unknown-outcome", "outcome", unknown, hint)
    for table in tables.values():
        table.drop_repeats()
    _check_leads(tables)
    breaches = [one for table in tables.values() for one in table.breaches]
    whole = not tables["leads"].good.any() or any(one.row is None for one in breaches)
    if breaches and (quarantine is None or whole):
        raise ContractError(one for one in breaches if one.code != "quarantined-lead")
    if quarantine is not None:
        for table in tables.values():
            table.write_refused(Path(quarantine))
    return History(**{name: table.checked() for name, table in tables.items()})


def delay(text: str) -> int:
    """Microseconds of a duration that may be zero: ``"0s"``, ``"36h"``; else ``ValueError``."""
    return 0 if re.fullmatch(r"0+(us|s|m|h|d|w)", text.strip()) else duration(text)


def _check_leads(tables: dict[str, _Table]) -> None:
    """Every fact has its lead, and no outcome comes before it."""
    leads = tables["leads"]
    if "lead_id" not in leads.made:
        return
    ids = leads.made["lead_id"]
    known = pd.Index(ids.dropna().unique())
    healthy = np.zeros(len(known) + 1, dtype=bool)  # the last place is nobody's
    healthy[known.get_indexer(ids[leads.kept])] = True
    for table in (tables["events"], tables["changes"], tables["outcomes"]):
        if "lead_id" in table.made:
            lead = table.made["lead_id"]
            place = known.get_indexer(lead)
            table.refuse("unknown-lead", "lead_id", (place < 0) & lead.notna().to_numpy())
            table.refuse("quarantined-lead", "lead_id", (place >= 0) & ~healthy[place])
    outcomes = tables["outcomes"]
    if "created_at" in leads.made and {"lead_id", "occurred_at"} <= outcomes.made.keys():
        created = pd.Series(leads.made["created_at"][leads.kept].array, index=ids[leads.kept])
        before = (
            outcomes.made["occurred_at"].array < created.reindex(outcomes.made["lead_id"]).array
        )
        outcomes.refuse("outcome-before-creation", "occurred_at", np.asarray(before))


class _Table:
    """One table on its way through the checks.

    ``raw`` is what came, ``made`` its columns in the types of the contract, ``good`` the rows
    without a breach, ``kept`` those of them that are not delivered a second time.
    """

    def __init__(self, name: str, frame: pd.DataFrame) -> None:
        self.name = name
        self.columns = [str(column) for column in frame.columns]
        self.raw = frame.set_axis(self.columns, axis=1).reset_index(drop=True)
        self.raw = self.raw.loc[:, ~self.raw.columns.duplicated()]
        self.rows = _row_numbers(frame.index)
        self.good = np.ones(len(frame), dtype=bool)
        self.kept = self.good
        self.made: dict[str, pd.Series] = {}
        self.breaches: list[Breach] = []

    def refuse(self, code: str, field: str, rows: Mask, hint: str = "") -> None:
        """Record a breach for each of the rows."""
        places = np.flatnonzero(rows)
        if len(places) == 0:
            return
        self.good[places] = False
        values = self.raw[field].iloc[places]
        values = values.astype(object).where(values.notna() & (values != ""), None)
        self.breaches += [
            breach(code, self.name, field, value, int(row), hint)
            for row, value in zip(self.rows[places], values, strict=True)
        ]

    def refuse_all(
        self, code: str, field: str | None = None, hint: str = "", value: object = None
    ) -> None:
        """Record a breach of the whole table."""
        self.breaches.append(breach(code, self.name, field, value, hint=hint))

    def read(self, timezone: str, lag: int, numeric: set[str]) -> None:
        """Bring every column to its type; make the ids and times that no row has."""
        contract = TABLES[self.name]
        extra = self._check_columns(contract, numeric)
        if self.name == "leads" and len(self.raw) == 0:
            self.refuse_all("empty-table")
        for field, role in contract.items():
            if field in self.raw:
                self._read_column(field, role, timezone)
            elif role.endswith("?"):
                self.made[field] = empty(role, len(self.raw))
        for field in extra:
            number = field in numeric or is_number(plain(self.raw[field]))
            self._read_column(field, "number?" if number else "text?", timezone)
        if {"occurred_at", "known_at"} <= self.made.keys():
            occurred, known = self.made["occurred_at"], self.made["known_at"]
            self.refuse("known-before-occurred", "known_at", (known < occurred).to_numpy())
            self.made["known_at"] = known.fillna(occurred + pd.Timedelta(lag, unit="us"))

    def _check_columns(self, contract: dict[str, str], numeric: set[str]) -> list[str]:
        """Refuse wrong columns; return the names of the extra ones."""
        names = list(dict.fromkeys(self.columns))
        free = [name for name in names if name not in contract]
        optional = [field for field, role in contract.items() if role.endswith("?")]
        for field in contract:
            if field not in names and field not in optional:
                self.refuse_all("missing-column", field, nearest(field, free))
        made = [field for field in optional if field not in names]
        counts = Counter(name.casefold() for name in (*self.columns, *made))
        for name in names:
            if counts[name.casefold()] > 1:
                self.refuse_all("duplicate-column", name)
        for name in free:
            if not name.strip() or not name.isprintable():
                self.refuse_all("unnamed-column", name)
            elif name.startswith("_") or name.lower() in _RESERVED - contract.keys():
                self.refuse_all("reserved-column", name)
            elif self.name not in ("leads", "events"):
                self.refuse_all("unknown-column", name, nearest(name, contract))
        for name in sorted(numeric - set(free)):
            self.refuse_all("missing-column", name, nearest(name, free))
        return free

    def _read_column(self, field: str, role: str, timezone: str) -> None:
        sort, column = role.rstrip("?"), plain(self.raw[field])
        if sort == "time":
            made, faults = read_times(column, timezone)
        elif sort in ("amount", "number"):
            made, faults = read_numbers(column)
            faults["negative-value"] = ((made < 0) & (sort == "amount")).to_numpy()
        else:
            made, faults = read_text(column, strict=sort != "text")
            if sort != "text" and not is_text(column) and column.notna().any():
                self.refuse_all("id-not-text", field, value=column.dropna().iloc[0])
                return
            if sort == "key" and made.isna().all() and not faults["id-not-text"].any():
                made = empty(role, len(column))
        self.made[field] = made
        missing = made.isna().to_numpy()
        for code, rows in faults.items():
            self.refuse(code, field, rows)
            missing = missing & ~rows
        if sort == "key" or not role.endswith("?"):
            code = {"id": "id", "key": "id", "time": "time"}.get(sort, field)
            self.refuse(f"missing-{code}", field, missing)

    def drop_repeats(self) -> None:
        """Keep the first good row of every key; refuse a key that comes with other content."""
        self.kept = self.good.copy()
        key = _KEYS[self.name]
        if not self.made.keys() >= set(key):
            return
        again = pd.DataFrame({field: self.made[field] for field in key}).duplicated(key, keep=False)
        frame = pd.DataFrame(self.made)[again & self.good]
        repeat, same = frame.duplicated(key), frame.duplicated()
        self.kept[frame.index[repeat]] = False
        conflict = np.zeros(len(self.raw), dtype=bool)
        conflict[frame.index[repeat & ~same]] = True
        code = "conflicting-duplicate" if self.name == "outcomes" else "duplicate-id"
        self.refuse(code, key[-1], conflict)

    def checked(self) -> pd.DataFrame:
        """The rows that stay, columns in the order of the contract, then the extra ones."""
        order = dict.fromkeys((*TABLES[self.name], *self.made))
        frame = pd.DataFrame({field: self.made[field] for field in order})
        stay = self.good & self.kept
        return frame if stay.all() else frame[stay].reset_index(drop=True)

    def write_refused(self, directory: Path) -> None:
        """Write the breaching rows as they came, each behind its reasons."""
        path = directory / f"{self.name}.csv"
        if path.exists() and not path.read_bytes().startswith(b"reasons,"):
            raise FileExistsError(f"{path} is not a quarantine file: choose another directory")
        path.unlink(missing_ok=True)
        if self.good.all():
            return
        reasons: dict[int | None, list[str]] = {}
        for one in self.breaches:
            reason = f"row {one.row}: {one.field}: {one.code}: {one.problem}"
            reasons.setdefault(one.row, []).append(reason)
        refused = self.raw[~self.good]
        told = ["; ".join(reasons[int(row)]) for row in self.rows[~self.good]]
        refused.insert(0, "reasons", told, allow_duplicates=True)
        directory.mkdir(parents=True, exist_ok=True)
        refused.to_csv(path, index=False)


def _row_numbers(index: pd.Index) -> npt.NDArray[np.int64]:
    numbered = index.dtype.kind == "i" and index.is_unique and (len(index) == 0 or index.min() >= 0)
    return 1 + (index.to_numpy(dtype=np.int64) if numbered else np.arange(len(index)))
