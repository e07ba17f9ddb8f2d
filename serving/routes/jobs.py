"""Large files of leads: submit, progress, result."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from features.times import instant, now
from serving import api
from serving.http import answer, declared
from serving.jobs import Job, Jobs
from serving.limits import in_thread
from serving.operation import Operation
from serving.problems import convert, invalid
from serving.scorer import Score

LINES = "application/x-ndjson"


ISO = (
    r"^(19|2[01])\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d"
    r"(\.\d{1,6})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$"
)


class JobQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the leads of a job are scored: as of a moment (default: now), with so many reasons."""

    as_of: Annotated[str, Meta(pattern=ISO, description="ISO 8601 with an offset")] | None = None
    reasons: Annotated[int, Meta(ge=0, le=20)] = 3


def _jobs(request: Request) -> Jobs:
    found: Jobs = request.app.state.jobs
    return found


async def _submit(request: Request) -> Response:
    declared(request, LINES)
    wanted = convert(JobQuery, dict(request.query_params))
    job = await _jobs(request).submit(request.stream(), _moment(wanted), wanted.reasons)
    made = answer(msgspec.json.encode(job), 202)
    made.headers["Location"] = f"/v1/jobs/{job.job_id}"
    return made


def _moment(wanted: JobQuery) -> int:
    try:
        return now() if wanted.as_of is None else instant(wanted.as_of)
    except ValueError:
        raise invalid("as_of", "there is no such day", "send a day of the calendar") from None


async def _find(request: Request) -> Response:
    job = _jobs(request).find(request.path_params["job_id"])
    return answer(msgspec.json.encode(job))


async def _answered(request: Request) -> Response:
    return FileResponse(_jobs(request).answered(request.path_params["job_id"]), media_type=LINES)


async def _remove(request: Request) -> Response:
    working, which = request.app.state.working, request.path_params["job_id"]
    job = await in_thread(working, _jobs(request).remove, which)
    return answer(msgspec.json.encode(job))


OPERATIONS = (
    Operation(
        "submit_job", "POST", "/v1/jobs", _submit, "Score a large file of leads",
        Job, "score", asks=api.Lead, takes=LINES, query=JobQuery, status=202,
        description="One lead in JSON a line, by id or with its history, up to a GiB. A process of "
        "its own works on them, one job after another. Answers are kept for a day; so long may the "
        "words of a lead that is erased meanwhile last in them.",
        refuses=((413, "The file is larger than a GiB, or a line than 16 MiB"),
                 (415, f"The body is not declared as {LINES}"),
                 (409, "There are too many jobs already")),
        returns="The job; its progress is at Location",
    ),
    Operation(
        "job", "GET", "/v1/jobs/{job_id}", _find, "How far a job is", Job, "score",
        returns="Its status and counts",
    ),
    Operation(
        "job_answers", "GET", "/v1/jobs/{job_id}/answers", _answered, "The answers of a job",
        Score | api.Refused, "score", gives=LINES,
        refuses=((409, "The job is not done"),),
        returns="A line for each lead, in the order of the file",
    ),
    Operation(
        "remove_job", "DELETE", "/v1/jobs/{job_id}", _remove, "End a job and forget it", Job,
        "score", returns="The job as it was",
    ),
)  # fmt: skip
