"""From a Parquet of features to a Parquet of scores, of any length in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from features.language import FINGERPRINT, FeatureSet
from serving.decide import Policy
from serving.listing import CHUNK, rows_schema, score_chunks, score_columns
from serving.scorer import Scorer
from training.bundle import Bundle

Progress = Callable[[float], None]

_GROUP = 16
"""So many chunks are a row group of the scores."""


class FeaturesError(ValueError):
    """Features that a model cannot read: names the file, the column and what to do."""


def score_parquet(
    bundle: Bundle,
    features: Path,
    out: Path,
    reasons: int = 3,
    progress: Progress | None = None,
    policy: Policy | None = None,
) -> int:
    """Score the rows of a Parquet file, or of a directory of such files by name, in their order.

    ``features`` has lead_id, as_of (a timestamp in UTC, or integer microseconds) and the model's
    columns by their names, as :func:`features.engines.outofcore.compute_files` writes them; others
    are not read. ``out`` gets the columns of :func:`serving.listing.score_columns`, whole or not at
    all; returns how many rows. Raises :class:`FeaturesError` for files that are not such features.
    """
    say, scorer = progress or (lambda _: None), Scorer(bundle, policy)
    files = sorted(features.glob("*.parquet")) if features.is_dir() else [features]
    if not files:
        raise FeaturesError(f"{features}: there is no .parquet file in this directory")
    with ExitStack() as stack:
        opened = [stack.enter_context(_opened(path)) for path in files]
        for path, file in zip(files, opened, strict=True):
            _check(path, file.schema_arrow, scorer.features)
        total = sum(file.metadata.num_rows for file in opened)
        chunks = (chunk for path, file in zip(files, opened, strict=True)
                  for chunk in _chunks(path, file, scorer.features))  # fmt: skip
        return _write(scorer, chunks, out, reasons, lambda rows: say(rows / max(total, 1)))


def _write(
    scorer: Scorer, chunks: Iterator[pa.Table], out: Path, reasons: int, say: Progress
) -> int:
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f"{uuid4().hex}.partial")
    schema = score_columns(scorer, rows_schema(scorer.features).empty_table(), reasons).schema
    texts = [one.name for one in schema if pa.types.is_string(one.type) and one.name != "lead_id"]
    done = 0
    try:
        with pq.ParquetWriter(partial, schema, use_dictionary=texts) as writer:
            made = score_chunks(scorer, chunks, reasons)
            while group := list(islice(made, _GROUP)):
                writer.write_table(pa.concat_tables(group))
                done += sum(map(len, group))
                say(done)
        partial.rename(out)
    finally:
        partial.unlink(missing_ok=True)
    return done


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise FeaturesError(f"{path}: not a Parquet file, or a damaged one: {error}") from None


def _check(path: Path, schema: pa.Schema, features: FeatureSet) -> None:
    """Raise :class:`FeaturesError` naming every column that is missing or of another type."""
    written = (schema.metadata or {}).get(FINGERPRINT)
    if written is not None and written.decode() != features.fingerprint:
        raise FeaturesError(
            f"{path}: its features have the fingerprint {written.decode()[:12]}, the model's "
            f"{features.fingerprint[:12]}: compute those of the model, or take the model of these"
        )
    faults = []
    for name, wanted, fits in _wanted(features):
        places = schema.get_all_field_indices(name)
        if len(places) != 1:
            faults.append(f"{name} is {'there twice' if places else 'missing'}")
        elif not (fits(schema.types[places[0]]) or pa.types.is_null(schema.types[places[0]])):
            faults.append(f"{name} is {schema.types[places[0]]}, and must be {wanted}")
    if faults:
        more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise FeaturesError(
            f"{path}: {'; '.join(faults[:5])}{more}: write the columns that the model reads, as "
            "features.engines.outofcore.compute_files does"
        )


def _wanted(features: FeatureSet) -> Iterator[tuple[str, str, Callable[[pa.DataType], bool]]]:
    yield "lead_id", "text", _is_text
    yield "as_of", "a timestamp or integer microseconds", _is_moment
    for feature in features.features:
        number = feature.type == "number"
        yield feature.name, "a number" if number else "text", _is_number if number else _is_text


def _is_text(found: pa.DataType) -> bool:
    if pa.types.is_dictionary(found):
        return _is_text(found.value_type)
    return bool(pa.types.is_string(found) or pa.types.is_large_string(found))


def _is_number(found: pa.DataType) -> bool:
    return bool(pa.types.is_floating(found) or pa.types.is_integer(found))


def _is_moment(found: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(found) or found == pa.int64())


def _chunks(path: Path, file: pq.ParquetFile, features: FeatureSet) -> Iterator[pa.Table]:
    """The rows as :func:`serving.listing.score_columns` takes them."""
    wanted, first = rows_schema(features), 0
    try:
        for batch in file.iter_batches(CHUNK, columns=wanted.names):
            for name in ("lead_id", "as_of"):
                if batch.column(name).null_count:
                    row = first + batch.column(name).is_null().index(True).as_py()
                    raise FeaturesError(f"{path}: row {row} has no {name}: every row needs one")
            cast = [_cast(batch.column(one.name), one.type) for one in wanted]
            yield pa.Table.from_arrays(cast, schema=wanted)
            first += len(batch)
    except pa.ArrowException as error:
        raise FeaturesError(f"{path}: it cannot be read on from row {first}: {error}") from None


def _cast(values: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.timestamp("us", values.type.tz), safe=False)
    return values if values.type == kind else values.cast(kind)
