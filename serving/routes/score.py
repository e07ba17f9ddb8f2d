"""Score leads, by id or with their history, and tell which model answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from features.language import describe
from features.times import duration_text, iso, now
from serving import api
from serving.cursor import Page
from serving.http import answer, lead_of, read_body, store_of
from serving.ledger import PastScores, entries, past_scores
from serving.limits import in_thread
from serving.operation import Operation
from serving.problems import Breach, convert, invalid
from serving.scorer import Facts, Row, Score, Scorer
from serving.store import Store

INLINE_LEADS, INLINE_BYTES = 16, 256 * 1024
"""Larger requests are worked on in a thread, so that small ones need not wait for them."""


Beside = Callable[[api.Envelope, int, Sequence[Score | api.Refused]], None]
"""Told of what was asked for, as of when, and what became of each lead; returns at once."""


class Desk:
    """Answers requests with one model and, where there is one, a store.

    ``beside`` is told of every answer. ``blocks``: who reads the store waits for another machine.
    """

    def __init__(self, scorer: Scorer, store: Store | None, beside: Beside | None = None) -> None:
        self._scorer, self._store, self._beside = scorer, store, beside
        self.reader = api.Reader(scorer.features, scorer.columns)
        self.blocks = store is not None and store.remote

    @property
    def version(self) -> str:
        """That of the model."""
        return self._scorer.bundle.version

    def score(self, asked: api.Envelope, request_id: str) -> tuple[bytes, list[Row]]:
        """The answer of ``POST /v1/score``, and what the ledger says of it.

        Raises :class:`serving.problems.Breach`.
        """
        as_of = now() if asked.as_of is None else api.read_time(asked.as_of, "as_of")
        made, kept = self.results(asked, as_of, request_id)
        if self._beside is not None:
            self._beside(asked, as_of, made)
        return msgspec.json.encode(api.ScoreAnswer(self.version, iso(as_of), True, made)), kept

    def results(
        self, asked: api.Envelope, as_of: int, request_id: str, first: int = 0
    ) -> tuple[list[Score | api.Refused], list[Row]]:
        """What becomes of each lead as of a moment, and what the ledger says of it.

        ``first`` is the number of the first lead. Raises :class:`serving.problems.Breach`.
        """
        since = None if asked.since is None else api.read_time(asked.since, "since")
        if since is not None and since >= as_of:
            raise invalid("since", "not before as_of", "ask for an earlier moment")
        results: dict[int, Score | api.Refused] = {}
        good: dict[int, tuple[str, Facts]] = {}
        for index, raw in enumerate(asked.leads):
            try:
                good[index] = self._lead(api.read_lead(raw), as_of)
            except Breach as breach:
                number = first + index
                results[index] = api.Refused(number, breach.problem(f"leads[{number}]"))
        scores = self._scorer.score(
            list(good.values()), as_of, asked.reasons, asked.vector, since, asked.if_done
        )
        results.update(zip(good, scores, strict=True))
        made = [results[index] for index in range(len(asked.leads))]
        if self._store is None:
            return made, []
        return made, entries(scores, as_of, self._scorer.bundle.about.fingerprint, request_id)

    def _lead(self, lead: api.Lead, as_of: int) -> tuple[str, Facts]:
        facts = self._stored(lead.lead_id, as_of) if lead.stored else self.reader.facts(lead)
        if "\0" in lead.lead_id:
            raise invalid("lead_id", "text with a NUL character", "take the character out")
        created = self._scorer.columns["leads"].index("created_at")
        own = next(row for row in facts.leads if row[0] == lead.lead_id)
        if own[created] >= as_of:
            detail = "the lead is created at or after as_of"
            raise invalid("created_at", detail, "score it as of a later time")
        return lead.lead_id, facts

    def _stored(self, lead_id: str, as_of: int) -> Facts:
        if self._store is None:
            detail = "there is no store to read the history from"
            raise invalid("created_at", detail, "send created_at and the history")
        facts = self._store.read(lead_id, self._scorer.columns, self._scorer.account)
        if facts is None:
            remedy = "send created_at and the history, or store the lead first"
            raise invalid("lead_id", "not in the store", remedy)
        settled, withdrawn = self._store.standing(lead_id)
        if withdrawn:
            raise Breach(
                "consent-withdrawn", "The lead is not to be scored",
                "consent to scoring was withdrawn", "lead_id",
                remedy="leave the lead out, or record that consent was given again",
            )  # fmt: skip
        if settled is not None and settled < as_of:
            detail = "the lead's outcome is known: there is nothing to predict"
            raise invalid("lead_id", detail, "ask for open leads, or an earlier as_of")
        return facts

    @cached_property
    def model(self) -> bytes:
        """Answer ``GET /v1/model``."""
        bundle, about = self._scorer.bundle, self._scorer.bundle.about
        return msgspec.json.encode(
            api.ModelCard(
                version=bundle.version,
                source=about.source,
                target=about.target,
                horizon=None if about.timeless else duration_text(about.horizon),
                trained_until=None if about.timeless else iso(about.trained_until),
                calibration=about.calibration,
                values=about.value is not None,
                never_read=about.reveals,
                features=describe(self._scorer.features),
                fingerprint=about.fingerprint,
                data_digest=about.data_digest,
                versions=about.versions,
                evidence=about.evidence,
                findings=about.findings,
            )
        )


async def _score(request: Request) -> Response:
    body = await read_body(request)
    asked = api.read_envelope(body)
    state = request.app.state

    async def work() -> tuple[bytes, list[Row]]:
        return await _worked(state, asked, len(body), request.scope["request_id"])

    repeated = request.headers.get("idempotency-key")
    if repeated is not None and state.store is not None:
        key_id = request.scope["key_id"]
        return answer(await state.repeats.answer(state.store, key_id, repeated, body, work))
    told, kept = await work()
    if kept:
        await state.store.write({"scores": kept})
    return answer(told)


async def _worked(
    state: Any, asked: api.Envelope, size: int, which: str
) -> tuple[bytes, list[Row]]:
    """Score in this thread what is little, and all else in another."""
    scored = len(asked.leads) * (1 + (asked.since is not None) + len(asked.if_done))
    desk: Desk = state.desk
    if scored <= INLINE_LEADS and size <= INLINE_BYTES and not desk.blocks:
        return desk.score(asked, which)
    return await in_thread(state.working, desk.score, asked, which)


async def _past(request: Request) -> Response:
    page = convert(Page, dict(request.query_params))
    store, which = store_of(request), lead_of(request)
    return answer(await in_thread(request.app.state.working, past_scores, store, which, page))


async def _model(request: Request) -> Response:
    return answer(request.app.state.desk.model)


OPERATIONS = (
    Operation(
        "score", "POST", "/v1/score", _score, "Score leads, by id or with their history",
        api.ScoreAnswer, "score", asks=api.ScoreRequest,
        description="Each lead has its own result: a refused one never costs the others. Where the "
        "service has a store, a request with the header Idempotency-Key that is sent again within "
        "a day is answered as it was, and is in the ledger once.",
        refuses=((409, "The same request, by its Idempotency-Key, is being worked on"),),
        returns="One result a lead, in order; on disk where the service has a store",
    ),
    Operation(
        "past_scores", "GET", "/v1/leads/{lead_id:path}/scores", _past, "What was said of a lead",
        PastScores, "score", query=Page, returns="The latest first",
    ),
    Operation(
        "model", "GET", "/v1/model", _model, "The model that answers", api.ModelCard, "score",
        returns="Its target, features and calibration",
    ),
)  # fmt: skip
