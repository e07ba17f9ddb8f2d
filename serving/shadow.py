"""A challenger in the shadow: asked for the leads that the champion scores, and heard by nobody.

What it would have said is compared with what was said, on live traffic, before anyone promotes it.
It works in a thread beside the answers; what is too much for it is left out, and counted.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec

from serving import api, logs, metrics
from serving.decide import Policy
from serving.routes.score import Desk
from serving.scorer import Score, Scorer
from serving.store import Store
from training import bundle

MOST_WAITING = 256
"""So many leads may wait for the challenger; of more, nothing is lost but a comparison."""


class Compared(msgspec.Struct, frozen=True):
    """A challenger beside the champion, on the leads that were scored since the service started.

    - ``scored``: leads that both scored; ``left_out``: those that only one could score, or that
      were too many at once
    - ``other_route``: of those scored, so many would have gone another way
    - ``distance``: the mean of the distances between the two probabilities; ``difference``: the
      mean of the challenger's minus the champion's; null where nothing was scored yet
    """

    version: str
    scored: int
    left_out: int
    other_route: int
    distance: float | None
    difference: float | None


_Told = Sequence[Score | api.Refused]


class Shadow:
    """The challenger in a directory; it learns nothing and answers nobody.

    Raises :class:`training.bundle.BundleError` for a bundle that cannot be loaded.
    """

    def __init__(self, directory: Path, store: Store | None, policy: Policy | None = None) -> None:
        made = bundle.load(directory)
        self.version = made.version
        self._desk = Desk(Scorer(made, policy), store)
        self._waiting: queue.Queue[tuple[api.Envelope, int, _Told]] = queue.Queue()
        self._lock, self._leads = threading.Lock(), 0
        self._scored = self._left_out = self._other_route = 0
        self._distance = self._difference = 0.0

    @property
    def compared(self) -> Compared:
        """What came of it so far."""
        scored, said = self._scored, self._scored > 0
        return Compared(
            self.version, scored, self._left_out, self._other_route,
            self._distance / scored if said else None, self._difference / scored if said else None,
        )  # fmt: skip

    def start(self) -> None:
        """From now on, work on what waits."""
        threading.Thread(target=self._work, name="challenger", daemon=True).start()

    def beside(self, asked: api.Envelope, as_of: int, told: _Told) -> None:
        """Have the challenger asked, too, for what was answered as of a moment; never waits."""
        with self._lock:
            room = self._leads + len(told) <= MOST_WAITING
            self._leads += len(told) if room else 0
        if room:
            self._waiting.put((asked, as_of, told))
        else:
            self._leave_out(len(told))

    def settle(self) -> None:
        """Wait until nothing waits."""
        self._waiting.join()

    def _work(self) -> None:
        while True:
            asked, as_of, told = self._waiting.get()
            try:
                self._compare(asked, as_of, told)
            except Exception as error:  # whatever it is, the champion answers
                self._leave_out(len(told))
                logs.event("challenger failed", version=self.version, at=logs.places(error))
            with self._lock:
                self._leads -= len(told)
            self._waiting.task_done()

    def _compare(self, asked: api.Envelope, as_of: int, told: _Told) -> None:
        bare = api.Envelope(asked.leads, reasons=0)
        made, _ = self._desk.results(bare, as_of, "")
        for theirs, ours in zip(told, made, strict=True):
            if not (isinstance(theirs, Score) and isinstance(ours, Score)):
                self._leave_out(1)
                continue
            difference = ours.probability - theirs.probability
            other = ours.route != theirs.route
            self._scored += 1
            self._other_route += other
            self._distance += abs(difference)
            self._difference += difference
            metrics.shadowed(self.version, other).inc()
            metrics.SHADOW_DISTANCE.observe(abs(difference))

    def _leave_out(self, leads: int) -> None:
        with self._lock:
            self._left_out += leads
        metrics.SHADOW_LEFT_OUT.inc(leads)
