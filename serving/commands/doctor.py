"""``leadcast doctor``: what is wrong, and how to mend it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
import msgspec

from serving.commands.shared import bundle_option, console, runs_option

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@bundle_option
@click.option("--store", envvar="LEADCAST_STORE", show_envvar=True,
              help="The store of the service: an SQLite file, or postgresql://...")  # fmt: skip
@runs_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=3000, show_default=True, help="Port to listen on.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for machines.")
def doctor(
    bundle: Path, store: str | None, mlruns: Path, host: str, port: int, as_json: bool
) -> None:
    """Say what is wrong with this installation and how to mend it; exit status 1 if anything is.

    It looks at the model (in a child process), the libraries, the store and its disk, the keys
    (LEADCAST_KEYS), the port, the registry and the clock.
    """
    from serving.doctor import examine

    told = os.environ.get("LEADCAST_KEYS")
    found = []
    for one in examine(bundle, store, Path(told) if told else None, mlruns, host, port):
        found.append(one)
        if not as_json:
            colour = _COLOURS[one.state]
            console.print(f"  [{colour}]{one.state:<4}[/]  {one.part:<10}", end="")
            console.print(one.seen, markup=False)
            if one.remedy:
                console.print(f"  {'':16}remedy: {one.remedy}", markup=False)
    if as_json:
        click.echo(msgspec.json.encode(found))
    sys.exit(any(one.state == "fail" for one in found))
