"""The artefact: LightGBM text, JSON and SHA256SUMS in a directory. Never pickle.

A damaged LightGBM text aborts or hangs the process that reads it, so nothing reaches LightGBM
before its digest is verified and its text is that of trees, and a service first lets a child
process load the bundle and replay its golden rows (:func:`check`). Each file is read once: what was
verified is what is loaded.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import lightgbm as lgb
import msgspec
import numpy as np
import numpy.typing as npt

from features.language import Feature, FeatureSet
from features.source import Population
from training import shelf
from training.calibrate import Calibration
from training.encode import Encoder
from training.evidence import Evidence
from training.findings import Finding
from training.golden import Golden
from training.ladder import Rung
from training.linear import Linear
from training.model import LeadModel
from training.recipe import Recipe
from training.shelf import ABOUT, SUMS, broken, sha256, shown, version_of
from training.shelf import BundleError as BundleError
from training.spread import Spread
from training.structure import require_trees
from training.value import ValueHead

FORMAT: Literal[2] = 2
_CHECK_SECONDS = 120
_REFUSED = 3
_CONVERSION = "conversion.txt"


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
    evidence: Evidence | None = None


@dataclass(frozen=True, eq=False)
class Bundle:
    """A verified model: ``digest`` tells its whole content from any other."""

    model: LeadModel
    about: About
    digest: str

    @property
    def version(self) -> str:
        """What people and answers call it: the first of the digest."""
        return version_of(self.digest)


@dataclass(frozen=True)
class Origin:
    """What a bundle records of where its model came from; times in microseconds.

    ``trained_until``: from then on the last outcome that taught was certain.
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
    evidence: Evidence | None = None


def write(
    model: LeadModel, origin: Origin, reference: npt.NDArray[np.float64], directory: Path
) -> Bundle:
    """Write a bundle into a new or empty ``directory``; ``reference`` is (n, features) encoded.

    Golden rows are chosen from the last of them. Raises :class:`BundleError` when the
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
        golden=Golden.of(model, reference),
        trained_until=origin.trained_until,
        observed=origin.observed,
        recipe=origin.recipe,
        data_digest=origin.data_digest,
        digests={name: sha256(text.encode()) for name, text in texts.items()},
        versions={name: version(name) for name in ("lightgbm", "numpy", "leadcast")},
        findings=origin.findings,
        evidence=origin.evidence,
    )
    _write_about(about, directory)
    return load(directory)


def annotate(source: Path, target: Path, findings: tuple[Finding, ...]) -> None:
    """Copy a verified bundle to ``target`` with other findings on its card: those accepted later.

    Its model stays the same to the byte; its version, which names the whole content, does not.
    """
    copy(source, target)
    _write_about(msgspec.structs.replace(verify(target), findings=findings), target)


def _write_about(about: About, directory: Path) -> None:
    encoded = msgspec.json.encode(about, order="deterministic")
    (directory / ABOUT).write_bytes(msgspec.json.format(encoded, indent=1))
    names = sorted([*about.digests, ABOUT])
    sums = [f"{sha256((directory / name).read_bytes())}  {name}\n" for name in names]
    (directory / SUMS).write_text("".join(sums), encoding="utf-8")


def verify(directory: Path) -> About:
    """Check every digest, declaration and tree without touching LightGBM; return bundle.json.

    Raises :class:`BundleError` naming the file at fault.
    """
    return _verified(shelf.files(directory), directory)


def digest(directory: Path) -> str:
    """Verify the same; return the digest of the whole content."""
    return sha256(_whole(directory)[ABOUT])


def load(directory: Path, expected: str | None = None) -> Bundle:
    """Verify, then load; what :func:`check` passed cannot hang.

    ``expected`` is the digest of what was checked: anything else is refused. Raises
    :class:`BundleError`.
    """
    files = shelf.files(directory)
    about, found = _verified(files, directory), sha256(files[ABOUT])
    if expected not in (None, found):
        raise broken(directory, "it is not the one that was checked")
    _require_library(about, directory)
    booster = lgb.Booster(model_str=files[_CONVERSION].decode())
    head, deals = None, about.value
    if deals is not None:
        trees = {name: lgb.Booster(model_str=files[_value(name)].decode()) for name in deals.trees}
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
    if not about.golden.said_by(model):
        raise broken(directory, "its golden rows score differently here")
    return Bundle(model, about, found)


_CHILD = """
import sys
sys.modules["sklearn"] = None  # LightGBM imports it where it is there: half of the child's time
from pathlib import Path
from training.bundle import _try
sys.exit(_try(Path(sys.argv[1])))
"""


def check(directory: Path) -> str:
    """Verify, then load and replay in a child process with a time limit; return the digest.

    Raises :class:`BundleError`; the calling process never hands the files to LightGBM.
    """
    _require_library(verify(directory), directory)
    command = [sys.executable, "-c", _CHILD, str(directory.absolute())]
    root = Path(__file__).parent.parent
    try:
        done = subprocess.run(
            command, cwd=root, capture_output=True, timeout=_CHECK_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise broken(directory, "loading it hangs") from None
    told = done.stdout.decode(errors="replace").splitlines()[-1:]
    if done.returncode == _REFUSED and told:
        raise BundleError(told[0])
    if done.returncode or not told:
        raise broken(directory, f"loading it fails (status {done.returncode})")
    return told[0]


def copy(source: Path, target: Path) -> None:
    """Copy a verified bundle to ``target``, where nothing is yet: complete, or not at all."""
    shelf.put(_whole(source), target)


def place(source: Path, target: Path) -> None:
    """Let ``target`` be a verified bundle by one rename, and keep what was there beside it.

    Who serves from ``target`` (:mod:`serving.champion`) takes it up.
    """
    shelf.show(_whole(source), target)


def _whole(directory: Path) -> dict[str, bytes]:
    files = shelf.files(directory)
    _verified(files, directory)
    return files


def _verified(files: Mapping[str, bytes], directory: Path) -> About:
    about = _read_about(files, directory)
    expected = {ABOUT, *about.digests}
    lines = [line.partition("  ") for line in _text(files, SUMS, directory).splitlines()]
    listed = {name: digest for digest, _, name in lines}
    present = files.keys() - {SUMS}
    for name in sorted(expected | set(listed) | present):
        if name not in expected or name not in listed or name not in present:
            raise broken(directory, f"{shown(name)} is missing, or does not belong there")
        found = sha256(files[name])
        if listed[name] != found or about.digests.get(name, found) != found:
            raise broken(directory, f"{name} is not the file that was written: its digest differs")
    features = FeatureSet(about.features)
    if features.fingerprint != about.fingerprint or features.names != about.encoder.names:
        raise broken(directory, "the feature set is not the one the model was trained on")
    deals = about.value
    if {_CONVERSION, *(map(_value, deals.trees) if deals else ())} != set(about.digests):
        raise broken(directory, "the heads listed are not the heads described")
    whole = deals is None or deals.readable(len(features))
    if not whole or (about.spread is not None and not about.spread.readable):
        raise broken(directory, "the parts of the value head do not fit together")
    if not about.golden.readable(len(features)):
        raise broken(directory, "it has no golden rows with their answers")
    for name in about.digests:
        try:
            require_trees(_text(files, name, directory), len(features))
        except ValueError as error:
            raise broken(directory, f"{name}: {error}") from None
    return about


def _require_library(about: About, directory: Path) -> None:
    """A model of another major version of LightGBM may be read, and mean something else."""
    then, here = about.versions.get("lightgbm", "none"), version("lightgbm")
    if then.partition(".")[0] != here.partition(".")[0]:
        raise broken(directory, f"it was trained with LightGBM {shown(then)}, and this is {here}")


def _reference(model: LeadModel, matrix: npt.NDArray[np.float64]) -> Reference:
    said = model.predict(matrix)
    steps = np.arange(101)
    expected = said.expected_value
    return Reference(
        np.percentile(said.probability, steps).tolist(),
        None if expected is None else np.percentile(expected, steps).tolist(),
    )


def _read_about(files: Mapping[str, bytes], directory: Path) -> About:
    text = _text(files, ABOUT, directory)
    try:
        form = msgspec.json.decode(text, type=_Form).format
        if form != FORMAT:
            raise broken(directory, f"it is of form {form}, and this version reads form {FORMAT}")
        return msgspec.json.decode(text, type=About)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise broken(directory, f"{ABOUT} cannot be read: {error}") from None


def _value(name: str) -> str:
    return f"value-{name}.txt"


def _text(files: Mapping[str, bytes], name: str, directory: Path) -> str:
    try:
        return files[name].decode()
    except UnicodeDecodeError:
        raise broken(directory, f"{name} is not text") from None


def _try(directory: Path) -> int:
    """What the child process does: say the digest of what it loaded, or why it does not."""
    os.nice(5)
    try:
        print(load(directory).digest)
    except BundleError as error:
        print(error)
        return _REFUSED
    return 0
