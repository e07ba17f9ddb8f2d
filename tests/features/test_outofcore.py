"""Files in, files out: the same values as in memory, whatever the parts."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.engines import compute, outofcore
from features.language import DeclarationError, FeatureSet, account_events, changes, events, rate
from features.schema import History
from features.times import micros
from tests.histories import busy
from tests.judge import alike

TABLES = ("leads", "events", "changes", "outcomes")


def written(history: History, spine: pd.DataFrame, place: Path) -> dict[str, str]:
    """Every table as Parquet: the events in several files, times as timestamps."""
    for name in ("leads", "changes", "outcomes"):
        getattr(history, name).to_parquet(place / f"{name}.parquet")
    for number in range(3):
        history.events.iloc[number::3].to_parquet(place / f"events-{number}.parquet")
    spine.to_parquet(place / "spine.parquet")
    paths = {name: str(place / f"{name}.parquet") for name in TABLES}
    return {**paths, "events": str(place / "events-*.parquet")}


def read(out: Path, features: FeatureSet) -> pd.DataFrame:
    """What was written, in an order that does not depend on the parts."""
    found = pd.read_parquet(out)
    for feature in features.features:
        found[feature.name] = found[feature.name].astype(
            "str" if feature.type == "text" else "float64"
        )
    return found.sort_values(["lead_id", "as_of"], ignore_index=True)


def expected(features: FeatureSet, spine: pd.DataFrame, history: History) -> pd.DataFrame:
    found = pd.concat([spine, compute(features, spine, history)], axis=1)
    return found.sort_values(["lead_id", "as_of"], ignore_index=True)


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.sampled_from([1, 40, 10**6]))
def test_files_give_what_memory_gives(
    tmp_path_factory: pytest.TempPathFactory, seed: int, facts_a_part: int
) -> None:
    place = tmp_path_factory.mktemp("files")
    history, spine, features = busy(seed)
    tables = written(history, spine, place)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outofcore, "FACTS_A_PART", facts_a_part)
        rows = outofcore.compute_files(
            features, str(place / "spine.parquet"), tables, place / "out", scratch=place
        )
    assert rows == len(spine)
    alike(read(place / "out", features), expected(features, spine, history))
    assert not list(place.glob("leadcast-*")), "the scratch directory is gone"


def test_segments_and_accounts_reach_across_parts(tmp_path: Path) -> None:
    history, spine, _ = busy(3)
    declared = FeatureSet(
        [
            events("call").count(),
            rate("won", by=changes("owner").latest()),
            account_events().count(),
        ]
    )
    tables = written(history, spine, tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outofcore, "FACTS_A_PART", 5)
        outofcore.compute_files(declared, str(tmp_path / "spine.parquet"), tables, tmp_path / "out")
    assert len(list((tmp_path / "out").glob("*.parquet"))) > 1
    found = read(tmp_path / "out", declared)
    alike(found, expected(declared, spine, history))
    assert found.iloc[:, 3].notna().any()


def test_times_may_be_microseconds_and_what_occurred_is_known_at_once(tmp_path: Path) -> None:
    history, spine, _ = busy(5)
    declared = FeatureSet([events("call").count("7d"), events().since_last()])
    bare = pa.table({
        "lead_id": pa.array(history.events["lead_id"]),
        "kind": pa.array(history.events["kind"]),
        "occurred_at": micros(history.events["occurred_at"]),
    })  # fmt: skip
    pq.write_table(bare, tmp_path / "events.parquet")
    history.leads.to_parquet(tmp_path / "leads.parquet")
    spine.to_parquet(tmp_path / "spine.parquet")
    tables = {name: str(tmp_path / f"{name}.parquet") for name in ("leads", "events")}
    outofcore.compute_files(declared, str(tmp_path / "spine.parquet"), tables, tmp_path / "out")
    at_once = history.events.assign(known_at=history.events["occurred_at"])
    known = History(history.leads, at_once, history.changes, history.outcomes)
    alike(read(tmp_path / "out", declared), expected(declared, spine, known))


def test_what_the_files_lack_is_named(tmp_path: Path) -> None:
    history, spine, _ = busy(5)
    tables = written(history, spine, tmp_path)
    asked = FeatureSet([events().mean("seconds")])
    with pytest.raises(DeclarationError, match="events have no column 'seconds'"):
        outofcore.compute_files(asked, str(tmp_path / "spine.parquet"), tables, tmp_path / "out")
    with pytest.raises(duckdb.IOException, match=r"nowhere\.parquet"):
        outofcore.compute_files(asked, str(tmp_path / "nowhere.parquet"), tables, tmp_path / "out")
