"""The process that works on one job: ``python -m serving.job_process DIRECTORY``.

The environment tells what it serves, as it tells the service: LEADCAST_BUNDLE, LEADCAST_STORE,
LEADCAST_POLICY. It ends when its standard input does.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import msgspec
from msgspec.structs import replace

from features.times import instant, iso, now
from serving.api import Envelope
from serving.decide import Policy
from serving.jobs import ANSWERED, ASKED, Job, read_job, write_job
from serving.routes.score import Desk
from serving.scorer import Scorer
from serving.store import Store, StoreUnavailable
from training import bundle

_LEADS, _BYTES = 200, 4 * 2**20
"""So many leads at a time, or fewer where they are long."""

_PAUSES = (1, 2, 4, 8, 16, 32)
"""Seconds to wait for a store that does not answer; then the job fails."""

_ENCODER = msgspec.json.Encoder()


def work(place: Path, desk: Desk, store: Store | None) -> Job:
    """Score all leads of a job; its answers are there when it is done, and not before."""
    job = replace(read_job(place), status="running", scored=0, refused=0,
                  model_version=desk.version)  # fmt: skip
    write_job(place, job)
    part = place / f"{ANSWERED}.part"
    with (place / ASKED).open("rb") as asked, part.open("wb") as told:
        for lines in _blocks(line for line in asked if not line.isspace()):
            first = job.scored + job.refused
            answers, scored = _answered(desk, store, job, lines, first)
            told.write(answers)
            job = replace(job, scored=job.scored + scored,
                          refused=job.refused + len(lines) - scored)  # fmt: skip
            write_job(place, job)
    part.replace(place / ANSWERED)
    (place / ASKED).unlink()
    job = replace(job, status="done", ended_at=iso(now()))
    write_job(place, job)
    return job


def _blocks(lines: Iterator[bytes]) -> Iterator[list[bytes]]:
    while block := list(islice(lines, 1)):
        size = len(block[0])
        while len(block) < _LEADS and size < _BYTES and (line := next(lines, b"")):
            block.append(line)
            size += len(line)
        yield block


def _answered(
    desk: Desk, store: Store | None, job: Job, lines: list[bytes], first: int
) -> tuple[bytes, int]:
    """A line for each lead, and how many of them are scored; they are in the ledger."""
    asked = Envelope([msgspec.Raw(line) for line in lines], instant(job.as_of), job.reasons)
    for pause in (*_PAUSES, None):
        try:
            results, kept = desk.results(asked, instant(job.as_of), job.job_id, first)
            if store is not None:
                store.put_rows({"scores": kept})
            return _ENCODER.encode_lines(results), sum(hasattr(one, "grade") for one in results)
        except StoreUnavailable:
            if pause is None:
                raise
            time.sleep(pause)
    raise AssertionError("the last try returns or raises")


def _end_with_the_service() -> None:
    while os.read(0, 1):  # not by sys.stdin, whose lock must be free when Python ends
        pass
    os._exit(1)


def main() -> None:
    """Work on the job whose directory the command line names; it says how that ended."""
    os.nice(10)
    threading.Thread(target=_end_with_the_service, daemon=True).start()
    place = Path(sys.argv[1])
    try:
        policy = os.environ.get("LEADCAST_POLICY")
        loaded = bundle.load(Path(os.environ["LEADCAST_BUNDLE"]))
        scorer = Scorer(loaded, Policy.read(Path(policy)) if policy else None)
        url = os.environ.get("LEADCAST_STORE")
        store = Store(url) if url else None
        work(place, Desk(scorer, store), store)
    except (bundle.BundleError, StoreUnavailable, ValueError, OSError) as error:
        why = "the store does not answer" if isinstance(error, StoreUnavailable) else str(error)
        failed = replace(read_job(place), status="failed", ended_at=iso(now()),
                         problem=f"{why}: submit it again")  # fmt: skip
        write_job(place, failed)


if __name__ == "__main__":
    main()
