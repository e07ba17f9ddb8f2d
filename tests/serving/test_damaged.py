"""Damaged bundles in the place of the champion: refused before the serving process loads them."""

from __future__ import annotations

import re
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from features.schema import History
from serving import run
from tests.bundles import declare, edited, sign
from tests.serving.asking import by_id, free_port
from training import bundle

Damage = Callable[[Path], object]
CONVERSION = "conversion.txt"


def cut(share: float) -> Damage:
    def damage(directory: Path) -> None:
        path = directory / CONVERSION
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    return damage


def cut_tail(directory: Path) -> None:
    path = directory / CONVERSION
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def flipped(number: str, bit: int) -> str:
    """The number with a bit flipped: 51 is the highest of its mantissa, 63 its sign."""
    [bits] = struct.unpack("<Q", struct.pack("<d", float(number)))
    return repr(struct.unpack("<d", struct.pack("<Q", bits ^ 1 << bit))[0])


def tree(field: str, change: Callable[[list[str]], list[str]]) -> Damage:
    def damage(directory: Path) -> None:
        path = directory / CONVERSION
        path.write_text(edited(path.read_text(), field, change))

    return damage


def swap_heads(directory: Path) -> None:
    (directory / CONVERSION).rename(directory / "x")
    deals = next(directory.glob("value-*.txt"))
    deals.rename(directory / CONVERSION)
    (directory / "x").rename(deals)


def about(**more: Any) -> Damage:
    return lambda directory: declare(directory, lambda told: told.update(more))


def golden_answers(directory: Path) -> None:
    def change(told: dict[str, Any]) -> None:
        told["golden"]["said"]["probability"][-1] *= 1 + 1e-6

    declare(directory, change)


def calibration(text: str) -> Damage:
    def damage(directory: Path) -> None:
        path = directory / "bundle.json"
        found = re.sub(r'("calibration": ?{[^}]*"c": ?)[-\d.e]+', rf"\g<1>{text}", path.read_text())
        path.write_text(found)

    return damage


def write(name: str, content: str) -> Damage:
    return lambda directory: (directory / name).write_text(content)


def link_outside(directory: Path) -> None:
    outside = directory.parent / "outside.txt"
    shutil.move(directory / CONVERSION, outside)
    (directory / CONVERSION).symlink_to(outside)


def empty(directory: Path) -> None:
    for path in directory.iterdir():
        path.unlink()


LEAF_BIT = tree("leaf_value", lambda held: [flipped(held[0], 51), *held[1:]])
THRESHOLD_BIT = tree("threshold", lambda held: [flipped(held[0], 63), *held[1:]])

UNSIGNED: dict[str, tuple[Damage, str]] = {
    "truncated": (cut(0.6), "digest differs"),
    "tail cut": (cut_tail, "digest differs"),
    "a bit of a leaf": (LEAF_BIT, "digest differs"),
    "a bit of a threshold": (THRESHOLD_BIT, "digest differs"),
    "other digests": (write("SHA256SUMS", "0" * 64 + "  bundle.json\n"), "digest differs|missing"),
    "no digests": (lambda directory: (directory / "SHA256SUMS").unlink(), "SHA256SUMS is missing"),
    "heads swapped": (swap_heads, "digest differs"),
    "a file too many": (write("model.pkl", "cos\nsystem\n"), r"model\.pkl .*not belong"),
    "a link out of the directory": (link_outside, r"conversion\.txt is no file"),
    "empty": (empty, "is missing"),
}  # fmt: skip

SIGNED: dict[str, tuple[Damage, str]] = {
    "truncated": (cut(0.6), "cut short"),
    "tail cut": (cut_tail, "cut short"),
    "a bit of a leaf": (LEAF_BIT, "golden rows"),
    "a bit of a threshold": (THRESHOLD_BIT, "golden rows"),
    "a cycle": (tree("right_child", lambda held: [*held[:-1], "0"]), "not form a tree"),
    "no number in a leaf": (tree("leaf_value", lambda held: ["nan", *held[1:]]), "finite"),
    "a threshold below all": (tree("threshold", lambda held: ["-inf", *held[1:]]), "finite"),
    "heads swapped": (swap_heads, "golden rows"),
    "other features": (about(fingerprint="0" * 64), "feature set"),
    "other library": (about(versions={"lightgbm": "3.3.5"}), r"LightGBM 3\.3\.5"),
    "no golden rows": (about(golden={"rows": [], "said": {}}), "no golden rows"),
    "other golden answers": (golden_answers, "golden rows"),
    "no JSON": (write("bundle.json", "cos\nsystem\n"), r"bundle\.json cannot be read"),
    "calibration of NaN": (calibration("NaN"), r"bundle\.json cannot be read"),
    "calibration of null": (calibration("null"), r"bundle\.json cannot be read"),
    "calibration without end": (calibration("1e999"), r"bundle\.json cannot be read"),
    "a link out of the directory": (link_outside, r"conversion\.txt is no file"),
    "a file too many": (write("model.pkl", "cos\nsystem\n"), r"model\.pkl .*not belong"),
}  # fmt: skip

CASES = {f"{name}, unsigned": (*how, False) for name, how in UNSIGNED.items()} | {
    f"{name}, signed": (*how, True) for name, how in SIGNED.items()
}


@pytest.fixture(scope="module")
def place(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("place") / "champion"
    bundle.place(directory, made)
    return made


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "service.log"


@pytest.fixture(scope="module")
def service(place: Path, stored: Path, log: Path) -> Iterator[httpx.Client]:
    environment = {"LEADCAST_BUNDLE": str(place), "LEADCAST_STORE": str(stored)}
    with (
        log.open("w+b") as said,
        run.process("serving.service:Leadcast", free_port(), environment, log=said) as running,
        httpx.Client(base_url=running.url, timeout=150) as connected,
    ):
        yield connected


def refused_so_far(service: httpx.Client) -> float:
    found = re.findall(r"^leadcast_model_refused_total (\S+)$", service.get("/metrics").text, re.M)
    return float(found[0])


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_and_the_old_model_goes_on(
    service: httpx.Client, directory: Path, place: Path, tmp_path: Path, history: History,
    today: int, name: str,
) -> None:  # fmt: skip
    damage, reason, signed = CASES[name]
    asked = by_id([history.leads["lead_id"].iloc[-1]], today)
    version, before = bundle.load(directory).version, service.post("/v1/score", json=asked).json()
    damaged = Path(shutil.copytree(directory, tmp_path / "damaged"))
    damage(damaged)
    if signed:
        sign(damaged)
    count = refused_so_far(service)
    with shown(damaged, place):
        answer = service.post("/v1/model/reload")
        assert answer.status_code == 409
        assert re.search(reason, answer.json()["detail"])
        ready = service.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (200, "warn")
        assert refused_so_far(service) > count
        models = service.get("/v1/models").json()
        assert models["serving"]["version"] == before["model_version"] == version
        assert re.search(reason, models["refused"][0]["reason"])
        assert service.post("/v1/score", json=asked).json() == before


def test_the_good_one_is_taken_again_and_nobody_saw_a_traceback(
    service: httpx.Client, log: Path
) -> None:
    assert service.post("/v1/model/reload").json()["changed"] is False
    assert service.get("/readyz").json() == {"status": "pass"}
    text = log.read_text()
    assert "Traceback" not in text
    assert text.count('"event":"model"') == 1, "another model was loaded"


class shown:
    """While the context is open, a damaged bundle is in the place of the champion."""

    def __init__(self, damaged: Path, place: Path) -> None:
        self._damaged, self._place, self._good = damaged, place, place.resolve()

    def __enter__(self) -> None:
        self._place.unlink()
        self._damaged.rename(self._place)

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._place)
        self._place.symlink_to(self._good)
