"""The BentoML service: transport only. Start it with :mod:`serving.run` or ``bentoml serve``."""

from __future__ import annotations

import gc
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

os.environ["BENTOML_DO_NOT_TRACK"] = "True"  # before bentoml is imported; the word, not 1
if "lightgbm" not in sys.modules:  # which imports scikit-learn where it is there: a second
    sys.modules["sklearn"] = None  # type: ignore[assignment]
    import lightgbm  # noqa: F401

    del sys.modules["sklearn"]

import bentoml
import click
from anyio import to_thread
from bentoml._internal.server.http.traffic import TimeoutMiddleware
from starlette.types import Receive, Scope, Send

from features.databases import MissingDriver
from serving import connections, logs, metrics
from serving.app import HEALTH, KEYS, application, guarded
from serving.champion import Champion
from serving.current import Refresher
from serving.decide import Policy
from serving.jobs import Jobs, jobs_beside
from serving.keys import KeysError, require
from serving.routes.score import Desk
from serving.scorer import Scorer
from serving.shadow import Shadow
from serving.store import Store, StoreUnavailable
from serving.traces import MissingExporter, Traces
from training import bundle

INSIDE = Path(__file__).parent.parent / "champion"  # of a Bento: see serving.bento
BUNDLE = Path(
    os.environ.get("LEADCAST_BUNDLE") or (INSIDE if INSIDE.is_dir() else ".leadcast/champion")
)
STORE = os.environ.get("LEADCAST_STORE")
POLICY = os.environ.get("LEADCAST_POLICY")
CHALLENGER = os.environ.get("LEADCAST_CHALLENGER")
JOBS = Path(os.environ.get("LEADCAST_JOBS") or jobs_beside(STORE))
CONFIG: dict[str, Any] = {
    "workers": 1,
    "envs": [{"name": "OMP_NUM_THREADS", "value": "1"}],
    "traffic": {"timeout": 30},
    "http": {"host": "127.0.0.1"},
    "metrics": {"enabled": False},  # labelled by path, which may hold ids; the guard has its own
    "logging": {"access": {"enabled": False}},
    "tracing": {"excluded_urls": [".*"]},
}

_TURN_SECONDS = 0.001
"""So long a thread that reads a batch or refreshes scores keeps a request waiting for its turn."""

app = application()
connections.install()


async def _untimed(self: TimeoutMiddleware, scope: Scope, receive: Receive, send: Send) -> None:
    """In the place of a timer for every request that outlives it by half a minute.

    At thousands of requests a second they are what the collector walks. The guard bounds how long a
    body may take and how much is worked on.
    """
    await self.app(scope, receive, send)


TimeoutMiddleware.__call__ = _untimed


_UNUSABLE = (
    bundle.BundleError, KeysError, MissingDriver, MissingExporter, ValueError, OSError,
)  # fmt: skip


def settle_down() -> None:
    """After warm-up: what is there now stays, and is never walked by the collector again.

    And no thread keeps the others waiting for long.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    sys.setswitchinterval(_TURN_SECONDS)


def _host() -> str:
    """Where BentoML is about to listen: what its command was told, or else our configuration."""
    context = click.get_current_context(silent=True)
    told = context.params.get("host") if context else None
    return told or CONFIG["http"]["host"]


def _policy() -> Policy | None:
    return Policy.read(Path(POLICY)) if POLICY else None


async def _lack(store: Store) -> str | None:
    """What a service that is up still waits for: its store."""
    try:
        await to_thread.run_sync(store.open)
    except StoreUnavailable as error:
        logs.event("store-unavailable", reason=str(error))
        return "the store does not answer: see the log, or run leadcast doctor"
    return None


@bentoml.service(**CONFIG)
class Leadcast:
    """Scores leads: ``POST /v1/score``; see ``/v1/openapi.json``."""

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def verify() -> None:
        """Refuse to start on a bad bundle, or open to others, before a port opens."""
        try:
            require(KEYS, _host())
            bundle.check(BUNDLE)
            if CHALLENGER:
                bundle.check(Path(CHALLENGER))
            if STORE:
                Store(STORE).close()
            _policy()
            Traces.configured()
        except _UNUSABLE as error:
            raise SystemExit(f"leadcast: {error}") from None

    def __init__(self) -> None:
        store = app.state.store = Store(STORE) if STORE else None
        refresher = app.state.refresher = Refresher(store) if store else None
        shadow = app.state.shadow = (
            Shadow(Path(CHALLENGER), store, _policy()) if CHALLENGER else None
        )

        def serve(scorer: Scorer) -> None:
            app.state.desk = Desk(scorer, store, shadow.beside if shadow else None)
            if refresher is not None:
                refresher.serve(scorer)

        logs.adopt()
        metrics.forget_the_dead()
        champion = app.state.champion = Champion(BUNDLE, serve, _policy())
        HEALTH.concern = lambda: champion.concern
        if store is not None:
            HEALTH.lacks = partial(_lack, store)
        HEALTH.drain_on_end()
        jobs = app.state.jobs = Jobs(JOBS, BUNDLE)
        logs.event("started", access="keys" if KEYS else "open to this machine: no LEADCAST_KEYS")
        settle_down()
        champion.watch()
        jobs.start()
        if refresher is not None:
            refresher.start()
        if shadow is not None:
            shadow.start()


Leadcast.add_asgi_middleware(guarded, api=app)  # type: ignore[attr-defined]
