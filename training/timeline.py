"""Time, done once: which rows may teach, which rows are judged, and the gap between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.source import Evaluation, Population
from features.times import DAY, duration_text, instant, iso

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

DEFAULT_ORIGIN = 0.75
"""Without declared origins: test on the last quarter of the labelled rows."""


class TimelineError(ValueError):
    """The history is too short for the horizon and the origins; says by how much."""


@dataclass(frozen=True)
class Fold:
    """Train on outcomes known at ``origin``, test on rows with ``origin <= as_of < end``."""

    origin: int
    end: int
    embargo: int

    def past(self, as_of: Ints) -> Bools:
        """Rows before the origin: those whose outcome is known by then may teach."""
        return as_of < self.origin

    def train(self, as_of: Ints) -> Bools:
        """Rows whose horizon and grace are over at the origin: ``as_of + embargo <= origin``."""
        return as_of + self.embargo <= self.origin

    def test(self, as_of: Ints) -> Bools:
        """Rows that are scored at or after the origin, before the next one."""
        return (self.origin <= as_of) & (as_of < self.end)


def folds(as_of: Ints, population: Population, evaluation: Evaluation) -> list[Fold]:
    """Cut labelled rows (their as-of times, microseconds) into rolling out-of-time folds.

    Origins are dates or shares of the rows in the order of time; each one's test rows end where
    the next begins. The embargo is horizon + grace: by then at the latest a row's outcome is known.
    Raises :class:`TimelineError` when a fold has no rows.
    """
    if not len(as_of):
        raise TimelineError("no row has a complete label: the history is shorter than the horizon")
    ordered = np.sort(as_of)
    embargo = population.horizon + population.grace
    origins = [_moment(origin, ordered) for origin in evaluation.origins or (DEFAULT_ORIGIN,)]
    last = int(ordered[-1]) + 1
    if evaluation.end is not None:
        last = min(last, instant(evaluation.end))
    made = [
        Fold(origin, end, embargo)
        for origin, end in zip(origins, [*origins[1:], last], strict=True)
    ]
    for fold in made:
        for rows, word in ((fold.train(as_of), "train on"), (fold.test(as_of), "test on")):
            if not rows.any():
                raise TimelineError(
                    f"origin {iso(fold.origin)} leaves no row to {word}: labels run from "
                    f"{iso(int(ordered[0]))} to {iso(int(ordered[-1]))} and the embargo is "
                    f"{duration_text(embargo)}: move the origin, or shorten the horizon"
                )
    return made


def _moment(origin: str | float, ordered: Ints) -> int:
    if isinstance(origin, str):
        return instant(origin)
    return int(ordered[min(int(origin * len(ordered)), len(ordered) - 1)])


def picture(as_of: Ints, chosen: Sequence[Fold], width: int = 60) -> str:
    """Draw the folds as text: ``=`` trains, of ``.`` what is settled does, ``#`` tests."""
    start, end = int(as_of.min()), max(fold.end for fold in chosen)
    step = max((end - start) / width, 1)
    moments = start + (np.arange(width) + 0.5) * step
    lines = [f"{'':18}{iso(start)[:10]}{iso(end)[:10]:>{width - 10}}"]
    for number, fold in enumerate(chosen, start=1):
        marks = np.full(width, " ")
        marks[moments < fold.origin] = "."
        marks[moments + fold.embargo <= fold.origin] = "="
        marks[(fold.origin <= moments) & (moments < fold.end)] = "#"
        train, test = int(fold.train(as_of).sum()), int(fold.test(as_of).sum())
        lines.append(
            f"fold {number} {iso(fold.origin)[:10]} {''.join(marks)} {train:,} -> {test:,}"
        )
    embargo = chosen[0].embargo
    length = f"{embargo / DAY:g} days" if embargo >= DAY else duration_text(embargo)
    lines.append(f"{'':18}= train   . ripening ({length})   # test")
    return "\n".join(lines)
