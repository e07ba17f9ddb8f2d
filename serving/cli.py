"""The ``leadcast`` command: every step from a history to a scored lead."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from features import simulate as simulator
from features.databases import shown
from features.files import write_table
from features.outcomes import observed_until
from features.schema import History
from features.source import Source
from features.times import SECOND, duration, instant, iso
from serving.commands.keys import keys

CHAMPION = Path(".leadcast/champion")
RUNS = Path("mlruns")
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

console = Console(width=100, highlight=False)
Steps = Callable[[str, float], None]


@contextmanager
def steps() -> Iterator[Steps]:
    """A progress line a step: its name, a bar when its share is known, its time."""
    columns = (TextColumn("  {task.description:<64}"), BarColumn(16), TimeElapsedColumn())
    with Progress(*columns, console=console) as shown:
        names: dict[str, Any] = {}

        def say(step: str, share: float) -> None:
            head, _, part = step.partition(": ")
            if head not in names:
                for task in names.values():
                    shown.update(task, completed=1.0)
                names[head] = shown.add_task(head, total=1.0)
            text = f"{head}: {part}" if part else head
            shown.update(names[head], description=text, completed=share)

        yield say
        for task in names.values():
            shown.update(task, completed=1.0)


class Friendly(click.Group):
    """Shows what a user can mend as one message, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; a ``ValueError`` or ``OSError`` is the user's to mend."""
        try:
            return super().invoke(ctx)
        except (ValueError, OSError) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Friendly, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="leadcast")
def main() -> None:
    """Lead conversion you can check: probability, deal value, reasons, and what to do now.

    \b
    A first round, on simulated data:
      leadcast simulate --out funnel          a history with known true probabilities
      leadcast check    --config funnel/source.toml
      leadcast audit    --config funnel/source.toml      does a field know the outcome?
      leadcast train    --config funnel/source.toml
      leadcast promote                        the challenger becomes the champion
      leadcast score    --config funnel/source.toml --out worklist.csv
      leadcast serve                          POST /v1/score on 127.0.0.1:3000
    """


_config = click.option(
    "--config", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The source declaration (TOML): where the tables are and what their columns mean.",
)  # fmt: skip
_runs = click.option(
    "--mlruns", default=RUNS, show_default=True, type=click.Path(path_type=Path),
    help="Directory of the MLflow store (mlflow.db and artifacts/).",
)  # fmt: skip
_quarantine = click.option(
    "--quarantine", type=click.Path(path_type=Path),
    help="Write bad rows with their reasons into this directory and go on with the good ones.",
)  # fmt: skip
_accept = click.option(
    "--accept", multiple=True, metavar="CODE:FIELD",
    help="Let a blocking finding of the audit pass; needs a --because, one each, on record.",
)  # fmt: skip
_because = click.option("--because", multiple=True, help="Why the finding is accepted.")
_bundle = click.option(
    "--bundle", default=CHAMPION, show_default=True, type=click.Path(path_type=Path),
    help="The verified model directory that `leadcast promote` writes.",
)  # fmt: skip
_model = click.option("--model", help="Registered model; default: the one that changed last.")


@main.command()
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


@main.command()
@_config
@_quarantine
def check(config: Path, quarantine: Path | None) -> None:
    """Load a source and check every row against the data contract.

    Every breach is listed at once: table, row, field, value and remedy. Exit status 1 if any.
    """
    history = load(Source.from_toml(config), quarantine)
    for name in ("leads", "events", "changes", "outcomes"):
        console.print(f"  {name:<9} {len(getattr(history, name)):>12,} rows")
    console.print("  The contract holds.")


def load(source: Source, quarantine: Path | None = None) -> History:
    """Load a source with a progress line."""
    with steps() as say:
        say("load and check", 0.0)
        return source.load(quarantine=quarantine)


@main.command()
@_config
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path),
    help="Also draw it into this file: .svg, .png or .pdf.",
)  # fmt: skip
def plan(config: Path, plot: Path | None) -> None:
    """Draw how time will be cut into training, embargo and test, without computing anything."""
    from training.experiment import plan as planned

    source = Source.from_toml(config)
    found = planned(load(source), source)
    if plot is not None:
        plot.parent.mkdir(parents=True, exist_ok=True)
        found.figure.savefig(plot)
    console.print(found.picture, markup=False)
    console.print(f"\n{len(found.rows):,} labelled rows, {len(found.features)} features")


@main.command()
@_config
@_quarantine
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


def accepted(accept: tuple[str, ...], because: tuple[str, ...]) -> dict[str, str]:
    """``CODE:field`` -> because; raises ``ValueError`` unless each has its own reason."""
    if len(accept) != len(because):
        raise ValueError(f"{len(accept)} --accept and {len(because)} --because: give one each")
    return dict(zip(accept, because, strict=True))


@main.command()
@click.argument("feature", required=False)
@_config
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


@main.command()
@_config
@_runs
@_quarantine
@click.option("--html", type=click.Path(path_type=Path), help="Also write the report as HTML here.")
@click.option(
    "--disk", type=click.Path(file_okay=False, path_type=Path), metavar="DIRECTORY",
    help="Keep the training set in a Parquet file there and read it in blocks: for more rows than "
    "memory holds. The next training there computes only the rows that newer history can change. "
    "The model is the same.",
)  # fmt: skip
@click.option(
    "--dask", metavar="tcp://HOST:PORT",
    help="Grow the trees on the workers of this Dask scheduler; needs the extra [dask]. With "
    "--disk, each worker reads its share from DIRECTORY, which all must see.",
)  # fmt: skip
@click.option(
    "--tune", metavar="DURATION",
    help="Search so long for a better recipe first, such as 60s or 5m. Recipes are judged on what "
    "the first fold trains on; the usual one stays unless another beats it by more than chance.",
)  # fmt: skip
@_accept
@_because
def train(
    config: Path,
    mlruns: Path,
    quarantine: Path | None,
    html: Path | None,
    disk: Path | None,
    dask: str | None,
    tune: str | None,
    accept: tuple[str, ...],
    because: tuple[str, ...],
) -> None:
    """Train both heads, print the honest report, log the run and register the challenger.

    Each fold trains on labels that were complete at its origin and is judged on what came after.
    The figures of a random split stand beside it: the difference is what they flatter.

    \b
    Where the training set outgrows this machine:
      leadcast train --config ... --disk sets                   more rows than memory
      leadcast train --config ... --dask tcp://10.0.0.5:8786    more rows than one machine
    """
    seconds = duration(tune) / SECOND if tune else 0.0
    train_source(config, mlruns, quarantine, html, disk, dask, accepted(accept, because), seconds)


def train_source(
    config: Path,
    mlruns: Path,
    quarantine: Path | None,
    html: Path | None,
    disk: Path | None = None,
    dask: str | None = None,
    accepting: dict[str, str] | None = None,
    tuning: float = 0.0,
) -> None:
    """Load, run the experiment, print and log."""
    from training import experiment, report
    from training.registry import Registry

    source = Source.from_toml(config)
    history = load(source, quarantine)
    truth = config.parent / "truth"
    ceiling = simulator.Truth.from_parquet(truth).at if truth.is_dir() else None
    with _grower(dask) as grower, steps() as say:
        result = experiment.run(
            history, source, ceiling=ceiling, progress=say, directory=disk, grower=grower,
            accepted=accepting, tuning=tuning,
        )  # fmt: skip
        say("log to MLflow", 0.0)
        entry = Registry(mlruns).log(result, config)
    console.print(report.text(result.report), markup=False)
    if html is not None:
        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(report.html(result.report), encoding="utf-8")
        console.print(f"Report with plots: {html}")
    console.print(
        f"Registered {entry.model} version {entry.version} as challenger in {mlruns}/ "
        f"(run {entry.run_id})."
    )


@contextmanager
def _grower(dask: str | None) -> Iterator[Any]:
    """Where trees grow: here, or on the cluster of a Dask scheduler, while the context is open."""
    from training.grow import here

    if dask is None:
        yield here
        return
    try:
        from training.cluster import connected
    except ImportError as error:
        raise ValueError(f"--dask needs the extra [dask]: {error}") from error
    with connected(dask) as grower:
        yield grower


@main.command()
@_runs
@_model
@click.option("--version", default="challenger", show_default=True, help="Version or alias.")
@click.option("--html", type=click.Path(path_type=Path), help="Copy the HTML report here.")
def report(mlruns: Path, model: str | None, version: str, html: Path | None) -> None:
    """Print the report of a registered model: the newest challenger, or any version or alias."""
    registry, name = _registry(mlruns, model)
    entry = registry.find(name, version)
    console.print(registry.artifact(entry, "report.txt").read_text(encoding="utf-8"), markup=False)
    if html is not None:
        html.write_bytes(registry.artifact(entry, "report.html").read_bytes())
        console.print(f"Report with plots: {html}")


@main.command()
@_runs
@_model
@click.option("--version", default="challenger", show_default=True, help="Version or alias.")
@click.option(
    "--data", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIRECTORY",
    help="Where the tables of the source lie now; default: where they were.",
)  # fmt: skip
@click.option(
    "--disk", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIRECTORY",
    help="Take the training set that `leadcast train --disk` kept there, not the tables.",
)  # fmt: skip
def reproduce(
    mlruns: Path, model: str | None, version: str, data: Path | None, disk: Path | None
) -> None:
    """Train a registered model again and compare it with the registered one, to the bit.

    The source as it was declared then, cut to what was known then, the recipe, the features: all
    from the run. Exit status 1 when the model is another, with what differs.
    """
    from training import reproduce as again
    from training.bundle import verify

    registry, name = _registry(mlruns, model)
    entry = registry.find(name, version)
    source, stored = registry.source(entry, data), registry.artifact(entry, "bundle")
    about = verify(stored)
    with steps() as say:
        if disk is not None:
            taught = again.from_disk(about, disk)
        else:
            say("load and check", 0.0)
            taught = again.from_history(about, source, source.load(), say)
        found = again.reproduce(stored, source, taught, say)
    if found.exact:
        console.print(
            f"  {entry.model} version {entry.version}: the same model, bit for bit, from "
            f"{found.rows:,} rows (data {about.data_digest[:12]}, bundle files all equal)."
        )
        return
    versions = ", ".join(
        f"{lib} {then} then, {now} now" for lib, (then, now) in found.versions.items()
    )
    raise ValueError(
        f"{entry.model} version {entry.version} is another model when it is trained again: "
        f"{', '.join(found.different)} differ ({versions or 'same library versions'})"
    )


@main.command()
@_runs
@_model
@click.option("--version", default="challenger", show_default=True, help="Version or alias.")
@click.option(
    "--to", "target", default=CHAMPION, show_default=True, type=click.Path(path_type=Path),
    help="Where the service reads the model.",
)  # fmt: skip
@_accept
@_because
def promote(
    mlruns: Path,
    model: str | None,
    version: str,
    target: Path,
    accept: tuple[str, ...],
    because: tuple[str, ...],
) -> None:
    """Make a model the champion: check its bundle, move the alias, copy it for the service.

    A blocking finding of the audit stops it, unless it is accepted with a reason.
    """
    promote_model(mlruns, model, version, target, accepted(accept, because))


def promote_model(
    mlruns: Path,
    model: str | None,
    version: str,
    target: Path,
    accepting: dict[str, str] | None = None,
) -> None:
    """Promote, then pull the bundle to ``target``."""
    registry, name = _registry(mlruns, model)
    entry = registry.promote(name, version, accepting)
    registry.pull(name, target)
    console.print(f"  {name} version {entry.version} is the champion; its bundle is in {target}/")


def _registry(mlruns: Path, model: str | None) -> tuple[Any, str]:
    from training.registry import Registry, RegistryError

    registry = Registry(mlruns)
    models = registry.models()
    if model is None and not models:
        raise RegistryError(f"no model in {mlruns}/ yet: run leadcast train first")
    return registry, model or models[0]


@main.command()
@_config
@_bundle
@_quarantine
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
    from serving.scorer import score_table
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


@main.command()
@_bundle
@click.option("--store", type=click.Path(path_type=Path), help="SQLite store for scoring by id.")
@click.option("--port", default=3000, show_default=True, help="Port to listen on.")
@click.option("--host", default="127.0.0.1", show_default=True,
              help="Address to listen on; another one needs LEADCAST_KEYS.")  # fmt: skip
def serve(bundle: Path, store: Path | None, port: int, host: str) -> None:
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
        console.print(f"Keys: {KEYS}" if KEYS else "Open to this machine: LEADCAST_KEYS is not set")
        running.wait()


@main.command()
@click.option("--directory", default=Path("demo"), show_default=True,
              type=click.Path(path_type=Path), help="Where to put everything.")  # fmt: skip
@_runs
def demo(directory: Path, mlruns: Path) -> None:
    """The whole job on a simulated funnel: history, model, report, work list, one HTTP score."""
    from serving.demo import run

    run(directory, mlruns)


main.add_command(keys)

if __name__ == "__main__":
    main()
