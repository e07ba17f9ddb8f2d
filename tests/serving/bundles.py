"""Other models of the same features, made from a bundle without training."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import numpy as np

from features.source import Population
from training import bundle
from training.bundle import Bundle


def shifted(source: Path, target: Path, by: float) -> Bundle:
    """The model of ``source`` with its calibrated log-odds moved, in a bundle of its own."""
    held = bundle.load(source)
    about, moved = held.about, held.model.calibration
    model = dataclasses.replace(
        held.model, calibration=msgspec.structs.replace(moved, form="platt", c=moved.c + by)
    )
    origin = bundle.Origin(
        about.source, Population("weekly", None, about.horizon, 0, about.target), about.timeless,
        about.reveals, about.trained_until, about.data_digest,
    )  # fmt: skip
    rows = np.array(about.golden.rows, dtype=np.float64)
    return bundle.write(model, origin, rows, target)
