"""One more day of history: compute the rows that it can change, keep the others.

What a row reads lies before its as_of, so an honest new fact changes no old row: only new rows are
computed. A fact that is delivered with an old ``known_at``, edited or deleted changes the signature
of its lead, and the old rows of the leads that it reaches are computed again. Labels are cheap and
always made anew (:func:`training.dataset.labelled`).
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.engines import Progress, compute
from features.engines.signature import Signature, reached, sign
from features.engines.tables import KEYS, reads
from features.language import FeatureSet
from features.schema import History
from features.times import from_micros, micros
from training.dataset import StoredSet, Training, TrainingSet, store

Ints = npt.NDArray[np.int64]


def signature(data: Training, history: History) -> Signature:
    """What to keep beside a training set to extend it later: of what its rows have read."""
    return sign(data.features, history, _edge(data.rows))[0]


def extend(
    previous: Training,
    signed: Signature,
    rows: pd.DataFrame,
    history: History,
    progress: Progress | None = None,
) -> tuple[TrainingSet, Signature]:
    """The set that :func:`training.dataset.build` makes of ``rows``, and its signature.

    ``rows`` are labelled from the newer ``history``; ``signed`` is the :func:`signature` of
    ``previous``. Numbers that are summed up may differ from a build's in their last digit: facts
    are added up in another order. Raises ``ValueError`` when the signature is not of these
    features or of another version of the hash function.
    """
    plan, signed = _planned(previous, signed, rows, history)
    columns = plan.columns(0, len(rows), progress)
    return TrainingSet(rows, columns, previous.features), signed


def keep(
    rows: pd.DataFrame,
    features: FeatureSet,
    history: History,
    directory: Path,
    progress: Progress | None = None,
) -> StoredSet:
    """The training set of ``rows`` in a file of ``directory``, extending the last one kept there.

    ``<fingerprint>.signature`` names the last set of a feature set. Where there is none, or its
    file is gone, every row is computed.
    """
    path = directory / f"{features.fingerprint}.signature"
    found = _kept(path, features)
    if found is None:
        made = store(rows, features, history, directory, progress)
        signed = signature(made, history)
    else:
        plan, signed = _planned(*found, rows, history)
        made = store(rows, features, history, directory, progress, plan.columns)
    signed.write(path, made.path.name)
    return made


def _kept(path: Path, features: FeatureSet) -> tuple[StoredSet, Signature] | None:
    if not path.exists():
        return None
    signed, name = Signature.read(path)
    data = path.parent / name
    if not (signed.fits(features) and data.exists()):
        return None
    return StoredSet.open(data, features), signed


def _planned(
    previous: Training, signed: Signature, rows: pd.DataFrame, history: History
) -> tuple[_Plan, Signature]:
    features = previous.features
    if not signed.fits(features):
        raise ValueError(
            "the signature is of other features or of another version: build the set anew"
        )
    past, now = sign(features, history, signed.before, _edge(rows))
    return _Plan(previous, rows, reached(features, signed, past), history), now


def _edge(rows: pd.DataFrame) -> int:
    """No row reads what is known at or after its last as_of."""
    return int(micros(rows["as_of"]).max()) if len(rows) else 0


class _Plan:
    """Where each new row comes from: a place in the previous set, or -1 to compute it."""

    def __init__(
        self, previous: Training, rows: pd.DataFrame, changed: Collection[str], history: History
    ) -> None:
        self._previous, self._rows, self._history = previous, rows, history
        self._place = _places(previous.rows, rows)
        if changed:
            self._place[rows["lead_id"].isin(changed).to_numpy()] = -1

    def columns(self, first: int, last: int, progress: Progress | None = None) -> pd.DataFrame:
        """The features of the rows ``first <= row < last``."""
        place = self._place[first:last]
        fresh = place < 0
        spine = self._rows[["lead_id", "as_of"]].iloc[first:last][fresh].reset_index(drop=True)
        made = None
        if len(spine):
            features = self._previous.features
            read = _read_by(features, spine, self._history)
            made = compute(features, spine, read, progress=progress)
            if fresh.all():
                return made
        if isinstance(self._previous, TrainingSet):
            return _merged(self._previous.columns, place, made)
        old = self._previous.take(place[~fresh]).columns
        place = np.where(fresh, -1, np.cumsum(~fresh) - 1)
        return _merged(old, place, made)


def _places(old: pd.DataFrame, new: pd.DataFrame) -> Ints:
    """Where each new (lead_id, as_of) stands among the old ones; -1 where it does not."""
    lead, leads = pd.factorize(old["lead_id"])
    moment, moments = pd.factorize(micros(old["as_of"]))
    new_lead = _numbered(new["lead_id"], pd.Index(leads))
    new_moment = _numbered(pd.Series(micros(new["as_of"])), pd.Index(moments))
    keys = lead * max(len(moments), 1) + moment
    wanted = np.where(
        (new_lead < 0) | (new_moment < 0), -1, new_lead * max(len(moments), 1) + new_moment
    )
    order = np.argsort(keys, kind="stable")
    at = np.minimum(np.searchsorted(keys, wanted, sorter=order), max(len(keys) - 1, 0))
    if not len(keys):
        return np.full(len(new), -1, dtype=np.int64)
    place = order[at]
    return np.where(keys[place] == wanted, place, -1).astype(np.int64)


def _numbered(values: pd.Series, known: pd.Index) -> Ints:
    numbers, distinct = pd.factorize(values)
    return np.asarray(known.get_indexer(pd.Index(distinct))[numbers], dtype=np.int64)


def _read_by(features: FeatureSet, spine: pd.DataFrame, history: History) -> History:
    """What the features of these rows can read: their leads' facts before the last as_of.

    With account features those of their accounts; with features of a segment everyone's.
    """
    if any(feature.segment for feature in features.features):
        return history
    leads = history.leads
    mine = leads["lead_id"].isin(spine["lead_id"].unique())
    if any(feature.scope != "lead" for feature in features.features):
        mine |= leads["account_id"].isin(leads.loc[mine, "account_id"].dropna())
    ids, last = leads.loc[mine, "lead_id"], from_micros([_edge(spine)])[0]

    def facts(name: str) -> pd.DataFrame:
        frame: pd.DataFrame = getattr(history, name)
        chosen = (frame["known_at"] < last) & frame["lead_id"].isin(ids)
        return frame.loc[chosen, list(reads(features, name))].reset_index(drop=True)

    return History(leads[mine].reset_index(drop=True), *(facts(n) for n in KEYS if n != "leads"))


def _merged(old: pd.DataFrame, place: Ints, made: pd.DataFrame | None) -> pd.DataFrame:
    """Rows of ``old`` at their places and, where the place is -1, those of ``made`` in order."""
    fresh = np.flatnonzero(place < 0)
    kept, order = np.maximum(place, 0), place.copy()
    order[fresh] = len(old) + np.arange(len(fresh))
    names = [name for name in old.columns if old[name].dtype.kind == "f"]
    numbers = np.empty((len(names), len(place)))
    for line, name in zip(numbers, names, strict=True):
        np.take(old[name].to_numpy(), kept, out=line, mode="clip")
        if made is not None:
            line[fresh] = made[name].to_numpy()
    frame = pd.DataFrame(numbers.T, columns=pd.Index(names), copy=False)
    for position, name in enumerate(old.columns):
        if old[name].dtype.kind != "f":
            both = old[name] if made is None else pd.concat([old[name], made[name]])
            frame.insert(position, name, both.array.take(order))
    return frame
