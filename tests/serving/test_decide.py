"""Grades and routes follow where a lead stands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.decide import GRADES, Policy, grade, standing


def test_grades_cut_the_reference_population_as_declared() -> None:
    population = np.random.default_rng(0).lognormal(size=100_000)
    places = standing(population, np.percentile(population, np.arange(101)).tolist())
    letters = pd.Series([grade(place) for place in places]).value_counts(normalize=True)
    wanted = {"A": 0.05, "B": 0.15, "C": 0.30, "D": 0.30, "E": 0.20}
    assert letters.to_dict() == pytest.approx(wanted, abs=0.011)
    assert [letter for letter, _ in GRADES] == ["A", "B", "C", "D"]


def test_routes_fill_their_shares() -> None:
    population = np.random.default_rng(1).normal(size=50_000)
    places = standing(population, np.percentile(population, np.arange(101)).tolist())
    for policy in (Policy(), Policy(sales=0.05, leave=0.0), Policy(sales=0.5, leave=0.5)):
        routes = pd.Series([policy.route(place) for place in places])
        assert (routes == "sales").mean() == pytest.approx(policy.sales, abs=0.011)
        assert (routes == "leave").mean() == pytest.approx(policy.leave, abs=0.011)


@given(st.lists(st.floats(0, 1), min_size=2), st.lists(st.floats(0, 1), min_size=1))
def test_a_better_score_never_stands_lower(values: list[float], known: list[float]) -> None:
    reference = np.percentile(known, np.arange(101)).tolist()
    places = standing(np.sort(values), reference)
    assert (np.diff(places) >= 0).all()
    assert ((places >= 0) & (places <= 100)).all()


def test_equals_stand_in_the_middle_and_outsiders_at_the_ends() -> None:
    assert standing(np.array([3.0]), [3.0] * 101) == 50
    assert standing(np.array([-1.0, 9.0]), np.linspace(0, 1, 101).tolist()).tolist() == [0, 100]


@pytest.mark.parametrize(("sales", "leave"), [(-0.1, 0.2), (0.2, -0.1), (0.6, 0.5)])
def test_shares_that_cannot_be_are_refused(sales: float, leave: float) -> None:
    with pytest.raises(ValueError, match="shares"):
        Policy(sales, leave)


def test_a_policy_of_a_file_and_what_it_must_not_say(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("sales = 0.1\nexplore = 0.5\n")
    assert Policy.read(path) == Policy(sales=0.1, explore=0.5)
    for text, said in [
        ("sale = 0.1", "sale"), ("sales = 2.0", "sales"), ('sales = "all"', "sales"),
        ("sales = 0.8\nleave = 0.3", "together 1"), ("sales =", "policy.toml"),
    ]:  # fmt: skip
        path.write_text(text)
        with pytest.raises(ValueError, match=said) as refused:
            Policy.read(path)
        assert "least_probability" in str(refused.value), "it tells what a policy has"


@given(st.floats(0, 100), st.floats(0, 1), st.text(), st.floats(0, 1), st.floats(0, 1))
def test_a_policy_hands_over_by_rules_that_are_told(
    place: float, chance: float, lead: str, least: float, explore: float
) -> None:
    policy = Policy(0.2, 0.3, least, explore)
    route, usual = policy.route(place, chance, lead), Policy().route(place)
    assert route == policy.route(place, chance, lead)
    if usual == "leave":
        assert route == "leave"
    if usual == "nurture" and not explore:
        assert route == "nurture"
    if usual == "sales" and chance >= least:
        assert route == "sales"
    if usual == "sales" and chance < least and not explore:
        assert route == "nurture"


def test_exploration_takes_its_share_and_always_the_same() -> None:
    policy, leads = Policy(explore=0.1), [str(number) for number in range(20_000)]
    taken = [lead for lead in leads if policy.route(50, 0.5, lead) == "sales"]
    assert len(taken) / len(leads) == pytest.approx(0.1, abs=0.01)
    more = Policy(explore=0.2)
    assert all(more.route(50, 0.5, lead) == "sales" for lead in taken)
