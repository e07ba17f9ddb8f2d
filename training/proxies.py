"""Do the features tell what must not be scored by? Proxies of protected attributes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.engines import compute
from features.language import FeatureSet
from features.schema import History
from training.ablation import field_of, grown, one_a_lead
from training.encode import Encoder
from training.evaluate import auc
from training.findings import Finding
from training.groups import LEAST_LEADS

Bools = npt.NDArray[np.bool_]

PROXY_AUC = 0.75
"""Features that rank three of four pairs of leads rightly by a protected attribute carry it."""

_REMEDY = (
    "compare the groups in the report; leave the fields out (exclude) where selection differs "
    "without a reason that the law accepts"
)


def proxies(
    history: History, rows: pd.DataFrame, features: FeatureSet, protected: Sequence[str]
) -> Iterator[Finding]:
    """A warning for each protected attribute that the features can tell, and by which fields.

    A small model learns the attribute (its most frequent value against the others, numbers above
    their median against those below) on two thirds of the leads and is judged on the latest third:
    the lower bound of its AUC (two standard errors, Hanley and McNeil 1982, Radiology 143, 29-36)
    must exceed :data:`PROXY_AUC`.
    """
    drawn = one_a_lead(rows)
    known = history.leads.set_index("lead_id").reindex(drawn["lead_id"])
    targets = {name: _halves(known[name]) for name in protected if name in known}
    targets = {name: target for name, target in targets.items() if _enough(target)}
    if not targets:
        return
    columns, cut = compute(features, drawn[["lead_id", "as_of"]], history), 2 * len(drawn) // 3
    encoder = Encoder.fit(features, [columns.iloc[:cut]])
    matrix = encoder.matrix(columns)
    for name, target in targets.items():
        said, gain = grown(matrix, target, cut, np.arange(len(features)), encoder)
        found = auc(target[cut:], said) or 0.5
        least = found - 2 * _error(found, target[cut:])
        if least > PROXY_AUC:
            by = pd.Series(gain).groupby([field_of(f) for f in features.features]).sum()
            leading = [str(field) for field in by.drop("", errors="ignore").nlargest(3).index]
            told = (
                f"the features tell it with AUC {found:.3f} (at least {least:.3f}), most by "
                f"{', '.join(leading)}"
            )
            yield Finding("proxy", name, "warning", told, _REMEDY)


def _halves(values: pd.Series) -> Bools:
    if values.dtype.kind == "f":
        return np.asarray(values > values.median(), dtype=bool)
    most = values.mode()
    return np.asarray(values == (most.iloc[0] if len(most) else None), dtype=bool)


def _enough(target: Bools) -> bool:
    cut = 2 * len(target) // 3
    return all(
        min(int(part.sum()), int((~part).sum())) >= LEAST_LEADS
        for part in (target[:cut], target[cut:])
    )


def _error(found: float, target: Bools) -> float:
    """The standard error of an AUC (Hanley and McNeil 1982, eq. 2)."""
    positive, negative = int(target.sum()), int((~target).sum())
    one, two = found / (2 - found), 2 * found**2 / (1 + found)
    spread = (positive - 1) * (one - found**2) + (negative - 1) * (two - found**2)
    return float(np.sqrt((found * (1 - found) + spread) / (positive * negative)))
