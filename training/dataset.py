"""Spine x features x labels -> a training set that is named by its content."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.engines import Engine, Progress, compute
from features.language import FeatureSet
from features.outcomes import at_risk, label
from features.schema import History
from features.source import Population
from features.times import micros

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """n labelled rows in the order of (lead_id as in the history, as_of).

    ``rows`` has lead_id, as_of, converted (bool), value (0 when not converted, NaN unknown);
    ``columns`` the features, float64 or str; both have the same RangeIndex.
    """

    rows: pd.DataFrame
    columns: pd.DataFrame
    features: FeatureSet

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lead_id(self) -> npt.NDArray[Any]:
        """(n,) the lead of each row, as objects."""
        return self.rows["lead_id"].to_numpy(dtype=object)

    @property
    def as_of(self) -> Ints:
        """(n,) microseconds."""
        return micros(self.rows["as_of"])

    @property
    def converted(self) -> Bools:
        """(n,) the label."""
        return self.rows["converted"].to_numpy(dtype=bool)

    @property
    def value(self) -> Floats:
        """(n,) realised deal value within the horizon."""
        return self.rows["value"].to_numpy(dtype=np.float64)

    @property
    def lead_number(self) -> Ints:
        """(n,) the leads numbered from 0."""
        return pd.factorize(self.rows["lead_id"])[0].astype(np.int64)

    def where(self, chosen: Bools) -> TrainingSet:
        """The rows chosen by a mask (n,)."""
        return self.take(np.flatnonzero(chosen))

    def take(self, places: Ints) -> TrainingSet:
        """The rows at the given places, in that order."""
        return TrainingSet(
            self.rows.iloc[places].reset_index(drop=True),
            self.columns.iloc[places].reset_index(drop=True),
            self.features,
        )

    @property
    def digest(self) -> str:
        """SHA-256 over rows, columns and the feature set's fingerprint."""
        total = hashlib.sha256(self.features.fingerprint.encode())
        for frame in (self.rows, self.columns):
            total.update(json.dumps([str(name) for name in frame.columns]).encode())
            total.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
        return total.hexdigest()

    def write(self, directory: Path) -> Path:
        """Write ``<digest>.parquet`` into ``directory`` unless it is there; returns its path."""
        path = directory / f"{self.digest}.parquet"
        if not path.exists():
            directory.mkdir(parents=True, exist_ok=True)
            whole = pd.concat([self.rows, self.columns], axis=1)
            partial = path.with_suffix(".partial")
            whole.to_parquet(partial)
            partial.rename(path)
        return path


def labelled(history: History, population: Population) -> pd.DataFrame:
    """Every (open lead, as_of) whose label is complete: lead_id, as_of, converted, value."""
    spine = at_risk(history, population)
    labels = label(spine, history, population)
    rows = pd.concat([spine, labels[["converted", "value"]]], axis=1)
    return rows[labels["mature"].to_numpy()].reset_index(drop=True)


def build(
    rows: pd.DataFrame,
    features: FeatureSet,
    history: History,
    progress: Progress | None = None,
    engine: str | Engine = "duckdb",
) -> TrainingSet:
    """Labelled rows with what was known at each as_of; see :func:`features.engines.compute`."""
    columns = compute(features, rows[["lead_id", "as_of"]], history, engine, progress)
    return TrainingSet(rows, columns, features)
