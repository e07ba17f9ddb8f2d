"""A promotion is one rename: whoever reads, reads one bundle to its end."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest

from training import bundle, shelf
from training.bundle import BundleError
from training.experiment import Result
from training.findings import Finding


@pytest.fixture(scope="module")
def bundles(result: Result, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One model in bundles of six contents."""
    room = tmp_path_factory.mktemp("bundles")
    result.write_bundle(room / "0")
    for number in range(1, 6):
        found = Finding("code", f"field {number}", "warning", "evidence", "remedy")
        bundle.annotate(room / "0", room / str(number), (found,))
    return [room / str(number) for number in range(6)]


def version(directory: Path) -> str:
    return shelf.version_of(bundle.digest(directory))


def test_readers_meet_a_whole_bundle_at_every_moment(bundles: list[Path], tmp_path: Path) -> None:
    target, ended, seen = tmp_path / "champion", threading.Event(), list[str]()
    bundle.place(bundles[0], target)

    def read() -> None:
        while not ended.is_set():
            seen.append(version(target.resolve()))

    reading = threading.Thread(target=read)
    reading.start()
    for number in range(20):
        bundle.place(bundles[number % 2], target)
    ended.set()
    reading.join()
    assert set(seen) == {version(bundles[0]), version(bundles[1])}
    assert version(target) == version(bundles[1])


def test_the_latest_stay_and_no_more(bundles: list[Path], tmp_path: Path) -> None:
    target = tmp_path / "deep" / "champion"
    for one in (*bundles, bundles[3]):
        bundle.place(one, target)
    wanted = [version(bundles[number]) for number in (3, 5, 4, 2)]
    assert shelf.kept(target) == wanted
    assert version(target) == wanted[0]
    assert {path.name for path in target.parent.iterdir()} == {"champion", "champion.kept"}


def test_a_directory_in_the_place_is_kept(bundles: list[Path], tmp_path: Path) -> None:
    target = tmp_path / "champion"
    shutil.copytree(bundles[0], target)
    bundle.place(bundles[1], target)
    assert target.is_symlink()
    assert {*shelf.kept(target)} == {version(bundles[0]), version(bundles[1])}


def test_what_is_damaged_is_not_placed_and_a_damaged_copy_is_made_good(
    bundles: list[Path], tmp_path: Path
) -> None:
    target, damaged = tmp_path / "champion", tmp_path / "damaged"
    bundle.place(bundles[0], target)
    shutil.copytree(bundles[1], damaged)
    (damaged / "conversion.txt").write_bytes(b"tree")
    with pytest.raises(BundleError, match=r"conversion\.txt"):
        bundle.place(damaged, target)
    assert version(target) == version(bundles[0])
    (target / "conversion.txt").write_bytes(b"tree")
    bundle.place(bundles[0], target)
    assert version(target) == version(bundles[0])


def test_links_and_pipes_are_no_part_of_a_bundle(bundles: list[Path], tmp_path: Path) -> None:
    for make in (lambda path: path.symlink_to(bundles[0] / path.name), os.mkfifo, Path.mkdir):
        copied = Path(shutil.copytree(bundles[0], tmp_path / "copied"))
        (copied / "conversion.txt").unlink()
        make(copied / "conversion.txt")
        with pytest.raises(BundleError, match=r"conversion\.txt is no file"):
            bundle.verify(copied)
        shutil.rmtree(copied)
