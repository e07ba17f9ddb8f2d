"""featuretools: the same definitions with cutoff times, on the rows of sample.parquet."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import featuretools as ft
import pandas as pd
from featuretools.primitives import Count, TimeSinceFirst, TimeSinceLast
from rounds import answer

warnings.simplefilter("ignore")
directory = Path(sys.argv[1])
events = pd.read_parquet(directory / "events.parquet")
spine = pd.read_parquet(directory / "sample.parquet")
events = events.assign(key=range(len(events)))[["key", "lead_id", "kind", "occurred_at"]]
for table, moment in ((events, "occurred_at"), (spine, "as_of")):
    table[moment] = table[moment].dt.tz_localize(None).astype("datetime64[ns]")
kinds = sorted(events["kind"].unique())

known = ft.EntitySet("history")
known.add_dataframe(
    dataframe_name="events", dataframe=events, index="key", time_index="occurred_at",
    logical_types={"kind": "Categorical", "lead_id": "Categorical"},
)  # fmt: skip
known.normalize_dataframe("events", "leads", "lead_id")
known.add_last_time_indexes()  # without them, a window drops leads that began before it
known.add_interesting_values(dataframe_name="events", values={"kind": kinds})
DECLARED = {
    "count": Count(),
    "since_first": TimeSinceFirst(unit="days"),
    "since_last": TimeSinceLast(unit="days"),
}


def declared(aggregates: list[str]) -> list[ft.FeatureBase]:
    primitives = [DECLARED[name] for name in aggregates]
    made = ft.dfs(
        entityset=known, target_dataframe_name="leads", agg_primitives=primitives,
        where_primitives=primitives, trans_primitives=[], max_depth=1, features_only=True,
    )  # fmt: skip
    return [one for one in made if getattr(one, "where", None) is not None]


ALWAYS, LATELY = declared(list(DECLARED)), declared(["count"])
CUTOFFS = spine.rename(columns={"as_of": "time"})[["lead_id", "time"]]


def compute() -> pd.DataFrame:
    made = []
    for features, window in ((ALWAYS, None), (LATELY, "7 days")):
        found = ft.calculate_feature_matrix(
            features, known, cutoff_time=CUTOFFS, training_window=window, include_cutoff_time=False
        )
        primitives = {one.get_name(): (type(one.primitive), str(one.where.get_name()))
                      for one in features}  # fmt: skip
        words = {Count: "count7" if window else "count", TimeSinceFirst: "since_first",
                 TimeSinceLast: "since_last"}  # fmt: skip
        names = [f"{words[one]}|{of.removeprefix('kind = ')}" for one, of in primitives.values()]
        found = found[list(primitives)].set_axis(names, axis=1)
        made.append(found.reset_index(drop=True).astype("float64"))
    return pd.concat(made, axis=1)


answer(compute, lambda found, path: found.to_parquet(path))
