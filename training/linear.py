"""A ridge regression on encoded rows: one slope a number, one effect a text, one for missing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import msgspec
import numpy as np
import numpy.typing as npt

from training.grow import Encoded
from training.machine import effects_of, signed_logs

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

PENALTIES = (0.01, 0.1, 1.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0)
"""The strengths that folds by lead choose from; numbers are standardised, rows weigh 1."""

BEYOND = 0.5
"""A number counts up to so much of its training range beyond either end of it, on the log scale."""


class Linear(msgspec.Struct, frozen=True, dict=True):
    """``intercept`` + one effect a column, added in their order.

    A number x adds ``slope * s`` with s = sign(x) log(1 + |x|) kept within ``low`` and ``high``,
    or ``missing``. The text column at ``places[i]`` adds the effect of its code in ``texts[i]``,
    whose last but one is that of texts never seen, the last that of a missing text.
    """

    intercept: float
    slope: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    missing: tuple[float, ...]
    places: tuple[int, ...]
    texts: tuple[tuple[float, ...], ...]

    @staticmethod
    def constant(intercept: float, columns: int) -> Linear:
        """The same answer for every row."""
        nothing = (0.0,) * columns
        return Linear(intercept, nothing, nothing, nothing, nothing, (), ())

    def __call__(self, matrix: Floats) -> Floats:
        """Answer encoded rows (n, features): (n,), each the same whatever rows are beside it."""
        made: Floats = effects_of(matrix, self.intercept, *self._columns)
        return made

    def fits(self, columns: int) -> bool:
        """Whether it can read rows of so many columns."""
        parts = (self.slope, self.low, self.high, self.missing)
        inside = all(0 <= place < columns for place in self.places)
        whole = all(len(effects) > 1 for effects in self.texts)
        sizes = len(self.places) == len(self.texts), *(len(part) == columns for part in parts)
        return inside and whole and all(sizes)

    @cached_property
    def _columns(self) -> tuple[Floats, Floats, Floats, Floats, Ints, Floats]:
        """What :func:`effects_of` takes: effects of texts side by side, of a missing one last."""
        most = max(map(len, self.texts), default=2)
        rows = [
            (*effects[:-2], *[effects[-2]] * (most - len(effects) + 1), effects[-1])
            for effects in self.texts
        ]
        text = np.full(len(self.slope), -1)
        text[list(self.places)] = np.arange(len(rows))
        slope, low, high, missing = map(np.array, (self.slope, self.low, self.high, self.missing))
        return slope, low, high, missing, text, np.array(rows).reshape(len(rows), most)


@dataclass(frozen=True, eq=False)
class Ridge:
    """A ridge regression and what folds by lead know of it.

    ``said`` are the predictions of the crossed rows, each without its own fold, in order.
    """

    linear: Linear
    said: Floats
    _design: Design
    _size: float
    _mean: Floats
    _axes: Floats
    _stiffness: Floats
    _noise: float

    def doubt(self, matrix: Floats) -> Floats:
        """How far the truth may be from what is said of encoded rows: standard deviations (n,).

        Those of the posterior, for which the penalty is the prior (Hoerl and Kennard 1970; Lindley
        and Smith 1972): noise, and what the penalty keeps the slopes from saying.
        """
        along = (self._design(matrix)[:, 1:] - self._mean) @ self._axes
        return np.sqrt(self._noise * (1 / self._size + (along**2 / self._stiffness).sum(axis=1)))


def fit_linear(rows: Encoded, target: Floats, weight: Floats, groups: Ints, lead: Ints) -> Ridge:
    """Fit to rows of target, weight and lead number (n,).

    ``groups`` are folds by lead; rows of group -1 take no part. The penalty is the one whose
    predictions of the folds left out are closest. Memory holds one block of rows at a time.
    """
    design = Design.of(rows)
    sums = _moments(rows, design, target, weight, groups)
    every = sums.sum(axis=0)
    left_out = [solved(every - part) for part in sums]
    part = groups >= 0
    found = np.empty((len(PENALTIES), len(rows)))
    for place, matrix in rows.blocks():
        wide = design(matrix)
        for number, coefficients in enumerate(left_out):
            mine = groups[place] == number
            found[:, place][:, mine] = (wide[mine] @ coefficients).T
    weighed, actual = weight[part], target[part]
    best = int(np.argmin([np.average((one[part] - actual) ** 2, weights=weighed) for one in found]))
    size, mean, root, axes, _ = _axes(every)
    each = np.bincount(lead[part], weighed * (actual - found[best, part]))
    return Ridge(
        design.linear(solved(every)[:, best]), found[best, part], design, size, mean[1:-1],
        axes, root + PENALTIES[best], float((each**2).sum()) / size,
    )  # fmt: skip


def _moments(rows: Encoded, design: Design, target: Floats, weight: Floats, groups: Ints) -> Floats:
    """Weighted products of every two columns of design and target, for each fold."""
    sums = np.zeros((int(groups.max()) + 1, design.width + 1, design.width + 1))
    for place, matrix in rows.blocks():
        wide = np.column_stack([design(matrix), target[place]])
        wide *= np.sqrt(weight[place])[:, None]
        for number, total in enumerate(sums):
            part = wide[groups[place] == number]
            total += part.T @ part  # one array by itself: BLAS computes half of it
    return sums


def _axes(moments: Floats) -> tuple[float, Floats, Floats, Floats, Floats]:
    """Total weight, means, spread along each axis, the axes, and the target along them."""
    size = float(moments[0, 0])
    mean = moments[0] / size
    spread = moments - size * np.outer(mean, mean)
    root, axes = np.linalg.eigh(spread[1:-1, 1:-1])
    return size, mean, np.maximum(root, 0), axes, axes.T @ spread[1:-1, -1]


def solved(moments: Floats) -> Floats:
    """Coefficients (columns, penalties) from the products of every two columns, the target last.

    The first column is 1 and is not penalised.
    """
    _, mean, root, axes, along = _axes(moments)
    slopes = axes @ (along[:, None] / (root[:, None] + np.array(PENALTIES)))
    return np.vstack([mean[-1] - mean[1:-1] @ slopes, slopes])


@dataclass(frozen=True, eq=False)
class Design:
    """From encoded rows to the columns that are penalised alike: 1, numbers, missing, texts."""

    numbers: Ints
    mean: Floats
    scale: Floats
    low: Floats
    high: Floats
    holes: Ints
    texts: dict[int, int]
    columns: int

    @staticmethod
    def of(rows: Encoded) -> Design:
        """Read means, deviations and ranges off the rows."""
        columns = len(rows.encoder.names)
        texts = {i: len(rows.encoder.vocabulary[rows.encoder.names[i]])
                 for i in rows.encoder.categorical}  # fmt: skip
        known, total, squares = np.zeros(columns), np.zeros(columns), np.zeros(columns)
        low, high = np.full(columns, np.inf), np.full(columns, -np.inf)
        for _, matrix in rows.blocks():
            size = signed_logs(matrix)
            known += np.sum(~np.isnan(size), axis=0)
            total += np.nansum(size, axis=0)
            squares += np.nansum(size**2, axis=0)
            low, high = np.fmin(low, np.fmin.reduce(size)), np.fmax(high, np.fmax.reduce(size))
        mean = total / np.maximum(known, 1)
        scale = np.sqrt(np.maximum(squares / np.maximum(known, 1) - mean**2, 0))
        number = [i for i in range(columns) if i not in texts and high[i] > low[i]]
        holes = [i for i in range(columns) if i not in texts and 0 < known[i] < len(rows)]
        reach = BEYOND * (high - low)
        return Design(
            np.array(number, dtype=np.int64), mean, scale, low - reach, high + reach,
            np.array(holes, dtype=np.int64), texts, columns,
        )  # fmt: skip

    @property
    def width(self) -> int:
        """Columns of the design."""
        return 1 + len(self.numbers) + len(self.holes) + sum(n + 2 for n in self.texts.values())

    def __call__(self, matrix: Floats) -> Floats:
        """Encoded rows (n, features) as (n, width)."""
        size = signed_logs(matrix[:, self.numbers]) - self.mean[self.numbers]
        parts = [np.ones((len(matrix), 1)), np.nan_to_num(size / self.scale[self.numbers])]
        parts.append(np.isnan(matrix[:, self.holes]).astype(float))
        for place, known in self.texts.items():
            code = np.nan_to_num(matrix[:, place], nan=known + 1)
            parts.append((code[:, None] == np.arange(known + 2)).astype(float))
        return np.hstack(parts)

    def linear(self, coefficients: Floats) -> Linear:
        """The same answers, in the terms of a row."""
        slope, missing = np.zeros(self.columns), np.zeros(self.columns)
        numbers, holes = len(self.numbers), len(self.holes)
        slope[self.numbers] = coefficients[1 : 1 + numbers] / self.scale[self.numbers]
        missing[self.numbers] = slope[self.numbers] * self.mean[self.numbers]
        missing[self.holes] += coefficients[1 + numbers : 1 + numbers + holes]
        intercept = coefficients[0] - float((slope * np.nan_to_num(self.mean)).sum())
        texts, first = [], 1 + numbers + holes
        for known in self.texts.values():
            texts.append(tuple(coefficients[first : first + known + 2].tolist()))
            first += known + 2
        used = slope != 0
        low, high = np.where(used, self.low, 0.0), np.where(used, self.high, 0.0)
        return Linear(
            float(intercept), tuple(slope.tolist()), tuple(low.tolist()), tuple(high.tolist()),
            tuple(missing.tolist()), tuple(self.texts), tuple(texts),
        )  # fmt: skip
