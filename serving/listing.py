"""Scores of many leads: columns in, columns out, and no object a lead."""

from __future__ import annotations

import dataclasses
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from features.engines import compute
from features.language import FeatureSet
from features.outcomes import settled_at
from features.schema import History
from features.times import from_micros, iso, micros
from serving.decide import Policy, grade
from serving.rooms import fitted
from serving.scorer import Amount, Deal, Scorer
from training.bundle import Bundle
from training.model import Prediction

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Progress = Callable[[float], None]

CHUNK = 8_192
"""Rows that are scored together: some MiB with their features and contributions."""


def rows_schema(features: FeatureSet) -> pa.Schema:
    """The columns that :func:`score_columns` takes."""
    kinds = {"number": pa.float64(), "text": pa.string()}
    own = [(feature.name, kinds[feature.type]) for feature in features.features]
    return pa.schema([("lead_id", pa.string()), ("as_of", pa.int64()), *own])


def score_columns(scorer: Scorer, rows: pa.Table, reasons: int) -> pa.Table:
    """Score leads by their features, a row a lead, in the order given.

    ``rows`` are of :func:`rows_schema`, as_of in microseconds. Columns: lead_id, probability, value
    (with _low, _median, _high) and expected_value (with _low, _high; both only where the model has
    a value head), grade, route, reason_1.., model_version, as_of (ISO 8601).
    """
    held = rows.drop_columns(["lead_id", "as_of"])
    matrix = scorer.bundle.model.encoder.matrix(held)
    why: Floats | None = None
    if reasons and len(rows):
        said, why = scorer.explained(matrix)
    else:
        said = scorer.predict(matrix)
    found = {"lead_id": rows["lead_id"], "probability": said.probability}
    if scorer.bundle.model.value_head is not None:
        found |= _worth(said)
    places = scorer.places(said)
    found |= {"grade": _texts(places, grade), "route": _routes(scorer.policy, places, found)}
    lines = [pa.nulls(len(rows), pa.string())] * reasons
    if why is not None:
        lines = scorer.reasons.lines(why, _reader(held, matrix), reasons)
    found |= {f"reason_{number}": texts for number, texts in enumerate(lines, start=1)}
    found["model_version"] = pa.repeat(scorer.bundle.version, len(rows))
    found["as_of"] = _texts(rows["as_of"].to_numpy(), iso)
    return pa.table(found)


def score_chunks(scorer: Scorer, chunks: Iterable[pa.Table], reasons: int) -> Iterator[pa.Table]:
    """:func:`score_columns` of each chunk in turn, on all cores; few wait at a time."""
    cores = os.cpu_count() or 1
    waiting: deque[Future[pa.Table]] = deque()
    with ThreadPoolExecutor(cores) as pool:
        for chunk in chunks:
            waiting.append(pool.submit(score_columns, scorer, chunk, reasons))
            if len(waiting) > 2 * cores:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def score_table(
    bundle: Bundle,
    history: History,
    as_of: int,
    reasons: int = 3,
    progress: Progress | None = None,
    policy: Policy | None = None,
) -> pd.DataFrame:
    """Score every lead open at ``as_of`` (microseconds) into a ranked list, one row a lead.

    A lead is open when ``created_at < as_of`` and none of its outcomes is visible. Columns: rank,
    then those of :func:`score_columns`. Ranked by expected value (else probability), ties by
    lead_id. Raises :class:`features.language.DeclarationError` when the history lacks a column that
    the model reads, and ``ValueError`` when it lacks an attribute that the policy looks at. Where
    the policy says for how many there is room, the others are nurtured.
    """
    scorer, say = Scorer(bundle, policy), progress or (lambda _: None)
    open_then = (micros(history.leads["created_at"]) < as_of) & (settled_at(history) >= as_of)
    ids = history.leads["lead_id"][open_then].reset_index(drop=True)
    spine = pd.DataFrame({"lead_id": ids, "as_of": from_micros(np.full(len(ids), as_of))})
    hidden = history.events["kind"].isin(bundle.about.reveals)
    seen = dataclasses.replace(history, events=history.events[~hidden].reset_index(drop=True))
    columns = compute(scorer.features, spine, seen, progress=lambda share: say(share / 2))
    held = [ids, np.full(len(ids), as_of), *(columns[name] for name in columns.columns)]
    rows = pa.Table.from_arrays(list(map(pa.array, held)), schema=rows_schema(scorer.features))
    made = [score_columns(scorer, rows_schema(scorer.features).empty_table(), reasons)]
    starts = range(0, len(ids), CHUNK)
    for table in score_chunks(scorer, (rows[start : start + CHUNK] for start in starts), reasons):
        made.append(table)
        say(0.5 + 0.5 * (len(made) - 1) / len(starts))
    ranked = _ranked(pa.concat_tables(made).to_pandas())
    return fitted(ranked, history, as_of, scorer.policy) if scorer.policy.limited else ranked


def _worth(said: Prediction) -> dict[str, Any]:
    """The amounts of a prediction as columns; null where it has none."""
    amounts = {
        "value": (said.value, said.value_low, said.value_median, said.value_high),
        "expected_value": (said.expected_value, said.expected_low, said.expected_high),
    }
    nothing = pa.nulls(len(said.probability), pa.float64())
    return {
        name if end == "mean" else f"{name}_{end}": nothing if column is None else column
        for (name, columns), ends in zip(amounts.items(), (Deal, Amount), strict=True)
        for end, column in zip(ends.__struct_fields__, columns, strict=True)
    }


def _routes(policy: Policy, places: Floats, found: Mapping[str, Any]) -> pa.Array:
    if policy.by_standing:
        return _texts(places, policy.route)
    told = found["probability"].tolist(), found["lead_id"].to_pylist()
    rows = zip(places.tolist(), *told, strict=True)
    return pa.array([policy.route(*row) for row in rows], pa.string())


def _texts(values: npt.NDArray[Any], told: Callable[[Any], str]) -> pa.Array:
    """What is told of each value (n,), worked out once for equals."""
    codes, distinct = pd.factorize(values)
    return pa.array([told(one) for one in distinct.tolist()], pa.string()).take(pa.array(codes))


def _reader(held: pa.Table, matrix: Floats) -> Callable[[int, Ints], npt.NDArray[Any]]:
    """What rows held in a column, before texts became numbers."""

    def read(column: int, rows: Ints) -> npt.NDArray[Any]:
        values = held.column(column)
        if pa.types.is_floating(values.type):
            return matrix[rows, column]
        return np.asarray(values.take(pa.array(rows)).to_numpy())

    return read


def _ranked(frame: pd.DataFrame) -> pd.DataFrame:
    by = "expected_value" if "expected_value" in frame else "probability"
    frame = frame.sort_values([by, "lead_id"], ascending=[False, True], ignore_index=True)
    frame.insert(0, "rank", np.arange(1, len(frame) + 1))
    return frame
