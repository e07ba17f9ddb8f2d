"""Loops over numbers that NumPy would copy around, as machine code."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from features.machine import compiled


@compiled
def _signed_log(number: float) -> float:
    """Rounded to float32: engines differ in the last digit of a sum, and scores must not."""
    return float(np.float32(math.copysign(math.log1p(abs(number)), number)))


@compiled
def signed_logs(matrix: Any) -> Any:
    """sign(x) log(1 + abs(x)) of the numbers of a matrix, rounded to float32."""
    made = np.empty(matrix.shape)
    for row in range(matrix.shape[0]):
        for column in range(matrix.shape[1]):
            made[row, column] = _signed_log(matrix[row, column])
    return made


@compiled
def add_effects(
    matrix: Any, slope: Any, low: Any, high: Any, missing: Any, text: Any, effects: Any, made: Any
) -> None:
    """Add to ``made`` (n,) the sum of the effects of the columns of rows (n, features), in order.

    A column of texts (``text`` >= 0) has the effects of its codes in ``effects[text]``, whose last
    but one is that of every greater code, the last that of a missing text.
    """
    last = effects.shape[1] - 1
    for row in range(len(matrix)):
        total = 0.0
        for column in range(len(slope)):
            number = matrix[row, column]
            if text[column] >= 0:
                code = last if np.isnan(number) else min(int(number), last - 1)
                total += effects[text[column], code]
            elif np.isnan(number):
                total += missing[column]
            elif slope[column] != 0:
                size = _signed_log(number)
                total += slope[column] * min(max(size, low[column]), high[column])
        made[row] += total
