"""The contract: every kind of bad input has its name, its place and its remedy."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.breaches import Breach, ContractError
from features.schema import History, check
from features.times import from_micros, instant, micros

Tables = dict[str, pd.DataFrame]
NAMES = ("leads", "events", "changes", "outcomes")


def tables() -> Tables:
    """Good raw tables, as a CSV reader makes them: text everywhere."""
    raw = {
        "leads": {
            "lead_id": ["00123", "None", "é🙂"],
            "created_at": [
                "2024-05-01T10:00:00Z",
                "2024-05-02T10:00:00+02:00",
                "2024-05-03 08:00Z",
            ],
            "account_id": ["acme", "", "acme"],
            "size": ["10", "", "2.5"],
            "industry": ["retail", "Select", "12"],
        },
        "events": {
            "lead_id": ["00123", "00123", "é🙂", "None"],
            "event_id": ["a", "b", "a", "a"],
            "kind": ["call", "visit", "call", "call"],
            "occurred_at": ["2024-05-04T10:00:00Z"] * 4,
            "known_at": ["", "2024-05-05T10:00:00Z", "", ""],
            "channel": ["phone", "web", "", "phone"],
            "value": ["", "5", "0", "1e3"],
            "page": ["", "/pricing", "/a,b", ""],
        },
        "changes": {
            "lead_id": ["00123", "None"],
            "change_id": ["1", "2"],
            "field": ["stage", "stage"],
            "value": ["open", ""],
            "known_at": ["2024-05-04T10:00:00Z", "2024-05-05T10:00:00Z"],
        },
        "outcomes": {
            "lead_id": ["00123", "None"],
            "outcome": ["won", "lost"],
            "occurred_at": ["2024-06-01T10:00:00Z", "2024-06-02T10:00:00Z"],
            "deal_value": ["1200.5", ""],
        },
    }
    return {name: pd.DataFrame(columns, dtype="str") for name, columns in raw.items()}


def put(table: str, row: int, field: str, value: object) -> Callable[[Tables], None]:
    """Write a value into one cell; rows count from 1."""

    def edit(given: Tables) -> None:
        column = given[table][field].astype(object)
        column[row - 1] = value
        text = all(isinstance(one, str) for one in column)
        try:
            given[table][field] = column.astype("str") if text else column
        except UnicodeEncodeError:
            given[table][field] = column

    return edit


def again(table: str, row: int, field: str, value: str) -> Callable[[Tables], None]:
    """Deliver a row a second time, with another value in one field."""

    def edit(given: Tables) -> None:
        given[table] = pd.concat([given[table], given[table].iloc[[row - 1]]], ignore_index=True)
        put(table, len(given[table]), field, value)(given)

    return edit


def column(table: str, field: str, values: object) -> Callable[[Tables], None]:
    def edit(given: Tables) -> None:
        given[table][field] = values

    return edit


def as_it_is(edit: Callable[[Tables], None]) -> Callable[[Tables], None]:
    return edit


def without_facts(edit: Callable[[Tables], None]) -> Callable[[Tables], None]:
    def both(given: Tables) -> None:
        edit(given)
        given.update({name: given[name].iloc[:0] for name in NAMES[1:]})

    return both


def renamed(table: str, old: str, new: object) -> Callable[[Tables], None]:
    def edit(given: Tables) -> None:
        given[table] = given[table].rename(columns={old: new})

    return edit


def broken(edit: Callable[[Tables], None], **options: object) -> tuple[Breach, ...]:
    given = tables()
    edit(given)
    with pytest.raises(ContractError) as caught:
        check(**given, numeric={"leads": ["size"]}, **options)  # type: ignore[arg-type]
    return caught.value.breaches


def same(found: History, expected: History) -> None:
    for name in NAMES:
        pd.testing.assert_frame_equal(getattr(found, name), getattr(expected, name))


ROWS = [
    ("missing-id", without_facts(put("leads", 2, "lead_id", "")),
     "leads", 2, "lead_id", None, "its id"),
    ("missing-id", put("events", 4, "lead_id", ""), "events", 4, "lead_id", None, "its id"),
    ("missing-id", put("events", 2, "event_id", ""), "events", 2, "event_id", None, "its id"),
    ("missing-id", put("changes", 1, "change_id", ""), "changes", 1, "change_id", None, "its id"),
    ("id-not-text", put("events", 1, "event_id", 7), "events", 1, "event_id", "7", "dtype=str"),
    ("id-not-text", put("leads", 3, "account_id", b"x"), "leads", 3, "account_id", "b'x'", "text"),
    ("missing-time", put("leads", 1, "created_at", ""), "leads", 1, "created_at", None, "time"),
    ("missing-time", put("changes", 2, "known_at", ""), "changes", 2, "known_at", None, "time"),
    ("missing-kind", put("events", 3, "kind", ""), "events", 3, "kind", None, "kind"),
    ("missing-field", put("changes", 2, "field", ""), "changes", 2, "field", None, "field"),
    ("missing-outcome", put("outcomes", 1, "outcome", ""), "outcomes", 1, "outcome", None, "open"),
    ("mixed-time-zones", put("events", 3, "occurred_at", "2024-05-04T10:00:00"),
     "events", 3, "occurred_at", "2024-05-04T10:00:00", "offset"),
    ("mixed-time-zones", put("events", 3, "occurred_at", "2024-05-04"),
     "events", 3, "occurred_at", "2024-05-04", "offset"),
    ("year-out-of-range", put("leads", 2, "created_at", "1066-10-14T09:00:00Z"),
     "leads", 2, "created_at", "1066-10-14T09:00:00Z", "correct"),
    ("year-out-of-range", put("outcomes", 2, "occurred_at", "2200-01-01T00:00:00Z"),
     "outcomes", 2, "occurred_at", "2200-01-01T00:00:00Z", "correct"),
    ("known-before-occurred", put("events", 2, "known_at", "2024-05-04T09:59:59.999999Z"),
     "events", 2, "known_at", "2024-05-04T09:59:59.999999Z", "known_at empty"),
    ("not-text", put("events", 2, "channel", ["web"]), "events", 2, "channel", "['web']", "text"),
    ("not-text", put("leads", 1, "industry", "a\ud800"), "leads", 1, "industry", "a\ud800", "text"),
    *[
        ("nul-character", edit(put(table, row, field, "a\0b")), table, row, field, "a\0b", "out")
        for table, row, field, edit in [
            ("leads", 2, "lead_id", without_facts), ("leads", 3, "account_id", as_it_is),
            ("leads", 1, "industry", as_it_is), ("events", 2, "event_id", as_it_is),
            ("events", 1, "kind", as_it_is), ("events", 3, "channel", as_it_is),
            ("events", 4, "page", as_it_is), ("changes", 1, "change_id", as_it_is),
            ("changes", 2, "value", as_it_is),
        ]
    ],
    ("not-a-number", put("leads", 3, "size", "1\0"), "leads", 3, "size", "1\0", "1234.5"),
    ("not-a-number", put("leads", 3, "size", "2,5"), "leads", 3, "size", "2,5", "1234.5"),
    ("not-a-number", put("leads", 3, "size", "nan"), "leads", 3, "size", "nan", "1234.5"),
    ("not-a-number", put("events", 2, "value", "€5"), "events", 2, "value", "€5", "1234.5"),
    ("not-finite", put("events", 2, "value", "1e999"), "events", 2, "value", "1e999", "empty"),
    ("not-finite", put("leads", 1, "size", "-Infinity"), "leads", 1, "size", "-Infinity", "empty"),
    ("negative-value", put("events", 4, "value", "-0.01"), "events", 4, "value", "-0.01", "0 or"),
    ("negative-value", put("outcomes", 1, "deal_value", "-5"),
     "outcomes", 1, "deal_value", "-5", "0 or more"),
    ("unknown-outcome", put("outcomes", 1, "outcome", "Won"),
     "outcomes", 1, "outcome", "Won", "won, lost"),
    ("duplicate-id", again("leads", 1, "industry", "bank"),
     "leads", 4, "lead_id", "00123", "keep the row"),
    ("duplicate-id", again("events", 2, "page", "/"), "events", 5, "event_id", "b", "its own"),
    ("duplicate-id", again("changes", 2, "value", "x"), "changes", 3, "change_id", "2", "id of"),
    ("conflicting-duplicate", again("outcomes", 1, "deal_value", "9"),
     "outcomes", 3, "outcome", "won", "keep the row"),
    ("unknown-lead", put("events", 1, "lead_id", "123"),
     "events", 1, "lead_id", "123", "add the lead"),
    ("unknown-lead", put("changes", 2, "lead_id", "none"),
     "changes", 2, "lead_id", "none", "add the lead"),
    ("unknown-lead", put("outcomes", 2, "lead_id", " None"),
     "outcomes", 2, "lead_id", " None", "add the lead"),
    ("outcome-before-creation", put("outcomes", 2, "occurred_at", "2024-05-02T07:59:59Z"),
     "outcomes", 2, "occurred_at", "2024-05-02T07:59:59Z", "created_at"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "edit", "table", "row", "field", "value", "remedy"),
    ROWS,
    ids=[f"{case[0]}-{case[2]}-{case[4]}-{number}" for number, case in enumerate(ROWS)],
)
def test_a_bad_row_is_named_with_its_place_and_remedy(
    code: str,
    edit: Callable[[Tables], None],
    table: str,
    row: int,
    field: str,
    value: str | None,
    remedy: str,
) -> None:
    (breach,) = broken(edit)
    assert (breach.code, breach.table, breach.row) == (code, table, row)
    assert (breach.field, breach.value) == (field, value)
    assert remedy in breach.remedy
    message = str(ContractError([breach]))
    assert all(part in message for part in (code, table, f"row {row}", field, breach.remedy))


@pytest.mark.parametrize(
    "text",
    ["2024-13-01", "2024-02-30T10:00:00Z", "2024-05-01T24:30:00Z", "31.12.2024", "12/31/2024",
     "1717200000", "2024", "20240501", "now", "today", "yesterday", "NaT", "None", " 2024-05-01",
     "2024-05-01T10:00:00 CET", "2024-05-01T10:00:00+99:00", "2024-05-01T10:00:00Z\n",
     "２０２４-05-01"],
)  # fmt: skip
def test_only_iso_8601_is_a_time(text: str) -> None:
    (breach,) = broken(put("leads", 2, "created_at", text))
    assert (breach.code, breach.table, breach.row) == ("unparsable-time", "leads", 2)
    assert (breach.field, breach.value) == ("created_at", text)
    assert "2024-05-31T13:00:00+02:00" in breach.remedy


@pytest.mark.parametrize(
    ("code", "text"),
    [("ambiguous-time", "2024-10-27 02:30"), ("nonexistent-time", "2024-03-31 02:30")],
)
def test_local_times_that_the_clocks_skip_or_repeat_need_an_offset(code: str, text: str) -> None:
    edit = column("leads", "created_at", ["2024-01-01", text, "2024-07-01"])
    (breach,) = broken(without_facts(edit), timezone="Europe/Berlin")
    assert (breach.code, breach.row, breach.value) == (code, 2, text)
    assert "offset" in breach.remedy


TABLE_LEVEL = [
    ("missing-column", renamed("leads", "created_at", "create_at"),
     "leads", "created_at", "did you mean 'create_at'?"),
    ("missing-column", renamed("leads", "size", "sizes"), "leads", "size", "did you mean 'sizes'?"),
    ("missing-column", renamed("changes", "field", "_"), "changes", "field", "add it, or map"),
    ("unknown-column", renamed("outcomes", "deal_value", "deal_vaule"),
     "outcomes", "deal_vaule", "did you mean 'deal_value'?"),
    ("duplicate-column", renamed("leads", "industry", "Size"), "leads", "Size", "rename or drop"),
    ("duplicate-column", renamed("leads", "industry", "size"), "leads", "size", "rename or drop"),
    ("duplicate-column", renamed("events", "page", "CAMPAIGN"), "events", "CAMPAIGN", "rename"),
    ("reserved-column", renamed("leads", "industry", "_row"), "leads", "_row", "rename"),
    ("reserved-column", renamed("events", "page", "As_Of"), "events", "As_Of", "rename"),
    ("reserved-column", renamed("leads", "industry", "known_at"), "leads", "known_at", "rename"),
    ("unnamed-column", renamed("leads", "industry", " "), "leads", " ", "name the column"),
    ("unnamed-column", renamed("leads", "industry", "a\nb"), "leads", "a\nb", "name the column"),
    ("id-not-text", column("leads", "lead_id", [123, 5, 6]), "leads", "lead_id", "dtype=str"),
    ("id-not-text", column("events", "event_id", [1.0, 2, 3, np.nan]),
     "events", "event_id", "dtype=str"),
    ("id-not-text", column("leads", "account_id", [True, False, True]),
     "leads", "account_id", "text"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "edit", "table", "field", "remedy"),
    TABLE_LEVEL,
    ids=[f"{case[0]}-{number}" for number, case in enumerate(TABLE_LEVEL)],
)
def test_a_bad_column_is_named_and_stops_even_a_quarantine(
    code: str,
    edit: Callable[[Tables], None],
    table: str,
    field: str,
    remedy: str,
    tmp_path: Path,
) -> None:
    for options in ({}, {"quarantine": tmp_path / "bad"}):
        found = broken(edit, **options)
        breach = next(one for one in found if (one.code, one.field) == (code, field))
        assert (breach.table, breach.row) == (table, None)
        assert remedy in breach.remedy
    assert not (tmp_path / "bad").exists()


def test_a_table_without_leads_is_empty_and_without_facts_is_not() -> None:
    leads = tables()["leads"]
    with pytest.raises(ContractError, match="empty-table"):
        check(leads.iloc[:0])
    history = check(leads)
    assert [len(getattr(history, name)) for name in NAMES] == [3, 0, 0, 0]
    expected = check(**tables())
    for name in ("changes", "outcomes"):
        found, full = getattr(history, name), getattr(expected, name)
        assert found.dtypes.to_dict() == full.dtypes.to_dict()


def test_every_breach_of_every_table_is_told_at_once() -> None:
    def edit(given: Tables) -> None:
        put("leads", 1, "created_at", "soon")(given)
        put("leads", 1, "size", "big")(given)
        put("events", 2, "value", "-1")(given)
        put("changes", 1, "lead_id", "nobody")(given)
        put("outcomes", 2, "outcome", "maybe")(given)
        given["leads"]["_x"] = "y"

    found = {(one.code, one.table, one.row) for one in broken(edit)}
    assert found == {
        ("unparsable-time", "leads", 1),
        ("not-a-number", "leads", 1),
        ("reserved-column", "leads", None),
        ("negative-value", "events", 2),
        ("unknown-lead", "changes", 1),
        ("unknown-outcome", "outcomes", 2),
    }


def test_facts_of_a_bad_lead_are_not_breaches_themselves() -> None:
    (breach,) = broken(put("leads", 1, "created_at", "soon"))
    assert breach.table == "leads"


def test_the_message_shows_some_of_many_and_nothing_that_could_hurt_a_terminal() -> None:
    def edit(given: Tables) -> None:
        odd = ["\x1b[2Jgone", "line\nbreak", "x" * 10_000, *["bad"] * 1_234]
        rows = {"lead_id": "00123", "kind": "call", "occurred_at": odd}
        given["events"] = pd.DataFrame(rows).astype("str")

    breaches = broken(edit)
    message = str(ContractError(breaches))
    assert len(breaches) == 1_237
    assert max(len(one.value or "") for one in breaches) == 60
    assert "1,237 rows" in message
    assert "and 1,232 more" in message
    assert message.count("row ") == 5
    assert "\x1b" not in message
    assert message.count("\n") < 12


def test_rows_of_a_filtered_frame_keep_the_numbers_of_its_file() -> None:
    given = tables()
    put("events", 3, "value", "-1")(given)
    given["events"] = given["events"].iloc[[1, 2]]
    with pytest.raises(ContractError) as caught:
        check(**given)
    assert [one.row for one in caught.value.breaches] == [3]
    given["events"] = pd.concat([given["events"]] * 2).assign(event_id=["p", "q", "r", "s"])
    with pytest.raises(ContractError) as caught:
        check(**given)
    assert [one.row for one in caught.value.breaches] == [2, 4]


# --- what good tables become ---------------------------------------------------------------------


def test_a_history_has_the_types_and_defaults_of_the_contract() -> None:
    history = check(**tables(), lag="2h", numeric={"leads": ["size"]})
    leads, events, outcomes = history.leads, history.events, history.outcomes
    assert list(leads) == ["lead_id", "created_at", "account_id", "size", "industry"]
    assert leads["lead_id"].tolist() == ["00123", "None", "é🙂"]
    assert leads["created_at"].dtype == "datetime64[us, UTC]"
    assert leads["created_at"].iloc[1] == pd.Timestamp("2024-05-02T08:00:00Z")
    assert leads["size"].tolist()[::2] == [10.0, 2.5]
    assert math.isnan(leads["size"].iloc[1])
    assert leads["industry"].tolist() == ["retail", "Select", "12"]
    assert leads["account_id"].isna().tolist() == [False, True, False]
    late = events["known_at"] - events["occurred_at"]
    assert late.tolist() == [timedelta(hours=2), timedelta(days=1), *[timedelta(hours=2)] * 2]
    assert events["campaign"].isna().all()
    assert events["campaign"].dtype == "str"
    assert events["value"].dtype == "float64"
    assert (outcomes["known_at"] - outcomes["occurred_at"]).tolist() == [timedelta(hours=2)] * 2
    assert outcomes["deal_value"].iloc[0] == 1200.5


def test_typed_columns_pass_as_what_they_are() -> None:
    leads = pd.DataFrame(
        {
            "lead_id": pd.Series(["1", "2"], dtype="string[pyarrow]"),
            "created_at": pd.to_datetime(["2024-01-01", "2024-07-01"]),
            "account_id": pd.Categorical(["a", None]),
            "flag": [True, False],
            "maybe": pd.Series([True, None], dtype="boolean"),
            "mixed": pd.Series([None, False], dtype=object),
            "whole": pd.Series([3, None], dtype="Int64"),
            "price": pd.Series([Decimal("1.50"), None], dtype=object),
            "code": pd.Series(["7", None], dtype="category"),
            "arrow": pd.Series([2.5, None], dtype="float64[pyarrow]"),
            "day": pd.to_datetime(["2024-01-31", None]),
        }
    )
    found = check(leads, timezone="Europe/Berlin").leads
    hours = found["created_at"].dt.strftime("%m-%d %H").tolist()
    assert hours == ["12-31 23", "06-30 22"]
    texts = {name: found[name].fillna("-").tolist() for name in found if found[name].dtype == "str"}
    assert texts == {
        "lead_id": ["1", "2"], "account_id": ["a", "-"], "flag": ["true", "false"],
        "maybe": ["true", "-"], "mixed": ["-", "false"], "code": ["7", "-"],
        "day": ["2024-01-31", "-"],
    }  # fmt: skip
    numbers = {n: found[n].fillna(-1).tolist() for n in found if found[n].dtype == "float64"}
    assert numbers == {"whole": [3, -1], "price": [1.5, -1], "arrow": [2.5, -1]}


def test_an_infinite_number_is_found_in_typed_columns_too() -> None:
    given = tables()
    given["leads"]["score"] = [1.0, np.inf, np.nan]
    with pytest.raises(ContractError) as caught:
        check(**given)
    (breach,) = caught.value.breaches
    assert (breach.code, breach.row, breach.field) == ("not-finite", 2, "score")


@pytest.mark.parametrize("missing", ["", None])
def test_ids_that_no_row_has_follow_the_order_of_the_file(missing: str | None) -> None:
    rows = 1_005
    events = pd.DataFrame(
        {"lead_id": "None", "kind": "call", "occurred_at": "2024-05-04", "page": range(rows)}
    )
    made = check(tables()["leads"], events).events
    assert made["event_id"].is_unique
    assert made.sort_values("event_id")["page"].tolist() == list(range(rows))
    given_none = events.assign(event_id=pd.Series([missing] * rows, dtype="str"))
    pd.testing.assert_frame_equal(check(tables()["leads"], given_none).events, made)


def test_a_lead_may_have_one_outcome_of_each_target() -> None:
    given = tables()
    again("outcomes", 1, "outcome", "upsell")(given)
    history = check(**given, targets=("won", "lost", "upsell"))
    assert history.outcomes["outcome"].tolist() == ["won", "lost", "upsell"]
    with pytest.raises(ContractError, match="unknown-outcome"):
        check(**given)


def test_arguments_that_make_no_sense_are_refused() -> None:
    leads = tables()["leads"]
    with pytest.raises(ValueError, match="Mars"):
        check(leads, timezone="Mars/Olympus")
    with pytest.raises(ValueError, match="soon"):
        check(leads, lag="soon")
    with pytest.raises(ValueError, match="Won"):
        check(leads, targets=("Won",))


# --- quarantine ----------------------------------------------------------------------------------


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_good_rows_go_on_and_bad_ones_are_written_with_reasons(tmp_path: Path) -> None:
    given = tables()
    put("leads", 3, "created_at", "soon")(given)
    put("leads", 3, "size", "b,i\n\"g\"")(given)  # fmt: skip
    put("events", 2, "value", "-1")(given)
    again("events", 1, "kind", "mail")(given)
    history = check(**given, numeric={"leads": ["size"]}, quarantine=tmp_path / "bad")

    good = tables()
    good["leads"] = good["leads"].iloc[:2]
    good["events"] = good["events"].iloc[[0, 3]]
    same(history, check(**good, numeric={"leads": ["size"]}))

    assert sorted(path.name for path in (tmp_path / "bad").iterdir()) == ["events.csv", "leads.csv"]
    (lead,) = read(tmp_path / "bad" / "leads.csv")
    assert lead["lead_id"] == "é🙂"
    assert lead["size"] == 'b,i\n"g"'
    assert "row 3: created_at: unparsable-time" in lead["reasons"]
    assert "row 3: size: not-a-number" in lead["reasons"]
    events = read(tmp_path / "bad" / "events.csv")
    assert [one["event_id"] for one in events] == ["b", "a", "a"]
    found = [one["reasons"].split(": ")[:3] for one in events]
    assert found == [
        ["row 2", "value", "negative-value"],
        ["row 3", "lead_id", "quarantined-lead"],
        ["row 5", "event_id", "duplicate-id"],
    ]


def test_a_clean_load_takes_the_old_quarantine_away(tmp_path: Path) -> None:
    given = tables()
    put("events", 2, "value", "-1")(given)
    check(**given, quarantine=tmp_path)
    assert (tmp_path / "events.csv").exists()
    check(**tables(), quarantine=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_quarantine_never_replaces_another_file(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text("lead_id,kind\n")
    with pytest.raises(FileExistsError, match=r"events\.csv"):
        check(**tables(), quarantine=tmp_path)
    assert (tmp_path / "events.csv").read_text() == "lead_id,kind\n"


def test_a_quarantine_that_would_leave_no_lead_raises(tmp_path: Path) -> None:
    given = tables()
    given["leads"]["created_at"] = "soon"
    with pytest.raises(ContractError) as caught:
        check(**given, quarantine=tmp_path)
    assert {one.code for one in caught.value.breaches} == {"unparsable-time"}


# --- properties ----------------------------------------------------------------------------------

TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8
)
ODD = st.sampled_from(
    ["00123", "None", "NULL", "NaN", "nan", "🙂", "a\nb", 'q"q', " ", "1e5", "\x01"]
)


@given(st.randoms(use_true_random=False), st.lists(st.sampled_from(NAMES), max_size=6))
def test_order_and_second_deliveries_change_nothing(random, repeated: list[str]) -> None:  # type: ignore[no-untyped-def]
    given = tables()
    for name in repeated:
        row = random.randrange(len(given[name]))
        given[name] = pd.concat([given[name], given[name].iloc[[row]]], ignore_index=True)
    for name, frame in given.items():
        order = list(range(len(frame)))
        random.shuffle(order)
        given[name] = frame.iloc[order].reset_index(drop=True)
    found, expected = check(**given), check(**tables())
    for name in NAMES:
        left, right = getattr(found, name), getattr(expected, name)
        key = list(left.columns[:2])
        pd.testing.assert_frame_equal(
            left.sort_values(key).reset_index(drop=True),
            right.sort_values(key).reset_index(drop=True),
        )


@given(st.lists(ODD | TEXT, min_size=1, max_size=6, unique=True), ODD | TEXT)
def test_odd_text_survives_everywhere(ids: list[str], word: str) -> None:
    leads = pd.DataFrame(
        {"lead_id": ids, "created_at": "2024-01-01", "account_id": word, "a": word}
    )
    facts = {"lead_id": ids, "event_id": ids[::-1], "kind": word, "occurred_at": "2024-01-02"}
    changes = {"lead_id": ids, "field": word, "value": word, "known_at": "2024-01-02"}
    history = check(leads, pd.DataFrame(facts), pd.DataFrame(changes))
    assert history.leads["lead_id"].tolist() == ids
    assert history.events["event_id"].tolist() == ids[::-1]
    frames = (history.leads["account_id"], history.leads["a"], history.events["kind"],
              history.changes["field"], history.changes["value"])  # fmt: skip
    for values in frames:
        assert values.tolist() == [word] * len(ids)


MOMENTS = st.integers(instant("1900-01-02"), instant("2199-12-30"))


@given(st.lists(st.tuples(MOMENTS, st.integers(-14 * 60, 14 * 60)), min_size=1, max_size=5))
def test_times_with_any_offsets_are_read_to_the_microsecond(moments: list[tuple[int, int]]) -> None:
    texts = [
        (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment))
        .astimezone(timezone(timedelta(minutes=offset)))
        .isoformat()
        for moment, offset in moments
    ]
    leads = pd.DataFrame({"lead_id": [str(n) for n in range(len(texts))], "created_at": texts})
    expected = [moment for moment, _ in moments]
    assert micros(check(leads).leads["created_at"]).tolist() == expected
    typed = leads.assign(created_at=from_micros(expected).dt.tz_convert("Asia/Kathmandu"))
    assert micros(check(typed).leads["created_at"]).tolist() == expected


@given(st.datetimes(datetime(1970, 1, 2), datetime(2037, 1, 1)), st.booleans())
def test_a_local_time_is_read_once_or_refused(clock: datetime, typed: bool) -> None:
    zone = ZoneInfo("America/New_York")
    early, late = (clock.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    text: object = pd.Series([clock]) if typed else clock.isoformat()
    leads = pd.DataFrame({"lead_id": ["1"], "created_at": text})
    if early.utcoffset() != late.utcoffset():
        skipped = (early.utcoffset() or timedelta()) < (late.utcoffset() or timedelta())
        with pytest.raises(ContractError, match="nonexistent" if skipped else "ambiguous"):
            check(leads, timezone="America/New_York")
    else:
        found = check(leads, timezone="America/New_York").leads["created_at"]
        assert micros(found).tolist() == [instant(early)]


@given(st.lists(st.floats(0, allow_infinity=False, allow_nan=False), min_size=1, max_size=5))
def test_a_number_is_read_as_python_reads_it(numbers: list[float]) -> None:
    texts = [repr(number) for number in numbers]
    events = pd.DataFrame(
        {"lead_id": "None", "kind": "call", "occurred_at": "2024-05-04", "value": texts, "n": texts}
    )
    found = check(tables()["leads"], events, numeric={"events": ["n"]}).events
    np.testing.assert_allclose(found["value"], numbers, rtol=1e-15)
    np.testing.assert_array_equal(found["n"], found["value"])
    kept = check(tables()["leads"], events).events
    assert kept["n"].tolist() == texts


def test_a_checked_history_passes_unchanged() -> None:
    once = check(**tables(), numeric={"leads": ["size"]})
    same(check(once.leads, once.events, once.changes, once.outcomes), once)
