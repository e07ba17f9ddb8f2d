"""Leaks as businesses really have them, planted into a clean simulated history, one at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.schema import History
from features.source import Evaluation, Population, Source
from features.times import DAY

ROOT = Path(__file__).parent.parent
Draw = np.random.Generator
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Leak:
    """What was planted: the field that an audit must name, and how."""

    field: str
    plant: Callable[[History, Draw], History]


def state(history: History) -> tuple[Bools, Bools]:
    """Of each lead: whether it was won, whether it was settled."""
    outcomes, ids = history.outcomes, history.leads["lead_id"]
    won = ids.isin(outcomes.loc[outcomes["outcome"] == "won", "lead_id"])
    return won.to_numpy(dtype=bool), ids.isin(outcomes["lead_id"]).to_numpy(dtype=bool)


def attribute(history: History, name: str, values: npt.ArrayLike) -> History:
    """The history with another attribute; texts or numbers, None or NaN missing."""
    column = pd.Series(values)
    column = column.astype("float64" if column.dtype.kind in "fiu" else "str")
    return replace(history, leads=history.leads.assign(**{name: column}))


def events(history: History, kind: str, lead_id: pd.Series, occurred: pd.Series) -> History:
    """The history with events of another kind, known the moment they occurred."""
    fresh = pd.DataFrame({"lead_id": lead_id.to_numpy(), "occurred_at": occurred.to_numpy()})
    fresh["occurred_at"] = fresh["occurred_at"].astype(history.events["occurred_at"].dtype)
    fresh["event_id"] = kind + fresh.index.astype("str")
    fresh = fresh.assign(kind=kind, known_at=fresh["occurred_at"])
    every = pd.concat([history.events, fresh], ignore_index=True)
    return replace(history, events=every.astype({"kind": "str", "event_id": "str"}))


def label_copy(history: History, draw: Draw) -> History:
    del draw
    return attribute(history, "is_customer", np.where(state(history)[0], "yes", "no"))


def noisy_label_copy(history: History, draw: Draw) -> History:
    won = state(history)[0]
    said = won ^ (draw.random(len(won)) < 0.1)
    return attribute(history, "rating", np.where(said, "hot", "cold"))


def filled_for_won(history: History, draw: Draw) -> History:
    won = state(history)[0]
    filled = draw.random(len(won)) < np.where(won, 0.6, 0.02)
    return attribute(
        history, "contract", np.where(filled, draw.choice(["1y", "2y"], len(won)), None)
    )


def filled_after_outcome(history: History, draw: Draw) -> History:
    settled = state(history)[1]
    filled = settled & (draw.random(len(settled)) < 0.7)
    words = draw.choice(["good", "fair", "poor"], len(settled))
    return attribute(history, "survey", np.where(filled, words, None))


def backdated_event(history: History, draw: Draw) -> History:
    won = history.outcomes[history.outcomes["outcome"] == "won"]
    won = won[draw.random(len(won)) < 0.8]
    before = pd.to_timedelta(draw.integers(0, 10 * DAY, len(won)), unit="us")
    created = won["lead_id"].map(history.leads.set_index("lead_id")["created_at"])
    return events(
        history, "quote_signed", won["lead_id"], (won["occurred_at"] - before).clip(created)
    )


def category_of_won(history: History, draw: Draw) -> History:
    won = state(history)[0]
    words = draw.choice(["small", "middle", "large"], len(won))
    strategic = won & (draw.random(len(won)) < 0.2)
    return attribute(history, "segment", np.where(strategic, "strategic", words))


def number_in_order_of_outcome(history: History, draw: Draw) -> History:
    del draw
    ids = history.leads["lead_id"]
    ended = history.outcomes.groupby("lead_id")["occurred_at"].min().reindex(ids)
    order = ended.rank(method="first", na_option="bottom").to_numpy()
    return attribute(history, "record_number", 100_000 + order)


def duplicated_leads(history: History, draw: Draw) -> History:
    """One lead in twenty has a copy of itself under another id."""
    ids = history.leads["lead_id"]
    chosen = set(ids[draw.random(len(ids)) < 0.05])
    made = {}
    for name in ("leads", "events", "changes", "outcomes"):
        table: pd.DataFrame = getattr(history, name)
        copies = table[table["lead_id"].isin(chosen)]
        copies = copies.assign(lead_id="copy" + copies["lead_id"])
        made[name] = pd.concat([table, copies], ignore_index=True)
    return History(**made)


def stage_at_export(history: History, draw: Draw) -> History:
    del draw
    stages = history.changes[history.changes["field"] == "stage"]
    last = stages.sort_values("known_at", kind="stable").groupby("lead_id")["value"].last()
    return attribute(history, "stage_now", last.reindex(history.leads["lead_id"]).to_numpy())


def deal_value(history: History, draw: Draw) -> History:
    """The CRM's amount: an estimate for a third of the leads, the deal's own once it is won."""
    won = history.outcomes[history.outcomes["outcome"] == "won"].set_index("lead_id")["deal_value"]
    value = won.reindex(history.leads["lead_id"]).to_numpy()
    guess = np.exp(draw.normal(8.5, 0.8, len(value)))
    guess[draw.random(len(value)) > 1 / 3] = np.nan
    return attribute(history, "amount", np.where(np.isnan(value), guess, value))


def response_after_won(history: History, draw: Draw) -> History:
    won = history.outcomes[history.outcomes["outcome"] == "won"]
    won = won[draw.random(len(won)) < 0.8]
    after = pd.to_timedelta(draw.integers(0, 5 * DAY, len(won)), unit="us")
    return events(history, "onboarding_reply", won["lead_id"], won["occurred_at"] + after)


def invoices(history: History, draw: Draw) -> History:
    won = state(history)[0]
    return attribute(history, "invoices", draw.poisson(np.where(won, 3.0, 0.05)).astype(float))


def engagement_to_come(history: History, draw: Draw) -> History:
    """A marketing tool's total, exported at the end; it misses one event in ten."""
    count = history.events.groupby("lead_id").size().reindex(history.leads["lead_id"], fill_value=0)
    return attribute(history, "engagement", draw.binomial(count.to_numpy(), 0.9).astype(float))


LEAKS = {
    "label copy": Leak("is_customer", label_copy),
    "noisy label copy": Leak("rating", noisy_label_copy),
    "filled only for won": Leak("contract", filled_for_won),
    "filled after the outcome": Leak("survey", filled_after_outcome),
    "event of the outcome, dated before": Leak("quote_signed", backdated_event),
    "category only among won": Leak("segment", category_of_won),
    "number in the order of outcomes": Leak("record_number", number_in_order_of_outcome),
    "duplicated leads": Leak("lead_id", duplicated_leads),
    "final stage as an attribute": Leak("stage_now", stage_at_export),
    "value of the won deal": Leak("amount", deal_value),
    "response after won": Leak("onboarding_reply", response_after_won),
    "number of invoices": Leak("invoices", invoices),
    "engagement to come": Leak("engagement", engagement_to_come),
}


def xeducation_whole(directory: Path) -> Source:
    """X Education with all its columns: the example's declaration without its ``exclude``."""
    text = (ROOT / "examples" / "xeducation.toml").read_text(encoding="utf-8")
    start = text.index("exclude = [")
    path = directory / "xeducation.toml"
    path.write_text(text[:start] + text[text.index("]\n", start) + 2 :], encoding="utf-8")
    return Source.from_toml(path)


def funnel(history: History) -> Source:
    """A simulated history as a source, weekly, four weeks ahead."""
    return Source.from_frames(
        "funnel",
        history=history,
        population=Population("weekly", None, 28 * DAY, 0, "won"),
        evaluation=Evaluation(("2026-01-05",), None),
    )
