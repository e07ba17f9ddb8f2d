"""Several boosters as one: its raw score is their weighted sum, and its trees are all of theirs.

Trees of one kind, so that bundles, serving and exact contributions stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_TREE = re.compile(r"^Tree=\d+\n", re.MULTILINE)
_VALUES = re.compile(r"^(leaf_value|internal_value)=(.*)$", re.MULTILINE)
_SIZES = re.compile(r"^tree_sizes=.*$", re.MULTILINE)
_END = "end of trees\n"


def blend(members: Sequence[lgb.Booster], weights: Sequence[float]) -> lgb.Booster:
    """The booster whose raw score is the weighted sum of the members', which saw the same columns.

    LightGBM has no public call for it; its text lists the trees one after another, and the sizes
    of their texts in the head. What is said of columns and parameters is the first member's.
    Members of weight 0 are left out. Raises ``ValueError`` for no members, or members of other
    columns.
    """
    if not members or len({tuple(one.feature_name()) for one in members}) > 1:
        raise ValueError("an ensemble is of one booster or more, all of the same columns")
    head, tail, trees = "", "", list[str]()
    for member, weight in zip(members, weights, strict=True):
        if weight == 0:
            continue
        before, _, rest = member.model_to_string(importance_type="gain").partition("Tree=")
        body, _, after = ("Tree=" + rest).partition(_END)
        head, tail = head or before, tail or after
        trees += [_scaled(tree, weight) for tree in _TREE.split(body)[1:]]
    texts = [f"Tree={number}\n{tree}" for number, tree in enumerate(trees)]
    sizes = " ".join(str(len(text.encode())) for text in texts)
    head = _SIZES.sub(f"tree_sizes={sizes}", head)
    return lgb.Booster(model_str="".join([head, *texts, _END, tail]))


def leaf_values(booster: lgb.Booster) -> Floats:
    """What each leaf adds to the raw score: (trees, most leaves of a tree), 0 beyond those it has.

    LightGBM tells of one leaf at a time; its text lists those of a tree, to the bit.
    """
    found = [one[2].split() for one in _VALUES.finditer(booster.model_to_string())
             if one[1] == "leaf_value"]  # fmt: skip
    values = np.zeros((len(found), max(map(len, found))))
    for tree, leaves in enumerate(found):
        values[tree, : len(leaves)] = leaves
    return values


def _scaled(tree: str, weight: float) -> str:
    def scale(found: re.Match[str]) -> str:
        values = " ".join(repr(float(value) * weight) for value in found[2].split())
        return f"{found[1]}={values}"

    return _VALUES.sub(scale, tree)
