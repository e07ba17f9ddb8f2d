"""With few conversions: the rung that the data carry, said plainly, and served like any other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from features.simulate import Simulation, simulate
from features.source import Population, Source
from features.times import DAY
from training import bundle, ladder, report
from training.dataset import TrainingSet
from training.experiment import Result, run
from training.ladder import reached
from training.model import LeadModel, train
from training.readiness import learning_curve
from training.recipe import Recipe
from training.scorecard import DOUBLE, scorecard

WEEKLY = Population("weekly", None, 28 * DAY, 0, "won")


@pytest.fixture(scope="module")
def small() -> Simulation:
    return simulate(leads=260, seed=5)


@pytest.fixture(scope="module")
def result(small: Simulation) -> Result:
    source = Source.from_frames("small", history=small.history, population=WEEKLY)
    return run(small.history, source)


def noise(data: TrainingSet, seed: int = 0) -> TrainingSet:
    """The same rows, each with the features of another."""
    order = np.random.default_rng(seed).permutation(len(data))
    columns = data.columns.iloc[order].reset_index(drop=True)
    return TrainingSet(data.rows, columns, data.features)


def test_few_conversions_get_a_scorecard_and_a_verdict(result: Result) -> None:
    told = report.text(result.report)
    assert reached(result.model.rungs) == "scorecard"
    for words in ("Ready: out of time, the scorecard saves", "twice as many would bring", "Ladder",
                  "20 more double its odds"):  # fmt: skip
        assert words in told
    assert "Ready: out of time" in report.html(result.report)


@pytest.fixture(scope="module")
def flat(result: Result) -> tuple[TrainingSet, LeadModel]:
    """Of five models of noise nearly all are the base rate: the first, and what it was taught."""
    taught = [noise(result.data, seed) for seed in range(5)]
    made = [(data, train(data)) for data in taught]
    base = [one for one in made if reached(one[1].rungs) == "base rate"]
    assert len(base) >= 3
    return base[0]


def test_what_tells_nothing_gets_the_base_rate(flat: tuple[TrainingSet, LeadModel]) -> None:
    data, model = flat
    said = model.predict(model.encoder.matrix(data.columns)).probability
    assert np.ptp(said) == 0
    assert said[0] == pytest.approx(data.converted.mean(), rel=0.15)
    curve = learning_curve(data, model)
    assert curve is not None
    assert curve.conversions[0] < curve.conversions[-1]
    assert curve.twice < 0.03


def test_many_conversions_do_not_climb(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    data = result.data
    monkeypatch.setattr(ladder, "FEW", len(np.unique(data.lead_number[data.converted])))
    model = train(data, Recipe(rounds=48))
    assert model.rungs == ()
    assert reached(model.rungs) == "LightGBM"
    assert learning_curve(data, model) is None
    with pytest.raises(ValueError, match="no scorecard"):
        scorecard(model)


def test_points_add_up_to_the_raw_score(result: Result) -> None:
    model: LeadModel = result.model
    base, points = scorecard(model)
    by_feature = {name: [p for p in points if p.feature == name] for name in model.features.names}
    assert all(min(p.points for p in mine) == 0 for mine in by_feature.values() if mine)
    rows = np.full((1, len(model.features)), np.nan)
    missing = sum(p.points for p in points if "missing" in p.when.split("; "))
    raw = model.booster.predict(rows, raw_score=True)[0]
    assert (base + missing) * np.log(2) / DOUBLE == pytest.approx(raw, abs=1e-9)
    best = sum(max(p.points for p in mine) for mine in by_feature.values() if mine)
    said = model.booster.predict(model.encoder.matrix(result.data.columns), raw_score=True)
    assert (base + best) * np.log(2) / DOUBLE >= said.max() - 1e-9
    assert base * np.log(2) / DOUBLE <= said.min() + 1e-9


def test_a_scorecard_never_turns_back(result: Result) -> None:
    """Of numbers, the more points the further in one direction."""
    _, points = scorecard(result.model)
    texts = set(result.model.encoder.vocabulary)
    for name in {p.feature for p in points} - texts:
        mine = [p.when for p in points if p.feature == name]  # ascending points
        ends = [when.split("; ")[0] for when in mine if when != "missing"]
        up = [one.startswith("over") for one in ends]
        assert not any(up) or up.index(True) in (0, len(ends) - 1)


def test_a_rung_is_kept_in_the_bundle(
    result: Result, flat: tuple[TrainingSet, LeadModel], tmp_path: Path
) -> None:
    made = result.write_bundle(tmp_path / "bundle")
    assert made.model.rungs == result.model.rungs
    base = replace(result, model=flat[1])
    again = base.write_bundle(tmp_path / "base")
    matrix = again.model.encoder.matrix(result.data.columns[:50])
    assert np.ptp(again.model.predict(matrix).probability) == 0
    assert bundle.load(tmp_path / "base").model.booster.num_trees() == 1


def test_points_of_what_is_known_or_missing(result: Result) -> None:
    """A feature that tells only whether it is known has two ranges."""
    columns = result.data.columns.copy()
    name = next(one.name for one in result.data.features.features if one.type == "number")
    won = result.data.converted
    columns[name] = np.where(won, np.nan, np.random.default_rng(1).normal(size=len(won)))
    data = TrainingSet(result.data.rows, columns, result.data.features)
    card = Recipe(2, 16, 0.03, {"learning_rate": 0.3}, blended=False)
    _, points = scorecard(replace(train(data, card), rungs=result.model.rungs))
    mine = {p.when: p.points for p in points if p.feature == name}
    assert mine["known"] == 0 < mine["missing"]
    assert len(mine) == 2
