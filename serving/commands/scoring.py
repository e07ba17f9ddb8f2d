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
from features.times import duration, instant, iso
from serving.commands.shared import (
    bundle_option,
    config_option,
    console,
    load,
    policy_option,
    quarantine_option,
    steps,
)


@click.command()
@config_option
@bundle_option
@quarantine_option
@policy_option
@click.option("--as-of", help="Score as of this time (ISO 8601); default: the end of the history.")
@click.option(
    "--out", default="worklist.csv", show_default=True,
    help="Work list to write: .csv, .parquet, sqlite:///FILE?table=NAME or postgresql://...",
)  # fmt: skip
def score(
    config: Path, bundle: Path, quarantine: Path | None, policy: Path | None, as_of: str | None,
    out: str,
) -> None:  # fmt: skip
    """Score every open lead of a source into a ranked work list with grades, routes and reasons."""
    source = Source.from_toml(config)
    ranked = worklist(load(source, quarantine), bundle, as_of, [out], policy)
    show(ranked)


def worklist(
    history: History, bundle: Path, as_of: str | None, out: list[str], policy: Path | None = None
) -> pd.DataFrame:
    """Score, write to every file and database of ``out`` and say where."""
    from serving.decide import Policy
    from serving.listing import score_table
    from training.bundle import load as load_bundle

    moment = instant(as_of) if as_of else observed_until(history)
    routes = Policy.read(policy) if policy else None
    with steps() as say:
        ranked = score_table(
            load_bundle(bundle), history, moment, policy=routes,
            progress=lambda s: say("score open leads", s),
        )  # fmt: skip
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
@policy_option
def batch(bundle: Path, features: Path, out: Path, reasons: int, policy: Path | None) -> None:
    """Score features that are computed already: millions of rows, Parquet to Parquet.

    The scores come in the order of the rows, in bounded memory, on all cores; they are those that
    the service gives for the same features. For how many a policy has room is not looked at: rows
    of features have no owner and no territory.
    """
    from serving.batch import score_parquet
    from serving.decide import Policy
    from training.bundle import load as load_bundle

    with steps() as say:
        rows = score_parquet(
            load_bundle(bundle), features, out, reasons, lambda share: say("score", share),
            Policy.read(policy) if policy else None,
        )  # fmt: skip
    console.print(f"  {rows:,} rows scored in {out}")


@click.command()
@bundle_option
@click.option("--store", help="Store for scoring by id: an SQLite file, or postgresql://...")
@policy_option
@click.option("--port", default=3000, show_default=True, help="Port to listen on.")
@click.option("--host", default="127.0.0.1", show_default=True,
              help="Address to listen on; another one needs LEADCAST_KEYS.")  # fmt: skip
@click.option(
    "--challenger", type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A bundle that is asked for the same leads, unheard (leadcast pull): GET /v1/models.",
)  # fmt: skip
def serve(
    bundle: Path,
    store: str | None,
    policy: Path | None,
    port: int,
    host: str,
    challenger: Path | None,
) -> None:
    """Serve scores over HTTP: POST /v1/score, GET /v1/model, health and metrics.

    With LEADCAST_KEYS, a file that `leadcast keys` makes, every call needs a key; without, the
    service answers this machine only.
    """
    from serving.keys import require
    from serving.run import serving
    from serving.settings import KEYS

    require(KEYS, host)

    # Asked to end, it ends as with Ctrl-C: its workers go with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with serving(bundle, store, port, host, policy, challenger) as running:
        console.print(f"Serving on {running.url} - stop with Ctrl-C")
        lack = running.lack()
        if lack:
            console.print(f"[yellow]Not ready yet[/]: {lack}")
        console.print(f"Keys: {KEYS}" if KEYS else "Open to this machine: LEADCAST_KEYS is not set")
        running.wait()


@click.command("policy")
@config_option
@bundle_option
@quarantine_option
@click.option("--policy", required=True, type=click.Path(exists=True, dir_okay=False,
              path_type=Path), help="The proposed policy (TOML).")  # fmt: skip
@click.option("--present", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="The present policy (TOML); default: the usual shares.")  # fmt: skip
@click.option("--since", default="30d", show_default=True,
              help="How long before the end of the history the leads are routed.")  # fmt: skip
def rehearse(
    config: Path, bundle: Path, quarantine: Path | None, policy: Path, present: Path | None,
    since: str,
) -> None:  # fmt: skip
    """Rehearse a policy: what would it have done last month, and what became of those leads?

    \b
    A policy is a TOML file; every key may be left out:
      sales = 0.20               the best share is handed to sales
      leave = 0.30               the last share is left alone
      least_probability = 0.05   who is less likely is not handed over, whatever the deal
      explore = 0.02             so many of the nurtured are handed over, to learn from
      consent = "if_given"       who has not agreed to be contacted is not; else: who refused

    \b
    And for how many there is room, handed over and still open:
      capacity = 80              all together
      [territories]
      attribute = "country"      who is in none is not handed over
      [territories.named.dach]
      values = ["DE", "AT", "CH"]
      capacity = 30              may be left out
      [owners]
      attribute = "owner"
      capacity = 20              each, but:
      of = { ann = 10 }
    """
    from serving.decide import Policy
    from serving.rehearsal import rehearse as rehearsed
    from training.bundle import load as load_bundle

    history = load(Source.from_toml(config), quarantine)
    with steps() as say:
        told = rehearsed(
            load_bundle(bundle), history, duration(since), Policy.read(policy),
            Policy.read(present) if present else None, lambda share: say("score and route", share),
        )  # fmt: skip
    table = pd.DataFrame(
        [(one.leads, one.wins, one.revenue, f"{one.share_of_wins:.0%}")
         for one in (told.present, told.proposed, told.added, told.dropped)],
        index=["present policy", "proposed policy", "only proposed", "only present"],
        columns=["to sales", "won", "revenue", "of all wins"],
    )  # fmt: skip
    console.print(f"  {told.open_leads:,} leads open at {told.as_of}, followed to {told.until}")
    console.print(table.to_string(float_format=lambda x: f"{x:,.0f}"), markup=False)
    if told.seen:
        console.print("  [yellow]The model has learned from that time[/]: both look too good.")


@click.command()
@bundle_option
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path),
              help="Also write it as one file, for `bentoml import`.")  # fmt: skip
def bento(bundle: Path, out: Path | None) -> None:
    """Build a Bento: the service with this model inside, and a Containerfile.

    \b
    It goes into BentoML's store (BENTOML_HOME), named by the model's version:
      leadcast bento
      bentoml serve leadcast:latest
      bentoml containerize leadcast:latest
    """
    from serving.bento import build

    made = build(bundle)
    console.print(f"  {made.tag}")
    if out is not None:
        console.print(f"  {made.export(str(out))}", markup=False)
