"""Read a raw table from where it is declared to be, and write one.

CSV (plain or compressed) is read as text; Parquet and databases in their own types.
"""

from __future__ import annotations

import gzip
import re
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote

import pandas as pd
import pyarrow as pa

from features import databases
from features.breaches import ContractError, breach, nearest

_BROKEN = (
    pd.errors.ParserError, pd.errors.ParserWarning, pa.ArrowException, gzip.BadGzipFile,
    EOFError, zlib.error,
)  # fmt: skip
_URL = re.compile(r"[a-z][a-z0-9+.-]+://")
_MAGIC = re.compile(r"[*?\[]")
_UNKNOWN = "__HIVE_DEFAULT_PARTITION__"
"""What Hive and Spark call the partition of the rows that have no value."""


@dataclass(frozen=True)
class Place:
    """Where a table is.

    - ``path``: a file, a directory of Parquet files, a glob of either sort of file, the URL of
      Parquet in an object store (``s3://``, ``gs://``), ``sqlite:///file.db``, ``postgresql://``
    - ``encoding`` and ``separator`` are for CSV; ``table`` or ``query`` for databases
    """

    path: str
    encoding: str = "utf-8"
    separator: str = ","
    table: str | None = None
    query: str | None = None


def read_table(place: Place, name: str, directory: Path = Path()) -> pd.DataFrame:
    """Read the table ``name`` as it is written; a relative path is one of ``directory``.

    Files of a glob or a directory follow each other in the order of their paths, and the
    directories ``column=value`` above them are text columns. Every value of a CSV is text, a
    missing one is empty; columns without a name and without a value (a comma at the end of every
    line) are left out.

    Raises :class:`ContractError` for what is missing, empty, broken, in another encoding (CSV) or
    cannot be reached, and for a column with values but no name, or with another's name.
    """
    path = place.path
    try:
        if databases.is_database(path):
            return databases.read_table(path, place.table, place.query, directory)
        if _URL.match(path):
            return _read_object(path)
        return _read_files(place, name, directory / path)
    except (databases.MissingDriver, ImportError) as error:
        raise _refused("missing-driver", name, path, error) from None
    except FileNotFoundError:
        raise ContractError([breach("missing-file", name, value=databases.shown(path))]) from None
    except OSError as error:
        raise _refused("unreadable-table", name, path, error) from None


def _read_object(url: str) -> pd.DataFrame:
    """Read Parquet by a URL that pyarrow, or else fsspec, has a driver for."""
    try:
        return pd.read_parquet(url)
    except (pa.ArrowException, ValueError) as error:
        raise OSError(str(error)) from None


def _refused(code: str, name: str, path: str, error: Exception) -> ContractError:
    return ContractError([breach(code, name, value=databases.shown(path), hint=f"{error}: ")])


def _read_files(place: Place, name: str, path: Path) -> pd.DataFrame:
    base, files = _files(path)
    if not files:
        siblings = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = "" if path.is_dir() else nearest(path.name, siblings)
        raise ContractError([breach("missing-file", name, value=path, hint=hint)])
    if files == [path]:
        return _read_file(path, name, place)
    tables = []
    for file in files:
        table = _read_file(file, name, place)
        for directory in file.relative_to(base).parts[:-1]:
            column, equals, value = directory.partition("=")
            if equals:
                text = None if value == _UNKNOWN else unquote(value)
                table[column] = pd.Series(text, index=table.index, dtype="str")
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _files(path: Path) -> tuple[Path, list[Path]]:
    """The files that a path means, and the directory under which they are looked for."""
    if path.is_file():
        return path.parent, [path]
    base, pattern = path, "**/*.parquet"
    if not path.is_dir():
        parts = path.parts
        first = next((at for at, part in enumerate(parts) if _MAGIC.search(part)), len(parts))
        base, pattern = Path(*parts[:first]), "/".join(parts[first:]) or "nothing"
    found = sorted(one for one in base.glob(pattern) if one.is_file())
    return base, [one for one in found if not one.name.startswith((".", "_"))]


def _read_file(path: Path, name: str, place: Place) -> pd.DataFrame:
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path, partitioning=None)
        return _read_csv(path, name, place.encoding, place.separator)
    except pd.errors.EmptyDataError:
        raise ContractError([breach("empty-table", name, value=path.name)]) from None
    except UnicodeDecodeError as error:
        found = f"byte 0x{error.object[error.start]:02x}"
        raise ContractError([breach("wrong-encoding", name, value=found)]) from None
    except _BROKEN as error:
        what = f"{path.name}: {str(error).strip()}"
        raise ContractError([breach("broken-file", name, value=what)]) from None


def write_table(frame: pd.DataFrame, out: str) -> None:
    """Write a table to a .csv or .parquet file, or as the rows of a table of a database.

    Databases: ``sqlite:///file.db?table=worklist``, ``postgresql://...?table=schema.worklist``;
    the table (``worklist`` if none is named) is made, or its rows are replaced at once.

    Raises :class:`features.databases.DatabaseError` for a database that cannot be written, or a
    table that has other columns.
    """
    if databases.is_database(out):
        url, table = _split_table(out)
        databases.replace_table(url, table, frame)
        return
    if _URL.match(out):
        raise ValueError(f"{databases.shown(out)}: write a file, sqlite:/// or postgresql://")
    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    else:
        frame.to_csv(path, index=False)


def _split_table(out: str) -> tuple[str, str]:
    """A database's URL without its ``table=``, and that."""
    url, _, query = out.partition("?")
    kept = [part for part in query.split("&") if part and not part.startswith("table=")]
    named = parse_qs(query).get("table", ["worklist"])
    return url + "?" * bool(kept) + "&".join(kept), named[-1]


def _read_csv(path: Path, table: str, encoding: str, separator: str) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        raw = pd.read_csv(
            path, sep=separator, encoding="utf-8-sig" if encoding == "utf-8" else encoding,
            header=None, dtype="str", keep_default_na=False, index_col=False,
        )  # fmt: skip
    header = raw.iloc[0].tolist()
    raw = raw.iloc[1:].reset_index(drop=True)
    blank = [not name.strip() for name in header]
    unused = [none and bool((raw[place] == "").all()) for place, none in enumerate(blank)]
    faults = [
        breach("unnamed-column", table, value=f"column {place + 1}")
        for place, none in enumerate(blank)
        if none and not unused[place]
    ]
    names = [name for name, skip in zip(header, unused, strict=True) if not skip]
    faults += [
        breach("duplicate-column", table, name)
        for name in dict.fromkeys(names)
        if name.strip() and names.count(name) > 1
    ]
    if faults:
        raise ContractError(faults)
    return raw.loc[:, [not skip for skip in unused]].set_axis(names, axis=1)
