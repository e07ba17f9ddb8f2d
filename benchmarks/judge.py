"""What `benchmarks.quality` measures of every contender, and the table of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from benchmarks.protocols import Protocol
from benchmarks.rivals import OURS, Said
from training.evaluate import LEVEL, Estimate, Evaluation, Outcomes, Predictions, evaluate

Floats = npt.NDArray[np.float64]
Answers = Mapping[str, Sequence[Said]]
"""Contender -> what it said of each split."""

TRUTH = "the truth"
DRAWS = 200
SHOWN = {
    "auc": ("AUC", 4),
    "log_loss": ("log loss", 4),
    "calibration_error": ("calibration error", 4),
    "value_at_capacity": ("value in the top 20 %", 3),
    "gini": ("normalised Gini", 4),
    "decile_error": ("decile totals off by", 3),
    "total_error": ("total off by", 3),
}
"""Measures in the order of the table; the first of a protocol's ranks its contenders."""


@dataclass(frozen=True, eq=False)
class Judged:
    """One protocol's figures.

    ``measures``: contender -> measure -> estimate; ``differences``: other contender -> measure ->
    ours minus the other, paired; ``cpu``: processor seconds of all fits of a contender.
    """

    name: str
    title: str
    measures: Mapping[str, Mapping[str, Estimate]]
    differences: Mapping[str, Mapping[str, Estimate]]
    cpu: Mapping[str, float]

    def behind(self, other: str, measure: str) -> float:
        """By how many paired standard errors ``other`` is ahead of us; negative: behind us."""
        found = self.differences[other][measure]
        if found.value is None or not found.error:
            return 0.0
        return found.value / found.error * (1 if measure == "log_loss" else -1)

    def table(self) -> str:
        """Markdown, the best contender first."""
        shown = [
            name
            for name in SHOWN
            if any(of.get(name, Estimate(None)).value is not None for of in self.measures.values())
        ]
        paired = [name for name in ("auc", "log_loss", "gini") if name in shown]
        header = ["contender", *(SHOWN[name][0] for name in shown)]
        header += [f"{SHOWN[name][0]}, ours minus it" for name in paired] + ["fit, CPU s"]
        lines = [header, ["---"] * len(header)]
        for who in sorted(
            self.measures, key=lambda who: -(self.measures[who][shown[0]].value or 0)
        ):
            line = [who, *(_text(self.measures[who].get(m), SHOWN[m][1]) for m in shown)]
            line += [_text(self.differences.get(who, {}).get(m), 4, "+") for m in paired]
            lines.append([*line, f"{self.cpu[who]:,.1f}" if who in self.cpu else ""])
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def judge(protocol: Protocol, answers: Answers) -> Judged:
    """Measure what contenders said of the splits of a protocol, pooled."""
    cpu = {who: sum(one.cpu for one in said) for who, said in answers.items()}
    found = _values(protocol, answers) if protocol.predicts_value else _chances(protocol, answers)
    rows = sum(len(split.test) for split in protocol.splits)
    leads = len({lead for split in protocol.splits for lead in split.test.lead_id})
    title = f"{protocol.title}: {rows:,} rows of {leads:,} leads"
    return Judged(protocol.name, title, *found, cpu)


_Figures = tuple[dict[str, dict[str, Estimate]], dict[str, dict[str, Estimate]]]


def _chances(protocol: Protocol, answers: Answers) -> _Figures:
    everything = range(len(protocol.splits))
    found = _evaluated(protocol, answers, everything)
    measures = {who: dict(of) for who, of in found.measures.items()}
    differences = {who: dict(of) for who, of in found.differences.items()}
    if protocol.mean_auc:
        parts = [_evaluated(protocol, answers, [place]) for place in everything]
        for who in measures:
            measures[who]["auc"] = _mean([part.measures[who]["auc"] for part in parts])
        for who in differences:
            differences[who]["auc"] = _mean([part.differences[who]["auc"] for part in parts])
    return measures, differences


def _evaluated(protocol: Protocol, answers: Answers, places: Sequence[int]) -> Evaluation:
    """What was said of the splits at the given places, pooled."""
    tests, joined = [protocol.splits[place].test for place in places], np.concatenate
    value = joined([test.value for test in tests])
    outcomes = Outcomes(
        joined([test.lead_id for test in tests]), joined([test.as_of for test in tests]),
        joined([test.converted for test in tests]),
        value if np.nan_to_num(value).any() else None,
    )  # fmt: skip
    worth = None
    if protocol.worth is not None:
        worth = joined([test.columns[protocol.worth].to_numpy() for test in tests])
    contenders = []
    for who, all_said in answers.items():
        said = [all_said[place] for place in places]
        chance = joined([one.probability for one in said if one.probability is not None])
        expected = [one.expected_value for one in said if one.expected_value is not None]
        ranked = joined(expected) if len(expected) == len(said) else None
        if ranked is None and worth is not None:
            ranked = chance * worth
        contenders.append(Predictions(who, chance, ranked))
    if protocol.truth is not None:
        truth = [protocol.truth(test.rows[["lead_id", "as_of"]]) for test in tests]
        known = [joined([one[name].to_numpy() for one in truth])
                 for name in ("probability", "expected_value")]  # fmt: skip
        contenders.append(Predictions(TRUTH, *known))
    return evaluate(outcomes, contenders, main=OURS, replicates=DRAWS)


def _mean(parts: Sequence[Estimate]) -> Estimate:
    """Of estimates from different leads."""
    value = float(np.mean([one.value for one in parts if one.value is not None]))
    error = math.hypot(*(one.error or 0.0 for one in parts)) / len(parts)
    return _around(value, error)


def _values(protocol: Protocol, answers: Answers) -> _Figures:
    """Measures of expected values: of each repeat's folds together, then the mean of the repeats.

    Resampled by lead, the same leads in every repeat and for every contender.
    """
    everyone = sorted({lead for split in protocol.splits for lead in split.test.lead_id})
    number = {lead: place for place, lead in enumerate(everyone)}
    draw = np.random.default_rng(0)
    weights = [np.ones(len(everyone))]
    weights += list(
        draw.multinomial(len(everyone), np.full(len(everyone), 1 / len(everyone)), DRAWS)
    )
    repeats = sorted({split.repeat for split in protocol.splits})
    drawn: dict[str, dict[str, Floats]] = {}
    for who, said in answers.items():
        found = np.zeros((len(repeats), len(weights), 3))
        for at, repeat in enumerate(repeats):
            chosen = [
                (split.test, one.expected_value)
                for split, one in zip(protocol.splits, said, strict=True)
                if split.repeat == repeat and one.expected_value is not None
            ]
            lead = np.concatenate([[number[one] for one in test.lead_id] for test, _ in chosen])
            actual = np.concatenate([test.value for test, _ in chosen])
            expected = np.concatenate([value for _, value in chosen])
            found[at] = [value_measures(actual, expected, weight[lead]) for weight in weights]
        names = ("gini", "decile_error", "total_error")
        drawn[who] = dict(zip(names, found.mean(axis=0).T, strict=True))
    measures = {who: {m: _estimate(of) for m, of in one.items()} for who, one in drawn.items()}
    ours = drawn[OURS]["gini"]
    return measures, {
        who: {"gini": _estimate(ours - one["gini"])} for who, one in drawn.items() if who != OURS
    }


def value_measures(actual: Floats, expected: Floats, weight: Floats) -> tuple[float, ...]:
    """How well expected values (n,) rank and add up to realised ones; rows count ``weight`` times.

    - normalised Gini: the area between the Lorenz curve of realised value, in order of expected
      value, and the diagonal, over that of the order of realised value itself
    - decile error: rows in tenths by expected value; the distances between each tenth's expected
      and realised total, added up, over the realised total
    - total error: the same distance of all rows together
    """
    order = np.argsort(-expected, kind="stable")
    best = np.argsort(-actual, kind="stable")
    gini = _gini(actual[order], weight[order]) / _gini(actual[best], weight[best])
    place = np.cumsum(weight[order]) - weight[order] / 2
    tenth = np.minimum((10 * place / weight.sum()).astype(int), 9)
    gap = np.bincount(tenth, ((expected - actual) * weight)[order], 10)
    total = float((actual * weight).sum())
    return gini, float(np.abs(gap).sum()) / total, abs(float(gap.sum())) / total


def _gini(amount: Floats, weight: Floats) -> float:
    share = np.append(0.0, np.cumsum(weight)) / weight.sum()
    held = np.append(0.0, np.cumsum(amount * weight)) / (amount * weight).sum()
    return float(2 * np.trapezoid(held, share) - 1)


def _estimate(draws: Floats) -> Estimate:
    return _around(float(draws[0]), float(draws[1:].std(ddof=1)))


def _around(value: float, error: float) -> Estimate:
    half = NormalDist().inv_cdf((1 + LEVEL) / 2) * error
    return Estimate(value, value - half, value + half, error)


def _text(found: Estimate | None, digits: int, sign: str = "") -> str:
    if found is None or found.value is None or math.isnan(found.value):
        return ""
    text = f"{found.value:{sign}.{digits}f}"
    if found.low is None or found.high is None:
        return text
    return f"{text} [{found.low:{sign}.{digits}f}, {found.high:{sign}.{digits}f}]"
