"""Engines among processes: a forked child neither uses nor closes those of its parent."""

from __future__ import annotations

import subprocess
import sys

FORKED = """
import os
import pandas as pd
from features.catalog import default
from features.engines import compute
from features.simulate import simulate

history = simulate(leads=60, seed=1).history
leads = history.leads
later = leads["created_at"] + pd.Timedelta("60D")
spine = pd.DataFrame({"lead_id": leads["lead_id"], "as_of": later})
known = compute(default(history), spine, history)
child = os.fork()
if not child:
    os._exit(0 if compute(default(history), spine, history).equals(known) else 1)
raise SystemExit(os.waitpid(child, 0)[1])
"""


def test_a_forked_child_computes_what_its_parent_does() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED], timeout=120, check=False)
    assert done.returncode == 0
