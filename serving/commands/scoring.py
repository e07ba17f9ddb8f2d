"""``leadcast score | batch | serve``: what a champion says, as a list, a file or over HTTP."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import click
import pandas as pd

from features.databases import shown
from features.files import write_table
from features.outcomes import observed_until
from features.schema import History
from features.source import Source
from features.times import instant, iso
from serving.commands.shared import (
    bundle_option,
    config_option,
    console,
    load,
    quarantine_option,
    steps,
)


@click.command()
@config_option
@bundle_option
@quarantine_option
@click.option("--as-of", help="Score as of this time (ISO 8601); default: the end of the history.")
@click.option(
    "--out", default="worklist.csv", show_default=True,
    help="Work list to write: .csv, .parquet, sqlite:///FILE?table=NAME or postgresql://...",
)  # fmt: skip
def score(config: Path, bundle: Path, quarantine: Path | None, as_of: str | None, out: str) -> None:
    """Score every open lead of a source into a ranked work list with grades, routes and reasons."""
    source = Source.from_toml(config)
    ranked = worklist(load(source, quarantine), bundle, as_of, [out])
    show(ranked)


def worklist(history: History, bundle: Path, as_of: str | None, out: list[str]) -> pd.DataFrame:
    """Score, write to every file and database of ``out`` and say where."""
    from serving.listing import score_table
    from training.bundle import load as load_bundle

    moment = instant(as_of) if as_of else observed_until(history)
    with steps() as say:
        ranked = score_table(
            load_bundle(bundle), history, moment, progress=lambda s: say("score open leads", s)
        )
    for path in out:
        write_table(ranked, path)
    where = " and ".join(map(shown, out))
    console.print(f"  {len(ranked):,} open leads as of {iso(moment)}, ranked, in {where}")
    return ranked


def show(ranked: pd.DataFrame, rows: int = 5) -> None:
    """Print the head of a work list."""
    names = ["rank", "lead_id", "probability", "expected_value", "grade", "route", "reason_1"]
    shown = ranked[[name for name in names if name in ranked]].head(rows)
    console.print(shown.to_string(index=False, float_format=lambda x: f"{x:,.3f}"), markup=False)


@click.command()
@bundle_option
@click.option(
    "--features", required=True, type=click.Path(exists=True, path_type=Path),
    help="Parquet file, or directory of them: lead_id, as_of and the model's columns by name.",
)  # fmt: skip
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False),
              help="Parquet file of scores to write.")  # fmt: skip
@click.option("--reasons", default=3, show_default=True, type=click.IntRange(0, 20),
              help="At most so many reasons a lead; 0 is quicker.")  # fmt: skip
def batch(bundle: Path, features: Path, out: Path, reasons: int) -> None:
    """Score features that are computed already: millions of rows, Parquet to Parquet.

    The scores come in the order of the rows, in bounded memory, on all cores; they are those that
    the service gives for the same features.
    """
    from serving.batch import score_parquet
    from training.bundle import load as load_bundle

    with steps() as say:
        rows = score_parquet(
            load_bundle(bundle), features, out, reasons, lambda share: say("score", share)
        )
    console.print(f"  {rows:,} rows scored in {out}")


@click.command()
@bundle_option
@click.option("--store", help="Store for scoring by id: an SQLite file, or postgresql://...")
@click.option("--port", default=3000, show_default=True, help="Port to listen on.")
@click.option("--host", default="127.0.0.1", show_default=True,
              help="Address to listen on; another one needs LEADCAST_KEYS.")  # fmt: skip
def serve(bundle: Path, store: str | None, port: int, host: str) -> None:
    """Serve scores over HTTP: POST /v1/score, GET /v1/model, health and metrics.

    With LEADCAST_KEYS, a file that `leadcast keys` makes, every call needs a key; without, the
    service answers this machine only.
    """
    from serving.app import KEYS
    from serving.keys import require
    from serving.run import serving

    require(KEYS, host)

    # Asked to end, it ends as with Ctrl-C: its workers go with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with serving(bundle, store, port, host) as running:
        console.print(f"Serving on {running.url} - stop with Ctrl-C")
        lack = running.lack()
        if lack:
            console.print(f"[yellow]Not ready yet[/]: {lack}")
        console.print(f"Keys: {KEYS}" if KEYS else "Open to this machine: LEADCAST_KEYS is not set")
        running.wait()
