"""What a model loses without one field, out of time: the mark of a field that carries it all."""

from __future__ import annotations

from dataclasses import dataclass

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import pandas as pd

from features.engines import compute
from features.feature import HEAD, Feature
from features.language import FeatureSet
from features.schema import History
from training.encode import Encoder
from training.evaluate import auc

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

FIELDS = 5
"""So many fields, those of the largest gain, are left out in turn."""

_LEADS = 12_000
_ROUNDS = 100
_PARAMETERS = {
    "objective": "binary", "learning_rate": 0.1, "num_leaves": 8, "min_data_in_leaf": 30,
    "feature_fraction": 0.5, "lambda_l2": 8.0, "cat_smooth": 30.0, "cat_l2": 20.0,
    "max_bin": 63, "verbosity": -1, "deterministic": True, "force_row_wise": True, "seed": 17,
}  # fmt: skip


@dataclass(frozen=True)
class Drop:
    """What leaving a field out costs on the last third of the rows.

    ``ratio`` is log loss without over log loss with the field, ``error`` its standard error;
    ``auc`` with and without.
    """

    field: str
    ratio: float
    error: float
    auc: tuple[float, float]


def drops(history: History, rows: pd.DataFrame, features: FeatureSet) -> list[Drop]:
    """Leave out the leading fields one at a time, the costliest first.

    One row a lead, drawn at random, so that rows are independent; trained on the first two thirds
    in time. Empty where either part holds one class only.
    """
    drawn = one_a_lead(rows)
    won, cut = drawn["converted"].to_numpy(dtype=bool), 2 * len(drawn) // 3
    if any(part.all() or not part.any() for part in (won[:cut], won[cut:])):
        return []
    columns = compute(features, drawn[["lead_id", "as_of"]], history)
    encoder = Encoder.fit(features, [columns.iloc[:cut]])
    matrix, field = encoder.matrix(columns), np.array([field_of(f) for f in features.features])
    everything = np.arange(len(field))
    whole, gain = grown(matrix, won, cut, everything, encoder)
    by_field = pd.Series(gain).groupby(field).sum().drop("", errors="ignore")
    leading = by_field[by_field > 0].sort_values(ascending=False).index[:FIELDS]
    found = []
    for name in leading:
        less, _ = grown(matrix, won, cut, everything[field != name], encoder)
        found.append(_drop(str(name), whole, less, won[cut:]))
    return sorted(found, key=lambda one: -one.ratio)


def one_a_lead(rows: pd.DataFrame) -> pd.DataFrame:
    """A row of each lead, drawn at random, of 12,000 leads at most; in the order of time."""
    drawn = rows.sample(frac=1, random_state=0).drop_duplicates("lead_id").iloc[:_LEADS]
    return drawn.sort_values(["as_of", "lead_id"], kind="stable").reset_index(drop=True)


def field_of(feature: Feature) -> str:
    """The attribute, kind of event or changing field that a feature reads; "" for several."""
    if feature.by is not None:
        return field_of(feature.by)
    if feature.aggregate == "attribute":
        return str(feature.column)
    named = dict(feature.where).get(HEAD[feature.source], ())
    return named[0] if len(named) == 1 and feature.source != "outcomes" else ""


def grown(
    matrix: Floats, won: Bools, cut: int, chosen: npt.NDArray[np.int64], encoder: Encoder
) -> tuple[Floats, Floats]:
    """A quick model of the first ``cut`` rows: probabilities of the others, gain of each column."""
    texts = set(encoder.categorical)
    places = [place for place, column in enumerate(chosen) if int(column) in texts]
    if not len(chosen):
        return np.full(len(won) - cut, won[:cut].mean()), np.empty(0)
    data = lgb.Dataset(matrix[:cut][:, chosen], won[:cut], categorical_feature=places)
    grown = lgb.train(_PARAMETERS, data, _ROUNDS)
    said = np.asarray(grown.predict(matrix[cut:][:, chosen]))
    return said, grown.feature_importance("gain")


def _drop(name: str, whole: Floats, less: Floats, won: Bools) -> Drop:
    losses = (-np.log(np.where(won, said, 1 - said).clip(1e-15)) for said in (whole, less))
    with_it, without = losses
    ratio = float(without.mean() / with_it.mean())
    error = float((without - ratio * with_it).std(ddof=1) / with_it.mean() / np.sqrt(len(won)))
    return Drop(name, ratio, error, (auc(won, whole) or 0.5, auc(won, less) or 0.5))
