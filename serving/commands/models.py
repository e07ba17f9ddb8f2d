"""``leadcast train | report | reproduce | promote | rollback``: from a history to the champion."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from features import simulate as simulator
from features.source import Source
from features.times import SECOND, duration
from serving.commands.shared import (
    CHALLENGER,
    CHAMPION,
    accept_option,
    because_option,
    config_option,
    console,
    load,
    model_option,
    quarantine_option,
    registry_of,
    runs_option,
    steps,
)


def accepted(accept: tuple[str, ...], because: tuple[str, ...]) -> dict[str, str]:
    """``CODE:field`` -> because; raises ``ValueError`` unless each has its own reason."""
    if len(accept) != len(because):
        raise ValueError(f"{len(accept)} --accept and {len(because)} --because: give one each")
    return dict(zip(accept, because, strict=True))


@click.command()
@config_option
@runs_option
@quarantine_option
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
@accept_option
@because_option
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

    Each fold trains on outcomes that were known at its origin and is judged on what came after.
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


@click.command()
@runs_option
@model_option
@click.option("--version", default="challenger", show_default=True, help="Version or alias.")
@click.option("--html", type=click.Path(path_type=Path), help="Copy the HTML report here.")
def report(mlruns: Path, model: str | None, version: str, html: Path | None) -> None:
    """Print the report of a registered model: the newest challenger, or any version or alias."""
    registry, name = registry_of(mlruns, model)
    entry = registry.find(name, version)
    console.print(registry.artifact(entry, "report.txt").read_text(encoding="utf-8"), markup=False)
    if html is not None:
        html.write_bytes(registry.artifact(entry, "report.html").read_bytes())
        console.print(f"Report with plots: {html}")


@click.command()
@runs_option
@model_option
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

    registry, name = registry_of(mlruns, model)
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


to_option = click.option(
    "--to", "target", default=CHAMPION, show_default=True, type=click.Path(path_type=Path),
    help="Where the service reads the model.",
)  # fmt: skip


@click.command()
@runs_option
@model_option
@click.option("--version", default="challenger", show_default=True, help="Version or alias.")
@to_option
@accept_option
@because_option
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
    registry, name = registry_of(mlruns, model)
    entry = registry.promote(name, version, accepting)
    registry.pull(name, target)
    console.print(f"  {name} version {entry.version} is the champion; its bundle is in {target}/")


@click.command()
@runs_option
@model_option
@click.option("--version", default="challenger", show_default=True, help="Version or alias.")
@click.option("--to", "target", default=CHALLENGER, show_default=True,
              type=click.Path(path_type=Path), help="Where to put it.")  # fmt: skip
def pull(mlruns: Path, model: str | None, version: str, target: Path) -> None:
    """Put a model's verified bundle into a directory, and promote nothing.

    `leadcast serve --challenger` asks it for the leads that the champion scores.
    """
    registry, name = registry_of(mlruns, model)
    entry = registry.pull(name, target, version)
    console.print(f"  {name} version {entry.version}: its bundle is in {target}/")


@click.command()
@runs_option
@model_option
@to_option
def rollback(mlruns: Path, model: str | None, target: Path) -> None:
    """Make the champion before this one the champion again; a service takes it up within seconds.

    The two change places: a second rollback undoes the first.
    """
    registry, name = registry_of(mlruns, model)
    entry = registry.rollback(name)
    registry.pull(name, target)
    console.print(
        f"  {name} version {entry.version} is the champion again; its bundle is in {target}/"
    )
