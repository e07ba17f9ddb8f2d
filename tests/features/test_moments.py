"""Times read by machine code: the standard library is the oracle."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.moments import UNREAD, instants
from features.times import instant

OFFSETS = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMES = st.datetimes(datetime(1900, 1, 3), datetime(2199, 12, 29), timezones=OFFSETS)


def written(time: datetime, zulu: bool) -> str:
    text = time.isoformat()
    return text.replace("+00:00", "Z") if zulu else text


@given(st.lists(st.tuples(TIMES, st.booleans())))
def test_what_python_writes_is_read_to_the_microsecond(times: list[tuple[datetime, bool]]) -> None:
    found, every = instants([written(*one) for one in times])
    assert every
    assert found.tolist() == [instant(one) for one, _ in times]


@given(TIMES.map(lambda time: time.replace(tzinfo=UTC)), st.integers(1, 6))
def test_a_fraction_may_be_short(time: datetime, digits: int) -> None:
    whole = time.replace(microsecond=time.microsecond // 10 ** (6 - digits) * 10 ** (6 - digits))
    text = whole.strftime("%Y-%m-%dT%H:%M:%S.%f")[: 20 + digits] + "Z"
    assert instants([text])[0].tolist() == [instant(whole)]


@given(st.text() | st.from_regex(r"(19|20|21)\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,9})?(Z|[+-]\d\d:?\d\d)?"))  # fmt: skip # noqa: E501
def test_what_python_does_not_read_is_never_read(text: str) -> None:
    [found] = instants([text])[0].tolist()
    if found != UNREAD:
        assert found == instant(text)


@pytest.mark.parametrize("text", [
    "", "2024-05-01", "2024-05-01T00:00:00", "2024-05-01T00:00:00.Z", "2023-02-29T00:00:00Z",
    "2024-05-01T24:00:00Z", "2024-05-01T00:00:60Z", "2024-00-01T00:00:00Z", "2024-05-01T00:00:00.",
    "2024-05-01T00:00:00+0200", "1899-12-31T00:00:00Z", "1900-01-01T00:00:00+00:01",
    "2199-12-31T23:59:59-00:01", "2024-05-01T00:00:00é", "2024-05-01T00:00:00Z\n",
])  # fmt: skip
def test_what_is_not_plain_is_left_to_be_looked_at(text: str) -> None:
    found, every = instants([text])
    assert found.tolist() == [UNREAD]
    assert not every


def test_the_plain_ones_beside_it_are_read() -> None:
    plain = "2024-05-01T00:00:00Z"
    found, every = instants([plain, "yesterday", plain])
    assert found.tolist() == [instant(plain), UNREAD, instant(plain)]
    assert not every


def test_a_line_within_a_text_moves_no_time_to_another_place() -> None:
    plain = "2024-05-01T00:00:00Z"
    assert instants([f"{plain}\n{plain}", plain])[0].tolist() == [UNREAD, UNREAD]


def test_a_number_is_no_text() -> None:
    with pytest.raises(TypeError):
        instants([1714521600000000])  # type: ignore[list-item]
