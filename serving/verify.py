"""What must hold before the service opens a port, tried in a process of its own.

It loads what it is given, and is ended where that hangs; the supervisor of the workers, which asks
for it, never does, and need not have what they import.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_SECONDS, _REFUSED = 240, 3
_ROOT = str(Path(__file__).parent.parent)


def verify(host: str) -> None:
    """Refuse to start on a bad bundle, policy or store, or open to others than this machine.

    Raises ``SystemExit`` that says why.
    """
    command = [sys.executable, "-P", "-m", "serving.verify", host]  # this one, not one beside us
    path = os.pathsep.join([_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path}  # what is named stands where we stand
    try:
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, text=True, timeout=_SECONDS,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise SystemExit("leadcast: the bundle or the store hangs: see leadcast doctor") from None
    if done.returncode == _REFUSED:
        raise SystemExit(f"leadcast: {done.stdout.strip()}")
    if done.returncode:
        raise SystemExit(f"leadcast: what is to be served cannot be loaded ({done.returncode})")


def _try(host: str) -> None:
    from serving import settings
    from serving.decide import Policy
    from serving.keys import require
    from serving.store import Store
    from serving.traces import Traces
    from training import bundle

    require(settings.KEYS, host)
    bundle.load(settings.BUNDLE)
    if settings.CHALLENGER:
        bundle.load(settings.CHALLENGER)
    if settings.STORE:
        Store(settings.STORE).close()
    if settings.POLICY:
        Policy.read(settings.POLICY)
    Traces.configured()


def _main() -> int:
    # LightGBM imports it where it is there: half of the time this takes.
    sys.modules["sklearn"] = None  # type: ignore[assignment]
    from features.databases import MissingDriver
    from serving.traces import MissingExporter

    try:
        _try(sys.argv[1])
    except (MissingDriver, MissingExporter, ValueError, OSError) as error:
        print(error)
        return _REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(_main())
