"""The report of one training run, for a terminal and as one HTML file that needs no network."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup

from features.times import iso
from training.dependence import Dependence
from training.evaluate import SHARES, Estimate, Evaluation, Floats
from training.figures import figures, percent, svg, whole
from training.findings import Finding
from training.groups import FOUR_FIFTHS, Group
from training.ladder import Rung
from training.scorecard import Points

_MEASURES = {
    "auc": ("AUC", 3),
    "log_loss": ("log loss", 4),
    "brier": ("Brier score", 4),
    "calibration_error": ("calibration error", 4),
    "lift": ("lift", 2),
    "value_at_capacity": ("share of value", 3),
    "value_coverage": ("deal value inside its interval", 3),
}
_WIDTH = 100


@dataclass(frozen=True)
class TopFeature:
    """A feature the model leans on: its name, what it means, its share of the total gain."""

    name: str
    sentence: str
    gain: float


@dataclass(frozen=True, eq=False)
class Report:
    """What a training run found.

    - ``evaluation``: the honest one, out of time
    - ``random_split``: measure -> what a random split would have claimed
    - ``ceiling``: measure -> what the truth itself reaches; simulated data only
    - ``training``: fact -> value, in the order they are shown (rows, leads, features, digests)
    - ``verdict``: whether to use it, in sentences; ``rungs``: how each kind of model did where
      conversions were few; ``card``: the points of a scorecard, base first
    - ``groups``: calibration and selection of the groups of some fields
    - ``dependence``: what the model makes of the features it leans on most
    - ``findings``: of the audit, blocking ones first
    - ``timeline``: a preformatted picture; ``target`` names outcome and horizon
    """

    title: str
    source: str
    target: str
    timeline: str
    evaluation: Evaluation
    random_split: Mapping[str, float | None] = field(default_factory=dict)
    ceiling: Mapping[str, float | None] | None = None
    training: Mapping[str, str | int | float] = field(default_factory=dict)
    calibration: str = "none"
    features: Sequence[TopFeature] = ()
    notes: Sequence[str] = ()
    findings: Sequence[Finding] = ()
    groups: Sequence[Group] = ()
    dependence: Sequence[Dependence] = ()
    verdict: Sequence[str] = ()
    rungs: Sequence[Rung] = ()
    card: tuple[float, Sequence[Points]] | None = None


@dataclass(frozen=True)
class _Table:
    """``words`` leading columns are text, the rest numbers; an empty header is not shown."""

    title: str
    note: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    words: int = 1


def text(report: Report) -> str:
    """The report for a terminal of 100 columns."""
    facts = _aligned(_Table("", "", (), list(_facts(report).items()), words=2))
    parts = [report.title, "=" * len(report.title), *facts]
    for line in report.verdict:
        parts += textwrap.wrap(line, _WIDTH)
    for note in report.notes:
        parts += textwrap.wrap(f"note: {note}", _WIDTH, subsequent_indent="      ")
    parts += ["", "Timeline", *(f"  {line}" for line in report.timeline.splitlines())]
    for table in _tables(report):
        about = textwrap.wrap(table.note, _WIDTH - 2, initial_indent="  ", subsequent_indent="  ")
        parts += ["", table.title, *about, *_aligned(table)]
    return "\n".join(line.rstrip() for line in parts) + "\n"


def findings_text(findings: Sequence[Finding]) -> str:
    """The findings of an audit alone, for a terminal of 100 columns."""
    table = _findings(findings)
    return "\n".join(line.rstrip() for line in [table.title, f"  {table.note}", *_aligned(table)])


def html(report: Report) -> str:
    """The report as one HTML page: style and SVG figures inside, nothing loaded from elsewhere."""
    folder = jinja2.FileSystemLoader(Path(__file__).parent)
    page = jinja2.Environment(loader=folder, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return page.get_template("report.html.jinja").render(
        report=report,
        facts=_facts(report),
        tables=_tables(report),
        figures=[
            (caption, Markup(svg(drawn)))
            for caption, drawn in figures(report.evaluation, report.dependence)
        ],
    )


def _facts(report: Report) -> dict[str, str]:
    found = report.evaluation
    first, last = (iso(moment)[:10] for moment in found.period)
    return {
        "source": report.source,
        "target": report.target,
        "tested": f"{first} to {last}: {found.rows:,} rows of {found.leads:,} leads, "
        f"{found.conversions:,} converted ({percent(found.positive_rate)})",
        "calibration": report.calibration,
    }


def _tables(report: Report) -> list[_Table]:
    found = report.evaluation
    audit = _findings(report.findings)
    tables = [_honest(report), audit, _contenders(found), _differences(found), _reliability(found)]
    tables += [_capacity(found), _by_group(report)]
    leaned = [(f.name, percent(f.gain), f.sentence) for f in report.features]
    tables += [_ladder(report.rungs), _card(report.card)]
    header = ("feature", "gain", "meaning")
    tables.append(_Table("What the model leans on", "share of the total gain", header, leaned, 3))
    tables.append(_moves(report.dependence))
    facts = [(name, _fact(value)) for name, value in report.training.items()]
    tables.append(_Table("Training", "", (), facts, words=2))
    return [table for table in tables if table.rows or table is audit]


def _honest(report: Report) -> _Table:
    columns: dict[str, Mapping[str, float | None]] = {}
    if report.random_split:
        columns["random split"] = report.random_split
    if report.ceiling is not None:
        columns["ceiling (truth)"] = report.ceiling
    rows = [
        (
            label,
            _interval(estimate, digits),
            *(_number(c.get(name), digits) for c in columns.values()),
        )
        for name, (label, digits) in _MEASURES.items()
        if (estimate := report.evaluation.measures[report.evaluation.main][name]).value is not None
    ]
    best = whole(report.evaluation.capacity)
    note = f"out of time, 90 % intervals by lead; lift and value in the best {best} of the rows"
    if report.random_split:
        note += "; beside it what a random split would have claimed"
    header = (report.evaluation.main, "honest", *columns)
    return _Table("How good is it", note, header, rows)


def _findings(findings: Sequence[Finding]) -> _Table:
    """Three lines a finding: what, on what evidence, and what to do or why it was accepted."""
    rows: list[tuple[str, str]] = []
    for one in findings:
        rows.append(("accepted" if one.accepted else one.severity, one.key))
        rows.append(("", one.evidence))
        rows.append(("", f"because: {one.accepted}" if one.accepted else f"remedy: {one.remedy}"))
    stopping = sum(one.stops for one in findings)
    note = f"{stopping} of {len(findings)} findings stop the promotion"
    return _Table("Audit", note if rows else "nothing found", (), rows, words=2)


def _contenders(found: Evaluation) -> _Table:
    shown = ("log_loss", "auc", "calibration_error")
    rows = [
        (name, *(_interval(measures[m], _MEASURES[m][1]) for m in shown))
        for name, measures in sorted(found.measures.items(), key=_by_log_loss)
    ]
    header = ("contender", *(_MEASURES[m][0] for m in shown))
    return _Table("Contenders", "the best log loss first", header, rows)


def _by_log_loss(item: tuple[str, Mapping[str, Estimate]]) -> float:
    loss = item[1]["log_loss"].value
    return np.inf if loss is None else loss


def _differences(found: Evaluation) -> _Table:
    rows = [
        (name, _interval(by["log_loss"], 4, "+"), _interval(by["auc"], 4, "+"), _verdict(found, by))
        for name, by in found.differences.items()
    ]
    header = ("against", "log loss", "AUC", "by log loss")
    note = "differences on the same draws of leads; less log loss and more AUC are better"
    return _Table(f"{found.main} minus the others", note, header, rows)


def _verdict(found: Evaluation, by: Mapping[str, Estimate]) -> str:
    low, high = by["log_loss"].low, by["log_loss"].high
    if low is None or high is None or low <= 0 <= high:
        return "no clear difference"
    return f"{found.main} is {'better' if high < 0 else 'worse'}"


def _reliability(found: Evaluation) -> _Table:
    rows = [
        (
            f"{number}",
            f"{line.rows:,}",
            f"{line.leads:,}",
            percent(line.predicted),
            percent(line.observed),
            f"{percent(line.low)} to {percent(line.high)}",
            "" if line.low <= line.predicted <= line.high else "outside",
        )
        for number, line in enumerate(found.reliability, 1)
    ]
    header = ("bin", "rows", "leads", "predicted", "observed", "90 % band, all bins together", "")
    return _Table("Reliability", "equal counts, lowest predictions first", header, rows)


def _capacity(found: Evaluation) -> _Table:
    def held(curve: Floats | None) -> float | None:
        return None if curve is None else float(np.interp(found.capacity, SHARES, curve))

    rows = []
    for name in dict.fromkeys([*found.gain, *found.value]):
        won, value = held(found.gain.get(name)), held(found.value.get(name))
        lift = None if won is None else won / found.capacity
        rows.append((name, percent(won), _number(lift, 2), percent(value)))
    header = ("in order of", "conversions held", "lift", "value held")
    note = "conversions in order of probability; value in order of expected value where one is said"
    return _Table(f"The best {whole(found.capacity)} of the rows", note, header, rows)


def _ladder(rungs: Sequence[Rung]) -> _Table:
    rows = [
        (one.name, _number(one.log_loss, 4), f"{one.gain:+.4f}", f"{one.error:.4f}",
         "climbed" if one.climbed else "not climbed")
        for one in rungs
    ]  # fmt: skip
    note = (
        "conversions are few, so the highest rung is used that is clearly better than the one "
        "below, out of fold (1.645 errors)"
    )
    return _Table("Ladder", note, ("rung", "log loss", "gain", "error", ""), rows)


def _card(card: tuple[float, Sequence[Points]] | None) -> _Table:
    rows = [] if card is None else [("base", "every lead", f"{card[0]:+.0f}")]
    rows += [
        (one.feature, textwrap.shorten(one.when, 56), f"{one.points:+.0f}")
        for one in (card or (0.0, ()))[1]
    ]
    note = "the points of a lead add up; 20 more double its odds of converting"
    return _Table("Scorecard", note, ("feature", "when", "points"), rows, 2)


def _moves(found: Sequence[Dependence]) -> _Table:
    def at(one: Dependence, place: int) -> tuple[str, str]:
        value = one.values[place]
        told = f"{value:,.4g}" if isinstance(value, float) else value or one.feature.null
        return percent(float(one.probability[place])), f"at {told}"

    rows = [
        (
            one.feature.name,
            *at(one, int(one.probability.argmin())),
            *at(one, int(one.probability.argmax())),
        )
        for one in found
    ]
    note = "mean probability of the latest rows, were they all to hold that value"
    return _Table("What it makes of them", note, ("feature", "lowest", "", "highest", ""), rows)


def _by_group(report: Report) -> _Table:
    rows = [
        (
            f"{one.field}{' (protected)' if one.protected else ''}",
            one.value,
            f"{one.leads:,}",
            percent(one.predicted),
            percent(one.observed),
            f"{percent(one.low)} to {percent(one.high)}",
            percent(one.selected),
            _number(one.ratio, 2),
            _remark(one),
        )
        for one in report.groups
    ]
    header = ("field", "group", "leads", "predicted", "observed", "90 % band of a field",
              f"in best {whole(report.evaluation.capacity)}", "ratio", "")  # fmt: skip
    note = (
        "calibration and selection by group; ratio: the share selected over that of the field's "
        "most selected group (protected fields are never read by the model)"
    )
    return _Table("Groups", note, header, rows, 2)


def _remark(one: Group) -> str:
    remarks = [] if one.calibrated else ["outside"]
    if one.protected and one.ratio < FOUR_FIFTHS:
        remarks.append("below four fifths")
    return ", ".join(remarks)


def _aligned(table: _Table) -> list[str]:
    """The lines of a table; words that end a line are wrapped at 100 columns."""
    rows = [table.header, *table.rows] if table.header else table.rows
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if place < table.words else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        line = "  " + "  ".join(cells)
        hang = " " * (len(line) - widths[-1])
        lines += textwrap.wrap(line, _WIDTH, subsequent_indent=hang)
    return lines


def _interval(estimate: Estimate, digits: int, sign: str = "") -> str:
    if estimate.low is None or estimate.high is None:
        return _number(estimate.value, digits, sign)
    low, high = (_number(bound, digits, sign) for bound in (estimate.low, estimate.high))
    return f"{_number(estimate.value, digits, sign)} [{low}, {high}]"


def _number(value: float | None, digits: int, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.{digits}f}"


def _fact(value: str | int | float) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
