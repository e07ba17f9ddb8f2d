"""From a request's leads to what is known of them: columns, as the features are made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache, partial
from itertools import chain, repeat
from operator import attrgetter
from typing import Any, NamedTuple, cast, get_args

import msgspec

from features.engines.known import Known, Table
from features.language import FeatureSet
from serving.api import (
    Change,
    Event,
    Lead,
    Outcome,
    Related,
    Strict,
    Text,
    Time,
    not_before,
    read_time,
    read_times,
)
from serving.problems import Breach, invalid

Named = Callable[[str], Callable[[int], str]]
"""From a field to its path, by the place of the fact that has it."""


class Reader:
    """Turns a request's leads into what is known of them, as the model's features read it."""

    def __init__(self, features: FeatureSet, columns: Mapping[str, Sequence[str]]) -> None:
        self._columns = columns
        self.numbers: set[tuple[str, str]] = {
            (source, name)
            for feature in features.features
            for source, name, kind in feature.reads
            if kind == "number"
        }
        self._read = {(table, name) for table, names in columns.items() for name in names}

    def known(self, leads: Sequence[Lead]) -> Known:
        """What leads tell of themselves and of those related to them.

        Raises :class:`Breach` for the first that cannot be read, which names the field within it.
        """
        told = _Holders.of(leads)
        tables = {
            "leads": self._leads(told),
            "events": self._events(told),
            "changes": self._changes(told),
            "outcomes": self._outcomes(told),
        }
        own = [place for place, one in enumerate(told.holders) if isinstance(one, Lead)]
        return Known([one.lead_id for one in leads], own, tables, told.alone)

    def kept(self, table: str, held: Mapping[str, Any], path: str) -> dict[str, float | str]:
        """Attributes or properties as they are stored, in the types that the model reads.

        Empty text is missing, booleans are text. Raises :class:`Breach`.
        """
        made: dict[str, float | str] = {}
        for name, value in held.items():
            if value is None or value == "":
                continue
            number = (table, name) in self.numbers
            if (table, name) in self._read and type(value) in _WRONG[number]:
                raise _misread(number, path + name)
            made[name] = str(value).lower() if isinstance(value, bool) else value
        return made

    def _leads(self, told: _Holders) -> Table:
        holders = told.holders
        created = [one.created_at for one in holders]
        if None in created:
            path = told.named("created_at")(created.index(None))
            raise invalid(path, "missing", "give it with the history")
        times = cast(list[Time], created)
        own = {
            "lead_id": [one.lead_id for one in holders],
            "account_id": told.accounts,
            "created_at": read_times(times, told.named("created_at")),
        }
        held = [one.attributes for one in holders]
        columns = [
            own[name] if name in own
            else self._held("leads", name, held, told.named, "attributes")
            for name in self._columns["leads"]
        ]  # fmt: skip
        return Table(told.whose, columns)

    def _events(self, told: _Holders) -> Table:
        facts = told.facts("events", Event, "event_id")
        held = facts.columns.pop("properties")  # a property may have the same name
        columns = [
            facts.columns[name] if name in facts.columns
            else self._held("events", name, held, facts.named, "properties")
            for name in self._columns["events"]
        ]  # fmt: skip
        return Table(facts.of, columns)

    def _changes(self, told: _Holders) -> Table:
        facts = told.facts("changes", Change, "change_id")
        return Table(facts.of, [facts.columns[name] for name in self._columns["changes"]])

    def _outcomes(self, told: _Holders) -> Table:
        if told.alone:
            return Table((), [()] * len(self._columns["outcomes"]))
        facts = told.facts("outcomes", Outcome)
        return Table(facts.of, [facts.columns[name] for name in self._columns["outcomes"]])

    def _held(
        self, table: str, name: str, held: Sequence[dict[str, Any]], named: Named, beside: str
    ) -> list[float | str | None]:
        """One attribute or property of each; empty text is missing, booleans are text."""
        values = [*map(dict.get, held, repeat(name))]
        number, kinds = (table, name) in self.numbers, {*map(type, values)}
        if not kinds.isdisjoint(_WRONG[number]):
            place = next(at for at, one in enumerate(values) if type(one) in _WRONG[number])
            raise _misread(number, named(f"{beside}.{name}")(place))
        if bool in kinds:
            return [None if value is None else _text(value) for value in values]
        if str in kinds and "" in values:
            return [value or None for value in values]
        return values


_WRONG: dict[bool, set[type]] = {True: {bool, str}, False: {float}}
"""What is not to be read as a number, or as a text."""


def _text(value: str | bool) -> str | None:
    return str(value).lower() if isinstance(value, bool) else value or None


def _misread(number: bool, path: str) -> Breach:
    kind = "a number" if number else "text"
    return invalid(path, f"the model reads {kind} here", f"send {kind}")


class _Facts(NamedTuple):
    """Facts of one kind, of one holder after another: ``of`` says whose, by number.

    Their ``columns`` are those of the contract; empty text is missing.
    """

    columns: dict[str, Sequence[Any]]
    of: Sequence[int]
    named: Named


class _Holders(NamedTuple):
    """Leads and, each after the one it is related to, the leads related to them: ``whose``, by
    number; the account of each, and its place among the related ones."""

    holders: Sequence[Lead | Related]
    whose: Sequence[int]
    accounts: Sequence[str | None]
    places: Sequence[int]

    @staticmethod
    def of(leads: Sequence[Lead]) -> _Holders:
        """Raises :class:`Breach` for related leads that cannot be."""
        if not any([one.related for one in leads]):  # noqa: C419 (a list is three times as fast)
            return _Holders(leads, range(len(leads)), [one.account_id for one in leads], ())
        made: list[tuple[Lead | Related, int, str | None, int]] = []
        for number, lead in enumerate(leads):
            made.append((lead, number, lead.account_id, -1))
            if lead.related:
                _check_related(lead)
            made += [
                (other, number, other.account_id or lead.account_id, place)
                for place, other in enumerate(lead.related)
            ]
        return _Holders(*zip(*made, strict=True))

    @property
    def alone(self) -> bool:
        """Whether nobody is related to anybody."""
        return not self.places

    def path(self, number: int) -> str:
        """What the fields of a holder stand behind in the request's lead."""
        return "" if self.alone or self.places[number] < 0 else f"related[{self.places[number]}]."

    def named(self, field: str) -> Callable[[int], str]:
        """The path of a field of a holder, by its place."""
        return lambda place: self.path(place) + field

    def facts(self, name: str, sort: type[Strict], identified: str | None = None) -> _Facts:
        """Their facts of a sort under a name, repeats under one id left out.

        Raises :class:`Breach` for times that cannot be, and for ids.
        """
        parts = [getattr(one, name, ()) for one in self.holders]
        paths = self.named(name)
        if not any(parts):
            fields = ("lead_id", *sort.__struct_fields__)
            return _Facts(dict.fromkeys(fields, ()), (), _nowhere)
        columns = _columns(parts, sort)
        if identified:
            ids: Sequence[Any] = columns[identified]
            distinct = {*ids}
            if distinct != {None} and (None in distinct or len(distinct) < len(ids)):
                parts = [_unrepeated(one, identified, paths(at)) for at, one in enumerate(parts)]
                columns = _columns(parts, sort)
            if None in distinct:
                columns[identified] = _numbered(parts, identified)
        named = partial(_named, parts, paths)
        _read_all_times(columns, named)
        sizes = [*map(len, parts)]
        leads = [one.lead_id for one in self.holders]
        columns["lead_id"] = [*chain.from_iterable(map(repeat, leads, sizes))]
        return _Facts(columns, [*chain.from_iterable(map(repeat, self.whose, sizes))], named)


def _columns(parts: Sequence[Sequence[Strict]], sort: type[Strict]) -> dict[str, Sequence[Any]]:
    """The fields of facts, of one part after another; empty text is missing."""
    rows = map(msgspec.structs.astuple, chain.from_iterable(parts))
    made: dict[str, Sequence[Any]] = dict(zip(sort.__struct_fields__, zip(*rows, strict=True),
                                              strict=True))  # fmt: skip
    for name in _texts(sort):
        if "" in made[name]:
            made[name] = [one or None for one in made[name]]
    return made


@cache
def _texts(sort: type[Strict]) -> list[str]:
    """The fields whose text may be empty."""
    return [one.name for one in msgspec.structs.fields(sort) if Text in get_args(one.type)]


def _read_all_times(columns: dict[str, Sequence[Any]], named: Named) -> None:
    """Turn the times of facts into microseconds; what is not known later is known at once.

    Raises :class:`Breach`.
    """
    known, occurred = columns["known_at"], columns.get("occurred_at")
    if occurred is None:
        columns["known_at"] = read_times(known, named("known_at"))
        return
    at = late = read_times(occurred, named("occurred_at"))
    if known.count(None) < len(known):
        if None in known:
            known = [one if then is None else then
                     for one, then in zip(occurred, known, strict=True)]  # fmt: skip
        late = read_times(known, named("known_at"))
        not_before(late, at, named("known_at"))
    columns["occurred_at"], columns["known_at"] = at, late


def _named(
    parts: Sequence[Sequence[Any]], paths: Callable[[int], str], field: str
) -> Callable[[int], str]:
    """The path of a field of a fact, by its place among those of all parts."""

    def path(place: int) -> str:
        which = 0
        while place >= len(parts[which]):
            place -= len(parts[which])
            which += 1
        return f"{paths(which)}[{place}].{field}"

    return path


def _nowhere(field: str) -> Callable[[int], str]:
    """Where nothing is that could be named."""
    return lambda _: field


def _check_related(lead: Lead) -> None:
    if lead.account_id is None:
        remedy = "give the account that the related leads share"
        raise invalid("account_id", "missing beside related leads", remedy)
    for number, other in enumerate(lead.related):
        if other.lead_id == lead.lead_id:
            path = f"related[{number}].lead_id"
            raise invalid(path, "the lead itself", "send other leads only")
    if len({other.lead_id for other in lead.related}) < len(lead.related):
        raise invalid("related", "a lead comes twice", "send each related lead once")


@lru_cache
def _numbers(count: int) -> tuple[str, ...]:
    """As many ids, in their order."""
    width = len(str(count))
    return tuple(f"{number:0{width}}" for number in range(count))


def _numbered(parts: Sequence[Sequence[Any]], name: str) -> list[str]:
    """The ids of facts, those of a lead numbered where they have none."""
    ids: list[str] = []
    for part in parts:
        given = [*map(attrgetter(name), part)]
        ids += given if part and given[0] is not None else _numbers(len(part))
    return ids


def _unrepeated(facts: Sequence[Any], name: str, path: str) -> Sequence[Any]:
    """The facts of one lead, each once.

    Raises :class:`Breach` where some have no id, and for two facts under one.
    """
    ids = [*map(attrgetter(name), facts)]
    if None in ids:
        if any(one is not None for one in ids):
            field = f"{path}[{ids.index(None)}].{name}"
            raise invalid(field, "missing, while others have one", "give every one an id, or none")
        return facts
    kept = dict(zip(reversed(ids), reversed(facts), strict=True))
    for place, (one, fact) in enumerate(zip(ids, facts, strict=True)):
        if kept[one] != fact and _said(kept[one], path) != _said(fact, f"{path}[{place}]"):
            remedy = "send each fact once, or under its own id"
            raise invalid(f"{path}[{place}].{name}", "two facts under one id", remedy)
    return [*kept.values()]


def _said(fact: Strict, path: str) -> dict[str, Any]:
    """What a fact says, however its times are written."""
    held = msgspec.structs.asdict(fact)
    return {name: read_time(one, f"{path}.{name}") if name.endswith("_at") and one is not None
            else one for name, one in held.items()}  # fmt: skip
