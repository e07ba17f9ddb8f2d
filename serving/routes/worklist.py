"""The work list, and what people decide."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from serving import handover, worklist
from serving.http import answer, lead_of, read_body, store_of
from serving.limits import in_thread
from serving.operation import Operation
from serving.problems import Breach, convert, decode

_DECISION = msgspec.json.Decoder(worklist.NewDecision)


async def _work_list(request: Request) -> Response:
    wanted = convert(worklist.Wanted, dict(request.query_params))
    store = store_of(request)
    return answer(await in_thread(request.app.state.working, worklist.work_list, store, wanted))


async def _hand_over(request: Request) -> Response:
    wanted = convert(handover.AtMost, dict(request.query_params))
    store, state = store_of(request), request.app.state
    told = await in_thread(state.working, handover.hand_over, store, state.desk.policy, wanted)
    return answer(told)


async def _current(request: Request) -> Response:
    store, which, state = store_of(request), lead_of(request), request.app.state
    if not store.remote:  # together with what else comes now: quicker than to wait for a thread
        last = not request.scope["gate"].more_come
        return answer(await state.current.answer(which, last=last))
    [told] = await in_thread(state.working, worklist.current_scores, store, [which])
    if isinstance(told, Breach):
        raise told
    return answer(told)


async def _decide(request: Request) -> Response:
    made = decode(_DECISION, await read_body(request))
    store, which = store_of(request), lead_of(request)
    return answer(await in_thread(request.app.state.working, worklist.decide, store, which, made))


async def _decisions(request: Request) -> Response:
    store, which = store_of(request), lead_of(request)
    found = await in_thread(request.app.state.working, worklist.decisions, store, which)
    return answer(msgspec.json.encode(worklist.Decisions(found)))


OPERATIONS = (
    Operation(
        "work_list", "GET", "/v1/worklist", _work_list, "Whom to call next, by expected value",
        worklist.WorkList, "score", query=worklist.Wanted,
        description="Open leads with their current scores. A score is made anew when a fact of the "
        "lead, or of another lead of its account, comes in, when another model or policy takes "
        "over, and when it is a day old.",
        returns="A page of the list; with a capacity also where it cuts",
    ),
    Operation(
        "hand_over", "GET", "/v1/handover", _hand_over,
        "Whom to hand to sales now, as far as the policy has room", handover.Handover, "score",
        query=handover.AtMost,
        description="The best first, until everybody, their territory or their owner has as many "
        "leads as the policy says; those count that were handed over (their latest decision is "
        "sales) and are still open. Who was decided about is not proposed again. Nothing is "
        "decided by asking: keep each that you hand over as a decision.",
        returns="Whom, to whom, what they bring, and what kept the others",
    ),
    Operation(
        "current_score", "GET", "/v1/leads/{lead_id:path}/score", _current,
        "The current score of a lead, as the work list has it", worklist.Entry, "score",
        description="As it was made last, which `as_of` tells: within a second of a fact of the "
        "lead, and a day old at most. It is not written to the ledger again.",
        returns="Score and latest decision",
    ),
    Operation(
        "decide", "POST", "/v1/leads/{lead_id:path}/decisions", _decide,
        "Keep what a person decided about a lead", worklist.Decision, "decide",
        asks=worklist.NewDecision, description="The same decision may be sent again.",
        returns="The decision as it is kept",
        refuses=((409, "Another decision is kept under this id"),),
    ),
    Operation(
        "decisions", "GET", "/v1/leads/{lead_id:path}/decisions", _decisions,
        "What was decided about a lead", worklist.Decisions, "score", returns="The latest first",
    ),
)  # fmt: skip
