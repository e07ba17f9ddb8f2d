"""API keys: a file of hashed keys with scopes, read again when it changes.

A key is ``lc_<id>_<secret>``; its secret is 32 random bytes, which nobody guesses: one SHA-256 is
hash enough, and the id finds the record to compare with. The id is no secret: it stands in logs.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import secrets
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, get_args

import msgspec

from features.times import iso, now
from serving.operation import Scope

SCOPES: tuple[Scope, ...] = get_args(Scope)
RATE = 2_000.0
"""Requests a second of a key that is given no other rate."""

_LOOK_SECONDS = 1.0


class KeysError(ValueError):
    """A key file that cannot be used; says what is wrong and what to do."""


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One key: what it may do and until when (microseconds), and the hash of the whole key."""

    id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{8}$")]
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    scopes: Annotated[tuple[Scope, ...], msgspec.Meta(min_length=1)]
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    created: int
    expires: int | None = None
    rate: Annotated[float, msgspec.Meta(gt=0)] = RATE

    def valid(self, at: int) -> bool:
        """Whether it may be used at a time in microseconds."""
        return self.expires is None or at < self.expires


_Keys = tuple[Key, ...]


def read(path: Path) -> _Keys:
    """The keys of a file; none when there is no file yet. Raises :class:`KeysError`."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise KeysError(f"{path} cannot be read: {error.strerror}") from None
    try:
        keys = msgspec.json.decode(content, type=_Keys)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise KeysError(f"{path} is not a key file ({error}): make it with leadcast keys") from None
    if len({one.id for one in keys}) < len(keys):
        raise KeysError(f"{path} has one id for two keys: revoke one of them")
    return keys


def add(path: Path, name: str, scopes: Sequence[Scope], rate: float = RATE) -> str:
    """Make a key, store its hash, and return the key: it is never to be seen again."""
    keys = read(path)
    key, record = _made(keys, name, tuple(dict.fromkeys(scopes)), rate)
    _write(path, (*keys, record))
    return key


def revoke(path: Path, which: str, after: int = 0) -> None:
    """End a key, by its id, at once or ``after`` microseconds. Raises :class:`KeysError`."""
    keys = read(path)
    ended = msgspec.structs.replace(_held(keys, which), expires=now() + after)
    _write(path, tuple(ended if one.id == which else one for one in keys))


def rotate(path: Path, which: str, overlap: int) -> str:
    """A new key in a valid one's place, which ends after ``overlap`` microseconds."""
    held = _held(read(path), which)
    if not held.valid(now()):
        raise KeysError(f"key {which} has ended: add a new one")
    key = add(path, held.name, held.scopes, held.rate)
    revoke(path, which, overlap)
    return key


def shown(key: Key) -> str:
    """A line about a key, for people."""
    ended = not key.valid(now())
    until = "" if key.expires is None else f"{'ended' if ended else 'ends'} {iso(key.expires)}"
    return f"{key.id}  {key.name:<20}  {','.join(key.scopes):<32}  {key.rate:g}/s  {until}".rstrip()


def _held(keys: _Keys, which: str) -> Key:
    for one in keys:
        if one.id == which:
            return one
    raise KeysError(f"there is no key {which}: see leadcast keys list")


def _made(keys: _Keys, name: str, scopes: tuple[Scope, ...], rate: float) -> tuple[str, Key]:
    taken = {one.id for one in keys}
    chosen = next(one for one in iter(lambda: secrets.token_hex(4), "") if one not in taken)
    key = f"lc_{chosen}_{secrets.token_urlsafe(32)}"
    record = Key(chosen, name, scopes, _hash(key).hex(), now(), rate=rate)
    msgspec.convert(msgspec.to_builtins(record), Key)  # as it will be read
    return key, record


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _write(path: Path, keys: _Keys) -> None:
    """Replace the file at once, for its owner only: a reader sees all of it or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(keys), indent=1))
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError:
        with suppress(OSError):
            os.unlink(beside)
        raise


def require(path: Path | None, host: str) -> None:
    """Raises :class:`KeysError` when a service on ``host`` would be open to other machines.

    Or when the key file cannot be used.
    """
    if path is not None:
        Keys(path)
    elif not is_loopback(host):
        raise KeysError(
            f"the service would be open to everybody on {host}: set LEADCAST_KEYS to a file of "
            "keys (leadcast keys add --scope score --name crm), or listen on 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    """Whether an address is of this machine only; the path of a Unix socket is."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.startswith("/")


class Keys:
    """The keys of a file as it stands, looked at once a second.

    A file that goes bad changes nothing: the keys last read stay. Raises :class:`KeysError` when
    it is bad, or holds no key, from the start.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._seen, self._looked = path, _stamp(path), time.monotonic()
        self._held = _found(path)
        self.failure: str | None = None

    def find(self, key: str) -> Key | None:
        """The record of a key that may be used now."""
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            self._look()
        record = self._held.get(key[3:11])
        if record is None or not hmac.compare_digest(bytes.fromhex(record.sha256), _hash(key)):
            return None
        return record if record.valid(now()) else None

    def _look(self) -> None:
        self._looked = time.monotonic()
        stamp = _stamp(self._path)
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._held, self.failure = _found(self._path), None
        except KeysError as error:
            self.failure = str(error)


def _found(path: Path) -> dict[str, Key]:
    keys = read(path)
    if not keys:
        raise KeysError(f"{path} holds no key: leadcast keys add --scope score --name crm")
    return {one.id: one for one in keys}


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size, about.st_ino
