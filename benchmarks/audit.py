"""Does the audit find the leaks, and nothing else? Real data, planted leaks, clean histories.

    python -m benchmarks.audit [xeducation] [planted] [clean]

Planted leaks and clean histories are simulated funnels of 2,500 leads, audited as `leadcast audit`
does. A planted leak is found when a finding names its field.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.bar import DATA, ROOT, bar
from features.simulate import simulate
from features.source import Source
from tests.leaks import LEAKS, funnel, xeducation_whole
from training.experiment import audited
from training.findings import Finding

LEADS, SEEDS, PLANTED_SEED = 2_500, range(100, 120), 3


def xeducation() -> None:
    """All 37 columns: the nine that are filled in after contact, and the rest."""
    if not DATA.is_dir():
        print("xeducation: no real data here: set LEADCAST_DATA")
        return
    os.environ["LEADCAST_DATA"] = str(DATA)
    leaking = set(Source.from_toml(ROOT / "examples" / "xeducation.toml").exclude)
    with tempfile.TemporaryDirectory() as scratch:
        source = xeducation_whole(Path(scratch))
        found = audited(source.load(), source)
    show("X Education", found)
    blocked = {one.field for one in found if one.severity == "blocking"}
    bar("audit-xeducation-leaks-found", len(blocked & leaking), len(leaking), ">=")
    bar("audit-xeducation-false-blocking", len(blocked - leaking), 0)


def planted() -> None:
    """One leak at a time in the same funnel."""
    clean, named, others = simulate(leads=LEADS, seed=PLANTED_SEED).history, 0, 0
    for number, (name, leak) in enumerate(LEAKS.items()):
        history = leak.plant(clean, np.random.default_rng(number))
        found = audited(history, funnel(history))
        show(name, found)
        named += leak.field in {one.field for one in found}
        others += sum(one.field != leak.field and one.severity == "blocking" for one in found)
    print(f"{named} of {len(LEAKS)} planted leaks; {others} other blocking findings beside them")
    bar("audit-planted-leaks-found", named, 11, ">=")


def clean() -> None:
    """Histories in which nothing leaks."""
    blocking = 0
    for seed in SEEDS:
        history = simulate(leads=LEADS, seed=seed).history
        found = audited(history, funnel(history))
        if found:
            show(f"clean, seed {seed}", found)
        blocking += sum(one.severity == "blocking" for one in found)
    bar(f"audit-false-blocking-over-{len(SEEDS)}-seeds", blocking, 1)


def show(what: str, found: tuple[Finding, ...]) -> None:
    """Print findings in short."""
    for one in found:
        print(f"{what}: {one.severity} {one.key}: {one.evidence}")
    if not found:
        print(f"{what}: nothing found")


def main(names: list[str]) -> None:
    for one in (xeducation, planted, clean):
        if not names or one.__name__ in names:
            one()


if __name__ == "__main__":
    main(sys.argv[1:])
