"""Exact contributions folded into business topics and told in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from features.language import Feature, FeatureSet
from serving.lookup import parted, weightiest

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
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
        self._order = np.concatenate([np.array(members) for members in topics.values()])
        self._first = np.cumsum([0, *map(len, topics.values())])
        self._fit = np.array([feature.group == "fit" for feature in self._features])

    def groups(self, contributions: Floats) -> Floats:
        """(n, features + 1) contributions -> (n, 2): the sums of fit and of engagement."""
        made = np.empty((len(contributions), 2))
        parted(contributions, self._fit, made)
        return made

    def top(
        self, contributions: Floats, value: Callable[[int, int], Value], most: int
    ) -> list[list[Reason]]:
        """The ``most`` weightiest reasons of each row; ``value(row, column)`` is what it held."""
        columns, weights = self._weightiest(contributions, most)
        return [
            [
                self._told(column, weight, value(row, column))
                for column, weight in zip(*told, strict=True)
                if weight != 0
            ]
            for row, told in enumerate(zip(columns.tolist(), weights.tolist(), strict=True))
        ]

    def lines(
        self, contributions: Floats, held: Callable[[int, Ints], npt.NDArray[Any]], most: int
    ) -> list[pa.Array]:
        """The texts of the ``most`` weightiest reasons (n,) with their directions, in their order.

        ``held(column, rows)`` is what rows held in a column, a missing one None or NaN.
        """
        columns, weights = self._weightiest(contributions, most)
        texts: list[str | None] = [None]
        at = np.zeros((len(columns), most), dtype=np.int64)
        for column in np.unique(columns[weights != 0]).tolist():
            rows, ranks = np.nonzero((columns == column) & (weights != 0))
            codes, distinct = pd.factorize(held(column, rows), use_na_sentinel=False)
            at[rows, ranks] = len(texts) + 2 * codes + (weights[rows, ranks] < 0)
            for value in distinct.tolist():
                line = _line(self._features[column], None if value != value else value)
                texts += [f"{line} (raises)", f"{line} (lowers)"]
        told = pa.array(texts, pa.string())
        return [told.take(pa.array(at[:, rank])) for rank in range(most)]

    def _weightiest(self, contributions: Floats, most: int) -> tuple[Ints, Floats]:
        """The columns that say most of the weightiest topics (n, most), the topics' weights.

        A weight of 0: there are no more topics.
        """
        shape = len(contributions), min(most, len(self._first) - 1)
        columns, weights = np.zeros(shape, np.int64), np.zeros(shape)
        weightiest(contributions, self._order, self._first, columns, weights)
        return columns, weights

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

    def _told(self, column: int, weight: float, held: Value) -> Reason:
        feature = self._features[column]
        return Reason(
            text=_line(feature, held),
            direction="raises" if weight > 0 else "lowers",
            contribution=weight,
            feature=feature.name,
            value=held,
        )


def _topic(feature: Feature) -> object:
    column = None if feature.where else feature.column
    if feature.aggregate == "age":
        column = "age"
    return feature.source, feature.scope, feature.where, column


def _line(feature: Feature, held: Value) -> str:
    return f"{feature.sentence}: {_written(feature, held)}"


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
