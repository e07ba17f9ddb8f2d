"""The experiment: honest against its truth, blind to what tells the outcome, and recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from features.simulate import Simulation
from features.source import Source
from training import bundle, report
from training.experiment import Result, plan, visible_features
from training.judge import MAIN
from training.registry import Registry, RegistryError


def test_the_model_comes_close_to_the_truth_and_never_passes_it(result: Result) -> None:
    ours = result.report.evaluation.measures[MAIN]
    truth = result.report.ceiling
    assert truth is not None
    assert truth["auc"] is not None
    assert truth["log_loss"] is not None
    auc, loss = ours["auc"], ours["log_loss"]
    assert auc.value is not None
    assert auc.error is not None
    assert loss.value is not None
    assert truth["auc"] - 0.05 < auc.value < truth["auc"] + 2 * auc.error
    assert loss.value < 1.08 * truth["log_loss"]


def test_every_contender_ran_on_the_same_rows(result: Result) -> None:
    assert [said.name for said in result.said] == [
        MAIN,
        "base rate",
        "naive Bayes",
        "logistic regression",
    ]
    assert {len(said.probability) for said in result.said} == {len(result.test.converted)}


def test_the_random_split_stands_beside_the_honest_figure(result: Result) -> None:
    printed = report.text(result.report)
    assert "random split" in printed
    assert result.report.random_split["auc"] is not None
    assert f"{result.report.random_split['auc']:.3f}" in printed


def test_test_rows_come_after_the_origin(funnel: Simulation, source: Source) -> None:
    planned = plan(funnel.history, source)
    origin = planned.folds[0].origin
    assert len(planned.features) > 60
    assert planned.folds[0].train(np.array([origin - planned.folds[0].embargo + 1])).sum() == 0


def test_revealing_kinds_are_never_read(funnel: Simulation) -> None:
    kinds = list(funnel.history.events["kind"].unique())
    seen = visible_features(funnel.history, kinds[:2])
    assert set(seen.events["kind"]) == set(kinds[2:])
    assert seen.leads is funnel.history.leads


def test_a_run_is_logged_registered_promoted_and_pulled(result: Result, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "mlruns")
    with pytest.raises(RegistryError, match="none yet"):
        registry.find("funnel")
    config = tmp_path / "source.toml"
    config.write_text("name = 'funnel'", encoding="utf-8")
    first = registry.log(result, config)
    second = registry.log(result)
    assert (first.version, second.version) == ("1", "2")
    assert registry.find("funnel").version == "2"
    assert registry.promote("funnel", "1").version == "1"
    champion = tmp_path / "champion"
    assert registry.pull("funnel", champion).version == "1"
    assert bundle.load(champion).about.source == "funnel"
    assert "honest" in registry.artifact(first, "report.txt").read_text(encoding="utf-8")
    assert registry.artifact(first, "source.toml").read_text(encoding="utf-8") == "name = 'funnel'"
    with pytest.raises(RegistryError, match="no previous of model"):
        registry.rollback("funnel")
    registry.promote("funnel", "2")
    for wanted in ("1", "2", "1"):
        assert registry.rollback("funnel").version == wanted
        assert registry.pull("funnel", champion).version == wanted
    with pytest.raises(RegistryError, match="models: funnel"):
        registry.find("funnel", "9")
