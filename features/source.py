"""Where a history comes from: declared tables, given the contract's columns and checked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from features.breaches import Breach, ContractError, breach, nearest
from features.columns import plain, read_numbers, read_text, read_times
from features.currency import in_one_currency
from features.declaration import (
    Declaration,
    Events,
    Leads,
    Outcomes,
    read_declaration,
)
from features.declaration import Evaluation as Evaluation
from features.declaration import Population as Population
from features.declaration import SourceError as SourceError
from features.feature import Feature
from features.files import Place, read_table
from features.protected import Protection
from features.schema import TABLES, History, check
from features.times import SECOND, from_micros, instant

Progress = Callable[[float], None]

_PSEUDO_START = instant("2000-01-01")
_DEFAULT_FOLDS = Evaluation()
_BY_NAME = Protection()


@dataclass(frozen=True, eq=False)
class Source:
    """A declared source: :meth:`load` reads and checks it.

    - ``reveals``: kinds of event that tell the outcome: never features
    - ``exclude``: attributes never used, they are not in the history
    - ``declared``: features declared by hand; ``catalog``: whether the default set is used, too
    - ``protection``: attributes that are in the history, to measure fairness by, but no features
    - ``directions``: names of features (``*`` for any text) with 1 or -1: their rise never lowers,
      or never raises, the score
    - ``timeless``: leads have an order but no times: a second apart from 2000-01-01 on, in that
      order, their outcomes half a second later
    """

    name: str
    population: Population
    evaluation: Evaluation
    reveals: tuple[str, ...]
    exclude: tuple[str, ...]
    timeless: bool
    declared: tuple[Feature, ...]
    catalog: bool
    protection: Protection
    directions: tuple[tuple[str, int], ...]
    _load: Callable[[Path | None, Progress], History]

    @staticmethod
    def from_toml(path: Path | str, directory: Path | None = None) -> Source:
        """Read a declaration; no table is read yet.

        Paths in it are relative to ``directory``, by default that of the file.
        Raises :class:`SourceError` naming every key at fault.
        """
        path = Path(path)
        declared = read_declaration(path)
        outcomes = declared.outcomes or Outcomes()
        words = outcomes.words(declared.risk.target) if outcomes.origin == "events" else {}
        return Source(
            name=declared.name,
            population=declared.population(),
            evaluation=declared.evaluation(),
            reveals=tuple(dict.fromkeys((*words, *outcomes.reveals))),
            exclude=tuple(declared.leads.exclude),
            timeless=declared.timeless,
            declared=declared.declared_features(),
            catalog=declared.features.catalog,
            protection=declared.protection(),
            directions=declared.directions(),
            _load=_Loader(declared, directory or path.parent).load,
        )

    @staticmethod
    def from_frames(
        name: str,
        leads: pd.DataFrame | None = None,
        events: pd.DataFrame | None = None,
        changes: pd.DataFrame | None = None,
        outcomes: pd.DataFrame | None = None,
        *,
        history: History | None = None,
        timezone: str = "UTC",
        lag: str = "0s",
        numeric: Mapping[str, Collection[str]] | None = None,
        population: Population,
        evaluation: Evaluation = _DEFAULT_FOLDS,
        reveals: Collection[str] = (),
        exclude: Collection[str] = (),
        declared: Collection[Feature] = (),
        catalog: bool = True,
        protection: Protection = _BY_NAME,
        directions: Collection[tuple[str, int]] = (),
    ) -> Source:
        """Make a source of pandas tables (see :func:`features.schema.check`), or of a history."""
        if (leads is None) == (history is None):
            raise SourceError("give leads, or a checked history, and only one")

        def load(quarantine: Path | None, progress: Progress) -> History:
            if history is not None:
                return history
            assert leads is not None
            used = leads.drop(columns=list(exclude))
            targets = dict.fromkeys(("won", "lost", population.target))
            made = check(
                used, events, changes, outcomes, timezone=timezone, lag=lag, numeric=numeric,
                targets=tuple(targets), quarantine=quarantine,
            )  # fmt: skip
            progress(1.0)
            return made

        return Source(
            name, population, evaluation, tuple(reveals), tuple(exclude), False,
            tuple(declared), catalog, protection, tuple(directions), load,
        )  # fmt: skip

    def load(self, quarantine: Path | None = None, progress: Progress | None = None) -> History:
        """Read every table and check it; ``progress`` is told the share done.

        Raises :class:`features.schema.ContractError` with every breach: those of whole files and
        columns first, then those of rows. With a ``quarantine`` directory, bad rows are written
        there with their reasons and the good ones go on.
        """
        return self._load(quarantine, progress or (lambda _: None))


class _Loader:
    """Reads the declared files and gives their columns the names of the contract."""

    def __init__(self, declared: Declaration, directory: Path) -> None:
        self._declared, self._directory = declared, directory
        self._breaches: list[Breach] = []

    def load(self, quarantine: Path | None, progress: Progress) -> History:
        declared, self._breaches = self._declared, []
        raw = self._read(progress)
        leads = self._leads(raw["leads"])
        events = self._events(raw["events"]) if declared.events else None
        changes = self._columns("changes", raw["changes"]) if declared.changes else None
        outcomes = self._outcomes(raw["outcomes"], leads, events) if declared.outcomes else None
        self._check_kinds(events)
        self._stop()
        words = (declared.outcomes or Outcomes()).words(declared.risk.target)
        numeric = {"leads": set(declared.leads.numeric) - set(declared.leads.exclude)}
        if declared.events:
            numeric["events"] = set(declared.events.numeric)
        history = check(
            leads, events, changes, outcomes, timezone=declared.timezone, lag=declared.lag,
            numeric=numeric, targets=tuple(dict.fromkeys(words.values())), quarantine=quarantine,
        )  # fmt: skip
        progress(1.0)
        return history

    def _stop(self) -> None:
        if self._breaches:
            raise ContractError(self._breaches)

    def _refuse(self, code: str, table: str, column: str, names: Iterable[str]) -> None:
        self._breaches.append(breach(code, table, column, hint=nearest(column, names)))

    def _read(self, progress: Progress) -> dict[str, pd.DataFrame]:
        """The raw table of each section; those that share a file share the table."""
        tables = self._declared.tables()
        places = {name: table.place() for name, table in tables.items() if table.path is not None}
        files: dict[Place, pd.DataFrame] = {}
        raw: dict[str, pd.DataFrame] = {}
        for done, (name, place) in enumerate(places.items()):
            if place not in files:
                try:
                    files[place] = read_table(place, name, self._directory)
                except ContractError as error:
                    self._breaches += error.breaches
            if place in files:
                raw[name] = files[place]
            progress(0.5 * (done + 1) / len(places))
        self._stop()
        for name, table in tables.items():
            if table.path is None:
                raw[name] = raw[getattr(table, "origin", "")]
        return raw

    def _column(self, table: str, column: str, raw: pd.DataFrame) -> pd.Series:
        if column in raw:
            return raw[column]
        self._refuse("missing-column", table, column, raw.columns)
        return pd.Series(np.nan, index=raw.index)

    def _columns(self, table: str, raw: pd.DataFrame, skip: Collection[str] = ()) -> pd.DataFrame:
        """The contract's columns: as declared, else where the file has one of that name."""
        section, made = self._declared.tables()[table], {}
        for field, role in TABLES[table].items():
            column = getattr(section, field)
            if field in skip or (column is None and field not in raw and role.endswith("?")):
                continue
            if isinstance(column, list):
                parts = [read_text(plain(self._column(table, one, raw)))[0] for one in column]
                made[field] = parts[0].str.cat(pd.concat(parts[1:], axis=1), sep=":")
            else:
                made[field] = self._column(table, column or field, raw)
        return pd.DataFrame(made, index=raw.index)

    def _used(self, table: str) -> set[str]:
        """The names that the contract's columns of a section have, or could have, in its file."""
        section = self._declared.tables()[table]
        named = [getattr(section, field) or field for field in TABLES[table]]
        return {one for name in named for one in (name if isinstance(name, list) else [name])}

    def _extra(self, table: str, section: Leads | Events, raw: pd.DataFrame, used: set[str]
               ) -> pd.DataFrame:  # fmt: skip
        """Attributes or properties: those declared, else every column not otherwise used."""
        names = section.extra
        if names is None:
            names = [column for column in raw.columns if column not in used]
        if not isinstance(names, dict):
            names = {name: name for name in names}
        made = {name: self._column(table, column, raw) for name, column in names.items()}
        answered = {
            name: column.mask(column.isin(section.unanswered)) for name, column in made.items()
        }
        return pd.DataFrame(answered, index=raw.index)

    def _leads(self, raw: pd.DataFrame) -> pd.DataFrame:
        section, outcomes = self._declared.leads, self._declared.outcomes
        made = self._columns("leads", raw, ["created_at"] if section.order_by else [])
        used = self._used("leads") | {section.order_by or ""}
        if outcomes is not None and outcomes.origin == "leads":
            used |= self._used("outcomes")
        extra = self._extra("leads", section, raw, used)
        for name in section.exclude:
            if name not in extra:
                self._refuse("missing-column", "leads", name, extra.columns)
        if section.order_by is not None:
            made["created_at"] = self._in_order(section.order_by, raw)
        return pd.concat([made, extra.drop(columns=section.exclude, errors="ignore")], axis=1)

    def _in_order(self, column: str, raw: pd.DataFrame) -> pd.Series:
        """Times a second apart in the order of a column; rows with one number share a time."""
        numbers = read_numbers(plain(self._column("leads", column, raw)))[0]
        for row in np.flatnonzero(numbers.isna()) if column in raw else ():
            value = raw[column].iloc[row]
            self._breaches.append(breach("not-a-number", "leads", column, value, int(row) + 1))
        rank = numbers.rank(method="dense").fillna(0).to_numpy(dtype=np.int64)
        return from_micros(_PSEUDO_START + rank * SECOND)

    def _events(self, raw: pd.DataFrame) -> pd.DataFrame:
        assert self._declared.events is not None
        made, used = self._columns("events", raw), self._used("events")
        extra = self._extra("events", self._declared.events, raw, used)
        return pd.concat([made, extra], axis=1)

    def _outcomes(
        self, raw: pd.DataFrame, leads: pd.DataFrame, events: pd.DataFrame | None
    ) -> pd.DataFrame:
        section, timeless = self._declared.outcomes, self._declared.timeless
        assert section is not None
        words = section.words(self._declared.risk.target)
        if section.origin == "events" and events is not None:
            made = self._first_telling(events, words)
        else:
            skip = ["deal_value", *(["occurred_at", "known_at"] if timeless else [])]
            made = self._columns("outcomes", raw, skip)
            told = read_text(plain(made["outcome"]))[0]
            made["outcome"] = told.map(words).where(told.isin(words), told).astype("str")
            if section.origin == "leads":
                made = made[told.notna() & ~told.isin(section.open)].copy()
        if timeless:
            created = made["lead_id"].map(_by_lead(leads, "created_at"))
            made["occurred_at"] = created + pd.Timedelta(SECOND // 2, unit="us")
        return self._with_values(made, raw, leads)

    def _with_values(
        self, made: pd.DataFrame, raw: pd.DataFrame, leads: pd.DataFrame
    ) -> pd.DataFrame:
        """Deal values from the outcomes' own table, else from the leads; in one currency."""
        section = self._declared.outcomes
        assert section is not None
        name = section.deal_value or "deal_value"
        if name not in raw and section.deal_value not in leads:
            if section.deal_value is not None:
                self._refuse("missing-column", "outcomes", name, [*raw.columns, *leads.columns])
            return made

        def column(one: str) -> pd.Series:
            own = name in raw
            return raw[one].loc[made.index] if own else made["lead_id"].map(_by_lead(leads, one))

        value = column(name) if name in raw else column(name).mask(made["outcome"] == "lost")
        currency = section.currency or "currency"
        if currency in (raw if name in raw else leads):
            won = made["outcome"] != "lost"
            value, wrong = in_one_currency(value, column(currency), won, section.rates)
            self._breaches += wrong
        elif section.currency is not None or section.rates:
            self._refuse("missing-column", "outcomes", currency, [*raw.columns, *leads.columns])
        return made.assign(deal_value=value)

    def _first_telling(self, events: pd.DataFrame, words: Mapping[str, str]) -> pd.DataFrame:
        """Of each lead's events the first that won or lost, and the first of each other target."""
        kind = read_text(plain(events["kind"]))[0]
        made = events[kind.isin(words)]
        made = made[[name for name in TABLES["outcomes"] if name in made]]
        made = made.assign(outcome=kind.map(words).astype("str"))
        occurred = plain(made["occurred_at"].reset_index(drop=True))
        times = read_times(occurred, self._declared.timezone)[0]
        made = made.iloc[np.argsort(times.to_numpy(), kind="stable")[: times.notna().sum()]]
        closing = made["outcome"].replace({"won": "closed", "lost": "closed"})
        again = made.assign(outcome=closing).duplicated(["lead_id", "outcome"])
        return made[~again].sort_index()

    def _check_kinds(self, events: pd.DataFrame | None) -> None:
        """Every kind of event that the declaration names is in the data: others are mistyped."""
        outcomes, risk = self._declared.outcomes or Outcomes(), self._declared.population()
        named = list(outcomes.words(risk.target)) if outcomes.origin == "events" else []
        named += [*outcomes.reveals, *([risk.after] if risk.after else [])]
        if risk.at.startswith("first "):
            named.append(risk.at.removeprefix("first "))
        kinds: list[str] = []
        if events is not None:
            kinds = sorted(read_text(plain(events["kind"]))[0].dropna().unique())
        self._breaches += [
            breach("unknown-kind", "events", "kind", kind, hint=nearest(kind, kinds))
            for kind in dict.fromkeys(named)
            if kind not in kinds
        ]


def _by_lead(leads: pd.DataFrame, column: str) -> pd.Series:
    first = leads.drop_duplicates("lead_id")
    return first.set_index("lead_id")[column]
