"""One function from feature values to the numbers a tree sees, for training and for serving."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features.language import FeatureSet

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST_VALUES = 60
"""The most frequent texts of a column keep a number each; the rest share one."""


class Encoder(msgspec.Struct, frozen=True, dict=True):
    """Numbers for texts: ``vocabulary[column]`` lists the texts 0, 1, ...; the next one is "other".

    Null stays null (NaN). Ours, because a model file that loses its pandas categories silently
    scores wrong.
    """

    names: tuple[str, ...]
    vocabulary: dict[str, tuple[str, ...]]

    @staticmethod
    def fit(features: FeatureSet, blocks: Iterable[pd.DataFrame]) -> Encoder:
        """Number each text column's values, the most frequent first, equals by their text.

        The rows come in blocks of columns; how they are cut does not matter.
        """
        counts = {f.name: Counter[str]() for f in features.features if f.type == "text"}
        for columns in blocks:
            for name, counted in counts.items():
                counted.update({str(k): int(n) for k, n in columns[name].value_counts().items()})
        vocabulary = {}
        for name, counted in counts.items():
            ordered = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))
            vocabulary[name] = tuple(text for text, _ in ordered[:MOST_VALUES])
        return Encoder(features.names, vocabulary)

    @property
    def categorical(self) -> list[int]:
        """Positions of the text columns."""
        return [i for i, name in enumerate(self.names) if name in self.vocabulary]

    def matrix(self, columns: pd.DataFrame | pa.Table) -> Floats:
        """(n, features) float64, C order; raises ``ValueError`` on any other columns or order."""
        names = columns.column_names if isinstance(columns, pa.Table) else columns.columns
        if tuple(names) != self.names:
            raise ValueError("these are not the columns the model was trained on, in their order")
        made = np.empty((len(columns), len(self.names)))
        for position, name in enumerate(self.names):
            known = self.vocabulary.get(name)
            values = columns[name]
            made[:, position] = values.to_numpy() if known is None else _codes(values, known)
        return made

    def coded(self, numbers: Floats, texts: Mapping[int, Sequence[str | None]]) -> Floats:
        """The same for n rows at hand: ``numbers`` (n, features), and ``texts`` by their column."""
        made, (places, known) = numbers.copy(), self._texts
        if known:
            made.T[places] = [
                [codes.get(text, other) for text in texts[place]]
                for place, (codes, other) in zip(places.tolist(), known, strict=True)
            ]
        return made

    @cached_property
    def _texts(self) -> tuple[Ints, list[tuple[dict[str | None, float], float]]]:
        """Where the text columns are; the numbers of their texts, and that of all others."""
        places = np.array([self.names.index(name) for name in self.vocabulary], dtype=np.int64)
        return places, [
            ({None: np.nan, **{text: float(code) for code, text in enumerate(known)}},
             float(len(known)))
            for known in self.vocabulary.values()
        ]  # fmt: skip


def _codes(values: pd.Series | pa.ChunkedArray, known: tuple[str, ...]) -> Floats:
    """The numbers of texts (n,), NaN for a missing one."""
    texts = pa.array(values) if isinstance(values, pd.Series) else values
    codes = pc.index_in(texts, value_set=pa.array(known, type=texts.type))
    found = pc.if_else(texts.is_valid(), codes.fill_null(len(known)), None)
    return np.asarray(found.cast(pa.float64()).to_numpy(zero_copy_only=False))
