"""What several commands share: progress lines, options, and loading a source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from features.schema import History
from features.source import Source

CHAMPION, CHALLENGER = Path(".leadcast/champion"), Path(".leadcast/challenger")
RUNS = Path("mlruns")

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


config_option = click.option(
    "--config", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The source declaration (TOML): where the tables are and what their columns mean.",
)  # fmt: skip
runs_option = click.option(
    "--mlruns", default=RUNS, show_default=True, type=click.Path(path_type=Path),
    help="Directory of the MLflow store (mlflow.db and artifacts/).",
)  # fmt: skip
quarantine_option = click.option(
    "--quarantine", type=click.Path(path_type=Path),
    help="Write bad rows with their reasons into this directory and go on with the good ones.",
)  # fmt: skip
accept_option = click.option(
    "--accept", multiple=True, metavar="CODE:FIELD",
    help="Let a blocking finding of the audit pass; needs a --because, one each, on record.",
)  # fmt: skip
because_option = click.option("--because", multiple=True, help="Why the finding is accepted.")
bundle_option = click.option(
    "--bundle", default=CHAMPION, show_default=True, type=click.Path(path_type=Path),
    help="The verified model directory that `leadcast promote` writes.",
)  # fmt: skip
policy_option = click.option(
    "--policy", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What is done with leads (TOML): sales, leave, least_probability, explore.",
)  # fmt: skip
model_option = click.option("--model", help="Registered model; default: the one that changed last.")


def load(source: Source, quarantine: Path | None = None) -> History:
    """Load a source with a progress line."""
    with steps() as say:
        say("load and check", 0.0)
        return source.load(quarantine=quarantine)


def registry_of(mlruns: Path, model: str | None) -> tuple[Any, str]:
    """The registry and the model's name: the one that changed last where none is given."""
    from training.registry import Registry, RegistryError

    registry = Registry(mlruns)
    models = registry.models()
    if model is None and not models:
        raise RegistryError(f"no model in {mlruns}/ yet: run leadcast train first")
    return registry, model or models[0]
