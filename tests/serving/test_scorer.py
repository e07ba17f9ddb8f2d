"""One lead, many leads and the batch list tell the same story, and its parts add up."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

from features.engines.tables import frame_of
from features.language import FeatureSet, attribute, events
from features.schema import History
from features.times import DAY, micros
from serving.listing import score_table
from serving.reasons import Reasons
from serving.scorer import Changed, Facts, Score, Scorer
from serving.store import Store
from training.bundle import Bundle

MOST = 1_000


@pytest.fixture(scope="module")
def table(loaded: Bundle, history: History, today: int) -> pd.DataFrame:
    return score_table(loaded, history, today)


@pytest.fixture(scope="module")
def asked(scorer: Scorer, stored: Path, table: pd.DataFrame) -> list[tuple[str, Facts]]:
    store = Store(stored)
    found = [(one, store.read(one, scorer.columns, scorer.account)) for one in table["lead_id"]]
    store.close()
    return [(one, facts) for one, facts in found if facts is not None]


@pytest.fixture(scope="module")
def scores(scorer: Scorer, asked: list[tuple[str, Facts]], today: int) -> list[Score]:
    return scorer.score(asked, today, reasons=MOST)


def test_one_lead_says_what_the_list_says(
    scorer: Scorer, asked: list[tuple[str, Facts]], table: pd.DataFrame, today: int
) -> None:
    assert len(asked) == len(table) > 100
    for (lead_id, facts), row in zip(asked, table.itertuples(), strict=True):
        [one] = scorer.score([(lead_id, facts)], today)
        assert one.value is not None
        assert one.expected_value is not None
        assert one.probability == row.probability
        assert (one.value.low, one.value.mean, one.value.high) == (
            row.value_low, row.value, row.value_high,
        )  # fmt: skip
        assert one.expected_value.mean == row.expected_value == one.probability * one.value.mean
        assert (one.grade, one.route, one.model_version) == (
            row.grade, row.route, row.model_version,
        )  # fmt: skip
        told = [f"{reason.text} ({reason.direction})" for reason in one.reasons]
        assert told == [row.reason_1, row.reason_2, row.reason_3]


def test_leads_do_not_touch_each_other(
    scorer: Scorer, asked: list[tuple[str, Facts]], scores: list[Score], today: int
) -> None:
    order = np.random.default_rng(0).permutation(len(asked))[:50]
    mixed = scorer.score([asked[i] for i in order], today, reasons=MOST)
    assert mixed == [scores[i] for i in order]
    with ThreadPoolExecutor(4) as pool:
        alone = pool.map(lambda i: scorer.score([asked[i]], today, reasons=MOST)[0], order)
        assert list(alone) == mixed


def test_the_parts_add_up_to_what_lightgbm_says(
    scorer: Scorer, asked: list[tuple[str, Facts]], scores: list[Score], today: int
) -> None:
    model = scorer.bundle.model
    held = [scorer.vector(one, facts, today) for one, facts in asked]
    matrix = model.encoder.matrix(frame_of(scorer.features, held))
    raw = np.asarray(model.booster.predict(matrix, raw_score=True))
    assert np.array_equal([score.probability for score in scores], model.calibration(raw))
    parts = [score.base + score.fit + score.engagement for score in scores]
    np.testing.assert_allclose(parts, raw, rtol=0, atol=1e-9)
    told = [sum(reason.contribution for reason in score.reasons) for score in scores]
    base = [score.base for score in scores]
    np.testing.assert_allclose(np.add(told, base), raw, rtol=0, atol=1e-9)


def test_without_reasons_the_rest_is_the_same(
    scorer: Scorer, asked: list[tuple[str, Facts]], scores: list[Score], today: int
) -> None:
    none = {"base": None, "fit": None, "engagement": None, "reasons": []}
    wanted = [msgspec.structs.replace(score, **none) for score in scores]
    assert scorer.score(asked, today, reasons=0) == wanted


def test_the_weightiest_reasons_come_first(scores: list[Score]) -> None:
    for score in scores:
        weights = [abs(reason.contribution) for reason in score.reasons]
        assert weights == sorted(weights, reverse=True)
        assert all((r.direction == "raises") == (r.contribution > 0) for r in score.reasons)


def test_a_reason_tells_one_topic_once_by_its_own_value(
    scorer: Scorer, asked: list[tuple[str, Facts]], scores: list[Score], today: int
) -> None:
    names = list(scorer.features.names)
    for (lead_id, facts), score in list(zip(asked, scores, strict=True))[:50]:
        vector = scorer.vector(lead_id, facts, today)
        for reason in score.reasons:
            feature = scorer.features.features[names.index(reason.feature)]
            assert reason.value == vector[names.index(reason.feature)]
            assert reason.text.startswith(feature.sentence + ": ")
        calls = [reason for reason in score.reasons if "(call" in reason.feature]
        assert len(calls) <= 1


def test_topics_by_hand() -> None:
    features = FeatureSet(
        [
            events("call").count("7d"),
            attribute("size", "number"),
            events("call").since_last(),
            events("visit").count(),
        ]
    )
    contributions = np.array([[0.5, 0.4, -0.2, 0.0, -1.0]])
    held = [3.0, 1234.5, None, 0.0]
    [[first, second]] = Reasons(features).top(contributions, lambda _, column: held[column], 9)
    assert first.text == "size: 1,234.50"
    assert (first.direction, first.contribution) == ("raises", 0.4)
    assert second.text == "number of 'call' events in the last 7 days: 3"
    assert second.contribution == pytest.approx(0.3)
    assert Reasons(features).groups(contributions).tolist() == [[0.4, 0.3]]


def test_the_list_holds_the_open_leads_and_no_other(
    loaded: Bundle, history: History, today: int
) -> None:
    then = today - 200 * DAY
    ranked = score_table(loaded, history, then)
    closed = history.outcomes.assign(
        seen=np.maximum(micros(history.outcomes["occurred_at"]),
                        micros(history.outcomes["known_at"]))
    )  # fmt: skip
    settled = set(closed.loc[closed["seen"] < then, "lead_id"])
    created = history.leads["lead_id"][micros(history.leads["created_at"]) < then]
    assert set(ranked["lead_id"]) == set(created) - settled
    assert ranked["rank"].tolist() == list(range(1, len(ranked) + 1))
    keys = list(zip(-ranked["expected_value"], ranked["lead_id"], strict=True))
    assert keys == sorted(keys)


def test_what_tells_the_outcome_is_never_read(
    loaded: Bundle, history: History, today: int, table: pd.DataFrame
) -> None:
    hidden = history.events[history.events["kind"] != "reply"]
    without = dataclasses.replace(history, events=hidden.reset_index(drop=True))
    assert len(hidden) < len(history.events)
    pd.testing.assert_frame_equal(score_table(loaded, without, today), table)


def test_the_future_changes_nothing(
    scorer: Scorer, asked: list[tuple[str, Facts]], today: int
) -> None:
    then = today - 60 * DAY
    place = {name: scorer.columns["events"].index(name) for name in ("occurred_at", "known_at")}
    for lead_id, facts in asked[:50]:
        past = [row for row in facts.events if max(row[i] for i in place.values()) < then]
        cut = dataclasses.replace(facts, events=past)
        assert scorer.score([(lead_id, facts)], then) == scorer.score([(lead_id, cut)], then)


def test_nobody_to_score_is_an_empty_list(loaded: Bundle, history: History) -> None:
    first = int(micros(history.leads["created_at"]).min())
    empty = score_table(loaded, history, first)
    assert len(empty) == 0
    assert list(empty.columns) == list(score_table(loaded, history, first + 30 * DAY).columns)


# --- what changed, and what would change it --------------------


def test_what_changed_adds_up_and_is_what_was_said_then(
    scorer: Scorer, asked: list[tuple[str, Facts]], today: int
) -> None:
    since, few = today - 14 * DAY, asked[:80]
    scores = scorer.score(few, today, reasons=MOST, since=since)
    model, created = scorer.bundle.model, scorer.columns["leads"].index("created_at")
    seen = 0
    for (lead_id, facts), score in zip(few, scores, strict=True):
        own = next(row for row in facts.leads if row[0] == lead_id)
        if own[created] >= since:
            assert score.changed is None
            continue
        seen += 1
        [then] = scorer.score([(lead_id, facts)], since)
        assert isinstance(score.changed, Changed)
        assert score.changed.probability == then.probability
        assert then.expected_value is not None
        assert score.changed.expected_value == then.expected_value.mean
        held = [scorer.vector(lead_id, facts, at) for at in (since, today)]
        rows = model.encoder.matrix(frame_of(scorer.features, held))
        before, after = model.booster.predict(rows, raw_score=True)
        moved = sum(reason.contribution for reason in score.changed.reasons)
        assert moved == pytest.approx(after - before, abs=1e-9)
        for reason in score.changed.reasons:
            assert "before" in reason.text
    assert seen > 10


def test_a_prospect_is_the_score_after_the_event(
    scorer: Scorer, asked: list[tuple[str, Facts]], today: int
) -> None:
    columns = scorer.columns["events"]
    for lead_id, facts in asked[:10]:
        [score] = scorer.score([(lead_id, facts)], today, if_done=["call", "reply"])
        held = {"lead_id": lead_id, "event_id": "zzz", "kind": "call", "occurred_at": today - 1,
                "known_at": today - 1}  # fmt: skip
        event = tuple(held.get(name) for name in columns)
        after = dataclasses.replace(facts, events=[*facts.events, event])
        [done] = scorer.score([(lead_id, after)], today)
        assert isinstance(score.if_done, dict)
        assert score.if_done["call"].probability == done.probability
        assert done.expected_value is not None
        assert score.if_done["call"].expected_value == done.expected_value.mean
        assert score.if_done["reply"].probability == score.probability  # never read: it tells
