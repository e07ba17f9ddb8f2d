"""One small simulated funnel and one model of it, made once."""

from __future__ import annotations

import pytest

from features.simulate import Simulation, simulate
from features.source import Evaluation, Population, Source
from features.times import DAY
from training.experiment import Result, run

WEEKLY = Population(at="weekly", after=None, horizon=28 * DAY, grace=0, target="won")


@pytest.fixture(scope="session")
def funnel() -> Simulation:
    return simulate(leads=2_500, seed=3)


@pytest.fixture(scope="session")
def source(funnel: Simulation) -> Source:
    return Source.from_frames(
        "funnel",
        history=funnel.history,
        population=WEEKLY,
        evaluation=Evaluation(("2026-01-05",), None),
    )


@pytest.fixture(scope="session")
def result(funnel: Simulation, source: Source) -> Result:
    return run(funnel.history, source, ceiling=funnel.truth.at)
