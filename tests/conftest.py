"""What every test may use."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

settings.register_profile(
    "leadcast",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("leadcast")


@pytest.fixture(scope="session")
def data() -> Path:
    """The directory of real data sets; tests that need it are skipped where it is missing."""
    found = Path(os.environ.get("LEADCAST_DATA", ROOT.parent / "shared" / "data"))
    if not found.is_dir():
        pytest.skip("no real data here: set LEADCAST_DATA to the directory that holds bpic2012/")
    return found


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of an empty PostgreSQL server; tests that need it are skipped where none can be."""
    from tests.postgres import missing, server

    lacking = missing()
    if lacking is not None:
        pytest.skip(lacking)
    with server() as url:
        yield url
