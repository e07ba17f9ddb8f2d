"""Whether a model's text describes trees: LightGBM does not ask, and loops, aborts or guesses.

Pure text and numbers, so that a text can be looked at before LightGBM reads it.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

_TREE = re.compile(r"^Tree=", re.MULTILINE)
_END, _LAST = "end of trees\n", "pandas_categorical:null\n"


def require_trees(text: str, columns: int) -> None:
    """Raise ``ValueError`` where a booster's text is no list of whole trees over ``columns``."""
    body, end, after = text.partition(_END)
    if not end or not after.endswith(_LAST):
        raise ValueError("the text of the model is cut short")
    head, *trees = _TREE.split(body)
    told = _fields(head)
    if _ints(told, "max_feature_idx").tolist() != [columns - 1]:
        raise ValueError("the model reads another number of columns")
    if _ints(told, "tree_sizes").tolist() != [len(f"Tree={tree}".encode()) for tree in trees]:
        raise ValueError("the trees are not those that the head of the text announces")
    for number, tree in enumerate(trees):
        try:
            _require_tree(_fields(tree), columns)
        except ValueError as error:
            raise ValueError(f"tree {number}: {error}") from None


def _require_tree(told: dict[str, str], columns: int) -> None:
    [leaves] = _ints(told, "num_leaves")
    splits = int(leaves) - 1
    if splits < 0 or told.get("is_linear", "0") != "0":
        raise ValueError("it is of a kind that is not trained here")
    _numbers(told, "leaf_value", splits + 1)
    if not splits:
        return
    threshold = _numbers(told, "threshold", splits, endless=True)
    if not _within(_ints(told, "split_feature", splits), 0, columns):
        raise ValueError("it splits by a column that there is not")
    sort = _ints(told, "decision_type", splits)
    if not _within(sort, 0, 16):
        raise ValueError("it decides in a way that is not known")
    _require_sets(told, threshold[sort & 1 == 1])
    parent = np.tile(np.arange(splits), 2)
    child = np.concatenate([_ints(told, side, splits) for side in ("left_child", "right_child")])
    # A split is numbered after the one above it: so none leads back.
    if (
        not np.array_equal(np.sort(child), np.r_[-leaves:0, 1:splits])
        or ((child >= 0) & (child <= parent)).any()
    ):
        raise ValueError("its splits do not form a tree")


def _require_sets(told: dict[str, str], chosen: npt.NDArray[np.float64]) -> None:
    """Splits by texts choose a set each, of those that ``cat_threshold`` holds."""
    [sets] = _ints(told, "num_cat")
    if not sets and not len(chosen):
        return
    bounds, held = _ints(told, "cat_boundaries", int(sets) + 1), _ints(told, "cat_threshold")
    ordered = bounds[0] == 0 and (np.diff(bounds) > 0).all() and bounds[-1] == len(held)
    if not ordered or not np.isin(chosen, np.arange(sets)).all():
        raise ValueError("its sets of texts are not those that its splits choose")


def _fields(text: str) -> dict[str, str]:
    parts = (line.partition("=") for line in text.splitlines())
    return {name: value for name, joint, value in parts if joint}


def _numbers(
    told: dict[str, str], name: str, size: int, endless: bool = False
) -> npt.NDArray[np.float64]:
    """``endless``: plus infinity will do; LightGBM splits there what is known from what is not."""
    try:
        found = np.array(told.get(name, "").split(), dtype=np.float64)
    except ValueError:
        found = np.empty(0)
    whole = np.isfinite(found) | (endless & (found == np.inf))
    if len(found) != size or not whole.all():
        raise ValueError(f"{name} is not {size} finite numbers")
    return found


def _ints(told: dict[str, str], name: str, size: int | None = None) -> Ints:
    try:
        found = np.array([int(one) for one in told.get(name, "").split()], dtype=np.int64)
    except (ValueError, OverflowError):
        raise ValueError(f"{name} does not hold whole numbers") from None
    if not len(found) or (size is not None and len(found) != size):
        raise ValueError(f"{name} does not hold as many numbers as there are")
    return found


def _within(found: Ints, low: int, high: int) -> bool:
    return bool(((found >= low) & (found < high)).all())
