"""Bundles made from another one without training: other models, and damaged ones."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from features.source import Population
from training import bundle
from training.bundle import Bundle


def shifted(source: Path, target: Path, by: float) -> Bundle:
    """The model of ``source`` with its calibrated log-odds moved, in a bundle of its own."""
    held = bundle.load(source)
    about, moved = held.about, held.model.calibration
    model = dataclasses.replace(
        held.model, calibration=msgspec.structs.replace(moved, form="platt", c=moved.c + by)
    )
    origin = bundle.Origin(
        about.source, Population("weekly", None, about.horizon, 0, about.target), about.timeless,
        about.reveals, about.trained_until, about.data_digest,
    )  # fmt: skip
    rows = np.array(about.golden.rows, dtype=np.float64)
    return bundle.write(model, origin, rows, target)


def sign(directory: Path) -> None:
    """Write digests that fit what is there now: whoever damaged it wrote them too."""
    about = _json(directory)
    if about is not None:
        for name in about["digests"]:
            about["digests"][name] = _sha256(directory / name)
        (directory / "bundle.json").write_text(json.dumps(about), encoding="utf-8")
    names = sorted(path.name for path in directory.iterdir() if path.name != "SHA256SUMS")
    sums = "".join(f"{_sha256(directory / name)}  {name}\n" for name in names)
    (directory / "SHA256SUMS").write_text(sums, encoding="utf-8")


def declare(directory: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what bundle.json says."""
    about = json.loads((directory / "bundle.json").read_text(encoding="utf-8"))
    change(about)
    (directory / "bundle.json").write_text(json.dumps(about), encoding="utf-8")


def edited(text: str, field: str, change: Callable[[list[str]], list[str]], tree: int = 0) -> str:
    """A booster's text with a tree's line changed, and the size that its head tells as well."""
    head, *trees = re.split(r"^(?=Tree=)", text, flags=re.MULTILINE)
    trees[-1], end, after = trees[-1].partition("end of trees\n")
    trees[tree] = re.sub(
        rf"^{field}=(.*)$", lambda found: f"{field}={' '.join(change(found[1].split()))}",
        trees[tree], count=1, flags=re.MULTILINE,
    )  # fmt: skip
    sizes = " ".join(str(len(one.encode())) for one in trees)
    head = re.sub(r"^tree_sizes=.*$", f"tree_sizes={sizes}", head, flags=re.MULTILINE)
    return "".join([head, *trees, end, after])


def _json(directory: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads((directory / "bundle.json").read_text(encoding="utf-8")))
    except ValueError:
        return None


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
