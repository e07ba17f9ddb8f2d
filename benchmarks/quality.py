"""Honest quality, out of time: every contender on every data set, the same splits, one table each.

    python -m benchmarks.quality                     everything that is here; hours, resumable
    python -m benchmarks.quality --quick             ours and the baselines; minutes
    python -m benchmarks.quality bpic2012 xeducation --without AutoGluon
    python -m benchmarks.quality --kept --out benchmarks/quality.md     after a change of ours

Our recipe against the base rate, naive Bayes as Odoo's, logistic regression, and LightGBM, XGBoost,
CatBoost, FLAML and AutoGluon (without neural nets), which get the same feature table, each in an
environment of its own under benchmarks/.peers (made on the first run). Intervals are 90 %, by lead;
differences are ours minus the other's, paired. What was computed is kept under benchmarks/.quality
and taken again while data, code and settings are the same: a run that was stopped goes on where it
was. Real data are read from LEADCAST_DATA; a protocol whose data are missing is left out, and said.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.bar import Bar
from benchmarks.judge import Judged, judge
from benchmarks.protocols import MAKERS, Protocol, available
from benchmarks.results import Results
from benchmarks.rivals import Rival, Said, rivals
from benchmarks.verdicts import of_all, verdicts

KEPT = Path(__file__).parent / ".quality"
QUICK = [name for name in MAKERS if not name.startswith("tkdd") or "honest" in name]


def arguments() -> argparse.Namespace:
    """What the command was told."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"protocols: {', '.join(MAKERS)}",
    )
    parser.add_argument(
        "protocols", nargs="*", metavar="PROTOCOL", help="only these (default: all)"
    )
    parser.add_argument("--quick", action="store_true", help="the main bars, no other packages")
    parser.add_argument("--fresh", action="store_true", help="forget what was computed before")
    parser.add_argument("--kept", action="store_true",
                        help="of the other packages only what was computed before")  # fmt: skip
    parser.add_argument("--without", action="append", default=[], metavar="NAME",
                        help="leave out a package whose name begins so")  # fmt: skip
    parser.add_argument("--search", type=int, default=30, metavar="SECONDS",
                        help="how long FLAML searches, a split (default: 30)")  # fmt: skip
    parser.add_argument("--limit", type=int, default=3600, metavar="SECONDS",
                        help="when AutoGluon is stopped, a split (default: 3600)")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the tables there")
    said = parser.parse_args()
    unknown = sorted(set(said.protocols) - set(MAKERS))
    if unknown:
        parser.error(f"no such protocol: {', '.join(unknown)}; there are {', '.join(MAKERS)}")
    return said


def main() -> int:
    said = arguments()
    console, results = Console(stderr=True), Results(KEPT)
    judged: dict[str, Judged] = {}
    bars: list[Bar] = []
    for name in said.protocols or (QUICK if said.quick else MAKERS):
        if not available(name):
            print(f"{name}: no real data here: set LEADCAST_DATA")
            continue
        if said.fresh:
            results.forget(name)
        protocol = MAKERS[name]()
        entered = taking_part(protocol, said, results)
        judged[name] = judge(protocol, ask(protocol, entered, results, console))
        print(f"\n{judged[name].title}\n\n{judged[name].table()}\n", flush=True)
        bars += tell(verdicts(judged[name]))
    bars += tell(of_all(judged))
    if said.out is not None:
        said.out.write_text(page(judged, bars))
    return 0


def taking_part(protocol: Protocol, said: argparse.Namespace, results: Results) -> list[Rival]:
    """Ours and the baselines, and of the other packages those that the command asks for."""

    def asked_for(peer: Rival) -> bool:
        left_out = peer.name.startswith(tuple(said.without))
        return not left_out and (not said.kept or results.have(protocol, peer))

    entered = rivals(protocol, not said.quick, said.search, said.limit)
    return [one for one in entered if not one.is_peer or asked_for(one)]


def tell(bars: Iterable[Bar]) -> list[Bar]:
    """Print the bars' lines."""
    told = list(bars)
    for one in told:
        one.tell()
    return told


def ask(
    protocol: Protocol, entered: Sequence[Rival], results: Results, console: Console
) -> dict[str, list[Said]]:
    """Every contender's answers to every split; one that does not run here is told and left out."""
    answers = {}
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        task = progress.add_task(protocol.name, total=len(entered) * len(protocol.splits))
        for rival in entered:
            said = []
            for split in protocol.splits:
                progress.update(task, description=f"{protocol.name}, {split.name}: {rival.name}")
                try:
                    said.append(results.said(protocol.name, split, rival))
                except RuntimeError as error:
                    console.print(f"{rival.name} does not run here: {error}", markup=False)
                    break
                progress.advance(task)
            if len(said) == len(protocol.splits):
                answers[rival.name] = said
    return answers


def page(judged: Mapping[str, Judged], bars: Sequence[Bar]) -> str:
    """All tables as one Markdown file."""
    parts = ["# Quality, out of time", "", "Written by `python -m benchmarks.quality --out FILE`."]
    for one in judged.values():
        parts += ["", f"## {one.title}", "", one.table()]
    parts += ["", "## Bars", "", "| bar | value | limit | holds |", "|---|---|---|---|"]
    parts += [
        f"| {one.name} | {one.value:.4f} | {one.wanted} {one.limit:g} | "
        f"{'yes' if one.holds else '**no**'} |"
        for one in bars
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())
