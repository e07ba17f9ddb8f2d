"""What a score must not read, what gives it away, and how groups of leads fare."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import language as say
from features.protected import Protection
from features.schema import History
from features.simulate import Simulation
from features.source import Source
from training.dataset import labelled
from training.evaluate import Outcomes, Predictions
from training.experiment import Result, feature_set, plan
from training.groups import FOUR_FIFTHS, LEAST_LEADS, by_group
from training.proxies import proxies


@pytest.mark.parametrize(
    "name", ["gender", "Gender", "customerGender", "sex", "Date of Birth", "birth_date", "age",
             "Age", "customer_age", "age_group", "marital status", "maritalStatus", "Ethnicity",
             "religion", "disability_status", "is_pregnant"],
)  # fmt: skip
def test_traits_are_known_by_their_names(name: str) -> None:
    assert Protection().covers(name)
    assert not Protection(allowed=(name,)).covers(name)


@pytest.mark.parametrize(
    "name", ["page", "stage", "usage", "language", "message", "account_age", "lead_source",
             "Sussex office", "industry", "traces", "company_size", "image"],
)  # fmt: skip
def test_other_names_are_not(name: str) -> None:
    assert not Protection().covers(name)
    assert Protection(declared=(name,)).covers(name)


def with_gender(history: History, copied: bool = False) -> History:
    """Each lead has a gender; ``copied``: its industry tells it."""
    draw = np.random.default_rng(0).random(len(history.leads))
    leads = history.leads.assign(gender=pd.Series(np.where(draw < 0.4, "f", "m"), dtype="str"))
    if copied:
        first = leads["industry"] == leads["industry"].mode().iloc[0]
        leads["gender"] = pd.Series(np.where(first | (draw < 0.1), "f", "m"), dtype="str")
    return replace(history, leads=leads)


def test_a_protected_attribute_is_no_feature(funnel: Simulation, source: Source) -> None:
    history = with_gender(funnel.history)
    assert "gender" not in feature_set(history, source).names
    allowed = replace(source, protection=Protection(allowed=("gender",)))
    assert "gender" in feature_set(history, allowed).names
    declared = replace(source, declared=(say.attribute("gender", "text"),))
    with pytest.raises(ValueError, match=r"gender reads 'gender', which is protected.*allow"):
        feature_set(history, declared)
    moved = replace(source, declared=(say.changes("Marital status").latest(),))
    with pytest.raises(ValueError, match="protected"):
        feature_set(history, moved)


def test_toml_declares_what_is_protected(tmp_path: Path) -> None:
    path = tmp_path / "source.toml"
    path.write_text(
        'name = "s"\n[leads]\npath = "leads.csv"\n[population]\nhorizon = "30d"\n'
        '[compliance]\nprotected = ["postcode"]\nallow = ["age"]\n',
        encoding="utf-8",
    )
    found = Source.from_toml(path).protection
    assert found.among(["postcode", "age", "gender", "source"]) == ["postcode", "gender"]


def test_a_field_that_tells_a_protected_one_is_named(funnel: Simulation, source: Source) -> None:
    rows = labelled(funnel.history, source.population)
    for copied in (False, True):
        history = with_gender(funnel.history, copied)
        features = plan(history, source).features
        found = list(proxies(history, rows, features, ["gender"]))
        assert bool(found) == copied
    assert found[0].key == "proxy:gender"
    assert found[0].severity == "warning"
    assert "most by industry" in found[0].evidence


def test_the_report_shows_the_groups_of_leading_attributes(result: Result) -> None:
    groups = result.report.groups
    assert groups
    for field in {one.field for one in groups}:
        mine = [one for one in groups if one.field == field]
        assert sum(one.rows for one in mine) == result.report.evaluation.rows
        assert max(one.ratio for one in mine) == 1.0
    assert sum(one.calibrated for one in groups) >= 0.8 * len(groups)


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.floats(0.05, 0.95))
def test_shares_of_groups_add_up_to_the_capacity(seed: int, capacity: float) -> None:
    draw = np.random.default_rng(seed)
    n = 400
    outcomes = Outcomes(
        np.arange(n).astype(str).astype(object), np.zeros(n, dtype=np.int64), draw.random(n) < 0.3
    )
    said = Predictions("x", draw.random(n))
    values = pd.Series(draw.choice(["a", "b", "c"], n), dtype="str")
    numbers = pd.Series(np.where(draw.random(n) < 0.1, np.nan, draw.random(n)))
    found = by_group(outcomes, said, {"word": (values, False), "number": (numbers, True)}, capacity)
    for field in ("word", "number"):
        mine = [one for one in found if one.field == field]
        selected = sum(one.selected * one.rows for one in mine)
        assert round(selected) == round(capacity * n)
        assert sum(one.leads for one in mine) == n
        assert all(one.leads >= LEAST_LEADS for one in mine if one.value != "other")


def test_a_group_that_is_promised_too_much_and_one_that_is_passed_over_stand_out() -> None:
    draw, n = np.random.default_rng(0), 6_000
    first = np.arange(n) % 2 == 0
    chance = np.where(first, 0.4, 0.1)
    outcomes = Outcomes(np.arange(n).astype(str).astype(object), np.zeros(n, dtype=np.int64),
                        draw.random(n) < chance)  # fmt: skip
    values = pd.Series(np.where(first, "first", "second"), dtype="str")
    said = Predictions("x", np.where(first, 0.4, 0.2) + 0.01 * draw.random(n))
    one, other = sorted(by_group(outcomes, said, {"g": (values, True)}, 0.2), key=lambda g: g.value)
    assert (one.value, one.ratio, one.calibrated) == ("first", 1.0, True)
    assert not other.calibrated
    assert other.ratio < FOUR_FIFTHS
