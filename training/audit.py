"""The audit: which fields know what nobody could have known, leakage first.

One statistical rule for all data. Leads are compared, won with lost, settled with open, early with
late; all bounds of an audit hold together (:data:`training.seen.ALPHA`, Bonferroni), and it is the
bound, never the point, that must pass a threshold. What a leak is: Kaufman, Rosset, Perlich and
Stitelman (2012), "Leakage in data mining", ACM TKDD 6:4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import pandas as pd

from features.language import FeatureSet
from features.schema import History
from features.source import Population
from features.times import micros
from training.ablation import drops
from training.contrasts import (
    least_odds,
    least_share,
    rank_correlation,
    separation,
)
from training.findings import Finding, Severity
from training.seen import ALPHA, FEWEST, Bools, Seen

HONEST_AUC, CERTAIN_AUC = 0.85, 0.99
"""Whole models of real leads reach an AUC of 0.60 to 0.85: one field alone should not. Above 0.99
a field is the label."""

SMALL, MEDIUM, LARGE = 1.68, 3.47, 6.71
"""Odds ratios of differences of 0.2, 0.5 and 0.8 standard deviations, the small, medium and large
effects of Cohen (1988), where 1 % of the others have it (Chen, Cohen and Chen 2010, Communications
in Statistics: Simulation and Computation 39, 860-864)."""

SHIFT = 0.25
"""A fill rate that falls by so much between tenths of the leads; a quarter, as in the usual limit
of the population stability index (Siddiqi 2006, "Credit Risk Scorecards")."""

HALF_KNOWN = 0.71
"""A rank correlation that explains half of the variance (0.5 ** 0.5)."""

JUMP, NEXT = 1.5, 3.0
"""Log loss that rises by half without one field, and three times as much as without the next: the
strongest honest field of the real data we know raises it by a quarter."""

DUPLICATES = 0.01
"""A share of leads delivered twice that can move an evaluation."""

_EXCLUDE = "leave it out: exclude it in the source, or load its history as changes with known_at"
_REVEALS = "name it in reveals: it is written because of the outcome"
CODES: dict[str, str] = {
    "label-copy": "leave it out: it is the outcome in other words",
    "too-good-alone": _EXCLUDE,
    "knows-final-value": "leave it out, and read the field through changes",
    "knows-future-events": "leave it out, and count the events instead",
    "decides-both-ways": _EXCLUDE,
    "only-among-won": _EXCLUDE,
    "only-among-lost": "look when it is filled in: after the outcome, leave it out",
    "filled-by-outcome": _EXCLUDE,
    "filled-once-settled": _EXCLUDE,
    "fill-drop": "leave it out, or fill it for the newest leads: serving will not have it",
    "newest-lack": "leave it out: leads get it late; or accept it, if it has truly ended",
    "id-like": "leave it out: a number of its own for every lead teaches nothing that lasts",
    "id-in-order-of-outcome": "leave it out: numbers were given when leads settled",
    "duplicated-leads": "keep each lead once: its copy stands on the other side of the split",
    "outcome-event": _REVEALS,
    "after-outcome": _REVEALS,
    "ablation-jump": _EXCLUDE,
}
"""Every code with its remedy, the plainest first: a field bears the first that applies."""


def audit(
    history: History,
    population: Population,
    rows: pd.DataFrame,
    features: FeatureSet,
    *,
    timeless: bool = False,
) -> tuple[Finding, ...]:
    """Look at every field that ``features`` read; one finding a field, blocking ones first.

    ``history`` is without the events that are declared to tell the outcome; ``rows`` are the
    labelled rows (lead_id, as_of, converted). ``timeless`` skips what needs times. The finding of
    a field bears the first code that applies, and the evidence of all. Leads of a table without
    events are never called duplicated: equal forms are not yet equal leads.
    """
    seen = Seen(history, population, rows, features, timeless)
    found = [*_attributes(seen), *_ids(seen)]
    if not timeless:
        found += [*_finals(seen), *_futures(seen), *_duplicates(seen), *_facts(seen)]
    found += _jump(seen)
    return tuple(sorted(_merged(found), key=_gravity))


def _merged(found: list[Finding]) -> Iterator[Finding]:
    by_field: dict[str, list[Finding]] = {}
    for one in found:
        by_field.setdefault(one.field, []).append(one)
    for field, those in by_field.items():
        those.sort(key=_gravity)
        first = those[0]
        more = [f"{one.evidence} ({one.code})" for one in those[1:]]
        evidence = "; ".join([first.evidence, *more])
        yield Finding(first.code, field, first.severity, evidence, first.remedy)


def _gravity(one: Finding) -> tuple[str, int]:
    return one.severity, list(CODES).index(one.code)


def _finding(code: str, field: str, evidence: str, severity: Severity = "blocking") -> Finding:
    return Finding(code, field, severity, evidence, CODES[code])


def _attributes(seen: Seen) -> Iterator[Finding]:
    checks: tuple[Callable[[Seen, str, pd.Series], Iterator[Finding]], ...] = (
        _alone, _values, _filled, _drop, _newest,
    )  # fmt: skip
    if not seen.won.any() or not seen.lost.any():
        return
    for name, column in seen.columns.items():
        for check in checks:
            yield from check(seen, name, column)


def _alone(seen: Seen, name: str, column: pd.Series) -> Iterator[Finding]:
    """One field that tells won from lost, out of fold."""
    found, least = separation(column[seen.judged], seen.won[seen.judged], seen.z)
    if least > HONEST_AUC:
        code = "label-copy" if found > CERTAIN_AUC else "too-good-alone"
        yield _finding(code, name, f"alone it reaches AUC {found:.3f} (at least {least:.3f})")


def _values(seen: Seen, name: str, column: pd.Series) -> Iterator[Finding]:
    """Values found among won only, and values that decide, some for won and some for lost."""
    if column.dtype.kind == "f":
        return
    won, lost = column[seen.won].value_counts(), column[seen.lost].value_counts()
    counts = pd.DataFrame({"won": won, "lost": lost}).fillna(0).astype(int)
    total_won, total = int(seen.won.sum()), int(seen.judged.sum())
    odds = {
        str(value): least_odds(row.won, row.won + row.lost, total_won, total, seen.z)
        for value, row in counts.iterrows()
    }
    up = max(odds, key=lambda value: odds[value][1], default="")
    down = min(odds, key=lambda value: odds[value][1], default="")
    if odds and odds[up][1] > MEDIUM and odds[down][1] < 1 / MEDIUM:
        told = " and ".join(
            f"{v!r} {counts.won[v]:,} won of {counts.won[v] + counts.lost[v]:,}" for v in (up, down)
        )
        yield _finding("decides-both-ways", name, f"its values decide: {told}")
    for value, row in counts.iterrows():
        yield from _pure(seen, name, f"{value!r}", int(row.won), int(row.lost))


def _pure(seen: Seen, name: str, what: str, won: int, lost: int) -> Iterator[Finding]:
    """Something that only won leads, or only lost ones, have, and not by chance."""
    rate, chance = float(seen.won[seen.judged].mean()), ALPHA / seen.comparisons
    if won + lost < FEWEST or (won and lost):
        return
    if won and rate**won < chance:
        yield _finding("only-among-won", name, f"{what}: {won:,} leads, every one won")
    if lost and (1 - rate) ** lost < chance:
        told = f"{what}: {lost:,} leads, none won"
        yield _finding("only-among-lost", name, told, "warning")


def _filled(seen: Seen, name: str, column: pd.Series) -> Iterator[Finding]:
    """Filled more often for won than for lost leads, or for settled than for open ones."""
    filled = column.notna().to_numpy()
    groups = [
        ("filled-by-outcome", seen.won, seen.lost, "won", "lost"),
        ("filled-once-settled", seen.settled, ~seen.settled, "settled", "open"),
    ]
    for code, one, other, word, other_word in groups:
        if min(one.sum(), other.sum()) < FEWEST:
            continue
        odds, least = least_odds(*_share(filled, one), *_share(filled, other), seen.z)
        if max(least, 1 / least) > MEDIUM:
            evidence = (
                f"filled for {filled[one].mean():.1%} of {word} and {filled[other].mean():.1%} of "
                f"{other_word} leads (odds ratio {odds:.3g}, at least {least:.3g})"
            )
            severity: Severity = "blocking" if max(least, 1 / least) > LARGE else "warning"
            yield _finding(code, name, evidence, severity)


def _share(filled: Bools, group: Bools) -> tuple[int, int]:
    return int(filled[group].sum()), int(group.sum())


def _drop(seen: Seen, name: str, column: pd.Series) -> Iterator[Finding]:
    """Filled for older leads, missing for younger ones: training has what serving lacks."""
    filled = column.notna().to_numpy()
    tenths = [_share(filled, seen.tenths == number) for number in range(10)]
    if len(filled) < 10 * FEWEST:
        return
    falls = [
        (hits / of - later / of_later, (hits, of, later, of_later))
        for first, (hits, of) in enumerate(tenths)
        for later, of_later in tenths[first + 1 :]
    ]
    fall, cells = max(falls)
    if fall > SHIFT and least_odds(*cells, seen.z)[1] > LARGE:
        rates = ", ".join(f"{hits / of:.0%}" for hits, of in tenths)
        yield _finding("fill-drop", name, f"filled by tenths of the leads, oldest first: {rates}")


def _newest(seen: Seen, name: str, column: pd.Series) -> Iterator[Finding]:
    """A value that goes with the outcome, and that the newest leads hardly have yet."""
    if column.dtype.kind == "f" or len(column) < 10 * FEWEST:
        return
    newest = seen.tenths == 9
    for value, count in column[~newest].value_counts().items():
        has = (column == value).to_numpy()
        before, now = count / (~newest).sum(), _share(has, newest)
        limit = least_share(now[1] - now[0], now[1], seen.z)
        if before < 1 / 20 or 1 - limit > before / 2:
            continue
        inside = (*_share(seen.won[seen.judged], has[seen.judged]),)
        odds, least = least_odds(*inside, int(seen.won.sum()), int(seen.judged.sum()), seen.z)
        if least > SMALL:
            evidence = (
                f"{value!r} goes with winning (odds ratio {odds:.3g}); {before:.0%} of the older "
                f"leads have it, {now[0] / now[1]:.1%} of the newest tenth"
            )
            yield _finding("newest-lack", name, evidence)


def _ids(seen: Seen) -> Iterator[Finding]:
    """Whole numbers or texts of which every lead has its own."""
    for name, column in seen.columns.items():
        known = column.dropna()
        whole = column.dtype.kind != "f" or bool((known == known.round()).all())
        if len(known) < FEWEST or not whole or known.nunique() < 0.95 * len(known):
            continue
        yield _finding("id-like", name, f"{known.nunique():,} values of {len(known):,}", "warning")
        closed = column.notna().to_numpy() & ~np.isnan(seen.ended)
        if column.dtype.kind != "f" or seen.timeless:
            continue
        created = micros(seen.leads["created_at"]).astype(np.float64)[closed]
        numbers = column.to_numpy()[closed]
        rho, least = rank_correlation(numbers, seen.ended[closed], seen.z, created)
        if least > HALF_KNOWN:
            told = f"it follows the time of the outcome (rank correlation {rho:.2f}), not creation"
            yield _finding("id-in-order-of-outcome", name, told)


def _finals(seen: Seen) -> Iterator[Finding]:
    """Attributes that hold the last value of a field that changed after creation."""
    moves = seen.history.changes.sort_values("known_at", kind="stable")
    for field, of in moves.groupby("field"):
        by_lead = of.groupby("lead_id")["value"]
        ends = pd.DataFrame({"first": by_lead.first(), "last": by_lead.last()})
        moved = ends[ends["first"] != ends["last"]]
        place = seen.place.reindex(moved.index)
        moved, where = moved[place.notna().to_numpy()], place.dropna().astype(int)
        for name, column in seen.columns.items():
            if column.dtype.kind == "f" or len(moved) < FEWEST:
                continue
            held = column.iloc[where].to_numpy()
            last, first = (int((held == moved[w].to_numpy()).sum()) for w in ("last", "first"))
            if last > first and least_share(last, len(moved), seen.z) > 1 / 2:
                told = f"the last value of {field!r} in {last:,} of {len(moved):,} leads"
                yield _finding("knows-final-value", name, f"{told} whose value changed")


def _futures(seen: Seen) -> Iterator[Finding]:
    """Numbers known at creation that follow how many events came after it."""
    numbers = {n: c for n, c in seen.columns.items() if c.dtype.kind == "f"}
    facts = seen.facts
    if not numbers or not len(facts):
        return
    created = micros(seen.leads["created_at"])
    later = facts[facts["occurred"].to_numpy() > created[facts["lead"].to_numpy()]]
    counts = {"all": later.groupby("lead").size()}
    counts |= {str(kind): of.groupby("lead").size() for kind, of in later.groupby("name")}
    for name, column in numbers.items():
        known = column.notna().to_numpy()
        best = (0.0, 0.0, "")
        for kind, count in counts.items():
            came = count.reindex(range(len(column)), fill_value=0).to_numpy(dtype=np.float64)
            if (came > 0).sum() >= FEWEST:
                rho, least = rank_correlation(column.to_numpy()[known], came[known], seen.z)
                best = max(best, (least, rho, kind))
        if best[0] > HALF_KNOWN:
            told = f"rank correlation {best[1]:.2f} with the number of events ({best[2]}) to come"
            yield _finding("knows-future-events", name, told)


def _duplicates(seen: Seen) -> Iterator[Finding]:
    """Leads of the same creation, attributes and events (three or more) under two ids."""
    events = seen.history.events
    size = events.groupby("lead_id").size()
    busy = seen.leads[seen.leads["lead_id"].map(size).fillna(0).to_numpy() >= 3]
    if not len(busy):
        return
    marks = pd.util.hash_pandas_object(events[["kind", "occurred_at"]], index=False)
    mark = marks.groupby(events["lead_id"].to_numpy()).sum()
    same = busy.drop(columns="lead_id").assign(_mark=busy["lead_id"].map(mark).to_numpy())
    copies = int(same.duplicated().sum())
    if copies:
        share = copies / len(busy)
        told = f"{copies:,} leads ({share:.1%}) repeat another: creation, attributes and events"
        yield _finding(
            "duplicated-leads", "lead_id", told, "blocking" if share >= DUPLICATES else "warning"
        )


def _facts(seen: Seen) -> Iterator[Finding]:
    """Kinds of event and values of fields that the outcome wrote, dated before it or after."""
    facts = seen.facts
    facts = facts[~np.isnan(seen.ended[facts["lead"].to_numpy()])]
    end = seen.ended[facts["lead"].to_numpy()]
    after = (facts["occurred"].to_numpy() >= end) | (facts["known"].to_numpy() >= end)
    for name, of in facts.assign(after=after).groupby("name"):
        late, many = int(of["after"].sum()), len(of)
        if many >= FEWEST and least_share(late, many, seen.z) > 1 / 2:
            told = f"{late:,} of {many:,} came at or after their lead's outcome"
            yield _finding("after-outcome", str(name), told, "warning")
        lead = of.loc[~of["after"], "lead"].unique()
        won, lost = int(seen.won[lead].sum()), int((seen.lost & ~seen.won)[lead].sum())
        yield from _pure(seen, str(name), "seen before the outcome", won, lost)
        least = least_share(won, won + lost, seen.z)
        if least > HONEST_AUC:
            told = f"{won:,} of {won + lost:,} leads that had it before their outcome won"
            yield _finding("outcome-event", str(name), told)


def _jump(seen: Seen) -> Iterator[Finding]:
    """One field without which the model loses far more than without any other."""
    found = drops(seen.history, seen.rows, seen.features)
    for first, second in [*pairwise(found)][:1]:
        least = first.ratio - seen.z * first.error
        if least > JUMP and least - 1 > NEXT * (second.ratio - 1):
            with_it, without = first.auc
            told = (
                f"without it log loss is {first.ratio:.2f} times as high (at least {least:.2f}), "
                f"AUC {without:.3f} instead of {with_it:.3f}; without {second.field}, "
                f"{second.ratio:.2f}"
            )
            yield _finding("ablation-jump", first.field, told)
