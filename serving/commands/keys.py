"""``leadcast keys``: who may call the service, and what for."""

from __future__ import annotations

from pathlib import Path

import click

from features.times import duration
from serving import keys as held
from serving.operation import Scope

_file = click.option(
    "--file", "path", required=True, envvar="LEADCAST_KEYS", show_envvar=True,
    type=click.Path(dir_okay=False, path_type=Path), help="The file of hashed keys.",
)  # fmt: skip
_once = "Keep it now: only its hash is stored."


@click.group()
def keys() -> None:
    """Make, list, end and rotate the API keys of the service.

    \b
    A running service sees a change within a second:
      export LEADCAST_KEYS=keys.json
      leadcast keys add --name crm --scope score --scope ingest
      leadcast keys rotate 1f0c9a3e --overlap 24h
    """


@keys.command()
@_file
@click.option("--name", required=True, help="Whose key it is: crm, warehouse, prometheus.")
@click.option("--scope", "scopes", multiple=True, required=True, type=click.Choice(held.SCOPES),
              help="What it may do; give it once for each.")  # fmt: skip
@click.option("--rate", default=held.RATE, show_default=True, help="Requests a second.",
              type=click.FloatRange(0, min_open=True))  # fmt: skip
def add(path: Path, name: str, scopes: tuple[Scope, ...], rate: float) -> None:
    """Make a key and print it, once: only its hash goes into the file."""
    click.echo(held.add(path, name, scopes, rate))
    click.echo(_once, err=True)


@keys.command("list")
@_file
def listed(path: Path) -> None:
    """List the keys by id: name, scopes, rate, and when it ends or ended."""
    for key in held.read(path):
        click.echo(held.shown(key))


@keys.command()
@_file
@click.argument("which", metavar="ID")
def revoke(path: Path, which: str) -> None:
    """End a key at once, by the id that `leadcast keys list` shows."""
    held.revoke(path, which)
    click.echo(f"Key {which} has ended.")


@keys.command()
@_file
@click.argument("which", metavar="ID")
@click.option("--overlap", default="24h", show_default=True,
              help="How long the old key still holds: 30m, 24h, 7d.")  # fmt: skip
def rotate(path: Path, which: str, overlap: str) -> None:
    """Make a key in the place of another, which ends when the overlap is over."""
    click.echo(held.rotate(path, which, duration(overlap)))
    click.echo(f"{_once} Key {which} ends in {overlap}.", err=True)
