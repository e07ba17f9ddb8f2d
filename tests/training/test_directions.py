"""What a business declares to go one way goes that way, whatever the data say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.simulate import Simulation
from features.source import Source
from training.dataset import TrainingSet
from training.experiment import Result, run
from training.model import LeadModel, train
from training.recipe import Recipe

FALLS = "count(pricing_visit)"


@pytest.fixture(scope="module")
def taught(result: Result) -> TrainingSet:
    """Rows of a year, the sign of one count turned round: with it conversion falls."""
    data = result.data.where(np.arange(len(result.data)) % 4 == 0)
    return TrainingSet(
        data.rows, data.columns.assign(**{FALLS: -data.columns[FALLS]}), data.features
    )


@pytest.fixture(scope="module")
def model(taught: TrainingSet) -> LeadModel:
    return train(taught, Recipe(rounds=96, directions=((FALLS, 1), ("company_size", -1))))


@settings(max_examples=50)
@given(st.integers(0, 2**32))
def test_a_rise_never_goes_against_its_direction(
    taught: TrainingSet, model: LeadModel, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    rows = model.encoder.matrix(taught.columns.iloc[draw.integers(0, len(taught), 50)])
    for name, direction in ((FALLS, 1), ("company_size", -1)):
        column = model.features.names.index(name)
        higher = rows.copy()
        higher[:, column] = np.nan_to_num(rows[:, column]) + draw.exponential(20, len(rows))
        rows[:, column] = np.nan_to_num(rows[:, column])
        change = model.predict(higher).probability - model.predict(rows).probability
        assert (direction * change >= -1e-12).all()


def test_without_a_direction_it_follows_the_data(taught: TrainingSet) -> None:
    model = train(taught, Recipe(rounds=96))
    rows = model.encoder.matrix(taught.columns)
    column = model.features.names.index("company_size")
    higher = rows.copy()
    higher[:, column] += 500
    assert (model.predict(higher).probability > model.predict(rows).probability).any()


def test_names_are_matched_and_wrong_ones_told(funnel: Simulation, source: Source) -> None:
    for named, told in (("count(nothing*)", "names no feature"), ("industry", "is text")):
        with pytest.raises(ValueError, match=told):
            run(funnel.history, replace(source, directions=((named, 1),)))
    both = ((FALLS, 1), ("count(pricing*)", -1))
    with pytest.raises(ValueError, match="never to lower and never to raise"):
        run(funnel.history, replace(source, directions=both))


def test_toml_declares_directions(tmp_path: Path) -> None:
    path = tmp_path / "source.toml"
    path.write_text(
        'name = "s"\n[leads]\npath = "leads.csv"\n[population]\nhorizon = "30d"\n'
        '[features]\nnever_lowers = ["count(call*)"]\nnever_raises = ["since_last(call)"]\n',
        encoding="utf-8",
    )
    assert Source.from_toml(path).directions == (("count(call*)", 1), ("since_last(call)", -1))
