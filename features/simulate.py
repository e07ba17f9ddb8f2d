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

from features.schema import History
from features.times import DAY, HOUR, SECOND, from_micros, instant

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

WEEK = 7 * DAY
HORIZON_WEEKS = 4
STAGES = ("new", "qualified", "proposal", "negotiation")
TEAMS = ("nurture", "sales")
_LAST_STAGE = len(STAGES) - 1

# What the generator believes: effects add on the log of an intensity per week, or on a logit.
_SHAPE = (4, 4, len(STAGES), len(TEAMS))
_RECENT, _EARLIER, _STAGE, _SALES = np.unravel_index(np.arange(np.prod(_SHAPE)), _SHAPE)
_HEAT = np.array([0.0, 0.8, 1.3, 1.6])
_STAGE_WIN = np.array([-1.3, 0.0, 0.8, 1.3])
_WIN = np.exp(
    -5.0 + _HEAT[_RECENT] + 0.45 * _HEAT[_EARLIER] + _STAGE_WIN[_STAGE]
    + 0.1 * _HEAT[_RECENT] * (_STAGE >= 2)
)  # fmt: skip
_LOSE = np.exp(-0.35 * _HEAT[_RECENT] - 0.2 * _HEAT[_EARLIER] - 0.12 * _STAGE)
_INTENT = np.exp(
    -1.35 + 0.5 * _HEAT[_RECENT] + 0.3 * _HEAT[_EARLIER] + 0.15 * _STAGE + 0.25 * _SALES
)


def _logistic(logit: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-logit)))


_ADVANCE = np.where(
    _STAGE < _LAST_STAGE,
    _logistic(-2.4 + 0.7 * _HEAT[_RECENT] + 0.3 * _HEAT[_EARLIER] + 0.4 * _SALES),
    0.0,
)
_HAND_OVER = np.where(_SALES == 0, _logistic(-3.6 + 0.6 * _HEAT[_RECENT] + 0.3 * _STAGE), 0.0)

_SOURCES = {  # share of leads, fit, opening intent touches, logit of going straight to sales
    "website": (0.32, 0.15, 0.7, 0.0),
    "paid_search": (0.22, -0.35, 0.5, -0.4),
    "webinar": (0.14, -0.1, 0.4, -0.2),
    "trade_show": (0.12, 0.0, 0.2, 0.4),
    "referral": (0.10, 1.1, 0.6, 0.7),
    "bought_list": (0.10, -1.4, 0.1, -0.8),
}
_INDUSTRIES = {  # share of accounts, fit, log value
    "software": (0.24, 0.3, 0.1),
    "manufacturing": (0.20, 0.0, 0.35),
    "retail": (0.18, -0.2, -0.3),
    "finance": (0.14, 0.2, 0.5),
    "healthcare": (0.13, 0.0, 0.2),
    "public": (0.11, -0.4, 0.0),
}
_SENIORITIES = {"staff": (0.45, -0.25), "manager": (0.33, 0.1), "executive": (0.22, 0.4)}
_COUNTRIES = {"US": 0.4, "DE": 0.18, "GB": 0.16, "FR": 0.14, "JP": 0.12}
_CAMPAIGNS = ("brand", "launch", "how_to", "win_back", "partner")
_REASONS = ("no response", "price", "competitor", "no budget", "timing")

_VALUE_SIGMA = 0.8
_GIANT_SHARE, _GIANT_SCALE, _GIANT_SHAPE = 0.01, 3.0, 2.5
_GIANT_MEAN = 1 - _GIANT_SHARE + _GIANT_SHARE * _GIANT_SCALE * _GIANT_SHAPE / (_GIANT_SHAPE - 1)

_LATE_SHARE = 0.04


@dataclass(frozen=True)
class _Kind:
    """One kind of touch: touches a week in the coldest state, and what moves them (on the log)."""

    channel: str
    rate: float
    heat: float = 0.0
    stage: float = 0.0
    sales: float = 0.0
    value: float = float("nan")
    people: bool = False
    pages: tuple[str, ...] = ()


_KINDS = {
    # Intent, whose rate is the chain's own: here it is the share of intent touches.
    "pricing_visit": _Kind("web", 0.45, value=90, pages=("pricing",)),
    "form_submit": _Kind("web", 0.20, value=150, pages=("contact", "download")),
    "reply": _Kind("email", 0.20),
    "demo_request": _Kind("web", 0.15, value=120, pages=("demo",)),
    # Everything else follows the state and says no more than the state does.
    "email_open": _Kind("email", 1.45, heat=0.25),
    "email_click": _Kind("email", 0.45, heat=0.4),
    "page_visit": _Kind(
        "web", 1.55, heat=0.35, stage=0.1, value=60,
        pages=("home", "product", "docs", "blog", "customers"),
    ),
    "ad_view": _Kind("ads", 0.75),
    "webinar": _Kind("event", 0.08, heat=0.3, value=40, people=True),
    "call": _Kind("phone", 0.12, stage=0.25, sales=1.5, value=8, people=True),
    "meeting": _Kind("event", 0.04, stage=0.5, sales=1.2, value=35, people=True),
}  # fmt: skip
_NAMES = tuple(_KINDS)
_INTENT_SHARES = np.array([kind.rate for kind in list(_KINDS.values())[:4]])


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
    start = (monday - (monday + 3) % 7) * DAY - weeks * WEEK  # day 0 of 1970 was a Thursday
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
    created = np.sort(rng.integers(0, weeks * WEEK, leads))
    account = rng.permutation(np.repeat(np.arange(leads), rng.geometric(0.6, leads))[:leads])
    size = np.exp(rng.normal(np.log(60), 1.3, leads)).clip(1, 20_000).round()
    size[rng.random(leads) < 0.08] = np.nan
    industry = _pick(rng, [share for share, *_ in _INDUSTRIES.values()], leads)
    country = _pick(rng, list(_COUNTRIES.values()), leads)[account]
    size, industry = size[account], industry[account]
    source = _pick(rng, [share for share, *_ in _SOURCES.values()], leads)
    seniority = _pick(rng, [share for share, _ in _SENIORITIES.values()], leads)
    _, source_fit, opening, to_sales = np.array(list(_SOURCES.values())).T[:, source]
    _, industry_fit, industry_value = np.array(list(_INDUSTRIES.values())).T[:, industry]
    big = np.nan_to_num(np.log(size / 60) / 1.3).clip(-2.5, 2.5)
    table = pd.DataFrame(
        {
            "lead_id": pd.Series(np.arange(leads)).astype("str").str.zfill(6),
            "created_at": from_micros(start + created),
            "account_id": _numbered("a", account),
            "source": _text(_SOURCES, source),
            "industry": _text(_INDUSTRIES, industry),
            "company_size": size,
            "country": _text(_COUNTRIES, country),
            "seniority": _text(_SENIORITIES, seniority),
            "campaign": _text(_CAMPAIGNS, rng.integers(0, len(_CAMPAIGNS), leads)),
        }
    )
    seniority_fit = np.array([fit for _, fit in _SENIORITIES.values()])[seniority]
    return _People(
        table=table,
        created=created,
        first=created // WEEK + 1,
        fit=source_fit + industry_fit + seniority_fit + 0.25 * big - 0.04 * big**2,
        lift=0.3 + 0.25 * big,
        log_value=8.5 + industry_value + 0.6 * big,
        team=(rng.random(leads) < _logistic(-0.6 + to_sales + 0.6 * big)).astype(np.int64),
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
    state = _code(np.minimum(people.opening, 3), 0, 0, people.team)
    lead = np.empty(0, dtype=np.int64)
    never = weeks * WEEK
    pages: list[tuple[npt.NDArray[np.generic], ...]] = []
    for week in range(weeks + 1):
        lead = np.concatenate([lead, np.flatnonzero(people.first == week)])
        now, size, monday = state[lead], len(lead), week * WEEK
        win, lose = _factors(people, lead, np.full(size, week))
        winning, losing = win[np.arange(size), _SALES[now]] * _WIN[now], lose * _LOSE[now]
        lasts = rng.exponential(1 / (winning + losing))
        ends = (lasts < 1) & (week < weeks)
        won = ends & (rng.random(size) * (winning + losing) < winning)
        stop = np.minimum(monday + (np.minimum(lasts, 1) * WEEK).astype(np.int64), never)
        intent = rng.poisson(_INTENT[now])
        advances, hands = rng.random(size) < _ADVANCE[now], rng.random(size) < _HAND_OVER[now]
        advance, hand_over = (
            np.where(moves, monday + rng.integers(0, WEEK, size), never)
            for moves in (advances, hands)
        )
        pages.append(
            (lead, np.full(size, week), now, intent, stop, won, ends & ~won, advance, hand_over)
        )
        state[lead] = _code(
            np.minimum(intent, 3), _RECENT[now], _STAGE[now] + advances, _SALES[now] + hands
        )
        lead = lead[~ends]
    return _Walk(*(np.concatenate(column) for column in zip(*pages, strict=True)))


def _outcomes(people: _People, walk: _Walk, start: int, rng: np.random.Generator) -> pd.DataFrame:
    """Every outcome is known before the next Monday, so that an open lead is truly open."""
    row = np.flatnonzero(walk.won | walk.lost)
    row = row[np.argsort(walk.stop[row], kind="stable")]
    lead, at, won = walk.lead[row], walk.stop[row], walk.won[row]
    left = (walk.week[row] + 1) * WEEK - at
    lag = np.minimum(rng.exponential(HOUR, len(row)), 0.9 * left).astype(np.int64)
    giant = rng.random(len(row)) < _GIANT_SHARE
    factor = np.where(giant, _GIANT_SCALE * (1 + rng.pareto(_GIANT_SHAPE, len(row))), 1.0)
    value = np.exp(rng.normal(people.log_value[lead], _VALUE_SIGMA)) * factor
    silent = (_RECENT[walk.state[row]] == 0) & (rng.random(len(row)) < 0.7)
    reason = np.where(silent, 0, rng.integers(1, len(_REASONS), len(row)))
    return pd.DataFrame(
        {
            "lead_id": _text(people.table["lead_id"], lead),
            "outcome": _text(("lost", "won"), won.astype(np.int64)),
            "occurred_at": from_micros(start + at),
            "known_at": from_micros(start + at + lag),
            "deal_value": np.where(won, value.round(2), np.nan),
            "reason": _text((*_REASONS, None), np.where(won, len(_REASONS), reason)),
        }
    )


def _changes(people: _People, walk: _Walk, start: int) -> pd.DataFrame:
    """Stage and team at creation, then each move made while the lead was open."""
    words = (*STAGES, *TEAMS)
    everyone, advanced = np.arange(len(people.created)), np.flatnonzero(walk.advance < walk.stop)
    handed = np.flatnonzero(walk.hand_over < walk.stop)
    moves = [
        (everyone, people.created, 0 * everyone),
        (everyone, people.created, len(STAGES) + people.team),
        (walk.lead[advanced], walk.advance[advanced], 1 + _STAGE[walk.state[advanced]]),
        (walk.lead[handed], walk.hand_over[handed], np.full(len(handed), len(words) - 1)),
    ]
    lead, at, word = (np.concatenate(column) for column in zip(*moves, strict=True))
    order = np.argsort(at, kind="stable")
    return pd.DataFrame(
        {
            "lead_id": _text(people.table["lead_id"], lead[order]),
            "change_id": _numbered("c", np.arange(len(order))),
            "field": _text(("stage", "owner_team"), (word[order] >= len(STAGES)).astype(np.int64)),
            "value": _text(words, word[order]),
            "known_at": from_micros(start + at[order]),
        }
    )


def _touches(people: _People, walk: _Walk, rng: np.random.Generator) -> tuple[Ints, Ints, Ints]:
    """Lead, kind and known time of every touch, in the order in which they became known.

    Drawn for each open stretch: from creation to the first Monday, then from Monday to Monday.
    """
    lead = np.concatenate([np.arange(len(people.created)), walk.lead])
    begin = np.concatenate([people.created, walk.week * WEEK])
    stop = np.concatenate([people.first * WEEK, walk.stop])
    state = np.concatenate([_code(0 * people.team, 0, 0, people.team), walk.state])
    row = np.repeat(np.arange(len(lead)), np.concatenate([people.opening, walk.intent]))
    rows, kinds = [row], [_pick(rng, _INTENT_SHARES, len(row))]
    for code in range(len(_INTENT_SHARES), len(_KINDS)):
        kind = _KINDS[_NAMES[code]]
        effects = kind.heat * _HEAT[_RECENT] + kind.stage * _STAGE + kind.sales * _SALES
        mean = kind.rate * np.exp(effects)[state] * (begin // WEEK + 1 - begin / WEEK)
        rows.append(np.repeat(np.arange(len(lead)), rng.poisson(mean)))
        kinds.append(np.full(len(rows[-1]), code))
    row, kind_of = np.concatenate(rows), np.concatenate(kinds)
    length = (begin // WEEK + 1) * WEEK - begin
    known = begin[row] + (rng.random(len(row)) * length[row]).astype(np.int64)
    order = np.argsort(known, kind="stable")
    order = order[(known < stop[row])[order]]
    return lead[row[order]], kind_of[order], known[order]


def _events(people: _People, walk: _Walk, start: int, rng: np.random.Generator) -> pd.DataFrame:
    lead, kind, known = _touches(people, walk, rng)
    size = len(lead)
    late = rng.random(size) < _LATE_SHARE
    lag = np.where(late, HOUR + rng.exponential(DAY, size), rng.exponential(20 * SECOND, size))
    occurred = np.maximum(known - lag.astype(np.int64), people.created[lead])
    value, attendees = np.full(size, np.nan), np.full(size, np.nan)
    words = sorted({page for declared in _KINDS.values() for page in declared.pages})
    page, campaign = np.full(size, len(words)), np.full(size, len(_CAMPAIGNS))
    for code, declared in enumerate(_KINDS.values()):
        where = np.flatnonzero(kind == code)
        value[where] = rng.gamma(2.0, declared.value / 2, len(where)).round(1)
        if declared.people:
            attendees[where] = 1 + rng.poisson(0.8, len(where))
        if declared.pages:
            chosen = np.searchsorted(words, declared.pages)
            page[where] = chosen[rng.integers(0, len(chosen), len(where))]
        if declared.channel in ("email", "ads", "event"):
            campaign[where] = rng.integers(0, len(_CAMPAIGNS), len(where))
    return pd.DataFrame(
        {
            "lead_id": _text(people.table["lead_id"], lead),
            "event_id": _numbered("e", np.arange(size)),
            "kind": _text(_NAMES, kind),
            "occurred_at": from_micros(start + occurred),
            "known_at": from_micros(start + known),
            "channel": _text([declared.channel for declared in _KINDS.values()], kind),
            "campaign": _text((*_CAMPAIGNS, None), campaign),
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
        nurture = state - _SALES[state]
        probability[part] = chance[every, state]
        uplift[part] = chance[every, nurture + 1] - chance[every, nurture]
    mean = np.exp(people.log_value + _VALUE_SIGMA**2 / 2) * _GIANT_MEAN
    return Truth(
        pd.DataFrame(
            {
                "lead_id": _text(people.table["lead_id"], walk.lead),
                "as_of": from_micros(start + walk.week * WEEK),
                "probability": probability,
                "value": mean[walk.lead],
                "uplift": uplift,
            }
        )
    )


def _chance(people: _People, lead: Ints, week: Ints) -> Floats:
    """The chance of winning within the horizon from every state: backward, Monday by Monday."""
    chance = np.zeros((len(lead), len(_WIN)))
    for ahead in reversed(range(HORIZON_WEEKS)):
        win, lose = _factors(people, lead, week + ahead)
        winning = (win[:, None, :] * _WIN.reshape(-1, len(TEAMS))).reshape(chance.shape)
        hazard = winning + lose[:, None] * _LOSE
        stays = np.exp(-hazard)
        chance = (1 - stays) * winning / hazard + stays * (chance @ _ONWARD.T)
    return chance


def _code(recent: Ints | int, earlier: Ints | int, stage: Ints | int, sales: Ints | int) -> Ints:
    return np.asarray(((recent * 4 + earlier) * 4 + stage) * 2 + sales)


def _onward() -> Floats:
    """The chance of each state next Monday, given each state now, for a lead that stays open."""
    some = np.exp(-_INTENT) * np.stack([_INTENT**0, _INTENT, _INTENT**2 / 2])
    counts = np.vstack([some, 1 - some.sum(axis=0)])
    matrix = np.zeros((len(_WIN), len(_WIN)))
    for recent, advances, hands in np.ndindex(4, 2, 2):
        stage = np.minimum(_STAGE + advances, _LAST_STAGE)
        onto = _code(recent, _RECENT, stage, np.minimum(_SALES + hands, 1))
        matrix[np.arange(len(_WIN)), onto] += (
            counts[recent]
            * (_ADVANCE if advances else 1 - _ADVANCE)
            * (_HAND_OVER if hands else 1 - _HAND_OVER)
        )
    return matrix


_ONWARD = _onward()


def _unheard(_: float) -> None:
    """Take progress when nobody asked for it."""


def _pick(rng: np.random.Generator, shares: Sequence[float] | Floats, size: int) -> Ints:
    return rng.choice(len(shares), size=size, p=np.asarray(shares))


def _text(words: Iterable[str | None], codes: Ints) -> pd.Series:
    return pd.Series(list(words), dtype="str").take(codes).reset_index(drop=True)


def _numbered(prefix: str, numbers: Ints) -> pd.Series:
    return prefix + pd.Series(numbers).astype("str").str.zfill(7)
