"""The contenders a model must beat: base rate, Odoo's naive Bayes and a logistic scorecard.

Rows are (lead, as_of); ``X`` has float64 and ``str`` columns (missing: NaN). Row weights count
leads: a lead of m rows gives each 1/m, so their sum is the number of independent observations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from training.evaluate import LEVEL, wilson

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


class Fitted(Protocol):
    """A contender that has seen its training rows."""

    def probability(self, X: pd.DataFrame) -> Floats:
        """P(convert) of each row, (n,)."""


class Contender(Protocol):
    """Something that can be fitted: ``X`` (n rows), ``y`` and ``weight`` (n,)."""

    @property
    def name(self) -> str:
        """What reports call it."""

    def fit(self, X: pd.DataFrame, y: Bools, weight: Floats) -> Fitted:
        """Learn from n rows; the weights are positive."""


@dataclass(frozen=True)
class BaseRate:
    """Every lead alike: the weighted share that converted."""

    name: str = "base rate"

    def fit(self, X: pd.DataFrame, y: Bools, weight: Floats) -> FittedRate:
        """The rate of y; ``X`` is not read. Raises ``ValueError`` for no rows."""
        if len(X) == 0:
            raise ValueError("a base rate needs at least one row")
        return FittedRate(float(np.average(y, weights=weight)), float(weight.sum()))


@dataclass(frozen=True)
class FittedRate:
    """One rate, seen on ``size`` leads."""

    rate: float
    size: float

    def probability(self, X: pd.DataFrame) -> Floats:
        """The rate, n times."""
        return np.full(len(X), self.rate)

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """The Wilson interval of the rate, low and high."""
        return wilson(self.rate, self.size, level)


@dataclass(frozen=True)
class NaiveBayes:
    """Frequency naive Bayes as Odoo's predictive lead scoring does it.

    For a row with the values v of the fields f that are filled and were seen in training,

        S(won) = P(won) x product over f of (won(f, v) + 0.1) / sum over u of (won(f, u) + 0.1)

    and the same for lost; the probability is S(won) / (S(won) + S(lost)), kept within 0.0001 and
    0.9999. ``won(f, v)`` is the weight of won rows with that value, and P(won) = (won + 0.1) /
    (won + lost + 0.2). Source: Odoo, ``crm.lead._pls_get_naive_bayes_probabilities``, which takes
    the prior from the first stage and reads only fields of few values. Here text columns are read
    as they are and numbers in at most ``bins`` quantile bins; Odoo's rules for teams, tags and
    stages, and its rounding to two digits of a percentage, are left out.
    """

    name: str = "naive Bayes"
    bins: int = 5

    def fit(self, X: pd.DataFrame, y: Bools, weight: Floats) -> FittedBayes:
        """Count won and lost weight of each value of each column."""
        edges = {name: self._edges(X[name]) for name in X.columns if _is_number(X[name])}
        won, lost = np.where(y, weight, 0.0), np.where(y, 0.0, weight)
        ratios = {}
        for name in X.columns:
            counts = pd.DataFrame({"won": won, "lost": lost})
            counts = counts.groupby(_values(X[name], edges.get(name))).sum() + 0.1
            logs = np.log(counts / counts.sum())
            ratios[name] = logs["won"] - logs["lost"]
        prior = float(np.log(won.sum() + 0.1) - np.log(lost.sum() + 0.1))
        return FittedBayes(prior, edges, ratios)

    def _edges(self, column: pd.Series) -> Floats:
        known = column.dropna().to_numpy()
        inner = np.linspace(0, 1, self.bins + 1)[1:-1]
        return np.unique(np.quantile(known, inner)) if len(known) else np.empty(0)


@dataclass(frozen=True, eq=False)
class FittedBayes:
    """The log odds before any field, and what each value of each field adds to them."""

    prior: float
    edges: dict[str, Floats]
    ratios: dict[str, pd.Series]

    def probability(self, X: pd.DataFrame) -> Floats:
        """P(convert) of each row, (n,); values missing or never seen add nothing."""
        odds = np.full(len(X), self.prior)
        for name, ratio in self.ratios.items():
            odds += _values(X[name], self.edges.get(name)).map(ratio).fillna(0.0).to_numpy()
        return np.clip(1 / (1 + np.exp(-np.clip(odds, -50, 50))), 0.0001, 0.9999)


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column)


def _values(column: pd.Series, edges: Floats | None) -> pd.Series:
    """The values to count, with a fresh index: text as it is, numbers as the number of a bin."""
    column = column.reset_index(drop=True)
    if edges is None:
        return column
    return pd.Series(np.searchsorted(edges, column, side="left")).where(column.notna())


@dataclass(frozen=True)
class Scorecard:
    """L2 logistic regression on logged, standardised numbers and one-hot text.

    Numbers become sign(x) log(1 + abs(x)), missing ones the mean beside an indicator; text keeps
    its ``levels`` most frequent values, missing being one, and the rest are one. ``strength`` is
    scikit-learn's C: the smaller, the stronger the penalty.
    """

    name: str = "scorecard"
    strength: float = 0.1
    levels: int = 20

    def fit(self, X: pd.DataFrame, y: Bools, weight: Floats) -> Fitted:
        """Fit by L-BFGS; with one class only, or without columns, this is the base rate."""
        if y.all() or not y.any() or X.shape[1] == 0:
            return BaseRate().fit(X, y, weight)
        numbers = make_pipeline(
            FunctionTransformer(_signed_log),
            SimpleImputer(add_indicator=True, keep_empty_features=True),
            StandardScaler(copy=False),
        )
        words = make_pipeline(
            FunctionTransformer(_filled),
            OneHotEncoder(
                max_categories=self.levels + 1,
                handle_unknown="infrequent_if_exist",
                sparse_output=False,
            ),
        )
        split = [(numbers, _columns(X, True)), (words, _columns(X, False))]
        steps = [(str(number), *step) for number, step in enumerate(split)]
        model = make_pipeline(
            ColumnTransformer(steps),
            LogisticRegression(C=self.strength, max_iter=1000),
        )
        return FittedScorecard(model.fit(X, y, logisticregression__sample_weight=weight))


@dataclass(frozen=True, eq=False)
class FittedScorecard:
    """A fitted scikit-learn pipeline."""

    pipeline: Any

    def probability(self, X: pd.DataFrame) -> Floats:
        """P(convert) of each row, (n,); text never seen in training counts as rare."""
        return np.asarray(self.pipeline.predict_proba(X)[:, 1], dtype=float)


def _columns(X: pd.DataFrame, numeric: bool) -> list[str]:
    return [name for name in X.columns if _is_number(X[name]) == numeric]


def _signed_log(X: pd.DataFrame) -> Floats:
    values = X.to_numpy(dtype=float)
    return np.sign(values) * np.log1p(np.abs(values))


def _filled(X: pd.DataFrame) -> npt.NDArray[np.object_]:
    return X.astype(object).where(X.notna(), "").to_numpy(dtype=object)
