"""Score leads, by id or with their history, and tell which model answers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from functools import cached_property, partial
from itertools import compress, islice
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from features.engines.known import Known
from features.language import describe
from features.times import duration_text, iso, now
from serving import api
from serving.cursor import Page
from serving.decide import Policy
from serving.http import answer, lead_of, read_body, store_of
from serving.ledger import PastScores, entries, past_scores
from serving.limits import in_thread
from serving.operation import Operation
from serving.plain import Asked as Plainly
from serving.plain import Plain
from serving.problems import Breach, convert, invalid
from serving.reader import Reader
from serving.scorer import Asked, Facts, Row, Score, Scorer
from serving.store import Done, Store
from serving.together import Together

INLINE_LEADS, INLINE_BYTES = 16, 64 * 1024
"""Larger requests are worked on in a thread, so that small ones need not wait for them."""


Question = tuple[bytes, str]
"""What is asked for, as it came, and the request's id."""

Answer = tuple[bytes, list[Row]]
"""What is answered, and what the ledger says of it."""

Beside = Callable[[api.Envelope, int, Sequence[Score | api.Refused]], None]
"""Told of what was asked for, as of when, and what became of each lead; returns at once."""


class Desk:
    """Answers requests with one model and, where there is one, a store.

    ``beside`` is told of every answer. ``blocks``: who reads the store waits for another machine.
    """

    def __init__(self, scorer: Scorer, store: Store | None, beside: Beside | None = None) -> None:
        self._scorer, self._store, self._beside = scorer, store, beside
        self.reader = Reader(scorer.features, scorer.columns)
        self.blocks = store is not None and store.remote
        self.together = Together[Question, Answer](self.scores, self._keep if store else None)

    @cached_property
    def plain(self) -> Plain | None:
        """What reads plain requests; None where the model's features cannot be worked out so.

        Made when it is first asked for: see that this is not a request.
        """
        encoder = self._scorer.bundle.model.encoder
        with suppress(ValueError):
            return Plain(self._scorer.engine, encoder, self.reader.numbers, self._scorer.reveals)
        return None

    @property
    def version(self) -> str:
        """That of the model."""
        return self._scorer.bundle.version

    @property
    def policy(self) -> Policy:
        """By which it routes."""
        return self._scorer.policy

    def answer(self, body: bytes, request_id: str) -> Answer:
        """The answer of ``POST /v1/score``, and what the ledger says of it.

        Raises :class:`serving.problems.Breach`.
        """
        [told] = self.scores([(body, request_id)])
        if isinstance(told, Breach):
            raise told
        return told

    def scores(self, asked: Sequence[Question]) -> list[Answer | Breach]:
        """The same for requests, worked on together."""
        at, made = now(), dict[int, Answer | Breach]()
        if self.plain is not None:
            plain, told = self.plain.read([body for body, _ in asked], at)
            if told is not None:
                answers = self._plainly([*compress(asked, plain)], told)
                made.update(zip(compress(range(len(asked)), plain), answers, strict=True))
        if len(made) < len(asked):
            rest = [number for number in range(len(asked)) if number not in made]
            made.update(self._read(rest, asked, at))
        return [made[number] for number in range(len(asked))]

    def _keep(self, answers: Sequence[Answer], done: Done) -> None:
        """Put what is answered into the ledger."""
        assert self._store is not None
        rows = [row for _, kept in answers for row in kept]
        if rows:
            self._store.keep(rows, done)
        else:
            done(None)

    def _plainly(self, asked: Sequence[Question], told: Plainly) -> Iterator[Answer]:
        """Answer plain requests."""
        scores, moments = iter(self._scorer.plainly(told)), iter(told.as_of)
        for (body, request_id), size in zip(asked, told.sizes, strict=True):
            as_of, *_ = islice(moments, size)
            one = api.read_envelope(body) if self._beside is not None else None
            yield self._answered([*islice(scores, size)], as_of, request_id, one)

    def _read(
        self, numbers: Sequence[int], asked: Sequence[Question], at: int
    ) -> dict[int, Answer | Breach]:
        """Read some of the requests, and answer those that ask alike together."""
        made: dict[int, Answer | Breach] = {}
        alike: dict[object, list[tuple[int, api.Envelope, str]]] = {}
        for number in numbers:
            body, request_id = asked[number]
            try:
                one = api.read_envelope(body)
            except Breach as breach:
                made[number] = breach
                continue
            how = (one.as_of, one.reasons, one.vector, one.since, *one.if_done)
            alike.setdefault(how, []).append((number, one, request_id))
        for some in alike.values():
            try:
                made.update(self._alike(some, at))
            except Breach as breach:  # of what they have in common
                made.update((number, breach) for number, *_ in some)
        return made

    def _alike(
        self, asked: Sequence[tuple[int, api.Envelope, str]], at: int
    ) -> Iterator[tuple[int, Answer]]:
        """Answer requests that differ in nothing but their leads."""
        _, first, _ = asked[0]
        as_of = at if first.as_of is None else api.read_time(first.as_of, "as_of")
        leads = [lead for _, one, _ in asked for lead in one.leads]
        told = iter(self._scored(first, leads, as_of))
        for number, one, request_id in asked:
            made = [*islice(told, len(one.leads))]
            yield number, self._answered(made, as_of, request_id, one)

    def _answered(
        self, told: Sequence[Score | Breach], as_of: int, request_id: str,
        asked: api.Envelope | None,
    ) -> Answer:  # fmt: skip
        made, kept = self._said(told, as_of, request_id)
        if self._beside is not None and asked is not None:
            self._beside(asked, as_of, made)
        answer = api.ScoreAnswer(self.version, iso(as_of), True, made)
        return msgspec.json.encode(answer), kept

    def results(
        self, asked: api.Envelope, as_of: int, request_id: str, first: int = 0
    ) -> tuple[list[Score | api.Refused], list[Row]]:
        """What becomes of each lead as of a moment, and what the ledger says of it.

        ``first`` is the number of the first lead. Raises :class:`serving.problems.Breach`.
        """
        return self._said(self._scored(asked, asked.leads, as_of), as_of, request_id, first)

    def _said(
        self, told: Sequence[Score | Breach], as_of: int, request_id: str, first: int = 0
    ) -> tuple[list[Score | api.Refused], list[Row]]:
        made = [
            api.Refused(first + number, one.problem(f"leads[{first + number}]"))
            if isinstance(one, Breach)
            else one
            for number, one in enumerate(told)
        ]
        if self._store is None:
            return made, []
        scores = [one for one in told if not isinstance(one, Breach)]
        return made, entries(scores, as_of, self._scorer.bundle.about.fingerprint, request_id)

    def _scored(
        self, asked: api.Envelope, leads: Sequence[msgspec.Raw], as_of: int
    ) -> list[Score | Breach]:
        """The score of each lead, or why there is none. Raises :class:`Breach` for ``since``."""
        since = None if asked.since is None else api.read_time(asked.since, "since")
        if since is not None and since >= as_of:
            raise invalid("since", "not before as_of", "ask for an earlier moment")
        made: dict[int, Score | Breach] = {}
        sent: dict[int, api.Lead] = {}
        named: dict[int, str] = {}
        for place, one in enumerate(api.read_leads(leads)):
            if isinstance(one, Breach):
                made[place] = one
            elif one.stored:
                named[place] = one.lead_id
            else:
                sent[place] = one
        for places, known in (self._sent(sent, as_of, made), self._named(named, as_of, made)):
            if places:
                scores = self._scorer.score(
                    known, as_of, asked.reasons, asked.vector, since, asked.if_done
                )
                made.update(zip(places, scores, strict=True))
        return [made[place] for place in range(len(leads))]

    def _sent(
        self, leads: dict[int, api.Lead], as_of: int, refused: dict[int, Score | Breach]
    ) -> tuple[list[int], Asked]:
        """What leads tell of themselves; one that cannot be read costs the others nothing."""
        try:
            return [*leads], self._known(leads.values(), as_of)
        except Breach:
            good = {}
            for place, lead in leads.items():
                try:
                    self._known([lead], as_of)
                    good[place] = lead
                except Breach as breach:
                    refused[place] = breach
            return [*good], self._known(good.values(), as_of)

    def _known(self, leads: Collection[api.Lead], as_of: int) -> Known:
        known = self.reader.known([*leads])
        for lead, created in zip(leads, known.column(self._created), strict=True):
            _check(lead.lead_id, created, as_of)
        return known

    def _named(
        self, leads: dict[int, str], as_of: int, refused: dict[int, Score | Breach]
    ) -> tuple[list[int], Asked]:
        """What the store knows of leads."""
        found: dict[int, tuple[str, Facts]] = {}
        for place, lead_id in leads.items():
            try:
                facts = self._stored(lead_id, as_of)
                own = next(row for row in facts.leads if row[0] == lead_id)
                _check(lead_id, own[self._created], as_of)
                found[place] = lead_id, facts
            except Breach as breach:
                refused[place] = breach
        return [*found], [*found.values()]

    @cached_property
    def _created(self) -> int:
        return self._scorer.columns["leads"].index("created_at")

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


def _check(lead_id: str, created_at: int, as_of: int) -> None:
    """Raises :class:`Breach` for a lead that no answer can be given for."""
    if "\0" in lead_id:
        raise invalid("lead_id", "text with a NUL character", "take the character out")
    if created_at >= as_of:
        detail = "the lead is created at or after as_of"
        raise invalid("created_at", detail, "score it as of a later time")


async def _score(request: Request) -> Response:
    body, state = await read_body(request), request.app.state
    which, repeated = request.scope["request_id"], request.headers.get("idempotency-key")
    if repeated is not None and state.store is not None:
        work = partial(in_thread, state.working, state.desk.answer, body, which)
        key_id = request.scope["key_id"]
        return answer(await state.repeats.answer(state.store, key_id, repeated, body, work))
    return answer(await _worked(state, body, which, not request.scope["gate"].more_come))


async def _worked(state: Any, body: bytes, which: str, last: bool) -> bytes:
    """Score in this thread what is little, with what else comes now, and all else in another."""
    desk: Desk = state.desk
    if len(body) <= INLINE_BYTES and not desk.blocks and _little(body):
        told, _ = await desk.together.answer((body, which), last=last)
        return told
    told, kept = await in_thread(state.working, desk.answer, body, which)
    if kept:
        await state.store.write({"scores": kept})
    return told


def _little(body: bytes) -> bool:
    """Whether what is asked for is little work, as far as that is seen without reading it."""
    more = b'"since"' in body or b'"if_done"' in body  # which ask for several scores a lead
    return not more and body.count(b'"lead_id"') <= INLINE_LEADS


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
