"""The audit: it names what leaks, is silent on what does not, and stops a promotion."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from features.language import FeatureSet, attribute, events
from features.simulate import Simulation, simulate
from features.source import Source
from tests.conftest import ROOT
from tests.leaks import LEAKS, label_copy, xeducation_whole
from tests.leaks import funnel as as_source
from training import bundle, report
from training.ablation import drops
from training.contrasts import least_odds, rank_correlation, separation
from training.experiment import Result, audited, plan, run
from training.findings import Finding, FindingsError, accept
from training.registry import Registry

LEAK = Finding(
    "too-good-alone", "Lead Quality (CRM)", "blocking", "alone it reaches AUC 0.950", "leave it out"
)


def test_a_clean_history_has_no_findings(result: Result) -> None:
    assert result.report.findings == ()
    assert "nothing found" in report.text(result.report)


def test_every_planted_leak_is_named(funnel: Simulation) -> None:
    history, copies = funnel.history, LEAKS["duplicated leads"]
    planted = [leak for leak in LEAKS.values() if leak is not copies]
    for number, leak in enumerate(planted):
        history = leak.plant(history, np.random.default_rng(number))
    found = {one.field: one for one in audited(history, as_source(history))}
    assert set(found) == {leak.field for leak in planted}
    warned = {one.code for one in found.values() if one.severity == "warning"}
    assert warned == {"after-outcome"}
    assert all(one.evidence and one.remedy for one in found.values())


def test_a_lead_that_is_there_twice_is_found(funnel: Simulation) -> None:
    history = LEAKS["duplicated leads"].plant(funnel.history, np.random.default_rng(0))
    (found,) = audited(history, as_source(history))
    assert (found.key, found.severity) == ("duplicated-leads:lead_id", "blocking")


@pytest.mark.slow
@pytest.mark.parametrize("name", LEAKS)
def test_a_leak_alone_is_named_alone(name: str) -> None:
    clean, leak = simulate(leads=2_500, seed=4).history, LEAKS[name]
    history = leak.plant(clean, np.random.default_rng(5))
    assert [one.field for one in audited(history, as_source(history))] == [leak.field]


@pytest.mark.slow
def test_clean_histories_are_hardly_ever_blocked() -> None:
    histories = (simulate(leads=2_500, seed=seed).history for seed in range(200, 220))
    found = [one for history in histories for one in audited(history, as_source(history))]
    assert sum(one.severity == "blocking" for one in found) <= 1


def test_xeducation_leaks_are_found_and_nothing_else_blocks(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEADCAST_DATA", str(data))
    source = xeducation_whole(tmp_path)
    blocked = {one.field for one in audited(source.load(), source) if one.severity == "blocking"}
    assert blocked == set(Source.from_toml(ROOT / "examples" / "xeducation.toml").exclude)


@pytest.mark.slow
def test_a_bank_that_names_what_reveals_is_not_blocked(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEADCAST_DATA", str(data))
    source = Source.from_toml(ROOT / "examples" / "bpic2012.toml")
    assert not any(one.stops for one in audited(source.load(), source))


def test_only_what_is_read_is_audited(funnel: Simulation) -> None:
    history = label_copy(funnel.history, np.random.default_rng(0))
    source = as_source(history)
    read = FeatureSet([attribute("industry", "text"), events("call").count()])
    assert audited(history, source, plan(history, source, read)) == ()


def test_an_audit_does_not_depend_on_the_order_of_rows(funnel: Simulation) -> None:
    history = LEAKS["filled only for won"].plant(funnel.history, np.random.default_rng(0))
    shuffled = replace(
        history,
        leads=history.leads.sample(frac=1, random_state=1).reset_index(drop=True),
        events=history.events.sample(frac=1, random_state=1).reset_index(drop=True),
    )
    assert audited(shuffled, as_source(shuffled)) == audited(history, as_source(history))


def leaking(result: Result) -> Result:
    """The result, as if the audit had found a leak."""
    return replace(
        result,
        report=replace(result.report, findings=(LEAK,)),
        origin=replace(result.origin, findings=(LEAK,)),
    )


def test_a_blocking_finding_stops_promotion_until_it_is_accepted(
    result: Result, tmp_path: Path
) -> None:
    registry = Registry(tmp_path / "mlruns")
    entry = registry.log(leaking(result))
    with pytest.raises(FindingsError, match=r"AUC 0\.950\n    leave it out") as stopped:
        registry.promote("funnel")
    assert f'--accept "{LEAK.key}" --because' in str(stopped.value)
    with pytest.raises(FindingsError, match="without a reason"):
        registry.promote("funnel", accepted={LEAK.key: " "})
    registry.promote("funnel", accepted={LEAK.key: "rated before the first call"})
    registry.pull("funnel", tmp_path / "champion")
    card = bundle.load(tmp_path / "champion").about
    assert [one.accepted for one in card.findings] == ["rated before the first call"]
    logged = json.loads(registry.artifact(entry, "audit.json").read_bytes())
    assert logged[0]["accepted"] == "rated before the first call"
    tags = MlflowClient(f"sqlite:///{tmp_path}/mlruns/mlflow.db").get_run(entry.run_id).data.tags
    assert tags["audit.blocking"] == "0"
    assert "rated before the first call" in tags.values()


def test_what_was_not_found_cannot_be_accepted(funnel: Simulation, source: Source) -> None:
    with pytest.raises(FindingsError, match=f"findings: {LEAK.code}"):
        accept([LEAK], {"label-copy:stage": "why not"})
    with pytest.raises(FindingsError, match="findings: none"):
        run(funnel.history, source, accepted={LEAK.key: "why not"})


def test_findings_stand_in_the_report(result: Result) -> None:
    found = leaking(result).report
    for page in (report.text(found), report.html(found)):
        for word in ("blocking", LEAK.key, "alone it reaches AUC 0.950", "1 of 1 findings stop"):
            assert word in page
    taken = replace(found, findings=accept([LEAK], {LEAK.key: "rated before the first call"}))
    assert "because: rated before the first call" in " ".join(report.text(taken).split())


def test_bounds_hold_where_a_cell_is_empty_and_give_way_where_leads_are_few() -> None:
    assert least_odds(700, 1_000, 0, 300, 4.0)[1] > 20
    assert least_odds(7, 10, 0, 3, 4.0)[1] == 1
    assert least_odds(0, 300, 700, 1_000, 4.0)[1] < 1 / 20
    assert least_odds(50, 100, 500, 1_000, 4.0) == pytest.approx((1, 1), abs=0.01)


def test_a_column_of_noise_separates_nothing_out_of_fold() -> None:
    draw = np.random.default_rng(0)
    won = draw.random(3_000) < 0.2
    names = pd.Series(draw.integers(0, 2_000, 3_000)).astype("str")
    found, least = separation(names, won, 4.0)
    assert abs(found - 0.5) < 0.05
    assert least < 0.5


def test_a_correlation_that_another_column_explains_is_none() -> None:
    draw = np.random.default_rng(0)
    cause = draw.random(2_000)
    one, other = (cause + 0.1 * draw.random(2_000) for _ in range(2))
    assert rank_correlation(one, other, 4.0)[1] > 0.9
    assert rank_correlation(one, other, 4.0, cause)[1] < 0.1
    assert rank_correlation(one, np.ones(2_000), 4.0) == (0.0, 0.0)


def test_a_field_that_carries_it_all_is_missed_when_it_is_left_out(
    funnel: Simulation, source: Source
) -> None:
    clean = plan(funnel.history, source)
    assert all(one.ratio < 1.2 for one in drops(funnel.history, clean.rows, clean.features))
    history = label_copy(funnel.history, np.random.default_rng(0))
    planned = plan(history, as_source(history))
    first, second, *_ = drops(history, planned.rows, planned.features)
    assert first.field == "is_customer"
    assert first.ratio - 3 * first.error > 1.4 > 1.2 > second.ratio
    with_it, without = first.auc
    assert with_it > without + 0.1
