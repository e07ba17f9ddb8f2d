"""Honest quality, out of time: the simulated funnel against its truth, and real data.

    python -m benchmarks.quality [simulated] [bpic2012] [xeducation]

Every figure comes from `training.experiment.run`, the path of `leadcast train`.
"""

from __future__ import annotations

import sys
import time

from benchmarks.bar import DATA, ROOT, bar, cpu_seconds
from features import simulate
from features.source import Evaluation, Population, Source
from features.times import duration
from training import report
from training.experiment import MAIN, Result, run


def simulated() -> None:
    """The default funnel: 20,000 leads, 18 months; tested on the last 21 labelled weeks."""
    made = simulate.simulate()
    source = Source.from_frames(
        "funnel",
        history=made.history,
        population=Population("weekly", None, duration("28d"), 0, "won"),
        evaluation=Evaluation(("2026-01-05",), None),
    )
    result = run(made.history, source, ceiling=made.truth.at)
    truth, ours = result.report.ceiling or {}, _measures(result)
    bar("simulated-truth-auc-low", truth["auc"] or 0, 0.75, ">=")
    bar("simulated-truth-auc-high", truth["auc"] or 1, 0.88, "<=")
    bar("simulated-auc-below-truth", (truth["auc"] or 0) - ours["auc"], 0.015)
    bar("simulated-calibration-error", ours["calibration_error"], 0.015)
    bar("simulated-log-loss-over-truth", ours["log_loss"] / (truth["log_loss"] or 1), 1.03)
    captured = ours["value_at_capacity"] / (truth["value_at_capacity"] or 1)
    bar("simulated-value-over-truth", captured, 0.95, ">=")


def bpic2012() -> None:
    """Daily snapshots of open applications, 30 days ahead, three origins."""
    result = _real("bpic2012")
    ours = _measures(result)
    bar("bpic2012-auc", ours["auc"], 0.76, ">=")
    bar("bpic2012-log-loss", ours["log_loss"], 0.52)
    for name, difference in result.report.evaluation.differences.items():
        loss = difference["log_loss"].value
        bar(f"bpic2012-log-loss-minus-{name.replace(' ', '-')}", loss or 0.0, 0, "<")


def xeducation() -> None:
    """A table without times: five origins in the order of the lead numbers."""
    ours = _measures(_real("xeducation"))
    bar("xeducation-auc", ours["auc"], 0.93, "<=")  # above, suspect a leak


def _real(name: str) -> Result:
    source = Source.from_toml(ROOT / "examples" / f"{name}.toml")
    start = cpu_seconds(), time.perf_counter()
    result = run(source.load(), source)
    used, took = cpu_seconds() - start[0], time.perf_counter() - start[1]
    print(report.text(result.report))
    print(f"{name}: {took:.0f} s, {used:.0f} CPU s, from the files to the report")
    return result


def _measures(result: Result) -> dict[str, float]:
    found = result.report.evaluation.measures[MAIN]
    return {name: one.value for name, one in found.items() if one.value is not None}


def main(names: list[str]) -> None:
    for one in (simulated, bpic2012, xeducation):
        if names and one.__name__ not in names:
            continue
        if one is not simulated and not DATA.is_dir():
            print(f"{one.__name__}: no real data here: set LEADCAST_DATA")
            continue
        one()


if __name__ == "__main__":
    main(sys.argv[1:])
