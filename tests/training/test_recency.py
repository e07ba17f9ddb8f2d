"""Older rows count for less where what goes with converting has moved, and nowhere else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from features.language import FeatureSet, attribute
from features.times import DAY, from_micros
from training.dataset import TrainingSet, blocks
from training.encode import Encoder
from training.evaluate import auc
from training.grow import Encoded
from training.model import train
from training.recency import HALF_LIFE, UNTRIED, Floats, Ints, Recency, recency
from training.recipe import Recipe

NAMES = ["visits", "size", "age", "calls"]


def leads(count: int, turn: float, seed: int, rate: float = 0.0) -> TrainingSet:
    """One row a lead, one an hour: visits help until the share ``turn`` of the time, then harm.

    ``rate``: by how much the log-odds of all rise from the first to the last.
    """
    draw = np.random.default_rng(seed)
    columns = pd.DataFrame(draw.normal(size=(count, len(NAMES))), columns=NAMES)
    time = np.arange(count) / count
    odds = np.where(time < turn, 1.0, -1.0) * columns["visits"] + 0.5 * columns["size"]
    converted = draw.random(count) < 1 / (1 + np.exp(-(odds - 1 + rate * time)))
    rows = pd.DataFrame({
        "lead_id": [str(number) for number in range(count)],
        "as_of": from_micros(np.arange(count) * DAY // 24),
        "converted": converted,
        "value": 0.0,
    })  # fmt: skip
    return TrainingSet(rows, columns, FeatureSet(attribute(name, "number") for name in NAMES))


def tried(data: TrainingSet, lead: Ints | None = None) -> tuple[Floats, Recency]:
    rows = Encoded(data, Encoder.fit(data.features, blocks(data)))
    lead = data.lead_number if lead is None else lead
    return recency(rows, data.converted.astype(float), np.ones(len(data)), data.as_of, lead)


def test_where_meaning_moved_old_rows_count_for_less() -> None:
    data = leads(3_000, turn=0.6, seed=1)
    weight, found = tried(data)
    assert found.fades
    assert "less" in found.text
    assert (np.diff(weight) > 0).all()
    assert weight.sum() == pytest.approx(len(data))
    half = int(len(data) * (1 - HALF_LIFE))
    assert weight[half] / weight[-1] == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize("rate", [0.0, 2.0])
def test_where_nothing_or_the_level_alone_moves_all_rows_count_alike(rate: float) -> None:
    found = [tried(leads(2_000, turn=1.0, seed=seed, rate=rate)) for seed in range(20)]
    assert sum(one.fades for _, one in found) <= 2  # beyond two errors by chance: one in 44
    for weight, one in found:
        assert one.fades or (weight == 1).all()


def test_leads_seen_all_along_are_no_judges() -> None:
    data = leads(3_000, turn=0.6, seed=1)
    weight, found = tried(data, np.arange(len(data)) % 200)
    assert found is UNTRIED
    assert (weight == 1).all()
    assert "too few" in found.text


def test_a_model_of_moving_data_ranks_new_leads_better() -> None:
    """Beside a model that is told no times, so that it cannot see what moved."""
    data, new = leads(3_000, turn=0.6, seed=1), leads(4_000, turn=0.0, seed=2)
    still = TrainingSet(data.rows.assign(as_of=data.rows["as_of"].min()), data.columns,
                        data.features)  # fmt: skip
    aucs = []
    for taught in (data, still):
        model = train(taught, Recipe(rounds=48))
        aucs.append(auc(new.converted, model.predict_set(new).probability) or 0.0)
        assert model.recency.fades == (taught is data)
    assert aucs[0] > aucs[1] + 0.02
