"""What is told to be on disk is there, in order; what is not is not there in part."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from serving.store.appender import Appender

Pieces = st.lists(st.binary(min_size=1, max_size=300), max_size=200)


@contextmanager
def appender(*names: Path) -> Iterator[tuple[Appender, list[int]]]:
    """One that appends to the first of some new files."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_DSYNC
    files = [os.open(name, flags) for name in names]
    made = Appender(files[0])
    try:
        yield made, files
    finally:
        made.end()
        for one in (*files, made.told):
            os.close(one)


def told(one: Appender) -> list[OSError | None]:
    """What became of all that was asked for."""
    found: list[OSError | None] = []
    while len(one):
        select.select([one.told], [], [], 20)
        found += one.hear()
    return found


@settings(max_examples=50, deadline=None)
@given(Pieces, Pieces)
def test_what_is_asked_for_is_appended_in_order(first: list[bytes], second: list[bytes]) -> None:
    with TemporaryDirectory() as directory:
        names = Path(directory, "a"), Path(directory, "b")
        with appender(*names) as (one, files):
            for piece in first:
                one.append(piece)
            one.use(files[1])
            for piece in second:
                one.append(piece)
            assert told(one) == [None] * len(first + second)
        assert [name.read_bytes() for name in names] == [b"".join(first), b"".join(second)]


def test_a_file_that_takes_nothing_says_why_and_the_next_one_does(tmp_path: Path) -> None:
    with appender(tmp_path / "a") as (one, files):
        with open("/dev/full", "wb") as full:
            one.use(full.fileno())
            one.append(b"lost")
            [error] = told(one)
            assert error is not None
            assert "space" in str(error)
        one.use(files[0])
        one.append(b"kept")
        assert told(one) == [None]
    assert (tmp_path / "a").read_bytes() == b"kept"


def test_what_was_asked_for_before_the_end_is_done(tmp_path: Path) -> None:
    with appender(tmp_path / "a") as (one, _):
        for number in range(500):
            one.append(b"%03d" % number)
    assert (tmp_path / "a").read_bytes() == b"".join(b"%03d" % number for number in range(500))
