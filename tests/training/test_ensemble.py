"""One booster that answers as the weighted sum of several, with their contributions."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.trees import Trees
from training.ensemble import blend

Floats = npt.NDArray[np.float64]


def rows(seed: int, size: int = 400) -> Floats:
    draw = np.random.default_rng(seed)
    made = draw.normal(size=(size, 4))
    made[:, 3] = draw.integers(0, 6, size)
    made[draw.random(made.shape) < 0.1] = np.nan
    return made


def grown(seed: int, rounds: int, leaves: int = 8) -> lgb.Booster:
    matrix = rows(seed)
    target = (np.nan_to_num(matrix).sum(axis=1) > 1).astype(float)
    data = lgb.Dataset(matrix, target, categorical_feature=[3])
    parameters = {
        "objective": "binary",
        "num_leaves": leaves,
        "feature_fraction": 0.5,
        "seed": seed,
        "verbosity": -1,
    }
    return lgb.train(parameters, data, rounds)


Member = tuple[int, int, int]
members = st.tuples(st.integers(0, 99), st.integers(1, 12), st.integers(2, 8))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(members, st.floats(0.01, 1)), min_size=1, max_size=5))
def test_one_booster_scores_and_explains_as_the_weighted_sum_of_several(
    parts: list[tuple[Member, float]],
) -> None:
    boosters, weights = [grown(*one) for one, _ in parts], [weight for _, weight in parts]
    check(boosters, weights)


def test_one_booster_scores_and_explains_as_the_mean_of_several() -> None:
    check([grown(seed, 10) for seed in range(4)], [0.25] * 4)


def check(boosters: list[lgb.Booster], weights: list[float]) -> None:
    made, asked = blend(boosters, weights), rows(1_000)
    assert made.num_trees() == sum(one.num_trees() for one in boosters)
    for what in ("raw_score", "pred_contrib"):
        each = [np.asarray(one.predict(asked, **{what: True})) for one in boosters]  # type: ignore[arg-type]
        found = np.asarray(made.predict(asked, **{what: True}))  # type: ignore[arg-type]
        expected = sum(weight * one for weight, one in zip(weights, each, strict=True))
        assert np.allclose(found, expected, rtol=0, atol=1e-12)
    again = lgb.Booster(model_str=made.model_to_string())
    assert np.array_equal(again.predict(asked), made.predict(asked))


def test_it_can_be_tabulated_for_serving() -> None:
    made, asked = blend([grown(0, 10), grown(1, 20, leaves=2)], [0.3, 0.7]), rows(1_000)
    beside = grown(2, 30)
    trees = Trees([made, beside])
    raw, why = trees.explained(asked)
    assert np.array_equal(raw[0], made.predict(asked, raw_score=True))
    assert np.array_equal(raw[1], beside.predict(asked, raw_score=True))
    assert np.array_equal(trees.raw(asked), raw)
    told = np.asarray(made.predict(asked, pred_contrib=True))
    assert np.allclose(why, told, rtol=0, atol=1e-12)


def test_a_member_without_weight_is_left_out() -> None:
    first, second = grown(0, 10), grown(1, 20)
    assert blend([first, second], [1.0, 0.0]).num_trees() == first.num_trees()


def test_boosters_of_other_columns_are_refused() -> None:
    other = lgb.train({"verbosity": -1}, lgb.Dataset(rows(0)[:, :2], rows(0)[:, 0] > 0), 2)
    for several in ([], [grown(0, 2), other]):
        with pytest.raises(ValueError, match="same columns"):
            blend(several, [1.0] * len(several))
