"""A scorecard as a person reads it: points for each range of each feature."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from training.model import LeadModel

Floats = npt.NDArray[np.float64]

DOUBLE = 20
"""So many points double the odds of converting (Siddiqi 2006, "Credit Risk Scorecards", p. 114)."""

_SCALE = DOUBLE / np.log(2)
_ZERO = 1e-30
"""LightGBM writes a split at zero as 1e-35."""

_ENDLESS = 1e300
"""And so one of what is known from what is missing."""


@dataclass(frozen=True)
class Points:
    """What a range of a feature is worth; ``low < value <= high`` where they are given.

    ``when``: the range in words, or the texts that share the points.
    """

    feature: str
    when: str
    points: float


def scorecard(model: LeadModel) -> tuple[float, tuple[Points, ...]]:
    """Base points, and the points of every range; each feature's lowest range has 0.

    A lead's points, divided by ``20 / ln 2``, are its raw log-odds, to rounding. Raises
    ``ValueError`` for a model whose trees have more than one split: its features do not add up.
    """
    trees = model.booster.dump_model()["tree_info"]
    if any(tree["num_leaves"] > 2 for tree in trees):
        raise ValueError("the model is no scorecard: its trees have more than one split")
    roots = [tree["tree_structure"] for tree in trees if tree["num_leaves"] == 2]
    width, found = len(model.features), []
    base = float(_raw(model, np.full((1, width), np.nan))[0])
    for column in sorted({root["split_feature"] for root in roots}):
        edges = {root["threshold"] for root in roots
                 if root["split_feature"] == column and root["decision_type"] == "<="}  # fmt: skip
        words, values = _ranges(model, column, sorted(edges))
        rows = np.full((len(values), width), np.nan)
        rows[:, column] = values
        worth = _raw(model, rows) - _raw(model, np.full((1, width), np.nan))[0]
        base += float(worth.min())
        found += _told(model.features.names[column], words, _SCALE * (worth - worth.min()))
    return base * _SCALE, tuple(found)


def _raw(model: LeadModel, rows: Floats) -> Floats:
    return np.asarray(model.booster.predict(rows, raw_score=True, num_threads=1))


def _ranges(model: LeadModel, column: int, edges: list[float]) -> tuple[list[str], list[float]]:
    """Words for each range of a column's values, and a value inside it; missing comes last."""
    name = model.features.names[column]
    texts = model.encoder.vocabulary.get(name)
    if texts is not None:
        return [*texts, "another", "missing"], [*map(float, range(len(texts) + 1)), np.nan]
    edges = [edge for edge in edges if edge < _ENDLESS]
    if not edges:
        return ["known", "missing"], [0.0, np.nan]
    shown = [f"{0.0 if abs(edge) < _ZERO else edge:,.4g}" for edge in edges]
    between = [f"{low} to {high}" for low, high in pairwise(shown)]
    return [f"up to {shown[0]}", *between, f"over {shown[-1]}", "missing"], [*edges, np.inf, np.nan]


def _told(feature: str, words: list[str], points: Floats) -> list[Points]:
    """Neighbours, or texts, of equal points are told together."""
    found: list[Points] = []
    for when, worth in sorted(zip(words, points.tolist(), strict=True), key=lambda one: one[1]):
        if found and abs(found[-1].points - worth) < 1e-9:
            found[-1] = Points(feature, f"{found[-1].when}; {when}", found[-1].points)
        else:
            found.append(Points(feature, when, worth))
    return found
