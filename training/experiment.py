"""One experiment: history in; honest report, final model and bundle out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from features import catalog
from features.feature import Feature
from features.language import FeatureSet
from features.outcomes import observed_until
from features.protected import Protection
from features.schema import History
from features.source import Evaluation, Population
from features.times import DAY, duration_text, iso, micros
from training import bundle, timeline
from training.audit import audit
from training.dataset import Training, build, followed
from training.dependence import dependence
from training.evaluate import Outcomes, Predictions, evaluate
from training.evidence import Evidence
from training.extend import keep
from training.figures import timeline_figure
from training.findings import Finding, accept
from training.groups import Group, by_group
from training.grow import Grower, here
from training.judge import (
    CAPACITY,
    MAIN,
    Progress,
    Truth,
    ceiling_of,
    judged,
    outcomes,
    random_split,
)
from training.ladder import reached
from training.model import LeadModel, train
from training.proxies import proxies
from training.readiness import learning_curve, verdict
from training.recipe import Recipe
from training.report import Report, TopFeature
from training.scorecard import scorecard

_REFERENCE_ROWS = 20_000
_SEGMENTS, _DEPENDENCE = 3, 6


class Declared(Protocol):
    """What an experiment needs to know of a source; ``features.source.Source`` has it."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def population(self) -> Population: ...  # noqa: D102
    @property
    def evaluation(self) -> Evaluation: ...  # noqa: D102
    @property
    def reveals(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def exclude(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def timeless(self) -> bool: ...  # noqa: D102
    @property
    def declared(self) -> tuple[Feature, ...]: ...  # noqa: D102
    @property
    def catalog(self) -> bool: ...  # noqa: D102
    @property
    def protection(self) -> Protection: ...  # noqa: D102
    @property
    def directions(self) -> tuple[tuple[str, int], ...]: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class Result:
    """What an experiment leaves behind; ``test`` and ``said`` are the out-of-time rows.

    ``data`` are the labelled rows; ``followed``, which the model learned from, ripening ones, too.
    """

    report: Report
    model: LeadModel
    data: Training
    followed: Training
    origin: bundle.Origin
    test: Outcomes
    said: Sequence[Predictions]

    def write_bundle(self, directory: Path) -> bundle.Bundle:
        """Write the final model; its reference population is the latest rows."""
        return write_bundle(self.model, self.origin, self.followed, directory)


def write_bundle(
    model: LeadModel, origin: bundle.Origin, data: Training, directory: Path
) -> bundle.Bundle:
    """Write a model trained on ``data``, whose latest rows are its reference population."""
    latest = np.sort(np.argsort(data.as_of, kind="stable")[-_REFERENCE_ROWS:])
    return bundle.write(model, origin, model.encoder.matrix(data.take(latest).columns), directory)


def visible_features(history: History, reveals: Sequence[str]) -> History:
    """The same history without the events that tell the outcome."""
    if not reveals:
        return history
    events = history.events[~history.events["kind"].isin(list(reveals))].reset_index(drop=True)
    return History(history.leads, events, history.changes, history.outcomes)


@dataclass(frozen=True, eq=False)
class Plan:
    """What an experiment will do: its labelled rows, how time cuts them, and the features.

    Of the rows ``ripening``, those that are settled already teach the final model, too.
    """

    rows: pd.DataFrame
    ripening: pd.DataFrame
    folds: Sequence[timeline.Fold]
    features: FeatureSet

    @property
    def followed(self) -> pd.DataFrame:
        """The labelled rows, and after them those whose horizon is not over."""
        return pd.concat([self.rows, self.ripening], ignore_index=True)

    @property
    def picture(self) -> str:
        """The folds drawn as text."""
        return timeline.picture(micros(self.rows["as_of"]), self.folds)

    @property
    def figure(self) -> Figure:
        """The folds drawn over the rows of each week."""
        return timeline_figure(micros(self.rows["as_of"]), self.folds)


def plan(history: History, source: Declared, features: FeatureSet | None = None) -> Plan:
    """Cut time into folds without computing a feature.

    Without ``features``: those that the source declares, and the catalog's, which are derived from
    what was known before the first origin only. Raises :class:`training.timeline.TimelineError`
    when the history is too short.
    """
    rows, ripening = followed(history, source.population)
    folds = timeline.folds(micros(rows["as_of"]), source.population, source.evaluation)
    chosen = features or feature_set(history, source, before=folds[0].origin)
    return Plan(rows, ripening, folds, chosen)


def feature_set(history: History, source: Declared, before: int | None = None) -> FeatureSet:
    """The features that a source declares and, unless it says no, those of the catalog.

    The catalog looks at what was known before ``before`` only (microseconds; None: at all of it).
    None reads a protected attribute; raises ``ValueError`` for a declared one that would.
    """
    found = FeatureSet(source.declared)
    source.protection.refuse(found.features)
    if not source.catalog:
        return found
    seen = visible_features(history, source.reveals)
    names = (*seen.leads.columns, *seen.events.columns, *seen.changes["field"].unique())
    exclude = {*source.exclude, *source.protection.among(names)}
    default = catalog.default(seen, before=before, exclude=exclude, timeless=source.timeless)
    return default + (one for one in found.features if one not in default.features)


def audited(history: History, source: Declared, planned: Plan | None = None) -> tuple[Finding, ...]:
    """What the audit finds in the fields that would be trained on, blocking findings first.

    At the end, protected attributes that the features give away.
    """
    made = planned or plan(history, source)
    seen = visible_features(history, source.reveals)
    found = audit(seen, source.population, made.rows, made.features, timeless=source.timeless)
    protected = source.protection.among(history.leads.columns)
    return (*found, *proxies(seen, made.rows, made.features, protected))


def training_set(
    history: History,
    source: Declared,
    planned: Plan,
    progress: Progress | None = None,
    directory: Path | None = None,
) -> Training:
    """All rows that the plan follows, with their features, the ripening ones at the end.

    Events that tell the outcome are never read.

    With a ``directory``, the features are written there a block at a time and stay there; of the
    set that was kept there last, only what the history since then can change is computed.
    """
    say = progress or _silent
    seen = visible_features(history, source.reveals)
    rows, features = planned.followed, planned.features
    step = f"{len(features)} features of {len(rows):,} rows"
    if directory is not None:
        return keep(rows, features, seen, directory, lambda share: say(step, share))
    return build(rows, features, seen, lambda share: say(step, share))


def run(
    history: History,
    source: Declared,
    *,
    features: FeatureSet | None = None,
    recipe: Recipe | None = None,
    ceiling: Truth | None = None,
    progress: Progress | None = None,
    directory: Path | None = None,
    grower: Grower = here,
    accepted: Mapping[str, str] | None = None,
    tuning: float = 0.0,
) -> Result:
    """Audit, train, judge out of time, and train again on every row for service.

    Each fold trains on outcomes known at its origin and is judged on the rows after it; the
    report pools the folds. ``ceiling`` adds what the truth itself would score. ``directory`` keeps
    a training set that outgrows memory; ``grower`` is where trees grow. ``accepted`` are the
    audit's findings that need not stop a promotion, ``CODE:field`` -> because. ``tuning`` are the
    seconds to search for a better recipe, on what the first fold trains on: no row that is judged
    has a say in it. Raises :class:`training.timeline.TimelineError` when the history is too short,
    :class:`training.findings.FindingsError` when an accepted finding was not found.
    """
    say = progress or _silent
    planned = plan(history, source, features)
    say("audit", 0.0)
    findings = accept(audited(history, source, planned), accepted or {})
    every = training_set(history, source, planned, say, directory)
    data = every.where(np.arange(len(every)) < len(planned.rows))
    recipe, searched = recipe or Recipe(), dict[str, str]()
    if tuning:
        first = data.where(planned.folds[0].train(data.as_of))
        recipe, searched = _tuned(first, tuning, say, grower)
    recipe = _directed(recipe, source, planned.features)
    rows, said = judged(data, planned.folds, recipe, grower, say)
    test = outcomes(data.take(rows))
    say("random split, for comparison", 0.0)
    flattering = random_split(data, recipe, grower)
    now = observed_until(history)
    model = train(every, recipe, lambda step: say(f"final model: {step}", 0.5), grower, now)
    say("report", 0.0)
    evaluation = evaluate(test, said, main=MAIN, capacity=CAPACITY)
    report = Report(
        title=f"Leadcast on {source.name}",
        source=source.name,
        target=_target(source),
        timeline=planned.picture,
        evaluation=evaluation,
        verdict=verdict(data, model, evaluation, learning_curve(data, model, recipe, grower)),
        random_split=flattering,
        ceiling=None if ceiling is None else ceiling_of(ceiling, data.rows.loc[rows], test),
        training=_facts(data, every, model) | {"recipe": recipe.text} | searched,
        notes=_notes(source, model),
        findings=findings,
        groups=_groups(history, source, model, test, said[0]),
    )
    report = _with_model(report, model, data)
    evidence = Evidence.of(evaluation, source.timeless)
    origin = _origin(history, source, every, recipe, findings, evidence)
    return Result(report, model, data, every, origin, test, said)


def _with_model(report: Report, model: LeadModel, data: Training) -> Report:
    """The report with what the model leans on and what it makes of that."""
    leaned = _top_features(model)
    return replace(
        report,
        calibration=model.calibration.text,
        features=leaned,
        dependence=dependence(model, data, [one.name for one in leaned[:_DEPENDENCE]]),
        rungs=model.rungs,
        card=scorecard(model) if reached(model.rungs) == "scorecard" else None,
    )


def _origin(
    history: History,
    source: Declared,
    data: Training,
    recipe: Recipe,
    findings: tuple[Finding, ...],
    evidence: Evidence,
) -> bundle.Origin:
    observed = observed_until(history)
    return bundle.Origin(
        source.name,
        source.population,
        source.timeless,
        tuple(source.reveals),
        int(data.known_at[data.known_at <= observed].max()),
        data.digest,
        observed,
        recipe,
        findings,
        evidence,
    )


def _tuned(
    data: Training, seconds: float, say: Progress, grower: Grower
) -> tuple[Recipe, dict[str, str]]:
    """The recipe found on ``data``, and what the report tells of the search."""
    from training.tune import tune  # long to import, and rarely needed

    tuned = tune(data, seconds, say, grower)
    return tuned.recipe, {"tuning": tuned.text}


def _directed(recipe: Recipe, source: Declared, features: FeatureSet) -> Recipe:
    """The recipe with the features that are named by the source's directions, each once."""
    found: dict[str, int] = {}
    for named, direction in source.directions:
        pattern = re.compile(re.escape(named).replace(r"\*", ".*"))
        those = [one for one in features.features if pattern.fullmatch(one.name)]
        if not those:
            raise ValueError(f"a direction is declared for {named!r}, which names no feature: see "
                             "leadcast explain for their names")  # fmt: skip
        for one in those:
            if one.type == "text":
                raise ValueError(f"a direction is declared for {one.name!r}, which is text")
            if found.setdefault(one.name, direction) != direction:
                raise ValueError(f"{one.name!r} is declared never to lower and never to raise")
    return replace(recipe, directions=tuple(found.items())) if found else recipe


def _silent(step: str, share: float) -> None:
    del step, share


def _target(source: Declared) -> str:
    if source.timeless:
        return source.population.target
    horizon = source.population.horizon
    days = f"{horizon // DAY} days" if horizon % DAY == 0 else duration_text(horizon)
    return f"{source.population.target} within {days}"


def _facts(data: Training, followed: Training, model: LeadModel) -> dict[str, str | int | float]:
    young = followed.known_at[len(data) :] - followed.as_of[len(data) :]
    horizon = int((followed.known_at - followed.as_of).max())
    return {
        "rows": len(data),
        "younger rows settled early": int((young < horizon).sum()),
        "leads": int(data.lead_number.max()) + 1,
        "conversions (rows)": int(data.converted.sum()),
        "first as-of": iso(int(data.as_of.min())),
        "last as-of": iso(int(data.as_of.max())),
        "features": len(data.features),
        "feature set": data.features.fingerprint[:12],
        "data": data.digest[:12],
        "older rows count": model.recency.text,
        "trees": model.booster.num_trees(),
    }


def _groups(
    history: History, source: Declared, model: LeadModel, test: Outcomes, said: Predictions
) -> tuple[Group, ...]:
    """The protected attributes, and the leading attributes in words that the model reads."""
    protected = source.protection.among(history.leads.columns)
    leading = [f.name for f in _top_features(model, most=len(model.features))]
    texts = {f.name: str(f.column) for f in model.features.features
             if f.aggregate == "attribute" and f.type == "text"}  # fmt: skip
    chosen = [texts[name] for name in leading if name in texts][:_SEGMENTS]
    known = history.leads.set_index("lead_id").reindex(test.lead_id)
    fields = {name: (known[name], name in protected) for name in (*protected, *chosen)}
    return by_group(test, said, fields, CAPACITY)


def _top_features(model: LeadModel, most: int = 15) -> list[TopFeature]:
    gain = model.booster.feature_importance("gain")
    order = np.argsort(-gain, kind="stable")[:most]
    total = float(gain.sum()) or 1.0
    features = model.features.features
    return [
        TopFeature(features[i].name, features[i].sentence, float(gain[i]) / total)
        for i in order
        if gain[i] > 0
    ]


def _notes(source: Declared, model: LeadModel) -> list[str]:
    notes = []
    if source.timeless:
        notes.append("The data have no times: rows are split in their order, not by date.")
    if model.value_head is None:
        notes.append("The data have no deal values: no value head, leads rank by probability.")
    if source.reveals:
        notes.append(f"Never read, they tell the outcome: {', '.join(source.reveals)}.")
    return notes
