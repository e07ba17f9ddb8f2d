"""Who may ask what, and what is said of it, for every operation that the app declares."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
import uvicorn
from click.testing import CliRunner
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from features.times import now
from serving import keys, metrics, run
from serving.app import OPERATIONS
from serving.cli import main
from serving.connections import Patient
from serving.guard import Guard
from serving.health import Health
from serving.keys import SCOPES, KeysError
from serving.limits import PATIENCE, RECENT, TURN, TURN_CROWDED, Bucket, Gate
from serving.operation import Operation, Scope
from serving.problems import Breach
from tests.serving.asking import free_port

LEAD = {"lead_id": "secret-lead", "created_at": "2026-01-01T00:00:00Z"}
KEYED = [one for one in OPERATIONS if one.scope is not None]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.json"


@pytest.fixture(scope="module")
def held(file: Path) -> dict[Scope, str]:
    """A key for each scope alone."""
    return {scope: keys.add(file, f"only {scope}", [scope]) for scope in SCOPES}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "service.log"


@pytest.fixture(scope="module")
def keyed(
    directory: Path, stored: Path, file: Path, held: dict[Scope, str], log: Path
) -> Iterator[httpx.Client]:
    """A service with keys, whose log is read; a client without one."""
    assert held
    environment = {
        "LEADCAST_BUNDLE": str(directory), "LEADCAST_STORE": str(stored),
        "LEADCAST_KEYS": str(file), "LEADCAST_DRAIN": "1",
    }  # fmt: skip
    with (
        log.open("w+b") as said,
        run.process("serving.service:Leadcast", free_port(), environment, log=said) as running,
        httpx.Client(base_url=running.url, timeout=30) as connected,
    ):
        yield connected


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def call(client: httpx.Client, one: Operation, headers: dict[str, str]) -> httpx.Response:
    path = re.sub(r"{\w+}", "nobody", one.path)
    body = b"{}" if one.asks else None
    sort = {"Content-Type": "application/json"} if one.asks else {}
    return client.request(one.method, path, content=body, headers=headers | sort)


@pytest.mark.parametrize("one", KEYED, ids=lambda one: one.name)
def test_every_operation_wants_a_key_with_its_scope(
    keyed: httpx.Client, held: dict[Scope, str], one: Operation
) -> None:
    for headers in ({}, bearer("x"), bearer("lc_00000000_x"), {"Authorization": "Basic eDp5"}):
        refused = call(keyed, one, headers)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Bearer")
        assert refused.json()["type"] == "urn:leadcast:problem:unauthorised"
    for scope, key in held.items():
        status = call(keyed, one, bearer(key)).status_code
        assert (status == 403) == (scope != one.scope), (scope, status)
        assert status != 401


def test_only_health_and_open_operations_answer_without_a_key(keyed: httpx.Client) -> None:
    for path in ("/livez", "/readyz", "/startedz", "/healthz"):
        answer = keyed.get(path)
        assert (answer.status_code, answer.json()) == (200, {"status": "pass"})
        assert answer.headers["content-type"] == "application/health+json"
    for path in ("/", "/v1/openapi.json", "/v1/nowhere", "/docs.json", "/schema.json",
                 "/v1/score/", "//v1/score", "/v1/%73core"):  # fmt: skip
        for method in ("GET", "POST", "PUT", "TRACE"):
            assert keyed.request(method, path).status_code == 401, path


def test_the_schemas_of_bentoml_are_not_ours_to_show(
    keyed: httpx.Client, held: dict[Scope, str]
) -> None:
    for path in ("/", "/schema.json", "/docs.json"):
        assert keyed.get(path, headers=bearer(held["admin"])).status_code == 404
    assert keyed.get("/v1/openapi.json", headers=bearer(held["score"])).status_code == 200


def test_a_proxy_on_this_machine_does_not_open_the_metrics(
    keyed: httpx.Client, held: dict[Scope, str]
) -> None:
    assert keyed.get("/metrics").status_code == 200
    beyond = {"X-Forwarded-For": "203.0.113.9"}
    assert keyed.get("/metrics", headers=beyond).status_code == 401
    assert keyed.get("/metrics", headers=beyond | bearer(held["score"])).status_code == 403
    assert keyed.get("/metrics", headers=beyond | bearer(held["admin"])).status_code == 200


def test_every_answer_has_the_headers_that_protect(
    keyed: httpx.Client, held: dict[Scope, str]
) -> None:
    for answer in (
        keyed.get("/livez"), keyed.get("/v1/model"), keyed.get("/metrics"),
        keyed.get("/v1/model", headers=bearer(held["score"])),
        keyed.get("/v1/nowhere", headers=bearer(held["score"])),
    ):  # fmt: skip
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-request-id"]


def test_a_revoked_key_ends_and_a_new_one_begins_without_a_restart(
    keyed: httpx.Client, file: Path
) -> None:
    key = keys.add(file, "passing", ["score"])
    time.sleep(1.1)
    assert keyed.get("/v1/model", headers=bearer(key)).status_code == 200
    successor = keys.rotate(file, key[3:11], overlap=3_600_000_000)
    time.sleep(1.1)
    for one in (key, successor):
        assert keyed.get("/v1/model", headers=bearer(one)).status_code == 200
    keys.revoke(file, key[3:11])
    good = file.read_bytes()
    time.sleep(1.1)
    assert keyed.get("/v1/model", headers=bearer(key)).status_code == 401
    file.write_bytes(good[: len(good) // 2])
    time.sleep(1.1)
    assert keyed.get("/v1/model", headers=bearer(successor)).status_code == 200
    file.write_bytes(good)


def test_a_key_has_its_rate(keyed: httpx.Client, file: Path) -> None:
    key = keys.add(file, "slow", ["score"], rate=2)
    time.sleep(1.1)
    answers = [keyed.get("/v1/model", headers=bearer(key)) for _ in range(4)]
    assert [one.status_code for one in answers] == [200, 200, 429, 429]
    assert int(answers[-1].headers["retry-after"]) >= 1
    time.sleep(1.0)
    assert keyed.get("/v1/model", headers=bearer(key)).status_code == 200


def test_the_log_is_json_and_names_no_lead(
    keyed: httpx.Client, held: dict[Scope, str], log: Path
) -> None:
    headers = bearer(held["score"]) | {"X-Request-Id": "0123456789abcdef-77"}
    asked = {"leads": [LEAD, {"lead_id": "secret-unknown"}], "as_of": "2026-06-01T00:00:00Z"}
    answer = keyed.post("/v1/score?secret-query=1", json=asked, headers=headers)
    assert answer.headers["x-request-id"] == "0123456789abcdef-77"
    odd = keyed.get("/v1/secret-path", headers=headers | {"X-Request-Id": "secret@example.com"})
    assert odd.headers["x-request-id"] != "secret@example.com"
    time.sleep(0.5)
    text = log.read_text()
    assert "secret" not in text
    assert held["score"] not in text
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    [told] = [one for one in lines if one.get("request_id") == "0123456789abcdef-77"
              and one["route"] != "unknown"]  # fmt: skip
    assert (told["event"], told["route"], told["status"]) == ("request", "/v1/score", 200)
    assert told["key"] == held["score"][3:11]
    assert told["ms"] > 0


def test_metrics_count_by_route_and_tell_why_refused(
    keyed: httpx.Client, held: dict[Scope, str]
) -> None:
    keyed.get("/v1/secret-path", headers=bearer(held["score"]))
    keyed.get("/v1/model")
    text = keyed.get("/metrics").text
    assert 'leadcast_requests_total{route="unknown",status="404"}' in text
    assert 'leadcast_refused_total{reason="unauthorised"}' in text
    assert 'leadcast_request_seconds_bucket{le="0.005",route="/v1/model"}' in text
    [running] = re.findall(r"^leadcast_requests_running (\S+)$", text, re.MULTILINE)
    assert float(running) >= 1  # this one; another may have answered and not ended yet
    assert "secret" not in text


def test_it_is_unready_first_then_ends_with_what_had_begun(
    directory: Path,
) -> None:
    environment = {"LEADCAST_BUNDLE": str(directory), "LEADCAST_DRAIN": "2"}
    with run.process("serving.service:Leadcast", free_port(), environment) as running:
        body = json.dumps({"leads": [LEAD] * 1_000, "as_of": "2026-06-01T00:00:00Z"}).encode()
        answers: list[int] = []

        def ask() -> None:
            headers = {"Content-Type": "application/json"}
            for _ in range(3):
                one = httpx.post(f"{running.url}/v1/score", content=body, headers=headers)
                answers.append(one.status_code)

        asking = threading.Thread(target=ask)
        asking.start()
        os.kill(running.process.pid, signal.SIGTERM)
        time.sleep(1.0)
        unready = httpx.get(f"{running.url}/readyz")
        assert (unready.status_code, unready.json()["status"]) == (503, "fail")
        assert httpx.get(f"{running.url}/livez").status_code == 200
        assert httpx.get(f"{running.url}/v1/model").status_code == 200
        asking.join()
        assert answers == [200] * 3
        assert running.process.wait(20) is not None


def test_without_keys_it_answers_this_machine_only(client: httpx.Client) -> None:
    assert client.get("/v1/model").status_code == 200
    rebound = client.get("/v1/model", headers={"Host": "evil.example.com:3000"})
    assert rebound.status_code == 401
    assert "LEADCAST_KEYS" in rebound.json()["remedy"]


def test_without_keys_it_does_not_listen_elsewhere(directory: Path) -> None:
    asked = ["serve", "--bundle", str(directory), "--host", "0.0.0.0", "--port", str(free_port())]
    done = CliRunner(env={"LEADCAST_KEYS": ""}).invoke(main, asked)
    assert done.exit_code == 1
    assert "leadcast keys add" in done.output
    environment = {"LEADCAST_BUNDLE": str(directory)}
    with (
        pytest.raises(run.ServiceError, match=r"open to everybody on 0\.0\.0\.0"),
        run.process("serving.service:Leadcast", free_port(), environment, "0.0.0.0"),
    ):
        pytest.fail("it was served")


def test_keys_are_made_listed_rotated_and_revoked(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    runner = CliRunner(env={"LEADCAST_KEYS": str(path)})

    def keyed(*arguments: str) -> str:
        done = runner.invoke(main, ["keys", *arguments])
        assert done.exit_code == 0, done.output
        return done.stdout

    key = keyed("add", "--name", "crm", "--scope", "score", "--scope", "ingest").strip()
    assert len(key) >= 12 + 43
    assert path.stat().st_mode & 0o077 == 0
    assert key[12:] not in path.read_text()
    assert "crm" in keyed("list")
    assert "score,ingest" in keyed("list")
    found = keys.Keys(path).find(key)
    assert found is not None
    assert found.scopes == ("score", "ingest")
    assert keys.Keys(path).find(key[:-1] + ("A" if key[-1] != "A" else "B")) is None
    successor = keyed("rotate", found.id, "--overlap", "1h").strip()
    assert all(keys.Keys(path).find(one) for one in (key, successor))
    keyed("revoke", found.id)
    assert keys.Keys(path).find(key) is None
    assert keys.Keys(path).find(successor)
    assert "ended" in keyed("list")
    assert runner.invoke(main, ["keys", "revoke", "unknown"]).exit_code == 1


@pytest.mark.parametrize("content", ["", "[]", "{}", '[{"id": "x"}]', "\x00"])
def test_a_bad_key_file_is_told_not_used(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(content)
    with pytest.raises(KeysError, match=r"keys\.json"):
        keys.Keys(path)


def test_a_key_that_has_ended_cannot_be_rotated(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    key = keys.add(path, "x", ["admin"])
    keys.revoke(path, key[3:11])
    assert not keys.read(path)[0].valid(now())
    with pytest.raises(KeysError, match="has ended"):
        keys.rotate(path, key[3:11], 1)


def test_a_bucket_gives_its_rate_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 100.0
    monkeypatch.setattr("serving.limits.time.monotonic", lambda: clock)
    bucket = Bucket(10)
    assert [bucket.take() for _ in range(10)] == [0.0] * 10
    assert bucket.take() == pytest.approx(0.1)
    clock += 0.1
    assert bucket.take() == 0.0
    assert bucket.take() > 0
    clock += 3_600
    assert sum(bucket.take() == 0.0 for _ in range(20)) == 10


async def admitted(gate: Gate, number: int, order: list[int]) -> bool:
    try:
        await gate.enter()
    except Breach as breach:
        return (breach.status, breach.headers["Retry-After"]) != (503, "1")
    order.append(number)
    return True


async def asked(gate: Gate, number: int, order: list[int], work: float) -> bool:
    if not await admitted(gate, number, order):
        return False
    time.sleep(work)  # as a score does, which is worked out without a pause
    gate.leave()
    return True


async def crowd(gate: Gate, count: int, work: float) -> tuple[list[bool], list[int]]:
    order = list[int]()
    one_by_one = [asked(gate, number, order, work) for number in range(count)]
    return await asyncio.gather(*one_by_one), order


@pytest.mark.parametrize("callers", [1, 8, 16])
def test_the_gate_serves_callers_who_wait_for_their_answers_all_and_in_turn(callers: int) -> None:
    async def scene() -> None:
        gate = Gate()
        for _ in range(100 // callers):
            served, order = await crowd(gate, callers, 0.001)
            assert all(served)
            assert order == list(range(callers))

    asyncio.run(scene())


def test_the_gate_refuses_at_once_whose_turn_would_come_too_late() -> None:
    async def scene() -> None:
        gate = Gate()
        await crowd(gate, 4, 0.005)  # it learns its pace
        began, answered = time.monotonic(), list[float]()

        async def timed(number: int) -> bool:
            served = await asked(gate, number, [], 0.005)
            answered.append(time.monotonic() - began) if served else None
            return served

        served = await asyncio.gather(*(timed(number) for number in range(100)))
        assert 2 <= sum(served) <= 60
        assert sum(served[:2]) == 2
        assert not any(served[60:])
        assert max(answered) < 0.4  # not half a second, as a hundred take one after another

    asyncio.run(scene())


def test_of_a_crowd_few_are_let_in_and_of_callers_who_wait_all() -> None:
    async def arrive(gate: Gate, count: int) -> int:
        let_in = sum(gate.lets_in() for _ in range(count))
        for left in range(let_in, 0, -1):
            assert gate.more_come is (left > 0)
            gate.came()
            await gate.enter()
        assert not gate.more_come
        time.sleep(0.001 * let_in)
        for _ in range(let_in):
            gate.leave()
        await asyncio.sleep(0)
        return let_in

    async def scene() -> None:
        gate, started = Gate(), time.monotonic()
        served = list[int]()
        while time.monotonic() < started + 0.5:
            served.append(await arrive(gate, 64))
        assert sum(served) >= 20, "it goes on serving"
        assert max(served[10:]) <= TURN_CROWDED
        assert 0 in served[10:], "it rests"
        await asyncio.sleep(20 * RECENT)
        for _ in range(20):
            assert await arrive(gate, 16) == 16

    asyncio.run(scene())


def test_nobody_waits_of_a_crowd() -> None:
    async def scene() -> None:
        gate, order = Gate(), list[int]()
        asked = [asyncio.create_task(admitted(gate, number, order)) for number in range(2 * TURN)]
        await asyncio.sleep(0)
        ending = time.monotonic() + 10
        while gate.lets_in():
            gate.came()
            time.sleep(0.0001)
            assert time.monotonic() < ending
        assert sum(await asyncio.gather(*asked)) == TURN
        assert gate.running == TURN

    asyncio.run(scene())


def test_the_gate_holds_a_slot_until_the_work_ends() -> None:
    async def scene() -> None:
        gate, order = Gate(running=1), list[int]()
        assert await admitted(gate, 0, order)
        waiting = asyncio.create_task(admitted(gate, 1, order))
        gone = asyncio.create_task(admitted(gate, 2, order))
        await asyncio.sleep(0)
        gone.cancel()
        gate.leave()
        assert await waiting
        gate.leave()
        await asyncio.wait([gone])
        assert gate.running == 0
        assert await admitted(gate, 3, order)
        late = asyncio.create_task(admitted(gate, 4, order))
        await asyncio.sleep(0)
        gate.leave()  # its turn comes, and at the same moment its caller goes
        late.cancel()
        await asyncio.wait([late])
        assert gate.running == 0
        assert order == [0, 1, 3]

    asyncio.run(scene())


def test_the_gate_refuses_nobody_for_a_pause_of_the_service() -> None:
    async def scene() -> None:
        gate = Gate()
        for _ in range(3):
            time.sleep(3 * PATIENCE)  # as when a model is taken up
            served, _ = await crowd(gate, 8, 0.001)
            assert all(served)
            slow, _ = await crowd(gate, 2, 3 * PATIENCE)
            assert all(slow)

    asyncio.run(scene())


def test_the_gate_keeps_nobody_waiting_for_longer_than_patience() -> None:
    async def scene() -> None:
        gate, order = Gate(running=1), list[int]()
        assert await admitted(gate, 0, order)
        began = time.monotonic()
        assert not await admitted(gate, 1, order)
        assert PATIENCE <= time.monotonic() - began < 4 * PATIENCE
        gate.leave()
        assert await admitted(gate, 3, order)

    asyncio.run(scene())


@contextmanager
def listening(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server in a thread, with the guard at its door; its address."""
    monkeypatch.setattr(Patient, "door", guard.door)
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(
        guard, port=port, http=Patient, ws="none", lifespan="off", log_config=None,
    ))  # fmt: skip
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def test_what_is_refused_in_a_crowd_says_so_and_is_counted(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def busy(request: Request) -> Response:
        del request
        time.sleep(0.005)
        return Response(b"{}")

    operation = Operation("busy", "POST", "/v1/busy/{which}", busy, "Busy", Health, "score")
    guard = Guard(Starlette(), Starlette(), [operation], None, Health())
    before = metrics.refused("overloaded")._value.get()

    async def scene(url: str) -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=100)
        async with httpx.AsyncClient(base_url=url, limits=limits, timeout=30) as client:
            told = await asyncio.gather(*(
                client.post(f"/v1/busy/{number}?x", content=b"{}" * 1_000, headers={
                    "X-Request-Id": f"{number:016x}",
                    "Connection": "close" if number % 2 else "keep-alive",
                })
                for number in range(300)
            ))  # fmt: skip
            assert (await client.get("/v1/nothing")).status_code == 404
            await asyncio.sleep(1.2)
            assert (await client.post("/v1/busy/1", content=b"{}")).status_code == 200
        return told

    with listening(guard, monkeypatch) as url:
        told = asyncio.run(scene(url))
    refused = [one for one in told if one.status_code == 503]
    assert {one.status_code for one in told} == {200, 503}
    assert metrics.refused("overloaded")._value.get() - before == len(refused)
    for number, one in enumerate(told):
        assert one.headers["X-Request-Id"] == f"{number:016x}"
        assert one.headers["X-Content-Type-Options"] == "nosniff"
        assert ("close" in one.headers.get("Connection", "")) is bool(number % 2)
    for one in refused:
        assert one.headers["Retry-After"] == "1"
        assert one.headers["Content-Type"] == "application/problem+json"
        assert one.json()["type"] == "urn:leadcast:problem:overloaded"
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if "{" in line]
    assert sum(one["refused"] for one in lines if one["event"] == "overloaded") == len(refused)


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /v1/kept/x%2Fy HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n",
        b"POST /v1/%6Bept/x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n",
        b"POST /v1/busy/x%%zz HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n",
        b"POST /v1/busy/\xff HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n",
        b"POST http://[/v1/busy/x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n",
        b"POST /v1/busy/x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n{}",
        b"POST /v1/busy/x HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /v1/busy/x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\n{}" * 3,
        b"POST /v1/busy/x HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: 100-continue\r\n"
        b"Content-Length: 2\r\n\r\n{}",
        b"POST /v1/busy/x HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
        b"Connection: upgrade\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
def test_whoever_was_let_in_comes_or_is_forgotten(
    sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(request: Request) -> Response:
        return Response(await request.body())

    operation = Operation("busy", "POST", "/v1/busy/{which}", nothing, "Busy", Health, "score")
    kept = Operation("kept", "POST", "/v1/kept/{which}", nothing, "Kept", Health, "admin")
    guard = Guard(Starlette(), Starlette(), [operation, kept], None, Health())
    with listening(guard, monkeypatch) as url:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as asking:
                asking.sendall(sent)
                asking.settimeout(0.3)
                with suppress(TimeoutError):
                    asking.recv(65_536)
        assert httpx.post(f"{url}/v1/busy/x", content=b"{}").text == "{}"
        assert not guard._gate.more_come
        assert not guard._admin_gate.more_come


def test_libraries_log_json_without_the_message_of_an_exception() -> None:
    code = (
        "import logging\n"
        "from serving import logs\n"
        "logging.basicConfig()\n"
        "logs.adopt()\n"
        "try:\n    raise ValueError('bob@example.com')\n"
        "except ValueError:\n    logging.getLogger('uvicorn.error').exception('failed')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        cwd=Path(run.__file__).parent.parent,
    )  # fmt: skip
    told = json.loads(done.stderr)
    assert (told["level"], told["message"], told["error"]) == ("error", "failed", "ValueError")
    assert "bob" not in done.stderr
