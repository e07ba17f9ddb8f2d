"""Who has room for how many leads, by a policy: all together, each territory, each owner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import pandas as pd

from features.schema import History
from features.times import micros
from serving.decide import Policy

Kind = Literal["all", "territory", "owner"]
Why = Literal["decided", "no_consent", "no_territory", "all_full", "territory_full", "owner_full"]
Place = tuple[Kind, str]


class Room(msgspec.Struct, frozen=True):
    """Who takes leads: all together, a territory, an owner. ``capacity`` null: without an end.

    ``before`` were handed over earlier and are still open, ``handed`` come now.
    """

    kind: Kind
    name: str
    capacity: int | None
    before: int
    handed: int


class Rooms:
    """Who can take how many more leads, by a policy."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._capacity: dict[Place, int | None] = {("all", "all"): policy.capacity}
        self._territory: dict[str, str] = {}
        if policy.territories is not None:
            for name, one in policy.territories.named.items():
                self._capacity["territory", name] = one.capacity
                self._territory.update(dict.fromkeys(one.values, name))
        self._before, self._handed = Counter[Place](), Counter[Place]()

    def fill(self, held: Mapping[str, Any]) -> None:
        """Count a lead that is worked on already, by its attributes."""
        self._before.update(self._places(held))

    def take(self, held: Mapping[str, Any], consent: bool | None = True) -> Why | None:
        """Take a lead, by its attributes; what keeps it, where something does.

        ``consent``: its last word on being contacted, None without one.
        """
        if consent is False or (consent is None and self._policy.consent == "if_given"):
            return "no_consent"
        places = self._places(held)
        if self._policy.territories is not None and self.territory(held) is None:
            return "no_territory"
        for place in places:
            capacity = self._capacity_of(place)
            if capacity is not None and self._before[place] + self._handed[place] >= capacity:
                return _FULL[place[0]]
        self._handed.update(places)
        return None

    def territory(self, held: Mapping[str, Any]) -> str | None:
        """The territory of a lead, None where it belongs nowhere."""
        declared = self._policy.territories
        value = None if declared is None else _text(held.get(declared.attribute))
        return None if value is None else self._territory.get(value)

    def owner(self, held: Mapping[str, Any]) -> str | None:
        """The owner of a lead, None where it has none, or the policy has no word of owners."""
        declared = self._policy.owners
        return None if declared is None else _text(held.get(declared.attribute))

    def told(self) -> list[Room]:
        """All of them."""
        places = dict.fromkeys([*self._capacity, *self._before, *self._handed])
        return [Room(*one, self._capacity_of(one), self._before[one], self._handed[one])
                for one in places]  # fmt: skip

    def _places(self, held: Mapping[str, Any]) -> list[Place]:
        made: list[Place] = [("all", "all")]
        territory, owner = self.territory(held), self.owner(held)
        if territory is not None:
            made.append(("territory", territory))
        if owner is not None:
            made.append(("owner", owner))
        return made

    def _capacity_of(self, place: Place) -> int | None:
        kind, name = place
        if kind == "owner" and self._policy.owners is not None:
            return self._policy.owners.of.get(name, self._policy.owners.capacity)
        return self._capacity.get(place)


_FULL: dict[Kind, Why] = {
    "all": "all_full", "territory": "territory_full", "owner": "owner_full"
}  # fmt: skip


def _text(held: Any) -> str | None:
    return None if held is None or held == "" or held != held else str(held)


def fitted(ranked: pd.DataFrame, history: History, as_of: int, policy: Policy) -> pd.DataFrame:
    """A ranked list (columns lead_id, route) whose sales are those that the policy has room for.

    Others that would have gone there are nurtured. Nobody is taken to be handed over before, and
    nobody to have withdrawn consent: a history does not tell. Raises ``ValueError`` for an
    attribute that no lead has.
    """
    rooms, names = Rooms(policy), policy.attributes
    columns = [_attribute(history, name, as_of).reindex(ranked["lead_id"]) for name in names]
    routes = [
        "nurture" if route == "sales" and rooms.take(dict(zip(names, held, strict=True))) else route
        for route, *held in zip(ranked["route"], *columns, strict=True)
    ]
    return ranked.assign(route=pd.Series(routes, index=ranked.index, dtype="str"))


def _attribute(history: History, name: str, as_of: int) -> pd.Series:
    """What leads had for an attribute at ``as_of`` (microseconds), by lead_id."""
    changes = history.changes[
        (history.changes["field"] == name) & (micros(history.changes["known_at"]) < as_of)
    ]
    if name not in history.leads and changes.empty:
        raise ValueError(f"no lead has {name!r}: name an attribute of the leads in the policy")
    told = history.leads[name] if name in history.leads else [None] * len(history.leads)
    latest = changes.sort_values(["known_at", "change_id"]).set_index("lead_id")["value"]
    held = dict(zip(history.leads["lead_id"], told, strict=True)) | latest.to_dict()
    return pd.Series(
        {lead: None if pd.isna(one) else one for lead, one in held.items()}, dtype=object
    )
