"""Read one file as a raw table: CSV (plain or compressed) as text, Parquet in its own types."""

from __future__ import annotations

import gzip
import warnings
import zlib
from pathlib import Path

import pandas as pd
import pyarrow as pa

from features.breaches import ContractError, breach, nearest

_BROKEN = (
    pd.errors.ParserError, pd.errors.ParserWarning, pa.ArrowException, gzip.BadGzipFile,
    EOFError, zlib.error,
)  # fmt: skip


def read_file(
    path: Path, table: str, encoding: str = "utf-8", separator: str = ","
) -> pd.DataFrame:
    """Read a table as it is written; every value of a CSV is text, a missing one is empty.

    Columns without a name and without a value (a comma at the end of every line) are left out.

    Raises :class:`ContractError` for a file that is missing, empty, broken or in another encoding
    (CSV only), and for a column with values but no name, or with another's name.
    """
    if not path.is_file():
        siblings = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = nearest(path.name, siblings)
        raise ContractError([breach("missing-file", table, value=path, hint=hint)])
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        return _read_csv(path, table, encoding, separator)
    except pd.errors.EmptyDataError:
        raise ContractError([breach("empty-table", table, value=path.name)]) from None
    except UnicodeDecodeError as error:
        found = f"byte 0x{error.object[error.start]:02x}"
        raise ContractError([breach("wrong-encoding", table, value=found)]) from None
    except _BROKEN as error:
        what = f"{path.name}: {str(error).strip()}"
        raise ContractError([breach("broken-file", table, value=what)]) from None


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
