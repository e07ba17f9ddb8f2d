"""Search for a better recipe within a time limit. The only import of optuna.

Recipes are judged by the out-of-fold log loss of the conversion head's trees of several leaves, in
the folds by lead that also choose the rounds. The
usual recipe is the first trial and stays unless another beats it by more than chance: on a small
table the best of many trials is mostly the luckiest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import optuna

from training.dataset import Training, blocks
from training.encode import Encoder
from training.grow import Encoded, Grower, here, logistic_loss, staged, stops_of
from training.recipe import Recipe, folds_of, lead_weights

Floats = npt.NDArray[np.float64]
Progress = Callable[[str, float], None]

_STARTUP = 4
"""Trials that are drawn at random and never cut short."""


@dataclass(frozen=True)
class Tuned:
    """The recipe of choice, and how it was found.

    ``usual`` and ``best``: out-of-fold log loss; ``error``: the standard error of their difference,
    by lead; ``pruned`` of the ``trials`` were cut short.
    """

    recipe: Recipe
    trials: int
    pruned: int
    usual: float
    best: float
    error: float

    @property
    def text(self) -> str:
        """What came of the search, in a line."""
        tried = f"{self.trials} recipes tried, {self.pruned} of them in part"
        gain = f"{self.usual - self.best:.4f} (standard error {self.error:.4f})"
        if self.recipe == Recipe():
            return f"{tried}: the usual one kept, the best gained {gain} of log loss"
        return f"{tried}: log loss {self.best:.4f} out of fold, a gain of {gain}"


def tune(
    data: Training, seconds: float, progress: Progress | None = None, grower: Grower = here
) -> Tuned:
    """Try recipes on a training set until ``seconds`` are over; the usual one always ends.

    ``progress`` is told the trial and the share of the time that is over. Pass only rows that no
    figure of a report will judge. Raises ``ValueError`` when all rows have the same outcome.
    """
    if data.converted.all() or not data.converted.any():
        raise ValueError("all rows have the same outcome: there is nothing to tune yet")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    search = _Search(data, seconds, progress or _silent, grower)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(n_startup_trials=_STARTUP, seed=17),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=_STARTUP),
    )
    study.enqueue_trial(search.usual)
    study.optimize(search, timeout=seconds)
    pruned = sum(one.state == optuna.trial.TrialState.PRUNED for one in study.trials)
    best = study.best_trial.number
    gain, error = search.gain(best)
    recipe = search.recipes[best] if gain > error else Recipe()
    usual = study.trials[0].value or 0.0
    return Tuned(recipe, len(study.trials), pruned, usual, study.best_value, error)


def _silent(step: str, share: float) -> None:
    del step, share


class _Search:
    """One trial after another on the same folds."""

    def __init__(self, data: Training, seconds: float, say: Progress, grower: Grower) -> None:
        self._rows = Encoded(data, Encoder.fit(data.features, blocks(data)))
        self._target = data.converted.astype(np.float64)
        self._lead, self._grower, self._say = data.lead_number, grower, say
        self._weight, self._fold = lead_weights(self._lead), folds_of(data.group)
        self._start, self._seconds = time.monotonic(), seconds
        self._raw: dict[int, Floats] = {}
        self.recipes: dict[int, Recipe] = {}

    @property
    def usual(self) -> dict[str, float]:
        """The usual recipe as the values of a trial."""
        usual = Recipe()
        known = usual.parameters("binary", len(self._rows))
        names = ("learning_rate", "feature_fraction", "bagging_fraction", "lambda_l2")
        own = {"leaves": usual.leaves, "leaf_share": usual.leaf_share}
        return own | {name: known[name] for name in names}

    def __call__(self, trial: optuna.Trial) -> float:
        """The out-of-fold log loss of a recipe at its best number of rounds."""
        recipe = _suggested(trial)
        parameters = recipe.conversion(self._rows.encoder.names, len(self._rows))
        trees = self._grower(self._rows, self._target, self._weight, parameters)
        stops, part = stops_of(recipe.fast_rounds), self._fold >= 0
        fold, target, weight = self._fold[part], self._target[part], self._weight[part]
        raw, losses = np.empty((len(stops), len(fold))), [np.inf]
        for number in range(int(fold.max()) + 1):
            share = (time.monotonic() - self._start) / self._seconds
            self._say(f"tuning: recipe {trial.number + 1}", min(share, 1.0))
            if share > 1 and trial.number:
                raise optuna.TrialPruned
            booster = trees.grow(part & (self._fold != number), recipe.fast_rounds)
            raw[:, fold == number] = staged(booster, self._rows.where(self._fold == number), stops)
            seen = fold <= number
            known = target[seen], weight[seen]
            losses = [logistic_loss(predicted[seen], *known) for predicted in raw]
            trial.report(min(losses), number)
            if trial.number and trial.should_prune():
                raise optuna.TrialPruned
        self._raw[trial.number] = raw[int(np.argmin(losses))]
        self.recipes[trial.number] = recipe
        return float(min(losses))

    def gain(self, trial: int) -> tuple[float, float]:
        """How much less log loss a trial has than the first, and its standard error by lead."""
        part = self._fold >= 0
        sign = 1 - 2 * self._target[part]
        gain = np.logaddexp(0, sign * self._raw[0]) - np.logaddexp(0, sign * self._raw[trial])
        weight = self._weight[part]
        mean = float(np.average(gain, weights=weight))
        per_lead = np.bincount(self._lead[part], weight * (gain - mean))
        return mean, float(np.sqrt(np.square(per_lead).sum()) / weight.sum())


def _suggested(trial: optuna.Trial) -> Recipe:
    """Around the usual recipe; no more leaves than serving can tabulate."""
    return Recipe(
        leaves=trial.suggest_int("leaves", 3, 8),
        leaf_share=trial.suggest_float("leaf_share", 0.001, 0.03, log=True),
        extra={
            "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.2, log=True),
            "feature_fraction": trial.suggest_float("feature_fraction", 0.1, 0.9),
            "bagging_fraction": trial.suggest_float("bagging_fraction", 0.4, 1.0),
            "lambda_l2": trial.suggest_float("lambda_l2", 1.0, 64.0, log=True),
        },
    )
