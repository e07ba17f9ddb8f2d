"""Where a history comes from: a TOML declaration of tables, columns, times and outcomes."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.schema import Breach, ContractError, History, check
from features.times import SECOND, duration, from_micros, instant


class SourceError(ValueError):
    """A declaration that cannot be read; names the key and the remedy."""


@dataclass(frozen=True)
class Population:
    """Who is scored when, and what counts as success; horizon and grace in microseconds."""

    at: str
    after: str | None
    horizon: int
    grace: int
    target: str


@dataclass(frozen=True)
class Evaluation:
    """Origins of the out-of-time folds: dates, or shares of the rows in the order of time."""

    origins: tuple[str | float, ...] = ()
    end: str | None = None


_SECTIONS: dict[str, set[str]] = {
    "": {"name", "timezone", "lag", "leads", "events", "changes", "outcomes", "population",
         "evaluation"},
    "leads": {"path", "encoding", "lead_id", "created_at", "order_by", "account_id", "attributes",
              "numeric", "unanswered", "exclude", "one_row_per_lead"},
    "events": {"path", "encoding", "lead_id", "event_id", "kind", "occurred_at", "known_at",
               "channel", "campaign", "value", "properties", "numeric"},
    "changes": {"path", "encoding", "lead_id", "change_id", "field", "value", "known_at"},
    "outcomes": {"path", "encoding", "from", "lead_id", "outcome", "column", "occurred_at",
                 "known_at", "deal_value", "reason", "won", "lost", "reveals"},
    "population": {"at", "after", "horizon", "grace", "target"},
    "evaluation": {"origins", "end"},
}  # fmt: skip
_CONTRACT = {
    "leads": ("lead_id", "created_at", "account_id"),
    "events": ("lead_id", "event_id", "kind", "occurred_at", "known_at", "channel", "campaign",
               "value"),
    "changes": ("lead_id", "change_id", "field", "value", "known_at"),
    "outcomes": ("lead_id", "outcome", "occurred_at", "known_at", "deal_value", "reason"),
}  # fmt: skip
_PSEUDO_START = instant("2000-01-01")
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


@dataclass(frozen=True, eq=False)
class Source:
    """A declared source: ``load()`` reads and checks it.

    - ``reveals``: kinds of event that tell the outcome: never features
    - ``exclude``: attributes never used; ``timeless``: the table has an order but no times
    """

    name: str
    population: Population
    evaluation: Evaluation = Evaluation()
    reveals: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    timeless: bool = False
    declared: Mapping[str, Any] = field(default_factory=dict)
    directory: Path = Path()
    history: History | None = None

    @staticmethod
    def from_toml(path: Path | str) -> Source:
        """Read a declaration; raises :class:`SourceError` naming the key at fault."""
        path = Path(path)
        try:
            declared = tomllib.loads(path.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise SourceError(f"{path}: not TOML: {error}") from None
        _check_keys(path, declared)
        timeless = "order_by" in declared["leads"]
        outcomes = declared.get("outcomes", {})
        return Source(
            name=declared["name"],
            population=_population(declared.get("population", {}), timeless),
            evaluation=_evaluation(declared.get("evaluation", {})),
            reveals=tuple(outcomes.get("reveals", ())),
            exclude=tuple(declared["leads"].get("exclude", ())),
            timeless=timeless,
            declared=declared,
            directory=path.parent,
        )

    @staticmethod
    def from_frames(
        name: str,
        *,
        history: History | None = None,
        leads: pd.DataFrame | None = None,
        events: pd.DataFrame | None = None,
        changes: pd.DataFrame | None = None,
        outcomes: pd.DataFrame | None = None,
        population: Population,
        evaluation: Evaluation = Evaluation(),
        reveals: Collection[str] = (),
        exclude: Collection[str] = (),
    ) -> Source:
        """Make a source of pandas tables, or of a history that is checked already."""
        if history is None:
            if leads is None:
                raise SourceError("give leads, or a checked history")
            history = check(leads, events, changes, outcomes, targets=_targets(population))
        return Source(name, population, evaluation, tuple(reveals), tuple(exclude), history=history)

    def load(self, quarantine: Path | None = None) -> History:
        """Read every table and check it against the contract.

        Raises :class:`features.schema.ContractError` with every breach; with ``quarantine``, bad
        rows are written there with their reasons and the good ones go on.
        """
        if self.history is not None:
            return self.history
        return _Loader(self).load(quarantine)


def _targets(population: Population) -> set[str]:
    return {"won", "lost", population.target}


def _check_keys(path: Path, declared: Mapping[str, Any]) -> None:
    for section, legal in _SECTIONS.items():
        table = declared if not section else declared.get(section, {})
        if not isinstance(table, dict):
            raise SourceError(f"{path}: {section} must be a table: write [{section}]")
        for key in table:
            if key not in legal:
                close = difflib.get_close_matches(key, legal, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"legal: {sorted(legal)}"
                where = f"[{section}] {key}" if section else key
                raise SourceError(f"{path}: unknown key {where}: {hint}")
    for key in ("name", "leads"):
        if key not in declared:
            raise SourceError(f"{path}: {key} is missing: every source has a name and [leads]")


def _population(table: Mapping[str, Any], timeless: bool) -> Population:
    at = table.get("at", "created" if timeless else "weekly")
    if at not in ("daily", "weekly", "created") and not at.startswith("first "):
        raise SourceError(
            f'[population] at = "{at}": write "daily", "weekly", "created" or "first KIND"'
        )
    if "horizon" not in table and not timeless:
        raise SourceError('[population] horizon is missing: write horizon = "30d"')
    grace = str(table.get("grace", "0d"))
    try:
        horizon = duration(table.get("horizon", "1s"))
        late = 0 if grace.startswith("0") else duration(grace)
    except ValueError as error:
        raise SourceError(f"[population] {error}") from None
    return Population(at, table.get("after"), horizon, late, table.get("target", "won"))


def _evaluation(table: Mapping[str, Any]) -> Evaluation:
    origins = tuple(table.get("origins", ()))
    for origin in origins:
        if isinstance(origin, str):
            try:
                instant(origin)
            except ValueError:
                raise SourceError(f"[evaluation] origins: {origin!r} is not a date") from None
        elif not 0 < origin < 1:
            raise SourceError(f"[evaluation] origins: {origin} is not between 0 and 1")
    return Evaluation(origins, table.get("end"))


class _Loader:
    """Reads the declared tables as text, gives their columns the contract's names, checks them."""

    def __init__(self, source: Source) -> None:
        self._source, self._declared = source, source.declared
        self._files: dict[tuple[Path, str], pd.DataFrame] = {}

    def load(self, quarantine: Path | None) -> History:
        leads = self._leads()
        events = self._facts("events") if "events" in self._declared else None
        changes = self._facts("changes") if "changes" in self._declared else None
        outcomes = self._outcomes(leads, events)
        numeric = {
            name: self._declared.get(name, {}).get("numeric", ()) for name in ("leads", "events")
        }
        excluded = [name for name in self._source.exclude if name in leads]
        return check(
            leads.drop(columns=excluded),
            events,
            changes,
            outcomes,
            timezone=self._declared.get("timezone", "UTC"),
            lag=self._declared.get("lag", "0s"),
            numeric=numeric,
            targets=_targets(self._source.population),
            quarantine=quarantine,
        )

    def _leads(self) -> pd.DataFrame:
        table = self._declared["leads"]
        raw = self._read("leads", table)
        if table.get("one_row_per_lead") == "first":
            raw = raw.drop_duplicates(self._column("leads", table, "lead_id", raw))
        made = self._mapped("leads", table, raw, table.get("attributes"))
        if table.get("unanswered"):
            made = made.replace(list(table["unanswered"]), np.nan)
        if "order_by" in table:
            made["created_at"] = _pseudo_times(raw[table["order_by"]])
            made = made.drop(columns=table["order_by"], errors="ignore")
        outcomes = self._declared.get("outcomes", {})
        told = {outcomes.get("column"), outcomes.get("outcome")} if self._in_leads() else set()
        return made.drop(columns=[name for name in told if name in made])

    def _in_leads(self) -> bool:
        return self._declared.get("outcomes", {}).get("from") == "leads"

    def _facts(self, name: str) -> pd.DataFrame:
        table = self._declared[name]
        raw = self._read(name, table)
        return self._mapped(name, table, raw, table.get("properties"))

    def _outcomes(self, leads: pd.DataFrame, events: pd.DataFrame | None) -> pd.DataFrame | None:
        table = self._declared.get("outcomes")
        if table is None:
            return None
        if table.get("from") == "events" and events is not None:
            raw = events.rename(columns={"kind": "outcome"})
        elif self._in_leads():
            raw = self._read("leads", self._declared["leads"])
            raw = raw.rename(columns={table.get("column", "outcome"): "outcome"})
            raw = raw.rename(columns={self._declared["leads"].get("lead_id", "lead_id"): "lead_id"})
            if self._source.timeless:
                created = pd.Series(leads["created_at"].to_numpy(), index=leads["lead_id"])
                occurred = raw["lead_id"].map(created) + pd.Timedelta(SECOND // 2, unit="us")
                raw["occurred_at"] = occurred.dt.as_unit("us")
        else:
            raw = self._mapped("outcomes", table, self._read("outcomes", table), {})
        return self._words(raw, table, leads)

    def _words(
        self, raw: pd.DataFrame, table: Mapping[str, Any], leads: pd.DataFrame
    ) -> pd.DataFrame:
        """Turn the source's words into won and lost; a lead's first outcome is its outcome."""
        words = {w: name for name in ("won", "lost") for w in table.get(name, ())}
        if words:
            raw = raw[raw["outcome"].isin(words)].copy()
            raw["outcome"] = raw["outcome"].map(words)
            if "occurred_at" in raw and table.get("from") == "events":
                order = pd.to_datetime(raw["occurred_at"], utc=True, format="ISO8601")
                raw = raw.iloc[np.argsort(order.to_numpy(), kind="stable")]
            raw = raw.drop_duplicates("lead_id")
        value = table.get("deal_value")
        if value is not None and value in leads:
            worth = pd.Series(leads[value].to_numpy(), index=leads["lead_id"])
            raw["deal_value"] = raw["lead_id"].map(worth)
        elif value is not None and value in raw:
            raw["deal_value"] = raw[value]
        names = [name for name in _CONTRACT["outcomes"] if name in raw]
        return raw[names]

    def _mapped(
        self,
        name: str,
        table: Mapping[str, Any],
        raw: pd.DataFrame,
        extra: Mapping[str, str] | None,
    ) -> pd.DataFrame:
        """The contract's columns, then the declared extra ones (all others when none are)."""
        made, used = {}, set()
        for column in _CONTRACT[name]:
            declared = table.get(column)
            if isinstance(declared, list):
                parts = [raw[self._known(name, part, raw)] for part in declared]
                made[column] = parts[0].str.cat(pd.concat(parts[1:], axis=1), sep=":")
                used.update(declared)
            elif declared is not None or column in raw:
                found = self._column(name, table, column, raw)
                made[column] = raw[found]
                used.add(found)
        if extra is None:
            extra = {column: column for column in raw.columns if column not in used}
        for column, declared in extra.items():
            made[column] = raw[self._known(name, declared, raw)]
        return pd.DataFrame(made, index=raw.index)

    def _column(self, name: str, table: Mapping[str, Any], column: str, raw: pd.DataFrame) -> str:
        return self._known(name, table.get(column, column), raw)

    def _known(self, name: str, column: str, raw: pd.DataFrame) -> str:
        if column in raw:
            return column
        close = difflib.get_close_matches(column, list(raw.columns), n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ContractError([_breach("missing-column", name, column, "there is no such column",
                                     f"{hint}map the column that holds it")])  # fmt: skip

    def _read(self, name: str, table: Mapping[str, Any]) -> pd.DataFrame:
        if "path" not in table:
            raise SourceError(f"[{name}] path is missing: where is the table?")
        path = (self._source.directory / _expand(str(table["path"]))).resolve()
        encoding = table.get("encoding", "utf-8")
        if (path, encoding) not in self._files:
            self._files[path, encoding] = _read_file(path, encoding, name)
        return self._files[path, encoding].copy(deep=False)


def _pseudo_times(order: pd.Series) -> pd.Series:
    """A second apart, in the numeric order of a column: an order, not times."""
    rank = pd.to_numeric(order).rank(method="first").astype("int64").to_numpy()
    times = from_micros(_PSEUDO_START + rank * SECOND)
    return times.set_axis(order.index)


def _expand(text: str) -> str:
    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1], match[2])
        if found is None:
            raise SourceError(f"the environment has no {match[1]}: set it, or write a default")
        return found

    return _VARIABLE.sub(value, text)


def _read_file(path: Path, encoding: str, name: str) -> pd.DataFrame:
    if not path.exists():
        raise ContractError([_breach("missing-file", name, str(path), "there is no such file",
                                     "correct the path")])  # fmt: skip
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding=encoding)
    except UnicodeDecodeError:
        raise ContractError([_breach("wrong-encoding", name, str(path), f"not {encoding}",
                                     'declare what it is, such as encoding = "latin-1"')]
                            ) from None  # fmt: skip
    except pd.errors.EmptyDataError:
        raise ContractError([_breach("empty-table", name, str(path), "the file is empty",
                                     "check the export that should have filled it")]
                            ) from None  # fmt: skip
    return frame.replace("", np.nan)


def _breach(code: str, table: str, value: str, problem: str, remedy: str) -> Breach:
    return Breach(code, table, None, None, value, problem, remedy)
