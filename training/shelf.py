"""Bundles as files: read once, copied whole, and one of them shown in its place by one rename.

``champion`` is a link to one of the directories in ``champion.kept/``, each named by the version of
the bundle in it. They never change, so whoever has read the link reads one bundle to its end.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

ABOUT, SUMS = "bundle.json", "SHA256SUMS"
KEPT = 4
"""So many bundles stay: the one shown, and those that can be gone back to."""

_MOST_BYTES = 2**28


class BundleError(ValueError):
    """A bundle that must not be served; says what is wrong and what to do."""


def broken(directory: Path, why: str) -> BundleError:
    """The error of a bundle, and its remedy."""
    return BundleError(
        f"bundle {directory.name}: {why}: write it again from its run (leadcast promote)"
    )


def sha256(content: bytes) -> str:
    """A digest as it is written down."""
    return hashlib.sha256(content).hexdigest()


def version_of(digest: str) -> str:
    """What people and answers call a bundle: the first of the digest of its bundle.json."""
    return digest[:12]


def version_in(directory: Path) -> str | None:
    """The version that a directory claims, verified or not; None where it has no bundle.json."""
    with suppress(BundleError):
        return version_of(sha256(_read(directory / ABOUT)))
    return None


def files(directory: Path) -> dict[str, bytes]:
    """Name and content of every file. Raises :class:`BundleError` for links and directories."""
    try:
        names = sorted(path.name for path in directory.iterdir())
    except OSError as error:
        raise broken(directory, f"it cannot be read: {error.strerror}") from None
    for name in (SUMS, ABOUT):
        if name not in names:
            raise broken(directory, f"{name} is missing")
    return {name: _read(directory / name) for name in names}


def put(content: Mapping[str, bytes], target: Path) -> None:
    """Write files into the directory ``target``, which is not there yet: all, or none."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        for name, held in content.items():
            with (fresh / name).open("wb") as file:
                file.write(held)
                file.flush()
                os.fsync(file.fileno())
        fresh.chmod(0o755)
        _sync(fresh)
        fresh.rename(target)
    except OSError:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def show(content: Mapping[str, bytes], target: Path) -> None:
    """Keep a bundle beside ``target``, then let ``target`` show it, by one rename.

    The latest :data:`KEPT` stay; a directory that is in the place of the link becomes one of them.
    """
    held = _room(target) / version_of(sha256(content[ABOUT]))
    if held.is_dir() and files(held) != content:
        shutil.rmtree(held)
    if held.is_dir():
        os.utime(held)
    else:
        put(content, held)
    if target.is_dir() and not target.is_symlink():
        _set_aside(target)
    link = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    link.symlink_to(held.relative_to(target.parent))
    link.replace(target)
    _sync(target.parent)
    for old in kept(target)[KEPT:]:
        shutil.rmtree(_room(target) / old, ignore_errors=True)


def kept(target: Path) -> list[str]:
    """The versions of the bundles that lie beside ``target``, the one shown last first."""
    room = _room(target)
    if not room.is_dir():
        return []
    found = [path for path in room.iterdir() if not path.name.startswith(".")]
    return [path.name for path in sorted(found, key=lambda path: -path.stat().st_mtime_ns)]


def _room(target: Path) -> Path:
    return target.with_name(target.name + ".kept")


def _set_aside(target: Path) -> None:
    """A directory that was copied to the place by hand, or by an older version."""
    aside = _room(target) / (version_in(target) or secrets.token_hex(6))
    if aside.exists():
        shutil.rmtree(target)
    else:
        target.rename(aside)


def _read(path: Path) -> bytes:
    """A file of its own, and no link to somewhere else."""
    try:
        with open(path, "rb", opener=_opener) as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode) or about.st_size > _MOST_BYTES:
                raise broken(path.parent, f"{shown(path.name)} is no file, or far too large")
            return file.read()
    except OSError as error:
        why = f"{shown(path.name)} is no file that can be read: {error.strerror}"
        raise broken(path.parent, why) from None


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def shown(text: str) -> str:
    """What a stranger wrote, short and on one line."""
    return repr(text[:60])[1:-1]


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
