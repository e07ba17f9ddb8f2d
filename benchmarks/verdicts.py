"""The bars of `benchmarks.quality`: what we must reach, and whom we must not trail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from benchmarks import tkdd
from benchmarks.bar import bar
from benchmarks.judge import TRUTH, Judged
from benchmarks.rivals import AUTOGLUON, BASE_RATE, BAYES, COUNTS, LOGISTIC, OURS, RIDGE

Level = tuple[str, float, Literal["<=", ">="]]
LEVELS: dict[str, tuple[Level, ...]] = {
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

_BASELINES = {BASE_RATE, BAYES, LOGISTIC, RIDGE, COUNTS, TRUTH}


def verdicts(judged: Judged) -> None:
    """Print the bars of one protocol."""
    for measure, limit, wanted in LEVELS.get(judged.name, ()):
        bar(f"{judged.name}-{_word(measure)}", _ours(judged, measure), limit, wanted)
    if judged.name in TOO_GOOD:
        bar(f"{judged.name}-not-too-good", _ours(judged, "auc"), TOO_GOOD[judged.name])
    _SPECIAL.get(judged.name, lambda _: None)(judged)
    if judged.name.startswith("tkdd-honest"):
        _ahead_of_counts(judged)
    _against_others(judged)


def of_all(judged: Mapping[str, Judged]) -> None:
    """Print the bars that take several protocols."""
    found = [judged.get(f"tkdd-honest-{task}") for task in tkdd.TASKS]
    known = [_ours(one, "auc") for one in found if one is not None]
    if len(known) == len(tkdd.TASKS):
        bar("tkdd-honest-mean-auc", sum(known) / len(known), 0.640, ">=")


def _ours(judged: Judged, measure: str) -> float:
    value = judged.measures[OURS][measure].value
    assert value is not None
    return value


def _against_others(judged: Judged) -> None:
    """Nobody is ahead by more than a paired standard error; the costliest costs ten times ours."""
    peers = [name for name in judged.differences if name not in _BASELINES]
    for measure in _judged_by(judged.name):
        word = f"{judged.name}-{_word(measure)}-behind"
        if LOGISTIC in judged.differences:
            bar(f"{word}-logistic-regression", judged.behind(LOGISTIC, measure), 1)
        if peers:
            bar(f"{word}-best-peer", max(judged.behind(one, measure) for one in peers), 1)
    if AUTOGLUON in judged.cpu:
        bar(f"{judged.name}-cpu-over-autogluon", judged.cpu[OURS] / judged.cpu[AUTOGLUON], 0.1)


def _judged_by(name: str) -> tuple[str, ...]:
    if name == "tayko":
        return ("gini",)
    return ("auc",) if name.startswith("tkdd") else ("auc", "log_loss")


def _ahead_of_counts(judged: Judged) -> None:
    """The published skill is in more than counts, on the two tasks with enough cases."""
    if judged.name != "tkdd-honest-declined":
        low = judged.differences[COUNTS]["auc"].low
        bar(f"{judged.name}-auc-over-plain-counts-low", low or 0.0, 0, ">")


def _bpic2012(judged: Judged) -> None:
    high = judged.differences[LOGISTIC]["log_loss"].high
    bar("bpic2012-log-loss-minus-logistic-regression-high", high or 0.0, 0, "<")
    low = judged.differences[LOGISTIC]["auc"].low
    bar("bpic2012-auc-minus-logistic-regression-low", low or 0.0, 0, ">")


def _first_offer(judged: Judged) -> None:
    difference = judged.differences[BASE_RATE]["log_loss"].value
    bar("first-offer-log-loss-minus-base-rate", difference or 0.0, 0, "<")


def _simulated(judged: Judged) -> None:
    truth = {name: one.value or 0.0 for name, one in judged.measures[TRUTH].items()}
    bar("simulated-truth-auc-low", truth["auc"], 0.75, ">=")
    bar("simulated-truth-auc-high", truth["auc"], 0.88)
    bar("simulated-auc-below-truth", truth["auc"] - _ours(judged, "auc"), 0.015)
    bar("simulated-log-loss-over-truth", _ours(judged, "log_loss") / truth["log_loss"], 1.03)
    captured = _ours(judged, "value_at_capacity") / truth["value_at_capacity"]
    bar("simulated-value-over-truth", captured, 0.95, ">=")


_SPECIAL = {"bpic2012": _bpic2012, "first-offer": _first_offer, "simulated": _simulated}


def _word(measure: str) -> str:
    return {"value_at_capacity": "value-top-20"}.get(measure, measure.replace("_", "-"))
