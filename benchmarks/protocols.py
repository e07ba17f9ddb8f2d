"""The protocols of `benchmarks.quality`: which rows teach, which are judged, honest in time.

Each function makes one from ../shared/data (or simulates it) by the path of `leadcast train`: the
source's declaration, its labelled rows, the features known before the first origin.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial

import numpy as np
import pandas as pd

from benchmarks import tkdd
from benchmarks.bar import DATA, ROOT
from features import simulate
from features.schema import History
from features.source import Evaluation, Population, Source
from features.times import duration, micros
from training import timeline
from training.dataset import TrainingSet, build, labelled
from training.experiment import plan, training_set, visible_features
from training.maturity import Maturity

REPEATS, FOLDS = 2, 5


@dataclass(frozen=True, eq=False)
class Split:
    """Rows to learn from and rows to be judged on, which the former know nothing of.

    Of the ``past``, only outcomes known by ``now`` (microseconds; None: all) may be looked at.
    Splits of one ``repeat`` judge different rows.
    """

    name: str
    past: TrainingSet
    test: TrainingSet
    repeat: int = 1
    now: int | None = None

    @cached_property
    def digest(self) -> str:
        """SHA-256 of both."""
        told = f"{self.past.digest}{self.test.digest}{self.now}"
        return hashlib.sha256(told.encode()).hexdigest()

    @cached_property
    def maturity(self) -> Maturity:
        """Which of the past's outcomes are known, and how many rows each stands for."""
        known_at = self.past.known_at
        now = int(known_at.max()) if self.now is None else self.now
        return Maturity.at(now, self.past.as_of, known_at)

    @cached_property
    def teach(self) -> TrainingSet:
        """The past without the rows whose horizon is not over: for who cannot weigh rows."""
        return self.past.where(self.maturity.ripe)


@dataclass(frozen=True, eq=False)
class Protocol:
    """Named splits of one data set.

    - ``truth``: from test rows to the true probability and expected_value; simulated data only
    - ``worth``: the feature that is the deal's value, known beforehand: contenders without a value
      head rank by probability x this
    - ``mean_auc``: the AUC is the mean over the splits, which share no lead; else that of all rows
    - ``predicts_value``: contenders are asked for the expected value, not for the probability
    - ``by_counts``: our recipe on plain counts per kind is a contender, too
    """

    name: str
    title: str
    splits: tuple[Split, ...]
    truth: Callable[[pd.DataFrame], pd.DataFrame] | None = None
    worth: str | None = None
    mean_auc: bool = False
    predicts_value: bool = False
    by_counts: bool = False


def simulated() -> Protocol:
    """The default funnel: 20,000 leads, 18 months; tested on the last 21 labelled weeks."""
    made = simulate.simulate()
    source = Source.from_frames(
        "funnel",
        history=made.history,
        population=Population("weekly", None, duration("28d"), 0, "won"),
        evaluation=Evaluation(("2026-01-05",), None),
    )
    splits = tuple(_rolling(made.history, source))
    return Protocol("simulated", "Simulated funnel", splits, truth=made.truth.at)


def bpic2012() -> Protocol:
    """Daily snapshots of open applications, 30 days ahead, three origins."""
    splits = tuple(_rolling(*_bpic2012()))
    return Protocol("bpic2012", "BPIC 2012, daily snapshots", splits, worth="amount")


def first_offer() -> Protocol:
    """One row a case at its first offer; the daily snapshots from that offer on teach, too."""
    history, source = _bpic2012()
    offered = replace(source.population, at="first O_SENT:COMPLETE", after=None)
    later = replace(source.population, after="O_SENT:COMPLETE")
    offers = labelled(history, offered).assign(_offer=True)
    rows = pd.concat([labelled(history, later).assign(_offer=False), offers])
    order = pd.Series(range(len(history.leads)), history.leads["lead_id"].to_numpy())
    rows = rows.assign(_lead=rows["lead_id"].map(order))
    rows = rows.sort_values(["_lead", "as_of"], kind="stable", ignore_index=True)
    is_offer, rows = rows["_offer"].to_numpy(), rows.drop(columns=["_lead", "_offer"])
    features = plan(history, source).features
    data = build(rows, features, visible_features(history, source.reveals))
    folds = timeline.folds(micros(offers["as_of"]), offered, source.evaluation)
    splits = tuple(
        Split(
            f"origin {number}",
            data.where(fold.past(data.as_of)),
            data.where(fold.test(data.as_of) & is_offer),
            now=fold.origin,
        )
        for number, fold in enumerate(folds, start=1)
    )
    return Protocol("first-offer", "BPIC 2012, first offer", splits, worth="amount")


def xeducation() -> Protocol:
    """A table without times: five origins in the order of the lead numbers."""
    source = _source("xeducation")
    splits = tuple(_rolling(source.load(), source))
    return Protocol(
        "xeducation", "X Education, AUC the mean of five origins", splits, mean_auc=True
    )


def tayko() -> Protocol:
    """Expected value of a table without times: repeated five folds of customers."""
    source = _source("tayko")
    history = source.load()
    planned = plan(history, source)
    followed = training_set(history, source, planned)
    assert isinstance(followed, TrainingSet)
    data = followed.take(np.arange(len(planned.rows)))
    splits = []
    for repeat in range(1, REPEATS + 1):
        fold = np.random.default_rng(repeat).permutation(len(data)) % FOLDS
        splits += [
            Split(f"repeat {repeat}, fold {n + 1}", data.where(fold != n), data.where(fold == n),
                  repeat)
            for n in range(FOLDS)
        ]  # fmt: skip
    return Protocol("tayko", "Tayko, expected value", tuple(splits), predicts_value=True)


def published(task: str) -> Protocol:
    """The TKDD protocol as published: pooled prefixes, outcomes nobody knew yet among them."""
    teach, test = _tkdd().rows(task, honest=False)
    title = f"BPIC 2012, TKDD as published, {task}"
    return Protocol(f"tkdd-{task}", title, (Split("published", teach, test),))


def honest(task: str) -> Protocol:
    """The same on what was known at the split, and before the outcome shows."""
    teach, test = _tkdd().rows(task, honest=True)
    title = f"BPIC 2012, TKDD honest, {task}"
    splits = (Split("honest", teach, test),)
    return Protocol(f"tkdd-honest-{task}", title, splits, by_counts=True)


MAKERS: dict[str, Callable[[], Protocol]] = {
    "simulated": simulated,
    "bpic2012": bpic2012,
    "first-offer": first_offer,
    "xeducation": xeducation,
    "tayko": tayko,
    **{f"tkdd-{task}": partial(published, task) for task in tkdd.TASKS},
    **{f"tkdd-honest-{task}": partial(honest, task) for task in tkdd.TASKS},
}
"""Every protocol by its name, made when asked for."""


def available(name: str) -> bool:
    """Whether the data of a protocol are here."""
    directory = {"simulated": ".", "xeducation": "xeducation", "tayko": "tayko"}
    return name == "simulated" or (DATA / directory.get(name, "bpic2012")).is_dir()


def _source(name: str) -> Source:
    os.environ.setdefault("LEADCAST_DATA", str(DATA))
    return Source.from_toml(ROOT / "examples" / f"{name}.toml")


@lru_cache(maxsize=1)
def _bpic2012() -> tuple[History, Source]:
    source = _source("bpic2012")
    return source.load(), source


@lru_cache(maxsize=1)
def _tkdd() -> tkdd.Prefixes:
    return tkdd.prefixes(_bpic2012()[0])


def _rolling(history: History, source: Source) -> Iterator[Split]:
    """The folds of `leadcast train`."""
    planned = plan(history, source)
    data = training_set(history, source, planned)
    assert isinstance(data, TrainingSet)
    for number, fold in enumerate(planned.folds, start=1):
        past, test = fold.past(data.as_of), fold.test(data.as_of)
        yield Split(f"origin {number}", data.where(past), data.where(test), now=fold.origin)
