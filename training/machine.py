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
def effects_of(
    matrix: Any, intercept: float, slope: Any, low: Any, high: Any, missing: Any, text: Any,
    effects: Any,
) -> Any:  # fmt: skip
    """``intercept`` and the effects of the columns of rows (n, features), in order: (n,).

    A column of texts (``text`` >= 0) has the effects of its codes in ``effects[text]``, whose last
    but one is that of every greater code, the last that of a missing text.
    """
    last, made = effects.shape[1] - 1, np.empty(len(matrix))
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
        made[row] = intercept + total
    return made


@compiled
def _softplus(number: float) -> float:
    """log(1 + exp(x))."""
    return max(number, 0.0) + math.log1p(math.exp(-abs(number)))


@compiled
def stretched(raw: Any, a: float, b: float, c: float) -> Any:
    """The log-odds that :class:`training.calibrate.Calibration` makes of raw ones (n,)."""
    made = np.empty(len(raw))
    for row in range(len(raw)):
        made[row] = b * _softplus(raw[row]) - a * _softplus(-raw[row]) + c
    return made


@compiled
def _between(number: float, at: Any, held: Any) -> float:
    """``held`` at ``at`` (ascending), linear between; beyond the ends as there."""
    if number <= at[0]:
        return float(held[0])
    for place in range(1, len(at)):
        if number < at[place]:
            share = (number - at[place - 1]) / (at[place] - at[place - 1])
            return float(held[place - 1] + share * (held[place] - held[place - 1]))
    return float(held[-1])


@compiled
def interval(
    probability: Any, expected: Any, at: Any, chance: Any, worth: float, least: float
) -> Any:
    """The ends (2, n) of what :class:`training.spread.Spread` says of chances and values (n,).

    ``chance``, by log-odds ``at``, and ``worth`` are how far the logs of the odds and of the value
    may be off; chances count as ``least`` away from 0 and 1.
    """
    made = np.empty((2, len(probability)))
    for row in range(len(probability)):
        chosen = probability[row]
        odds = math.log(max(chosen, least)) - math.log(max(1 - chosen, least))
        reach = _between(odds, at, chance)
        below = _softplus(reach - odds) - _softplus(-odds)
        above = _softplus(-odds) - _softplus(-reach - odds)
        made[0, row] = expected[row] * math.exp(-math.hypot(below, worth))
        made[1, row] = expected[row] * math.exp(math.hypot(above, worth))
    return made


@compiled
def blended(said: Any, more: Any, scale: Any) -> Any:
    """The sum over members of scale x exp(what it says of a row): (n,).

    ``said`` (members, n) are the logs; ``more`` (n,) those of one more member, if ``scale`` has one
    more.
    """
    made = np.zeros(said.shape[1])
    for member in range(len(scale)):
        for row in range(len(made)):
            log = said[member, row] if member < len(said) else more[row]
            made[row] += scale[member] * math.exp(log)
    return made
