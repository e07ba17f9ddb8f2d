"""The protocols of the quality benchmark are the declared ones, and a stopped run goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from benchmarks import protocols, quality, tkdd
from benchmarks.judge import Judged, judge, value_measures
from benchmarks.protocols import Protocol, Split
from benchmarks.results import Results
from benchmarks.rivals import AUTOGLUON, LOGISTIC, OURS, Rival, Said, plain_counts
from benchmarks.verdicts import verdicts
from features.language import FeatureSet, attribute, events
from features.times import SECOND, from_micros, micros
from training.dataset import TrainingSet
from training.evaluate import Estimate


def rows(won: list[int], seed: int = 0) -> TrainingSet:
    """One row a lead, of a single number that says nothing."""
    lead = [f"l{seed}-{number}" for number in range(len(won))]
    converted = np.array(won, dtype=bool)
    labels = pd.DataFrame({"lead_id": lead, "as_of": from_micros(np.arange(len(won)) * SECOND),
                           "converted": converted, "value": 100.0 * converted})  # fmt: skip
    drawn = np.random.default_rng(seed).normal(size=len(won))
    return TrainingSet(
        labels, pd.DataFrame({"size": drawn}), FeatureSet([attribute("size", "number")])
    )


def protocol(**more: bool) -> Protocol:
    won = [0, 1] * 20
    splits = (Split("one", rows(won, 1), rows(won, 2)), Split("two", rows(won, 3), rows(won, 4)))
    return Protocol("small", "Small", splits, **more)


class Counting:
    """A rival's answers, and how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, split: Split) -> Said:
        self.asked += 1
        chance = np.where(split.test.converted, 0.9, 0.2)
        return Said(1.5, chance, chance * 50)


def test_answers_are_kept_until_data_or_code_change(tmp_path: Path) -> None:
    results, say = Results(tmp_path), Counting()
    first, second = protocol().splits
    asked = results.said("small", first, Rival("it", "code 1", say))
    kept = results.said("small", first, Rival("it", "code 1", say))
    assert say.asked == 1
    assert (kept.cpu, kept.probability.tolist()) == (asked.cpu, asked.probability.tolist())
    results.said("small", second, Rival("it", "code 1", say))
    results.said("small", first, Rival("it", "code 2", say))
    assert say.asked == 3
    results.forget("small")
    results.said("small", first, Rival("it", "code 1", say))
    assert say.asked == 4


def test_a_stopped_run_goes_on_and_who_does_not_run_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, results, say, console = protocol(), Results(tmp_path), Counting(), Console()

    def stopped(split: Split) -> Said:
        if split.name == "two":
            raise KeyboardInterrupt
        return say(split)

    def absent(split: Split) -> Said:
        raise RuntimeError(f"not installed: no answer to {split.name}")

    with pytest.raises(KeyboardInterrupt):
        quality.ask(made, [Rival(OURS, "1", stopped)], results, console)
    ours, peer = Rival(OURS, "1", say), Rival("peer", "1", absent)
    assert not results.have(made, ours)
    answers = quality.ask(made, [ours, peer], results, console)
    assert results.have(made, ours)
    assert say.asked == 2
    assert list(answers) == [OURS]
    assert "peer does not run here: not installed" in capsys.readouterr().out


def test_the_table_ranks_and_pairs_contenders() -> None:
    def worse(split: Split) -> Said:
        return Said(2.0, np.linspace(0.4, 0.6, len(split.test)))

    made = protocol()
    answers = {
        OURS: [Counting()(split) for split in made.splits],
        "peer": [worse(split) for split in made.splits],
    }
    judged = judge(made, answers)
    assert judged.measures[OURS]["auc"].value == 1
    assert judged.cpu == {OURS: 3.0, "peer": 4.0}
    assert judged.behind("peer", "auc") < -1
    assert judged.behind("peer", "log_loss") < -1
    lines = judged.table().splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| leadcast", "| peer"]


def test_the_mean_auc_does_not_compare_rows_of_different_splits() -> None:
    made = protocol(mean_auc=True)
    shift = {"one": 0.0, "two": 0.5}
    said = [Said(1.0, np.where(split.test.converted, 0.3, 0.1) + shift[split.name])
            for split in made.splits]  # fmt: skip
    peer = [Said(1.0, np.linspace(0.4, 0.6, len(split.test))) for split in made.splits]
    means = judge(made, {OURS: said, "peer": peer})
    pooled = judge(protocol(), {OURS: said, "peer": peer}).measures[OURS]["auc"].value
    assert means.measures[OURS]["auc"].value == 1
    assert pooled is not None
    assert pooled < 0.8
    alone = [judge(replace(made, splits=(split,)), {OURS: [ours], "peer": [theirs]})
             for split, ours, theirs in zip(made.splits, said, peer, strict=True)]  # fmt: skip
    values = [one.differences["peer"]["auc"].value for one in alone]
    assert means.differences["peer"]["auc"].value == pytest.approx(np.mean(values))


def test_a_peer_that_is_ahead_fells_the_bar_and_the_table_says_so() -> None:
    even, far = Estimate(-0.02, -0.04, 0.0, 0.03), Estimate(-0.02, -0.03, -0.01, 0.005)
    found = {"auc": Estimate(0.8), "log_loss": Estimate(0.4)}
    behind = {"auc": even, "log_loss": Estimate(0.0, 0.0, 0.0, 0.01)}
    ahead = {"auc": far, "log_loss": Estimate(-0.1, -0.2, 0.0, 0.05)}
    measures = dict.fromkeys((OURS, LOGISTIC, AUTOGLUON), found)
    cpu = {OURS: 1.0, AUTOGLUON: 5.0}
    judged = Judged("other", "Other", measures, {LOGISTIC: behind, AUTOGLUON: ahead}, cpu)
    bars = list(verdicts(judged))
    assert {one.name: one.holds for one in bars} == {
        "other-auc-behind-logistic-regression": True,
        "other-auc-behind-best-peer": False,
        "other-log-loss-behind-logistic-regression": True,
        "other-log-loss-behind-best-peer": True,
        "other-cpu-over-autogluon": False,
    }
    page = quality.page({"other": judged}, bars)
    assert "| other-auc-behind-best-peer | 4.0000 | <= 1 | **no** |" in page


def test_value_measures_of_a_perfect_and_of_a_doubled_prediction() -> None:
    actual = np.array([0.0, 10, 0, 40, 0, 5, 0, 100, 0, 1])
    every, twice = np.ones(10), np.full(10, 2.0)
    assert value_measures(actual, actual, every) == pytest.approx((1, 0, 0))
    gini, deciles, total = value_measures(actual, 2 * actual, every)
    assert (gini, deciles, total) == pytest.approx((1, 1, 1))
    said = np.random.default_rng(0).random(10)
    assert value_measures(actual, said, twice) == pytest.approx(value_measures(actual, said, every))
    assert value_measures(actual, -actual, every)[0] < 0


def test_tied_events_become_moments_in_the_order_of_the_file() -> None:
    at = from_micros([5_000, 5_000, 1_000, 5_000, 5_000])
    facts = pd.DataFrame({"lead_id": ["b", "a", "a", "a", "b"], "kind": list("vwxyz"),
                          "occurred_at": at, "known_at": at})  # fmt: skip
    ordered = tkdd.in_order(facts)
    assert ordered["kind"].tolist() == ["x", "w", "y", "v", "z"]
    assert micros(ordered["occurred_at"]).tolist() == [1_000, 5_000, 5_001, 5_000, 5_001]


def test_plain_counts_are_one_feature_a_kind() -> None:
    declared = FeatureSet([events("a").count(), events("a").count("7d"), events().count(),
                           events("b").count(), events("b").since_last()])  # fmt: skip
    labels = rows([0, 1])
    columns = pd.DataFrame(np.zeros((2, 5)), columns=list(declared.names))
    found = plain_counts(TrainingSet(labels.rows, columns, declared))
    assert found.features.names == ("count(a)", "count(b)")
    assert list(found.columns) == ["count(a)", "count(b)"]


@pytest.fixture(scope="module")
def prefixes(data: Path) -> tkdd.Prefixes:
    assert data.is_dir()
    return protocols._tkdd()


def test_the_published_protocol_has_its_published_counts(prefixes: tkdd.Prefixes) -> None:
    cases = pd.DataFrame({"case": prefixes.spine["lead_id"], "outcome": prefixes.outcome,
                          "trains": prefixes.trains}).drop_duplicates()  # fmt: skip
    assert cases["outcome"].value_counts().to_dict() == {
        "accepted": 2_243, "cancelled": 1_640, "declined": 802,
    }  # fmt: skip
    assert cases["trains"].value_counts().to_dict() == {True: 3_748, False: 937}
    teach, test = prefixes.rows("accepted", honest=False)
    assert (len(teach), len(test)) == (117_965, 30_637)
    counts = prefixes.columns[events().count().name].to_numpy()
    place = prefixes.spine.groupby("lead_id").cumcount().to_numpy() + 1
    assert (counts == place).all()


def test_the_honest_variant_knows_no_outcome_early(prefixes: tkdd.Prefixes) -> None:
    unsettled = 1 - prefixes.settled[prefixes.trains & ~prefixes.spine.duplicated("lead_id")].mean()
    assert unsettled == pytest.approx(0.18, abs=0.005)
    assert prefixes.told[~prefixes.trains].mean() == pytest.approx(0.08, abs=0.005)
    for part in prefixes.rows("declined", honest=True):
        shown = [one for one in part.columns if one.startswith("count(A_APPROVED")]
        assert not part.columns[[*shown, "count(O_ACCEPTED:COMPLETE)"]].to_numpy().any()
    teach = prefixes.rows("declined", honest=True)[0]
    assert teach.as_of.max() <= tkdd.SPLIT


def test_first_offers_are_one_row_a_case(data: Path) -> None:
    assert data.is_dir()
    found = protocols.first_offer()
    tests = pd.concat([split.test.rows for split in found.splits])
    assert len(tests) == tests["lead_id"].nunique() == 2_224
    assert tests["converted"].mean() == pytest.approx(0.41, abs=0.005)
    for split in found.splits:
        assert split.teach.as_of.max() + 30 * 86_400 * SECOND <= split.test.as_of.min()


def test_every_repeat_of_tayko_judges_every_customer_once(data: Path) -> None:
    assert data.is_dir()
    found = protocols.tayko()
    for repeat in {split.repeat for split in found.splits}:
        judged = [lead for split in found.splits if split.repeat == repeat
                  for lead in split.test.lead_id]  # fmt: skip
        assert len(judged) == len(set(judged)) == 1_999  # the last has no later moment: no label
    for split in found.splits:
        assert not set(split.teach.lead_id) & set(split.test.lead_id)
    assert set(found.splits[0].teach.features.names).isdisjoint({"Purchase", "Spending"})
