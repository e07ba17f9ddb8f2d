"""What is wrong with an installation, and how to mend it: each part looked at by itself."""

from __future__ import annotations

import shutil
import socket
import stat
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import msgspec

from features.databases import MissingDriver, is_database, is_postgres, shown, sqlite_path
from features.times import DAY, iso, now
from serving import keys
from serving.store import Store, StoreUnavailable
from training import bundle

State = Literal["ok", "warn", "fail"]

LEAST_FREE = 2**30
"""Fewer free bytes than this beside the store are worth a warning; a sixteenth is a failure."""

OLD = 90 * DAY
"""A model trained on nothing newer is worth a warning."""


class Finding(msgspec.Struct, frozen=True):
    """What was seen of one part; ``remedy`` where something is to be done."""

    part: str
    state: State
    seen: str
    remedy: str | None = None


def examine(champion: Path, store: str | None, key_file: Path | None, mlruns: Path,
            host: str, port: int) -> Iterator[Finding]:  # fmt: skip
    """Look at everything that a service needs, in turn; nothing is changed but an empty store."""
    yield from _model(champion)
    yield from _store(store)
    yield from _keys(key_file, host)
    yield _port(host, port)
    yield _registry(mlruns)
    yield _clock()


def _model(champion: Path) -> Iterator[Finding]:
    try:
        bundle.check(champion)
        about = bundle.verify(champion)
    except bundle.BundleError as error:
        yield Finding("model", "fail", str(error), "leadcast train, then leadcast promote")
        return
    age = now() - about.trained_until
    if about.timeless or age < OLD:
        yield Finding("model", "ok", f"{champion}: {about.source}, {about.target}")
    else:
        yield Finding("model", "warn", f"trained on nothing after {iso(about.trained_until)}",
                      "train it again: leadcast train, then leadcast promote")  # fmt: skip
    others = [
        f"{name} {here}, the model's {there}"
        for name, there in about.versions.items()
        if name != "leadcast" and (here := version(name)) != there
    ]
    if others:
        yield Finding("libraries", "warn", "; ".join(others),
                      "its golden rows score the same here: it may stay")  # fmt: skip
    else:
        yield Finding("libraries", "ok", "those that the model was written with")


def _store(place: str | None) -> Iterator[Finding]:
    if place is None:
        yield Finding("store", "warn", "there is none: no scores by id, no ledger, no work list",
                      "leadcast serve --store store.db")  # fmt: skip
        return
    try:
        began = time.perf_counter()
        store = Store(place)
        store.open()
        [(leads,)] = store.rows("SELECT count(*) FROM leads")
        store.close()
    except (StoreUnavailable, MissingDriver, ValueError) as error:
        yield Finding("store", "fail", str(error), "see that it is there, writable, not full, and "
                      "that the URL and its user are right")  # fmt: skip
        return
    took = time.perf_counter() - began
    yield Finding("store", "ok", f"{shown(place)}: {leads:,} leads, answered in {took:.2f} s")
    if not is_postgres(place):
        yield _disk(sqlite_path(place) if is_database(place) else Path(place))


def _disk(path: Path) -> Finding:
    free = shutil.disk_usage(path.resolve().parent).free
    seen = f"{free / 2**30:.1f} GiB free beside the store"
    if free >= LEAST_FREE:
        return Finding("disk", "ok", seen)
    return Finding("disk", "fail" if free < LEAST_FREE / 16 else "warn", seen,
                   "make room: what cannot be written is refused")  # fmt: skip


def _keys(path: Path | None, host: str) -> Iterator[Finding]:
    try:
        keys.require(path, host)
        known = [] if path is None else [one for one in keys.read(path) if one.valid(now())]
    except keys.KeysError as error:
        yield Finding("keys", "fail", str(error), "leadcast keys add --file keys.json --name crm "
                      "--scope score, and set LEADCAST_KEYS")  # fmt: skip
        return
    if path is None:
        yield Finding("keys", "ok", f"none: open to this machine alone, on {host}")
    elif not known:
        yield Finding("keys", "fail", f"{path} holds no key that is valid: nobody may call",
                      "leadcast keys add, or leadcast keys rotate")  # fmt: skip
    elif path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        yield Finding("keys", "fail", f"others may write {path}", f"chmod go-w {path}")
    else:
        yield Finding("keys", "ok", f"{len(known)} valid in {path}")


def _port(host: str, port: int) -> Finding:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return Finding("port", "warn", f"{host}:{port}: {error.strerror}",
                           "a service may run there already; or take another --port")  # fmt: skip
    return Finding("port", "ok", f"{host}:{port} is free")


def _registry(mlruns: Path) -> Finding:
    held = mlruns / "mlflow.db"
    if held.is_file():
        return Finding("registry", "ok", f"{held}; the service does not need it")
    return Finding("registry", "warn", f"no {held}: nothing was trained here",
                   "leadcast train, or --mlruns; a service with a model runs without")  # fmt: skip


def _clock() -> Finding:
    """A clock that jumped shows against the one that cannot; one that is years off, by itself."""
    began, steady = time.time(), time.monotonic()
    time.sleep(0.05)
    off = abs((time.time() - began) - (time.monotonic() - steady))
    if off > 1 or not 1_735_689_600 < began < 7_258_118_400:
        return Finding("clock", "fail", f"it says {iso(now())}, and moved by {off:.1f} s just now",
                       "let NTP set it: what is visible at a moment depends on it")  # fmt: skip
    return Finding("clock", "ok", iso(now()))
