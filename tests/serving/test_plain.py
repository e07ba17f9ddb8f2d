"""What machine code reads of a request is what the reader says of it, and nothing else is read."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.engines.memory import Leads
from features.language import FeatureSet, account_events, age, attribute, changes, events
from features.schema import History
from features.times import DAY, iso, micros
from serving import api, plain
from serving.plain import Asked, Plain
from serving.problems import Breach, Problem
from serving.reader import Reader
from serving.routes import score
from serving.routes.score import Desk
from serving.scorer import Scorer
from tests.histories import FEATURE_SETS, busy, histories, readable
from tests.serving.asking import Asking, Record
from training.encode import Encoder

NOW = 1_800_000_000_000_000
WORDS = ("x", "ß🙂", "call", "bank", "won", "owner", "eva")
SEEDS = st.integers(0, 2**32)


class Both:
    """A feature set's two readers."""

    def __init__(self, features: FeatureSet, hides: Sequence[str] = ()) -> None:
        self.leads = Leads(features)
        self.reader = Reader(features, self.leads.columns)
        texts = [one.name for one in features.features if one.type == "text"]
        self.encoder = Encoder(features.names, dict.fromkeys(texts, WORDS))
        self.plain = Plain(self.leads, self.encoder, self.reader.numbers, hides)

    def agree(self, body: bytes) -> bool:
        """Whether a request was plain; what was read of it is what the reader says."""
        [so], told = self.plain.read([body], NOW)
        if told is None:
            assert not so
            return False
        one = api.read_envelope(body)
        as_of = NOW if one.as_of is None else api.read_time(one.as_of, "as_of")
        leads = [lead for lead in api.read_leads(one.leads) if not isinstance(lead, Breach)]
        assert len(leads) == len(one.leads)
        known = self.reader.known(leads)
        assert max(known.column(self.leads.columns["leads"].index("created_at"))) < as_of
        self.same(told, known.ids, as_of, self.leads.vectors(known, as_of))
        assert (told.sizes, told.reasons) == ([len(leads)], [one.reasons])
        return True

    def same(self, told: Asked, ids: Sequence[str], as_of: int, vectors: Any) -> None:
        assert told.ids == list(ids)
        assert told.as_of == [as_of] * len(ids)
        matrix = self.encoder.coded(vectors.numbers, vectors.texts)
        assert np.array_equal(told.matrix, matrix, equal_nan=True)
        for row in range(len(ids)):
            for column in range(matrix.shape[1]):
                assert told.value(row, column) == vectors.value(row, column)


def bodies(history: History, spine: pd.DataFrame, chance: random.Random) -> Iterator[bytes]:
    """Requests for the leads of a spine, written in all the ways JSON allows."""
    asking = Asking(history)
    for lead_id, as_of in zip(spine["lead_id"], micros(spine["as_of"]).tolist(), strict=True):
        others = chance.sample(list(history.leads["lead_id"]), chance.randint(0, 1))
        leads = [asking.lead(one) for one in dict.fromkeys([lead_id, *others])]
        for lead in leads:
            lead["related"] = []
            for facts in (lead["events"], lead["changes"]):
                chance.shuffle(facts)
                if chance.random() < 0.2:
                    for one in facts:
                        one.pop("event_id", one.pop("change_id", None))
        body: Record = {"leads": leads, "as_of": chance.choice([iso(as_of), as_of])}
        if chance.random() < 0.3:
            body["reasons"] = chance.randint(0, 20)
        yield written(body, chance)


def written(body: Record, chance: random.Random) -> bytes:
    """JSON in one of its forms, its fields in some order."""

    def mixed(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: mixed(value[name]) for name in chance.sample(list(value), len(value))}
        return [mixed(one) for one in value] if isinstance(value, list) else value

    form = chance.choice([{}, {"indent": "\t"}, {"separators": (",", ":")}, {"indent": 1}])
    return json.dumps(mixed(body), ensure_ascii=chance.random() < 0.1, **form).encode()


@settings(max_examples=200)
@given(histories(), FEATURE_SETS, SEEDS)
def test_it_says_what_the_reader_says(
    generated: tuple[History, pd.DataFrame], features: FeatureSet, seed: int
) -> None:
    both = Both(readable(features, "memory"))
    for body in bodies(*generated, random.Random(seed)):
        both.agree(body)


@settings(max_examples=100)
@given(SEEDS)
def test_it_says_what_the_reader_says_on_busy_histories(seed: int) -> None:
    history, spine, features = busy(seed)
    both = Both(readable(features, "memory"))
    for body in bodies(history, spine, random.Random(seed)):
        both.agree(body)


FEATURES = FeatureSet(
    [age(), attribute("industry", "text"), attribute("size", "number"), events("call").count(),
     events().latest("page"), events().distinct("campaign"), account_events().count("14d"),
     changes("owner").latest(), events(channel="web").sum("value"), events().last_gap()]
)  # fmt: skip
LEAD: Record = {
    "lead_id": "é1", "created_at": iso(NOW - 90 * DAY), "account_id": "acme",
    "attributes": {"industry": "ß🙂", "size": -12.5, "of no interest": True},
    "events": [
        {"kind": "call", "occurred_at": iso(NOW - 9 * DAY), "channel": "web", "value": 3e2,
         "properties": {"page": "x"}, "event_id": "b", "campaign": ""},
        {"kind": "call", "occurred_at": NOW - 9 * DAY, "known_at": iso(NOW - 8 * DAY),
         "event_id": "a", "properties": {"page": "y"}, "campaign": None, "value": 0.1},
    ],
    "changes": [{"field": "owner", "value": "eva", "known_at": iso(NOW - DAY)},
                {"field": "owner", "value": None, "known_at": iso(NOW - DAY)}],
}  # fmt: skip


@pytest.fixture(scope="module")
def both() -> Both:
    return Both(FEATURES)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("ascii", [False, True])
def test_what_is_usual_is_plain(both: Both, indent: int | None, ascii: bool) -> None:
    asked: Record = {"leads": [LEAD, {**LEAD, "account_id": None, "events": []}], "as_of": NOW - 1}
    for body in (asked, {"leads": [LEAD], "reasons": 0}, {"leads": [LEAD] * 1_000}):
        assert both.agree(json.dumps(body, ensure_ascii=ascii, indent=indent).encode())


NOT_PLAIN: dict[str, Any] = {
    "a lead of the store": {"lead_id": "1"},
    "related leads": {**LEAD, "related": [{"lead_id": "2", "created_at": iso(NOW - DAY)}]},
    "a field nobody knows": {**LEAD, "age": 3},
    "no id": {name: value for name, value in LEAD.items() if name != "lead_id"},
    "an escape": {**LEAD, "lead_id": 'a"b'},
    "an empty id": {**LEAD, "lead_id": ""},
    "a long id": {**LEAD, "lead_id": "x" * 201},
    "a long text": {**LEAD, "attributes": {"of no interest": "x" * 1_001}},
    "a long name": {**LEAD, "attributes": {"x" * 201: 1}},
    "many attributes": {**LEAD, "attributes": {str(number): 1 for number in range(201)}},
    "a list": {**LEAD, "attributes": {"size": [1]}},
    "a text for a number": {**LEAD, "attributes": {"size": "12"}},
    "a number for a text": {**LEAD, "attributes": {"industry": 12}},
    "a truth for a text": {**LEAD, "attributes": {"industry": True}},
    "a number with many digits": {**LEAD, "attributes": {"size": 0.12345678901234567}},
    "created later": {**LEAD, "created_at": iso(NOW)},
    "known before it occurred": {**LEAD, "events": [
        {"kind": "call", "occurred_at": iso(NOW - DAY), "known_at": iso(NOW - 2 * DAY)}]},
    "two under one id": {**LEAD, "events": [LEAD["events"][0]] * 2},
    "ids for some": {**LEAD, "events": [LEAD["events"][0], {"kind": "call", "occurred_at": NOW}]},
    "less than nothing": {**LEAD, "events": [{"kind": "call", "occurred_at": NOW, "value": -1}]},
    "seconds": {**LEAD, "created_at": NOW // 1_000_000},
    "a time of day alone": {**LEAD, "created_at": "12:00"},
    "a time without its offset": {**LEAD, "created_at": "2024-05-01T00:00:00"},
    "many of one moment": {**LEAD, "events": [
        {"kind": "call", "occurred_at": NOW - DAY, "event_id": str(number)} for number in range(65)
    ]},
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_PLAIN)
def test_all_else_is_left_to_the_reader(both: Both, name: str) -> None:
    body = json.dumps({"leads": [LEAD, NOT_PLAIN[name]]}, ensure_ascii=False).encode()
    assert not both.agree(body)
    usual = json.dumps({"leads": [LEAD]}).encode()
    [so, other], told = both.plain.read([body, usual], NOW)
    assert (so, other) == (False, True)
    assert told is not None
    assert told.sizes == [1]


def test_kinds_that_tell_the_outcome_are_passed_over() -> None:
    both = Both(FEATURES, hides=["won"])
    won = {"kind": "won", "occurred_at": iso(NOW - DAY), "event_id": "c"}
    body = json.dumps({"leads": [{**LEAD, "events": [*LEAD["events"], won]}]}, ensure_ascii=False)
    _, told = both.plain.read([body.encode()], NOW)
    _, without = both.plain.read([json.dumps({"leads": [LEAD]}, ensure_ascii=False).encode()], NOW)
    assert told is not None
    assert without is not None
    assert np.array_equal(told.matrix, without.matrix, equal_nan=True)


def test_texts_that_nobody_knows_yet_come_from_many_threads() -> None:
    both = Both(FEATURES)

    def read(number: int) -> bool:
        events = [
            {"kind": f"k{number % 7}", "occurred_at": NOW - DAY - place, "campaign": f"c{one}"}
            for place, one in enumerate(range(number, number + 40))
        ]
        return both.agree(json.dumps({"leads": [{**LEAD, "events": events}]}).encode())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read, range(100)))
    lead = {**LEAD, "lead_id": "1", "attributes": {}}
    assert both.agree(json.dumps({"leads": [lead]}).encode())


def test_when_there_is_no_room_for_more_texts_the_reader_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plain, "_MOST_TEXTS", len(WORDS) + 10)
    both = Both(FEATURES)

    def asked(campaign: str) -> bytes:
        event = {"kind": "call", "occurred_at": NOW - DAY, "campaign": campaign}
        lead = {**LEAD, "events": [event]}
        return json.dumps({"leads": [lead]}, ensure_ascii=False).encode()

    assert [both.agree(asked(f"c{number}")) for number in range(40)].count(False) > 20
    assert both.agree(asked("c0"))


Said = list[tuple[bytes, list[Any]] | Problem]


def said(desk: Desk, asked: Sequence[bytes]) -> Said:
    """What a desk answers, as it can be compared."""
    told = desk.scores([(body, str(number)) for number, body in enumerate(asked)])
    return [one.problem() if isinstance(one, Breach) else one for one in told]


class Desks:
    """One that reads plain requests by machine code, and one that does not."""

    def __init__(self, scorer: Scorer, asking: Asking, history: History, today: int) -> None:
        self.quick, self.slow = Desk(scorer, None), Desk(scorer, None)
        assert self.quick.plain is not None
        self.slow.plain = None
        ids = list(history.leads["lead_id"])
        self.usual = []
        for number, lead_id in enumerate(ids[:40:4]):
            lead = asking.lead(lead_id)
            lead["related"], lead["events"] = [], lead["events"][-4:]
            body = {"leads": [lead], "as_of": iso(today - number % 2), "reasons": number % 3}
            self.usual.append(json.dumps(body, separators=(",", ":")).encode())


@pytest.fixture(scope="module")
def desks(scorer: Scorer, asking: Asking, history: History, today: int) -> Desks:
    return Desks(scorer, asking, history, today)


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "now", lambda: NOW)


@pytest.mark.usefixtures("still")
def test_requests_of_one_turn_do_not_touch_each_other(desks: Desks) -> None:
    plain_ones, _ = desks.quick.plain.read(desks.usual, NOW)  # type: ignore[union-attr]
    assert all(plain_ones)
    asked = [*desks.usual, b"{", b'{"leads":[{"lead_id":"nobody"}]}', *desks.usual[:3]]
    mixed = said(desks.quick, asked)
    assert mixed[: len(desks.usual)] == [said(desks.quick, [one])[0] for one in desks.usual]
    assert mixed == said(desks.slow, asked)


PIECES = [
    *(bytes([one]) for one in b'"\\{}[],:-0 \n\0\xffT9'), b"null", b"true", b"1e5", b".5",
    "é".encode(), b'"lead_id"', b'"value":-1,',
]  # fmt: skip


@pytest.mark.usefixtures("still")
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_body_that_is_cut_and_mended_anywhere_is_answered_alike(
    desks: Desks, data: st.DataObject
) -> None:
    body = data.draw(st.sampled_from(desks.usual))
    for _ in range(data.draw(st.integers(1, 2))):
        start = data.draw(st.integers(0, len(body)))
        end = start + data.draw(st.sampled_from([0, 0, 1, 1, 2, 9]))
        body = body[:start] + data.draw(st.sampled_from([b"", *PIECES])) + body[end:]
    assert said(desks.quick, [body]) == said(desks.slow, [body])
