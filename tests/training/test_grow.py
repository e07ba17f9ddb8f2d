"""Where rows lie and where trees grow: the same model from disk, an equal one from a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.simulate import Simulation
from features.source import Source
from tests.judge import alike
from training import bundle, dataset, parts, report
from training.dataset import StoredSet, TrainingSet, store, write
from training.experiment import Result, plan, run
from training.model import LeadModel, train
from training.recipe import Recipe

FEW = Recipe(rounds=48)


@pytest.fixture(scope="module")
def stored(result: Result, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoredSet]:
    """The training set of ``result`` in many row groups of many files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "BLOCK", 1_000)
        patch.setattr(parts, "PART_ROWS", 5_000)
        data, there = result.data, tmp_path_factory.mktemp("sets")
        made = write(data.rows, data.features, lambda places: data.columns.iloc[places], there)
        yield StoredSet.open(made.path, data.features)


def test_a_stored_set_holds_what_one_in_memory_holds(result: Result, stored: StoredSet) -> None:
    data = result.data
    assert stored.digest == data.digest == stored.path.stem
    pd.testing.assert_frame_equal(stored.columns, data.columns)
    pd.testing.assert_frame_equal(stored.rows, data.rows)
    places = np.random.default_rng(0).permutation(len(data))[:500]
    pd.testing.assert_frame_equal(stored.take(places).columns, data.take(places).columns)
    pd.testing.assert_frame_equal(stored.take(places).rows, data.take(places).rows)
    chosen = data.converted
    pd.testing.assert_frame_equal(stored.where(chosen).columns, data.where(chosen).columns)
    assert stored.where(chosen).digest == data.where(chosen).digest
    assert len(stored.where(np.zeros(len(data), dtype=bool)).columns) == 0


def test_features_computed_some_rows_at_a_time_are_the_same(
    funnel: Simulation, result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "PART_ROWS", 5_000)
    told: list[float] = []
    rows, features = result.data.rows, result.data.features
    made = store(rows, features, funnel.history, tmp_path, told.append)
    alike(made.columns, result.data.columns)
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_a_file_of_other_features_is_refused(result: Result, stored: StoredSet) -> None:
    fewer = type(result.data.features)(result.data.features.features[1:])
    with pytest.raises(ValueError, match="does not hold these features"):
        StoredSet.open(stored.path, fewer)


def test_the_model_from_disk_is_the_model_from_memory(result: Result, stored: StoredSet) -> None:
    chosen = result.data.as_of <= np.quantile(result.data.as_of, 0.4)
    here, there = train(result.data.where(chosen), FEW), train(stored.where(chosen), FEW)
    assert there.booster.model_to_string() == here.booster.model_to_string()
    assert there.calibration == here.calibration
    assert there.encoder == here.encoder
    assert _deals(there) == _deals(here)
    before = here.predict(here.encoder.matrix(result.data.columns))
    after = there.predict_set(stored)
    assert np.array_equal(before.probability, after.probability)
    assert np.array_equal(before.value, after.value)  # type: ignore[arg-type]


def test_an_experiment_from_disk_gives_the_same_report(
    funnel: Simulation, source: Source, tmp_path: Path
) -> None:
    features = plan(funnel.history, source).features
    few = type(features)(features.features[:12])
    here, there = (
        run(funnel.history, source, features=few, recipe=Recipe(rounds=16), directory=directory)
        for directory in (None, tmp_path / "sets")
    )
    assert isinstance(there.data, StoredSet)
    assert report.text(there.report) == report.text(here.report)
    first, second = (one.write_bundle(tmp_path / name) for one, name in [(here, "a"), (there, "b")])
    assert first.version == second.version


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed", reason="needs the extra [dask]")
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
        ) as cluster,
        distributed.Client(cluster) as connected,
    ):
        yield connected


@pytest.mark.slow
def test_a_cluster_grows_a_model_as_good(
    result: Result, stored: StoredSet, client: Any, tmp_path: Path
) -> None:
    from training.cluster import on_dask

    cut = np.quantile(result.data.as_of, 0.6)
    early, late = result.data.as_of <= cut, result.data.where(result.data.as_of > cut)
    here = train(result.data.where(early), FEW)
    expected = _loss(here, late)
    for data in (result.data.where(early), stored.where(early)):
        there = train(data, FEW, grower=on_dask(client))
        assert _loss(there, late) == pytest.approx(expected, rel=0.01)
        assert there.value_head is not None
        assert "127.0.0.1" not in there.booster.model_to_string()
    reference = there.encoder.matrix(late.columns)
    written = bundle.write(there, result.origin, reference, tmp_path / "bundle")
    bundle.check(tmp_path / "bundle")
    again = written.model.predict(reference)
    assert np.array_equal(again.probability, there.predict(reference).probability)


def _loss(model: LeadModel, data: TrainingSet) -> float:
    chance = model.predict_set(data).probability
    return float(-np.log(np.where(data.converted, chance, 1 - chance)).mean())


def _deals(model: LeadModel) -> tuple[Any, ...]:
    head = model.value_head
    assert head is not None
    trees = {name: one.model_to_string() for name, one in head.trees.items()}
    return head.scale, head.ratios, head.linear, trees
