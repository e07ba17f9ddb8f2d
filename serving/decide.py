"""From a score to a grade and a route; and the policy that says so."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from serving.lookup import places

Grade = Literal["A", "B", "C", "D", "E"]
Route = Literal["sales", "nurture", "leave"]
Floats = npt.NDArray[np.float64]

GRADES: tuple[tuple[Grade, float], ...] = (("A", 95), ("B", 80), ("C", 50), ("D", 20))
"""A grade and the standing from which on it is given: A the top 5 %, B the next 15 %; else E."""

_LETTERS: tuple[Grade, ...] = ("E", *(letter for letter, _ in reversed(GRADES)))
_LEAST = [least for _, least in reversed(GRADES)]

Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]


class _Declared(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a policy's file."""


class Territory(_Declared, frozen=True):
    """Leads that have one of some values; ``capacity`` of them are worked on there at a time."""

    values: Annotated[list[str], Meta(min_length=1)]
    capacity: Count | None = None


class Territories(_Declared, frozen=True):
    """Where a lead belongs, by an attribute of it. Who belongs nowhere is not handed over."""

    attribute: str
    named: Annotated[dict[str, Territory], Meta(min_length=1)]


class Owners(_Declared, frozen=True):
    """How many leads an owner, an attribute of the lead, works on at a time; some otherwise."""

    attribute: str
    capacity: Count
    of: dict[str, Count] = {}


class Policy(_Declared, frozen=True):
    """What is done with a lead: the best ``sales`` are handed over, the last ``leave`` left alone.

    Both are shares of the reference population, so that a retrained model moves no one by itself.
    ``least_probability``: who is less likely is not handed over, whatever the deal; ``explore``: so
    many of those that would be nurtured are handed over nevertheless, always the same ones, so that
    outcomes tell what the policy misses.

    The rest says for whom of them there is room (:mod:`serving.rooms`): ``capacity`` leads at a
    time, in ``territories``, with ``owners``; with ``consent`` to be contacted.
    """

    sales: Share = 0.20
    leave: Share = 0.30
    least_probability: Share = 0.0
    explore: Share = 0.0
    consent: Literal["unless_refused", "if_given"] = "unless_refused"
    capacity: Count | None = None
    territories: Territories | None = None
    owners: Owners | None = None

    def __post_init__(self) -> None:
        """Raises ``ValueError`` for shares that are more than all leads, and for two territories
        that have a value in common."""
        if min(self.sales, self.leave) < 0 or self.sales + self.leave > 1:
            raise ValueError("sales and leave are shares of the leads: at least 0, together 1")
        named = self.territories.named.values() if self.territories else ()
        values = Counter(value for one in named for value in one.values)
        for value, times in values.items():
            if times > 1:
                raise ValueError(f"{value!r} is in two territories: leave it in one of them")

    @staticmethod
    def read(path: Path) -> Policy:
        """The policy of a TOML file. Raises ``ValueError`` that names the key and the remedy."""
        try:
            return msgspec.toml.decode(path.read_bytes(), type=Policy)
        except (msgspec.MsgspecError, ValueError) as error:
            known = ", ".join(Policy.__struct_fields__)
            raise ValueError(
                f"{path}: {error}: a policy has {known}: see leadcast policy --help"
            ) from None

    @property
    def mark(self) -> str:
        """Another one where a lead may get another route."""
        return f"{self.sales} {self.leave} {self.least_probability} {self.explore}"

    @property
    def attributes(self) -> list[str]:
        """The attributes of a lead that it looks at."""
        told = (self.territories, self.owners)
        return list(dict.fromkeys(one.attribute for one in told if one is not None))

    @property
    def limited(self) -> bool:
        """Whether there may be no room for a lead."""
        return bool(self.attributes) or self.capacity is not None

    @property
    def by_standing(self) -> bool:
        """Whether the standing alone decides."""
        return not self.least_probability and not self.explore

    def route(self, standing: float, probability: float = 1.0, lead_id: str = "") -> Route:
        """What to do with a lead of this standing (0..100)."""
        if standing >= 100 * (1 - self.sales) and probability >= self.least_probability:
            return "sales"
        if standing < 100 * self.leave:
            return "leave"
        return "sales" if self.explore and _draw(lead_id) < self.explore else "nurture"


def _draw(lead_id: str) -> float:
    """A number from 0 to 1, always the same for a lead."""
    return int.from_bytes(hashlib.sha256(lead_id.encode()).digest()[:8]) / 2**64


def standing(values: Floats, percentiles: Sequence[float] | Floats) -> Floats:
    """The share of the reference population below each value, 0..100 (n,).

    ``percentiles`` are those of the reference, 0..100. Among equals, the middle of their range: in
    a population of equals everybody stands at 50.
    """
    found: Floats = places(values, np.asarray(percentiles, np.float64))
    return found


def grade(standing: float) -> Grade:
    """The letter for a standing (0..100)."""
    return _LETTERS[bisect_right(_LEAST, standing)]
