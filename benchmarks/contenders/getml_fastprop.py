"""getML's FastProp, community edition: a table a kind, aggregated always and in the last week.

The engine is a process of its own; its processor seconds and memory count. It listens on every
address, so benchmarks/peers.py runs this script in a network of its own. What is timed is the
transform alone; FastProp adds the mean time between facts to each table, which nobody asked for.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import getml
import numpy as np
import pandas as pd
from rounds import answer, own_cost

DAY_SECONDS = 86_400.0
directory = Path(sys.argv[1])
events = pd.read_parquet(directory / "events.parquet")
spine = pd.read_parquet(directory / "spine.parquet")
kinds = sorted(events["kind"].unique())


def seconds(moments: pd.Series) -> np.ndarray:
    return moments.astype("int64").to_numpy() / 1e6


def told_nothing() -> Any:
    return contextlib.redirect_stdout(sys.stderr)


def pipeline(names: list[str], memory: float, aggregations: list[str]) -> getml.Pipeline:
    """FastProp over the tables; ``memory`` in seconds, 0 for all."""
    model = getml.data.DataModel(POPULATION.to_placeholder("population"))
    model.add(getml.data.to_placeholder(**{name: TABLES[name] for name in names}))
    window = {"memory": memory} if memory else {}
    for name in names:
        model.population.join(
            getattr(model, name), on="lead_id", time_stamps=("as_of", "at"), **window
        )
    learner = getml.feature_learning.FastProp(
        loss_function=getml.feature_learning.loss_functions.SquareLoss,
        aggregation=aggregations, num_features=1_000, delta_t=0.0, num_threads=os.cpu_count() or 1,
    )  # fmt: skip
    made = getml.Pipeline(data_model=model, feature_learners=[learner])
    return made.fit(POPULATION, {name: TABLES[name] for name in names}, check=False)


def engine_cost() -> tuple[float, float]:
    """This process and the engine under it."""
    cpu, peak = own_cost()
    family, ticks = {str(os.getpid())}, os.sysconf("SC_CLK_TCK")
    for entry in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        with contextlib.suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if fields[1] in family:
                family.add(entry.name)
                cpu += (int(fields[11]) + int(fields[12])) / ticks
                high = (entry / "status").read_text().partition("VmHWM:")[2].split()
                peak += int(high[0]) / 1024 if high else 0.0
    return cpu, peak


def compute() -> dict[str, np.ndarray]:
    with told_nothing():
        always = ALWAYS.transform(POPULATION, {name: TABLES[name] for name in TABLES})
        week = LATELY.transform(POPULATION, {name: TABLES[name] for name in TABLES})
    made = {}
    for places, found, window in ((ALWAYS_AT, always, ""), (LATELY_AT, week, "7")):
        for number, (aggregate, table) in enumerate(places):
            kind = kinds[int(table[1:])]
            if aggregate == "COUNT":
                made[f"count{window}|{kind}"] = found[:, number]
            elif aggregate in ("MIN", "MAX"):
                name = "since_last" if aggregate == "MIN" else "since_first"
                made[f"{name}|{kind}"] = found[:, number] / DAY_SECONDS
    return made


def described(made: getml.Pipeline) -> list[tuple[str, str]]:
    """(aggregate, table) of each feature, read from the statement that defines it."""
    sql, found = made.features.to_sql(), []
    for feature in made.features:
        text = str(sql[feature.name])
        aggregate = text.partition("SELECT ")[2].partition("(")[0]
        table = text.partition('JOIN "')[2].partition("_")[0]
        found.append((aggregate, table.lower()))
    return found


def write(found: dict[str, np.ndarray], path: Path) -> None:
    frame = pd.DataFrame(found)
    for kind in kinds:  # it says 0 for nothing seen; the count tells which 0 that is
        nothing = frame[f"count|{kind}"] == 0
        for name in ("since_first", "since_last"):
            frame.loc[nothing, f"{name}|{kind}"] = np.nan
    frame.to_parquet(path)


with told_nothing():
    home = directory / "getml"
    home.mkdir(exist_ok=True)
    getml.engine.launch(
        allow_push_notifications=False, launch_browser=False, home_directory=str(home)
    )
try:
    with told_nothing():
        getml.engine.set_project("peers")
        POPULATION = getml.DataFrame.from_pandas(
            pd.DataFrame({
                "lead_id": spine["lead_id"].astype(str),
                "as_of": seconds(spine["as_of"]),
                "target": np.arange(len(spine)) % 2.0,
            }),
            name="spine",
            roles=getml.data.Roles(join_key=["lead_id"], time_stamp=["as_of"], target=["target"]),
        )  # fmt: skip
        TABLES = {}
        for number, kind in enumerate(kinds):
            mine = events[events["kind"] == kind]
            TABLES[f"k{number}"] = getml.DataFrame.from_pandas(
                pd.DataFrame({"lead_id": mine["lead_id"].astype(str),
                              "at": seconds(mine["occurred_at"])}),
                name=f"k{number}",
                roles=getml.data.Roles(join_key=["lead_id"], time_stamp=["at"]),
            )  # fmt: skip
        of = getml.feature_learning.aggregations
        ALWAYS = pipeline(list(TABLES), 0.0, [of.COUNT, of.MIN, of.MAX])
        LATELY = pipeline(list(TABLES), 7 * DAY_SECONDS, [of.COUNT])
        ALWAYS_AT, LATELY_AT = described(ALWAYS), described(LATELY)
    answer(compute, write, engine_cost)
finally:
    with told_nothing():
        getml.engine.shutdown()
