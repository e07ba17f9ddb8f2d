"""Exact contributions folded into business topics and told in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from features.language import Feature, FeatureSet

Floats = npt.NDArray[np.float64]
Value = float | str | None


class Reason(msgspec.Struct, frozen=True):
    """Why a score is what it is: one topic, told by the column that says most of it.

    ``contribution`` is the topic's share of the raw log-odds; ``value`` that of ``feature``.
    """

    text: str
    direction: Literal["raises", "lowers"]
    contribution: float
    feature: str
    value: Value


class Reasons:
    """Folds the columns of a feature set into topics: what is known of one thing, over all windows.

    All columns over the same selection of facts are one topic; an attribute is its own, as is a
    property read from all events.
    """

    def __init__(self, features: FeatureSet) -> None:
        self._features = features.features
        topics: dict[object, list[int]] = {}
        for position, feature in enumerate(self._features):
            topics.setdefault(_topic(feature), []).append(position)
        self._members = [np.array(members) for members in topics.values()]
        self._order = np.concatenate(self._members)
        self._first = np.cumsum([0, *map(len, self._members)])[:-1]
        self._fit = np.array([feature.group == "fit" for feature in self._features])

    def groups(self, contributions: Floats) -> Floats:
        """(n, features + 1) contributions -> (n, 2): the sums of fit and of engagement."""
        sums = [
            np.where(mask, contributions[:, :-1], 0.0).sum(axis=1)
            for mask in (self._fit, ~self._fit)
        ]
        return np.column_stack(sums)

    def top(
        self, contributions: Floats, value: Callable[[int, int], Value], most: int
    ) -> list[list[Reason]]:
        """The ``most`` weightiest reasons of each row; ``value(row, column)`` is what it held."""
        # Not a matrix product: that rounds a row otherwise in other company.
        folded = np.add.reduceat(contributions[:, self._order], self._first, axis=1)
        order = np.argsort(-np.abs(folded), axis=1, kind="stable")[:, :most]
        return [
            [
                self._told(contributions[row], folded[row, topic], topic, row, value)
                for topic in topics
                if folded[row, topic] != 0
            ]
            for row, topics in enumerate(order)
        ]

    def moved(
        self,
        contributions: Floats,
        earlier: Floats,
        value: Callable[[int, int], Value],
        before: Callable[[int, int], Value],
        most: int,
    ) -> list[list[Reason]]:
        """The weightiest differences from earlier contributions; the text tells what was.

        They are exact: the differences of all topics add up to that of the raw log-odds.
        """
        found = self.top(contributions - earlier, value, most)
        places = {feature.name: place for place, feature in enumerate(self._features)}
        return [
            [self._since(reason, before(row, places[reason.feature])) for reason in reasons]
            for row, reasons in enumerate(found)
        ]

    def _since(self, reason: Reason, was: Value) -> Reason:
        feature = next(one for one in self._features if one.name == reason.feature)
        then = "the same before" if was == reason.value else f"before: {_written(feature, was)}"
        return msgspec.structs.replace(reason, text=f"{reason.text} ({then})")

    def _told(
        self,
        contributions: Floats,
        weight: float,
        topic: int,
        row: int,
        value: Callable[[int, int], Value],
    ) -> Reason:
        members = self._members[topic]
        signed = contributions[members] if weight > 0 else -contributions[members]
        column = int(members[signed.argmax()])
        feature, held = self._features[column], value(row, column)
        return Reason(
            text=f"{feature.sentence}: {_written(feature, held)}",
            direction="raises" if weight > 0 else "lowers",
            contribution=float(weight),
            feature=feature.name,
            value=held,
        )


def _topic(feature: Feature) -> object:
    column = None if feature.where else feature.column
    if feature.aggregate == "age":
        column = "age"
    return feature.source, feature.scope, feature.where, column


def _written(feature: Feature, value: Value) -> str:
    if value is None:
        return feature.null
    if isinstance(value, str):
        return value
    if feature.unit == "share":
        return f"{100 * value:.0f} %"
    if feature.unit == "days":
        return f"{value:,.1f}"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"
