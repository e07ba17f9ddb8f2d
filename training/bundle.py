"""The artefact: LightGBM text, JSON and SHA256SUMS in a directory. Never pickle.

A damaged LightGBM text aborts or hangs the process that reads it, so nothing reaches LightGBM
before its digest is verified, and a service first lets a child process load the bundle and replay
its golden rows (:func:`check`).
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import lightgbm as lgb
import msgspec
import numpy as np
import numpy.typing as npt

from features.language import Feature, FeatureSet
from features.source import Population
from training.calibrate import Calibration
from training.encode import Encoder
from training.findings import Finding
from training.ladder import Rung
from training.linear import Linear
from training.model import LeadModel, Prediction
from training.recipe import Recipe
from training.spread import Spread
from training.value import ValueHead

FORMAT: Literal[2] = 2
GOLDEN_ROWS = 32
TOLERANCE = 1e-9
_CHECK_SECONDS = 60
_SUMS, _ABOUT, _CONVERSION = "SHA256SUMS", "bundle.json", "conversion.txt"


class BundleError(ValueError):
    """A bundle that must not be served; says what is wrong and what to do."""


class Golden(msgspec.Struct, frozen=True):
    """Encoded rows (null = missing) with what this bundle said of them when it was written."""

    rows: list[list[float | None]]
    said: dict[str, list[float]]


class Reference(msgspec.Struct, frozen=True):
    """Percentiles 0..100 over a reference population, from which grades and routes are cut."""

    probability: list[float]
    expected_value: list[float] | None


class Deals(msgspec.Struct, frozen=True):
    """A value head besides its trees: of each name, they are in ``value-NAME.txt``."""

    trees: tuple[str, ...]
    linear: Linear | None
    scale: dict[str, float]
    ratios: tuple[float, float, float]

    def readable(self, columns: int) -> bool:
        """Whether each member has its scale, and the linear one reads so many columns."""
        members = len(self.trees) + (self.linear is not None)
        fits = self.linear is None or self.linear.fits(columns)
        return fits and 0 < members == len(self.scale) and {*self.trees} <= {*self.scale}


class _Form(msgspec.Struct, frozen=True):
    """Of whatever form a bundle is, its bundle.json says which."""

    format: int


class About(msgspec.Struct, frozen=True):
    """bundle.json: all of a model but its trees."""

    format: Literal[2]
    source: str
    target: str
    horizon: int
    timeless: bool
    reveals: tuple[str, ...]
    fingerprint: str
    features: tuple[Feature, ...]
    encoder: Encoder
    calibration: Calibration
    value: Deals | None
    spread: Spread | None
    rungs: tuple[Rung, ...]
    reference: Reference
    golden: Golden
    trained_until: int
    observed: int
    data_digest: str
    recipe: Recipe
    digests: dict[str, str]
    versions: dict[str, str]
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, eq=False)
class Bundle:
    """A verified model: ``version`` names its content."""

    model: LeadModel
    about: About
    version: str


@dataclass(frozen=True)
class Origin:
    """What a bundle records of where its model came from; times in microseconds.

    ``observed``: the history's facts known before then were there. With the source's declaration
    and ``recipe`` that is all it takes to train the model again (:mod:`training.reproduce`).
    """

    source: str
    population: Population
    timeless: bool
    reveals: tuple[str, ...]
    trained_until: int
    data_digest: str
    observed: int = 0
    recipe: Recipe = field(default_factory=Recipe)
    findings: tuple[Finding, ...] = ()


def write(
    model: LeadModel, origin: Origin, reference: npt.NDArray[np.float64], directory: Path
) -> Bundle:
    """Write a bundle into a new or empty ``directory``; ``reference`` is (n, features) encoded.

    The first rows of the reference become the golden rows. Raises :class:`BundleError` when the
    directory holds something else.
    """
    if directory.exists() and any(directory.iterdir()):
        raise BundleError(f"{directory} is not empty: choose a new directory for the bundle")
    directory.mkdir(parents=True, exist_ok=True)
    texts = {_CONVERSION: model.booster.model_to_string()}
    head = model.value_head
    if head is not None:
        texts |= {_value(name): trees.model_to_string() for name, trees in head.trees.items()}
    for name, text in texts.items():
        (directory / name).write_text(text, encoding="utf-8")
    deals = None
    if head is not None:
        deals = Deals(tuple(head.trees), head.linear, dict(head.scale), head.ratios)
    about = About(
        format=FORMAT,
        source=origin.source,
        target=origin.population.target,
        horizon=origin.population.horizon,
        timeless=origin.timeless,
        reveals=origin.reveals,
        fingerprint=model.features.fingerprint,
        features=model.features.features,
        encoder=model.encoder,
        calibration=model.calibration,
        value=deals,
        spread=model.spread,
        rungs=model.rungs,
        reference=_reference(model, reference),
        golden=_golden(model, reference[:GOLDEN_ROWS]),
        trained_until=origin.trained_until,
        observed=origin.observed,
        recipe=origin.recipe,
        data_digest=origin.data_digest,
        digests={name: _sha256(directory / name) for name in texts},
        versions={name: version(name) for name in ("lightgbm", "numpy", "leadcast")},
        findings=origin.findings,
    )
    _write_about(about, directory)
    return load(directory)


def annotate(source: Path, target: Path, findings: tuple[Finding, ...]) -> None:
    """Copy a verified bundle to ``target`` with other findings on its card: those accepted later.

    Its model stays the same to the byte; its version, which names the whole content, does not.
    """
    copy(source, target)
    _write_about(msgspec.structs.replace(_about(target), findings=findings), target)


def _write_about(about: About, directory: Path) -> None:
    encoded = msgspec.json.encode(about, order="deterministic")
    (directory / _ABOUT).write_bytes(msgspec.json.format(encoded, indent=1))
    sums = [f"{_sha256(directory / name)}  {name}\n" for name in sorted([*about.digests, _ABOUT])]
    (directory / _SUMS).write_text("".join(sums), encoding="utf-8")


def verify(directory: Path) -> About:
    """Check every digest and the declarations without touching LightGBM; return bundle.json.

    Raises :class:`BundleError` naming the file at fault.
    """
    about = _about(directory)
    expected = {_ABOUT, *about.digests}
    lines = [line.partition("  ") for line in _read(directory / _SUMS).splitlines()]
    listed = {name: digest for digest, _, name in lines}
    present = {path.name for path in directory.iterdir()} - {_SUMS}
    for name in sorted(expected | set(listed) | present):
        if name not in expected or name not in listed or name not in present:
            raise _broken(directory, f"{name} is missing, or does not belong there")
        digest = _sha256(directory / name)
        if listed[name] != digest or about.digests.get(name, digest) != digest:
            raise _broken(directory, f"{name} is not the file that was written: its digest differs")
    features = FeatureSet(about.features)
    if features.fingerprint != about.fingerprint or features.names != about.encoder.names:
        raise _broken(directory, "the feature set is not the one the model was trained on")
    deals = about.value
    if {_CONVERSION, *(map(_value, deals.trees) if deals else ())} != set(about.digests):
        raise _broken(directory, "the heads listed are not the heads described")
    whole = deals is None or deals.readable(len(features))
    if not whole or (about.spread is not None and not about.spread.readable):
        raise _broken(directory, "the parts of the value head do not fit together")
    return about


def load(directory: Path) -> Bundle:
    """Verify, then load. Raises :class:`BundleError`; what :func:`check` passed cannot hang."""
    about = verify(directory)
    booster = lgb.Booster(model_str=_read(directory / _CONVERSION))
    head, deals = None, about.value
    if deals is not None:
        trees = {name: lgb.Booster(model_str=_read(directory / _value(name)))
                 for name in deals.trees}  # fmt: skip
        head = ValueHead(trees, deals.linear, deals.scale, deals.ratios)
    model = LeadModel(
        FeatureSet(about.features),
        about.encoder,
        booster,
        about.calibration,
        head,
        about.spread,
        about.rungs,
    )
    _replay(model, about.golden, directory)
    return Bundle(model, about, _sha256(directory / _ABOUT)[:12])


def check(directory: Path) -> None:
    """Verify, then load and replay in a child process with a time limit.

    Raises :class:`BundleError`; the calling process never hands the files to LightGBM.
    """
    verify(directory)
    command = [sys.executable, "-m", "training.bundle", str(directory)]
    root = Path(__file__).parent.parent
    try:
        done = subprocess.run(
            command, cwd=root, capture_output=True, timeout=_CHECK_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise _broken(directory, "loading it hangs") from None
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise _broken(directory, f"loading it fails: {' '.join(last) or 'the process ended'}")


def copy(source: Path, target: Path) -> None:
    """Copy a verified bundle over ``target``: complete, or not at all."""
    verify(source)
    fresh = target.with_name(target.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(source, fresh)
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)


def _reference(model: LeadModel, matrix: npt.NDArray[np.float64]) -> Reference:
    said = model.predict(matrix)
    steps = np.arange(101)
    expected = said.expected_value
    return Reference(
        np.percentile(said.probability, steps).tolist(),
        None if expected is None else np.percentile(expected, steps).tolist(),
    )


def _golden(model: LeadModel, matrix: npt.NDArray[np.float64]) -> Golden:
    said = model.predict(matrix)
    rows = [[None if np.isnan(value) else float(value) for value in row] for row in matrix]
    return Golden(rows, {name: column.tolist() for name, column in _columns(said)})


def _columns(said: Prediction) -> list[tuple[str, npt.NDArray[np.float64]]]:
    named = [(one.name, getattr(said, one.name)) for one in fields(said)]
    return [(name, column) for name, column in named if column is not None]


def _replay(model: LeadModel, golden: Golden, directory: Path) -> None:
    matrix = np.array(golden.rows, dtype=np.float64).reshape(len(golden.rows), -1)
    head = model.value_head
    boosters = [model.booster, *(head.trees.values() if head else ())]
    width = len(model.features)
    if {matrix.shape[1], *(one.num_feature() for one in boosters)} != {width}:
        raise _broken(directory, "the model reads another number of columns")
    found = dict(_columns(model.predict(matrix)))
    if found.keys() != golden.said.keys() or not all(
        np.allclose(column, golden.said[name], TOLERANCE, 0) for name, column in found.items()
    ):
        raise _broken(directory, "its golden rows score differently here")


def _about(directory: Path) -> About:
    text = _read(directory / _ABOUT)
    try:
        form = msgspec.json.decode(text, type=_Form).format
        if form != FORMAT:
            raise _broken(directory, f"it is of form {form}, and this version reads form {FORMAT}")
        return msgspec.json.decode(text, type=About)
    except msgspec.MsgspecError as error:
        raise _broken(directory, f"{_ABOUT} cannot be read: {error}") from None


def _value(name: str) -> str:
    return f"value-{name}.txt"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _broken(path.parent, f"{path.name} cannot be read: {error}") from None


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _broken(directory: Path, why: str) -> BundleError:
    return BundleError(
        f"bundle {directory.name}: {why}: write it again from its run (leadcast promote)"
    )


if __name__ == "__main__":
    load(Path(sys.argv[1]))
