"""Every law that names an engine, on a real PostgreSQL server; fewer cases than in process."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from features import catalog
from features.engines import compute
from features.engines.memory import Leads
from features.engines.tables import KEYS
from features.language import DeclarationError, FeatureSet, changes, events, rate
from features.schema import History
from features.simulate import simulate
from features.times import micros
from tests.histories import FEATURE_SETS, IDS, busy, frame, histories
from tests.judge import alike, judge
from tests.laws import test_blindness as blindness
from tests.laws import test_order as order
from tests.laws import test_row_independence as independence
from tests.laws.test_agreement import agreed

Generated = tuple[History, pd.DataFrame]

_IDS = st.lists(st.sampled_from(IDS), min_size=2, max_size=5, unique=True)
OTHERS: list[tuple[Any, tuple[st.SearchStrategy[Any], ...]]] = [
    (order.test_shuffled_tables_give_the_same, (histories(), FEATURE_SETS, st.integers(0, 9))),
    (order.test_the_greater_id_is_the_later_of_two_facts_at_one_time, (_IDS,)),
    (independence.test_a_row_alone_is_the_row_among_others, (histories(), FEATURE_SETS)),
    (independence.test_rows_come_back_in_their_order_under_their_index,
     (histories(), FEATURE_SETS, st.data())),
    (blindness.test_another_future_changes_nothing, (histories(), histories(), FEATURE_SETS)),
]  # fmt: skip


@pytest.mark.slow
@settings(max_examples=300)
@given(generated=histories(), features=FEATURE_SETS)
def test_postgres_equals_the_judge(
    postgres: str, generated: Generated, features: FeatureSet
) -> None:
    from features.engines.postgres import Postgres

    history, spine = generated
    found = compute(features, spine, history, Postgres(postgres))
    agreed(found, judge(features, spine, history), features, history, "postgres")


@pytest.mark.slow
@settings(max_examples=200)
@given(seed=st.integers(0, 2**32))
def test_postgres_equals_the_judge_on_busy_histories(postgres: str, seed: int) -> None:
    from features.engines.postgres import Postgres

    history, spine, features = busy(seed)
    found = compute(features, spine, history, Postgres(postgres))
    agreed(found, judge(features, spine, history), features, history, "postgres")


@pytest.mark.parametrize("worth", [0, 24])
@settings(max_examples=50)
@given(generated=histories(), features=FEATURE_SETS)
def test_one_lead_of_a_database_equals_the_judge(
    postgres: str, worth: int, generated: Generated, features: FeatureSet
) -> None:
    from features.databases import postgres as connect
    from features.engines import postgres as engine
    from features.engines.tables import frame_of

    history, spine = generated
    features = FeatureSet(feature for feature in features.features if not feature.segment)
    assume(len(features))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "_WORTH", worth)
        reader = engine.PostgresLead(features, schema="pg_temp")
    asked = list(zip(spine["lead_id"], micros(spine["as_of"]).tolist(), strict=True))
    with connect(postgres) as con, con.transaction(force_rollback=True):
        for name in KEYS:
            engine.fill(con, "pg_temp", name, getattr(history, name), reader.columns[name])
        found = frame_of(features, [reader.vector(con, lead, as_of) for lead, as_of in asked])
    agreed(found, judge(features, spine, history), features, history, "one lead of postgres")


@pytest.mark.parametrize(("law", "drawn"), OTHERS, ids=[law.__name__ for law, _ in OTHERS])
def test_the_other_laws_hold_on_postgres(
    postgres: str, law: Any, drawn: tuple[st.SearchStrategy[Any], ...]
) -> None:
    from features.engines.postgres import Postgres

    @settings(max_examples=30)
    @given(st.tuples(*drawn))
    def holds(values: tuple[Any, ...]) -> None:
        law.hypothesis.inner_test(Postgres(postgres), *values)

    holds()


def test_a_funnel_of_thousands_of_events_is_the_same_on_postgres(postgres: str) -> None:
    from features.engines.postgres import Postgres

    history = simulate(leads=200, seed=3).history
    spine = (
        history.events[["lead_id", "known_at"]].iloc[::20].set_axis(["lead_id", "as_of"], axis=1)
    )
    declared, shares = catalog.default(history), list[float]()
    found = compute(declared, spine, history, Postgres(postgres), progress=shares.append)
    alike(found, compute(declared, spine, history))
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_features_of_a_segment_need_more_than_one_lead() -> None:
    from features.engines.postgres import PostgresLead

    owner = rate("won", by=changes("owner").latest())
    for engine in (PostgresLead, Leads):
        with pytest.raises(DeclarationError, match=r"rate\(outcomes of won.*score in batch"):
            engine(FeatureSet([owner]))


def test_more_features_than_postgres_returns_are_refused(postgres: str) -> None:
    from features.engines.postgres import Postgres

    history = simulate(leads=10, seed=3).history
    many = FeatureSet(events("call").count(f"{days}d") for days in range(1, 1_700))
    with pytest.raises(DeclarationError, match="at most 1600"):
        compute(many, frame([], "lead_id", "as_of"), history, Postgres(postgres))


def test_across_an_account_the_greater_lead_goes_first_on_postgres(postgres: str) -> None:
    from features.engines.postgres import Postgres

    order.test_across_an_account_the_greater_lead_goes_first(Postgres(postgres))
