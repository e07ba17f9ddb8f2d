"""What answers: the application, with a model, a store and what keeps both up to date."""

from __future__ import annotations

import gc
import sys
from contextlib import suppress
from functools import partial

if "lightgbm" not in sys.modules:  # which imports scikit-learn where it is there: a second
    sys.modules["sklearn"] = None  # type: ignore[assignment]
    import lightgbm  # noqa: F401

    del sys.modules["sklearn"]

from anyio import to_thread
from starlette.types import ASGIApp

from serving import logs, metrics, settings
from serving.app import HEALTH, application, guarded
from serving.champion import Champion
from serving.current import Refresher
from serving.decide import Policy
from serving.jobs import Jobs, jobs_beside
from serving.routes.score import Desk
from serving.scorer import Scorer
from serving.shadow import Shadow
from serving.store import Store, StoreUnavailable

_TURN_SECONDS = 0.001
"""So long a thread that reads a batch or refreshes scores keeps a request waiting for its turn."""

app = application()


def mounted(bento: ASGIApp) -> ASGIApp:
    """The application behind its guard; ``bento`` answers for its own health alone."""
    return guarded(bento, app)


def start() -> None:
    """Load what is served, and answer with it from now on."""
    store = app.state.store = Store(settings.STORE) if settings.STORE else None
    refresher = app.state.refresher = Refresher(store) if store else None
    policy = Policy.read(settings.POLICY) if settings.POLICY else None
    rival = settings.CHALLENGER
    shadow = app.state.shadow = Shadow(rival, store, policy) if rival else None

    def serve(scorer: Scorer) -> None:
        desk = Desk(scorer, store, shadow.beside if shadow else None)
        logs.event("reads", plainly=desk.plain is not None)
        app.state.desk = desk
        if refresher is not None:
            refresher.serve(scorer)

    logs.adopt()
    metrics.forget_the_dead()
    champion = app.state.champion = Champion(settings.BUNDLE, serve, policy)
    HEALTH.concern = lambda: champion.concern
    if store is not None:
        HEALTH.lacks = partial(_lack, store)
    HEALTH.drain_on_end()
    jobs = app.state.jobs = Jobs(settings.JOBS or jobs_beside(settings.STORE), settings.BUNDLE)
    access = "keys" if settings.KEYS else "open to this machine: no LEADCAST_KEYS"
    logs.event("started", access=access)
    settle_down()
    champion.watch()
    jobs.start()
    if refresher is not None:
        refresher.start()
    if shadow is not None:
        shadow.start()


def end() -> None:
    """Bring what was kept into the ledger: who opens the store next finds it there."""
    if app.state.store is not None:
        with suppress(StoreUnavailable):
            app.state.store.settle()


def settle_down() -> None:
    """After warm-up: what is there now stays, and is never walked by the collector again.

    And no thread keeps the others waiting for long.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    sys.setswitchinterval(_TURN_SECONDS)


async def _lack(store: Store) -> str | None:
    """What a service that is up still waits for: its store."""
    try:
        await to_thread.run_sync(store.open)
    except StoreUnavailable as error:
        logs.event("store-unavailable", reason=str(error))
        return "the store does not answer: see the log, or run leadcast doctor"
    return None
