"""Features in Parquet become the scores that one lead gets; what is no features is refused."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from features.engines.outofcore import compute_files
from features.language import FINGERPRINT
from features.schema import TABLES, History
from features.times import from_micros, iso
from serving.batch import FeaturesError, score_parquet
from serving.cli import main
from serving.scorer import Score, Scorer
from training.bundle import Bundle

REASONS = 4


@pytest.fixture(scope="module")
def features(
    history: History, loaded: Bundle, today: int, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The features of every lead now and a month before, as the engine writes them."""
    place = tmp_path_factory.mktemp("features")
    for name in TABLES:
        frame = getattr(history, name)
        if name == "events":
            frame = frame[~frame["kind"].isin(loaded.about.reveals)]
        frame.to_parquet(place / f"{name}.parquet", index=False)
    ids = history.leads["lead_id"]
    moments = [today] * len(ids) + [today - 2_592_000_000_000] * len(ids)
    spine = pd.DataFrame({"lead_id": [*ids, *ids], "as_of": from_micros(moments)})
    spine.to_parquet(place / "spine.parquet", index=False)
    tables = {name: str(place / f"{name}.parquet") for name in TABLES}
    compute_files(loaded.model.features, str(place / "spine.parquet"), tables, place / "out")
    [made] = (place / "out").iterdir()
    return made


@pytest.fixture(scope="module")
def wanted(scorer: Scorer, features: Path) -> list[Score]:
    """What the service would say of each row."""
    frame = pd.read_parquet(features)
    columns = frame[list(scorer.features.names)]
    held = columns.astype(object).where(columns.notna(), None).to_numpy()
    rows = scorer.bundle.model.encoder.matrix(columns)
    return [
        scorer.told([lead], [iso(as_of)], rows[[place]],
                    lambda _, column, at=place: held[at, column], REASONS)[0]
        for place, (lead, as_of) in enumerate(
            zip(frame["lead_id"], frame["as_of"].astype("int64"), strict=True)
        )
    ]  # fmt: skip


def same(out: Path, wanted: list[Score]) -> None:
    """To the last bit, in the same order."""
    found = pq.read_table(out).to_pylist()
    assert len(found) == len(wanted) > 1_000
    for row, score in zip(found, wanted, strict=True):
        assert score.value is not None
        assert score.expected_value is not None
        assert row == {
            "lead_id": score.lead_id,
            "probability": score.probability,
            "value": score.value.mean,
            "value_low": score.value.low,
            "value_median": score.value.median,
            "value_high": score.value.high,
            "expected_value": score.expected_value.mean,
            "expected_value_low": score.expected_value.low,
            "expected_value_high": score.expected_value.high,
            "grade": score.grade,
            "route": score.route,
            "model_version": score.model_version,
            "as_of": score.as_of,
            **{
                f"reason_{rank + 1}": f"{one.text} ({one.direction})"
                for rank, one in enumerate(score.reasons)
            },
        }


def test_scores_are_those_of_one_lead(
    loaded: Bundle, features: Path, wanted: list[Score], tmp_path: Path
) -> None:
    shares: list[float] = []
    out = tmp_path / "new" / "scores.parquet"
    rows = score_parquet(loaded, features, out, REASONS, shares.append)
    assert rows == len(wanted)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    same(out, wanted)


def test_other_files_of_the_same_features_are_the_same_scores(
    loaded: Bundle, features: Path, wanted: list[Score], tmp_path: Path
) -> None:
    """Two files, other row groups, columns in another order, of other types, and one too many."""
    table = pq.read_table(features).replace_schema_metadata(None)
    table = table.set_column(1, "as_of", pc.cast(table["as_of"], pa.int64()))
    whole = [name for name in table.column_names if name.startswith("count(")]
    texts = [one.name for one in table.schema if one.name != "lead_id" and one.type == pa.string()]
    texts += [one.name for one in table.schema if one.type == pa.large_string()]
    assert whole
    assert texts
    for name in whole:
        at = table.schema.get_field_index(name)
        table = table.set_column(at, name, table[name].cast(pa.int32()))
    for name in {*texts} - {"lead_id"}:
        at = table.schema.get_field_index(name)
        table = table.set_column(at, name, table[name].dictionary_encode())
    table = table.select(table.column_names[::-1]).append_column("note", pa.nulls(len(table)))
    (tmp_path / "in").mkdir()
    cut = len(table) // 3
    pq.write_table(table[:cut], tmp_path / "in" / "a.parquet", row_group_size=100)
    pq.write_table(table[cut:], tmp_path / "in" / "b.parquet")
    score_parquet(loaded, tmp_path / "in", tmp_path / "out.parquet", REASONS)
    same(tmp_path / "out.parquet", wanted)


def test_the_command_writes_scores_without_reasons(
    directory: Path, features: Path, wanted: list[Score], tmp_path: Path
) -> None:
    out = tmp_path / "scores.parquet"
    asked = ["batch", "--bundle", directory, "--features", features, "--out", out, "--reasons", 0]
    done = CliRunner().invoke(main, list(map(str, asked)))
    assert (done.exit_code, f"{len(wanted):,} rows scored" in done.output) == (0, True)
    found = pd.read_parquet(out)
    assert found["probability"].tolist() == [score.probability for score in wanted]
    assert not [name for name in found if name.startswith("reason")]
    assert sorted(found["as_of"].unique()) == sorted({score.as_of for score in wanted})


def broken(features: Path, place: Path, kind: str) -> str:
    """A file that is wrong in one way; what its refusal must name."""
    table = pq.read_table(features)
    name = next(name for name in table.column_names if name.startswith("count("))
    number = table.schema.get_field_index(name)
    if kind == "a column missing":
        table = table.drop_columns([name])
    elif kind == "a column twice":
        table = table.append_column(name, table[name])
    elif kind == "a number as text":
        table = table.set_column(number, name, table[name].cast(pa.string()))
    elif kind == "a number as truth":
        table = table.set_column(number, name, pa.array([True] * len(table)))
    elif kind == "ids as numbers":
        table = table.set_column(0, "lead_id", pa.array(range(len(table))))
    elif kind == "an id missing":
        ids = table["lead_id"].to_pylist()
        table = table.set_column(0, "lead_id", pa.array([*ids[:7], None, *ids[8:]]))
    elif kind == "features of another model":
        table = table.replace_schema_metadata({FINGERPRINT: "0" * 64})
    pq.write_table(table, place)
    if kind == "not Parquet":
        place.write_text("lead_id,as_of\n")
    return {
        "a column twice": f"{name} is there twice", "ids as numbers": "lead_id is int64",
        "an id missing": "row 7 has no lead_id", "features of another model": "0" * 12,
        "not Parquet": "not a Parquet file",
    }.get(kind, name)  # fmt: skip


@pytest.mark.parametrize(
    "kind",
    ["a column missing", "a column twice", "a number as text", "a number as truth",
     "ids as numbers", "an id missing", "features of another model", "not Parquet"],
)  # fmt: skip
def test_what_are_no_features_of_the_model_is_refused(
    loaded: Bundle, features: Path, tmp_path: Path, kind: str
) -> None:
    named = broken(features, tmp_path / "in.parquet", kind)
    out = tmp_path / "out.parquet"
    out.write_text("the scores of before")
    with pytest.raises(FeaturesError) as refused:
        score_parquet(loaded, tmp_path / "in.parquet", out)
    assert named in str(refused.value)
    assert "in.parquet" in str(refused.value)
    assert out.read_text() == "the scores of before"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["in.parquet", "out.parquet"]


def test_nothing_to_score_is_an_empty_file(loaded: Bundle, features: Path, tmp_path: Path) -> None:
    pq.write_table(pq.read_table(features)[:0], tmp_path / "in.parquet")
    assert score_parquet(loaded, tmp_path / "in.parquet", tmp_path / "out.parquet") == 0
    assert {"probability", "reason_3"} <= set(pq.read_schema(tmp_path / "out.parquet").names)
