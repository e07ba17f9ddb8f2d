"""What Prometheus reads at ``/metrics``; routes are templates, so no id of a lead is a label."""

from __future__ import annotations

import os
from functools import cache, partial
from pathlib import Path

import psutil  # type: ignore[import-untyped]
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
    values,
)

_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
if _DIRECTORY in os.environ:
    # A worker is started, never forked: its number need not be asked for at every count.
    values.ValueClass = values.MultiProcessValue(partial(int, os.getpid()))

MEDIA = CONTENT_TYPE_LATEST
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)

REQUESTS = Counter(
    "leadcast_requests_total", "Requests answered, refused ones too", ["route", "status"]
)
SECONDS = Histogram(
    "leadcast_request_seconds", "From the headers to the end of the answer", ["route"],
    buckets=_BUCKETS,
)  # fmt: skip
RUNNING = Gauge(
    "leadcast_requests_running", "Requests that have begun and not ended",
    multiprocess_mode="livesum",
)  # fmt: skip
REFUSED = Counter(
    "leadcast_refused_total", "Requests refused before any work, by the problem's type", ["reason"]
)

MODEL = Gauge(
    "leadcast_model_info", "1 for the version of the model that answers, 0 for those before it",
    ["version"], multiprocess_mode="livemax",
)  # fmt: skip
MODEL_REFUSED = Counter(
    "leadcast_model_refused_total", "New models that failed their checks and were not served"
)

SHADOWED = Counter(
    "leadcast_shadow_scores_total", "Leads that the challenger scored, too, by whether it would "
    "have sent them the same way",
    ["version", "route"],
)  # fmt: skip
SHADOW_DISTANCE = Histogram(
    "leadcast_shadow_distance", "Between the probabilities of challenger and champion",
    buckets=(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
)  # fmt: skip
SHADOW_LEFT_OUT = Counter(
    "leadcast_shadow_left_out_total", "Leads that challenger and champion did not both score"
)

REFRESH_SECONDS = Histogram(
    "leadcast_refresh_seconds", "From a fact that came in to the lead's current score",
    buckets=_BUCKETS,
)  # fmt: skip
LETTERS_DROPPED = Counter(
    "leadcast_dead_letters_dropped_total", "Dead letters dropped, the oldest first: too many"
)


@cache
def answered(route: str, status: int) -> Counter:
    """The counter of a route's answers of one status; both are few."""
    return REQUESTS.labels(route, str(status))


@cache
def seconds(route: str) -> Histogram:
    """The latency histogram of a route."""
    return SECONDS.labels(route)


@cache
def refused(reason: str) -> Counter:
    """The counter of refusals for one reason."""
    return REFUSED.labels(reason)


@cache
def shadowed(version: str, other: bool) -> Counter:
    """The counter of leads that a challenger would have sent the same way, or another."""
    return SHADOWED.labels(version, "other" if other else "same")


def serves(version: str, before: str) -> None:
    """Another model answers from now on, or the first one."""
    MODEL.labels(before).set(0)
    MODEL.labels(version).set(1)


def exposed() -> bytes:
    """The text that Prometheus reads: of every worker, where BentoML started them."""
    if _DIRECTORY not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    return generate_latest(registry)


def forget_the_dead() -> None:
    """Drop what workers that were killed said was running."""
    if _DIRECTORY in os.environ:
        for file in Path(os.environ[_DIRECTORY]).glob("gauge_live*.db"):
            pid = file.stem.rpartition("_")[2]
            if pid.isdigit() and not psutil.pid_exists(int(pid)):
                multiprocess.mark_process_dead(int(pid))
