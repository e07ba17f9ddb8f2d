"""A registered model can be trained again from what its run left, to the bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from features.outcomes import observed_until
from features.schema import History
from features.simulate import Simulation
from features.source import Source
from features.times import DAY, from_micros
from training import bundle, reproduce
from training.dataset import write
from training.experiment import Result, run
from training.recipe import Recipe
from training.reproduce import ReproductionError, from_disk, from_history

QUICK = Recipe(rounds=48)


def silent(step: str, share: float) -> None:
    del step, share


@pytest.fixture(scope="module")
def yesterday(funnel: Simulation) -> History:
    """The funnel two months ago, which has gone on since."""
    return funnel.history.until(observed_until(funnel.history) - 60 * DAY)


@pytest.fixture(scope="module")
def earlier(yesterday: History, source: Source) -> Result:
    declared = replace(source, evaluation=type(source.evaluation)((0.75,), None))
    return run(yesterday, declared, recipe=QUICK)


@pytest.fixture(scope="module")
def stored(earlier: Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("registered") / "bundle"
    earlier.write_bundle(path)
    return path


def test_from_a_history_that_has_grown_it_is_the_same_to_the_bit(
    funnel: Simulation, source: Source, stored: Path
) -> None:
    about = bundle.verify(stored)
    data = from_history(about, source, funnel.history, silent)
    found = reproduce.reproduce(stored, source, data, silent)
    assert found.exact
    assert found.rows == len(data)
    assert not found.versions


def test_a_training_set_that_was_kept_serves_without_the_history(
    earlier: Result, source: Source, stored: Path, tmp_path: Path
) -> None:
    data = earlier.followed
    write(data.rows, data.features, lambda places: data.columns.iloc[places], tmp_path)
    kept = from_disk(bundle.verify(stored), tmp_path)
    assert reproduce.reproduce(stored, source, kept, silent).exact
    with pytest.raises(ReproductionError, match="keeps no training set"):
        from_disk(bundle.verify(stored), tmp_path / "parts")


def test_an_edited_past_is_told(funnel: Simulation, source: Source, stored: Path) -> None:
    leads = funnel.history.leads.copy()
    leads.loc[leads.index[0], "industry"] = "edited since"
    edited = replace(funnel.history, leads=leads)
    with pytest.raises(ReproductionError, match="edited, added or deleted since"):
        from_history(bundle.verify(stored), source, edited, silent)


def test_another_recipe_makes_another_model_and_names_the_files(
    earlier: Result, source: Source, tmp_path: Path
) -> None:
    origin = replace(earlier.origin, recipe=replace(QUICK, leaves=4))
    matrix = earlier.model.encoder.matrix(earlier.data.columns)[-3_000:]
    bundle.write(earlier.model, origin, matrix, tmp_path / "bundle")
    found = reproduce.reproduce(tmp_path / "bundle", source, earlier.followed, silent)
    assert not found.exact
    assert {"conversion.txt", "bundle.json"} <= set(found.different)


def test_until_is_what_was_known_then(yesterday: History, funnel: Simulation) -> None:
    limit = from_micros([observed_until(funnel.history) - 60 * DAY])[0]
    for frame in (yesterday.events, yesterday.changes, yesterday.outcomes):
        assert (frame["known_at"] < limit).all()
    assert (yesterday.leads["created_at"] < limit).all()
    kept = funnel.history.events[funnel.history.events["known_at"] < limit]
    pd.testing.assert_frame_equal(yesterday.events, kept.reset_index(drop=True))
