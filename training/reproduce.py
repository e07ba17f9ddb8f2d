"""Train a registered model again and compare it with what was registered, to the bit."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from features.language import FeatureSet
from features.schema import History
from training import bundle
from training.dataset import StoredSet, Training, build, followed
from training.experiment import Declared, visible_features, write_bundle
from training.judge import Progress
from training.model import train


class ReproductionError(ValueError):
    """The data that a model was trained on are not there any more; says which were found."""


@dataclass(frozen=True)
class Reproduction:
    """``different``: the files of the bundle that are not the same to the bit.

    ``versions``: library -> the version then and now, where they differ.
    """

    rows: int
    different: tuple[str, ...]
    versions: dict[str, tuple[str, str]]

    @property
    def exact(self) -> bool:
        """Whether the model is the registered one, bit for bit."""
        return not self.different


def from_history(
    about: bundle.About, source: Declared, history: History, say: Progress
) -> Training:
    """The training set of a bundle, from a history that may have grown since.

    Raises :class:`ReproductionError` when what was known then reads otherwise now.
    """
    then = history.until(about.observed)
    rows = pd.concat(followed(then, source.population), ignore_index=True)
    features = FeatureSet(about.features)
    step = f"{len(features)} features of {len(rows):,} rows"
    seen = visible_features(then, source.reveals)
    data = build(rows, features, seen, lambda share: say(step, share))
    if data.digest != about.data_digest:
        raise ReproductionError(
            f"the history makes a training set of {len(data):,} rows with digest "
            f"{data.digest[:12]}, the model was trained on {about.data_digest[:12]}: facts known "
            "before then were edited, added or deleted since; restore them, or name the directory "
            "that kept the training set (--disk)"
        )
    return data


def from_disk(about: bundle.About, directory: Path) -> Training:
    """The training set of a bundle, where ``leadcast train --disk`` kept it."""
    path = directory / f"{about.data_digest}.json"
    if not path.exists():
        raise ReproductionError(f"{directory} keeps no training set {about.data_digest[:12]}")
    return StoredSet.open(path, FeatureSet(about.features))


def reproduce(stored: Path, source: Declared, data: Training, say: Progress) -> Reproduction:
    """Train the model of the bundle in ``stored`` again, on its training set, and compare.

    The recipe is the bundle's, the population the source's. What its card says of it, the findings
    of the audit and the evaluation, is taken over.
    """
    about = bundle.verify(stored)
    model = train(data, about.recipe, lambda step: say(f"train: {step}", 0.5), now=about.observed)
    origin = bundle.Origin(
        about.source, source.population, about.timeless, about.reveals, about.trained_until,
        data.digest, about.observed, about.recipe, about.findings, about.evidence,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch, "bundle")
        write_bundle(model, origin, data, made)
        names = sorted({path.name for place in (stored, made) for path in place.iterdir()})
        different = tuple(name for name in names if _bytes(stored / name) != _bytes(made / name))
    return Reproduction(len(data), different, _versions(about))


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _versions(about: bundle.About) -> dict[str, tuple[str, str]]:
    now = {name: version(name) for name in about.versions}
    return {name: (then, now[name]) for name, then in about.versions.items() if then != now[name]}
