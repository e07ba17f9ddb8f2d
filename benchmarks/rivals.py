"""Who is compared in `benchmarks.quality`: ours, the baselines, and learners of other packages.

A rival learns from the rows that teach and says something of those that are judged. Learners of
other packages are scripts in environments of their own (benchmarks/contenders/tabular.py); they get
the same table, texts as categories, and no other advice than their documentation gives everybody.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol as Interface

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.environments import python_of
from benchmarks.protocols import Protocol, Split
from features.language import FeatureSet
from training import baselines, model
from training.dataset import TrainingSet
from training.recipe import lead_weights

Floats = npt.NDArray[np.float64]

OURS, COUNTS, LOGISTIC = "leadcast", "leadcast on plain counts", "logistic regression"
AUTOGLUON = "AutoGluon"
SCRIPT = Path(__file__).parent / "contenders" / "tabular.py"


@dataclass(frozen=True, eq=False)
class Said:
    """What a rival said of n test rows, and the processor seconds of its fit."""

    cpu: float
    probability: Floats | None = None
    expected_value: Floats | None = None
    value_low: Floats | None = None
    value_high: Floats | None = None


class Rival(Interface):
    """Something that learns from one part of a split and is judged on the other."""

    @property
    def name(self) -> str: ...

    @property
    def key(self) -> str:
        """What its answers depend on besides the data."""

    def say(self, split: Split, about_value: bool) -> Said:
        """Learn and predict; raises ``RuntimeError`` when it does not run here."""


def spent() -> float:
    """Processor seconds of this process and its ended children, all threads."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def digest_of(*files: Path) -> str:
    """SHA-256 over the content of files, in their order."""
    total = hashlib.sha256()
    for file in files:
        total.update(file.read_bytes())
    return total.hexdigest()


@dataclass(frozen=True)
class Leadcast:
    """The recipe as it is; ``by_counts`` shows it only how often each kind of event happened."""

    by_counts: bool = False

    @property
    def name(self) -> str:
        return COUNTS if self.by_counts else OURS

    @property
    def key(self) -> str:
        return digest_of(*sorted(Path(model.__file__).parent.glob("*.py")))

    def say(self, split: Split, about_value: bool) -> Said:
        del about_value  # it says both
        teach, test = split.teach, split.test
        if self.by_counts:
            teach, test = plain_counts(teach), plain_counts(test)
        before = spent()
        made = model.train(teach)
        cpu, said = spent() - before, made.predict_set(test)
        return Said(
            cpu, said.probability, said.expected_value, said.value_low, said.value_high
        )  # fmt: skip


def plain_counts(data: TrainingSet) -> TrainingSet:
    """The same rows with one feature a kind of event: how often it happened so far."""
    counts = [
        one
        for one in data.features.features
        if one.aggregate == "count" and one.window is None and dict(one.where).get("kind")
    ]
    features = FeatureSet(counts)
    return TrainingSet(data.rows, data.columns[list(features.names)], features)


@dataclass(frozen=True)
class Baseline:
    """One of `training.baselines`, with the weights that `leadcast train` gives it."""

    name: str
    contender: baselines.Contender

    @property
    def key(self) -> str:
        return digest_of(Path(baselines.__file__))

    def say(self, split: Split, about_value: bool) -> Said:
        del about_value
        teach = split.teach
        flat = isinstance(self.contender, baselines.BaseRate)
        weight = np.ones(len(teach)) if flat else lead_weights(teach.lead_number)
        before = spent()
        fitted = self.contender.fit(teach.columns, teach.converted, weight)
        cpu = spent() - before
        return Said(cpu, probability=fitted.probability(split.test.columns))


@dataclass(frozen=True)
class RidgeValue:
    """Ridge regression of the value of every row, won or not, on standardised numbers."""

    name: str = "ridge"
    key: str = "1"

    def say(self, split: Split, about_value: bool) -> Said:
        del about_value
        before = spent()
        fitted = make_pipeline(StandardScaler(), Ridge()).fit(
            split.teach.columns, split.teach.value
        )
        cpu = spent() - before
        return Said(cpu, expected_value=fitted.predict(split.test.columns))


@dataclass(frozen=True)
class Peer:
    """A learner of another package: a function of contenders/tabular.py, what it needs installed.

    ``environment`` is shared by peers of one package; no packages: our environment.
    """

    name: str
    learner: str
    environment: str = ""
    packages: tuple[str, ...] = ()
    seconds: int = 0

    @property
    def key(self) -> str:
        return " ".join([digest_of(SCRIPT), self.learner, *self.packages, str(self.seconds)])

    def say(self, split: Split, about_value: bool) -> Said:
        try:
            python = python_of(self.environment, self.packages)
        except (OSError, subprocess.CalledProcessError) as error:
            raise RuntimeError(f"its packages do not install: {error}") from error
        with TemporaryDirectory() as name:
            directory = Path(name)
            target = split.teach.value if about_value else split.teach.converted
            marks = {"target": target, "lead": split.teach.lead_number}
            _table(split.teach).assign(**marks).to_parquet(directory / "teach.parquet")
            _table(split.test).to_parquet(directory / "test.parquet")
            command = [str(python), "-W", "ignore", str(SCRIPT), self.learner, name]
            done = subprocess.run(
                [*command, str(self.seconds)], capture_output=True, text=True, check=False,
                env={**os.environ, "PYTHONPATH": ""}, cwd=name,
            )  # fmt: skip
            if done.returncode:
                raise RuntimeError(done.stderr[-2000:])
            cpu = json.loads(done.stdout.splitlines()[-1])["cpu"]
            said = pd.read_parquet(directory / "said.parquet")["said"].to_numpy(dtype=float)
        if about_value:
            return Said(cpu, expected_value=said)
        return Said(cpu, probability=np.clip(said, 0.0, 1.0))


def _table(data: TrainingSet) -> pd.DataFrame:
    """Columns under names that every learner accepts."""
    return data.columns.set_axis([f"x{n}" for n in range(data.columns.shape[1])], axis=1)


def rivals(protocol: Protocol, peers: bool, search: int, limit: int) -> list[Rival]:
    """Who takes part in a protocol, ours first; ``peers``: also those of other packages.

    FLAML searches for ``search`` seconds a split, AutoGluon is stopped after ``limit``.
    """
    value = protocol.predicts_value
    entered: list[Rival] = [Leadcast()]
    if protocol.by_counts:
        entered.append(Leadcast(by_counts=True))
    if value:
        entered.append(RidgeValue())
    else:
        entered += [
            Baseline("base rate", baselines.BaseRate()),
            Baseline("naive Bayes (as Odoo's)", baselines.NaiveBayes()),
            Baseline(LOGISTIC, baselines.Scorecard()),
        ]
    return [*entered, *(_peers(value, search, limit) if peers else [])]


def _peers(value: bool, search: int, limit: int) -> list[Peer]:
    common = ("pandas<3", "pyarrow", "scikit-learn")
    cat = ("catboost==1.2.10", *common)
    found = [
        Peer("LightGBM, its defaults", "lightgbm"),
        Peer("XGBoost, its defaults", "xgboost", "xgboost", ("xgboost-cpu==3.2.0", *common)),
        Peer("CatBoost, its defaults", "catboost", "catboost", cat),
    ]
    if value:
        found += [
            Peer("LightGBM, Tweedie", "lightgbm_tweedie"),
            Peer("CatBoost, Tweedie", "catboost_tweedie", "catboost", cat),
        ]
    flaml, gluon = "flaml[automl]==2.7.0", "autogluon.tabular[lightgbm,catboost,xgboost]==1.6.3"
    return [
        *found,
        Peer("FLAML", "flaml", "flaml", (flaml, "pandas<3", "pyarrow"), search),
        Peer(AUTOGLUON, "autogluon", "autogluon", (gluon, "pyarrow"), limit),
    ]
