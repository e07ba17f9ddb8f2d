"""One more day of history: the same set as a build from scratch, for the work of a day."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import catalog
from features import language as say
from features.engines import compute
from features.engines.signature import Signature
from features.language import FeatureSet
from features.outcomes import observed_until
from features.schema import History
from features.simulate import Simulation, simulate
from features.source import Population, Source
from features.times import DAY, from_micros, micros
from tests.histories import busy
from tests.judge import alike
from training import extend as extending
from training import parts
from training.dataset import StoredSet, TrainingSet, build, labelled
from training.experiment import plan, training_set
from training.extend import keep

DAILY = Population(at="daily", after=None, horizon=3 * DAY, grace=0, target="won")
MONTH = Population(at="daily", after=None, horizon=28 * DAY, grace=0, target="won")
FACTS = ("events", "changes", "outcomes")

EXACT = FeatureSet(
    [
        say.age(),
        say.attribute("industry", "text"),
        say.events("call").count("7d"),
        say.events().distinct("kind"),
        say.events().since_last(),
        say.events().latest("campaign"),
        say.account_events().count(),
        say.other_events("call").since_last(),
        say.other_leads().count(),
        say.other_outcomes("won").count(),
        say.changes("stage").latest(),
    ]
)
"""Nothing here is a sum of fractions, so a set has one digest however it was made."""

SEGMENTS = [
    *EXACT.features,
    say.rate("won", by=say.attribute("industry", "text")),
    say.open_leads(by=say.changes("owner").latest()),
]


def made(history: History, features: FeatureSet, population: Population) -> TrainingSet:
    return build(labelled(history, population), features, history)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[pd.DataFrame]:
    """The spines whose features an extension computes."""
    spines: list[pd.DataFrame] = []

    def counted(features: FeatureSet, spine: pd.DataFrame, *rest: object, **more: object) -> object:
        spines.append(spine)
        return compute(features, spine, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(extending, "compute", counted)
    return spines


# --- any history, day by day --------------------


@settings(max_examples=10)
@given(st.integers(0, 2**32))
def test_day_by_day_it_is_the_set_that_a_build_makes(seed: int) -> None:
    history, _, drawn = busy(seed)
    chance, features = random.Random(seed), FeatureSet(drawn.features[:5])
    end = observed_until(history)
    moment = end - chance.randrange(2, 8) * DAY
    old = history.until(moment)
    if old.leads.empty:
        return
    with TemporaryDirectory() as name:
        keep(labelled(old, DAILY), features, old, Path(name))
        while moment < end:
            moment += chance.randrange(1, 4) * DAY
            new = history.until(moment)
            same(keep(labelled(new, DAILY), features, new, Path(name)), made(new, features, DAILY))


@settings(max_examples=16)
@given(st.integers(0, 2**32), st.booleans())
def test_what_is_delivered_late_edited_or_deleted_is_found(seed: int, segments: bool) -> None:
    history, _, drawn = busy(seed)
    chance = random.Random(seed)
    features = FeatureSet(
        [*drawn.features[:4], *(f for f in (SEGMENTS if segments else EXACT.features)
                            if f not in drawn.features[:4])]
    )  # fmt: skip
    old = dishonest(history, chance)
    rows = labelled(history, DAILY)
    with TemporaryDirectory() as name, TemporaryDirectory() as other:
        keep(labelled(old, DAILY), features, old, Path(name))
        same(keep(rows, features, history, Path(name)), made(history, features, DAILY))
        keep(rows, features, history, Path(other))
        extended, fresh = (kept_signature(Path(place), features) for place in (name, other))
    assert extended.before == fresh.before
    pd.testing.assert_frame_equal(extended.leads, fresh.leads)


def kept_signature(directory: Path, features: FeatureSet) -> Signature:
    return Signature.read(directory / f"{features.fingerprint}.signature")[0]


def same(found: StoredSet, expected: TrainingSet) -> None:
    """Rows, labels, counts, times and texts exactly; sums of fractions but for the last digit."""
    pd.testing.assert_frame_equal(found.rows, expected.rows)
    alike(found.columns, expected.columns)


def dishonest(history: History, chance: random.Random) -> History:
    """The same history as an earlier delivery told it, at odds with what it says now."""
    tables = {name: getattr(history, name) for name in ("leads", *FACTS)}
    for _ in range(chance.randint(1, 3)):
        name = chance.choice(["leads", "leads", *FACTS])
        edit = chance.choice(_LEAD_EDITS if name == "leads" else _FACT_EDITS)
        tables[name] = edit(tables[name], chance)
    ids = tables["leads"]["lead_id"]
    for name in FACTS:
        there = tables[name]["lead_id"].isin(ids)
        tables[name] = tables[name][there].reset_index(drop=True)
    return History(**tables)


def without_some(frame: pd.DataFrame, chance: random.Random) -> pd.DataFrame:
    """One row, or a few, were not there yet: backfilled since, or for leads created late."""
    gone = chance.sample(range(len(frame)), min(chance.randint(1, 2), len(frame) - 1))
    return frame.drop(index=gone).reset_index(drop=True)


def one_more(frame: pd.DataFrame, chance: random.Random) -> pd.DataFrame:
    """A row was there that has been deleted since."""
    more = frame.iloc[[chance.randrange(len(frame))]].copy()
    for key in ("event_id", "change_id"):
        if key in more:
            more[key] = pd.Series(["deleted"], index=more.index, dtype="str")
    if "outcome" in more:
        return frame
    return pd.concat([frame, more], ignore_index=True)


def edited(*columns: str) -> Callable[[pd.DataFrame, random.Random], pd.DataFrame]:
    """One cell held what another row holds."""

    def edit(frame: pd.DataFrame, chance: random.Random) -> pd.DataFrame:
        frame, present = frame.copy(), [name for name in columns if name in frame]
        if present and len(frame):
            at = [chance.randrange(len(frame)), chance.randrange(len(frame))]
            column = frame.columns.get_loc(chance.choice(present))
            frame.iloc[at[0], column] = frame.iloc[at[1], column]
        return frame

    return edit


def shuffled(frame: pd.DataFrame, chance: random.Random) -> pd.DataFrame:
    """The rows came in another order."""
    return frame.sample(frac=1, random_state=chance.randrange(2**31)).reset_index(drop=True)


_FACT_EDITS = [
    without_some, one_more, shuffled,
    edited("kind", "value", "channel", "page", "score", "field", "deal_value", "outcome"),
]  # fmt: skip
_LEAD_EDITS = [without_some, shuffled, edited("industry", "size"), edited("account_id"),
               edited("created_at")]  # fmt: skip


# --- a funnel: what is computed, and the digest --------------------


@pytest.fixture(scope="module")
def history(funnel: Simulation) -> History:
    """A quarter of a year of 500 leads."""
    leads = funnel.history.leads.iloc[-700:].reset_index(drop=True)
    facts = {name: getattr(funnel.history, name) for name in FACTS}
    mine = {name: frame[frame["lead_id"].isin(leads["lead_id"])] for name, frame in facts.items()}
    return History(leads, **{name: frame.reset_index(drop=True) for name, frame in mine.items()})


@pytest.fixture(scope="module")
def cut(history: History) -> int:
    return observed_until(history) - 5 * DAY


@pytest.fixture(scope="module")
def first(
    history: History, cut: int, tmp_path_factory: pytest.TempPathFactory
) -> tuple[StoredSet, Path]:
    """What a directory keeps of the history before the cut."""
    old, there = history.until(cut), tmp_path_factory.mktemp("first")
    return keep(labelled(old, MONTH), EXACT, old, there), there


@pytest.fixture
def kept(first: tuple[StoredSet, Path], tmp_path: Path) -> tuple[StoredSet, Path]:
    """The same, in a directory of the test's own."""
    shutil.copytree(first[1], tmp_path / "kept")
    return first[0], tmp_path / "kept"


def test_five_days_more_compute_the_rows_of_five_days(
    history: History, kept: tuple[StoredSet, Path], cut: int, computed: list[pd.DataFrame]
) -> None:
    data, there = kept
    for day in range(1, 6):
        new = history.until(cut + day * DAY)
        last = int(data.as_of.max())
        data = keep(labelled(new, MONTH), EXACT, new, there)
        assert data.digest == made(new, EXACT, MONTH).digest
        assert set(micros(computed.pop()["as_of"])) == {last + DAY}
    assert not computed


def test_a_backfilled_fact_reaches_its_account_and_no_other(
    history: History, kept: tuple[StoredSet, Path], cut: int, computed: list[pd.DataFrame]
) -> None:
    data, there = kept
    old = history.until(cut)
    accounts = old.leads.groupby("account_id")["lead_id"].transform("size")
    lead = old.leads["lead_id"][(accounts == 2) & old.leads["lead_id"].isin(data.lead_id)].iloc[0]
    account = old.leads.loc[old.leads["lead_id"] == lead, "account_id"].iloc[0]
    late = old.events.iloc[[0]].assign(lead_id=lead, event_id="late")
    late["occurred_at"] = late["known_at"] = from_micros([int(data.as_of.min()) + 1]).to_numpy()
    late = late.astype(old.events.dtypes.to_dict())
    new = replace(old, events=pd.concat([old.events, late], ignore_index=True))
    found = keep(labelled(new, MONTH), EXACT, new, there)
    assert found.digest == made(new, EXACT, MONTH).digest
    reached = set(old.leads["lead_id"][old.leads["account_id"] == account])
    assert set(pd.concat(computed)["lead_id"]) == reached & set(data.lead_id)


def test_a_backfilled_outcome_takes_rows_and_changes_labels(
    history: History, kept: tuple[StoredSet, Path], cut: int
) -> None:
    data, there = kept
    old = history.until(cut)
    open_leads = set(data.lead_id) - set(old.outcomes["lead_id"])
    lead = sorted(open_leads)[0]
    mine = data.as_of[data.lead_id == lead]
    late = old.outcomes.iloc[[0]].assign(lead_id=lead, outcome="won", deal_value=7.0)
    late["occurred_at"] = from_micros([int(mine[len(mine) // 2]) + 1]).to_numpy()
    late["known_at"] = late["occurred_at"]
    late = late.astype(old.outcomes.dtypes.to_dict())
    new = replace(old, outcomes=pd.concat([old.outcomes, late], ignore_index=True))
    found = keep(labelled(new, MONTH), EXACT, new, there)
    assert found.digest == made(new, EXACT, MONTH).digest
    assert (found.lead_id == lead).sum() < (data.lead_id == lead).sum()
    assert found.converted[found.lead_id == lead].any()


def test_nothing_new_computes_nothing(
    history: History, kept: tuple[StoredSet, Path], cut: int, computed: list[pd.DataFrame]
) -> None:
    data, there = kept
    signed = kept_signature(there, EXACT)
    found = keep(data.rows, EXACT, history.until(cut), there)
    assert not computed
    assert found.digest == data.digest
    pd.testing.assert_frame_equal(kept_signature(there, EXACT).leads, signed.leads)


def test_weeks_before_the_last_share_their_files(
    history: History, kept: tuple[StoredSet, Path], cut: int
) -> None:
    data, there = kept
    new = history.until(cut + DAY)
    found = keep(labelled(new, MONTH), EXACT, new, there)
    assert found.listed.parts[: len(data.listed.parts) - 1] == data.listed.parts[:-1]
    assert len(data.listed.parts) > 5


def test_other_features_make_a_set_of_their_own(
    history: History, kept: tuple[StoredSet, Path], cut: int
) -> None:
    data, there = kept
    fewer = FeatureSet(EXACT.features[1:])
    with pytest.raises(ValueError, match="build the set again"):
        StoredSet.open(data.path, fewer)
    found = keep(data.rows, fewer, history.until(cut), there)
    assert found.digest == made(history.until(cut), fewer, MONTH).digest


def test_a_set_whose_files_are_gone_is_built_again(
    history: History, kept: tuple[StoredSet, Path], cut: int, computed: list[pd.DataFrame],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    data, there = kept
    monkeypatch.setattr(parts, "PART_ROWS", 1_000)
    next((there / "parts").iterdir()).unlink()
    again = keep(data.rows, EXACT, history.until(cut), there)
    assert not computed  # nothing to extend: the set is built
    assert again.digest == made(history.until(cut), EXACT, MONTH).digest


def test_training_twice_into_one_directory_reuses_the_first_set(
    funnel: Simulation, source: Source, tmp_path: Path, computed: list[pd.DataFrame]
) -> None:
    old = funnel.history.until(observed_until(funnel.history) - 2 * DAY)
    features = FeatureSet(catalog.default(old).features[:12])
    for history in (old, funnel.history):
        planned = plan(history, source, features)
        kept = training_set(history, source, planned, directory=tmp_path)
        whole = training_set(history, source, planned)
        pd.testing.assert_frame_equal(kept.rows, whole.rows)
        alike(kept.columns, whole.columns)
    share = sum(map(len, computed)) / len(planned.rows)
    assert share < 0.05


def test_weeks_in_which_no_lead_has_an_account_are_kept_too(tmp_path: Path) -> None:
    made = simulate(leads=60, days=120, seed=3).history
    leads = made.leads.assign(
        account_id=made.leads["account_id"].mask(made.leads["created_at"].rank() < 40)
    )
    history = History(leads, made.events, made.changes, made.outcomes)
    rows = labelled(history, MONTH)
    assert rows["account_id"].isna().groupby(rows["as_of"]).all().any()
    assert rows["account_id"].notna().any()
    features = FeatureSet([say.attribute("source", "text")])
    kept, whole = keep(rows, features, history, tmp_path), build(rows, features, history)
    assert kept.digest == whole.digest
    again = StoredSet.open(kept.path, features)
    assert (again.group == whole.group).all()
    assert (again.known_at == whole.known_at).all()
