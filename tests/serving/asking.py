"""A history as the requests of somebody who keeps no store with us."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

import pandas as pd

from features.schema import TABLES, History
from features.times import iso, micros
from serving.current import Refresher

Record = dict[str, Any]


class Asking:
    """Leads of a history in the form of ``POST /v1/score``, each with all that is known of it."""

    def __init__(self, history: History) -> None:
        self._tables = {name: _by_lead(getattr(history, name), name) for name in TABLES}
        leads = history.leads.dropna(subset=["account_id"])
        self._accounts = leads.groupby("account_id")["lead_id"].agg(list).to_dict()

    def lead(self, lead_id: str) -> Record:
        """A lead with its attributes, events, changes and the other leads of its account."""
        own = self._known(lead_id)
        others = self._accounts.get(own.get("account_id"), [])
        related = [
            {**self._known(other), "outcomes": self._of("outcomes", other)}
            for other in others
            if other != lead_id
        ]
        return {**own, "changes": self._of("changes", lead_id), "related": related}

    def body(self, lead_ids: Sequence[str], as_of: int, **options: Any) -> Record:
        """A request for leads with their history."""
        return {"leads": [self.lead(one) for one in lead_ids], "as_of": iso(as_of), **options}

    def _known(self, lead_id: str) -> Record:
        [lead] = self._of("leads", lead_id)
        return {"lead_id": lead_id, **lead, "events": self._of("events", lead_id)}

    def _of(self, table: str, lead_id: str) -> list[Record]:
        return self._tables[table].get(lead_id, [])


def by_id(lead_ids: Sequence[str], as_of: int, **options: Any) -> Record:
    """A request for leads of the store."""
    return {"leads": [{"lead_id": one} for one in lead_ids], "as_of": iso(as_of), **options}


def _by_lead(frame: pd.DataFrame, table: str) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    extra = {"leads": "attributes", "events": "properties"}.get(table)
    for lead_id, record in zip(frame["lead_id"], records(frame), strict=True):
        del record["lead_id"]
        own = {name: value for name, value in record.items() if name in TABLES[table]}
        if extra:
            own[extra] = {name: value for name, value in record.items() if name not in own}
        found.setdefault(lead_id, []).append(own)
    return found


def records(frame: pd.DataFrame, times: bool = True) -> list[Record]:
    """Rows without what is missing; times as ISO 8601, or else as microseconds."""
    columns = {}
    for name in frame.columns:
        columns[name] = frame[name].tolist()
        if frame[name].dtype.kind == "M":
            moments = micros(frame[name]).tolist()
            columns[name] = [iso(one) for one in moments] if times else moments
    rows = zip(*columns.values(), strict=True)
    return [{k: v for k, v in zip(columns, row, strict=True) if v == v} for row in rows]


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def settle(refresher: Refresher) -> None:
    """Make all scores that are to be made."""
    while refresher.step():
        pass
