"""Histories larger than memory: cut by lead on disk, then computed a part at a time with DuckDB."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features.compile import wide
from features.engines import check_columns, compute
from features.engines.tables import KEYS, TIMES, Progress, quoted, reads
from features.language import FINGERPRINT, FeatureSet
from features.schema import TABLES, History
from features.times import from_micros, micros

FACTS_A_PART = 1_500_000
"""Facts and rows of a part: what is in memory together, some hundreds of MiB."""

_ROW = "_row"


def compute_files(
    features: FeatureSet,
    spine: str,
    history: Mapping[str, str],
    out: Path,
    *,
    memory: str = "2GB",
    scratch: Path | None = None,
    progress: Progress | None = None,
) -> int:
    """Compute as :func:`features.engines.compute` does, from Parquet files to Parquet files.

    ``spine`` (lead_id, as_of) and ``history[table]`` (leads, and any of events, changes, outcomes)
    are paths, globs or object-store URLs that DuckDB reads; rows keep the data contract (see
    :func:`features.schema.check`), times are timestamps in UTC or integer microseconds. Writes
    ``out/part-*.parquet``: lead_id, as_of and the features of every spine row, the rows of a lead
    together; returns how many. ``memory`` limits
    DuckDB while it cuts the tables, in ``scratch`` (default: the system's temporary directory),
    which needs about the room that the input takes.

    Raises :class:`features.language.DeclarationError` when a feature reads a column that the files
    lack, ``duckdb.IOException`` when a file cannot be read.
    """
    say = progress or (lambda _: None)
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=scratch, prefix="leadcast-") as place:
        cut = _Cut(features, spine, history, Path(place), memory)
        cut.write()
        say(0.3)
        rows = 0
        for number, (asked, told, known) in enumerate(cut.parts()):
            rows += _write(features, asked, told, known, out / f"part-{number:05}.parquet")
            say(0.3 + 0.7 * (number + 1) / cut.count)
    return rows


def _write(
    features: FeatureSet, spine: pd.DataFrame, history: History, known: pd.DataFrame, path: Path
) -> int:
    """Compute one part; ``known`` are the columns that were computed over all leads at once."""
    here = FeatureSet(feature for feature in features.features if not feature.segment)
    made = compute(here, spine, history)
    columns = {name: known[name] if name in known else made[name] for name in features.names}
    whole = {"lead_id": spine["lead_id"], "as_of": spine["as_of"], **columns}
    arrays = {
        name: pa.array(micros(values)).cast(pa.timestamp("us", "UTC"))
        if name == "as_of"
        else pa.array(values, from_pandas=True)
        for name, values in whole.items()
    }
    pq.write_table(
        pa.table(arrays, metadata={FINGERPRINT: features.fingerprint}),
        path,
        write_statistics=False,
        use_dictionary=["lead_id"],
    )
    return len(spine)


class _Cut:
    """The tables cut into parts that share no lead (for account features: no account)."""

    def __init__(
        self,
        features: FeatureSet,
        spine: str,
        history: Mapping[str, str],
        place: Path,
        memory: str,
    ) -> None:
        self._features, self._place = features, place
        self._segments = [feature for feature in features.features if feature.segment]
        self._con = duckdb.connect()
        self._con.execute(f"SET memory_limit = '{memory}'; SET temp_directory = '{place}/spill'")
        self._con.execute("SET preserve_insertion_order = false")
        self._views(spine, history)
        self._empty = History(**{name: self._head(name) for name in TABLES})
        check_columns(features, self._empty)
        facts = sum(self._rows(name) for name in ("spine", "events", "changes", "outcomes"))
        self.count = 1 + facts // FACTS_A_PART

    def _views(self, spine: str, history: Mapping[str, str]) -> None:
        """The files as the tables that statements read: microseconds, and text as text."""
        for name in ("spine", *TABLES):
            path = spine if name == "spine" else history.get(name)
            if path is None:
                columns = ", ".join(f"CAST(NULL AS {_type(c)}) AS {c}" for c in TABLES[name])
                self._con.execute(f"CREATE VIEW {name} AS SELECT {columns} WHERE false")
                continue
            source = "read_parquet(" + _literal(path) + ")"
            found = self._con.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
            columns = ", ".join(_canonical(column, kind) for column, kind, *_ in found)
            kinds = {column: kind for column, kind, *_ in found}
            missing = [column for column in KEYS.get(name, ()) if column not in kinds]
            extra = "".join(f", {_default(column, kinds)}" for column in missing)
            self._con.execute(f"CREATE VIEW {name} AS SELECT {columns}{extra} FROM {source}")

    def _rows(self, name: str) -> int:
        return int(self._con.execute(f"SELECT count(*) FROM {name}").fetchall()[0][0])

    def write(self) -> None:
        """Write every table into a directory a part."""
        accounts = any(feature.scope != "lead" for feature in self._features.features)
        group = "coalesce(l.account_id, 'lead ' || x.lead_id)" if accounts else "x.lead_id"
        join = "LEFT JOIN leads l ON l.lead_id = x.lead_id" if accounts else ""
        if accounts:
            self._con.execute("CREATE TABLE accounts AS SELECT lead_id, account_id FROM leads")
            join = join.replace("leads l", "accounts l")
        self._number_spine()
        for name in ("numbered", *KEYS):
            columns = "x.*" if name == "numbered" else ", ".join(
                f"x.{quoted(column)}" for column in reads(self._features, name)
            )  # fmt: skip
            part = f"hash({group}) % {self.count} AS _part"
            self._con.execute(
                f"COPY (SELECT {columns}, {part} FROM {name} x {join}) "
                f"TO '{self._place}/{name}' (FORMAT parquet, PARTITION_BY (_part))"
            )
        self._con.close()

    def _number_spine(self) -> None:
        """The spine with the features of segments, which look at all leads, beside it."""
        if not self._segments:
            self._con.execute("CREATE VIEW numbered AS SELECT lead_id, as_of FROM spine")
            return
        self._con.execute(
            "CREATE TABLE numbered_rows AS SELECT row_number() OVER () AS _row, * FROM spine"
        )
        self._con.execute("DROP VIEW spine; ALTER TABLE numbered_rows RENAME TO spine")
        named = ", ".join(
            f"g.f{number} AS {quoted(feature.name)}"
            for number, feature in enumerate(self._segments)
        )
        statement = wide(FeatureSet(self._segments), "duckdb")
        self._con.execute(
            f"CREATE TABLE numbered AS SELECT s.lead_id, s.as_of, {named} "
            f"FROM spine s JOIN ({statement}) g ON g._row = s._row"
        )

    def parts(self) -> Iterator[tuple[pd.DataFrame, History, pd.DataFrame]]:
        """Spine, history and the segments' features of each part that has spine rows."""
        for number in range(self.count):
            asked = self._read("numbered", number)
            if not len(asked):
                continue
            tables = {name: self._read(name, number) for name in KEYS}
            known = asked.drop(columns=["lead_id", "as_of"])
            yield asked[["lead_id", "as_of"]], History(**tables), known

    def _read(self, name: str, number: int) -> pd.DataFrame:
        files = sorted((self._place / name / f"_part={number}").glob("*.parquet"))
        if not files:
            return self._frame_of_columns(name)
        table = pa.concat_tables(pq.read_table(file, partitioning=None) for file in files)
        return _frame(table)

    def _frame_of_columns(self, name: str) -> pd.DataFrame:
        if name == "numbered":
            return pd.DataFrame({"lead_id": pd.Series(dtype="str"), "as_of": from_micros([])})
        whole: pd.DataFrame = getattr(self._empty, name)
        return whole[list(reads(self._features, name))]

    def _head(self, name: str) -> pd.DataFrame:
        """No rows of a table, in its types."""
        return _frame(self._con.sql(f"SELECT * FROM {name} LIMIT 0").to_arrow_table())


def _frame(table: pa.Table) -> pd.DataFrame:
    """A table in the types of a history."""
    made = {}
    for name in table.column_names:
        if name in TIMES:
            made[name] = from_micros(table[name].to_numpy())
        elif pa.types.is_string(table[name].type) or pa.types.is_null(table[name].type):
            made[name] = table[name].cast(pa.large_string()).to_pandas().astype("str")
        else:
            made[name] = table[name].to_pandas().astype("float64")
    return pd.DataFrame(made)


def _canonical(column: str, kind: str) -> str:
    name = quoted(column)
    if column in TIMES:
        return name if kind == "BIGINT" else f"epoch_us({name}) AS {name}"
    numeric = kind in ("DOUBLE", "FLOAT") or "INT" in kind or kind.startswith("DECIMAL")
    return f"CAST({name} AS {'DOUBLE' if numeric else 'VARCHAR'}) AS {name}"


def _default(column: str, kinds: Mapping[str, str]) -> str:
    """A column that the file lacks: what occurred was known at once, the rest is null."""
    if column == "known_at" and "occurred_at" in kinds:
        return _canonical("occurred_at", kinds["occurred_at"]).split(" AS ")[0] + " AS known_at"
    return f"CAST(NULL AS {_type(column)}) AS {column}"


def _type(column: str) -> str:
    if column in TIMES:
        return "BIGINT"
    return "DOUBLE" if column in ("value", "deal_value") else "VARCHAR"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
