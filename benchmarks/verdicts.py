"""The bars of `benchmarks.quality`: what we must reach, and whom we must not trail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from benchmarks import tkdd
from benchmarks.bar import Bar, Wanted
from benchmarks.judge import TRUTH, Judged
from benchmarks.rivals import AUTOGLUON, BASE_RATE, BAYES, COUNTS, CUT, LOGISTIC, OURS, RIDGE

LEVELS: dict[str, tuple[tuple[str, float, Wanted], ...]] = {
    "simulated": (("calibration_error", 0.015, "<="),),
    "bpic2012": (
        ("auc", 0.770, ">="), ("log_loss", 0.512, "<="), ("calibration_error", 0.030, "<="),
        ("value_at_capacity", 0.525, ">="),
    ),
    "first-offer": (("auc", 0.57, ">="), ("log_loss", 0.669, "<=")),
    "xeducation": (("auc", 0.885, ">="), ("log_loss", 0.416, "<=")),
    "tayko": (("gini", 0.78, ">="), ("decile_error", 0.13, "<="), ("total_error", 0.05, "<=")),
    "tkdd-accepted": (("auc", 0.715, ">="),),
    "tkdd-cancelled": (("auc", 0.740, ">="),),
    "tkdd-declined": (("auc", 0.630, ">="),),
}  # fmt: skip
"""Protocol -> (measure, limit, which side of it)."""

TOO_GOOD = {"bpic2012": 0.82, "xeducation": 0.93}
"""An AUC above this: suspect a leak."""

_BASELINES = {BASE_RATE, BAYES, LOGISTIC, RIDGE, COUNTS, CUT, TRUTH}


def verdicts(judged: Judged) -> Iterator[Bar]:
    """The bars of one protocol."""
    name = judged.name
    for measure, limit, wanted in LEVELS.get(name, ()):
        yield Bar(f"{name}-{_word(measure)}", _ours(judged, measure), limit, wanted)
    if name in TOO_GOOD:
        yield Bar(f"{name}-not-too-good", _ours(judged, "auc"), TOO_GOOD[name])
    if name in _SPECIAL:
        yield from _SPECIAL[name](judged)
    yield from _against_others(judged)


def of_all(judged: Mapping[str, Judged]) -> Iterator[Bar]:
    """The bars that take several protocols."""
    found = [judged.get(f"tkdd-honest-{task}") for task in tkdd.TASKS]
    known = [_ours(one, "auc") for one in found if one is not None]
    if len(known) == len(tkdd.TASKS):
        yield Bar("tkdd-honest-mean-auc", sum(known) / len(known), 0.640, ">=")


def _ours(judged: Judged, measure: str) -> float:
    value = judged.measures[OURS][measure].value
    assert value is not None
    return value


def _against_others(judged: Judged) -> Iterator[Bar]:
    """Nobody is ahead by more than a paired standard error; ours costs a tenth of the costliest."""
    peers = [name for name in judged.differences if name not in _BASELINES]
    for measure in _judged_by(judged.name):
        word = f"{judged.name}-{_word(measure)}-behind"
        if LOGISTIC in judged.differences:
            yield Bar(f"{word}-logistic-regression", judged.behind(LOGISTIC, measure), 1)
        if CUT in judged.differences:
            yield Bar(f"{word}-maturity-cut", judged.behind(CUT, measure), 1)
        if peers:
            yield Bar(f"{word}-best-peer", max(judged.behind(one, measure) for one in peers), 1)
    if AUTOGLUON in judged.cpu:
        ratio = judged.cpu[OURS] / judged.cpu[AUTOGLUON]
        yield Bar(f"{judged.name}-cpu-over-autogluon", ratio, 0.1)


def _judged_by(name: str) -> tuple[str, ...]:
    if name == "tayko":
        return ("gini",)
    return ("auc",) if name.startswith("tkdd") else ("auc", "log_loss")


def _ahead_of_counts(judged: Judged) -> Iterator[Bar]:
    """What is declared says more than plain counts; told apart on the two tasks of most cases."""
    low = judged.differences[COUNTS]["auc"].low
    yield Bar(f"{judged.name}-auc-minus-plain-counts-low", low or 0.0, 0, ">")


def _bpic2012(judged: Judged) -> Iterator[Bar]:
    high = judged.differences[LOGISTIC]["log_loss"].high
    yield Bar("bpic2012-log-loss-minus-logistic-regression-high", high or 0.0, 0, "<")
    low = judged.differences[LOGISTIC]["auc"].low
    yield Bar("bpic2012-auc-minus-logistic-regression-low", low or 0.0, 0, ">")


def _first_offer(judged: Judged) -> Iterator[Bar]:
    difference = judged.differences[BASE_RATE]["log_loss"].value
    yield Bar("first-offer-log-loss-minus-base-rate", difference or 0.0, 0, "<")


def _simulated(judged: Judged) -> Iterator[Bar]:
    truth = {name: one.value or 0.0 for name, one in judged.measures[TRUTH].items()}
    yield Bar("simulated-truth-auc-low", truth["auc"], 0.75, ">=")
    yield Bar("simulated-truth-auc-high", truth["auc"], 0.88)
    yield Bar("simulated-auc-below-truth", truth["auc"] - _ours(judged, "auc"), 0.015)
    over = _ours(judged, "log_loss") / truth["log_loss"]
    yield Bar("simulated-log-loss-over-truth", over, 1.03)
    captured = _ours(judged, "value_at_capacity") / truth["value_at_capacity"]
    yield Bar("simulated-value-over-truth", captured, 0.95, ">=")


_SPECIAL: dict[str, Callable[[Judged], Iterator[Bar]]] = {
    "bpic2012": _bpic2012,
    "first-offer": _first_offer,
    "simulated": _simulated,
    "tkdd-honest-accepted": _ahead_of_counts,
    "tkdd-honest-cancelled": _ahead_of_counts,
}


def _word(measure: str) -> str:
    return {"value_at_capacity": "value-top-20"}.get(measure, measure.replace("_", "-"))
