"""Golden rows notice a change of any leaf, in as few rows as that takes."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from training.experiment import Result
from training.golden import MOST_ROWS, Golden


@pytest.fixture(scope="module")
def golden(result: Result) -> Golden:
    latest = result.data.columns.tail(3_000)
    return Golden.of(result.model, result.model.encoder.matrix(latest))


def test_rows_are_few_and_said_again(result: Result, golden: Golden) -> None:
    assert 0 < len(golden.rows) <= MOST_ROWS
    assert golden.readable(len(result.model.features))
    assert golden.said_by(result.model)
    assert not golden.readable(len(result.model.features) - 1)


def test_another_answer_is_noticed(result: Result, golden: Golden) -> None:
    for name, column in golden.said.items():
        other = {**golden.said, name: [*column[:-1], column[-1] * (1 + 1e-6)]}
        assert not msgspec.structs.replace(golden, said=other).said_by(result.model), name


def test_a_change_of_a_leaf_is_noticed(result: Result, golden: Golden) -> None:
    draw = np.random.default_rng(3)
    head = result.model.value_head
    assert head is not None
    for booster in (result.model.booster, *head.trees.values()):
        noticed = []
        for tree in draw.integers(booster.num_trees(), size=40).tolist():
            leaves = booster.dump_model()["tree_info"][tree]["num_leaves"]
            leaf = int(draw.integers(leaves))
            held = booster.get_leaf_output(tree, leaf)
            booster.set_leaf_output(tree, leaf, held + 1e-5)
            noticed.append(not golden.said_by(result.model))
            booster.set_leaf_output(tree, leaf, held)
        assert np.mean(noticed) > 0.9
    assert golden.said_by(result.model)
