"""The quick form of every benchmark: `make bars`. Exit status 1 when a bar does not hold."""

from __future__ import annotations

import subprocess
import sys

COMMANDS = (
    ["benchmarks.features"],
    ["benchmarks.online"],
    ["benchmarks.peers", "--quick"],
    ["benchmarks.out_of_core"],
    ["benchmarks.scale", "--quick"],
    ["benchmarks.incremental"],
    ["benchmarks.serving", "--quick"],
    ["benchmarks.batch", "--quick"],
    ["benchmarks.ingestion"],
    ["benchmarks.freshness", "--quick"],
    ["benchmarks.soak", "--quick"],
    ["benchmarks.quality", "--quick"],
    ["benchmarks.calibration"],
    ["benchmarks.few"],
    ["benchmarks.value"],
    ["benchmarks.spark", "--quick"],
    ["benchmarks.audit"],
)


def main() -> int:
    fallen = 0
    for command in COMMANDS:
        done = subprocess.run(
            [sys.executable, "-m", *command], capture_output=True, text=True, check=False
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith('{"bar"')]
        print("\n".join(lines), flush=True)
        fallen += sum('"holds": false' in line for line in lines)
        if done.returncode:
            fallen += 1
            print(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}", file=sys.stderr)
    return 1 if fallen else 0


if __name__ == "__main__":
    sys.exit(main())
