"""Large files of leads: each line is answered as the endpoint would, and nothing is half done."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil

from features.schema import History
from features.times import iso, now
from serving.jobs import KEPT, Job, Jobs, jobs_beside, write_job
from serving.run import serving
from tests.serving.asking import Asking, by_id, free_port

LINES = {"Content-Type": "application/x-ndjson"}
LEAD = '{"lead_id": "one", "created_at": "2024-01-01T00:00:00Z"}'
Record = dict[str, Any]


def submitted(client: httpx.Client, lines: Sequence[str], **query: Any) -> Record:
    answer = client.post("/v1/jobs", content="\n".join(lines), params=query, headers=LINES)
    assert answer.status_code == 202, answer.text
    job: Record = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['job_id']}"
    return job


def awaited(client: httpx.Client, job: Record, until: Callable[[Record], bool]) -> Record:
    limit = time.monotonic() + 180
    while time.monotonic() < limit:
        found: Record = client.get(f"/v1/jobs/{job['job_id']}").json()
        if until(found):
            return found
        time.sleep(0.05)
    raise AssertionError(f"still {found}")


def ended(job: Record) -> bool:
    return job["ended_at"] is not None


def answers(client: httpx.Client, job: Record) -> list[Record]:
    told = client.get(f"/v1/jobs/{job['job_id']}/answers")
    assert told.status_code == 200, told.text
    assert told.headers["content-type"] == LINES["Content-Type"]
    return [json.loads(line) for line in told.text.splitlines()]


def worker_of(job: Record) -> psutil.Process:
    [found] = [
        one
        for one in psutil.Process().children(recursive=True)
        if one.status() != psutil.STATUS_ZOMBIE and any(job["job_id"] in w for w in one.cmdline())
    ]
    return found


def test_every_line_is_answered_as_the_endpoint_would(
    client: httpx.Client, history: History, asking: Asking, today: int
) -> None:
    settled = set(history.outcomes["lead_id"])
    ids = [one for one in history.leads["lead_id"] if one not in settled][:300]
    lines = [json.dumps({"lead_id": one} if n % 2 else asking.lead(one)) for n, one in
             enumerate(ids)]  # fmt: skip
    lines[7:7] = ["", "{not json", '{"lead_id": "nobody"}']
    job = awaited(client, submitted(client, lines, as_of=iso(today), reasons=2), ended)
    assert (job["status"], job["leads"]) == ("done", len(ids) + 2)
    assert (job["scored"], job["refused"]) == (len(ids), 2)
    told = answers(client, job)
    assert [one["index"] for one in told if one["status"] == "refused"] == [7, 8]
    assert told[7]["problem"]["type"].endswith("malformed-json")
    assert told[8]["problem"]["field"] == "leads[8].lead_id"
    there = client.post("/v1/score", json=by_id(ids, today, reasons=2)).json()["scores"]
    assert [one for one in told if one["status"] == "scored"] == there
    past = client.get(f"/v1/leads/{ids[0]}/scores").json()["scores"]
    assert job["job_id"] in {one["request_id"] for one in past}


def test_a_job_that_is_not_well_formed_leaves_nothing(client: httpx.Client) -> None:
    for content, headers, status in (
        ("\n \n", LINES, 422),
        ("{}", {"Content-Type": "application/json"}, 415),
        ("x" * (16 * 2**20 + 1), LINES, 413),
    ):
        answer = client.post("/v1/jobs", content=content, headers=headers)
        assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert client.post("/v1/jobs?reasons=21", content="{}", headers=LINES).status_code == 422
    for which in ("0123456789abcdef", "..", "x"):
        for path in ("", "/answers"):
            assert client.get(f"/v1/jobs/{which}{path}").status_code == 404


def test_a_job_is_ended_by_removal_and_fails_alone_when_its_process_is_killed(
    client: httpx.Client, today: int
) -> None:

    def begun(job: Record) -> bool:
        return job["scored"] > 0

    job = awaited(client, submitted(client, [LEAD] * 50_000, as_of=iso(today)), begun)
    assert client.get(f"/v1/jobs/{job['job_id']}/answers").status_code == 409
    process = worker_of(job)
    assert client.delete(f"/v1/jobs/{job['job_id']}").status_code == 200
    assert client.get(f"/v1/jobs/{job['job_id']}").status_code == 404
    assert not process.is_running()

    first, second = (submitted(client, [LEAD] * n, as_of=iso(today)) for n in (50_000, 2))
    awaited(client, first, begun)
    worker_of(first).kill()
    failed = awaited(client, first, ended)
    assert failed["status"] == "failed"
    assert "submit it again" in failed["problem"]
    assert awaited(client, second, ended)["status"] == "done"
    assert client.get(f"/v1/jobs/{first['job_id']}/answers").status_code == 409


def test_answers_go_after_a_day_though_no_job_comes(tmp_path: Path) -> None:
    for which, ended in (("a" * 16, now() - KEPT - 1_000_000), ("b" * 16, now())):
        (tmp_path / which).mkdir()
        at = iso(ended)
        write_job(tmp_path / which, Job(which, "done", at, at, 0, 1, 1, ended_at=at))
    jobs = Jobs(tmp_path, tmp_path)
    jobs.start()
    limit = time.monotonic() + 20
    while (tmp_path / ("a" * 16)).exists():
        assert time.monotonic() < limit
        time.sleep(0.01)
    assert jobs.find("b" * 16).status == "done"


def test_each_database_has_jobs_of_its_own() -> None:
    places = {
        url: jobs_beside(url)
        for url in (
            None, "store.db", "sqlite:///other.db", "postgresql://ann:secret@here/one",
            "postgresql://here/one", "postgresql://ann:secret@here/two",
        )
    }  # fmt: skip
    assert places["postgresql://ann:secret@here/one"] == places["postgresql://here/one"]
    assert len(set(places.values())) == len(places) - 1
    assert str(places["store.db"]) == "store.db.jobs"


def test_a_service_goes_on_with_the_jobs_that_the_last_one_left(
    directory: Path, tmp_path: Path, today: int
) -> None:
    store = tmp_path / "store.db"
    with (
        serving(directory, store, free_port()) as running,
        httpx.Client(base_url=running.url, timeout=60) as client,
    ):
        job = submitted(client, [LEAD] * 4_000, as_of=iso(today))
        awaited(client, job, lambda job: job["scored"] > 0)
        process = worker_of(job)
    assert not process.is_running() or process.wait(10) is not None
    with (
        serving(directory, store, free_port()) as running,
        httpx.Client(base_url=running.url, timeout=60) as client,
    ):
        job = awaited(client, job, ended)
        assert (job["status"], job["scored"]) == ("done", 4_000)
        assert len(answers(client, job)) == 4_000
