"""One small funnel, a model of it, a store and a running service, made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from features import catalog
from features.outcomes import observed_until
from features.schema import History
from features.simulate import simulate
from features.source import Population
from features.times import DAY
from serving.run import serving
from serving.scorer import Scorer
from serving.store import Store
from tests.postgres import fresh
from tests.serving.asking import Asking, free_port
from training import bundle
from training.dataset import build, labelled
from training.model import train
from training.recipe import Recipe


@pytest.fixture(scope="session")
def history() -> History:
    return simulate(leads=1_500, seed=11).history


@pytest.fixture(scope="session")
def directory(history: History, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a model that never reads replies, as if they told the outcome."""
    made = tmp_path_factory.mktemp("served") / "bundle"
    population = Population("weekly", None, 28 * DAY, 0, "won")
    seen = history.events[history.events["kind"] != "reply"].reset_index(drop=True)
    known = History(history.leads, seen, history.changes, history.outcomes)
    data = build(labelled(history, population), catalog.default(known), known)
    model = train(data, Recipe(rounds=96))
    until = int(data.as_of.max()) + population.horizon
    origin = bundle.Origin("funnel", population, False, ("reply",), until, data.digest)
    bundle.write(model, origin, model.encoder.matrix(data.columns)[-3_000:], made)
    return made


@pytest.fixture(scope="session")
def loaded(directory: Path) -> bundle.Bundle:
    return bundle.load(directory)


@pytest.fixture(scope="session")
def scorer(loaded: bundle.Bundle) -> Scorer:
    return Scorer(loaded)


@pytest.fixture(scope="session")
def today(history: History) -> int:
    return observed_until(history)


@pytest.fixture(scope="session")
def asking(history: History) -> Asking:
    return Asking(history)


@pytest.fixture(scope="session")
def stored(history: History, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a store that holds the whole history."""
    path = tmp_path_factory.mktemp("store") / "store.db"
    store = Store(path)
    store.load(history)
    store.close()
    return path


@pytest.fixture(scope="session")
def client(directory: Path, stored: Path) -> Iterator[httpx.Client]:
    """A client of a running service."""
    with (
        serving(directory, stored, free_port()) as running,
        httpx.Client(base_url=running.url, timeout=60) as connected,
    ):
        yield connected


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where the store of ``service`` is: a file, and a database of a server."""
    if request.param == "sqlite":
        return str(tmp_path_factory.mktemp("ingest") / "store.db")
    return fresh(request.getfixturevalue("postgres"))


@pytest.fixture(scope="session")
def service(place: str, directory: Path) -> Iterator[httpx.Client]:
    """A client of a service whose store is empty."""
    with (
        serving(directory, place, free_port()) as running,
        httpx.Client(base_url=running.url, timeout=60) as connected,
    ):
        yield connected
