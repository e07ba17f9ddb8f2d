"""The BentoML service: transport only. Start it with :mod:`serving.run` or ``bentoml serve``."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

os.environ["BENTOML_DO_NOT_TRACK"] = "True"  # before bentoml is imported; the word, not 1

import bentoml
from starlette.types import ASGIApp, Receive, Scope, Send

from features.times import now
from serving.app import application
from serving.routes.score import Desk
from serving.scorer import Facts, Scorer
from serving.store import Store
from training import bundle

BUNDLE = Path(os.environ.get("LEADCAST_BUNDLE", ".leadcast/champion"))
STORE = os.environ.get("LEADCAST_STORE")
CONFIG: dict[str, Any] = {
    "workers": 1,
    "envs": [{"name": "OMP_NUM_THREADS", "value": "1"}],
    "traffic": {"timeout": 30},
    "http": {"host": "127.0.0.1"},
    "logging": {"access": {"enabled": False}},
    "tracing": {"excluded_urls": [".*"]},
}

app = application()


def mounted(app: ASGIApp) -> ASGIApp:
    """All paths but health and metrics for ``app``.

    Not a bare Starlette: what that does not know BentoML would answer itself, and its page at
    ``/`` loads a tracker.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)

    return answer


def settle_down() -> None:
    """After warm-up: what is there now stays, and is never walked by the collector again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@bentoml.service(**CONFIG)
@bentoml.asgi_app(mounted(app), path="/", name="v1")
class Leadcast:
    """Scores leads: ``POST /v1/score``; see ``/v1/openapi.json``."""

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def verify() -> None:
        """Refuse to start on a bad bundle, before a port opens or LightGBM sees it."""
        try:
            bundle.check(BUNDLE)
        except bundle.BundleError as error:
            raise SystemExit(f"leadcast: {error}") from None

    def __init__(self) -> None:
        scorer = Scorer(bundle.load(BUNDLE))
        app.state.desk = Desk(scorer, Store(STORE) if STORE else None)
        scorer.score([("warm-up", Facts([], [], []))], now())
        settle_down()
