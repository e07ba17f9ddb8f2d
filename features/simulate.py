"""A seeded marketing and sales funnel whose true probability, value and uplift are known exactly.

Every Monday 00:00 UTC an open lead is in one of 128 states, each readable from what is visible
then: intent touches learned of in the last 7 days and in the 7 days before (each capped at 3),
the stage and the owning team. In the coming week winning and losing are competing hazards,
constant within the week, of that state, the lead's attributes, its age in Mondays and a drifting
market. The four-week chance of winning is therefore an exact sum over paths, not an estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from features import funnel
from features.schema import History
from features.times import DAY, HOUR, SECOND, from_micros, instant

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Truth:
    """What no model may see: for each lead and each Monday it was open, the exact answers.

    ``table``: lead_id, as_of, probability (of winning within 28 days), value (E[deal value | won]),
    uplift (that probability if handed to sales now, minus if left with nurture now; afterwards
    the usual handing-over goes on in both).
    """

    table: pd.DataFrame

    def at(self, spine: pd.DataFrame) -> pd.DataFrame:
        """Answer each row of ``spine`` (lead_id, as_of), one row out per row in, same order.

        Columns out: probability, value, expected_value (their product) and uplift.
        Raises ``ValueError`` where a lead was not open at as_of or as_of is not a Monday 00:00 UTC
        of the simulation.
        """
        keys = ["lead_id", "as_of"]
        found = spine[keys].merge(self.table, on=keys, how="left", validate="m:1")
        missing = found["probability"].isna()
        if missing.any():
            lead, as_of = found.loc[missing, keys].iloc[0]
            raise ValueError(
                f"no truth for {int(missing.sum())} rows, such as lead {lead!r} at {as_of}: "
                "truth is known for open leads on the simulation's Mondays"
            )
        found["expected_value"] = found["probability"] * found["value"]
        found.index = spine.index
        return found[["probability", "value", "expected_value", "uplift"]]

    def to_parquet(self, directory: str | Path) -> None:
        """Write ``truth.parquet`` into ``directory``, which is made when missing."""
        Path(directory).mkdir(parents=True, exist_ok=True)
        self.table.to_parquet(Path(directory) / "truth.parquet", index=False)

    @classmethod
    def from_parquet(cls, directory: str | Path) -> Truth:
        """Read what :meth:`to_parquet` wrote."""
        return cls(pd.read_parquet(Path(directory) / "truth.parquet"))


@dataclass(frozen=True, eq=False)
class Simulation:
    """A history as a business would have recorded it, and the truth behind it."""

    history: History
    truth: Truth

    def write(self, directory: str | Path) -> None:
        """Write leads, events, changes and outcomes as Parquet, and the truth under ``truth/``."""
        target = Path(directory)
        target.mkdir(parents=True, exist_ok=True)
        for name in ("leads", "events", "changes", "outcomes"):
            table: pd.DataFrame = getattr(self.history, name)
            table.to_parquet(target / f"{name}.parquet", index=False)
        self.truth.to_parquet(target / "truth")


def simulate(
    *,
    leads: int = 20_000,
    days: int = 548,
    seed: int = 7,
    end: str = "2026-07-06",
    drift: float = 0.0,
    progress: Callable[[float], None] | None = None,
) -> Simulation:
    """Simulate the whole weeks within the ``days`` before the last Monday at or before ``end``.

    Beside the market's own waves, the log of every chance of winning moves by ``drift`` from the
    first week to the last, in a straight line.

    The defaults give 20,000 leads and over a million events. The same arguments give the same
    tables. The history holds every fact known before that last Monday, and the truth reaches up
    to it. ``progress`` is called with fractions from 0 to 1. Raises ``ValueError`` for fewer than
    one lead or less than a week.
    """
    weeks = days // 7
    if leads < 1 or weeks < 1:
        raise ValueError("a simulation needs at least one lead and seven days")
    monday = instant(end) // DAY
    start = (monday - (monday + 3) % 7) * DAY - weeks * funnel.WEEK  # day 0 of 1970 was a Thursday
    report = progress or _unheard
    report(0.0)
    rng = np.random.default_rng(seed)
    people = _people(leads, weeks, start, drift / weeks, rng)
    walk = _walk(people, weeks, rng)
    report(0.1)
    outcomes = _outcomes(people, walk, start, rng)
    changes = _changes(people, walk, start)
    events = _events(people, walk, start, rng)
    report(0.6)
    truth = _truth(people, walk, start)
    report(1.0)
    return Simulation(History(people.table, events, changes, outcomes), truth)


@dataclass(frozen=True, eq=False)
class _People:
    """One entry a lead; times are microseconds since the start, ``first`` its first Monday.

    ``drift`` is that of the market, a week.
    """

    table: pd.DataFrame
    created: Ints
    first: Ints
    fit: Floats
    lift: Floats
    log_value: Floats
    team: Ints
    opening: Ints
    drift: float


def _people(leads: int, weeks: int, start: int, drift: float, rng: np.random.Generator) -> _People:
    created = np.sort(rng.integers(0, weeks * funnel.WEEK, leads))
    account = rng.permutation(np.repeat(np.arange(leads), rng.geometric(0.6, leads))[:leads])
    size = np.exp(rng.normal(np.log(60), 1.3, leads)).clip(1, 20_000).round()
    size[rng.random(leads) < 0.08] = np.nan
    industry = _pick(rng, [share for share, *_ in funnel.INDUSTRIES.values()], leads)
    country = _pick(rng, list(funnel.COUNTRIES.values()), leads)[account]
    size, industry = size[account], industry[account]
    source = _pick(rng, [share for share, *_ in funnel.SOURCES.values()], leads)
    seniority = _pick(rng, [share for share, _ in funnel.SENIORITIES.values()], leads)
    _, source_fit, opening, to_sales = np.array(list(funnel.SOURCES.values())).T[:, source]
    _, industry_fit, industry_value = np.array(list(funnel.INDUSTRIES.values())).T[:, industry]
    big = np.nan_to_num(np.log(size / 60) / 1.3).clip(-2.5, 2.5)
    table = pd.DataFrame(
        {
            "lead_id": pd.Series(np.arange(leads)).astype("str").str.zfill(6),
            "created_at": from_micros(start + created),
            "account_id": _numbered("a", account),
            "source": _text(funnel.SOURCES, source),
            "industry": _text(funnel.INDUSTRIES, industry),
            "company_size": size,
            "country": _text(funnel.COUNTRIES, country),
            "seniority": _text(funnel.SENIORITIES, seniority),
            "campaign": _text(funnel.CAMPAIGNS, rng.integers(0, len(funnel.CAMPAIGNS), leads)),
        }
    )
    seniority_fit = np.array([fit for _, fit in funnel.SENIORITIES.values()])[seniority]
    return _People(
        table=table,
        created=created,
        first=created // funnel.WEEK + 1,
        fit=source_fit + industry_fit + seniority_fit + 0.25 * big - 0.04 * big**2,
        lift=0.3 + 0.25 * big,
        log_value=8.5 + industry_value + 0.6 * big,
        team=(rng.random(leads) < funnel.logistic(-0.6 + to_sales + 0.6 * big)).astype(np.int64),
        opening=rng.poisson(opening),
        drift=drift,
    )


@dataclass(frozen=True, eq=False)
class _Walk:
    """One entry for each lead and each Monday it was open; ``stop`` ends its open time that week.

    ``advance`` and ``hand_over`` are the times of those moves, ``weeks * WEEK`` when they did not
    happen; ``intent`` counts the touches learned of in the week had the lead stayed open.
    """

    lead: Ints
    week: Ints
    state: Ints
    intent: Ints
    stop: Ints
    won: npt.NDArray[np.bool_]
    lost: npt.NDArray[np.bool_]
    advance: Ints
    hand_over: Ints


def _factors(people: _People, lead: Ints, week: Ints) -> tuple[Floats, Floats]:
    """What multiplies the hazards besides the state: winning under each team, and losing."""
    waves = -0.12 * np.cos(2 * np.pi * week / 150) + 0.06 * np.sin(2 * np.pi * week / 26)
    market = waves + people.drift * week
    age = np.minimum(week - people.first[lead], 26)
    win = np.exp((people.fit[lead] + market)[:, None] + people.lift[lead][:, None] * [0.0, 1.0])
    return win, np.exp(-2.95 - 0.2 * people.fit[lead] + 0.07 * age)


def _walk(people: _People, weeks: int, rng: np.random.Generator) -> _Walk:
    """Let every lead live its weeks: competing hazards, then touches, stage and team."""
    state = funnel.code(np.minimum(people.opening, 3), 0, 0, people.team)
    lead = np.empty(0, dtype=np.int64)
    never = weeks * funnel.WEEK
    pages: list[tuple[npt.NDArray[np.generic], ...]] = []
    for week in range(weeks + 1):
        lead = np.concatenate([lead, np.flatnonzero(people.first == week)])
        now, size, monday = state[lead], len(lead), week * funnel.WEEK
        win, lose = _factors(people, lead, np.full(size, week))
        winning, losing = (
            win[np.arange(size), funnel.SALES[now]] * funnel.WIN[now],
            lose * funnel.LOSE[now],
        )
        lasts = rng.exponential(1 / (winning + losing))
        ends = (lasts < 1) & (week < weeks)
        won = ends & (rng.random(size) * (winning + losing) < winning)
        stop = np.minimum(monday + (np.minimum(lasts, 1) * funnel.WEEK).astype(np.int64), never)
        intent = rng.poisson(funnel.INTENT[now])
        advances, hands = (
            rng.random(size) < funnel.ADVANCE[now],
            rng.random(size) < funnel.HAND_OVER[now],
        )
        advance, hand_over = (
            np.where(moves, monday + rng.integers(0, funnel.WEEK, size), never)
            for moves in (advances, hands)
        )
        pages.append(
            (lead, np.full(size, week), now, intent, stop, won, ends & ~won, advance, hand_over)
        )
        state[lead] = funnel.code(
            np.minimum(intent, 3),
            funnel.RECENT[now],
            funnel.STAGE[now] + advances,
            funnel.SALES[now] + hands,
        )
        lead = lead[~ends]
    return _Walk(*(np.concatenate(column) for column in zip(*pages, strict=True)))


def _outcomes(people: _People, walk: _Walk, start: int, rng: np.random.Generator) -> pd.DataFrame:
    """Every outcome is known before the next Monday, so that an open lead is truly open."""
    row = np.flatnonzero(walk.won | walk.lost)
    row = row[np.argsort(walk.stop[row], kind="stable")]
    lead, at, won = walk.lead[row], walk.stop[row], walk.won[row]
    left = (walk.week[row] + 1) * funnel.WEEK - at
    lag = np.minimum(rng.exponential(HOUR, len(row)), 0.9 * left).astype(np.int64)
    giant = rng.random(len(row)) < funnel.GIANT_SHARE
    factor = np.where(
        giant, funnel.GIANT_SCALE * (1 + rng.pareto(funnel.GIANT_SHAPE, len(row))), 1.0
    )
    value = np.exp(rng.normal(people.log_value[lead], funnel.VALUE_SIGMA)) * factor
    silent = (funnel.RECENT[walk.state[row]] == 0) & (rng.random(len(row)) < 0.7)
    reason = np.where(silent, 0, rng.integers(1, len(funnel.REASONS), len(row)))
    return pd.DataFrame(
        {
            "lead_id": _text(people.table["lead_id"], lead),
            "outcome": _text(("lost", "won"), won.astype(np.int64)),
            "occurred_at": from_micros(start + at),
            "known_at": from_micros(start + at + lag),
            "deal_value": np.where(won, value.round(2), np.nan),
            "reason": _text((*funnel.REASONS, None), np.where(won, len(funnel.REASONS), reason)),
        }
    )


def _changes(people: _People, walk: _Walk, start: int) -> pd.DataFrame:
    """Stage and team at creation, then each move made while the lead was open."""
    words = (*funnel.STAGES, *funnel.TEAMS)
    everyone, advanced = np.arange(len(people.created)), np.flatnonzero(walk.advance < walk.stop)
    handed = np.flatnonzero(walk.hand_over < walk.stop)
    moves = [
        (everyone, people.created, 0 * everyone),
        (everyone, people.created, len(funnel.STAGES) + people.team),
        (walk.lead[advanced], walk.advance[advanced], 1 + funnel.STAGE[walk.state[advanced]]),
        (walk.lead[handed], walk.hand_over[handed], np.full(len(handed), len(words) - 1)),
    ]
    lead, at, word = (np.concatenate(column) for column in zip(*moves, strict=True))
    order = np.argsort(at, kind="stable")
    return pd.DataFrame(
        {
            "lead_id": _text(people.table["lead_id"], lead[order]),
            "change_id": _numbered("c", np.arange(len(order))),
            "field": _text(
                ("stage", "owner_team"), (word[order] >= len(funnel.STAGES)).astype(np.int64)
            ),
            "value": _text(words, word[order]),
            "known_at": from_micros(start + at[order]),
        }
    )


def _touches(people: _People, walk: _Walk, rng: np.random.Generator) -> tuple[Ints, Ints, Ints]:
    """Lead, kind and known time of every touch, in the order in which they became known.

    Drawn for each open stretch: from creation to the first Monday, then from Monday to Monday.
    """
    lead = np.concatenate([np.arange(len(people.created)), walk.lead])
    begin = np.concatenate([people.created, walk.week * funnel.WEEK])
    stop = np.concatenate([people.first * funnel.WEEK, walk.stop])
    state = np.concatenate([funnel.code(0 * people.team, 0, 0, people.team), walk.state])
    row = np.repeat(np.arange(len(lead)), np.concatenate([people.opening, walk.intent]))
    rows, kinds = [row], [_pick(rng, funnel.INTENT_SHARES, len(row))]
    for code in range(len(funnel.INTENT_SHARES), len(funnel.KINDS)):
        kind = funnel.KINDS[funnel.NAMES[code]]
        effects = (
            kind.heat * funnel.HEAT[funnel.RECENT]
            + kind.stage * funnel.STAGE
            + kind.sales * funnel.SALES
        )
        mean = kind.rate * np.exp(effects)[state] * (begin // funnel.WEEK + 1 - begin / funnel.WEEK)
        rows.append(np.repeat(np.arange(len(lead)), rng.poisson(mean)))
        kinds.append(np.full(len(rows[-1]), code))
    row, kind_of = np.concatenate(rows), np.concatenate(kinds)
    length = (begin // funnel.WEEK + 1) * funnel.WEEK - begin
    known = begin[row] + (rng.random(len(row)) * length[row]).astype(np.int64)
    order = np.argsort(known, kind="stable")
    order = order[(known < stop[row])[order]]
    return lead[row[order]], kind_of[order], known[order]


def _events(people: _People, walk: _Walk, start: int, rng: np.random.Generator) -> pd.DataFrame:
    lead, kind, known = _touches(people, walk, rng)
    size = len(lead)
    late = rng.random(size) < funnel.LATE_SHARE
    lag = np.where(late, HOUR + rng.exponential(DAY, size), rng.exponential(20 * SECOND, size))
    occurred = np.maximum(known - lag.astype(np.int64), people.created[lead])
    value, attendees = np.full(size, np.nan), np.full(size, np.nan)
    words = sorted({page for declared in funnel.KINDS.values() for page in declared.pages})
    page, campaign = np.full(size, len(words)), np.full(size, len(funnel.CAMPAIGNS))
    for code, declared in enumerate(funnel.KINDS.values()):
        where = np.flatnonzero(kind == code)
        value[where] = rng.gamma(2.0, declared.value / 2, len(where)).round(1)
        if declared.people:
            attendees[where] = 1 + rng.poisson(0.8, len(where))
        if declared.pages:
            chosen = np.searchsorted(words, declared.pages)
            page[where] = chosen[rng.integers(0, len(chosen), len(where))]
        if declared.channel in ("email", "ads", "event"):
            campaign[where] = rng.integers(0, len(funnel.CAMPAIGNS), len(where))
    return pd.DataFrame(
        {
            "lead_id": _text(people.table["lead_id"], lead),
            "event_id": _numbered("e", np.arange(size)),
            "kind": _text(funnel.NAMES, kind),
            "occurred_at": from_micros(start + occurred),
            "known_at": from_micros(start + known),
            "channel": _text([declared.channel for declared in funnel.KINDS.values()], kind),
            "campaign": _text((*funnel.CAMPAIGNS, None), campaign),
            "value": value,
            "page": _text((*words, None), page),
            "attendees": attendees,
        }
    )


def _truth(people: _People, walk: _Walk, start: int) -> Truth:
    probability, uplift = np.empty(len(walk.lead)), np.empty(len(walk.lead))
    for begin in range(0, len(walk.lead), 4096):
        part = slice(begin, begin + 4096)
        state = walk.state[part]
        every = np.arange(len(state))
        chance = _chance(people, walk.lead[part], walk.week[part])
        nurture = state - funnel.SALES[state]
        probability[part] = chance[every, state]
        uplift[part] = chance[every, nurture + 1] - chance[every, nurture]
    mean = np.exp(people.log_value + funnel.VALUE_SIGMA**2 / 2) * funnel.GIANT_MEAN
    return Truth(
        pd.DataFrame(
            {
                "lead_id": _text(people.table["lead_id"], walk.lead),
                "as_of": from_micros(start + walk.week * funnel.WEEK),
                "probability": probability,
                "value": mean[walk.lead],
                "uplift": uplift,
            }
        )
    )


def _chance(people: _People, lead: Ints, week: Ints) -> Floats:
    """The chance of winning within the horizon from every state: backward, Monday by Monday."""
    chance = np.zeros((len(lead), len(funnel.WIN)))
    for ahead in reversed(range(funnel.HORIZON_WEEKS)):
        win, lose = _factors(people, lead, week + ahead)
        winning = (win[:, None, :] * funnel.WIN.reshape(-1, len(funnel.TEAMS))).reshape(
            chance.shape
        )
        hazard = winning + lose[:, None] * funnel.LOSE
        stays = np.exp(-hazard)
        chance = (1 - stays) * winning / hazard + stays * (chance @ funnel.ONWARD.T)
    return chance


def _unheard(_: float) -> None:
    """Take progress when nobody asked for it."""


def _pick(rng: np.random.Generator, shares: Sequence[float] | Floats, size: int) -> Ints:
    return rng.choice(len(shares), size=size, p=np.asarray(shares))


def _text(words: Iterable[str | None], codes: Ints) -> pd.Series:
    return pd.Series(list(words), dtype="str").take(codes).reset_index(drop=True)


def _numbered(prefix: str, numbers: Ints) -> pd.Series:
    return prefix + pd.Series(numbers).astype("str").str.zfill(7)
