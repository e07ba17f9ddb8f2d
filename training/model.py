"""LeadModel: P(convert within the horizon), E[value | convert], intervals, reasons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from features.language import FeatureSet
from training.calibrate import Calibration, choose
from training.conversion import cross, grow
from training.dataset import Training, blocks
from training.encode import Encoder
from training.grow import Encoded, Grower, here
from training.ladder import Rung, climb
from training.maturity import Maturity
from training.recency import UNTRIED, Recency, recency
from training.recipe import Recipe, folds_of, lead_weights, threads
from training.spread import Spread, fit_spread
from training.value import ValueHead, deals_of, fit_value

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Progress = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of n rows. Values are None without a value head.

    ``value`` is the mean of the deal value if won; ``value_low``, ``value_median`` and
    ``value_high`` its 5, 50 and 95 % quantiles. ``expected_low`` and ``expected_high`` bound the
    true expected value (90 %): the mean of what such leads bring, not what one lead will.
    """

    probability: Floats
    value: Floats | None = None
    value_low: Floats | None = None
    value_median: Floats | None = None
    value_high: Floats | None = None
    expected_low: Floats | None = None
    expected_high: Floats | None = None

    @property
    def expected_value(self) -> Floats | None:
        """probability x value (n,)."""
        return None if self.value is None else self.probability * self.value


@dataclass(frozen=True, eq=False)
class LeadModel:
    """Both heads and what they need to read a row. Immutable and safe to share among threads.

    ``rungs``: how each step of the ladder did, where conversions were few (:mod:`training.ladder`);
    ``recency``: whether older rows taught less (:mod:`training.recency`), told by training alone.
    """

    features: FeatureSet
    encoder: Encoder
    booster: lgb.Booster
    calibration: Calibration
    value_head: ValueHead | None
    spread: Spread | None = None
    rungs: tuple[Rung, ...] = ()
    recency: Recency = UNTRIED

    def predict(self, matrix: Floats) -> Prediction:
        """Score (n, features) encoded rows."""
        raw = self.booster.predict(matrix, raw_score=True, num_threads=threads(matrix))
        head = self.value_head
        return self.read(np.asarray(raw), None if head is None else head.mean(matrix))

    def read(self, raw: Floats, value: Floats | None) -> Prediction:
        """What raw log-odds and values if won (n,), if there is a value head, amount to."""
        head, probability = self.value_head, self.calibration(raw)
        if head is None or value is None:
            return Prediction(probability)
        ends = self.spread.ends(probability, probability * value) if self.spread else ()
        return Prediction(probability, value, *(value * ratio for ratio in head.ratios), *ends)

    def predict_set(self, data: Training) -> Prediction:
        """Score a training set, in memory or on disk, a block of rows at a time."""
        raw, value = np.empty(len(data)), np.empty(len(data))
        for place, matrix in Encoded(data, self.encoder).blocks():
            raw[place] = self.booster.predict(matrix, raw_score=True, num_threads=threads(matrix))
            if self.value_head is not None:
                value[place] = self.value_head.mean(matrix)
        return self.read(raw, None if self.value_head is None else value)

    def contributions(self, matrix: Floats) -> Floats:
        """Exact additive contributions to the raw log-odds, (n, features + 1), the last the base.

        TreeSHAP (Lundberg et al. 2020, Nature Machine Intelligence 2, 56-67), by LightGBM.
        """
        found = self.booster.predict(matrix, pred_contrib=True, num_threads=threads(matrix))
        return np.asarray(found)


def train(
    data: Training,
    recipe: Recipe | None = None,
    progress: Progress | None = None,
    grower: Grower = here,
    now: int | None = None,
) -> LeadModel:
    """Grow both heads on a training set, in memory or on disk; ``grower`` says where.

    Rows whose outcome is not known by ``now`` (microseconds; None: all are) teach nothing; the
    conversion head lets those that are settled already stand for them (:mod:`training.maturity`),
    the value head leaves out all rows as young as they are. Rows of a lead weigh less the more
    there are (see :func:`lead_weights`), old ones less where that is seen to help the conversion
    head (:mod:`training.recency`). The conversion head blends trees of several leaves with
    single splits; with few conversions it may be less than that (:mod:`training.ladder`). The
    numbers of rounds, the blend and the calibration come from folds by lead; the head is then grown
    on all rows. Raises ``ValueError`` when the rows hold one class only.
    """
    recipe, say = recipe or Recipe(), progress or (lambda _: None)
    with threadpool_limits(1, "blas"):  # small products: more threads wait for work, and burn time
        return _train(data, recipe, say, grower, now)


def _train(
    data: Training, recipe: Recipe, say: Progress, grower: Grower, now: int | None
) -> LeadModel:
    as_of, known_at, every = data.as_of, data.known_at, data.lead_number
    now = int(known_at.max()) if now is None else now
    maturity, groups = Maturity.at(now, as_of, known_at), folds_of(data.group)
    known, ripe, crossed = maturity.known, maturity.ripe, groups >= 0
    taught = data if known.all() else data.where(known)
    converted, lead = taught.converted, every[known]
    if converted.all() or not converted.any():
        raise ValueError("all rows have the same outcome: there is nothing to learn yet")
    encoder = Encoder.fit(data.features, blocks(taught))
    rows, target, folds = Encoded(taught, encoder), converted.astype(np.float64), groups[known]
    weight = lead_weights(lead) * maturity.weight[known]
    weight, fading = recency(rows, target, weight, taught.as_of, lead)
    head, rungs = climb(rows, target, weight, lead, folds, recipe, grower)
    trees = grower(rows, target, weight, head.conversion(encoder.names, len(taught)))
    say("conversion head: folds by lead")
    crossing = cross(trees, rows, target, weight, folds, head)
    say(f"conversion head: all rows, {crossing.rounds} rounds")
    booster, raw = grow(trees, len(rows), crossing), np.full(len(data), np.nan)
    raw[known & crossed] = crossing.raw
    at = np.flatnonzero(crossed)
    calibration = choose(raw[at], data.converted[at], as_of[at], every[at], known_at[at], now)
    del trees  # the binned rows, before those of the value head
    say("value head")
    deals = deals_of(data.where(ripe), encoder)
    if deals is None:
        return LeadModel(
            data.features, encoder, booster, calibration, None, rungs=rungs, recency=fading
        )
    value_head = fit_value(deals, recipe, grower)
    say("interval of the expected value")
    judged = ripe & crossed
    spread = fit_spread(data.where(judged), deals, calibration(raw[judged]))
    return LeadModel(
        data.features, encoder, booster, calibration, value_head, spread, rungs, fading
    )
