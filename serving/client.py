"""A client of the service for Python: typed answers, and tries again where that is safe."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from serving.api import ModelCard, Refused, ScoreAnswer
from serving.handover import Handover
from serving.ingest import IngestAnswer
from serving.jobs import Job
from serving.ledger import PastScore, PastScores
from serving.privacy import Consented, Erased, Export
from serving.problems import Problem
from serving.scorer import Score
from serving.worklist import Cut, Decision, Decisions, Entry, WorkList

Made = TypeVar("Made")
Record = Mapping[str, Any]

MOST_ITEMS = 1_000
"""Leads or facts a call; the client cuts longer lists."""

_BUSY = frozenset({429, 503})
_LONGEST_WAIT = 30.0


class Refusal(RuntimeError):
    """What the service answered instead: a problem with its field and remedy."""

    def __init__(self, problem: Problem) -> None:
        told = [problem.detail, f"field: {problem.field}" if problem.field else "",
                f"remedy: {problem.remedy}" if problem.remedy else ""]  # fmt: skip
        super().__init__(f"{problem.status} {problem.title}: {'; '.join(filter(None, told))}")
        self.problem = problem


class Leadcast:
    """The service at ``url``; ``key`` is what `leadcast keys add` printed.

    Every call may be repeated without harm, so what is refused for the moment (429, 503) or lost on
    its way is tried again, up to ``tries`` times, when the service says or after a growing pause.
    Methods raise :class:`Refusal` for any other answer than a good one, and
    ``httpx.TransportError`` when nobody answers. Leads, facts and times are as ``POST /v1/score``
    takes them.
    """

    def __init__(
        self, url: str = "http://127.0.0.1:3000", key: str | None = None, tries: int = 5,
        timeout: float = 30.0, pause: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout)
        self._tries, self._pause = tries, pause

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def score(self, leads: Sequence[Record], **options: Any) -> list[ScoreAnswer]:
        """Score leads, by ``lead_id`` or with their history; an answer for each thousand.

        ``options``: as_of, reasons, vector, since, if_done.
        """
        return [
            self._ask(ScoreAnswer, "POST", "/v1/score", {"leads": some, **options})
            for some in _cut(leads)
        ]

    def leads(self, items: Sequence[Record]) -> list[IngestAnswer]:
        """Store leads; an answer for each thousand, as all four."""
        return self._store("leads", items)

    def events(self, items: Sequence[Record]) -> list[IngestAnswer]:
        """Store events."""
        return self._store("events", items)

    def changes(self, items: Sequence[Record]) -> list[IngestAnswer]:
        """Store changes."""
        return self._store("changes", items)

    def outcomes(self, items: Sequence[Record]) -> list[IngestAnswer]:
        """Store outcomes."""
        return self._store("outcomes", items)

    def work_list(self, **wanted: Any) -> Iterator[Entry]:
        """The leads of the work list, the best first, page by page.

        ``wanted``: route, grade, least_probability, limit (of a page).
        """
        while True:
            page = self._ask(WorkList, "GET", "/v1/worklist", params=wanted)
            yield from page.entries
            if page.next is None:
                return
            wanted["cursor"] = page.next

    def cut(self, capacity: str, **wanted: Any) -> Cut:
        """Where the work list is cut by a capacity such as ``80/week``, and what is above it."""
        asked = {"capacity": capacity, "limit": 1, **wanted}
        found = self._ask(WorkList, "GET", "/v1/worklist", params=asked).cut
        assert found is not None
        return found

    def hand_over(self, limit: int = 100) -> Handover:
        """Whom to hand to sales now, as far as the policy has room; nothing is decided by it."""
        return self._ask(Handover, "GET", "/v1/handover", params={"limit": limit})

    def current_score(self, lead_id: str) -> Entry:
        """The current score of a lead, as the work list has it."""
        return self._ask(Entry, "GET", _of(lead_id, "score"))

    def past_scores(self, lead_id: str) -> Iterator[PastScore]:
        """What was said of a lead, the latest first."""
        page: dict[str, Any] = {}
        while True:
            told = self._ask(PastScores, "GET", _of(lead_id, "scores"), params=page)
            yield from told.scores
            if told.next is None:
                return
            page["cursor"] = told.next

    def decide(
        self, lead_id: str, decision_id: str, route: str, reason: str, decided_by: str | None = None
    ) -> Decision:
        """Keep what a person decided about a lead."""
        made = {"decision_id": decision_id, "route": route, "reason": reason,
                "decided_by": decided_by}  # fmt: skip
        return self._ask(Decision, "POST", _of(lead_id, "decisions"), made)

    def decisions(self, lead_id: str) -> list[Decision]:
        """What was decided about a lead, the latest first."""
        return self._ask(Decisions, "GET", _of(lead_id, "decisions")).decisions

    def consent(self, lead_id: str, given: bool, **more: Any) -> Consented:
        """Record whether a lead consents to being scored; ``more``: purpose, at, source."""
        return self._ask(Consented, "POST", _of(lead_id, "consent"), {"given": given, **more})

    def export(self, lead_id: str) -> Export:
        """All that is held of a lead."""
        return self._ask(Export, "GET", _of(lead_id, "export"))

    def erase(self, lead_id: str) -> Erased:
        """Forget a lead."""
        return self._ask(Erased, "DELETE", _of(lead_id))

    def submit(self, leads: Path, **options: Any) -> Job:
        """Hand in a file of leads, one in JSON a line. ``options``: as_of, reasons.

        It is sent once. Its answers are ready when ``job(...)`` says that it is ``done``.
        """
        headers = {"Content-Type": "application/x-ndjson"}
        with leads.open("rb") as lines:
            told = self._http.post("/v1/jobs", content=lines, params=options, headers=headers)
        if not told.is_success:
            raise Refusal(_problem(told))
        return msgspec.json.decode(told.content, type=Job)

    def job(self, job_id: str) -> Job:
        """How far a job is."""
        return self._ask(Job, "GET", f"/v1/jobs/{quote(job_id, safe='')}")

    def answers(self, job_id: str) -> Iterator[Score | Refused]:
        """The answers of a job, in the order of its file."""
        with self._http.stream("GET", f"/v1/jobs/{quote(job_id, safe='')}/answers") as told:
            if not told.is_success:
                told.read()
                raise Refusal(_problem(told))
            for line in told.iter_lines():
                yield msgspec.json.decode(line, type=Score | Refused)

    def model(self) -> ModelCard:
        """The model that answers."""
        return self._ask(ModelCard, "GET", "/v1/model")

    def _store(self, kind: str, items: Sequence[Record]) -> list[IngestAnswer]:
        return [
            self._ask(IngestAnswer, "POST", f"/v1/{kind}", {kind: some}) for some in _cut(items)
        ]

    def _ask(
        self, sort: type[Made], method: str, path: str, body: Any = None,
        params: Mapping[str, Any] | None = None,
    ) -> Made:  # fmt: skip
        content = None if body is None else msgspec.json.encode(body)
        headers = {"Content-Type": "application/json"} if content else {}
        for left in range(self._tries - 1, -1, -1):
            wait = min(0.2 * 2 ** (self._tries - 1 - left), _LONGEST_WAIT)
            try:
                told = self._http.request(
                    method, path, content=content, params=params, headers=headers
                )
            except httpx.TransportError:
                if not left:
                    raise
            else:
                if told.is_success:
                    return msgspec.json.decode(told.content, type=sort)
                if told.status_code not in _BUSY or not left:
                    raise Refusal(_problem(told))
                wait = min(float(told.headers.get("Retry-After", wait)), _LONGEST_WAIT)
            self._pause(wait)
        raise AssertionError("the last try returns or raises")


def _cut(items: Sequence[Record]) -> Iterator[Sequence[Record]]:
    return (items[start : start + MOST_ITEMS] for start in range(0, len(items), MOST_ITEMS))


def _of(lead_id: str, what: str = "") -> str:
    return f"/v1/leads/{quote(lead_id, safe='')}{'/' + what if what else ''}"


def _problem(told: httpx.Response) -> Problem:
    try:
        return msgspec.json.decode(told.content, type=Problem)
    except msgspec.MsgspecError:  # somebody between us and the service
        return Problem("about:blank", told.reason_phrase, told.status_code, told.text[:200])
