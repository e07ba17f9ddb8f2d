"""The current score of every open lead: made anew when facts, the model or the clock change it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence

import msgspec

from features.times import DAY, now
from serving import logs, metrics
from serving.scorer import Facts, Row, Score, Scorer
from serving.store import Store, StoreUnavailable

AGE = DAY
"""A score that is older is made again, though nothing happened: windows slide, decay goes on."""

REASONS = 3
_TOGETHER, _SWEEP = 16, 200
_IDLE_SECONDS, _SWEEP_SECONDS = 5.0, 60.0
"""How long is waited when nothing changed, and before all leads are looked through again."""

_REST, _SWEEP_REST = 0.5, 3.0
"""How long is rested after each batch, in times of what it took: callers go first."""

_STALE = (
    "SELECT leads.lead_id FROM leads LEFT JOIN current_scores AS held "
    "ON held.lead_id = leads.lead_id WHERE (held.lead_id IS NULL OR held.model_version <> ? "
    "OR coalesce(held.routed_by, '') <> ? OR held.as_of < ?) AND leads.created_at < ? "
    "AND NOT EXISTS (SELECT 1 FROM outcomes WHERE outcomes.lead_id = leads.lead_id) "
    "AND coalesce((SELECT given FROM consents WHERE consents.lead_id = leads.lead_id "
    "AND purpose = 'scoring' ORDER BY at DESC LIMIT 1), 1) = 1 "
    "ORDER BY held.as_of, leads.lead_id LIMIT ?"
)
_ACCOUNT = (
    "SELECT lead_id FROM leads WHERE account_id IN "
    "(SELECT account_id FROM leads WHERE lead_id IN ({marks}))"
)


class Refresher:
    """Keeps current scores, in a thread of its own that yields to whoever asks.

    Leads whose facts changed come first, each once however often it changed; then those that the
    model, the policy or the clock has left behind, the oldest first.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._scorer: Scorer | None = None
        self._changed: dict[str, float] = {}
        self._sweep_at, self._failed = 0.0, set[str]()
        self._wake, self._ended = threading.Event(), threading.Event()
        self._lock = threading.Lock()

    def serve(self, scorer: Scorer) -> None:
        """Score with this model from now on; all that was scored by another is made anew."""
        self._scorer, self._sweep_at, self._failed = scorer, 0.0, set()
        self._wake.set()

    def changed(self, leads: Iterable[str]) -> None:
        """These leads have facts that their scores do not know."""
        at = time.monotonic()
        with self._lock:
            for lead in leads:
                self._changed.setdefault(lead, at)
        self._wake.set()

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name="current-scores", daemon=True).start()

    def end(self) -> None:
        """Stop after the batch that is being made."""
        self._ended.set()
        self._wake.set()

    def step(self) -> bool:
        """Make one batch; whether there was anything to do."""
        scorer = self._scorer
        if scorer is None:
            return False
        began, some = time.monotonic(), self._take()
        if some:
            self._refresh(scorer, list(some))
            ended = time.monotonic()
            for since in some.values():
                metrics.REFRESH_SECONDS.observe(ended - since)
            self._ended.wait(_REST * (ended - began))
            return True
        if began < self._sweep_at:
            return False
        moment, most = now(), _SWEEP + len(self._failed)
        served = scorer.bundle.version, scorer.policy.mark
        found = self._store.rows(_STALE, (*served, moment - AGE, moment, most))
        stale = [lead for (lead,) in found if lead not in self._failed]
        if not stale:
            self._sweep_at = began + _SWEEP_SECONDS
            return False
        self._refresh(scorer, stale, account=False)
        self._ended.wait(_SWEEP_REST * (time.monotonic() - began))
        return True

    def _run(self) -> None:
        while not self._ended.is_set():
            self._wake.clear()
            try:
                worked = self.step()
            except StoreUnavailable:
                worked = False  # the requests that meet it tell
            if not worked:
                self._wake.wait(_IDLE_SECONDS)

    def _take(self) -> dict[str, float]:
        with self._lock:
            some = dict(list(self._changed.items())[:_TOGETHER])
            for lead in some:
                del self._changed[lead]
        return some

    def _refresh(self, scorer: Scorer, leads: Sequence[str], account: bool = True) -> None:
        if account and scorer.account:
            marks = ", ".join("?" * len(leads))
            others = self._store.rows(_ACCOUNT.format(marks=marks), leads)
            leads = list(dict.fromkeys([*leads, *(lead for (lead,) in others)]))
        for start in range(0, len(leads), _TOGETHER):
            self._replace(scorer, leads[start : start + _TOGETHER])

    def _replace(self, scorer: Scorer, leads: Sequence[str]) -> None:
        """A lead that cannot be scored costs no other one its score, and is not tried for ever."""
        try:
            self._store.replace_current(leads, current(self._store, scorer, leads, now()))
        except StoreUnavailable:
            raise
        except Exception as error:
            if len(leads) > 1:
                for lead in leads:
                    self._replace(scorer, [lead])
                return
            self._failed.update(leads)
            logs.event("refresh failed", error=type(error).__name__, at=logs.places(error))


def current(store: Store, scorer: Scorer, leads: Sequence[str], as_of: int) -> list[Row]:
    """Rows of ``current_scores`` of those of the leads that are open and may be scored."""
    created = scorer.columns["leads"].index("created_at")
    asked: list[tuple[str, Facts]] = []
    for lead in leads:
        facts = store.read(lead, scorer.columns, scorer.account)
        settled, withdrawn = store.standing(lead)
        if facts is None or withdrawn or (settled is not None and settled < as_of):
            continue
        if next(row for row in facts.leads if row[0] == lead)[created] < as_of:
            asked.append((lead, facts))
    mark = scorer.policy.mark
    return [_row(one, as_of, mark) for one in scorer.score(asked, as_of, REASONS)]


def _row(score: Score, as_of: int, routed_by: str) -> Row:
    value, expected = score.value, score.expected_value
    return (
        score.lead_id, as_of, score.model_version,
        score.probability if expected is None else expected.mean, score.probability,
        *((None,) * 3 if value is None else (value.mean, value.low, value.high)),
        *((None,) * 3 if expected is None else (expected.mean, expected.low, expected.high)),
        score.grade, score.route, msgspec.json.encode(score.reasons).decode(), routed_by,
    )  # fmt: skip
