"""What the simulated funnel believes: its words, and the chances of a lead from week to week.

A state is four numbers: intent touches learned of in the last 7 days and in the 7 days before (each
capped at 3), the stage, the team. Arrays hold one number a state, in the order of :func:`code`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.times import DAY

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

WEEK = 7 * DAY
HORIZON_WEEKS = 4
STAGES = ("new", "qualified", "proposal", "negotiation")
TEAMS = ("nurture", "sales")
_LAST_STAGE = len(STAGES) - 1

# What the generator believes: effects add on the log of an intensity per week, or on a logit.
_SHAPE = (4, 4, len(STAGES), len(TEAMS))
RECENT, _EARLIER, STAGE, SALES = np.unravel_index(np.arange(np.prod(_SHAPE)), _SHAPE)
HEAT = np.array([0.0, 0.8, 1.3, 1.6])
_STAGE_WIN = np.array([-1.3, 0.0, 0.8, 1.3])
WIN = np.exp(
    -5.0 + HEAT[RECENT] + 0.45 * HEAT[_EARLIER] + _STAGE_WIN[STAGE]
    + 0.1 * HEAT[RECENT] * (STAGE >= 2)
)  # fmt: skip
LOSE = np.exp(-0.35 * HEAT[RECENT] - 0.2 * HEAT[_EARLIER] - 0.12 * STAGE)
INTENT = np.exp(-1.35 + 0.5 * HEAT[RECENT] + 0.3 * HEAT[_EARLIER] + 0.15 * STAGE + 0.25 * SALES)


def logistic(logit: Floats) -> Floats:
    """The probability of log-odds."""
    return np.asarray(1 / (1 + np.exp(-logit)))


ADVANCE = np.where(
    STAGE < _LAST_STAGE,
    logistic(-2.4 + 0.7 * HEAT[RECENT] + 0.3 * HEAT[_EARLIER] + 0.4 * SALES),
    0.0,
)
HAND_OVER = np.where(SALES == 0, logistic(-3.6 + 0.6 * HEAT[RECENT] + 0.3 * STAGE), 0.0)

SOURCES = {  # share of leads, fit, opening intent touches, logit of going straight to sales
    "website": (0.32, 0.15, 0.7, 0.0),
    "paid_search": (0.22, -0.35, 0.5, -0.4),
    "webinar": (0.14, -0.1, 0.4, -0.2),
    "trade_show": (0.12, 0.0, 0.2, 0.4),
    "referral": (0.10, 1.1, 0.6, 0.7),
    "bought_list": (0.10, -1.4, 0.1, -0.8),
}
INDUSTRIES = {  # share of accounts, fit, log value
    "software": (0.24, 0.3, 0.1),
    "manufacturing": (0.20, 0.0, 0.35),
    "retail": (0.18, -0.2, -0.3),
    "finance": (0.14, 0.2, 0.5),
    "healthcare": (0.13, 0.0, 0.2),
    "public": (0.11, -0.4, 0.0),
}
SENIORITIES = {"staff": (0.45, -0.25), "manager": (0.33, 0.1), "executive": (0.22, 0.4)}
COUNTRIES = {"US": 0.4, "DE": 0.18, "GB": 0.16, "FR": 0.14, "JP": 0.12}
CAMPAIGNS = ("brand", "launch", "how_to", "win_back", "partner")
REASONS = ("no response", "price", "competitor", "no budget", "timing")

VALUE_SIGMA = 0.8
GIANT_SHARE, GIANT_SCALE, GIANT_SHAPE = 0.01, 3.0, 2.5
GIANT_MEAN = 1 - GIANT_SHARE + GIANT_SHARE * GIANT_SCALE * GIANT_SHAPE / (GIANT_SHAPE - 1)

LATE_SHARE = 0.04


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


KINDS = {
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
NAMES = tuple(KINDS)
INTENT_SHARES = np.array([kind.rate for kind in list(KINDS.values())[:4]])


def code(recent: Ints | int, earlier: Ints | int, stage: Ints | int, sales: Ints | int) -> Ints:
    """The number of a state, 0..127."""
    return np.asarray(((recent * 4 + earlier) * 4 + stage) * 2 + sales)


def _onward() -> Floats:
    some = np.exp(-INTENT) * np.stack([INTENT**0, INTENT, INTENT**2 / 2])
    counts = np.vstack([some, 1 - some.sum(axis=0)])
    matrix = np.zeros((len(WIN), len(WIN)))
    for recent, advances, hands in np.ndindex(4, 2, 2):
        stage = np.minimum(STAGE + advances, _LAST_STAGE)
        onto = code(recent, RECENT, stage, np.minimum(SALES + hands, 1))
        matrix[np.arange(len(WIN)), onto] += (
            counts[recent]
            * (ADVANCE if advances else 1 - ADVANCE)
            * (HAND_OVER if hands else 1 - HAND_OVER)
        )
    return matrix


ONWARD = _onward()
"""(128, 128): the chance of each state next Monday, given each now, while the lead stays open."""
