"""Grow trees on a Dask cluster that is already there. The only import of dask."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import dask.array as da
import lightgbm as lgb
import numpy as np
from dask.delayed import delayed
from distributed import Client, Future

from training.grow import NONE, Bools, Encoded, Floats, Grower, Own, Trees

_SKLEARN_NAMES = {
    "feature_fraction": "colsample_bytree",
    "bagging_fraction": "subsample",
    "bagging_freq": "subsample_freq",
    "lambda_l2": "reg_lambda",
    "min_data_in_leaf": "min_child_samples",
    "seed": "random_state",
}
"""What LightGBM's parameters are called where Dask passes them on."""


@contextmanager
def connected(scheduler: str) -> Iterator[Grower]:
    """The grower of a cluster by its scheduler's address, such as ``tcp://127.0.0.1:8786``."""
    with Client(scheduler) as client:
        yield on_dask(client)


def on_dask(client: Client) -> Grower:
    """Grow on the workers of a cluster: a :class:`training.grow.Grower`.

    The same rows give slightly other trees than on one machine, and slightly other ones again when
    workers answer in another order. Every worker needs Leadcast and its dependencies, and reads its
    share of a training set on disk itself, by the same path; of one in memory, it is sent a share.
    """

    def grower(
        rows: Encoded, target: Floats, weight: Floats, parameters: Mapping[str, Any], /
    ) -> Trees:
        return _OnDask(client, rows, target, weight, parameters)

    return grower


class _OnDask:
    """Each worker holds one range of the rows, always the same, and trees grow on all at once."""

    at_once = 1

    def __init__(
        self,
        client: Client,
        rows: Encoded,
        target: Floats,
        weight: Floats,
        parameters: Mapping[str, Any],
    ) -> None:
        self._client, self._target, self._weight = client, target, weight
        self._categorical = rows.encoder.categorical
        self._features = len(rows.encoder.names)
        self._parameters = _named(parameters)
        self._workers = sorted(client.nthreads())
        if not self._workers:
            raise ValueError("the Dask cluster has no workers: start some, then train again")
        edges = np.linspace(0, len(rows), len(self._workers) + 1).astype(int).tolist()
        self._ranges = [slice(*edge) for edge in pairwise(edges)]
        place = np.arange(len(rows))
        self._shares = [
            self._on(worker, _matrix, rows.where((place >= part.start) & (place < part.stop)))
            for worker, part in zip(self._workers, self._ranges, strict=True)
        ]

        for worker, share in zip(self._workers, self._shares, strict=True):
            if (error := share.exception()) is not None:
                raise ValueError(f"worker {worker} could not read its rows: {error}") from error

    def grow(self, chosen: Bools, rounds: int, threads: int = 0, own: Own = NONE) -> lgb.Booster:
        """A booster of the rows chosen by a mask (n,), on every worker's own threads."""
        del threads
        parameters = {**self._parameters, **_named(own)}
        model = lgb.DaskLGBMRegressor(  # of any objective: it differs by what predict returns
            client=self._client, n_estimators=rounds, **parameters
        )
        parts = [
            (worker, share, part)
            for worker, share, part in zip(self._workers, self._shares, self._ranges, strict=True)
            if chosen[part].any()
        ]
        rows = [self._on(worker, _pick, share, chosen[part]) for worker, share, part in parts]
        matrix = da.concatenate(
            [
                _array(one, (int(chosen[part].sum()), self._features))
                for one, (_, _, part) in zip(rows, parts, strict=True)
            ]
        )
        with warnings.catch_warnings():  # of its own default, which no one passed
            warnings.filterwarnings("ignore", "Parameter n_jobs will be ignored")
            model.fit(
                matrix,
                self._vector(self._target, chosen, parts),
                sample_weight=self._vector(self._weight, chosen, parts),
                categorical_feature=self._categorical,
            )
        return lgb.Booster(model_str=_placeless(model.booster_.model_to_string()))

    def _vector(
        self, values: Floats, chosen: Bools, parts: list[tuple[str, Future[Any], slice]]
    ) -> da.Array:
        """The chosen values, each range on the worker that holds its rows."""
        pieces = [(worker, values[part][chosen[part]]) for worker, _, part in parts]
        return da.concatenate(
            [_array(self._on(worker, _same, piece), piece.shape) for worker, piece in pieces]
        )

    def _on(self, worker: str, function: Any, *arguments: Any) -> Future[Any]:
        """Call a function on one worker; arguments go there, not through the scheduler's graph."""
        sent = [
            one
            if isinstance(one, Future)
            else self._client.scatter(one, workers=[worker], hash=False)
            for one in arguments
        ]
        return self._client.submit(
            function, *sent, workers=[worker], allow_other_workers=False, pure=False
        )


def _named(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {_SKLEARN_NAMES.get(name, name): value for name, value in parameters.items()}


def _matrix(share: Encoded) -> Floats:
    return share[0 : len(share)]


def _pick(matrix: Floats, chosen: Bools) -> Floats:
    return matrix[chosen]


def _same(values: Floats) -> Floats:
    return values


def _array(piece: Future[Any], shape: tuple[int, ...]) -> da.Array:
    return da.from_delayed(delayed(piece), shape, dtype=np.dtype(np.float64))


def _placeless(model: str) -> str:
    """A model's text without the addresses of the machines that grew it."""
    return re.sub(r"^\[(machines|num_machines|local_listen_port): .*\]\n", "", model, flags=re.M)
