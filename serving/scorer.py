"""Bundle + what is known of a lead + as_of -> Score. Pure: no clock, no network, no store."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from itertools import repeat
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import UNSET, UnsetType

from features.engines.known import Known, known_of
from features.engines.memory import Leads, Vectors
from features.times import iso
from serving.decide import Grade, Policy, Route, grade, standing
from serving.reasons import Reason, Reasons, Value
from serving.trees import Tabled
from training.bundle import Bundle
from training.model import Prediction

if TYPE_CHECKING:
    from serving.plain import Asked as Plainly

Floats = npt.NDArray[np.float64]
Row = tuple[Any, ...]
Part = TypeVar("Part")
Parts = tuple[float | None, float | None, float | None]


class Amount(msgspec.Struct, frozen=True):
    """A mean and the ends of a 90 % interval, in the unit of the deal values."""

    mean: float
    low: float
    high: float


class Deal(msgspec.Struct, frozen=True):
    """A deal's mean value if won, and its 5, 50 and 95 % quantiles."""

    mean: float
    low: float
    median: float
    high: float


class Changed(msgspec.Struct, frozen=True):
    """What the same model said of the lead at ``since``, and what moved its log-odds since then."""

    since: str
    probability: float
    expected_value: float | None
    reasons: list[Reason]


class Prospect(msgspec.Struct, frozen=True):
    """What the model would say of the lead after one more event.

    It tells how such leads went on, not what the event brings about.
    """

    probability: float
    expected_value: float | None


class Score(msgspec.Struct, frozen=True, tag_field="status", tag="scored"):
    """What the model says of one lead as of a moment. Advice, not judgement.

    - ``probability`` of reaching the target within the model's horizon
    - ``value``: the deal's value if won, in nine cases of ten between low and high; null where the
      model was trained without deal values
    - ``expected_value``: probability x the mean of value; low and high bound the true expected
      value, what such leads bring on average (not what this one will: nothing, or a deal)
    - ``base`` + ``fit`` + ``engagement`` = the raw log-odds before calibration: the average lead,
      who this one is, what was done; null where no reasons are asked for
    - ``grade`` and ``route``: where expected value (else probability) stands in the reference
    - ``vector``: the features behind the score by name, where asked for
    - ``changed`` since an earlier moment (null: the lead was not there yet) and ``if_done``, the
      prospect after each kind of event, where asked for
    """

    lead_id: str
    as_of: str
    probability: float
    value: Deal | None
    expected_value: Amount | None
    base: float | None
    fit: float | None
    engagement: float | None
    reasons: list[Reason]
    grade: Grade
    route: Route
    model_version: str
    vector: dict[str, Value] | UnsetType = UNSET
    changed: Changed | UnsetType | None = UNSET
    if_done: dict[str, Prospect] | UnsetType = UNSET


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is known of a lead, as plain rows in the order of :attr:`Scorer.columns`.

    Times are integer microseconds, numbers float, text str, missing None. ``leads``, ``events`` and
    ``outcomes`` also hold those of the other leads of its account.
    """

    leads: Sequence[Row]
    events: Sequence[Row]
    changes: Sequence[Row]
    outcomes: Sequence[Row] = ()


Asked = Known | Sequence[tuple[str, Facts]]
"""Leads and what is known of them, by column or as plain rows."""


class Scorer:
    """Scores leads with one model, in any thread.

    ``account`` tells whether the model looks at the other leads of an account.
    """

    def __init__(self, bundle: Bundle, policy: Policy | None = None) -> None:
        self.bundle = bundle
        self.features = bundle.model.features
        self.account = any(feature.scope != "lead" for feature in self.features.features)
        self.reveals = frozenset(bundle.about.reveals)
        self.reasons = Reasons(self.features)
        self.policy = policy or Policy()
        self._tabled = _tabled(bundle)
        reference = bundle.about.reference
        self._chance = np.array(reference.probability)
        self._worth = (
            None if reference.expected_value is None else np.array(reference.expected_value)
        )

    @cached_property
    def engine(self) -> Leads:
        """Not needed for a list; refuses features that the history of some leads does not hold."""
        return Leads(self.features)

    @cached_property
    def columns(self) -> dict[str, tuple[str, ...]]:
        """What each row of leads, events, changes and outcomes holds, in order."""
        read = self.engine.columns
        # What tells the outcome is dropped by its kind, even if no feature looks at kinds.
        return {**read, "events": tuple(dict.fromkeys((*read["events"], "kind")))}

    @cached_property
    def _kind(self) -> int:
        return self.columns["events"].index("kind")

    def _known(self, asked: Asked) -> Known:
        """By column, without the events that tell the outcome."""
        if not isinstance(asked, Known):
            asked = known_of([(lead_id, vars(facts)) for lead_id, facts in asked], self.columns)
        kinds = asked.tables["events"].columns[self._kind]
        if self.reveals.isdisjoint(kinds):
            return asked
        return asked.keeping("events", [kind not in self.reveals for kind in kinds])

    def vectors(self, asked: Asked, as_of: int) -> Vectors:
        """The features of leads at ``as_of`` (microseconds), each by its own facts alone."""
        return self.engine.vectors(self._known(asked), as_of)

    def vector(self, lead_id: str, facts: Facts, as_of: int) -> Row:
        """The features of a lead at ``as_of`` (microseconds), in the order of ``features``."""
        return self.vectors([(lead_id, facts)], as_of).row(0)

    def score(
        self,
        asked: Asked,
        as_of: int,
        reasons: int = 3,
        vector: bool = False,
        since: int | None = None,
        if_done: Sequence[str] = (),
    ) -> list[Score]:
        """Score leads, each by its own facts alone, with at most so many reasons.

        ``since`` (microseconds): also what changed since then; ``if_done``: also what the model
        would say after one event of each of these kinds, just before ``as_of``.
        """
        known = self._known(asked)
        vectors = self.engine.vectors(known, as_of)
        moments, matrix = repeat(iso(as_of)), self._encoded(vectors)
        made = self.told(known.ids, moments, matrix, vectors.value, reasons)
        if not vector and since is None and not if_done:
            return made
        more: list[dict[str, Any]] = [{} for _ in made]
        if vector:
            for row, extra in enumerate(more):
                extra["vector"] = dict(zip(self.features.names, vectors.row(row), strict=True))
        if since is not None:
            for extra, changed in zip(
                more, self._changed(known, since, vectors, reasons), strict=True
            ):
                extra["changed"] = changed
        if if_done:
            for extra, prospects in zip(more, self._prospects(known, as_of, if_done), strict=True):
                extra["if_done"] = prospects
        return [
            msgspec.structs.replace(score, **extra) for score, extra in zip(made, more, strict=True)
        ]

    def _changed(
        self,
        known: Known,
        since: int,
        vectors: Vectors,
        reasons: int,
    ) -> list[Changed | None]:
        """What each lead's score was at ``since``, and what moved it."""
        created = known.column(self.columns["leads"].index("created_at"))
        there = [row for row, at in enumerate(created) if at is not None and at < since]
        found: list[Changed | None] = [None] * len(created)
        if not there:
            return found
        then = self.engine.vectors(known, since)
        said, earlier = self.explained(self._encoded(then)[there])
        _, today = self.explained(self._encoded(vectors)[there])
        moved = self.reasons.moved(
            today, earlier, lambda row, column: vectors.value(there[row], column),
            lambda row, column: then.value(there[row], column), reasons,
        )  # fmt: skip
        for row, prospect, why in zip(there, _prospects(said), moved, strict=True):
            found[row] = Changed(iso(since), prospect.probability, prospect.expected_value, why)
        return found

    def _prospects(
        self, known: Known, as_of: int, kinds: Sequence[str]
    ) -> list[dict[str, Prospect]]:
        """For each lead and kind what the model says with one more such event."""
        made: list[dict[str, Prospect]] = [{} for _ in known.ids]
        for kind in kinds:
            after = self._known(self._with_event(known, kind, as_of))
            said = self.predict(self._encoded(self.engine.vectors(after, as_of)))
            for prospects, one in zip(made, _prospects(said), strict=True):
                prospects[kind] = one
        return made

    def _with_event(self, known: Known, kind: str, as_of: int) -> Known:
        held = {
            "event_id": "\U0010ffff", "kind": kind,
            "occurred_at": as_of - 1, "known_at": as_of - 1,
        }  # fmt: skip
        columns = [known.ids if name == "lead_id" else [held.get(name)] * len(known.ids)
                   for name in self.columns["events"]]  # fmt: skip
        return known.adding("events", columns)

    def _encoded(self, vectors: Vectors) -> Floats:
        return self.bundle.model.encoder.coded(vectors.numbers, vectors.texts)

    def plainly(self, asked: Plainly) -> list[Score]:
        """Score the leads of plain requests."""
        named = {at: iso(at) for at in {*asked.as_of}}
        moments = [named[at] for at in asked.as_of]
        counts = {*asked.reasons}
        if len(counts) == 1:
            return self.told(asked.ids, moments, asked.matrix, asked.value, *counts)
        each = np.repeat(asked.reasons, asked.sizes)
        made: dict[int, Score] = {}
        for count in counts:
            rows = np.flatnonzero(each == count).tolist()
            some = self.told(
                [asked.ids[row] for row in rows], [moments[row] for row in rows],
                asked.matrix[rows], partial(_of_rows, asked.value, rows), count,
            )  # fmt: skip
            made.update(zip(rows, some, strict=True))
        return [made[row] for row in range(len(asked.ids))]

    def told(
        self,
        ids: Sequence[str],
        moments: Iterable[str],
        matrix: Floats,
        value: Callable[[int, int], Value],
        reasons: int,
    ) -> list[Score]:
        """Score encoded rows (n, features), each as of a moment.

        ``value(row, column)`` is what was encoded.
        """
        if not len(ids):
            return []
        made = self._explained(matrix, value, reasons) if reasons else self._unexplained(matrix)
        said, parts, why = made
        version, route = self.bundle.version, self.policy.route
        return [
            Score(lead_id, moment, chance, worth, expected, base, fit, engagement, told,
                  grade(place), route(place, chance, lead_id), version)
            for lead_id, moment, chance, worth, expected, (base, fit, engagement), told, place
            in zip(
                ids, moments, said.probability.tolist(), *_amounts(said), parts, why,
                self.places(said).tolist(),
                strict=False,  # what is the same for all has no end
            )
        ]  # fmt: skip

    def _unexplained(
        self, matrix: Floats
    ) -> tuple[Prediction, Iterable[Parts], Iterable[list[Reason]]]:
        return self.predict(matrix), repeat((None, None, None)), map(list, repeat(()))

    def _explained(
        self, matrix: Floats, value: Callable[[int, int], Value], reasons: int
    ) -> tuple[Prediction, Iterable[Parts], Iterable[list[Reason]]]:
        """What is said of rows; base, fit and engagement; the reasons."""
        said, contributions = self.explained(matrix)
        groups = self.reasons.groups(contributions)
        parts = zip(contributions[:, -1].tolist(), *groups.T.tolist(), strict=True)
        return said, parts, self.reasons.top(contributions, value, reasons)

    def predict(self, matrix: Floats) -> Prediction:
        """What the model says of encoded rows (n, features)."""
        return (self._tabled or self.bundle.model).predict(matrix)

    def explained(self, matrix: Floats) -> tuple[Prediction, Floats]:
        """The same, and exact contributions (n, features + 1), the last the base."""
        if self._tabled is not None:
            return self._tabled.explained(matrix)
        return self.bundle.model.predict(matrix), self.bundle.model.contributions(matrix)

    def places(self, said: Prediction) -> Floats:
        """Where rows stand in the reference population (n,)."""
        expected = said.expected_value
        if expected is None or self._worth is None:
            return standing(said.probability, self._chance)
        return standing(expected, self._worth)


def _of_rows(
    value: Callable[[int, int], Value], rows: Sequence[int], row: int, column: int
) -> Value:
    return value(rows[row], column)


def _prospects(said: Prediction) -> list[Prospect]:
    chances = said.probability.tolist()
    worth = [None] * len(chances) if said.expected_value is None else said.expected_value.tolist()
    return [Prospect(*one) for one in zip(chances, worth, strict=True)]


def _tabled(bundle: Bundle) -> Tabled | None:
    """The model as tables where its trees are small; else LightGBM answers, more slowly."""
    golden = np.array(bundle.about.golden.rows, dtype=np.float64)
    try:
        return Tabled(bundle.model, golden.reshape(-1, len(bundle.model.features)))
    except ValueError:
        return None


def _amounts(said: Prediction) -> tuple[Iterable[Deal | None], Iterable[Amount | None]]:
    rows = len(said.probability)
    return (
        _each(rows, Deal, said.value, said.value_low, said.value_median, said.value_high),
        _each(rows, Amount, said.expected_value, said.expected_low, said.expected_high),
    )


def _each(rows: int, made: Callable[..., Part], *columns: Floats | None) -> Iterable[Part | None]:
    """One of ``made`` a row, of its number in each column; None for all where a column lacks."""
    told = [column.tolist() for column in columns if column is not None]
    return map(made, *told) if len(told) == len(columns) else repeat(None, rows)
