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
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.environments import python_of
from benchmarks.protocols import Protocol, Split
from features.language import FeatureSet
from training import baselines, model, recipe
from training.dataset import TrainingSet

Floats = npt.NDArray[np.float64]

OURS, COUNTS, LOGISTIC = "leadcast", "leadcast on plain counts", "logistic regression"
CUT = "leadcast, of ripe rows alone"
BASE_RATE, BAYES, RIDGE = "base rate", "naive Bayes (as Odoo's)", "ridge"
AUTOGLUON = "AutoGluon"
SCRIPT = Path(__file__).parent / "contenders" / "tabular.py"
VERSIONS = " ".join(f"{name}=={version(name)}" for name in ("lightgbm", "scikit-learn"))


@dataclass(frozen=True, eq=False)
class Said:
    """What a rival said of n test rows, and the processor seconds of its fit."""

    cpu: float
    probability: Floats | None = None
    expected_value: Floats | None = None


@dataclass(frozen=True)
class Rival:
    """Someone who learns and predicts; ``key`` is what the answers depend on besides the data.

    ``say`` raises ``RuntimeError`` when it does not run here; ``is_peer``: it is another package.
    """

    name: str
    key: str
    say: Callable[[Split], Said]
    is_peer: bool = False


def rivals(protocol: Protocol, peers: bool, search: int, limit: int) -> list[Rival]:
    """Who takes part in a protocol, ours first; ``peers``: also those of other packages.

    FLAML searches for ``search`` seconds a split, AutoGluon is stopped after ``limit``.
    """
    recipe_key = f"{_digest(*sorted(Path(model.__file__).parent.glob('*.py')))} {VERSIONS}"
    entered = [Rival(OURS, recipe_key, _leadcast)]
    if protocol.by_counts:
        entered.append(Rival(COUNTS, recipe_key, _leadcast_on_counts))
    if any(not split.maturity.known.all() for split in protocol.splits):
        entered.append(Rival(CUT, recipe_key, _leadcast_on_ripe))
    if protocol.predicts_value:
        entered.append(Rival(RIDGE, VERSIONS, _ridge))
    else:
        key = f"{_digest(Path(baselines.__file__), Path(recipe.__file__))} {VERSIONS}"
        entered += [
            Rival(BASE_RATE, key, partial(_baseline, baselines.BaseRate())),
            Rival(BAYES, key, partial(_baseline, baselines.NaiveBayes())),
            Rival(LOGISTIC, key, partial(_baseline, baselines.Scorecard())),
        ]
    return [*entered, *(_peers(protocol.predicts_value, search, limit) if peers else [])]


def plain_counts(data: TrainingSet) -> TrainingSet:
    """The same rows with one feature a kind of event: how often it happened so far."""
    counts = [
        one
        for one in data.features.features
        if one.aggregate == "count" and one.window is None and dict(one.where).get("kind")
    ]
    features = FeatureSet(counts)
    return TrainingSet(data.rows, data.columns[list(features.names)], features)


def _spent() -> float:
    """Processor seconds of this process and its ended children, all threads."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _digest(*files: Path) -> str:
    total = hashlib.sha256()
    for file in files:
        total.update(file.read_bytes())
    return total.hexdigest()


def _leadcast(split: Split) -> Said:
    before = _spent()
    made = model.train(split.past, now=split.now)
    cpu, said = _spent() - before, made.predict_set(split.test)
    return Said(cpu, said.probability, said.expected_value)


def _leadcast_on_ripe(split: Split) -> Said:
    """A cut at the horizon, in place of weights for the outcomes that are not known yet."""
    return _leadcast(replace(split, past=split.teach))


def _leadcast_on_counts(split: Split) -> Said:
    past, test = plain_counts(split.past), plain_counts(split.test)
    return _leadcast(replace(split, past=past, test=test))


def _baseline(contender: baselines.Contender, split: Split) -> Said:
    """With the weights that `leadcast train` gives it."""
    known = split.maturity.known
    teach, stands_for = split.past.where(known), split.maturity.weight[known]
    flat = isinstance(contender, baselines.BaseRate)
    weight = stands_for * (1.0 if flat else recipe.lead_weights(teach.lead_number))
    before = _spent()
    fitted = contender.fit(teach.columns, teach.converted, weight)
    cpu = _spent() - before
    return Said(cpu, probability=fitted.probability(split.test.columns))


def _ridge(split: Split) -> Said:
    """Of the value of every row, won or not, on standardised numbers."""
    before = _spent()
    fitted = make_pipeline(StandardScaler(), Ridge()).fit(split.teach.columns, split.teach.value)
    cpu = _spent() - before
    return Said(cpu, expected_value=fitted.predict(split.test.columns))


def _peers(value: bool, search: int, limit: int) -> list[Rival]:
    tables = ("pandas<3", "pyarrow", "scikit-learn")
    xgboost, catboost = ("xgboost-cpu==3.2.0", *tables), ("catboost==1.2.10", *tables)
    flaml = ("flaml[automl]==2.7.0", *tables)
    autogluon = ("autogluon.tabular[lightgbm,catboost,xgboost]==1.6.3", "pyarrow")
    peer = partial(_peer, value)
    found = [
        peer("LightGBM, its defaults", "lightgbm"),
        peer("XGBoost, its defaults", "xgboost", "xgboost", xgboost),
        peer("CatBoost, its defaults", "catboost", "catboost", catboost),
        peer("FLAML", "flaml", "flaml", flaml, search),
        peer(AUTOGLUON, "autogluon", "autogluon", autogluon, limit),
    ]
    if value:
        found += [
            peer("LightGBM, Tweedie", "lightgbm_tweedie"),
            peer("CatBoost, Tweedie", "catboost_tweedie", "catboost", catboost),
        ]
    return found


def _peer(
    value: bool,
    name: str,
    learner: str,
    environment: str = "",
    packages: tuple[str, ...] = (),
    seconds: int = 0,
) -> Rival:
    """A function of contenders/tabular.py and what it needs installed; no packages: ours.

    ``value``: it is asked for the value of a row, not for the chance that it converts.
    """
    key = " ".join([_digest(SCRIPT), learner, *packages, str(seconds)])
    if not packages:
        key = f"{key} {VERSIONS}"

    def say(split: Split) -> Said:
        try:
            python = python_of(environment, packages)
        except (OSError, subprocess.CalledProcessError) as error:
            raise RuntimeError(f"its packages do not install: {error}") from error
        cpu, said = _run(python, learner, seconds, split, value)
        if value:
            return Said(cpu, expected_value=said)
        return Said(cpu, probability=np.clip(said, 0.0, 1.0))

    return Rival(name, key, say, is_peer=True)


def _run(
    python: Path, learner: str, seconds: int, split: Split, value: bool
) -> tuple[float, Floats]:
    """Processor seconds of the fit, and what was said of the test rows."""
    with TemporaryDirectory() as name:
        directory = Path(name)
        target = split.teach.value if value else split.teach.converted
        marks = {"target": target, "lead": split.teach.lead_number}
        _table(split.teach).assign(**marks).to_parquet(directory / "teach.parquet")
        _table(split.test).to_parquet(directory / "test.parquet")
        command = [str(python), "-W", "ignore", str(SCRIPT), learner, name, str(seconds)]
        environment = {**os.environ, "PYTHONPATH": ""}
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, cwd=name
        )
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        said = pd.read_parquet(directory / "said.parquet")["said"]
        return json.loads(done.stdout.splitlines()[-1])["cpu"], said.to_numpy(dtype=np.float64)


def _table(data: TrainingSet) -> pd.DataFrame:
    """Columns under names that every learner accepts."""
    return data.columns.set_axis([f"x{n}" for n in range(data.columns.shape[1])], axis=1)
