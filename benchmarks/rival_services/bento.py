"""BentoML as it comes: default configuration, a synchronous API, arrays in and out."""

from __future__ import annotations

import os

import bentoml
import lightgbm as lgb
import numpy as np


@bentoml.service
class Predict:
    """Answers the booster's prediction for ready-made rows."""

    def __init__(self) -> None:
        self._booster = lgb.Booster(model_file=os.environ["RIVAL_BOOSTER"])

    @bentoml.api
    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Rows (n, features) to probabilities (n,)."""
        return np.asarray(self._booster.predict(rows, num_threads=1))
