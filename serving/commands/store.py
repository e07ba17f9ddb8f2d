"""``leadcast store``: what the service reads when it scores by id."""

from __future__ import annotations

from pathlib import Path

import click

from features.databases import shown
from features.source import Source
from serving.commands.shared import config_option, console, load, quarantine_option, steps


@click.group()
def store() -> None:
    """Fill the store that `leadcast serve --store` reads leads from.

    \b
    A service that uses the store sees a history as soon as it is loaded:
      leadcast store load --config funnel/source.toml --store store.db
      leadcast serve --store store.db
    """


@store.command("load")
@config_option
@click.option("--store", "place", required=True,
              help="The store to fill: an SQLite file, or postgresql://...")  # fmt: skip
@quarantine_option
def load_history(config: Path, place: str, quarantine: Path | None) -> None:
    """Load a history into a store, all of it or nothing.

    What is there already stays, so it may be done again; an id that is there with other content is
    an error.
    """
    from serving.store import Store

    history = load(Source.from_toml(config), quarantine)
    filled = Store(place)
    try:
        with steps() as say:
            filled.load(history, lambda share: say("store", share))
    finally:
        filled.close()
    console.print(f"  {len(history.leads):,} leads, {len(history.events):,} events, "
                  f"{len(history.changes):,} changes, {len(history.outcomes):,} outcomes "
                  f"in {shown(place)}", markup=False)  # fmt: skip
