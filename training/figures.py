"""The plots of a report: reliability, gain, value, and what the model makes of a feature."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from io import BytesIO

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.dependence import Dependence
from training.evaluate import ORACLE, SHARES, Evaluation, Floats
from training.timeline import Fold, Ints

_MAIN, _QUIET, _FAINT = "#1b5e9e", "#6b7680", "#d5dbe1"
_OTHERS = ("#c0702a", "#4c8c4a", "#8a5aa3", "#a8495a", "#3d8f93")

_RELIABILITY = (
    "Reliability: what was predicted and what came true, ten bins of equal count. The bars hold "
    "all together with 90 %; a model that means what it says lies on the diagonal. Below: how "
    "many rows got which prediction."
)
_GAIN = "Gain: working the best rows first, the share of all conversions reached."
_VALUE = "Value: working the most valuable rows first, the share of all realised value reached."
_PLAIN = {"text.parse_math": False}
"""A dollar in a customer's word is a dollar."""

_DEPENDENCE = (
    "What the model makes of the features that it leans on most: the mean probability of the "
    "latest rows, were they all to hold this value (at the far right: none). It tells what the "
    "model does, not what a change would bring about."
)


def figures(
    evaluation: Evaluation, dependence: Sequence[Dependence] = ()
) -> list[tuple[str, Figure]]:
    """Captions and figures; value curves and dependence only where they are known."""
    drawn = [(_RELIABILITY, _reliability_figure(evaluation))]
    if evaluation.gain:
        axis = "share of conversions among them"
        drawn.append((_GAIN, _curves(evaluation, evaluation.gain, axis)))
    if evaluation.value:
        axis = "share of realised value they hold"
        drawn.append((_VALUE, _curves(evaluation, evaluation.value, axis)))
    if dependence:
        drawn.append((_DEPENDENCE, _dependence_figure(dependence)))
    return drawn


def timeline_figure(as_of: Ints, folds: Sequence[Fold]) -> Figure:
    """Rows (their as-of times, microseconds) a week, and below what each fold does with them."""
    figure = Figure(figsize=(8.0, 2.2 + 0.35 * len(folds)), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 0.6 + 0.4 * len(folds)))
    moments = as_of.astype("M8[us]")
    first, last = moments.min(), max(np.datetime64(fold.end, "us") for fold in folds)
    weeks = np.arange(first, last + np.timedelta64(7, "D"), np.timedelta64(7, "D"))
    upper.hist(moments, bins=weeks, color=_QUIET)
    upper.set(ylabel="rows a week")
    for place, fold in enumerate(folds):
        taught = np.datetime64(fold.origin - fold.embargo, "us")
        origin, end = np.datetime64(fold.origin, "us"), np.datetime64(fold.end, "us")
        spans = ((first, taught, _MAIN, "train"), (taught, origin, _FAINT, "ripening"),
                 (origin, end, _OTHERS[0], "test"))  # fmt: skip
        for start, stop, colour, name in spans:
            label = name if place == 0 else None
            lower.barh(place, stop - start, left=start, height=0.6, color=colour, label=label)
        told = f" {int(fold.train(as_of).sum()):,} teach, {int(fold.test(as_of).sum()):,} judge"
        lower.annotate(told, (first, place), va="center", color="white", fontsize=7)
    lower.set(yticks=range(len(folds)), yticklabels=[f"fold {n + 1}" for n in range(len(folds))])
    lower.invert_yaxis()
    lower.legend(frameon=False, fontsize=7, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    for axes in (upper, lower):
        _tidy(axes)
    return figure


def _reliability_figure(found: Evaluation) -> Figure:
    figure = Figure(figsize=(5.2, 5.0), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    upper.plot([0, 1], [0, 1], color=_QUIET, lw=1, ls=(0, (4, 3)))
    said = np.array([line.predicted for line in found.reliability])
    seen = np.array([line.observed for line in found.reliability])
    low, high = np.array([(line.low, line.high) for line in found.reliability]).T
    reach = np.maximum([seen - low, high - seen], 0)
    upper.errorbar(said, seen, reach, color=_MAIN, fmt="o-", ms=4.5, lw=1.2, capsize=3)
    upper.axhline(found.positive_rate, color=_FAINT, lw=1, zorder=0)
    upper.annotate(
        "base rate",
        (1, found.positive_rate),
        (-2, 3),
        textcoords="offset points",
        ha="right",
        color=_QUIET,
        fontsize=8,
    )
    upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="observed rate")
    steps = np.linspace(0, 1, found.scores.shape[1] + 1)
    lost, won = found.scores
    lower.bar(steps[:-1], won, 0.05, align="edge", color=_MAIN, label="converted")
    lower.bar(steps[:-1], lost, 0.05, won, align="edge", color=_FAINT, label="did not convert")
    lower.set(xlabel="predicted probability", ylabel="rows")
    lower.legend(frameon=False, fontsize=8)
    for axes in (upper, lower):
        _tidy(axes)
    return figure


def _curves(found: Evaluation, curves: Mapping[str, Floats], axis: str) -> Figure:
    """Main's curve over the others; the line of no order; a mark at capacity."""
    figure = Figure(figsize=(5.2, 5.0), layout="constrained")
    axes = figure.subplots()
    axes.axvline(found.capacity, color=_FAINT, lw=1, zorder=0)
    axes.plot([0, 1], [0, 1], color=_QUIET, lw=1, ls=(0, (4, 3)), label="no order")
    for name, curve in curves.items():
        colour, width, dash = _stroke(found, name)
        reached = percent(float(np.interp(found.capacity, SHARES, curve)))
        axes.plot(SHARES, curve, c=colour, lw=width, ls=dash, label=f"{name} ({reached})")
    axes.set(xlim=(0, 1), ylim=(0, 1.01), xlabel="share of rows worked", ylabel=axis)
    title = f"reached with {whole(found.capacity)} of the rows"
    axes.legend(frameon=False, fontsize=8, title=title, title_fontsize=8, loc="lower right")
    _tidy(axes)
    return figure


def _stroke(found: Evaluation, name: str) -> tuple[str, float, str]:
    """Colour, width and dash of a curve, the same in every figure."""
    if name == found.main:
        return _MAIN, 2.4, "-"
    others = [other for other in found.measures if other != found.main]
    if name in others:
        return _OTHERS[others.index(name) % len(_OTHERS)], 1.3, "-"
    return ("black", 1.0, ":") if name == ORACLE else (_MAIN, 1.0, "--")


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_QUIET, labelsize=8)


def svg(figure: Figure) -> str:
    """The figure as an ``<svg>`` element: text stays text, same figure same bytes."""
    page = BytesIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({**_PLAIN, "svg.fonttype": "none", "svg.hashsalt": "leadcast"}):
        figure.savefig(page, format="svg", metadata=nothing)
    drawn = page.getvalue().decode()
    return drawn[drawn.index("<svg") :]


@matplotlib.rc_context(_PLAIN)
def _dependence_figure(found: Sequence[Dependence]) -> Figure:
    figure = Figure(figsize=(5.2, 1.9 * ((len(found) + 1) // 2)), layout="constrained")
    rows = figure.subplots((len(found) + 1) // 2, 2, sharey=True, squeeze=False)
    for axes, one in zip(rows.flat, found, strict=False):
        known = [value for value in one.values if value is not None]
        chance = one.probability[: len(known)]
        words = isinstance(known[0], str) if known else True
        axes.set_title("\n".join(textwrap.wrap(one.feature.name, 36)), fontsize=7)
        axes.plot(known, chance, "o" if words else "o-", color=_MAIN, ms=2.5, lw=1.2)
        if words:
            axes.tick_params(axis="x", rotation=30)
        if None in one.values:
            axes.axhline(one.probability[-1], xmin=0.94, color=_OTHERS[0], lw=2)
        _tidy(axes)
        axes.tick_params(labelsize=6)
    for axes in rows.flat[len(found) :]:
        axes.set_visible(False)
    figure.supylabel("mean probability", fontsize=8, color=_QUIET)
    return figure


def percent(share: float | None) -> str:
    """A share in per cent, a dash for none."""
    return "-" if share is None else f"{100 * share:.1f} %"


def whole(share: float) -> str:
    """A round share in per cent."""
    return f"{100 * share:g} %"
