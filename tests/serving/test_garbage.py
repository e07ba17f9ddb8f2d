"""An answer leaves nothing behind that only the collector finds: it would hold up all others."""

from __future__ import annotations

import gc
import http.client
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.types import Receive, Scope, Send

from serving.app import application, guarded
from serving.connections import Patient
from serving.routes.score import Desk
from serving.scorer import Scorer
from serving.store import Store
from tests.serving.asking import Asking
from tests.serving.server import listening

ANSWERS = 100


async def nobody(scope: Scope, receive: Receive, send: Send) -> None:
    del scope, receive, send


@contextmanager
def answering(desk: Desk, store: Store) -> Iterator[http.client.HTTPConnection]:
    """A connection to what answers for a desk, in a thread of this process."""
    app = application()
    app.state.desk, app.state.store = desk, store
    app.state.champion = SimpleNamespace(concern=None)
    try:
        with (
            listening(guarded(nobody, app), Patient) as (_, port),
            closing(http.client.HTTPConnection("127.0.0.1", port)) as connection,
        ):
            yield connection
    finally:
        Patient.door = None


@pytest.mark.parametrize("what", ["scores", "the score of a lead that has none"])
def test_an_answer_leaves_nothing_to_the_collector(
    scorer: Scorer, asking: Asking, today: int, tmp_path: Path, what: str
) -> None:
    store = Store(tmp_path / "store.db")
    lead = {**asking.lead("000001"), "related": []}
    body = json.dumps({"leads": [lead], "as_of": today}) if what == "scores" else None
    path = "/v1/score" if body else "/v1/leads/000001/score"
    with answering(Desk(scorer, store), store) as connection:

        def ask(times: int) -> None:
            for _ in range(times):
                headers = {"Content-Type": "application/json"}
                connection.request("POST" if body else "GET", path, body, headers)
                answer = connection.getresponse()
                assert (answer.read(), answer.status)[1] == (200 if body else 404)

        ask(10)
        gc.collect()
        gc.disable()
        try:
            ask(ANSWERS)
            left = gc.collect()
        finally:
            gc.enable()
    store.close()
    assert left < ANSWERS
