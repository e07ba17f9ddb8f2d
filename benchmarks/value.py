"""The interval of the expected value against the truth of simulated funnels.

    python -m benchmarks.value [--leads N]

Each seed is a funnel of its own: trained on the outcomes known at 70 % of the rows, judged on the
later ones, where the true chance and the true mean value of every lead are known. The interval is
fitted without them. 20 seeds of 2,000 leads over 400 days, 4 CPU minutes.
"""

from __future__ import annotations

import argparse

import numpy as np

from benchmarks.bar import bar, cpu_seconds
from features import simulate
from features.source import Evaluation, Population, Source
from features.times import duration
from training.experiment import plan, training_set
from training.model import train

SEEDS, DAYS = range(301, 321), 400
POPULATION = Population("weekly", None, duration("28d"), 0, "won")


def judged(seed: int, leads: int) -> tuple[float, float]:
    """The shares of true expected values, and of deals of won rows, inside their intervals."""
    made = simulate.simulate(leads=leads, days=DAYS, seed=seed)
    source = Source.from_frames(
        "funnel",
        history=made.history,
        population=POPULATION,
        evaluation=Evaluation((0.7,), None),
    )
    planned = plan(made.history, source)
    data = training_set(made.history, source, planned)
    fold = planned.folds[0]
    model = train(data.where(fold.past(data.as_of)), now=fold.origin)
    test = data.where(fold.test(data.as_of))
    said = model.predict_set(test)
    truth = made.truth.at(test.rows[["lead_id", "as_of"]])["expected_value"].to_numpy()
    assert said.expected_low is not None
    assert said.expected_high is not None
    assert said.value_low is not None
    assert said.value_high is not None
    inside = (said.expected_low <= truth) & (truth <= said.expected_high)
    deal = (said.value_low <= test.value) & (test.value <= said.value_high)
    return float(inside.mean()), float(deal[test.converted].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leads", type=int, default=2_000)
    leads = parser.parse_args().leads
    start, found = cpu_seconds(), []
    for seed in SEEDS:
        found.append(judged(seed, leads))
        print(
            f"seed {seed}: expected value {found[-1][0]:.3f}, deal {found[-1][1]:.3f}", flush=True
        )
    expected, deal = np.mean(found, axis=0)
    least, most = np.min(found, axis=0)[0], np.max(found, axis=0)[0]
    print(f"expected value {least:.3f} to {most:.3f}; {cpu_seconds() - start:.0f} CPU s")
    bar("expected-value-coverage-low", float(expected), 0.85, ">=")
    bar("expected-value-coverage-high", float(expected), 0.95, "<=")
    bar("deal-value-coverage-low", float(deal), 0.85, ">=")
    bar("deal-value-coverage-high", float(deal), 0.95, "<=")


if __name__ == "__main__":
    main()
