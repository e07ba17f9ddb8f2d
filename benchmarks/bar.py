"""One JSON line a bar, and the processor time that ratios are made of."""

from __future__ import annotations

import json
import operator
import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("LEADCAST_DATA", ROOT.parent / "shared" / "data"))


Wanted = Literal["<=", ">=", "<", ">"]


@dataclass(frozen=True)
class Bar:
    """A figure and the limit that it must keep."""

    name: str
    value: float
    limit: float
    wanted: Wanted = "<="

    @property
    def holds(self) -> bool:
        """Whether it does."""
        tests = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}
        return bool(tests[self.wanted](self.value, self.limit))

    def tell(self) -> None:
        """Print its line."""
        value = round(self.value, 5)
        line = {"bar": self.name, "value": value, "limit": self.limit, "holds": self.holds}
        print(json.dumps(line), flush=True)


def bar(name: str, value: float, limit: float, wanted: Wanted = "<=") -> bool:
    """Print a bar's line; returns whether it holds."""
    made = Bar(name, value, limit, wanted)
    made.tell()
    return made.holds


def cpu_seconds() -> float:
    """Processor seconds of this process, all threads, user and system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
