"""The public description: held as a golden file, and held to by the app.

After a change that is meant, write the file anew and read the difference:

    LEADCAST_GOLDEN=write pytest tests/serving/test_openapi.py
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from schemathesis import engine
from schemathesis.checks import CHECKS
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import AcceptedNegativeData
from schemathesis.engine import events
from starlette.types import ASGIApp, Receive, Scope, Send

from features.times import instant, iso, now
from serving import keys, logs
from serving.app import OPENAPI, OPERATIONS, application
from serving.champion import Champion
from serving.guard import Guard
from serving.health import Health
from serving.jobs import Jobs
from serving.routes import jobs
from serving.routes.score import Desk
from serving.scorer import Scorer
from serving.store import Store

GOLDEN = Path(__file__).parent.parent / "golden" / "openapi.json"
schemathesis.serializer("application/x-ndjson")(lambda _, lead: json.dumps(lead).encode())
JOB_TIME = re.compile(jobs.ISO)
PHASES = ("examples", "coverage", "fuzzing", "stateful")


def test_the_description_is_the_golden_one() -> None:
    if os.environ.get("LEADCAST_GOLDEN") == "write":
        laid_out = json.dumps(json.loads(OPENAPI), indent=1, ensure_ascii=False)
        GOLDEN.write_text(laid_out + "\n", encoding="utf-8")
    assert json.loads(OPENAPI) == json.loads(GOLDEN.read_text(encoding="utf-8")), (
        "the API has changed: when that is meant, and harms nobody who calls it, run"
        " LEADCAST_GOLDEN=write pytest tests/serving/test_openapi.py and read the difference"
    )


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "keys.json"


@pytest.fixture(scope="module")
def key(key_file: Path) -> str:
    return keys.add(key_file, "fuzz", keys.SCOPES, rate=1e9)


@pytest.fixture(scope="module")
def app(directory: Path, stored: Path, key_file: Path, key: str) -> Iterator[ASGIApp]:
    """The whole of the API behind its guard, with a store of its own."""
    assert key
    api = application()
    store = api.state.store = Store(shutil.copy(stored, key_file.parent / "store.db"))

    def serve(scorer: Scorer) -> None:
        api.state.desk = Desk(scorer, store)

    api.state.champion = Champion(directory, serve)
    place = key_file.parent / "jobs"
    place.mkdir()
    other = (place / "lock").open("wb")
    fcntl.flock(other, fcntl.LOCK_EX)  # another service works on what is submitted
    api.state.jobs = Jobs(place, directory)
    yield Guard(no_bento, api, OPERATIONS, keys.Keys(key_file), Health())
    other.close()


async def no_bento(scope: Scope, receive: Receive, send: Send) -> None:
    """What lives and dies with the service: nothing."""
    assert scope["type"] == "lifespan"
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def test_the_app_holds_to_its_description(app: ASGIApp, key: str) -> None:
    cases, failures = fuzzed(app, key, "coverage", seed=1)
    assert not failures, failures[0]
    assert cases >= 300


@pytest.mark.slow
@pytest.mark.thousands
def test_the_app_holds_to_its_description_in_thousands_of_cases(app: ASGIApp, key: str) -> None:
    cases, failures = fuzzed(app, key, "coverage", seed=2)
    for seed in range(3, 100):
        if cases < 5_000:
            made, failed = fuzzed(app, key, "fuzzing", seed, examples=140)
            cases, failures = cases + made, failures + failed
    assert not failures, failures[0]
    assert cases >= 5_000


def fuzzed(
    app: ASGIApp, key: str, phase: str, seed: int, examples: int = 1
) -> tuple[int, list[str]]:
    """How many cases Schemathesis made, and what failed any of its checks.

    In the phase ``coverage`` every edge of every schema, in ``fuzzing`` so many random
    ``examples`` of each operation.
    """
    headers = {"Authorization": f"Bearer {key}"}
    told = {
        "seed": seed,
        "headers": headers,
        "continue-on-failure": True,
        "generation": {"max-examples": examples, "database": "none"},
        "phases": {one: {"enabled": one == phase} for one in PHASES},
    }
    schema = schemathesis.openapi.from_asgi(
        "/v1/openapi.json", app, config=SchemathesisConfig.from_dict(told), headers=headers
    )
    cases, failures, checked = 0, list[str](), Counter[str]()
    for event in engine.from_schema(schema).execute():
        assert not isinstance(event, events.NonFatalError | events.FatalError), event
        if isinstance(event, events.ScenarioFinished):
            cases += len(event.recorder.cases)
            for check in (one for made in event.recorder.checks.values() for one in made):
                checked[check.name] += 1
                if check.failure_info is not None:
                    failed = check.failure_info
                    failures.append(f"{failed.failure}\n{failed.code_sample[:2_000]}")
    logs.flush()
    assert all(checked[check.__name__] for check in CHECKS.get_all()), checked
    return cases, failures


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """A bad item of a list is refused alone: then the request is answered nevertheless.

    And a bad line of a job when its turn comes.
    """
    del context, case
    if not isinstance(failure, AcceptedNegativeData):
        return True
    if response.status_code == 202:
        return "parameter" in f"{failure.message}"
    results = next((one for one in response.json().values() if isinstance(one, list)), [])
    return not any(one.get("status") == "refused" for one in results)


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """Leave out what no schema forbids and we refuse.

    ``since`` before ``as_of``, and a day that the calendar lacks.
    """
    del context
    with suppress(AttributeError, TypeError):
        try:
            instant((case.query or {}).get("as_of", iso(0)))
        except ValueError:
            return not JOB_TIME.fullmatch(case.query["as_of"])
    try:
        since, as_of = case.body.get("since"), case.body.get("as_of")
        return since is None or moment(since) < (now() if as_of is None else moment(as_of))
    except (AttributeError, TypeError, ValueError):
        return True  # refused for something else


def moment(given: str | float) -> float:
    return given if isinstance(given, int | float) else instant(given.upper())


@schemathesis.hook
def map_case(context: Any, case: Any) -> Any:
    """To a schema 1.0 is an integer; to us it is not."""
    del context
    case.body = whole(case.body)
    return case


def whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: whole(one) for name, one in value.items()}
    if isinstance(value, list):
        return [whole(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
