"""A standalone Spark cluster computes on real data what DuckDB computes."""

from __future__ import annotations

from pathlib import Path

import pytest

from features import catalog
from features.engines import compute
from features.source import Source
from tests import cluster
from tests.conftest import ROOT


@pytest.mark.slow
def test_a_cluster_equals_duckdb_on_bpic2012(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.needs_spark()
    from benchmarks.features import spine_of
    from benchmarks.spark import differing
    from features.engines.spark import Spark

    monkeypatch.setenv("LEADCAST_DATA", str(data))
    history = Source.from_toml(ROOT / "examples" / "bpic2012.toml").load()
    spine, features = spine_of(history), catalog.default(history)
    expected = compute(features, spine, history)
    with cluster.standalone(tmp_path) as master, cluster.session(master, 4) as session:
        assert cluster.executors(session, 2) == 2
        found = compute(features, spine, history, Spark(session))
    assert differing(features, found, expected) == 0
