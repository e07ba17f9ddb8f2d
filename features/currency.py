"""Deal values in one currency: converted by declared rates, or every other row is a breach."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from features.breaches import Breach, breach
from features.columns import plain, read_numbers, read_text


def in_one_currency(
    value: pd.Series, currency: pd.Series, won: pd.Series, rates: Mapping[str, float]
) -> tuple[pd.Series, list[Breach]]:
    """Values (n,) in the unit of ``rates``, what one of each currency is worth, and the breaches.

    ``currency`` and ``won`` are (n,), too; only a row that is won and has a value can breach. With
    rates, its currency must have one; without, it must be that of most others, or not be told. What
    is not a number stays as it is. Rows are counted from the index, which starts at 0.
    """
    number = read_numbers(plain(value.reset_index(drop=True)))[0].set_axis(value.index)
    told = read_text(plain(currency.reset_index(drop=True)))[0].set_axis(value.index)
    worth = won & number.notna()
    if rates:
        code, wrong = "no-rate", worth & ~told.isin([*rates])
    else:
        usual = told[worth].mode()
        code, wrong = "currencies", worth & told.notna() & ~told.isin(usual[:1])
    breaches = [
        breach(code, "outcomes", "currency", None if pd.isna(name) else name, int(row) + 1)
        for row, name in zip(value.index[wrong], told[wrong], strict=True)
    ]
    if not rates:
        return value, breaches
    converted = number * told.map(dict(rates)).astype(np.float64)
    return value.where(converted.isna(), converted), breaches
