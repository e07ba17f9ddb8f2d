"""The heads: honest, additive, deterministic, and indifferent to how rows are batched."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from features.language import FeatureSet, attribute
from training.dataset import TrainingSet
from training.encode import MOST_VALUES, Encoder
from training.experiment import Result
from training.judge import MAIN
from training.model import train
from training.recipe import folds_of, lead_weights


def test_scores_do_not_depend_on_the_batch(result: Result) -> None:
    model, matrix = result.model, result.model.encoder.matrix(result.data.columns.head(3_000))
    whole = model.predict(matrix)
    for place in (0, 17, 2_999):
        alone = model.predict(matrix[place : place + 1])
        assert alone.probability[0] == whole.probability[place]
        assert alone.value is not None
        assert whole.value is not None
        assert alone.value[0] == whole.value[place]


def test_contributions_add_up_to_the_log_odds(result: Result) -> None:
    model, matrix = result.model, result.model.encoder.matrix(result.data.columns.head(200))
    total = model.contributions(matrix).sum(axis=1)
    raw = model.booster.predict(matrix, raw_score=True)
    assert np.allclose(total, raw, rtol=0, atol=1e-9)
    assert np.allclose(model.calibration(total), model.predict(matrix).probability, atol=1e-9)


def test_training_again_gives_the_same_model(result: Result) -> None:
    part = result.data.take(np.arange(4_000))
    first, second = train(part), train(part)
    assert first.booster.model_to_string() == second.booster.model_to_string()
    assert first.calibration == second.calibration


def test_expected_value_is_chance_times_value_and_deals_stay_in_their_interval(
    result: Result,
) -> None:
    said = result.model.predict(result.model.encoder.matrix(result.data.columns))
    assert said.value is not None
    assert np.array_equal(said.expected_value, said.probability * said.value)  # type: ignore[arg-type]
    covered = result.report.evaluation.measures[MAIN]["value_coverage"].value
    assert covered is not None
    assert 0.84 <= covered <= 0.96
    won = result.data.converted
    assert said.value[won].sum() == pytest.approx(result.data.value[won].sum(), rel=0.15)


def test_one_class_is_nothing_to_learn(result: Result) -> None:
    lost = result.data.where(~result.data.converted)
    with pytest.raises(ValueError, match="same outcome"):
        train(lost)


def test_leads_share_folds_and_weights() -> None:
    lead = np.repeat(np.arange(500), np.arange(500) % 7 + 1)
    fold, weight = folds_of(lead), lead_weights(lead)
    for one in range(500):
        assert len(set(fold[lead == one])) == 1
    assert weight.mean() == pytest.approx(1)
    per_lead = np.bincount(lead, weight)
    assert np.allclose(per_lead / np.sqrt(np.bincount(lead)), per_lead[0])


@pytest.fixture
def texts() -> tuple[Encoder, FeatureSet]:
    features = FeatureSet([attribute("city", "text"), attribute("size", "number")])
    cities = [f"city {number}" for number in range(100) for _ in range(100 - number)]
    columns = pd.DataFrame({"city": cities, "size": np.arange(len(cities), dtype=float)})
    return Encoder.fit(features, [columns.astype({"city": "str"})]), features


def test_a_row_is_encoded_alike_in_training_and_in_serving(
    texts: tuple[Encoder, FeatureSet],
) -> None:
    encoder, _ = texts
    rows = [("city 0", 1.0), (None, None), ("city 99", 2.0), ("nowhere", 3.0), ("city 59", None)]
    table = pd.DataFrame(
        {
            "city": pd.Series([city for city, _ in rows], dtype="str"),
            "size": pd.Series([size for _, size in rows], dtype="float64"),
        }
    )
    expected = [[0, 1], [np.nan, np.nan], [MOST_VALUES, 2], [MOST_VALUES, 3], [59, np.nan]]
    assert np.array_equal(encoder.matrix(table), np.array(expected, float), equal_nan=True)
    held = np.array([[np.nan, np.nan if size is None else size] for _, size in rows])
    coded = encoder.coded(held, {0: [city for city, _ in rows]})
    assert np.array_equal(coded, np.array(expected, float), equal_nan=True)
    assert np.isnan(held[:, 0]).all()


def test_other_columns_are_refused(texts: tuple[Encoder, FeatureSet]) -> None:
    encoder, _ = texts
    swapped = pd.DataFrame({"size": [1.0], "city": pd.Series(["x"], dtype="str")})
    with pytest.raises(ValueError, match="in their order"):
        encoder.matrix(swapped)


def test_the_digest_names_the_content(result: Result) -> None:
    part = result.data.take(np.arange(50))
    again = TrainingSet(part.rows.copy(), part.columns.copy(), part.features)
    assert again.digest == part.digest
    assert result.data.take(np.arange(1, 51)).digest != part.digest
    other = part.rows.assign(converted=~part.rows["converted"])
    assert TrainingSet(other, part.columns, part.features).digest != part.digest


def test_leads_of_an_account_are_kept_together_in_folds(result: Result) -> None:
    rows = result.data.rows
    alone = result.data.lead_number % 3 == 0
    rows = rows.assign(account_id=rows["account_id"].mask(alone))
    data = replace(result.data, rows=rows)
    fold = pd.Series(folds_of(data.group))
    assert (fold.groupby(rows["account_id"]).nunique() == 1).all()
    assert (fold.groupby(rows["lead_id"]).nunique() == 1).all()
    assert sorted(fold.unique()) == [0, 1, 2, 3]
    assert fold[alone].nunique() == 4
    assert len(np.unique(data.group)) < len(np.unique(data.lead_number))
    without = replace(data, rows=rows.drop(columns="account_id"))
    assert (without.group == without.lead_number).all()
