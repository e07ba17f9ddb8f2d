"""What is known of some leads, a column beside the other: how :mod:`features.engines.memory` reads
it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, compress, repeat
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from features.engines.tables import KEYS, Row

LEAD, ACCOUNT, CREATED = (
    KEYS["leads"].index(name) for name in ("lead_id", "account_id", "created_at")
)
"""Where these are in a row of leads; the first is the first of every table."""

Tables = Mapping[str, Sequence[Row]]


class Table(NamedTuple):
    """Rows of a table by column; ``of`` numbers the lead that each is told of, from 0."""

    of: Sequence[int]
    columns: Sequence[Sequence[Any]]


class Known(msgspec.Struct, frozen=True, eq=False):
    """What is known of n leads: ``ids``, and their ``tables`` (leads, events, changes, outcomes).

    Times are integer microseconds, numbers float, text str, missing None. ``own[i]`` is the row of
    leads that is lead i's own, -1 without one. ``alone``: there is one row of leads for each, in
    their order, and nothing of other leads of their accounts.
    """

    ids: Sequence[str]
    own: Sequence[int]
    tables: Mapping[str, Table]
    alone: bool

    def column(self, place: int) -> Sequence[Any]:
        """A column of the leads' own rows (n,), None without one."""
        held = self.tables["leads"].columns[place]
        return held if self.alone else [None if row < 0 else held[row] for row in self.own]

    def keeping(self, table: str, kept: Sequence[bool]) -> Known:
        """The same with those rows of a table alone."""
        of, columns = self.tables[table]
        fewer = Table([*compress(of, kept)], [[*compress(one, kept)] for one in columns])
        return replace(self, tables={**self.tables, table: fewer})

    def adding(self, table: str, columns: Sequence[Sequence[Any]]) -> Known:
        """The same with one more row of a table for each lead (columns, n)."""
        of, held = self.tables[table]
        more = [[*one, *added] for one, added in zip(held, columns, strict=True)]
        return replace(
            self, tables={**self.tables, table: Table([*of, *range(len(self.ids))], more)}
        )


def known_of(asked: Sequence[tuple[str, Tables]], columns: Mapping[str, Sequence[str]]) -> Known:
    """What plain rows tell of leads, each of whom has its tables in the order of ``columns``.

    The leads, events and outcomes of a lead also hold those of the other leads of its account.
    """
    ids = [lead_id for lead_id, _ in asked]
    made: dict[str, Table] = {}
    for name, wanted in columns.items():
        told = [tables[name] for _, tables in asked]
        of = chain.from_iterable(map(repeat, range(len(told)), map(len, told)))
        by_column = [*zip(*chain.from_iterable(told), strict=True)] or [()] * len(wanted)
        made[name] = Table([*of], by_column)
    leads = made["leads"]
    own = [-1] * len(ids)
    for place in reversed(range(len(leads.of))):  # the first that is its own
        if leads.columns[LEAD][place] == ids[leads.of[place]]:
            own[leads.of[place]] = place
    alone = own == [*range(len(leads.of))] and all(
        one == ids[of] for table in made.values() for of, one in zip(table.of, table.columns[LEAD],
                                                                      strict=True)
    )  # fmt: skip
    return Known(ids, own, made, alone)
