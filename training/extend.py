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
from training.dataset import Compute, StoredSet, store, write
from training.parts import Listed, Part, cuts, file_of, labels_digest

Ints = npt.NDArray[np.int64]


def keep(
    rows: pd.DataFrame,
    features: FeatureSet,
    history: History,
    directory: Path,
    progress: Progress | None = None,
) -> StoredSet:
    """The training set of ``rows`` in files of ``directory``, extending the last one kept there.

    ``rows`` are labelled from ``history``. ``<fingerprint>.signature`` names the last set of a
    feature set and says what it has read. Where there is none, or its files are gone, every row is
    computed. Numbers that are summed up may differ from a build's in their last digit: facts are
    added up in another order.
    """
    path = directory / f"{features.fingerprint}.signature"
    found = _kept(path, features)
    if found is None:
        made = store(rows, features, history, directory, progress)
        (signed,) = sign(features, history, _edge(rows))
    else:
        listed, before = found
        past, signed = sign(features, history, before.before, _edge(rows))
        changed = reached(features, before, past)
        kept = _kept_parts(listed, rows, changed)
        others = tuple(part for part in listed.parts if part not in kept)
        old = StoredSet.of(directory, Listed(listed.features, others), features)
        columns = _columns(old, rows, changed, history)
        made = write(rows, features, columns, directory, kept, progress)
    signed.write(path, made.path.name)
    return made


def _kept(path: Path, features: FeatureSet) -> tuple[Listed, Signature] | None:
    """The last set that was kept and its signature, where both can be read here and now."""
    if not path.exists():
        return None
    signed, name = Signature.read(path)
    if not (signed.fits(features) and (path.parent / name).exists()):
        return None
    listed = Listed.read(path.parent / name, features)
    there = all(file_of(part, path.parent).exists() for part in listed.parts)
    return (listed, signed) if there else None


def _edge(rows: pd.DataFrame) -> int:
    """No row reads what is known at or after its last as_of."""
    return int(micros(rows["as_of"]).max()) if len(rows) else 0


def _kept_parts(listed: Listed, rows: pd.DataFrame, changed: Collection[str]) -> list[Part | None]:
    """For each part of the new set the old one that has its rows, unless a fact of them changed."""
    old = {part.labels: part for part in listed.parts}
    found = [old.get(labels_digest(rows.iloc[cut])) for cut in cuts(micros(rows["as_of"]))]
    if changed:
        touched = rows["lead_id"].isin(changed).to_numpy()
        for number, cut in enumerate(cuts(micros(rows["as_of"]))):
            if touched[cut].any():
                found[number] = None
    return found


def _columns(
    old: StoredSet, rows: pd.DataFrame, changed: Collection[str], history: History
) -> Compute:
    """The features of some of the rows: those of ``old`` that hold true, the others made."""
    features = old.features

    def columns(places: Ints) -> pd.DataFrame:
        some = rows.iloc[places]
        place = _places(old.rows, some)
        if changed:
            place[some["lead_id"].isin(changed).to_numpy()] = -1
        fresh = place < 0
        spine = some.loc[fresh, ["lead_id", "as_of"]].reset_index(drop=True)
        if spine.empty:
            return old.take(place).columns
        made = compute(features, spine, _read_by(features, spine, history))
        both = pd.concat([old.take(place[~fresh]).columns, made], ignore_index=True)
        kept = int((~fresh).sum())
        return both.take(np.where(fresh, kept + np.cumsum(fresh), np.cumsum(~fresh)) - 1)

    return columns


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
