"""The service over real HTTP: right answers, refusals that help, and a clean end."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import psutil
import pytest

from features.engines.tables import frame_of
from features.schema import History
from features.times import DAY, iso
from serving import run
from serving.api import MOST_EVENTS, MOST_LEADS
from serving.http import MOST_BYTES
from serving.listing import score_table
from serving.run import ServiceError, serving
from serving.scorer import Scorer
from serving.store import Store
from tests.serving.asking import Asking, by_id, free_port
from training import bundle

SECRET = "bob@example.com"
LEAD = {"lead_id": "1", "created_at": "2026-01-01T00:00:00+02:00", "events": []}
CALL = {"kind": "call", "occurred_at": "2026-01-02T00:00:00Z"}


@pytest.fixture(scope="module")
def ranked(loaded: bundle.Bundle, history: History, today: int) -> pd.DataFrame:
    return score_table(loaded, history, today)


def score(client: httpx.Client, body: Any) -> Any:
    answer = client.post("/v1/score", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def test_history_in_the_request_and_in_the_store_score_alike(
    client: httpx.Client, asking: Asking, ranked: pd.DataFrame, today: int
) -> None:
    leads = ranked["lead_id"].tolist()[:64]
    sent = score(client, asking.body(leads, today, vector=True))
    read = score(client, by_id(leads, today, vector=True))
    assert sent == read
    assert sent["advice"] is True
    assert sent["as_of"] == iso(today)
    assert [one["lead_id"] for one in sent["scores"]] == leads
    assert [one["probability"] for one in sent["scores"]] == ranked["probability"].tolist()[:64]
    expected = [one["expected_value"]["mean"] for one in sent["scores"]]
    assert expected == ranked["expected_value"].tolist()[:64]
    assert {one["model_version"] for one in sent["scores"]} == {sent["model_version"]}


def test_one_and_a_thousand_leads(
    client: httpx.Client, asking: Asking, history: History, ranked: pd.DataFrame, today: int
) -> None:
    [first, *_] = ranked["lead_id"]
    [alone] = score(client, by_id([first], today))["scores"]
    many = (ranked["lead_id"].tolist() * MOST_LEADS)[:MOST_LEADS]
    scores = score(client, by_id(many, today))["scores"]
    assert len(scores) == MOST_LEADS
    assert scores[0] == alone
    assert {one["status"] for one in scores} == {"scored"}
    sent = history.leads["lead_id"].tolist()[-MOST_LEADS:]
    leads = [{**asking.lead(one), "related": []} for one in sent]
    scores = score(client, {"leads": leads, "as_of": iso(today)})["scores"]
    assert [one["lead_id"] for one in scores] == sent


def test_leads_of_a_call_are_scored_as_each_alone(
    client: httpx.Client, asking: Asking, ranked: pd.DataFrame, today: int
) -> None:
    """Sent or stored, with ids or numbered, in accounts or alone, and beside a bad one."""
    full = [asking.lead(one) for one in ranked["lead_id"][:30]]
    bare = [
        {**lead, "related": [], "events": [
            {name: held for name, held in one.items() if name != "event_id"}
            for one in lead["events"]
        ]}
        for lead in full[:15]
    ]  # fmt: skip
    repeated = [{**lead, "events": [*lead["events"], *lead["events"][:1]]} for lead in full[:5]]
    bad = [{**full[0], "events": [{**CALL, "occurred_at": SECRET}]}, {"lead_id": "nobody"}]
    stored = [{"lead_id": one} for one in ranked["lead_id"][30:40]]
    leads = [one for some in zip_longest(full, bare, repeated, bad, stored) for one in some if one]
    for more in ({}, {"since": iso(today - 14 * DAY), "if_done": ["call", "demo"]}):
        request = {"as_of": iso(today), "vector": True, **more}
        together = score(client, {"leads": leads, **request})["scores"]
        assert len(together) == len(leads)
        for number, (lead, found) in enumerate(zip(leads, together, strict=True)):
            [alone] = score(client, {"leads": [lead], **request})["scores"]
            if alone["status"] == "refused":
                assert found["index"] == number
                alone["index"] = number
                field = alone["problem"]["field"].replace("leads[0]", f"leads[{number}]")
                alone["problem"]["field"] = field
            assert found == alone


def test_requests_at_once_are_answered_as_each_alone(
    client: httpx.Client, asking: Asking, ranked: pd.DataFrame, today: int
) -> None:
    """Some ask alike, some for another moment or for more, some what cannot be answered."""
    ways: list[dict[str, Any]] = [
        {}, {}, {}, {"reasons": 0}, {"vector": True}, {"as_of": iso(today - DAY)},
        {"since": iso(today - 14 * DAY)}, {"if_done": ["call"]}, {"since": iso(today + DAY)},
        {"as_of": 1}, {"leads": [SECRET]}, {"leads": []}, {"reasons": 21},
    ]  # fmt: skip
    asked = [
        {"leads": [asking.lead(one)], "as_of": iso(today), **ways[number % len(ways)]}
        for number, one in enumerate(ranked["lead_id"][:90])
    ]

    def told(body: dict[str, Any]) -> tuple[int, Any]:
        answer = client.post("/v1/score", json=body)
        return answer.status_code, answer.json()

    alone = [*map(told, asked)]
    assert {status for status, _ in alone} == {200, 422}
    with ThreadPoolExecutor(24) as callers:
        for _ in range(3):
            assert [*callers.map(told, asked)] == alone


def test_order_of_facts_and_repeats_do_not_matter(
    client: httpx.Client, asking: Asking, ranked: pd.DataFrame, today: int
) -> None:
    lead = asking.lead(max(ranked["lead_id"][:50], key=lambda one: len(asking.lead(one)["events"])))
    shuffled = {
        **lead,
        "events": [*lead["events"][::-1], lead["events"][0]],
        "changes": lead["changes"][::-1],
        "related": lead["related"][::-1],
    }
    request = {"leads": [lead, shuffled], "as_of": iso(today), "vector": True}
    first, second = score(client, request)["scores"]
    assert first == second


def test_times_may_be_microseconds_or_have_any_offset(client: httpx.Client) -> None:
    spellings = ["2026-01-02T00:00:00Z", "2026-01-02T05:30:00+05:30", 1_767_312_000_000_000,
                 "2026-01-02 00:00:00.0000000z"]  # fmt: skip
    leads = [{**LEAD, "events": [{**CALL, "occurred_at": one}]} for one in spellings]
    repeats = [{**CALL, "event_id": "1", "occurred_at": one} for one in spellings]
    leads.append({**LEAD, "events": repeats})  # the same under one id, however it is written
    scores = score(client, {"leads": leads, "as_of": 1_767_398_400_000_000, "vector": True})
    assert scores["as_of"] == "2026-01-03T00:00:00Z"
    assert scores["scores"][0]["vector"]["since_last(call)"] == 1.0
    assert all(one == scores["scores"][0] for one in scores["scores"])


def test_reasons_as_many_as_asked(client: httpx.Client, ranked: pd.DataFrame, today: int) -> None:
    lead = ranked["lead_id"].iloc[0]
    for most in (0, 1, 5):
        [one] = score(client, by_id([lead], today, reasons=most))["scores"]
        assert len(one["reasons"]) == most
        assert "vector" not in one


BAD_LEADS: dict[str, tuple[Any, str]] = {
    "no object": (SECRET, ""),
    "no id": ({"created_at": iso(0)}, ".lead_id"),
    "empty id": ({"lead_id": ""}, ".lead_id"),
    "number as id": ({"lead_id": 123}, ".lead_id"),
    "long id": ({"lead_id": "x" * 201}, ".lead_id"),
    "unknown field": ({**LEAD, "event": []}, ".event"),
    "field named by a secret": ({**LEAD, SECRET: 1}, ""),
    "no creation": ({"lead_id": "1", "events": [CALL]}, ".created_at"),
    "no offset": ({**LEAD, "created_at": "2026-01-01T00:00:00"}, ".created_at"),
    "no time": ({**LEAD, "created_at": SECRET}, ".created_at"),
    "seconds": ({**LEAD, "created_at": 1_767_312_000}, ".created_at"),
    "milliseconds": ({**LEAD, "created_at": 1_767_312_000_000}, ".created_at"),
    "nanoseconds": ({**LEAD, "created_at": 1_767_312_000_000_000_000}, ".created_at"),
    "endless number": ({**LEAD, "created_at": 10**40}, ".created_at"),
    "far past": ({**LEAD, "created_at": "1700-01-01T00:00:00Z"}, ".created_at"),
    "created later": ({**LEAD, "created_at": "2199-01-01T00:00:00Z"}, ".created_at"),
    "no kind": ({**LEAD, "events": [CALL, {"occurred_at": iso(0)}]}, ".events[1].kind"),
    "event time": (
        {**LEAD, "events": [CALL, {**CALL, "occurred_at": SECRET}]}, ".events[1].occurred_at",
    ),
    "event in seconds": (
        {**LEAD, "events": [CALL, {**CALL, "occurred_at": 1_767_312_000}]},
        ".events[1].occurred_at",
    ),
    "known before": (
        {**LEAD, "events": [{**CALL, "known_at": "2026-01-01T23:59:59Z"}]}, ".events[0].known_at",
    ),
    "negative value": ({**LEAD, "events": [{**CALL, "value": -1}]}, ".events[0].value"),
    "truth as value": ({**LEAD, "events": [{**CALL, "value": False}]}, ".events[0].value"),
    "text as value": ({**LEAD, "events": [{**CALL, "value": SECRET}]}, ".events[0].value"),
    "one id for two": (
        {**LEAD, "events": [{**CALL, "event_id": "1"}, {**CALL, "event_id": "1", "kind": "x"}]},
        ".events[1].event_id",
    ),
    "some without id": (
        {**LEAD, "events": [{**CALL, "event_id": "1"}, CALL]}, ".events[1].event_id",
    ),
    "too many events": ({**LEAD, "events": [CALL] * (MOST_EVENTS + 1)}, ".events"),
    "text for a number": (
        {**LEAD, "attributes": {"company_size": SECRET}}, ".attributes.company_size",
    ),
    "truth for a number": (
        {**LEAD, "attributes": {"company_size": True}}, ".attributes.company_size",
    ),
    "number for a text": ({**LEAD, "attributes": {"industry": 5}}, ".attributes.industry"),
    "number for a property": (
        {**LEAD, "events": [CALL, {**CALL, "properties": {"page": 5}}]},
        ".events[1].properties.page",
    ),
    "nested attribute": ({**LEAD, "attributes": {"industry": [SECRET]}}, ".attributes[...]"),
    "change without time": ({**LEAD, "changes": [{"field": "a", "value": "b"}]},
                            ".changes[0].known_at"),
    "related without account": ({**LEAD, "related": [LEAD]}, ".account_id"),
    "related to itself": (
        {**LEAD, "account_id": "a", "related": [LEAD]}, ".related[0].lead_id",
    ),
    "related twice": (
        {**LEAD, "account_id": "a", "related": [{**LEAD, "lead_id": "2"}] * 2}, ".related",
    ),
    "related event": (
        {**LEAD, "account_id": "a",
         "related": [{**LEAD, "lead_id": "2", "events": [{**CALL, "occurred_at": SECRET}]}]},
        ".related[0].events[0].occurred_at",
    ),
    "unknown to the store": ({"lead_id": SECRET}, ".lead_id"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_LEADS)
def test_a_bad_lead_is_refused_alone_with_its_field_and_a_remedy(
    client: httpx.Client, name: str
) -> None:
    lead, field = BAD_LEADS[name]
    as_of = "2026-06-01T00:00:00Z"
    answer = score(client, {"leads": [LEAD, lead, LEAD], "as_of": as_of})
    first, refused, last = answer["scores"]
    assert first["status"] == last["status"] == "scored"
    assert first == last == score(client, {"leads": [LEAD], "as_of": as_of})["scores"][0]
    assert refused["status"] == "refused"
    assert refused["index"] == 1
    assert refused["problem"]["field"] == f"leads[1]{field}"
    assert refused["problem"]["remedy"]
    assert refused["problem"]["type"].startswith("urn:leadcast:problem:")
    assert SECRET not in json.dumps(refused)


def test_leads_of_a_thousand_fail_alone(client: httpx.Client, today: int) -> None:
    leads = [LEAD if number % 3 else {"lead_id": number} for number in range(MOST_LEADS)]
    scores = score(client, {"leads": leads, "as_of": iso(today)})["scores"]
    wanted = ["scored" if number % 3 else "refused" for number in range(MOST_LEADS)]
    assert [one["status"] for one in scores] == wanted


def test_a_settled_lead_is_not_scored(client: httpx.Client, history: History, today: int) -> None:
    won = history.outcomes["lead_id"].iloc[0]
    [refused] = score(client, by_id([won], today))["scores"]
    assert refused["problem"]["field"] == "leads[0].lead_id"
    assert "outcome" in refused["problem"]["detail"]


BAD_BODIES: dict[str, tuple[bytes, int, str | None]] = {
    "empty": (b"", 400, None),
    "no JSON": (b'{"leads": [', 400, None),
    "no UTF-8": (b'{"\xff": 1, "leads": [{}]}', 400, None),
    "not a number": (b'{"leads": [{}], "reasons": NaN}', 400, None),
    "a list": (b"[]", 422, None),
    "no leads": (b"{}", 422, "leads"),
    "leads are no list": (b'{"leads": {}}', 422, "leads"),
    "nobody": (b'{"leads": []}', 422, "leads"),
    "too many": (json.dumps({"leads": [LEAD] * (MOST_LEADS + 1)}).encode(), 422, "leads"),
    "unknown option": (b'{"leads": [{}], "reason": 3}', 422, "reason"),
    "too many reasons": (b'{"leads": [{}], "reasons": 21}', 422, "reasons"),
    "text for a number": (b'{"leads": [{}], "reasons": "bob@example.com"}', 422, "reasons"),
    "no time": (b'{"leads": [{}], "as_of": "bob@example.com"}', 422, "as_of"),
    "a time in seconds": (b'{"leads": [{}], "as_of": 1767312000}', 422, "as_of"),
    "deep": (b'{"leads": ' + b"[" * 100_000, 400, None),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_bad_body_is_a_problem(client: httpx.Client, name: str) -> None:
    body, status, field = BAD_BODIES[name]
    answer = client.post("/v1/score", content=body, headers={"Content-Type": "application/json"})
    problem(answer, status, field)


def problem(answer: httpx.Response, status: int, field: str | None = None) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["status"] == status
    assert told.get("field") == field
    assert told["title"]
    assert told["detail"]
    assert told["remedy"]
    assert SECRET not in answer.text


@pytest.mark.parametrize("sort", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_only_json_is_read(client: httpx.Client, sort: str) -> None:
    headers = {"Content-Type": sort} if sort else {}
    problem(client.post("/v1/score", content=b'{"leads": []}', headers=headers), 415)
    problem(client.post("/v1/score", files={"leads": b"[]"}), 415)


def test_a_body_beyond_the_limit_is_refused(client: httpx.Client) -> None:
    headers = {"Content-Type": "application/json"}
    problem(client.post("/v1/score", content=b" " * (MOST_BYTES + 1), headers=headers), 413)
    problem(client.post("/v1/score", content=_spaces(), headers=headers), 413)
    assert client.get("/readyz").status_code == 200


def _spaces() -> Iterator[bytes]:
    for _ in range(MOST_BYTES // 2**20 + 1):
        yield b" " * 2**20


def test_unknown_routes_and_methods_are_problems(client: httpx.Client) -> None:
    for path in ("/v1/nowhere", "/", "/docs.json"):
        problem(client.get(path), 404)
    problem(client.get("/v1/score"), 405)


def test_the_model_describes_itself(client: httpx.Client, loaded: bundle.Bundle) -> None:
    card = client.get("/v1/model").json()
    assert (card["version"], card["target"], card["horizon"]) == (loaded.version, "won", "28d")
    assert card["data_digest"] == loaded.about.data_digest
    assert card["never_read"] == ["reply"]
    assert [one["name"] for one in card["features"]] == list(loaded.model.features.names)
    assert all(one["sentence"] for one in card["features"])


def test_the_description_names_every_field_that_is_answered(
    client: httpx.Client, ranked: pd.DataFrame, today: int
) -> None:
    document = client.get("/v1/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    schemas = document["components"]["schemas"]
    assert {"/v1/score", "/v1/model"} <= set(document["paths"])
    asked = by_id([ranked["lead_id"].iloc[0], "?"], today, vector=True, since=today - DAY,
                  if_done=["call"])  # fmt: skip
    answer = score(client, asked)
    scored, refused = answer["scores"]
    assert set(answer) == set(schemas["ScoreAnswer"]["properties"])
    assert set(scored) == set(schemas["Score"]["properties"])
    assert set(scored["reasons"][0]) == set(schemas["Reason"]["properties"])
    assert set(refused) == set(schemas["Refused"]["properties"])
    assert set(refused["problem"]) <= set(schemas["Problem"]["properties"])
    assert set(client.get("/v1/model").json()) == set(schemas["ModelCard"]["properties"])


def test_health_and_metrics(client: httpx.Client) -> None:
    for path in ("/livez", "/readyz", "/startedz", "/healthz"):
        assert client.get(path).status_code == 200
    score(client, {"leads": [LEAD]})
    assert 'route="/v1/score",status="200"' in client.get("/metrics").text


def test_a_feature_vector_is_what_the_model_read(
    client: httpx.Client, scorer: Scorer, ranked: pd.DataFrame, today: int
) -> None:
    lead = ranked["lead_id"].iloc[3]
    [one] = score(client, by_id([lead], today, vector=True))["scores"]
    assert list(one["vector"]) == list(scorer.features.names)
    held = frame_of(scorer.features, [tuple(one["vector"].values())])
    matrix = scorer.bundle.model.encoder.matrix(held)
    assert scorer.bundle.model.predict(matrix).probability == np.array([one["probability"]])


@pytest.mark.parametrize("killed", [False, True])
def test_it_ends_and_leaves_no_process(directory: Path, tmp_path: Path, killed: bool) -> None:
    with serving(directory, tmp_path / "store.db", free_port()) as running:
        supervisor = psutil.Process(running.process.pid)
        family = [supervisor, *supervisor.children(recursive=True)]
        assert len(family) > 1
        if killed:
            running.process.kill()
    assert not [one for one in family if one.is_running()]
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{running.url}/readyz")


def test_without_a_store_an_id_alone_is_refused(directory: Path) -> None:
    with serving(directory, None, free_port()) as running:
        answer = httpx.post(f"{running.url}/v1/score", json={"leads": [{"lead_id": "1"}, LEAD]})
        taken = httpx.post(f"{running.url}/v1/leads", json={"leads": [LEAD]})
    assert (taken.status_code, taken.json()["type"]) == (503, "urn:leadcast:problem:no-store")
    refused, scored = answer.json()["scores"]
    assert "no store" in refused["problem"]["detail"]
    assert scored["status"] == "scored"


@pytest.mark.parametrize("name", ["conversion.txt", "bundle.json"])
def test_a_damaged_bundle_is_not_served(directory: Path, tmp_path: Path, name: str) -> None:
    broken = Path(shutil.copytree(directory, tmp_path / "broken"))
    content = (broken / name).read_bytes()
    (broken / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(bundle.BundleError, match=name), serving(broken, None, free_port()):
        pytest.fail("it was served")


def test_bentoml_itself_does_not_start_on_a_damaged_bundle(directory: Path, tmp_path: Path) -> None:
    """LightGBM aborts on half a model; here the digest stops it, before the port opens."""
    broken = Path(shutil.copytree(directory, tmp_path / "broken"))
    model = broken / "conversion.txt"
    model.write_bytes(model.read_bytes()[:-2_000])
    environment = {"LEADCAST_BUNDLE": str(broken)}
    with (
        pytest.raises(ServiceError, match=r"conversion\.txt is not the file that was written"),
        run.process("serving.service:Leadcast", free_port(), environment),
    ):
        pytest.fail("it was served")


def test_what_supervises_has_no_telemetry_and_waits_for_nothing_it_does_not_need() -> None:
    code = "import serving.service, os, sys; print(os.environ['BENTOML_DO_NOT_TRACK'], "
    code += "[one for one in ('pandas', 'lightgbm', 'numba') if one in sys.modules])"
    environment = {name: value for name, value in os.environ.items() if "BENTO" not in name}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        cwd=Path(run.__file__).parent.parent, env=environment,
    )  # fmt: skip
    assert done.stdout.strip() == "True []"


def test_a_store_filled_while_serving_is_read(
    client: httpx.Client, stored: Path, today: int
) -> None:
    store = Store(stored)
    store.put(leads=[{"lead_id": "brand new", "created_at": today - 1, "attributes": {}}])
    store.close()
    [one] = score(client, by_id(["brand new"], today))["scores"]
    assert one["status"] == "scored"
