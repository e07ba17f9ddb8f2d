"""One JSON line a bar, and the processor time that ratios are made of."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("LEADCAST_DATA", ROOT.parent / "shared" / "data"))


def bar(
    name: str, value: float, limit: float, wanted: Literal["<=", ">=", "<", ">"] = "<="
) -> bool:
    """Print a bar's line; returns whether it holds."""
    tests = {"<=": value <= limit, ">=": value >= limit, "<": value < limit, ">": value > limit}
    line = {"bar": name, "value": round(value, 5), "limit": limit, "holds": tests[wanted]}
    print(json.dumps(line), flush=True)
    return tests[wanted]


def cpu_seconds() -> float:
    """Processor seconds of this process, all threads, user and system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
