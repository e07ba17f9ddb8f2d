"""``leadcast simulate | check | plan | audit | explain``: a history before anything is trained."""

from __future__ import annotations

from pathlib import Path

import click

from features import simulate as simulator
from features.outcomes import observed_until
from features.source import Source
from features.times import instant, iso
from serving.commands.shared import (
    config_option,
    console,
    load,
    quarantine_option,
    steps,
)

SIMULATED = """\
name = "funnel"

[leads]
path = "leads.parquet"

[events]
path = "events.parquet"

[changes]
path = "changes.parquet"

[outcomes]
path = "outcomes.parquet"

[population]
at = "weekly"            # every open lead, every Monday 00:00 UTC
horizon = "28d"
target = "won"

[evaluation]
origins = ["{origin}"]   # train on what was known by then, test on what came after
"""


@click.command()
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Directory to write.")
@click.option("--leads", default=20_000, show_default=True, help="How many leads.")
@click.option("--seed", default=7, show_default=True, help="The same seed, the same history.")
def simulate(out: Path, leads: int, seed: int) -> None:
    """Simulate 18 months of a funnel whose true probabilities are known.

    Writes leads, events, changes and outcomes as Parquet, a source.toml that declares them, and
    truth/: what no real data set has. `leadcast train` prints it as the ceiling.
    """
    write_simulation(out, leads, seed)


def write_simulation(out: Path, leads: int, seed: int) -> Path:
    """Simulate into a directory; returns its source declaration."""
    with steps() as say:
        made = simulator.simulate(leads=leads, seed=seed, progress=lambda s: say("simulate", s))
        say("write Parquet", 0.0)
        made.write(out)
    origin = observed_until(made.history) - instant("1970-07-02")
    config = out / "source.toml"
    config.write_text(SIMULATED.format(origin=iso(origin)[:10]), encoding="utf-8")
    history = made.history
    console.print(
        f"  {len(history.leads):,} leads, {len(history.events):,} events, "
        f"{len(history.changes):,} changes, {len(history.outcomes):,} outcomes in {out}/"
    )
    return config


@click.command()
@config_option
@quarantine_option
def check(config: Path, quarantine: Path | None) -> None:
    """Load a source and check every row against the data contract.

    Every breach is listed at once: table, row, field, value and remedy. Exit status 1 if any.
    """
    history = load(Source.from_toml(config), quarantine)
    for name in ("leads", "events", "changes", "outcomes"):
        console.print(f"  {name:<9} {len(getattr(history, name)):>12,} rows")
    console.print("  The contract holds.")


@click.command()
@config_option
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path),
    help="Also draw it into this file: .svg, .png or .pdf.",
)  # fmt: skip
def plan(config: Path, plot: Path | None) -> None:
    """Draw how time will be cut into training, ripening and test, without computing anything."""
    from training.experiment import plan as planned

    source = Source.from_toml(config)
    found = planned(load(source), source)
    if plot is not None:
        plot.parent.mkdir(parents=True, exist_ok=True)
        found.figure.savefig(plot)
    console.print(found.picture, markup=False)
    console.print(f"\n{len(found.rows):,} labelled rows, {len(found.features)} features")


@click.command()
@config_option
@quarantine_option
def audit(config: Path, quarantine: Path | None) -> None:
    """Look for leaks in the fields that training would read, without training.

    Each finding has a code, the field, its evidence and a remedy. Exit status 1 when any of them
    would stop a promotion.
    """
    from training.experiment import audited
    from training.report import findings_text

    source = Source.from_toml(config)
    history = load(source, quarantine)
    with steps() as say:
        say("audit", 0.0)
        found = audited(history, source)
    console.print(findings_text(found), markup=False)
    if any(one.stops for one in found):
        raise SystemExit(1)


@click.command()
@click.argument("feature", required=False)
@config_option
@click.option(
    "--dialect", default="duckdb", show_default=True,
    type=click.Choice(["duckdb", "sqlite", "postgres", "spark"]), help="Whose SQL to print.",
)  # fmt: skip
def explain(feature: str | None, config: Path, dialect: str) -> None:
    """Explain a feature: meaning, unit, what a missing value means, its SQL, three worked rows.

    FEATURE is the name of one that training would use, such as "count(call, 7d)", or any
    declaration, such as 'events("call").trend("7d", "30d")'. Without it, all names are listed.
    """
    from features.explain import explain as explained
    from features.outcomes import at_risk
    from features.written import read_features
    from training.experiment import feature_set, visible_features

    source = Source.from_toml(config)
    history = load(source)
    known = feature_set(history, source)
    if feature is None:
        for one in known.features:
            console.print(f"{one.name}: {one.sentence}", markup=False)
        return
    named = [one for one in known.features if one.name == feature]
    seen = visible_features(history, source.reveals)
    spine = at_risk(history, source.population)
    for one in named or read_features(feature):
        click.echo(explained(one, seen, spine, dialect))
