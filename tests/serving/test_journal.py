"""What is kept is on disk at once, and in the ledger soon, whatever happens in between."""

from __future__ import annotations

import asyncio
import resource
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.scorer import Row
from serving.store import Store, StoreUnavailable
from serving.store.database import UnfitRow

FIRST = "-ledger-1"


def score(number: int, lead: str = "a lead") -> Row:
    return (lead, 1_000 + number, f"{number:04d}", 7, "m1", "f", 0.25, None, "A", "sales", "r")


def kept(store: Store, *callers: Sequence[Row]) -> list[Exception | None]:
    """What each caller is told; returns when all were."""

    async def scene() -> list[Exception | None]:
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in callers]
        for rows, future in zip(callers, futures, strict=True):
            store.keep(rows, future.set_result)
        return list(await asyncio.gather(*futures))

    return asyncio.run(scene())


def ledger(store: Store) -> list[Row]:
    return store.rows("SELECT * FROM scores ORDER BY answered_at")


def as_killed(place: Path, to: Path) -> Store:
    """The store as it is found when its process is killed now."""
    for one in place.parent.iterdir():
        shutil.copy(one, to / one.name)
    return Store(to / place.name)


@contextmanager
def limited(size: int) -> Iterator[None]:
    """No file of this process gets larger meanwhile."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "own").mkdir()
    return tmp_path / "own" / "store.db"


@pytest.fixture
def store(place: Path) -> Iterator[Store]:
    store = Store(place)
    store.open()
    yield store
    store.close()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=6), min_size=1, max_size=4))
def test_what_was_acknowledged_is_there_once_after_a_kill(rounds: list[list[int]]) -> None:
    with TemporaryDirectory() as directory:
        own, copy = Path(directory, "own"), Path(directory, "copy")
        own.mkdir()
        copy.mkdir()
        store, wanted = Store(own / "store.db"), list[Row]()
        for number, sizes in enumerate(rounds):
            callers = []
            for size in sizes:
                callers.append([score(len(wanted) + one) for one in range(size)])
                wanted += callers[-1]
            assert kept(store, *callers) == [None] * len(callers)
            if number % 2:
                store.settle()
        found = as_killed(own / "store.db", copy)
        for _ in range(2):
            found.open()
            assert ledger(found) == wanted
            found.close()
        store.close()
        assert [one.name for one in own.iterdir()] == ["store.db"]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_record_that_is_torn_costs_no_other(data: st.DataObject) -> None:
    with TemporaryDirectory() as directory:
        own, copy = Path(directory, "own"), Path(directory, "copy")
        own.mkdir()
        copy.mkdir()
        store, sizes = Store(own / "store.db"), [0]
        for number in range(3):
            assert kept(store, [score(number)]) == [None]
            sizes.append((own / f"store.db{FIRST}").stat().st_size)
        found = as_killed(own / "store.db", copy)
        store.close()
        journal = copy / f"store.db{FIRST}"
        length = data.draw(st.integers(0, sizes[-1]))
        whole = journal.read_bytes()
        junk = data.draw(st.sampled_from([b"", b"\0", b"\xff" * 40]))
        journal.write_bytes(whole[:length] + junk)
        found.open()
        assert ledger(found) == [score(one) for one in range(3) if sizes[one + 1] <= length]
        found.close()


def test_what_is_kept_is_in_the_ledger_within_seconds(store: Store) -> None:
    assert kept(store, [score(1)]) == [None]
    limit = time.monotonic() + 20
    while not ledger(store):
        assert time.monotonic() < limit
        time.sleep(0.05)
    assert kept(store, [score(2)]) == [None]
    store.settle()
    assert ledger(store) == [score(1), score(2)]


def test_rows_that_nothing_can_hold_fail_alone(store: Store) -> None:
    good, bad, more = kept(store, [score(1)], [score(2, "\ud800")], [score(3)])
    assert (good, more) == (None, None)
    assert isinstance(bad, UnfitRow)
    store.settle()
    assert ledger(store) == [score(1), score(3)]


def test_where_the_ledger_cannot_be_written_nothing_is_kept(store: Store, place: Path) -> None:
    assert kept(store, [score(1)]) == [None]
    away = place.with_name("away")
    place.rename(away)
    with pytest.raises(StoreUnavailable):
        store.settle()
    for _ in range(3):
        [told] = kept(store, [score(2)])
        assert isinstance(told, StoreUnavailable)
    away.rename(place)
    limit = time.monotonic() + 20
    while kept(store, [score(3)]) != [None]:
        assert time.monotonic() < limit
        time.sleep(0.1)
    store.settle()
    assert ledger(store) == [score(1), score(3)]


def test_a_disk_that_fills_tears_no_record(store: Store, place: Path, tmp_path: Path) -> None:
    assert kept(store, [score(1)]) == [None]
    for number in (2, 3):
        room = Path(f"{place}{FIRST}").stat().st_size + 9
        with limited(room):
            told, another = kept(store, [score(10 * number)], [score(10 * number + 1)])
        assert isinstance(told, StoreUnavailable)
        assert isinstance(another, StoreUnavailable)
        assert kept(store, [score(number)]) == [None]
    found = as_killed(place, tmp_path)
    found.open()
    assert ledger(found) == [score(1), score(2), score(3)]
    found.close()


def test_the_second_process_of_a_store_writes_into_the_ledger_itself(
    store: Store, place: Path
) -> None:
    other = Store(place)
    assert kept(store, [score(1)]) == [None]
    assert kept(other, [score(2)]) == [None]
    assert ledger(other) == [score(2)]
    open_files = psutil.Process().num_fds()
    for number in range(3, 6):
        assert kept(other, [score(number)]) == [None]
    assert psutil.Process().num_fds() == open_files
    store.close()
    assert kept(other, [score(6)]) == [None]
    assert b"0006" in Path(f"{place}{FIRST}").read_bytes(), "it has the journal now"
    other.settle()
    assert ledger(other) == [score(number) for number in range(1, 7)]
    other.close()


def test_who_only_reads_leaves_nothing_beside_the_store(place: Path) -> None:
    store = Store(place)
    store.open()
    assert store.held("a lead") == {}
    assert not [one for one in place.parent.iterdir() if "ledger" in one.name]
    store.close()


def test_what_was_kept_of_a_lead_is_erased(store: Store, place: Path) -> None:
    assert kept(store, [score(1, "to be forgotten")], [score(2, "another")]) == [None, None]
    files = [one for one in place.parent.iterdir() if b"to be forgotten" in one.read_bytes()]
    assert [one.name for one in files] == [f"store.db{FIRST}"]
    assert store.held("to be forgotten")["scores"]
    store.erase("to be forgotten", ("e1", 5, None, 1))
    assert not [one for one in place.parent.iterdir() if b"to be forgotten" in one.read_bytes()]
    assert ledger(store) == [score(2, "another")]
