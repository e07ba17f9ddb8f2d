"""A search that ends in time, and keeps the usual recipe unless it is clearly beaten."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.language import FeatureSet, attribute
from features.simulate import Simulation
from features.source import Source
from training import tune as module
from training.dataset import TrainingSet
from training.experiment import plan, run
from training.recipe import Recipe
from training.tune import tune


def made(signal: float) -> TrainingSet:
    """Leads of three rows each, whose outcome is told by three numbers as far as ``signal``."""
    draw = np.random.default_rng(2)
    names = ("a", "b", "c")
    columns = pd.DataFrame(draw.normal(size=(2_400, 3)), columns=names)
    odds = signal * np.sin(2 * columns.to_numpy()).sum(axis=1)
    rows = pd.DataFrame(
        {
            "lead_id": pd.Series(np.arange(2_400) // 3).astype("str"),
            "as_of": pd.date_range("2026-01-01", periods=2_400, freq="h", tz="UTC").as_unit("us"),
            "converted": draw.random(2_400) < 1 / (1 + np.exp(-odds)),
            "value": np.nan,
        }
    )
    return TrainingSet(rows, columns, FeatureSet([attribute(name, "number") for name in names]))


def test_a_search_ends_in_time_and_tells_how_far_it_is() -> None:
    told: list[tuple[str, float]] = []
    start = time.monotonic()
    found = tune(made(1.0), 4.0, lambda step, share: told.append((step, share)))
    assert time.monotonic() - start < 30
    assert found.trials >= 2
    assert told[0][0] == "tuning: recipe 1"
    assert all(0 <= share <= 1 for _, share in told)
    assert found.best <= found.usual
    assert f"{found.trials} recipes tried" in found.text


def test_where_there_is_nothing_to_learn_the_usual_recipe_stays() -> None:
    found = tune(made(0.0), 4.0)
    assert found.recipe == Recipe() or found.usual - found.best > found.error


def test_a_better_recipe_takes_the_place_of_a_poor_one(monkeypatch: pytest.MonkeyPatch) -> None:
    poor = {"learning_rate": 0.02, "lambda_l2": 64.0, "bagging_fraction": 0.4}

    def usually(**own: Any) -> Recipe:
        return Recipe(**own) if own else Recipe(leaves=3, leaf_share=0.03, extra=poor)

    monkeypatch.setattr(module, "Recipe", usually)
    found = tune(made(3.0), 6.0)
    assert found.recipe != usually()
    assert found.usual - found.best > found.error


def test_an_experiment_records_the_search(funnel: Simulation, source: Source) -> None:
    features = plan(funnel.history, source).features
    few = FeatureSet(features.features[:6])
    told = run(funnel.history, source, features=few, tuning=1.0).report.training
    assert "recipes tried" in str(told["tuning"])
    assert "leaves" in str(told["recipe"])


def test_one_class_cannot_be_tuned() -> None:
    data = made(1.0)
    with pytest.raises(ValueError, match="same outcome"):
        tune(data.where(data.converted), 1.0)
