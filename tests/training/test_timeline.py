"""Folds keep training labels out of the test period."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.source import Evaluation, Population
from features.times import DAY, instant
from training.timeline import TimelineError, folds, picture

WEEKLY = Population(at="weekly", after=None, horizon=28 * DAY, grace=2 * DAY, target="won")
AS_OF = np.repeat(instant("2024-01-01") + np.arange(60) * 7 * DAY, 3)


@given(st.lists(st.floats(0.15, 0.95), min_size=1, max_size=4, unique=True))
def test_no_training_label_was_open_at_the_origin(shares: list[float]) -> None:
    try:
        made = folds(AS_OF, WEEKLY, Evaluation(tuple(sorted(shares)), None))
    except TimelineError:
        return
    tested = np.zeros(len(AS_OF), dtype=int)
    for fold in made:
        train, test = fold.train(AS_OF), fold.test(AS_OF)
        assert (AS_OF[train] + WEEKLY.horizon + WEEKLY.grace).max() <= AS_OF[test].min()
        tested += test
    assert tested.max() == 1
    assert tested[made[0].origin <= AS_OF].all()


def test_dates_are_origins() -> None:
    first, second = folds(AS_OF, WEEKLY, Evaluation(("2024-06-03", "2024-09-02"), "2024-12-02"))
    assert (first.origin, first.end) == (instant("2024-06-03"), instant("2024-09-02"))
    assert (second.origin, second.end) == (instant("2024-09-02"), instant("2024-12-02"))


def test_without_origins_the_last_quarter_is_tested() -> None:
    (fold,) = folds(AS_OF, WEEKLY, Evaluation((), None))
    assert fold.test(AS_OF).mean() == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(
    ("origins", "word"), [(("2024-01-08",), "train on"), (("2030-01-01",), "test on")]
)
def test_an_empty_fold_says_what_to_move(origins: tuple[str, ...], word: str) -> None:
    with pytest.raises(TimelineError, match=word) as error:
        folds(AS_OF, WEEKLY, Evaluation(origins, None))
    assert "move the origin" in str(error.value)
    with pytest.raises(TimelineError, match="shorter than the horizon"):
        folds(AS_OF[:0], WEEKLY, Evaluation((), None))


def test_the_picture_shows_train_ripening_and_test_in_order() -> None:
    made = folds(AS_OF, WEEKLY, Evaluation((0.5,), None))
    line = picture(AS_OF, made).splitlines()[1]
    assert line.index("=") < line.index(".") < line.index("#")
    assert f"{int(made[0].train(AS_OF).sum()):,} ->" in line
