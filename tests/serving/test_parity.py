"""The vector behind ``POST /v1/score`` is the row that training would see: 1,000 real leads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from features import catalog
from features.outcomes import at_risk
from features.schema import History
from features.source import Source
from features.times import micros
from serving.run import serving
from serving.store import Store
from tests.serving.asking import Asking, by_id, free_port
from training import bundle
from training.dataset import TrainingSet, build, labelled
from training.model import train
from training.recipe import Recipe

LEADS, DAYS = 1_000, 10


@pytest.fixture(scope="module")
def source(data: Path) -> Source:
    del data
    return Source.from_toml(Path(__file__).parents[2] / "examples" / "bpic2012.toml")


@pytest.fixture(scope="module")
def bpic(source: Source) -> History:
    return source.load()


@pytest.fixture(scope="module")
def rows(source: Source, bpic: History) -> pd.DataFrame:
    """1,000 leads, each on one of ten days on which many are open."""
    spine = at_risk(bpic, source.population)
    days = spine["as_of"].value_counts().index[:DAYS]
    chosen = spine[spine["as_of"].isin(days)].sample(frac=1, random_state=0)
    return chosen.drop_duplicates("lead_id").head(LEADS).reset_index(drop=True)


@pytest.fixture(scope="module")
def trained(source: Source, bpic: History, rows: pd.DataFrame) -> TrainingSet:
    """The training rows of those leads and days, from the batch engine."""
    hidden = bpic.events["kind"].isin(source.reveals)
    seen = bpic.events[~hidden].reset_index(drop=True)
    known = History(bpic.leads, seen, bpic.changes, bpic.outcomes)
    every = labelled(bpic, source.population)
    labels = every.drop(columns="known_at")  # some have none: what the model says is not at issue
    wanted = rows.merge(labels, on=["lead_id", "as_of"], how="left")
    wanted = wanted.assign(
        converted=wanted["converted"].fillna(False).astype(bool), value=wanted["value"].fillna(0.0)
    )
    return build(wanted, catalog.default(known), known)


@pytest.fixture(scope="module")
def service(
    source: Source, bpic: History, trained: TrainingSet, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    scratch = tmp_path_factory.mktemp("parity")
    model = train(trained, Recipe(rounds=32))
    origin = bundle.Origin(
        source.name, source.population, source.timeless, source.reveals, 0, trained.digest
    )
    matrix = model.encoder.matrix(trained.columns)
    bundle.write(model, origin, matrix, scratch / "bundle")
    store = Store(scratch / "store.db")
    store.load(bpic)
    store.close()
    with (
        serving(scratch / "bundle", scratch / "store.db", free_port()) as running,
        httpx.Client(base_url=running.url, timeout=60) as client,
    ):
        yield client


@pytest.mark.parametrize("kept", ["request", "store"])
def test_the_vector_behind_a_score_is_the_training_row(
    service: httpx.Client, bpic: History, rows: pd.DataFrame, trained: TrainingSet, kept: str
) -> None:
    assert len(rows) == LEADS
    asking = Asking(bpic)
    found: dict[str, dict[str, Any]] = {}
    for as_of, group in rows.groupby("as_of"):
        moment, leads = int(micros(pd.DatetimeIndex([as_of]))[0]), group["lead_id"].tolist()
        ask = asking.body if kept == "request" else by_id
        answer = service.post("/v1/score", json=ask(leads, moment, vector=True))
        found |= {one["lead_id"]: one["vector"] for one in answer.json()["scores"]}
    vectors = pd.DataFrame([found[lead] for lead in rows["lead_id"]])
    assert list(vectors.columns) == list(trained.columns.columns)
    for feature in trained.features.features:
        wanted, served = trained.columns[feature.name], vectors[feature.name]
        if feature.type == "text":
            pd.testing.assert_series_equal(served.astype("str"), wanted, check_names=False)
        else:
            whole = feature.aggregate in ("count", "distinct")
            np.testing.assert_allclose(
                served.to_numpy(dtype=np.float64),
                wanted.to_numpy(),
                rtol=0.0 if whole else 1e-9,
                atol=0,
            )
