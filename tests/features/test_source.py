"""Sources: declared in TOML, read from files as they are found in the wild."""

from __future__ import annotations

import csv
import gzip
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.breaches import ContractError
from features.simulate import simulate
from features.source import Evaluation, Population, Source, SourceError
from features.times import DAY, SECOND

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("leads", "events", "changes", "outcomes")

LEADS = "id,made,industry,size\n00123,2024-05-01,retail,10\nNone,2024-05-02,Select,\n"
EVENTS = (
    "id,what,step,at,page\n"
    "00123,call,done,2024-05-03T10:00:00+02:00,/a\n"
    "None,deal,won,2024-06-03T10:00:00+01:00,\n"
    "00123,deal,lost,2024-06-05T10:00:00+02:00,\n"
    "00123,deal,won,2024-06-04T10:00:00+02:00,\n"
)
DECLARED = """
name = "test"
[leads]
path = "leads.csv"
lead_id = "id"
created_at = "made"
numeric = ["size"]
unanswered = ["Select"]
[events]
path = "events.csv"
lead_id = "id"
kind = ["what", "step"]
occurred_at = "at"
[outcomes]
from = "events"
won = ["deal:won"]
lost = ["deal:lost"]
deal_value = "size"
[population]
at = "daily"
after = "call:done"
horizon = "30d"
grace = "2d"
[evaluation]
origins = [2024-05-20, "2024-06-01"]
"""


def declare(directory: Path, text: str = DECLARED, **files: str | bytes) -> Source:
    """Write a declaration and its files; underscores in a file's name stand for points."""
    for name, content in {"leads_csv": LEADS, "events_csv": EVENTS, **files}.items():
        raw = content.encode() if isinstance(content, str) else content
        (directory / name.replace("_", ".")).write_bytes(raw)
    (directory / "source.toml").write_text(text, encoding="utf-8")
    return Source.from_toml(directory / "source.toml")


def test_a_declared_source_becomes_a_history(tmp_path: Path) -> None:
    source = declare(tmp_path)
    assert source.population == Population("daily", "call:done", 30 * DAY, 2 * DAY, "won")
    assert source.evaluation == Evaluation(("2024-05-20", "2024-06-01"), None)
    assert source.reveals == ("deal:won", "deal:lost")
    shares: list[float] = []
    history = source.load(progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    leads, outcomes = history.leads, history.outcomes
    assert leads["lead_id"].tolist() == ["00123", "None"]
    assert leads["industry"].fillna("-").tolist() == ["retail", "-"]
    assert leads["size"].fillna(-1).tolist() == [10.0, -1.0]
    assert history.events["kind"].tolist() == ["call:done", "deal:won", "deal:lost", "deal:won"]
    assert history.events["occurred_at"].iloc[0] == pd.Timestamp("2024-05-03T08:00:00Z")
    assert history.events["page"].fillna("-").tolist() == ["/a", "-", "-", "-"]
    # The first of a lead's outcome events counts, in time and not in the file.
    assert outcomes["lead_id"].tolist() == ["None", "00123"]
    assert outcomes["outcome"].tolist() == ["won", "won"]
    assert outcomes["occurred_at"].iloc[1] == pd.Timestamp("2024-06-04T08:00:00Z")
    assert outcomes["deal_value"].fillna(-1).tolist() == [-1.0, 10.0]


DEALS = """
name = "deals"
[leads]
path = "leads.csv"
lead_id = "id"
created_at = "made"
[outcomes]
path = "outcomes.csv"
lead_id = "id"
outcome = "end"
occurred_at = "at"
deal_value = "worth"
{more}
[population]
horizon = "30d"
"""
SOLD = (
    "id,end,at,worth,{currency}\n"
    "1,won,2024-06-01,100,EUR\n"
    "2,won,2024-06-02,200.5,EUR\n"
    "3,won,2024-06-03,300,USD\n"
    "4,lost,2024-06-03,,JPY\n"
    "5,won,2024-06-03,,GBP\n"
)


def _deals(directory: Path, more: str = "", sold: str = SOLD, currency: str = "currency") -> Source:
    leads = "id,made\n" + "".join(f"{number},2024-05-01\n" for number in range(1, 6))
    text = DEALS.replace("{more}", more)
    outcomes = sold.replace("{currency}", currency)
    return declare(directory, text, **{"leads.csv": leads, "outcomes.csv": outcomes})


@pytest.mark.parametrize(("more", "name"), [("", "currency"), ('currency = "money"', "money")])
def test_deal_values_in_two_currencies_are_refused_by_row(
    tmp_path: Path, more: str, name: str
) -> None:
    with pytest.raises(ContractError) as caught:
        _deals(tmp_path, more, currency=name).load()
    [one] = caught.value.breaches
    assert (one.code, one.table, one.row, one.value) == ("currencies", "outcomes", 3, "USD")
    assert "rates = {" in one.remedy


def test_declared_rates_convert_deal_values(tmp_path: Path) -> None:
    source = _deals(tmp_path, "rates = { EUR = 1.0, USD = 0.5 }")
    values = source.load().outcomes.set_index("lead_id")["deal_value"]
    assert values.dropna().to_dict() == {"1": 100.0, "2": 200.5, "3": 150.0}


def test_a_deal_in_a_currency_without_a_rate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError) as caught:
        _deals(tmp_path, "rates = { EUR = 1.0 }").load()
    [one] = caught.value.breaches
    assert (one.code, one.row, one.value) == ("no-rate", 3, "USD")


def test_rates_need_a_currency_column_and_are_above_zero(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="missing-column"):
        _deals(tmp_path, "rates = { EUR = 1.0 }", currency="tax").load()
    with pytest.raises(SourceError, match="one USD is worth 0"):
        _deals(tmp_path, "rates = { EUR = 1.0, USD = 0 }")


def test_one_currency_needs_no_rates(tmp_path: Path) -> None:
    values = _deals(tmp_path, sold=SOLD.replace("USD", "EUR")).load().outcomes["deal_value"]
    assert values.dropna().tolist() == [100.0, 200.5, 300.0]


def test_a_loss_has_no_deal_value(tmp_path: Path) -> None:
    earlier = EVENTS.replace("2024-06-05", "2024-06-01")
    outcomes = declare(tmp_path, events_csv=earlier).load().outcomes
    assert outcomes["outcome"].tolist() == ["won", "lost"]
    assert outcomes["deal_value"].isna().all()


# --- files ---------------------------------------------------------------------------------------

BROKEN: list[tuple[str, str, dict[str, str | bytes], str | None, str]] = [
    ("empty-table", "leads", {"leads_csv": ""}, None, "check the export"),
    ("empty-table", "leads", {"leads_csv": "\n\n"}, None, "check the export"),
    ("empty-table", "leads", {"leads_csv": "id,made,size\n"}, None, "check the export"),
    ("wrong-encoding", "leads", {"leads_csv": LEADS.replace("retail", "Möbel").encode("latin-1")},
     None, 'encoding = "latin-1"'),
    ("wrong-encoding", "events", {"events_csv": EVENTS.encode("utf-16")}, None, "encoding"),
    ("broken-file", "leads", {"leads_csv": LEADS + "1,2024-05-01,a,1,surplus\n"}, None, "again"),
    ("broken-file", "leads", {"leads_csv": "id,made\n1,2024-05-01,7\n2,2024-05-01,8\n"}, None,
     "again"),
    ("broken-file", "events", {"events_csv": EVENTS + '00123,"call\n'}, None, "again"),
    ("duplicate-column", "leads", {"leads_csv": "id,made,size,size\n1,2024-05-01,1,2\n"}, "size",
     "rename or drop"),
    ("unnamed-column", "leads", {"leads_csv": "id,made,size,\n1,2024-05-01,1,2\n"}, None, "name"),
    ("missing-column", "leads", {"leads_csv": LEADS.replace("made", "make")}, "made",
     "did you mean 'make'?"),
    ("missing-column", "events", {"events_csv": EVENTS.replace("step", "Stepp")}, "step",
     "did you mean 'Stepp'?"),
    ("missing-column", "outcomes", {"leads_csv": LEADS.replace("size", "sizes")}, "size",
     "did you mean 'sizes'?"),
    ("unknown-kind", "events", {"events_csv": EVENTS.replace("call,done", "Call,done")}, "kind",
     "did you mean 'Call:done'?"),
    ("missing-column", "leads", {"leads_csv": LEADS.replace(",", ";")}, "id", "add it, or map"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "table", "files", "field", "remedy"),
    BROKEN,
    ids=[f"{case[0]}-{number}" for number, case in enumerate(BROKEN)],
)
def test_a_bad_file_is_named_with_its_remedy(
    code: str,
    table: str,
    files: dict[str, str | bytes],
    field: str | None,
    remedy: str,
    tmp_path: Path,
) -> None:
    with pytest.raises(ContractError) as caught:
        declare(tmp_path, **files).load()
    found = [one for one in caught.value.breaches if one.code == code and one.table == table]
    assert found[0].row is None
    assert found[0].field == field
    assert remedy in found[0].remedy


def test_every_bad_file_is_told_at_once(tmp_path: Path) -> None:
    source = declare(tmp_path, DECLARED.replace("events.csv", "evnts.csv"), leads_csv="")
    with pytest.raises(ContractError) as caught:
        source.load()
    assert [(one.code, one.table) for one in caught.value.breaches] == [
        ("empty-table", "leads"),
        ("missing-file", "events"),
    ]
    assert "did you mean 'events.csv'?" in str(caught.value)


@pytest.mark.parametrize(
    "content", [gzip.compress(LEADS.encode())[:-9], b"id,made\n1,2"], ids=["cut short", "not gzip"]
)
def test_a_torn_download_is_named(content: bytes, tmp_path: Path) -> None:
    source = declare(tmp_path, DECLARED.replace("leads.csv", "leads.csv.gz"), leads_csv_gz=content)
    with pytest.raises(ContractError, match=r"leads: broken-file"):
        source.load()


def test_a_file_that_is_not_parquet_is_named(tmp_path: Path) -> None:
    source = declare(tmp_path, DECLARED.replace("leads.csv", "l.parquet"), l_parquet=b"PAR1")
    with pytest.raises(ContractError, match=r"leads: broken-file"):
        source.load()


@pytest.mark.parametrize(
    ("encoding", "key"), [("utf-8-sig", ""), ("latin-1", "latin-1"), ("utf-16", "utf-16")]
)
def test_declared_encodings_separators_and_compression_are_read(
    encoding: str, key: str, tmp_path: Path
) -> None:
    content = LEADS.replace("retail", "Möbel").replace(",", ";").encode(encoding)
    lines = 'path = "leads.csv.gz"\nseparator = ";"\n' + (f'encoding = "{key}"\n' if key else "")
    text = DECLARED.replace('path = "leads.csv"\n', lines)
    history = declare(tmp_path, text, leads_csv_gz=gzip.compress(content)).load()
    assert history.leads["industry"].iloc[0] == "Möbel"


def test_a_comma_at_the_end_of_every_line_is_no_column(tmp_path: Path) -> None:
    history = declare(tmp_path, leads_csv=LEADS.replace("\n", ",\n")).load()
    assert list(history.leads) == ["lead_id", "created_at", "account_id", "industry", "size"]


ODD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
WORDS = st.sampled_from(["00123", "None", "NaN", "NULL", "é🙂", 'a"b', "a\nb", "a\r\nb", ",", " "])


@given(st.lists(WORDS | ODD, min_size=1, max_size=5, unique=True), st.data())
def test_text_survives_the_way_through_a_csv_file(
    tmp_path_factory: pytest.TempPathFactory, ids: list[str], data: st.DataObject
) -> None:
    words = [data.draw(WORDS | ODD) for _ in ids]
    directory = tmp_path_factory.mktemp("csv")
    with (directory / "leads.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(["lead_id", "created_at", "note"])
        writer.writerows((one, "2024-05-01", word) for one, word in zip(ids, words, strict=True))
    text = 'name = "x"\nleads.path = "leads.csv"\npopulation.horizon = "1d"'
    (directory / "source.toml").write_text(text)
    leads = Source.from_toml(directory / "source.toml").load().leads
    assert leads["lead_id"].tolist() == ids
    assert leads["note"].tolist() == words


def test_a_simulation_comes_back_as_it_was_written(tmp_path: Path) -> None:
    made = simulate(leads=60, days=60, seed=1)
    made.write(tmp_path)
    sections = "\n".join(f'[{name}]\npath = "{name}.parquet"' for name in NAMES)
    text = f'name = "x"\n{sections}\n[population]\nhorizon = "28d"'
    history = declare(tmp_path, text).load()
    for name in NAMES:
        pd.testing.assert_frame_equal(getattr(history, name), getattr(made.history, name))


def test_paths_may_name_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = DECLARED.replace("leads.csv", "${WHERE:-.}/leads.csv")
    assert len(declare(tmp_path, text).load().leads) == 2
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "leads.csv").write_text(LEADS + "9,2024-05-03,x,1\n")
    monkeypatch.setenv("WHERE", str(tmp_path / "other"))
    assert len(Source.from_toml(tmp_path / "source.toml").load().leads) == 3
    monkeypatch.delenv("WHERE")
    with pytest.raises(SourceError, match=r"\[leads\] path: the environment has no WHERE"):
        declare(tmp_path, text.replace(":-.", ""))


# --- declarations --------------------------------------------------------------------------------

FAULTS = [
    ('name = "test"', 'nam = "test"', "nam is not a key: did you mean 'name'?"),
    ("created_at =", "createdat =", r"\[leads\] createdat is not .* 'created_at'?"),
    ("occurred_at =", "qqq =", r"\[events\] qqq is not a key: legal are path"),
    ("[outcomes]", "[outcome]", "outcome is not a key: did you mean 'outcomes'?"),
    ('path = "leads.csv"\n', "", r"\[leads\] needs path or from"),
    ('path = "events.csv"\n', "", r"\[events\] needs path, and only one"),
    ('from = "events"', 'from = "event"', "Invalid enum value 'event'"),
    ('from = "events"\n', 'path = "o.csv"\nfrom = "events"\n', r"\[outcomes\] needs path or from"),
    ('lost = ["deal:lost"]', 'lost = ["deal:won"]', "'deal:won' stands for two outcomes"),
    ('won = ["deal:won"]\n', "", "target 'won' has no words in the source"),
    ('at = "daily"', 'at = "hourly"', 'at = "hourly": write "daily"'),
    ('at = "daily"', 'at = "first "', "first KIND"),
    ('horizon = "30d"\n', "", r"\[population\] horizon is missing"),
    ('horizon = "30d"', 'horizon = "0d"', r"\[population\] '0d' is not a duration"),
    ('grace = "2d"', 'grace = "2 days"', "'2 days' is not a duration"),
    ('[2024-05-20, "2024-06-01"]', '["May"]', r"\[evaluation\] .*'May'"),
    ('[2024-05-20, "2024-06-01"]', '["2024-06-01", 0.5]', "dates or shares, not both"),
    ('[2024-05-20, "2024-06-01"]', "[0.5, 1.5]", "between 0 and 1"),
    ('[2024-05-20, "2024-06-01"]', "[0.6, 0.5]", "in the order of time"),
    ('"2024-06-01"]', '"2024-06-01"]\nend = "2024-05-25"', "before end"),
    ('path = "leads.csv"', 'path = "leads.csv"\nencoding = "latin-0"', "unknown encoding: latin-0"),
    ('name = "test"', 'name = "test"\ntimezone = "Europe/Bonn"', "'Europe/Bonn' is unknown"),
    ('name = "test"', 'name = "test"\nlag = "soon"', "lag: 'soon' is not a duration"),
    ('name = "test"', "name = 7", "Expected `str`, got `int`"),
    ('created_at = "made"', 'order_by = "made"', "events and changes have times"),
    ('name = "test"', "name = ", "Invalid value"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), FAULTS)
def test_a_fault_of_the_declaration_names_the_key(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    assert old in DECLARED
    with pytest.raises(SourceError, match=message.replace("?", r"\?")) as caught:
        declare(tmp_path, DECLARED.replace(old, new, 1))
    assert str(tmp_path / "source.toml") in str(caught.value)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    text = DECLARED.replace('"30d"', '"x"').replace('"daily"', '"hourly"')
    text = text.replace('name = "test"', 'name = "test"\nlag = "y"\ntimezone = "Z"')
    with pytest.raises(SourceError) as caught:
        declare(tmp_path, text)
    assert all(part in str(caught.value) for part in ("'y'", "'Z'", "hourly"))
    with pytest.raises(SourceError, match=r"(?s)createdat.*gracee"):
        declare(tmp_path, text.replace("created_at", "createdat").replace("grace", "gracee"))


# --- outcomes ------------------------------------------------------------------------------------

PLAIN = """
name = "plain"
[leads]
path = "leads.csv"
exclude = ["leak"]
[outcomes]
from = "leads"
outcome = "status"
occurred_at = "closed"
deal_value = "amount"
won = ["W"]
lost = ["L", "X"]
open = ["new"]
[population]
at = "created"
horizon = "90d"
"""
PLAIN_LEADS = (
    "lead_id,created_at,status,closed,amount,leak,city\n"
    "1,2024-01-01,W,2024-02-01,50,a,Ulm\n"
    "2,2024-01-01,new,,,b,Ulm\n"
    "3,2024-01-01,X,2024-03-01,,c,\n"
    "4,2024-01-01,,,,d,Bonn\n"
)


def test_a_table_alone_tells_its_outcomes_and_keeps_them_out_of_the_attributes(
    tmp_path: Path,
) -> None:
    source = declare(tmp_path, PLAIN, leads_csv=PLAIN_LEADS)
    history = source.load()
    assert list(history.leads) == ["lead_id", "created_at", "account_id", "city"]
    assert source.exclude == ("leak",)
    assert history.outcomes[["lead_id", "outcome"]].to_numpy().tolist() == [
        ["1", "won"],
        ["3", "lost"],
    ]
    assert history.outcomes["deal_value"].fillna(-1).tolist() == [50.0, -1.0]


def test_a_word_that_stands_for_nothing_is_a_breach_of_its_row(tmp_path: Path) -> None:
    with pytest.raises(ContractError) as caught:
        declare(tmp_path, PLAIN, leads_csv=PLAIN_LEADS.replace("X", "lsot")).load()
    (breach,) = caught.value.breaches
    assert (breach.code, breach.table, breach.row) == ("unknown-outcome", "outcomes", 3)
    assert (breach.field, breach.value) == ("outcome", "lsot")


def test_the_outcome_cannot_be_declared_an_attribute(tmp_path: Path) -> None:
    text = PLAIN.replace("exclude =", 'attributes = ["leak", "status"]\nexclude =')
    with pytest.raises(SourceError, match="attributes hold the outcome"):
        declare(tmp_path, text, leads_csv=PLAIN_LEADS)


def test_an_excluded_column_that_is_not_there_is_a_breach(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="did you mean 'leak'"):
        declare(tmp_path, PLAIN.replace('["leak"]', '["leek"]'), leads_csv=PLAIN_LEADS).load()


def test_outcomes_of_their_own_file_speak_for_any_target(tmp_path: Path) -> None:
    text = DECLARED.replace('from = "events"\n', 'path = "out.csv"\nlead_id = "id"\n')
    text = text.replace('"deal:won"', '"W"').replace('"deal:lost"', '"L"')
    text = text.replace("[population]", '[outcomes.targets]\nupsell = ["U"]\n[population]')
    text = text.replace('grace = "2d"', 'target = "upsell"')
    out = "id,outcome,occurred_at,reason\nNone,W,2024-06-01,\nNone,U,2024-07-01,asked\n"
    source = declare(tmp_path, text, out_csv=out)
    assert source.population.target == "upsell"
    assert source.reveals == ()
    outcomes = source.load().outcomes
    assert outcomes["outcome"].tolist() == ["won", "upsell"]
    assert outcomes["reason"].fillna("-").tolist() == ["-", "asked"]


def test_bad_rows_of_derived_tables_keep_the_numbers_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(ContractError) as caught:
        declare(tmp_path, events_csv=EVENTS.replace("2024-06-03", "2024-04-03")).load()
    (breach,) = caught.value.breaches
    assert (breach.code, breach.table, breach.row) == ("outcome-before-creation", "outcomes", 2)


def test_a_quarantine_takes_the_bad_rows_of_a_file(tmp_path: Path) -> None:
    source = declare(tmp_path, events_csv=EVENTS + "00123,call,done,soon,\n")
    with pytest.raises(ContractError, match=r"row 5: 'soon'"):
        source.load()
    history = source.load(quarantine=tmp_path / "bad")
    pd.testing.assert_frame_equal(history.events, declare(tmp_path).load().events)
    assert (tmp_path / "bad" / "events.csv").read_text().startswith("reasons,lead_id,")
    with pytest.raises(FileExistsError):
        source.load(quarantine=tmp_path)
    assert (tmp_path / "leads.csv").read_text() == LEADS


def test_an_order_stands_in_for_times(tmp_path: Path) -> None:
    text = """
    name = "ordered"
    [leads]
    path = "leads.csv"
    order_by = "number"
    [outcomes]
    from = "leads"
    outcome = "converted"
    won = ["1"]
    lost = ["0"]
    """
    rows = "lead_id,number,converted\nb,1000,1\na,20,0\nc,3,0\n"
    source = declare(tmp_path, text, leads_csv=rows)
    assert source.timeless
    assert source.population == Population("created", None, SECOND, 0, "won")
    history = source.load()
    assert list(history.leads) == ["lead_id", "created_at", "account_id"]
    start = pd.Timestamp("2000-01-01T00:00:00Z")
    after = (history.leads["created_at"] - start).dt.total_seconds()
    assert after.tolist() == [3, 2, 1]
    closed = (history.outcomes["occurred_at"] - start).dt.total_seconds()
    assert closed.tolist() == [3.5, 2.5, 1.5]
    with pytest.raises(ContractError) as caught:
        declare(tmp_path, text, leads_csv=rows.replace("20", "XX")).load()
    (breach,) = caught.value.breaches
    assert (breach.code, breach.row, breach.field) == ("not-a-number", 2, "number")
    with pytest.raises(SourceError, match="only at"):
        declare(tmp_path, text + '[population]\nat = "daily"')


# --- frames and real data ------------------------------------------------------------------------


def test_frames_make_a_source() -> None:
    leads = pd.DataFrame(
        {"lead_id": ["1", "2"], "created_at": "2024-05-01", "size": ["5", "x"], "leak": "y"}
    )
    declared: dict[str, Any] = {
        "population": Population("weekly", None, 30 * DAY, 0, "won"),
        "numeric": {"leads": ["size"]},
        "exclude": ["leak"],
    }
    source = Source.from_frames("frames", leads, timezone="Asia/Tokyo", **declared)
    with pytest.raises(ContractError, match="not-a-number"):
        source.load()
    leads["size"] = ["5", ""]
    history = source.load()
    assert list(history.leads) == ["lead_id", "created_at", "account_id", "size"]
    assert history.leads["created_at"].iloc[0] == pd.Timestamp("2024-04-30T15:00:00Z")
    ready = Source.from_frames("ready", history=history, population=source.population)
    assert ready.load() is history
    with pytest.raises(SourceError):
        Source.from_frames("none", population=source.population)


@pytest.fixture(scope="module")
def bpic(data: Path) -> Path:
    if not (data / "bpic2012").is_dir():
        pytest.skip("no BPIC 2012 here: set LEADCAST_DATA to the directory that holds bpic2012/")
    return EXAMPLES / "bpic2012.toml"


def test_bpic_2012_loads_as_published(bpic: Path) -> None:
    history = Source.from_toml(bpic).load()
    assert len(history.leads) == 13_087
    assert len(history.events) == 262_200
    assert history.outcomes["outcome"].value_counts().to_dict() == {
        "lost": 7_635 + 2_807,
        "won": 2_246,
    }
    assert len(history.leads) - history.outcomes["lead_id"].nunique() == 399
    first = history.events.iloc[0]
    assert (first["lead_id"], first["kind"]) == ("173688", "A_SUBMITTED:COMPLETE")
    assert first["occurred_at"] == pd.Timestamp("2011-09-30T22:38:44.546Z")
    winter = history.events["occurred_at"].max()
    assert winter == pd.Timestamp("2012-03-14T15:04:54.681Z")
    assert history.leads["amount"].dtype == "float64"
    won = history.outcomes["outcome"] == "won"
    assert history.outcomes.loc[won, "deal_value"].notna().all()


def test_x_education_loads_without_its_leaks(data: Path) -> None:
    if not (data / "xeducation").is_dir():
        pytest.skip("no X Education here: set LEADCAST_DATA to the directory that holds it")
    source = Source.from_toml(EXAMPLES / "xeducation.toml")
    history = source.load()
    assert source.timeless
    assert len(history.leads) == 9_240
    assert history.outcomes["outcome"].value_counts().to_dict() == {"lost": 5_679, "won": 3_561}
    assert not {"Converted", "Lead Number", "Prospect ID", *source.exclude} & set(history.leads)
    assert not (history.leads == "Select").any(axis=None)
    numbers = [name for name in history.leads if history.leads[name].dtype == "float64"]
    assert numbers == ["TotalVisits", "Total Time Spent on Website", "Page Views Per Visit"]
    newest = history.leads.loc[history.leads["created_at"].idxmax(), "lead_id"]
    assert newest == "7927b2df-8bba-4d29-b9a2-b6e0beafe620"
    assert math.isclose(history.leads["TotalVisits"].isna().sum(), 137)
