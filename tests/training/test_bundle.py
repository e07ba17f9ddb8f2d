"""A bundle is what was written, or it is refused before LightGBM sees it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from features.times import instant
from tests.bundles import sign
from training import bundle
from training.bundle import BundleError
from training.experiment import Result


@pytest.fixture(scope="module")
def written(result: Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("bundle") / "made"
    result.write_bundle(directory)
    return directory


@pytest.fixture
def copied(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "copied"))


def test_a_bundle_comes_back_as_the_same_model(result: Result, written: Path) -> None:
    loaded = bundle.load(written)
    matrix = result.model.encoder.matrix(result.data.columns.head(500))
    before, after = result.model.predict(matrix), loaded.model.predict(matrix)
    assert np.array_equal(before.probability, after.probability)
    for column in (
        "value",
        "value_low",
        "value_median",
        "value_high",
        "expected_low",
        "expected_high",
    ):
        assert np.array_equal(getattr(before, column), getattr(after, column)), column
    assert loaded.model.features == result.model.features
    assert loaded.version == bundle.load(written).version
    bundle.check(written)


def test_a_bundle_carries_how_its_recipe_did_out_of_time(result: Result, written: Path) -> None:
    evidence, found = bundle.load(written).about.evidence, result.report.evaluation
    assert evidence is not None
    assert evidence.measures == found.measures[found.main]
    assert evidence.reliability == found.reliability
    assert (evidence.rows, evidence.conversions) == (found.rows, found.conversions)
    assert evidence.first is not None
    assert evidence.last is not None
    assert instant(evidence.first) <= instant(evidence.last) < result.origin.trained_until


def test_a_bundle_holds_text_only(written: Path) -> None:
    assert {path.suffix for path in written.iterdir()} == {".txt", ".json", ""}
    for path in written.iterdir():
        path.read_text(encoding="utf-8")


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _cut_last_line(path: Path) -> None:
    path.write_bytes(b"\n".join(path.read_bytes().splitlines()[:-1]))


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(bytes(content))


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("name", ["conversion.txt", "value-log.txt", "bundle.json", "SHA256SUMS"])
@pytest.mark.parametrize("damage", [_truncate, _cut_last_line, _flip_a_bit, _empty, Path.unlink])
def test_damage_is_refused_before_lightgbm(
    copied: Path, name: str, damage: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(copied / name)
    _forbid_lightgbm(monkeypatch)
    for read in (bundle.verify, bundle.load, bundle.check):
        with pytest.raises(BundleError, match="copied"):
            read(copied)


def _forbid_lightgbm(monkeypatch: pytest.MonkeyPatch) -> None:
    def reached(*_: object, **__: object) -> None:
        pytest.fail("a damaged bundle reached LightGBM")

    monkeypatch.setattr(bundle.lgb, "Booster", reached)
    monkeypatch.setattr(bundle.subprocess, "run", reached)


def test_swapped_heads_are_refused(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = copied / "conversion.txt", copied / "value-log.txt"
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)
    _forbid_lightgbm(monkeypatch)
    with pytest.raises(BundleError, match="digest differs"):
        bundle.load(copied)


def test_swapped_heads_with_new_sums_are_refused(copied: Path) -> None:
    first, second = copied / "conversion.txt", copied / "value-log.txt"
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)
    sign(copied)
    with pytest.raises(BundleError, match="golden rows"):
        bundle.check(copied)


def test_a_model_that_scores_otherwise_is_caught_by_its_golden_rows(copied: Path) -> None:
    """Every digest is right, so only the replay can tell; it happens in a child process."""
    text = (copied / "conversion.txt").read_text(encoding="utf-8")
    (copied / "conversion.txt").write_text(
        text.replace("shrinkage=0.04", "shrinkage=0.05").replace("leaf_value=", "leaf_value=9", 1),
        encoding="utf-8",
    )
    sign(copied)
    with pytest.raises(BundleError):
        bundle.check(copied)


def test_a_stranger_in_the_directory_is_refused(copied: Path) -> None:
    (copied / "model.pkl").write_bytes(b"cos\nsystem\n")
    with pytest.raises(BundleError, match=r"model\.pkl"):
        bundle.load(copied)


def test_another_feature_set_is_refused(copied: Path) -> None:
    about = json.loads((copied / "bundle.json").read_text(encoding="utf-8"))
    about["features"] = about["features"][::-1]
    (copied / "bundle.json").write_text(json.dumps(about), encoding="utf-8")
    sign(copied)
    with pytest.raises(BundleError, match="feature set"):
        bundle.load(copied)


def test_a_copy_is_whole_or_not_at_all(written: Path, copied: Path, tmp_path: Path) -> None:
    target = tmp_path / "champion"
    bundle.place(written, target)
    version = bundle.load(target).version
    _truncate(copied / "value-log.txt")
    with pytest.raises(BundleError):
        bundle.place(copied, target)
    assert bundle.load(target).version == version


def test_a_full_directory_is_not_overwritten(result: Result, written: Path) -> None:
    with pytest.raises(BundleError, match="not empty"):
        result.write_bundle(written)


def test_an_older_form_is_refused_by_its_number(copied: Path) -> None:
    about = json.loads((copied / "bundle.json").read_text(encoding="utf-8"))
    (copied / "bundle.json").write_text(
        json.dumps({**about, "format": 1, "value": {"center": 0.0}}), encoding="utf-8"
    )
    sign(copied)
    for read in (bundle.verify, bundle.load, bundle.check):
        with pytest.raises(BundleError, match="form 1, and this version reads form 2: write it"):
            read(copied)


@pytest.mark.parametrize(
    ("part", "damage"),
    [
        ("value", {"scale": {}}),
        ("value", {"ratios": [0.5, 1.0]}),
        ("spread", {"chance": [0.1]}),
        ("spread", {"at": []}),
    ],
)
def test_a_value_head_whose_parts_do_not_fit_is_refused_before_lightgbm(
    copied: Path, part: str, damage: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    about = json.loads((copied / "bundle.json").read_text(encoding="utf-8"))
    about[part].update(damage)
    (copied / "bundle.json").write_text(json.dumps(about), encoding="utf-8")
    sign(copied)
    _forbid_lightgbm(monkeypatch)
    with pytest.raises(BundleError, match="copied"):
        bundle.load(copied)


def test_a_spread_that_is_not_the_one_written_is_caught_by_the_golden_rows(copied: Path) -> None:
    about = json.loads((copied / "bundle.json").read_text(encoding="utf-8"))
    about["spread"]["value"] *= 1.1
    (copied / "bundle.json").write_text(json.dumps(about), encoding="utf-8")
    sign(copied)
    with pytest.raises(BundleError, match="golden rows"):
        bundle.load(copied)
