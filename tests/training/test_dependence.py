"""Partial dependence: what the model says when a feature is set, in the report and as a plot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from serving.cli import main
from serving.commands.data import write_simulation
from training import report
from training.dataset import TrainingSet
from training.dependence import ROWS, Dependence, dependence
from training.experiment import Result


def test_it_is_the_mean_of_what_the_model_says_of_the_latest_rows(result: Result) -> None:
    names = [one.name for one in result.report.features[:4]]
    latest = result.data.take(np.argsort(result.data.as_of, kind="stable")[-ROWS:]).columns
    for one in dependence(result.model, result.data, names):
        for value, told in zip(one.values, one.probability, strict=True):
            asked = latest.assign(**{one.feature.name: value}).astype(latest.dtypes)
            said = result.model.predict(result.model.encoder.matrix(asked)).probability
            assert told == pytest.approx(said.mean(), abs=1e-12)


def test_a_feature_that_moves_nothing_is_flat(result: Result) -> None:
    gain = result.model.booster.feature_importance("gain")
    idle = result.model.features.names[int(np.flatnonzero(gain == 0)[0])]
    [flat] = dependence(result.model, result.data, [idle])
    assert np.ptp(flat.probability) == 0


def test_what_the_latest_rows_all_lack_is_told_as_missing(result: Result) -> None:
    [name] = [one.name for one in result.report.features if one.name == "company_size"]
    assert isinstance(result.data, TrainingSet)
    empty = replace(result.data, columns=result.data.columns.assign(**{name: np.nan}))
    found = dependence(result.model, empty, [name])
    assert found[0].values == (None,)
    assert "<svg" in report.html(replace(result.report, dependence=found))


def test_a_dollar_in_a_word_is_a_dollar(result: Result) -> None:
    text = next(one for one in result.model.features.features if one.type == "text")
    found = [Dependence(text, ("$5 ^{ $10", "$$"), np.array([0.1, 0.2]))]
    assert "$5 ^{ $10" in report.html(replace(result.report, dependence=found))


def test_the_report_tells_and_draws_it(result: Result) -> None:
    assert "What it makes of them" in report.text(result.report)
    page = report.html(result.report)
    assert "What the model makes of the features" in page
    assert page.count("<svg") == 4


def test_a_plan_is_drawn_without_training(tmp_path: Path) -> None:
    config, drawn = write_simulation(tmp_path, 1_000, 3), tmp_path / "plan.svg"
    done = CliRunner().invoke(main, ["plan", "--config", str(config), "--plot", str(drawn)])
    assert done.exit_code == 0, done.output
    assert drawn.read_bytes().startswith(b"<?xml")
