"""Where the service finds its things: what its environment tells it. Secrets are not among them."""

from __future__ import annotations

import os
from pathlib import Path

INSIDE = Path(__file__).parent.parent / "champion"  # of a Bento: see serving.bento


def _place(name: str) -> Path | None:
    told = os.environ.get(name)
    return Path(told) if told else None


BUNDLE = _place("LEADCAST_BUNDLE") or (INSIDE if INSIDE.is_dir() else Path(".leadcast/champion"))
STORE = os.environ.get("LEADCAST_STORE")
POLICY = _place("LEADCAST_POLICY")
CHALLENGER = _place("LEADCAST_CHALLENGER")
JOBS = _place("LEADCAST_JOBS")
KEYS = _place("LEADCAST_KEYS")
