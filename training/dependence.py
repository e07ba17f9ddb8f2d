"""What a model makes of a feature, all else as it is: partial dependence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.feature import Feature
from training.dataset import Training
from training.model import LeadModel

Floats = npt.NDArray[np.float64]

ROWS, STEPS, WORDS = 500, 12, 8
"""So many of the latest rows are asked, at so many values of a number or words of a text."""


@dataclass(frozen=True, eq=False)
class Dependence:
    """The mean probability (k,) when a feature is set to each of its ``values`` in every row.

    Numbers ascend, words come in their frequency; None, where rows lack the value, comes last.
    """

    feature: Feature
    values: tuple[float | str | None, ...]
    probability: Floats


def dependence(model: LeadModel, data: Training, names: Sequence[str]) -> list[Dependence]:
    """Partial dependence of the probability on the named features.

    Friedman (2001), Greedy function approximation, Annals of Statistics 29, section 8.2: the mean
    of the model over the latest rows with the feature set. It says what the model does, not what
    a change would bring about; where features move together, some of these rows never occur.
    """
    latest = np.sort(np.argsort(data.as_of, kind="stable")[-ROWS:])
    matrix = model.encoder.matrix(data.take(latest).columns)
    return [_of(model, matrix, model.features.names.index(name)) for name in names]


def _of(model: LeadModel, matrix: Floats, position: int) -> Dependence:
    feature = model.features.features[position]
    words = model.encoder.vocabulary.get(feature.name)
    known = matrix[:, position]
    gaps, known = bool(np.isnan(known).any()), known[~np.isnan(known)]
    values: list[float | str | None]
    if words is None:
        steps = known  # none, where the latest rows all lack it
        if len(known):
            steps = np.unique(np.quantile(known, np.linspace(0, 1, STEPS), method="nearest"))
        codes, values = steps.tolist(), steps.tolist()
    else:
        codes = [float(code) for code in range(min(len(words), WORDS))]
        values = list(words[:WORDS])
    if gaps:
        codes, values = [*codes, np.nan], [*values, None]
    asked = np.repeat(matrix[None], len(codes), axis=0)
    asked[:, :, position] = np.array(codes)[:, None]
    said = model.predict(asked.reshape(-1, matrix.shape[1])).probability
    return Dependence(feature, tuple(values), said.reshape(len(codes), -1).mean(axis=1))
