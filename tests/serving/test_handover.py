"""Whom to hand over: the best first, and nobody for whom there is no room."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.outcomes import observed_until
from features.schema import History
from features.times import DAY, now
from serving import handover, privacy, worklist
from serving.client import Leadcast
from serving.current import Refresher
from serving.decide import Owners, Policy, Territories, Territory
from serving.handover import Handover, hand_over
from serving.listing import score_table
from serving.rehearsal import rehearse
from serving.rooms import Rooms, fitted
from serving.scorer import Scorer
from serving.store import Store
from training.bundle import Bundle

COUNTRIES, OWNERS = ["DE", "AT", "SE", "FR"], ["ann", "bob", None]
LEADS = st.lists(st.fixed_dictionaries({
    "country": st.sampled_from(COUNTRIES), "owner": st.sampled_from(OWNERS)}), max_size=30,
)  # fmt: skip
COUNTS = st.integers(0, 6)
POLICIES = st.builds(
    Policy,
    capacity=st.none() | st.integers(0, 20),
    territories=st.none() | st.builds(lambda dach, north: Territories("country", {
        "dach": Territory(["DE", "AT"], dach), "north": Territory(["SE"], north)}),
        st.none() | COUNTS, COUNTS),
    owners=st.none() | st.builds(lambda each, bob: Owners("owner", each, {"bob": bob}),
                                 COUNTS, COUNTS),
)  # fmt: skip


@given(POLICIES, LEADS, LEADS)
def test_no_room_is_overfull_and_nobody_is_kept_without_a_reason(
    policy: Policy, before: list[dict[str, Any]], leads: list[dict[str, Any]]
) -> None:
    rooms = Rooms(policy)
    for lead in before:
        rooms.fill(lead)
    why = [rooms.take(lead) for lead in leads]
    told = {(room.kind, room.name): room for room in rooms.told()}
    for room in told.values():
        assert room.capacity is None or room.handed <= max(0, room.capacity - room.before)
    assert told["all", "all"].handed == why.count(None)
    assert told["all", "all"].before == len(before)
    for lead, kept in zip(leads, why, strict=True):
        territory = {"DE": "dach", "AT": "dach", "SE": "north"}.get(lead["country"])
        match kept:
            case None:
                assert policy.territories is None or territory
            case "no_territory":
                assert policy.territories
                assert territory is None
            case _:
                full = {"all_full": ("all", "all"), "territory_full": ("territory", territory),
                        "owner_full": ("owner", lead["owner"])}[kept]  # fmt: skip
                room = told[full]  # it was full then, so it is now
                assert room.capacity is not None
                assert room.before + room.handed >= room.capacity


def test_owners_have_their_own_numbers_and_an_unowned_lead_costs_none() -> None:
    rooms = Rooms(Policy(owners=Owners("owner", 2, {"bob": 1})))
    asked = ["ann", "bob", "bob", "ann", "ann", None, None, ""]
    assert [rooms.take({"owner": one}) for one in asked] == [
        None, None, "owner_full", None, "owner_full", None, None, None
    ]  # fmt: skip


def test_consent_is_asked_for_as_the_policy_says() -> None:
    usual, strict = Rooms(Policy()), Rooms(Policy(consent="if_given"))
    assert [usual.take({}, word) for word in (True, None, False)] == [None, None, "no_consent"]
    assert [strict.take({}, word) for word in (True, None, False)] == [
        None, "no_consent", "no_consent"
    ]  # fmt: skip


def test_a_policy_of_a_file_and_a_value_in_two_territories(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    text = (
        'consent = "if_given"\ncapacity = 80\n[territories]\nattribute = "country"\n'
        '[territories.named.dach]\nvalues = ["DE", "AT"]\ncapacity = 30\n'
        '[owners]\nattribute = "owner"\ncapacity = 20\nof = { ann = 10 }\n'
    )
    path.write_text(text)
    assert Policy.read(path) == Policy(
        consent="if_given", capacity=80, owners=Owners("owner", 20, {"ann": 10}),
        territories=Territories("country", {"dach": Territory(["DE", "AT"], 30)}),
    )  # fmt: skip
    for bad, said in [
        (f'{text}[territories.named.south]\nvalues = ["AT"]\n', "'AT' is in two territories"),
        (text.replace("capacity = 30", "capacity = -1"), "named.*capacity"),
        (text.replace("if_given", "always"), "consent"),
        (text.replace('["DE", "AT"]', "[]"), "values"),
    ]:
        path.write_text(bad)
        with pytest.raises(ValueError, match=said):
            Policy.read(path)


@pytest.fixture
def store(newest: History, new_place: str) -> Iterator[Store]:
    made = Store(new_place)
    made.load(newest)
    yield made
    made.close()


@pytest.fixture
def scored(store: Store, loaded: Bundle, refreshing: Callable[..., Refresher]) -> Refresher:
    """All open leads are routed to sales."""
    return refreshing(store, Scorer(loaded, Policy(sales=1.0, leave=0.0)))


def told(store: Store, policy: Policy, limit: int = 1_000) -> Handover:
    found = hand_over(store, policy, handover.AtMost(limit=limit))
    return msgspec.json.decode(found, type=Handover)


def ranked(store: Store) -> list[worklist.Entry]:
    asked = worklist.Wanted(limit=1_000)
    return msgspec.json.decode(worklist.work_list(store, asked), type=worklist.WorkList).entries


@pytest.mark.usefixtures("scored")
def test_everybody_is_handed_over_where_nothing_limits(store: Store) -> None:
    found, every = told(store, Policy()), ranked(store)
    assert [one.entry for one in found.handed] == every
    assert found.complete
    assert found.wins.mean == pytest.approx(sum(one.probability for one in every))
    first = told(store, Policy(), limit=5)
    assert [one.entry for one in first.handed] == every[:5]
    assert not first.complete


@pytest.mark.usefixtures("scored")
def test_the_best_of_each_territory_come_and_the_rest_is_counted(
    store: Store, history: History
) -> None:
    country = history.leads.set_index("lead_id")["country"]
    [home, *_] = Counter(country[one.lead_id] for one in ranked(store)).most_common(1)[0]
    policy = Policy(territories=Territories("country", {"home": Territory([home], 3)}))
    found = told(store, policy)
    mine = [one for one in ranked(store) if country[one.lead_id] == home]
    assert [one.entry for one in found.handed] == mine[:3]
    assert {one.territory for one in found.handed} == {"home"}
    assert found.left.territory_full == len(mine) - 3
    assert found.left.no_territory == len(ranked(store)) - len(mine)


@pytest.mark.usefixtures("scored")
def test_who_is_handed_over_fills_the_room_until_the_end_is_known(store: Store) -> None:
    policy, every = Policy(capacity=2), ranked(store)
    first = told(store, policy)
    assert [one.entry for one in first.handed] == every[:2]
    for number, one in enumerate(first.handed):
        made = worklist.NewDecision(f"d{number}", "sales", "handed over")
        worklist.decide(store, one.entry.lead_id, made)
    again = told(store, policy)
    assert not again.handed
    assert (again.left.decided, again.left.all_full) == (2, len(every) - 2)
    assert [(one.before, one.handed) for one in again.rooms] == [(2, 0)]
    ended = {"lead_id": every[0].lead_id, "outcome": "lost", "occurred_at": now()}
    store.put(outcomes=[ended])
    [next_one] = told(store, policy).handed
    assert next_one.entry.lead_id == every[2].lead_id


@pytest.mark.usefixtures("scored")
def test_a_person_who_decided_otherwise_is_heard(store: Store) -> None:
    first, second, *_ = ranked(store)
    worklist.decide(store, first.lead_id, worklist.NewDecision("d", "nurture", "not yet"))
    found = told(store, Policy(capacity=1))
    assert [one.entry.lead_id for one in found.handed] == [second.lead_id]
    assert found.left.decided == 1


@pytest.mark.usefixtures("scored")
def test_a_change_of_owner_counts_and_so_does_its_end(store: Store) -> None:
    first, second, third, *_ = ranked(store)
    at = now()

    def changes(number: int, **owners: str | None) -> None:
        store.put(changes=[
            {"lead_id": lead, "change_id": f"o{number}", "field": "owner", "value": owner,
             "known_at": at + number}
            for lead, owner in owners.items()
        ])  # fmt: skip

    policy = Policy(owners=Owners("owner", 1))
    changes(0, **{first.lead_id: "ann", second.lead_id: "ann", third.lead_id: "bob"})
    found = {one.entry.lead_id: one.owner for one in told(store, policy).handed}
    assert found[first.lead_id] == "ann"
    assert found[third.lead_id] == "bob"
    assert second.lead_id not in found
    changes(1, **{second.lead_id: None})
    found = {one.entry.lead_id: one.owner for one in told(store, policy).handed}
    assert found[second.lead_id] is None


@pytest.mark.usefixtures("scored")
def test_the_last_word_on_being_contacted_counts(store: Store) -> None:
    first, second, *_ = [one.lead_id for one in ranked(store)]
    for number, (lead, given_) in enumerate([(first, True), (first, False), (second, True)]):
        word = privacy.Consent(given=given_, purpose="contact", at=now() + number)
        privacy.consented(store, lead, word)
    open_to_all, strict = told(store, Policy()), told(store, Policy(consent="if_given"))
    assert open_to_all.left.no_consent == 1
    assert first not in {one.entry.lead_id for one in open_to_all.handed}
    assert [one.entry.lead_id for one in strict.handed] == [second]
    assert len(ranked(store)) == len(open_to_all.handed) + 1, "it is scored nevertheless"


def test_a_list_of_a_history_has_as_many_as_there_is_room_for(
    loaded: Bundle, history: History
) -> None:
    as_of = observed_until(history) - 30 * DAY
    usual = score_table(loaded, history, as_of, 0)
    policy = Policy(capacity=5)
    limited = score_table(loaded, history, as_of, 0, policy=policy)
    sales = usual["lead_id"][usual["route"] == "sales"]
    assert limited["lead_id"][limited["route"] == "sales"].tolist() == sales.tolist()[:5]
    assert set(limited["route"][limited["lead_id"].isin(sales[5:])]) == {"nurture"}
    assert rehearse(loaded, history, 30 * DAY, policy).proposed.leads == 5


def test_an_attribute_that_no_lead_has_is_named(history: History) -> None:
    ranked = pd.DataFrame({"lead_id": history.leads["lead_id"], "route": "sales"})
    policy = Policy(owners=Owners("own", 1))
    with pytest.raises(ValueError, match="'own'"):
        fitted(ranked, history, observed_until(history), policy)


def test_the_service_tells_whom_to_hand_over(service: httpx.Client) -> None:
    with Leadcast(str(service.base_url)) as ours:
        found = ours.hand_over(limit=3)
    assert len(found.handed) <= 3
    assert [room.kind for room in found.rooms] == ["all"]
    assert service.get("/v1/handover", params={"limit": 0}).status_code == 422
