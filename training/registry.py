"""Runs and models in MLflow: log, register, promote, pull. The only import of mlflow."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")

import mlflow
import msgspec
from mlflow.exceptions import MlflowException

from features.source import Source
from training import bundle, report
from training.experiment import Result
from training.findings import Finding, accept, require_none

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
_DIRECTORY = "source.directory"


class RegistryError(ValueError):
    """A model that is not there; says what is."""


@dataclass(frozen=True)
class Entry:
    """A registered model version."""

    model: str
    version: str
    run_id: str


class Registry:
    """An MLflow store under one directory: ``mlflow.db`` and ``artifacts/``."""

    def __init__(self, directory: Path = Path("mlruns")) -> None:
        self._directory = directory.resolve()
        self._directory.mkdir(parents=True, exist_ok=True)
        self._client = mlflow.MlflowClient(f"sqlite:///{self._directory}/mlflow.db")

    def log(self, result: Result, config: Path | None = None) -> Entry:
        """Log a run with its report and bundle, register it and make it the challenger.

        ``config`` is the source declaration; its text is logged, and where it lies, so that the
        model can be trained again (:meth:`source`).
        """
        name = result.report.source
        run_id = self._client.create_run(self._experiment(name)).info.run_id
        with tempfile.TemporaryDirectory() as scratch:
            directory = Path(scratch)
            made = result.write_bundle(directory / "bundle")
            (directory / "report.txt").write_text(report.text(result.report), encoding="utf-8")
            (directory / "report.html").write_text(report.html(result.report), encoding="utf-8")
            if config is not None:
                (directory / "source.toml").write_bytes(config.read_bytes())
            found = json.dumps(result.report.evaluation.to_json(), indent=1)
            (directory / "evaluation.json").write_text(found, encoding="utf-8")
            _write_findings(result.report.findings, directory)
            self._client.log_artifacts(run_id, str(directory))
        self._measures(run_id, result)
        self._tag(run_id, result.report.findings)
        self._client.log_param(run_id, "bundle", made.version)
        if config is not None:
            self._client.set_tag(run_id, _DIRECTORY, str(config.resolve().parent))
        self._client.set_terminated(run_id)
        return self._register(name, run_id)

    def promote(
        self, model: str, version: str | None = None, accepted: Mapping[str, str] | None = None
    ) -> Entry:
        """Make a version (default: the challenger) the champion, after checking its bundle.

        ``accepted``: ``CODE:field`` -> because, of findings that need not stop it; they go on
        record with the run and in the bundle. Raises :class:`training.findings.FindingsError` with
        the blocking findings that nobody accepted.
        """
        entry = self.find(model, version or CHALLENGER)
        stored = self.artifact(entry, "bundle")
        findings = accept(bundle.verify(stored).findings, accepted or {})
        require_none(findings)
        bundle.check(stored)
        if accepted:
            self._record(entry.run_id, stored, findings)
        self._crown(entry)
        return entry

    def rollback(self, model: str) -> Entry:
        """Make the champion before this one the champion again: the two change places.

        Raises :class:`RegistryError` where there was none.
        """
        entry = self.find(model, PREVIOUS)
        bundle.check(self.artifact(entry, "bundle"))
        self._crown(entry)
        return entry

    def _crown(self, entry: Entry) -> None:
        with suppress(RegistryError):
            before = self.find(entry.model, CHAMPION).version
            if before != entry.version:
                self._client.set_registered_model_alias(entry.model, PREVIOUS, before)
        self._client.set_registered_model_alias(entry.model, CHAMPION, entry.version)

    def _record(self, run_id: str, stored: Path, findings: Sequence[Finding]) -> None:
        """Put findings accepted at promotion where those accepted in training are."""
        with tempfile.TemporaryDirectory() as scratch:
            directory = Path(scratch)
            bundle.annotate(stored, directory / "bundle", tuple(findings))
            _write_findings(findings, directory)
            self._client.log_artifacts(run_id, str(directory))
        self._tag(run_id, findings)

    def _tag(self, run_id: str, findings: Sequence[Finding]) -> None:
        self._client.set_tag(run_id, "audit.blocking", str(sum(one.stops for one in findings)))
        for one in findings:
            if one.accepted is not None:
                self._client.set_tag(run_id, f"audit.accepted.{_tag_name(one)}", one.accepted)

    def pull(self, model: str, target: Path, version: str = CHAMPION) -> Entry:
        """Put a version's verified bundle in the place ``target`` by one rename."""
        entry = self.find(model, version)
        bundle.place(self.artifact(entry, "bundle"), target)
        return entry

    def find(self, model: str, version: str = CHALLENGER) -> Entry:
        """A version by number or alias; raises :class:`RegistryError` naming what there is."""
        try:
            if version.isdigit():
                found = self._client.get_model_version(model, version)
            else:
                found = self._client.get_model_version_by_alias(model, version)
        except MlflowException:
            known = ", ".join(self.models()) or "none yet: run leadcast train"
            raise RegistryError(
                f"no {version} of model {model!r} in {self._directory.name}; models: {known}"
            ) from None
        return Entry(model, str(found.version), found.run_id)

    def source(self, entry: Entry, directory: Path | None = None) -> Source:
        """The source that a version was trained on, as it was declared then.

        ``directory``: where its tables lie now, by default where they were. Raises
        :class:`RegistryError` when the run logged no declaration.
        """
        tags = self._client.get_run(entry.run_id).data.tags
        if _DIRECTORY not in tags:
            raise RegistryError(
                f"{entry.model} version {entry.version} was logged without the declaration of its "
                "source: train it with leadcast train"
            )
        where = directory or Path(tags[_DIRECTORY])
        return Source.from_toml(self.artifact(entry, "source.toml"), where)

    def models(self) -> list[str]:
        """The registered models, the one that changed last first."""
        found = self._client.search_registered_models()
        ordered = sorted(found, key=lambda model: -int(model.last_updated_timestamp or 0))
        return [model.name for model in ordered]

    def artifact(self, entry: Entry, path: str) -> Path:
        """The local path of a file or directory that a run left."""
        return Path(self._client.download_artifacts(entry.run_id, path))

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return found.experiment_id
        location = (self._directory / "artifacts").as_uri()
        return self._client.create_experiment(name, artifact_location=location)

    def _measures(self, run_id: str, result: Result) -> None:
        for fact, value in result.report.training.items():
            key = fact.replace("(", "").replace(")", "")
            self._client.log_param(run_id, key, value)
        for contender, measures in result.report.evaluation.measures.items():
            for measure, estimate in measures.items():
                if estimate.value is not None:
                    key = f"{contender}.{measure}"
                    self._client.log_metric(run_id, key, estimate.value)

    def _register(self, model: str, run_id: str) -> Entry:
        if model not in self.models():
            self._client.create_registered_model(model)
        source = f"{self._client.get_run(run_id).info.artifact_uri}/bundle"
        version = self._client.create_model_version(model, source, run_id).version
        self._client.set_registered_model_alias(model, CHALLENGER, version)
        return Entry(model, str(version), run_id)


def _write_findings(findings: Sequence[Finding], directory: Path) -> None:
    encoded = msgspec.json.format(msgspec.json.encode(findings), indent=1)
    (directory / "audit.json").write_bytes(encoded)


def _tag_name(finding: Finding) -> str:
    """MLflow takes letters, digits and ``_-. :/`` in the name of a tag, at most 250."""
    return re.sub(r"[^\w\-. :/]", "_", finding.key)[:200]
