"""Where tables come from and go to: many files, SQLite, PostgreSQL, object stores."""

from __future__ import annotations

import importlib
import importlib.util
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from features import databases
from features.breaches import ContractError
from features.databases import DatabaseError, replace_table
from features.files import Place, read_table, write_table
from features.source import Source, SourceError

SECRET = "s3cr3t/p@ss"
LEADS = pd.DataFrame(
    {
        "lead_id": ["00123", "None", "é🙂"],
        "created_at": ["2024-05-01T10:00:00Z", "2024-05-02T10:00:00+02:00", "2024-05-03 08:00Z"],
        "account_id": ["acme", None, "01"],
        "size": [10.0, float("nan"), 2.5],
    }
)
EVENTS = pd.DataFrame(
    {
        "lead_id": ["00123", "00123", "None"],
        "kind": ["call", "it's; -- \\N", "call"],
        "occurred_at": ["2024-05-04", "2024-05-05", "2024-05-06"],
        "seats": [1, 2, 3],
    }
)


def declare(directory: Path, leads: str, events: str = "", rest: str = "") -> Source:
    text = f'name = "x"\n[leads]\n{leads}\n'
    text += f"[events]\n{events}\n" if events else ""
    path = directory / "source.toml"
    path.write_text(text + '[population]\nhorizon = "7d"\n' + rest, encoding="utf-8")
    return Source.from_toml(path)


def refused(source: Source) -> ContractError:
    with pytest.raises(ContractError) as caught:
        source.load()
    return caught.value


# --- many files ----------------------------------------------------------------------------------


def in_parts(directory: Path, kind: str) -> None:
    directory.mkdir(parents=True)
    for number in range(len(EVENTS)):
        write_table(EVENTS.iloc[[number]], str(directory / f"part-{number}.{kind}"))


@pytest.mark.parametrize(
    ("kind", "path"),
    [("parquet", "events"), ("parquet", "events/*.parquet"), ("csv", "events/part-?.csv")],
)
def test_a_directory_or_a_glob_is_one_table(kind: str, path: str, tmp_path: Path) -> None:
    in_parts(tmp_path / "events", kind)
    (tmp_path / "events" / "_SUCCESS").touch()
    (tmp_path / "events" / f".hidden.{kind}").write_bytes(b"no table")
    found = read_table(Place(path), "events", tmp_path)
    expected = EVENTS.astype("str") if kind == "csv" else EVENTS
    pd.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize("path", ["events.parquet", "events.parquet/*/*/*.parquet"])
def test_partitions_are_columns_of_text(path: str, tmp_path: Path) -> None:
    root = tmp_path / "events.parquet"
    for number, parts in enumerate(["team=007/site=a%2Fb", "team=010/site=b c"]):
        write_table(EVENTS.iloc[[number]], str(root / parts / "0.parquet"))
    unknown = "team=__HIVE_DEFAULT_PARTITION__/site=x"
    write_table(EVENTS.iloc[[2]], str(root / unknown / "0.parquet"))
    write_table(LEADS, str(tmp_path / "leads.parquet"))
    history = declare(tmp_path, 'path = "leads.parquet"', f'path = "{path}"').load()
    found = history.events.set_index("occurred_at").sort_index()
    assert found["team"].fillna("-").tolist() == ["007", "010", "-"]
    assert found["site"].tolist() == ["a/b", "b c", "x"]
    assert found["seats"].tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("path", ["nothing", "events", "events/*.parquet", "none/**/*.csv"])
def test_no_file_at_all_is_told(path: str, tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    (breach,) = refused(declare(tmp_path, f'path = "{path}"')).breaches
    assert (breach.code, breach.table) == ("missing-file", "leads")


def test_the_broken_one_of_many_files_is_named(tmp_path: Path) -> None:
    in_parts(tmp_path / "events", "parquet")
    (tmp_path / "events" / "part-1.parquet").write_bytes(b"PAR1")
    error = refused(declare(tmp_path, 'path = "events"'))
    assert error.breaches[0].code == "broken-file"
    assert "part-1.parquet" in str(error)


# --- databases -----------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgres"])
def database(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], str]:
    """An empty database: its URL with a table's name, as ``leadcast score --out`` takes it."""
    if request.param == "sqlite":
        monkeypatch.chdir(tmp_path)
        return "sqlite:///data/my store.db?table={}".format
    url = request.getfixturevalue("postgres")
    schema = f'"{tmp_path.name}"'
    with databases.postgres(url) as con:
        con.execute(f"CREATE SCHEMA {schema}".encode())
    return (url + f"&table={tmp_path.name}.{{}}").format


def address(out: str) -> tuple[str, str]:
    url, _, table = out.replace("?table=", "&table=").partition("&table=")
    return url, table


@pytest.mark.parametrize("how", ["table", "query"])
def test_tables_of_a_database_make_a_history(
    how: str,
    database: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sections = []
    for name, frame in (("leads", LEADS), ("events", EVENTS)):
        write_table(frame, database(name))
        url, table = address(database(name))
        quoted = ".".join(f'\\"{part}\\"' for part in table.split("."))
        chosen = table if how == "table" else f"SELECT * FROM {quoted}"
        sections.append(f'path = "${{PGURL}}"\n{how} = "{chosen}"')
    monkeypatch.setenv("PGURL", url)
    history = declare(tmp_path, *sections).load()
    assert history.leads["lead_id"].tolist() == LEADS["lead_id"].tolist()
    assert history.leads["account_id"].fillna("-").tolist() == ["acme", "-", "01"]
    assert history.leads["size"].fillna(-1).tolist() == [10.0, -1.0, 2.5]
    assert history.leads["created_at"].iloc[1] == pd.Timestamp("2024-05-02T08:00:00Z")
    assert history.events["kind"].tolist() == EVENTS["kind"].tolist()
    assert history.events["seats"].dtype == "float64"


def test_a_written_table_is_read_again_and_replaced(database: Callable[[str], str]) -> None:
    out = database("worklist")
    url, table = address(out)
    write_table(LEADS, out)
    write_table(LEADS.iloc[1:], out)
    pd.testing.assert_frame_equal(
        databases.read_table(url, table), LEADS.iloc[1:].reset_index(drop=True)
    )


def test_a_table_of_others_is_left_alone(database: Callable[[str], str]) -> None:
    out = database("leads")
    write_table(LEADS, out)
    with pytest.raises(DatabaseError, match=r"other columns.*choose another"):
        write_table(EVENTS, out)
    assert len(databases.read_table(*address(out))) == len(LEADS)


def test_a_replacement_that_fails_leaves_the_rows(database: Callable[[str], str]) -> None:
    out = database("leads")
    write_table(LEADS, out)
    broken = LEADS.assign(account_id=pd.Series(["x", "y", object()], dtype="object"))
    with pytest.raises((DatabaseError, TypeError)):
        write_table(broken, out)
    assert len(databases.read_table(*address(out))) == len(LEADS)


@pytest.mark.parametrize(
    ("how", "said"),
    [('table = "evnts"', "evnts"), ('query = "SELECT nothing FROM nowhere"', "no"),
     ('query = "DELETE FROM events"', "events"), ('query = ""', "")],
)  # fmt: skip
def test_what_cannot_be_selected_is_told(
    how: str, said: str, database: Callable[[str], str], tmp_path: Path
) -> None:
    write_table(LEADS, database("leads"))
    source = declare(tmp_path, f'path = "{address(database("leads"))[0]}"\n{how}')
    error = refused(source)
    assert [one.code for one in error.breaches] == ["unreadable-table"]
    assert said in error.breaches[0].remedy
    assert len(databases.read_table(*address(database("leads")))) == len(LEADS)


def test_types_of_postgres_are_read_as_they_are_meant(postgres: str, tmp_path: Path) -> None:
    one = "00000000-0000-0000-0000-000000000001"
    query = (
        f"SELECT '{one}'::uuid AS lead_id, '2024-07-01 10:00+02'::timestamptz AS created_at, "
        "1.50::numeric AS price, true AS happy, date '2024-02-29' AS day, '%s'::text AS odd, "
        "NULL::text AS unknown, '{}'::varchar AS short"
    )
    history = declare(tmp_path, f'path = "{postgres}"\nquery = "{query}"').load()
    lead = history.leads.iloc[0]
    assert (lead["lead_id"], lead["odd"], lead["short"]) == (one, "%s", "{}")
    assert lead["created_at"] == pd.Timestamp("2024-07-01T08:00:00Z")
    assert (lead["price"], lead["happy"], lead["day"]) == (1.5, "true", "2024-02-29")
    assert pd.isna(lead["unknown"])


def test_ids_that_a_database_holds_as_numbers_are_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "crm.db")) as con:
        con.execute("CREATE TABLE leads AS SELECT 7 AS lead_id, '2024-05-01' AS created_at")
        con.commit()
    path = 'path = "sqlite:///crm.db"'
    (breach,) = refused(declare(tmp_path, f'{path}\ntable = "leads"')).breaches
    assert breach.code == "id-not-text"
    assert "CAST(... AS TEXT)" in breach.remedy
    query = "SELECT CAST(lead_id AS TEXT) AS lead_id, created_at FROM leads"
    assert declare(tmp_path, f'{path}\nquery = "{query}"').load().leads["lead_id"].tolist() == ["7"]


def test_every_fault_of_every_place_is_told_at_once(tmp_path: Path) -> None:
    replace_table(f"sqlite:///{tmp_path}/crm.db", "leads", LEADS)
    source = declare(
        tmp_path, 'path = "sqlite:///none.db"\ntable = "leads"',
        'path = "sqlite:///crm.db"\ntable = "nothing"', '[changes]\npath = "changes/*.csv"\n',
    )  # fmt: skip
    assert [(one.code, one.table) for one in refused(source).breaches] == [
        ("missing-file", "leads"),
        ("unreadable-table", "events"),
        ("missing-file", "changes"),
    ]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('path = "sqlite:///crm.db"', "table or query"),
        ('path = "sqlite:///crm.db"\ntable = "a"\nquery = "SELECT 1"', "only one"),
        ('path = "leads.csv"\ntable = "a"', "leave them out"),
        ('path = "${NO_SUCH_URL}"\ntable = "a"', "has no NO_SUCH_URL"),
        (f'path = "postgresql://me:{SECRET}@127.0.0.1/crm"\ntable = "a"', "write ${PGURL}"),
        ('path = "postgresql:///crm?user=me&password=s3cr3t"\ntable = "a"', "write ${PGURL}"),
    ],
)
def test_a_place_that_cannot_be_meant_is_told(keys: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        declare(tmp_path, keys)
    assert "[leads] path: " in str(caught.value)
    assert said in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{SECRET}@127.0.0.1:1/crm",
        "postgresql://me:s3cr3t%2Fp@127.0.0.1:1/crm",
        "postgresql://me:s3cr3t@127.0.0.1:port/crm",
        "postgresql:///crm?host=127.0.0.1&port=1&password=s3cr3t",
        "postgresql:///crm?host=127.0.0.1&port=1&sslpassword=s3cr3t&nonsense=1",
    ],
)
def test_an_unreachable_server_is_told_without_the_password(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("psycopg", reason="no psycopg here: install the extra [postgres]")
    monkeypatch.setenv("PGURL", url)
    error = refused(declare(tmp_path, 'path = "${PGURL}"\ntable = "leads"'))
    assert [one.code for one in error.breaches] == ["unreadable-table"]
    with pytest.raises(DatabaseError) as caught:
        write_table(LEADS, url)
    for message in (str(error), str(caught.value)):
        assert "postgresql://" in message
        assert not any(part in message for part in ("s3cr3t", "p@ss", "ss@"))


def test_without_psycopg_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    error = refused(declare(tmp_path, 'path = "postgresql:///crm"\ntable = "leads"'))
    assert [one.code for one in error.breaches] == ["missing-driver"]
    assert "pip install 'psycopg[binary,pool]'" in str(error)
    monkeypatch.delitem(sys.modules, "features.engines.postgres", raising=False)
    with pytest.raises(ImportError, match=r"the extra \[postgres\]"):
        importlib.import_module("features.engines.postgres")


# --- object stores -------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["s3://bucket/a b/leads/", "gs://bucket/leads.parquet"])
def test_the_url_of_an_object_is_handed_on_untouched(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def read(path: Any) -> pd.DataFrame:
        asked.append(path)
        return LEADS

    monkeypatch.setattr(pd, "read_parquet", read)
    history = declare(tmp_path, f'path = "{url}"').load()
    assert asked == [url]
    assert len(history.leads) == len(LEADS)


def test_a_missing_driver_is_named_with_its_remedy(tmp_path: Path) -> None:
    if importlib.util.find_spec("adlfs"):
        pytest.skip("adlfs is installed here, so no driver is missing")
    error = refused(declare(tmp_path, 'path = "az://container/leads.parquet"'))
    assert [one.code for one in error.breaches] == ["missing-driver"]
    assert "adlfs" in str(error)


def test_an_address_of_no_known_kind_is_told(tmp_path: Path) -> None:
    error = refused(declare(tmp_path, 'path = "mysql://127.0.0.1/crm"'))
    assert [one.code for one in error.breaches] == ["unreadable-table"]
    with pytest.raises(ValueError, match="sqlite:///"):
        write_table(LEADS, "s3://bucket/worklist.parquet")
