"""One small funnel, a model of it, a store and a running service, made once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import NamedTuple

import httpx
import pandas as pd
import pytest

from features import catalog
from features.outcomes import observed_until
from features.schema import History
from features.simulate import simulate
from features.source import Population
from features.times import DAY
from serving import current
from serving.current import Refresher
from serving.run import serving
from serving.scorer import Scorer
from serving.store import Store
from tests.bundles import shifted
from tests.postgres import fresh
from tests.serving.asking import Asking, free_port, settle
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
def rival(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose probabilities are lower than those of ``directory``."""
    made = tmp_path_factory.mktemp("rival") / "bundle"
    shifted(directory, made, by=-1.0)
    return made


@pytest.fixture(scope="session")
def loaded(directory: Path) -> bundle.Bundle:
    return bundle.load(directory)


@pytest.fixture(scope="session")
def newest(history: History) -> History:
    """The newest 60 leads, and what is known of them."""
    leads = history.leads.tail(60)
    held: list[pd.DataFrame] = [history.events, history.changes, history.outcomes]
    mine = [one[one["lead_id"].isin(leads["lead_id"])].reset_index(drop=True) for one in held]
    return History(leads, *mine)


@pytest.fixture
def refreshing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Store, Scorer], Refresher]:
    """Makes what refreshes scores without a rest, and has made them all."""
    monkeypatch.setattr(current, "_REST", 0.0)
    monkeypatch.setattr(current, "_SWEEP_REST", 0.0)

    def made(store: Store, scorer: Scorer) -> Refresher:
        refresher = Refresher(store)
        refresher.serve(scorer)
        settle(refresher)
        return refresher

    return made


@pytest.fixture(params=["sqlite", "postgres"])
def new_place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a new store may be: a file, and a database of a server."""
    if request.param == "sqlite":
        return str(tmp_path / "store.db")
    return fresh(request.getfixturevalue("postgres"))


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


class Running(NamedTuple):
    """A service whose store was empty, and where that store is."""

    place: str
    client: httpx.Client


@pytest.fixture(scope="session")
def services(
    directory: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Callable[[str], Running]]:
    """Starts a service on an empty SQLite file or PostgreSQL database, once each.

    They go on to the end: starting one takes longer than most of what it is asked.
    """
    with ExitStack() as stack:

        @cache
        def started(kind: str) -> Running:
            if kind == "sqlite":
                place = str(tmp_path_factory.mktemp("ingest") / "store.db")
            else:
                place = fresh(request.getfixturevalue("postgres"))
            running = stack.enter_context(serving(directory, place, free_port()))
            client = stack.enter_context(httpx.Client(base_url=running.url, timeout=60))
            return Running(place, client)

        yield started


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> str:
    """What the store of ``service`` is kept in."""
    return str(request.param)


@pytest.fixture
def place(services: Callable[[str], Running], database: str) -> str:
    """Where the store of ``service`` is: a file, or a database of a server."""
    return services(database).place


@pytest.fixture
def service(services: Callable[[str], Running], database: str) -> httpx.Client:
    """A client of a service whose store holds what the tests before put there."""
    return services(database).client
