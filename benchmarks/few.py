"""Thirty conversions: out of time, never worse than the base rate.

    python -m benchmarks.few

20 simulated funnels. Of each, leads in random order until 30 of them have converted are all that is
trained on; the latest third of the time is what both are judged on, by log loss.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from benchmarks.bar import bar
from features import catalog
from features.simulate import simulate
from features.source import Population
from features.times import DAY, micros
from training.calibrate import log_loss
from training.dataset import Training, TrainingSet, build, labelled
from training.ladder import reached
from training.maturity import Maturity
from training.model import train

SEEDS, CONVERSIONS, LEADS, DAYS = range(100, 120), 30, 2_500, 400
WEEKLY = Population("weekly", None, 28 * DAY, 0, "won")


def halves(seed: int) -> tuple[Training, Training, int]:
    """What is trained on, what is judged on, and the moment between."""
    history = simulate(leads=LEADS, days=DAYS, seed=seed).history
    rows = labelled(history, WEEKLY)
    origin = int(np.quantile(micros(rows["as_of"]), 0.65))
    data = build(rows, catalog.default(history, before=origin), history)
    few = _few(data.where(data.as_of < origin), origin, seed)
    return few, data.where(data.as_of >= origin), origin


def _few(early: TrainingSet, origin: int, seed: int) -> TrainingSet:
    lead = early.lead_number
    order = np.random.default_rng(seed).permutation(int(lead.max()) + 1)
    won = np.isin(order, lead[early.converted & (early.known_at <= origin)])
    chosen = order[: np.searchsorted(np.cumsum(won), CONVERSIONS) + 1]
    return early.where(np.isin(lead, chosen))


def main() -> None:
    gains, rungs = [], Counter[str]()
    for seed in SEEDS:
        taught, judged, origin = halves(seed)
        model = train(taught, now=origin)
        ours = log_loss(model.predict_set(judged).probability, judged.converted)
        stands_for = Maturity.at(origin, taught.as_of, taught.known_at).weight
        rate = np.full(len(judged), np.average(taught.converted, weights=stands_for))
        gains.append(ours - log_loss(rate, judged.converted))
        rungs[reached(model.rungs)] += 1
    error = np.std(gains, ddof=1) / np.sqrt(len(gains))
    print(
        f"{len(gains)} funnels, log loss minus the base rate's: {np.mean(gains):+.4f} (standard "
        f"error {error:.4f}), at worst {np.max(gains):+.4f}; rungs: {dict(rungs)}"
    )
    bar("thirty-conversions-minus-base-rate", float(np.mean(gains)), 0)


if __name__ == "__main__":
    main()
