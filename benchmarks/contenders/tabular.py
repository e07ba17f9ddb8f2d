"""Tabular learners as they come, for `benchmarks.quality`.

    python tabular.py <learner> <directory> <seconds>

Reads teach.parquet and test.parquet: the columns x0, x1, ... (numbers, and texts as categories), in
teach also ``target`` (a label, or an amount) and ``lead`` (rows of one belong together). Writes
said.parquet, the column ``said`` (a probability, or an amount), and prints a JSON line: processor
seconds of the fit, all threads and child processes. ``seconds`` is the time that a learner that
searches is given.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

warnings.simplefilter("ignore")
directory, seconds = Path(sys.argv[2]), int(sys.argv[3])
teach = pd.read_parquet(directory / "teach.parquet")
test = pd.read_parquet(directory / "test.parquet")
target, lead = teach.pop("target").to_numpy(), teach.pop("lead").to_numpy()
REPEATED = len(np.unique(lead)) < len(lead)
IS_LABEL = target.dtype == bool
TEXTS = [name for name in teach if not pd.api.types.is_numeric_dtype(teach[name])]

Said = Callable[[], Any]
"""The prediction for the test rows, after the fit."""


def categories() -> None:
    """Texts become categories of the training rows; one never seen there is missing."""
    for name in TEXTS:
        known = pd.CategoricalDtype(sorted(teach[name].dropna().unique()))
        teach[name], test[name] = teach[name].astype(known), test[name].astype(known)


def chance(model: Any) -> Said:
    return lambda: model.predict_proba(test)[:, 1] if IS_LABEL else model.predict(test)


def lightgbm() -> Said:
    import lightgbm as lgb

    categories()
    made = lgb.LGBMClassifier(verbose=-1) if IS_LABEL else lgb.LGBMRegressor(verbose=-1)
    return chance(made.fit(teach, target))


def lightgbm_tweedie() -> Said:
    import lightgbm as lgb

    categories()
    return chance(lgb.LGBMRegressor(verbose=-1, objective="tweedie").fit(teach, target))


def xgboost() -> Said:
    import xgboost as xgb

    categories()
    made = xgb.XGBClassifier if IS_LABEL else xgb.XGBRegressor
    return chance(made(enable_categorical=True).fit(teach, target))


def catboost(**options: Any) -> Said:
    import catboost as cb

    for frame in (teach, test):
        frame[TEXTS] = frame[TEXTS].astype(object).fillna("")
    made = cb.CatBoostClassifier if IS_LABEL else cb.CatBoostRegressor
    model = made(verbose=0, allow_writing_files=False, cat_features=TEXTS, **options)
    return chance(model.fit(teach, target))


def catboost_tweedie() -> Said:
    return catboost(loss_function="Tweedie:variance_power=1.5")


def flaml() -> Said:
    """Searches for ``seconds``; its folds keep the rows of a lead together."""
    from flaml import AutoML

    categories()
    grouped = {"split_type": "group", "groups": lead} if REPEATED else {}
    task, metric = ("classification", "log_loss") if IS_LABEL else ("regression", "rmse")
    model = AutoML()
    model.fit(
        X_train=teach, y_train=target.astype(float if not IS_LABEL else int), task=task,
        metric=metric, time_budget=seconds, seed=0, verbose=0, **grouped,
    )  # fmt: skip
    return chance(model)


def autogluon() -> Said:
    """All its models but neural nets, tuned on a fifth of the leads; at most ``seconds``."""
    from autogluon.tabular import TabularPredictor

    held = np.random.default_rng(0).random(lead.max() + 1)[lead] < 0.2
    table = teach.assign(target=target)
    model = TabularPredictor(
        "target", path=tempfile.mkdtemp(dir=directory), verbosity=0,
        problem_type="binary" if IS_LABEL else "regression",
        eval_metric="log_loss" if IS_LABEL else "rmse",
    ).fit(
        table[~held], tuning_data=table[held], time_limit=seconds,
        excluded_model_types=["NN_TORCH", "FASTAI"],
    )  # fmt: skip
    return lambda: model.predict_proba(test)[True] if IS_LABEL else model.predict(test)


def cost() -> float:
    """Processor seconds so far, those of child processes that ended included."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


LEARNERS: dict[str, Callable[[], Said]] = {
    made.__name__: made
    for made in (
        lightgbm, lightgbm_tweedie, xgboost, catboost, catboost_tweedie, flaml, autogluon,
    )
}  # fmt: skip

before = cost()
predict = LEARNERS[sys.argv[1]]()
spent = cost() - before
said = np.asarray(predict(), dtype=float)
pd.DataFrame({"said": said}).to_parquet(directory / "said.parquet")
print(json.dumps({"cpu": spent}))
