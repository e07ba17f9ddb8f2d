"""The ``leadcast`` command: every step from a history to a scored lead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from serving.commands import data, doctor, keys, models, scoring, store
from serving.commands.shared import runs_option


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


@click.command()
@click.option("--directory", default=Path("demo"), show_default=True,
              type=click.Path(path_type=Path), help="Where to put everything.")  # fmt: skip
@runs_option
def demo(directory: Path, mlruns: Path) -> None:
    """The whole job on a simulated funnel: history, model, report, work list, one HTTP score."""
    from serving.demo import run

    run(directory, mlruns)


for command in (
    data.simulate, data.check, data.plan, data.audit, data.explain,
    models.train, models.report, models.reproduce, models.pull, models.promote,
    models.rollback,
    scoring.score, scoring.batch, scoring.serve, scoring.rehearse, scoring.bento,
    demo, doctor.doctor, keys.keys, store.store,
):  # fmt: skip
    main.add_command(command)

if __name__ == "__main__":
    main()
