"""What a keeper does next: the agenda, patience, repeats, and the cap that a person decides over."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flotilla.keeping import Agenda, Patience, Repeats, Warden, leads, links_of
from flotilla.services.cap import Cause, Withdrawal
from flotilla.services.health import Link
from flotilla.services.names import ServiceKey

A, B, C = (ServiceKey("shop", name) for name in "abc")
KEYS = [ServiceKey("shop", f"s{number}") for number in range(40)]


def withdrawal(key: ServiceKey, source: str = "c1", consumer: str = "c2", cause: Cause = Cause.UNEXPORTED) -> Withdrawal:
    return Withdrawal(key, Link(consumer, source), cause, f"{source} no longer exports {key}")


def taken(agenda: Agenda, now: float) -> list[ServiceKey]:
    found = []
    while item := agenda.take(now):
        found.append(item[0])
    return found


def test_a_service_that_is_marked_often_is_decided_once_and_waits_since_the_first_mark():
    agenda = Agenda()
    for at in (1.0, 2.0, 3.0):
        agenda.mark([A], at)

    assert agenda.take(3.0) == (A, 1.0, True)
    assert agenda.take(3.0) is None


def test_urgent_services_come_before_the_bulk():
    agenda = Agenda()
    agenda.mark([A, B], 1.0, bulk=True)
    agenda.mark([C], 2.0)

    assert taken(agenda, 3.0) == [C, A, B]


def test_an_event_makes_a_service_of_the_bulk_urgent_and_keeps_since_when_it_waits():
    agenda = Agenda()
    agenda.mark([A, B], 1.0, bulk=True)
    agenda.mark([B], 2.0)

    assert agenda.take(3.0) == (B, 1.0, True)
    assert agenda.take(3.0) == (A, 1.0, False)


def test_the_bulk_does_not_slow_what_is_urgent_already():
    agenda = Agenda()
    agenda.mark([A], 1.0)
    agenda.mark([A], 2.0, bulk=True)

    assert agenda.take(3.0) == (A, 1.0, True)
    assert len(agenda) == 0


def test_a_service_due_later_is_decided_then_and_the_wait_is_known():
    agenda = Agenda()
    agenda.later(A, 5.0)

    assert agenda.take(4.0) is None
    assert agenda.wait(4.0) == 1.0
    assert agenda.take(5.0) == (A, 5.0, True)
    assert agenda.wait(6.0) is None


def test_the_earliest_time_counts():
    agenda = Agenda()
    agenda.later(A, 5.0)
    agenda.later(A, 3.0)
    agenda.later(A, 9.0)

    assert agenda.wait(0.0) == 3.0
    assert taken(agenda, 10.0) == [A]


@given(st.lists(st.tuples(st.sampled_from(["mark", "bulk", "later", "take"]), st.sampled_from(KEYS[:5])), max_size=60))
def test_nothing_that_was_marked_is_forgotten(steps):
    agenda, owed = Agenda(), set()
    for at, (verb, key) in enumerate(steps):
        if verb == "take":
            item = agenda.take(at)
            if item:
                owed.discard(item[0])
            continue
        owed.add(key)
        if verb == "later":
            agenda.later(key, at + 1)
        else:
            agenda.mark([key], at, bulk=verb == "bulk")

    assert owed <= set(taken(agenda, 1000.0))


def test_pauses_grow_up_to_a_limit_and_end_with_a_success():
    patience = Patience(first=1.0, longest=5.0)

    assert [patience.failed(A, 0.0) for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert patience.until(A) == 5.0
    assert patience.until(B) == 0.0
    patience.succeeded(A)
    assert patience.until(A) == 0.0
    assert patience.failed(A, 0.0) == 1.0


def test_what_is_written_alike_again_and_again_is_noticed():
    repeats = Repeats(most=3)

    assert [repeats.wrote("slice", "x") for _ in range(4)] == [False, False, False, True]


def test_an_endpoint_that_comes_and_goes_is_no_repetition():
    repeats = Repeats(most=3)

    assert not any(repeats.wrote("slice", text) for text in "xyxyxyxyxyxy")


def test_few_withdrawals_go_ahead():
    warden = Warden(cap=2)
    asked = {A: [withdrawal(A)], B: [withdrawal(B)]}

    assert warden.ration(asked, 0.0).held == ()
    assert warden.held == {}


def test_a_mass_withdrawal_waits_as_a_whole():
    warden = Warden(cap=2)
    asked = {key: [withdrawal(key)] for key in KEYS}

    rationed = warden.ration(asked, 0.0)

    assert rationed.allowed == ()
    assert len(rationed.held) == len(KEYS)
    assert links_of(rationed.held, KEYS[0]) == {Link("c2", "c1")}


def test_withdrawals_of_several_passes_within_the_window_add_up():
    warden = Warden(cap=2, window=60.0)

    assert [warden.ration({key: [withdrawal(key)]}, at).held == () for at, key in enumerate(KEYS[:4])] == [
        True,
        True,
        False,
        False,
    ]


def test_after_the_window_withdrawals_go_ahead_again():
    warden = Warden(cap=1, window=60.0)
    warden.ration({A: [withdrawal(A)]}, 0.0)

    assert warden.ration({B: [withdrawal(B)]}, 61.0).held == ()


def test_what_waits_does_not_seep_through_when_the_window_has_passed():
    warden = Warden(cap=2, window=60.0)
    asked = {key: [withdrawal(key)] for key in KEYS}
    warden.ration(asked, 0.0)

    later = [warden.ration({key: [withdrawal(key)]}, 1000.0) for key in KEYS]

    assert [one.allowed for one in later] == [()] * len(KEYS)


def test_as_long_as_a_mass_withdrawal_waits_others_wait_too():
    warden = Warden(cap=2)
    warden.ration({key: [withdrawal(key)] for key in KEYS}, 0.0)

    assert len(warden.ration({A: [withdrawal(A)]}, 1000.0).held) == 1


def test_what_is_no_longer_asked_for_no_longer_waits():
    warden = Warden(cap=2)
    asked = {key: [withdrawal(key)] for key in KEYS}
    warden.ration(asked, 0.0)

    warden.ration({key: [] for key in KEYS}, 1.0)

    assert warden.held == {}
    assert warden.ration({A: [withdrawal(A)]}, 2.0).held == ()


def test_what_a_person_agreed_to_goes_ahead():
    warden = Warden(cap=2)
    asked = {key: [withdrawal(key)] for key in KEYS}
    warden.ration(asked, 0.0)
    warden.approved = frozenset((key, "c1") for key in KEYS[:30])

    rationed = warden.ration(asked, 1.0)

    assert {one.key for one in rationed.allowed} == set(KEYS[:30])
    assert set(warden.held) == {(key, "c1") for key in KEYS[30:]}


def test_an_exporter_counts_once_however_many_consumers_lose_it():
    warden = Warden(cap=1)

    assert warden.ration({A: [withdrawal(A, consumer=name) for name in ("c1", "c2", "c3")]}, 0.0).held == ()


def test_a_consumer_that_gives_up_its_import_is_obeyed_and_not_counted():
    warden = Warden(cap=1)
    asked = {key: [withdrawal(key, cause=Cause.NOT_IMPORTED)] for key in KEYS}

    assert warden.ration(asked, 0.0).held == ()
    assert warden.ration({A: [withdrawal(A)]}, 1.0).held == ()


def test_a_withdrawal_that_is_carried_out_over_several_passes_counts_once():
    warden = Warden(cap=1)

    assert [warden.ration({A: [withdrawal(A)]}, at).held for at in range(5)] == [()] * 5


@given(st.lists(st.lists(st.sampled_from(KEYS), max_size=12), max_size=12), st.integers(0, 6))
def test_within_one_window_never_more_than_the_cap_go_ahead(passes, cap):
    warden, gone = Warden(cap=cap, window=1e9), set()
    for at, keys in enumerate(passes):
        rationed = warden.ration({key: [withdrawal(key)] for key in keys}, float(at))
        gone |= {one.key for one in rationed.allowed}
        assert {one.key for one in (*rationed.allowed, *rationed.held)} == set(keys)

    assert len(gone) <= cap


def test_a_keeper_leads_with_most_leases():
    clusters = ("c1", "c2", "c3")

    assert leads({"c1": 10.0, "c3": 10.0}, clusters, now=5.0)
    assert not leads({"c1": 10.0}, clusters, now=5.0)
    assert not leads({"c1": 10.0, "c3": 4.0}, clusters, now=5.0)


def test_of_two_clusters_the_first_one_decides():
    assert leads({"c1": 10.0}, ("c1", "c2"), now=5.0)
    assert not leads({"c2": 10.0}, ("c1", "c2"), now=5.0)


@given(st.lists(st.sampled_from(["x", "y", ""]), min_size=1, max_size=7))
def test_two_keepers_never_lead_at_once(holders):
    clusters = [f"c{number}" for number, _ in enumerate(holders)]
    held = {one: {name: 10.0 for name, by in zip(clusters, holders, strict=True) if by == one} for one in "xy"}

    assert not (leads(held["x"], clusters, 5.0) and leads(held["y"], clusters, 5.0))
