"""The model in service: its place on disk is watched; a new one is tried, warmed up and swapped in.

digest check -> child process (golden rows) -> load -> warm-up -> swap. A bundle that fails any of
it changes nothing: the old model goes on, and health, metrics and log say so.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from features.times import iso, now
from serving import logs, metrics
from serving.decide import Policy
from serving.scorer import Facts, Scorer
from training import bundle
from training.bundle import Bundle, BundleError
from training.shelf import kept, version_in

MOST_REFUSALS = 16

_LOOK_SECONDS = 0.5
_Stamp = tuple[tuple[str, int, int, int], ...] | None


class Refusal(msgspec.Struct, frozen=True):
    """A bundle that was not taken into service, when, and why; ``version`` where it tells one."""

    at: str
    version: str | None
    reason: str


class Champion:
    """Serves what ``directory`` holds: hands a scorer to ``serve`` at once, and at every swap.

    What it hands over is complete and warm: who takes one scorer for a request has one model from
    its beginning to its end. Raises :class:`training.bundle.BundleError` when the first one cannot
    be loaded.
    """

    def __init__(
        self, directory: Path, serve: Callable[[Scorer], None], policy: Policy | None = None
    ) -> None:
        self._directory, self._serve, self._policy = directory, serve, policy
        self._reloading, self._ended = threading.Lock(), threading.Event()
        self._seen = _stamp(directory)
        self.refusal: Refusal | None = None
        self.refusals: deque[Refusal] = deque(maxlen=MOST_REFUSALS)
        self.since = iso(now())
        self.bundle = bundle.load(directory)
        self._passed = {self.bundle.digest}
        self._swap(self.bundle)

    @property
    def kept(self) -> list[str]:
        """The versions that can be gone back to, the one shown last first."""
        return [one for one in kept(self._directory) if one != self.bundle.version]

    @property
    def concern(self) -> str | None:
        """What who asks for health should know."""
        if self.refusal is None:
            return None
        return f"a new model was refused, model {self.bundle.version} goes on: see the log"

    def watch(self) -> None:
        """From now on, take up what is put into the directory."""
        threading.Thread(target=self._watch, name="champion", daemon=True).start()

    def end(self) -> None:
        """Watch no longer."""
        self._ended.set()

    def reload(self) -> bool:
        """Serve what the directory holds now; whether that is another model.

        Raises :class:`training.bundle.BundleError`; then the old one goes on.
        """
        with self._reloading:
            self._seen = _stamp(self._directory)
            try:
                changed = self._take()
            except Exception as error:  # whatever it is, the old model goes on
                raise self._refuse(error) from None
            self.refusal = None
            return changed

    def _take(self) -> bool:
        place = self._directory.resolve()  # a promotion from now on changes nothing of it
        digest = bundle.digest(place)
        if digest == self.bundle.digest:
            return False
        if digest not in self._passed:
            digest = bundle.check(place)
            self._passed.add(digest)
        self._swap(bundle.load(place, digest))
        return True

    def _swap(self, fresh: Bundle) -> None:
        scorer = Scorer(fresh, self._policy)
        for reasons in (0, 3):  # each has machine code of its own, which is made at its first use
            scorer.score([("warm-up", Facts([], [], []))], now(), reasons)
        before, self.bundle = self.bundle, fresh
        self._serve(scorer)
        self.since = iso(now())
        metrics.serves(fresh.version, before.version)
        logs.event("model", version=fresh.version, before=before.version)

    def _refuse(self, error: Exception) -> BundleError:
        known = isinstance(error, BundleError)
        reason = str(error) if known else f"it cannot be used here: {type(error).__name__}"
        self.refusal = Refusal(iso(now()), version_in(self._directory), reason)
        self.refusals.appendleft(self.refusal)
        metrics.MODEL_REFUSED.inc()
        at = {} if known else {"at": logs.places(error)}
        logs.event("model refused", reason=reason, serving=self.bundle.version, **at)
        return BundleError(reason)

    def _watch(self) -> None:
        """A directory that changes is looked at when it has been at rest from one look to the next.

        So that what is copied there file by file is not refused halfway.
        """
        before = self._seen
        while not self._ended.wait(_LOOK_SECONDS):
            found = _stamp(self._directory)
            if found == before and found != self._seen:
                with suppress(BundleError):
                    self.reload()
            before = found


def _stamp(directory: Path) -> _Stamp:
    """What tells that files have changed, without reading them."""
    try:
        with os.scandir(directory) as entries:
            found = [(one.name, one.stat(follow_symlinks=False)) for one in entries]
    except OSError:
        return None
    return tuple(
        (name, about.st_ino, about.st_size, about.st_mtime_ns) for name, about in sorted(found)
    )
