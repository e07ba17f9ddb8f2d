"""What every contender's script does: read the tables, compute when told to, tell the cost.

A script is run as ``python <script> <directory>``. For each line on standard input it computes once
and answers with a JSON line: seconds on the clock (``wall``), processor seconds of all threads
(``cpu``) and peak memory in MiB. The line ``write`` also writes what it found as
``<script>[ <way>].parquet``. The columns are named ``<aggregate>|<kind>``; rows are in the order of
the spine.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WEEK = 7 * 86_400 * 1_000_000
DAY = 86_400e6


def own_cost() -> tuple[float, float]:
    """Processor seconds so far and peak MiB of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def answer(
    compute: Callable[[], Any],
    write: Callable[[Any, Path], None],
    cost: Callable[[], tuple[float, float]] = own_cost,
) -> None:
    """Serve rounds until standard input ends."""
    out = Path(sys.argv[1]) / f"{' '.join([Path(sys.argv[0]).stem, *sys.argv[2:]])}.parquet"
    for line in sys.stdin:
        before, start = cost()[0], time.perf_counter()
        found = compute()
        wall, (after, peak) = time.perf_counter() - start, cost()
        if line.strip() == "write":
            write(found, out)
        del found
        print(json.dumps({"wall": wall, "cpu": after - before, "peak": peak}), flush=True)
