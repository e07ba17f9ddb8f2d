"""A model's text is whole trees, or it is refused before LightGBM loops over it."""

from __future__ import annotations

from collections.abc import Callable

import lightgbm as lgb
import numpy as np
import pytest

from serving.trees import Trees
from tests.bundles import edited
from training.experiment import Result
from training.structure import require_trees


@pytest.fixture(scope="module")
def text(result: Result) -> str:
    return result.model.booster.model_to_string()


@pytest.fixture(scope="module")
def columns(result: Result) -> int:
    return len(result.model.features)


def test_what_was_trained_passes(result: Result, text: str, columns: int) -> None:
    require_trees(text, columns)
    require_trees(edited(text, "leaf_value", lambda held: held), columns)
    assert result.model.value_head is not None
    for booster in result.model.value_head.trees.values():
        require_trees(booster.model_to_string(), columns)


def test_another_number_of_columns_is_refused(text: str, columns: int) -> None:
    for other in (columns - 1, columns + 1):
        with pytest.raises(ValueError, match="columns"):
            require_trees(text, other)


def test_a_split_of_what_is_known_from_what_is_not_passes() -> None:
    """Whether a number is missing tells all: LightGBM writes the threshold as inf."""
    draw = np.random.default_rng(2)
    numbers = np.where(draw.random(2_000) < 0.5, np.nan, draw.normal(size=2_000))
    parameters = {"objective": "binary", "num_leaves": 2, "verbosity": -1}
    data = lgb.Dataset(numbers[:, None], np.isnan(numbers))
    booster = lgb.train(parameters, data, 5)
    told = booster.model_to_string()
    assert "threshold=inf" in told
    require_trees(told, 1)
    asked = np.array([[np.nan], [-1e9], [0.0], [1e9]])
    raw = np.asarray(booster.predict(asked, raw_score=True))
    np.testing.assert_allclose(Trees([booster]).raw(asked)[0], raw, rtol=1e-12)
    assert raw[0] > 0 > raw[1] == raw[3]


DAMAGE: dict[str, tuple[str, Callable[[list[str]], list[str]]]] = {
    "a child leads back to the root": ("left_child", lambda held: [*held[:-1], "0"]),
    "a split is its own child": ("left_child", lambda held: ["0", *held[1:]]),
    "one leaf twice": ("right_child", lambda held: [*held[:-1], "-1"]),
    "a child beyond the tree": ("right_child", lambda held: [*held[:-1], "999"]),
    "no finite leaf": ("leaf_value", lambda held: ["nan", *held[1:]]),
    "an endless leaf": ("leaf_value", lambda held: ["-inf", *held[1:]]),
    "no leaf": ("leaf_value", lambda held: held[1:]),
    "a threshold below all": ("threshold", lambda held: [*held[:-1], "-inf"]),
    "a threshold that is no number": ("threshold", lambda held: [*held[:-1], "bob"]),
    "a column that there is not": ("split_feature", lambda held: [*held[:-1], "9999"]),
    "a column before the first": ("split_feature", lambda held: [*held[:-1], "-1"]),
    "fewer leaves": ("num_leaves", lambda held: [str(int(held[0]) - 1)]),
    "many leaves": ("num_leaves", lambda _: ["1000000000000"]),
    "leaves without end": ("num_leaves", lambda _: ["9" * 30]),
    "no leaves": ("num_leaves", lambda _: ["0"]),
    "an unknown decision": ("decision_type", lambda held: ["64", *held[1:]]),
    "fewer sets of texts": ("num_cat", lambda held: [str(int(held[0]) + 1)]),
    "linear leaves": ("is_linear", lambda _: ["1"]),
}


@pytest.mark.parametrize("name", DAMAGE)
@pytest.mark.parametrize("tree", [0, -1])
def test_no_tree_is_refused(text: str, columns: int, name: str, tree: int) -> None:
    field, change = DAMAGE[name]
    damaged = edited(text, field, change, tree)
    assert damaged != text
    with pytest.raises(ValueError, match=r"^tree \d+: "):
        require_trees(damaged, columns)


def test_what_is_cut_or_lengthened_is_refused(text: str, columns: int) -> None:
    lines = text.splitlines(keepends=True)
    for cut in (*range(0, len(lines), 97), len(lines) - 1):
        with pytest.raises(ValueError):  # noqa: PT011 - whichever check comes first
            require_trees("".join(lines[:cut]), columns)
    first = text.index("Tree=1\n")
    for other in (text[:first] + text[text.index("Tree=2\n") :], text.replace("=8", "=08", 1)):
        with pytest.raises(ValueError, match="announces"):
            require_trees(other, columns)
