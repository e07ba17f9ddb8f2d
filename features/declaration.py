"""The TOML that declares a source: its legal keys, and one gathered error for every fault."""

from __future__ import annotations

import codecs
import math
import os
import re
import tomllib
import zoneinfo
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Literal

import msgspec

from features.breaches import nearest
from features.databases import is_database
from features.feature import Feature
from features.files import Place
from features.protected import Protection
from features.schema import delay
from features.times import duration, instant
from features.written import read_features

Extra = dict[str, str] | list[str] | None
_PASSWORD = re.compile(r"://[^/@]*:[^@$]+@|password=[^$]")
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


class SourceError(ValueError):
    """A declaration that cannot be followed; names every key at fault and the remedy."""


@dataclass(frozen=True)
class Population:
    """Who is scored when, and what counts as success; horizon and grace in microseconds.

    ``at`` is ``daily``, ``weekly``, ``created`` or ``first KIND``; ``after`` is the kind of event
    from whose first occurrence a lead is at risk (None: from creation); ``target`` an outcome.
    """

    at: str
    after: str | None
    horizon: int
    grace: int
    target: str


@dataclass(frozen=True)
class Evaluation:
    """Origins of the out-of-time folds: dates, or shares of the rows in the order of time.

    ``end`` is the date on which the last fold ends (None: the last label).
    """

    origins: tuple[str | float, ...] = ()
    end: str | None = None


class _Section(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    pass


class _Table(_Section):
    """Where a table is; then for each column of the contract, the column of the source."""

    path: str | None = None
    encoding: str = "utf-8"
    separator: str = ","
    table: str | None = None
    query: str | None = None
    lead_id: str | None = None

    def place(self) -> Place:
        """Where it is, by the environment; raises :class:`SourceError` for what that lacks."""
        return Place(expand(self.path or ""), self.encoding, self.separator, self.table, self.query)


class _Described(_Table):
    """A table with columns beyond the contract's: their names here -> there (None: all)."""

    numeric: list[str] = []
    unanswered: list[str] = []


class Leads(_Described):
    """The section ``[leads]``; ``origin`` (``from``) makes them of the rows of the events."""

    origin: Literal["events"] | None = msgspec.field(default=None, name="from")
    created_at: str | None = None
    order_by: str | None = None
    account_id: str | None = None
    extra: Extra = msgspec.field(default=None, name="attributes")
    exclude: list[str] = []


class Events(_Described):
    """The section ``[events]``; several columns of ``kind`` are joined by a colon."""

    event_id: str | None = None
    kind: str | list[str] | None = None
    occurred_at: str | None = None
    known_at: str | None = None
    channel: str | None = None
    campaign: str | None = None
    value: str | None = None
    extra: Extra = msgspec.field(default=None, name="properties")


class Changes(_Table):
    """The section ``[changes]``."""

    change_id: str | None = None
    field: str | None = None
    value: str | None = None
    known_at: str | None = None


class Outcomes(_Table):
    """The section ``[outcomes]``: the words of the source for won, lost and any other target.

    ``rates`` say what one of each currency is worth, in the unit that deal values are to have.
    """

    origin: Literal["events", "leads"] | None = msgspec.field(default=None, name="from")
    outcome: str | None = None
    occurred_at: str | None = None
    known_at: str | None = None
    deal_value: str | None = None
    currency: str | None = None
    rates: dict[str, float] = {}
    reason: str | None = None
    won: list[str] = []
    lost: list[str] = []
    targets: dict[str, list[str]] = {}
    open: list[str] = []
    reveals: list[str] = []

    def words(self, target: str) -> dict[str, str]:
        """Word of the source -> outcome; an outcome without words is written as itself."""
        declared = {"won": self.won, "lost": self.lost, **self.targets}
        if self.origin is None:
            declared = {name: words or [name] for name, words in {target: [], **declared}.items()}
        return {word: name for name, words in declared.items() for word in words}


class _Features(_Section):
    """The section ``[features]``: those declared by hand, with or without the catalog's."""

    catalog: bool = True
    declare: list[str] = []
    never_lowers: list[str] = []
    never_raises: list[str] = []


class _Compliance(_Section):
    """Attributes never scored by, beyond those whose names say so; and those that may be."""

    protected: list[str] = []
    allow: list[str] = []


class _Risk(_Section):
    at: str | None = None
    after: str | None = None
    horizon: str | None = None
    grace: str = "0d"
    target: str = "won"


class _Judged(_Section):
    origins: list[str | float] = []
    end: str | None = None


class Declaration(_Section):
    """A whole declaration."""

    name: str
    leads: Leads
    events: Events | None = None
    changes: Changes | None = None
    outcomes: Outcomes | None = None
    timezone: str = "UTC"
    lag: str = "0s"
    risk: _Risk = msgspec.field(default_factory=_Risk, name="population")
    judged: _Judged = msgspec.field(default_factory=_Judged, name="evaluation")
    features: _Features = msgspec.field(default_factory=_Features)
    compliance: _Compliance = msgspec.field(default_factory=_Compliance)

    def __post_init__(self) -> None:
        """Rows that come from another table have its lead_id, leads not its other columns."""
        if self.leads.origin is not None and self.leads.extra is None:
            self.leads.extra = []
        for table in self.tables().values():
            origin = self.tables().get(getattr(table, "origin", None) or "")
            if origin is not None and table.lead_id is None:
                table.lead_id = origin.lead_id

    @property
    def timeless(self) -> bool:
        """Whether leads have an order but no times."""
        return self.leads.order_by is not None

    def tables(self) -> dict[str, _Table]:
        """The declared tables by name."""
        named = {name: getattr(self, name) for name in ("leads", "events", "changes", "outcomes")}
        return {name: table for name, table in named.items() if table is not None}

    def population(self) -> Population:
        """Raise ``ValueError`` for what is not a grid or a duration."""
        at = self.risk.at or ("created" if self.timeless else "weekly")
        if at not in ("daily", "weekly", "created") and not re.match(r"first \S", at):
            raise ValueError(f'at = "{at}": write "daily", "weekly", "created" or "first KIND"')
        if self.timeless and (at != "created" or self.risk.after is not None):
            raise ValueError('without times there is only at = "created", and no after')
        if self.risk.horizon is None and not self.timeless:
            raise ValueError('horizon is missing: write horizon = "30d"')
        horizon, grace = duration(self.risk.horizon or "1s"), delay(self.risk.grace)
        return Population(at, self.risk.after, horizon, grace, self.risk.target)

    def protection(self) -> Protection:
        """The attributes that no feature reads."""
        return Protection(tuple(self.compliance.protected), tuple(self.compliance.allow))

    def directions(self) -> tuple[tuple[str, int], ...]:
        """Features by name (``*``: any text) whose rise never lowers (1) or raises (-1) it."""
        up = [(name, 1) for name in self.features.never_lowers]
        return (*up, *((name, -1) for name in self.features.never_raises))

    def declared_features(self) -> tuple[Feature, ...]:
        """Raise :class:`DeclarationError` for text that declares no feature."""
        return tuple(chain(*map(read_features, self.features.declare)))

    def evaluation(self) -> Evaluation:
        """Raise ``ValueError`` for origins that are no dates, no shares, or not in order."""
        origins = self.judged.origins
        dates = [origin for origin in origins if isinstance(origin, str)]
        shares = [origin for origin in origins if not isinstance(origin, str)]
        if dates and shares:
            raise ValueError("origins: write dates or shares, not both")
        if not all(0 < share < 1 for share in shares):
            raise ValueError("origins: a share lies between 0 and 1")
        moments = [instant(day) for day in (*dates, *filter(None, [self.judged.end]))]
        for order in (moments, shares):
            if any(later <= earlier for earlier, later in pairwise(order)):
                raise ValueError("origins: write them in the order of time, before end")
        return Evaluation(tuple(origins), self.judged.end)


def read_declaration(path: Path) -> Declaration:
    """Read a declaration; raises :class:`SourceError` naming every key at fault."""
    try:
        raw = _plain_dates(tomllib.loads(path.read_text(encoding="utf-8")))
        faults = _unknown_keys(raw)
        if not faults:
            declared = msgspec.convert(raw, Declaration)
            faults = _faults(declared)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        faults = [str(error)]
    if faults:
        raise SourceError(f"{path}: " + "; ".join(faults))
    return declared


def expand(text: str) -> str:
    """Replace ``${NAME}`` and ``${NAME:-default}`` by what the environment says."""

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1]) or match[2]
        if found is None:
            raise SourceError(f"the environment has no {match[1]}: set it, or write a default")
        return found

    return _VARIABLE.sub(value, text)


def _plain_dates(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain_dates(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain_dates(one) for one in value]
    return value.isoformat() if isinstance(value, date) else value


def _unknown_keys(raw: Mapping[str, Any]) -> list[str]:
    sections: dict[str, type[_Section]] = {
        "leads": Leads, "events": Events, "changes": Changes, "outcomes": Outcomes,
        "population": _Risk, "evaluation": _Judged, "features": _Features,
        "compliance": _Compliance,
    }  # fmt: skip
    found: list[tuple[str, Mapping[str, Any], type[_Section]]] = [("", raw, Declaration)]
    found += [
        (f"[{name}] ", raw[name], section)
        for name, section in sections.items()
        if isinstance(raw.get(name), dict)
    ]
    faults = []
    for where, table, section in found:
        legal = section.__struct_encode_fields__
        for key in table:
            if key not in legal:
                hint = nearest(key, legal).strip() or f"legal are {', '.join(legal)}"
                faults.append(f"{where}{key} is not a key: {hint}")
    return faults


def _faults(declared: Declaration) -> list[str]:
    faults = _blame("lag: ", delay, declared.lag)
    faults += _blame("[population] ", declared.population)
    faults += _blame("[evaluation] ", declared.evaluation)
    for text in declared.features.declare:
        faults += _blame("[features] declare: ", read_features, text)
    for name, table in declared.tables().items():
        faults += _blame(f"[{name}] encoding: ", codecs.lookup, table.encoding)
        faults += _blame(f"[{name}] path: ", _check_place, table)
    if declared.timezone not in zoneinfo.available_timezones():
        faults.append(f"timezone: {declared.timezone!r} is unknown: write one as Europe/Berlin")
    faults += _misplaced(declared)
    return faults if declared.outcomes is None else faults + _wrong_words(declared)


def _blame(where: str, run: Callable[..., object], *arguments: object) -> list[str]:
    try:
        run(*arguments)
    except (ValueError, LookupError) as error:
        return [f"{where}{error}"]
    return []


def _check_place(section: _Table) -> None:
    if _PASSWORD.search(section.path or ""):
        raise ValueError("a password: write ${PGURL}, and set PGURL in the environment")
    place = section.place()
    told = [one for one in (place.table, place.query) if one is not None]
    if is_database(place.path):
        if len(told) != 1:
            raise ValueError("a database: write table or query beside it, and only one")
    elif told:
        raise ValueError("table and query are for sqlite:/// and postgresql://: leave them out")


def _misplaced(declared: Declaration) -> list[str]:
    """Keys that are legal alone, but not together."""
    leads, tables = declared.leads, declared.tables()
    faults = []
    for name, table in tables.items():
        origin = getattr(table, "origin", None)
        if (table.path is None) == (origin is None):
            choice = "path or from" if hasattr(table, "origin") else "path"
            faults.append(f"[{name}] needs {choice}, and only one")
        if origin is not None and origin not in tables:
            faults.append(f'[{name}] from = "{origin}" needs a section [{origin}]')
    if declared.timeless and leads.created_at is not None:
        faults.append("[leads] order_by stands in for created_at: leave one out")
    if declared.timeless and {"events", "changes"} & tables.keys():
        faults.append("[leads] order_by is for leads without times: events and changes have times")
    return faults


def _wrong_words(declared: Declaration) -> list[str]:
    """What is wrong with the words for outcomes."""
    leads, outcomes, target = declared.leads, declared.outcomes, declared.risk.target
    assert outcomes is not None
    faults = [
        f"[outcomes] rates: one {name} is worth {rate:g}: write a number above 0"
        for name, rate in outcomes.rates.items()
        if not 0 < rate < math.inf
    ]
    words = [*outcomes.won, *outcomes.lost, *chain(*outcomes.targets.values()), *outcomes.open]
    faults += [
        f"[outcomes] {word!r} stands for two outcomes: leave it in one list"
        for word in dict.fromkeys(words)
        if words.count(word) > 1
    ]
    columns = leads.extra.values() if isinstance(leads.extra, dict) else leads.extra
    if outcomes.origin == "leads" and (outcomes.outcome or "outcome") in (columns or ()):
        faults.append("[leads] attributes hold the outcome: leave that column out")
    if target not in (known := set(outcomes.words(target).values())):
        hint = nearest(target, known).strip() or "write them in [outcomes]"
        faults.append(f"[population] target {target!r} has no words in the source: {hint}")
    return faults
