"""Each guard objects where it alone stands between an act and harm: without it the act is done, and the harm is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from flotilla.recovery import acts, goals, guards
from flotilla.recovery.acts import Act
from flotilla.recovery.aim import Aim
from flotilla.recovery.planning import plan_for
from flotilla.recovery.standing import State, standing
from flotilla.recovery.steps import Plan
from tests.flotilla.recovery.modelled import SITES, SIZE, Fleet, P, R, S, fleet
from tests.flotilla.recovery.walked import LAYOUT, failover, nothing_lost, one_primary, traffic_is_safe

RUN, EPOCH = "run-1", 2


class Case(NamedTuple):
    """A fleet in which only one guard objects to an act, and what the act then does, as "" or a sentence."""

    fleet: Fleet
    act: Act
    harm: Callable[[Fleet, bool], str]
    waived: frozenset[str] = frozenset()


def begun(*, sync: bool = True) -> Fleet:
    made = fleet()
    if not sync:
        made.nodes[P].sync = ()
    for site in SITES:
        made.act(acts.Begin(site), EPOCH, RUN)
    return made


def promoted(*, sync: bool = True) -> Fleet:
    """Same-city is the primary, production is stopped without standby.signal and has its own end."""
    made = begun(sync=sync)
    for act in (acts.Detach(S), acts.Detach(R)):
        made.act(act, EPOCH, RUN)
    made.die(P)
    made.nodes[P].alive, made.nodes[P].autostart = True, False
    made.act(acts.Promote(S), EPOCH, RUN)
    made.act(acts.CreateSlots(S, (P, R)), EPOCH, RUN)
    made.clients()
    return made


def plan() -> Plan:
    made = plan_for(failover(), fleet().world(), LAYOUT)
    assert isinstance(made, Plan)
    return made


def invariants(made: Fleet, done: bool) -> str:
    made.clients()
    found = (check(made, plan()) for check in (one_primary, nothing_lost, traffic_is_safe))
    return next((why for why in found if why), "")


def not_done(made: Fleet, done: bool) -> str:
    return "" if done else "it was sent to somebody who could not, or would not, do it"


def when(holds: Callable[[Fleet], bool], told: str) -> Callable[[Fleet, bool], str]:
    return lambda made, done: told if holds(made) else ""


def agent_answers() -> Case:
    made = begun()
    made.dark |= {S}
    made.nodes[S].read_only = True
    return Case(made, acts.Fence(S), not_done, frozenset({"epoch-accepted"}))


def epoch_accepted() -> Case:
    made = fleet()
    made.act(acts.Begin(S), EPOCH, RUN)
    for site in (P, R):
        made.act(acts.Begin(site), EPOCH, "another")
    two = when(lambda made: made.nodes[S].upstream == "", "two runs of one epoch act")
    return Case(made, acts.Detach(S), two)


def lease_free() -> Case:
    made = begun()
    made.leases[S].holder, made.leases[S].epoch = "another", 1
    return Case(made, acts.TakeLease(S), not_done)


def lease_held() -> Case:
    return Case(begun(), acts.Publish(S, P, (P, S), ()), not_done)


def no_majority() -> Case:
    def harm(made: Fleet, done: bool) -> str:
        made.nodes[P].sync = ()
        made.act(acts.Promote(R), EPOCH, RUN)
        return invariants(made, done)

    return Case(fleet(), acts.BreakGlass(R, ("token of ann", "token of bob")), harm)


def target_able() -> Case:
    made = begun()
    made.act(acts.Detach(S), EPOCH, RUN)
    drained = when(lambda made: made.nodes[P].read_only and not made.streams(S), "an outage, and nobody to take over")
    return Case(made, acts.Drain(P, target=S), drained)


def replay_runs() -> Case:
    made = begun()
    made.nodes[S].paused = True
    drained = when(lambda made: made.nodes[P].read_only and made.nodes[S].paused, "an outage, and replay is paused")
    return Case(made, acts.Drain(P, target=S), drained)


def receiver_connected() -> Case:
    made = begun()
    made.act(acts.Fence(P), EPOCH, RUN)
    made.nodes[S].upstream = ""
    left = when(lambda made: made.nodes[P].wal != made.nodes[S].wal, "WAL was left behind in the one that is stopped")
    return Case(made, acts.Stop(P, caught_up=S), left)


def rivals() -> Fleet:
    """Both were promoted from one point, so their timelines have one number, and they have written as much."""
    made = begun()
    for site, epoch in ((P, 3), (R, 2)):
        made.nodes[site].wal = ("b1", "b2", f"T{epoch}:{site}", f"w{epoch}")
    made.act(acts.Fence(P), EPOCH, RUN)
    return made


def one_history() -> Case:
    lost = when(lambda made: not made.nodes[P].running and made.nodes[R].wal[3] != "w3", "it is stopped for one that lacks w3")
    return Case(rivals(), acts.Stop(P, caught_up=R), lost)


def standby_signal() -> Case:
    return Case(promoted(sync=False), acts.Start(P), invariants)


def nobody_promoted() -> Case:
    return Case(promoted(sync=False), acts.Start(P, "primary"), invariants)


def hangs(site: str) -> Callable[[Fleet, bool], str]:
    def harm(made: Fleet, done: bool) -> str:
        made.act(acts.Promote(site), EPOCH, RUN)
        return "" if made.has_word(made.nodes[site]) else f"commits hang at {site}"

    return harm


def not_itself() -> Case:
    return Case(begun(), acts.SetSync(S, (S,)), hangs(S))


def waits_for_present() -> Case:
    made = begun()
    made.act(acts.Detach(R), EPOCH, RUN)
    for lease in made.leases.values():
        lease.promotable = ()
    return Case(made, acts.SetSync(P, (R,)), hangs(P))


def shrunk_first() -> Case:
    made = begun()
    made.act(acts.Detach(S), EPOCH, RUN)

    def harm(made: Fleet, done: bool) -> str:
        made.write(P)
        made.pump()
        if S not in made.leases[S].promotable:
            return ""
        made.die(P)
        made.act(acts.Promote(S), EPOCH, RUN)
        return invariants(made, done)

    return Case(made, acts.SetSync(P, ()), harm)


def grown_last() -> Case:
    made = begun()
    made.lagging |= {R}
    for site in SITES:
        made.act(acts.TakeLease(site), EPOCH, RUN)

    def harm(made: Fleet, done: bool) -> str:
        if made.leases[S].promotable != (R,):
            return ""
        made.write(P)
        made.pump()
        made.die(P)
        made.act(acts.Promote(R), EPOCH, RUN)
        return invariants(made, done)

    return Case(made, acts.Publish(S, P, (P, S), (R,)), harm)


def primary_seen() -> Case:
    made = begun()
    for site in SITES:
        made.act(acts.TakeLease(site), EPOCH, RUN)
    wrong = when(lambda made: made.nodes[made.leases[S].primary].signal, "a standby is published as primary")
    return Case(made, acts.Publish(S, S, (P, S), ()), wrong)


def lags_for_ever(site: str) -> Callable[[Fleet, bool], str]:
    return when(lambda made: not made.streams(site), f"{site} follows nobody, whatever it is called")


def upstream_slot() -> Case:
    return Case(begun(), acts.Follow(R, S), lags_for_ever(R))


def keeps_synchronous() -> Case:
    made = begun()
    made.act(acts.CreateSlots(R, (S,)), EPOCH, RUN)
    return Case(made, acts.Follow(S, R), when(lambda made: not made.has_word(made.nodes[P]), "commits hang at production"))


def not_ahead() -> Case:
    made = begun()
    for site in (S, R):
        made.act(acts.Detach(site), EPOCH, RUN)
    made.nodes[R].wal = (*made.nodes[R].wal, "x1")  # sent to remote, and to nobody else, before production died
    made.die(P)
    made.act(acts.Promote(S), EPOCH, RUN)
    made.act(acts.CreateSlots(S, (P, R)), EPOCH, RUN)
    made.clients()
    return Case(made, acts.Follow(R, S), lags_for_ever(R))


def rewind_from_checkpoint() -> Case:
    return Case(promoted(), acts.Rewind(P, S), when(lambda made: made.nodes[P].broken, "it can never start again"))


def rewound_while_stopped() -> Case:
    made = promoted()
    made.act(acts.Checkpoint(S), EPOCH, RUN)
    return Case(made, acts.Reseed(R, S), when(lambda made: "running" in made.told, "files were changed under a server"))


def slots_unused() -> Case:
    return Case(begun(), acts.DropSlots(P, (S,)), lags_for_ever(S))


def origin_fenced() -> Case:
    made = begun(sync=False)
    for lease in made.leases.values():
        lease.promotable = ()
    made.act(acts.Detach(S), EPOCH, RUN)
    return Case(made, acts.Promote(S, P, clean=False, at_most=None), invariants)


def no_late_wal() -> Case:
    made = begun()
    before = made.nodes[S].wal

    def harm(made: Fleet, done: bool) -> str:
        return "" if not done or before == made.nodes[S].wal[: len(before)] == made.nodes[S].wal[:-1] else "more came in"

    made.lagging |= {S}  # it was compared, and more is on its way
    made.write(P)
    made.lagging -= {S}
    made.pump()
    return Case(made, acts.Promote(S, P, clean=False), harm, frozenset({"origin-fenced"}))


def not_read_only() -> Case:
    made = begun()
    made.act(acts.Stop(P), EPOCH, RUN)
    made.nodes[S].read_only = True
    closed = when(lambda made: made.nodes[S].primary and made.nodes[S].read_only, "a primary that takes no writes")
    return Case(made, acts.Promote(S, P), closed)


def lets_clients_in() -> Case:
    made = begun()
    made.act(acts.Stop(P), EPOCH, RUN)
    made.nodes[S].fenced = True
    closed = when(lambda made: made.nodes[S].primary and not made.serves(made.nodes[S]), "a primary that lets nobody in")
    return Case(made, acts.Promote(S, P), closed)


def loss_as_stated() -> Case:
    made = begun()
    made.act(acts.Detach(R), EPOCH, RUN)
    for _ in range(3):
        made.clients()
        made.write(P)
        made.clients()
        made.nodes[P].wal = (*made.nodes[P].wal, "h")
    made.clients()
    made.act(acts.Stop(P), EPOCH, RUN)

    def harm(made: Fleet, done: bool) -> str:
        missing = len(made.acked - set(made.nodes[R].wal))
        return f"{missing} lost, 1 was agreed to" if made.nodes[R].primary and missing > 1 else ""

    return Case(made, acts.Promote(R, P, clean=False, at_most=SIZE), harm)


def remote_only_as_primary() -> Case:
    return Case(begun(), acts.SetTraffic(P, R, (R,)), invariants)


def test_traffic_is_led_to_one_city_and_never_behind_a_later_recovery():
    made = begun()
    two = acts.SetTraffic(R, P, (P, R), cities=("hangzhou", "beijing"))
    told = dict(guards.objections(two, made.world(), Aim(RUN, EPOCH)))["remote-only-as-primary"]
    assert told == "production in hangzhou, remote in beijing would be authorised together; one city serves at a time"

    made.dns[R] = (EPOCH + 1, S, (P, S))
    city = acts.SetTraffic(R, P, (P, S), cities=("hangzhou", "hangzhou"))
    told = dict(guards.objections(city, made.world(), Aim(RUN, EPOCH)))["remote-only-as-primary"]
    assert told.startswith(f"epoch {EPOCH + 1} is there")


CASES: dict[str, Callable[[], Case]] = {
    "agent-answers": agent_answers,
    "epoch-accepted": epoch_accepted,
    "lease-free": lease_free,
    "lease-held": lease_held,
    "no-majority": no_majority,
    "target-able": target_able,
    "replay-runs": replay_runs,
    "receiver-connected": receiver_connected,
    "one-history": one_history,
    "standby-signal": standby_signal,
    "nobody-promoted": nobody_promoted,
    "not-itself": not_itself,
    "waits-for-nobody-absent": waits_for_present,
    "shrunk-first": shrunk_first,
    "grown-last": grown_last,
    "primary-seen": primary_seen,
    "upstream-slot": upstream_slot,
    "keeps-synchronous": keeps_synchronous,
    "not-ahead": not_ahead,
    "rewind-from-checkpoint": rewind_from_checkpoint,
    "rewound-while-stopped": rewound_while_stopped,
    "slots-unused": slots_unused,
    "origin-fenced": origin_fenced,
    "no-late-wal": no_late_wal,
    "not-read-only": not_read_only,
    "lets-clients-in": lets_clients_in,
    "loss-as-stated": loss_as_stated,
    "remote-only-as-primary": remote_only_as_primary,
}


def test_every_guard_has_a_case():
    assert set(guards.GUARDS) == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_a_guard_alone_stands_between_an_act_and_harm(name: str, monkeypatch: pytest.MonkeyPatch):
    case = CASES[name]()
    aim = Aim(RUN, EPOCH, waived=case.waived, glass=isinstance(case.act, acts.BreakGlass))
    with_it = standing(case.act, case.fleet.world(), aim)
    objecting = [one for one, _ in guards.objections(case.act, case.fleet.world(), aim)]

    assert (with_it.state, objecting) == (State.NOT_YET, [name])

    monkeypatch.delitem(guards.GUARDS, name)
    without = standing(case.act, case.fleet.world(), aim)

    assert without.state is State.READY

    done, _ = case.fleet.act(without.act, EPOCH, RUN)

    assert case.harm(case.fleet, done)


@pytest.mark.parametrize(
    "by_hand",
    [lambda made: setattr(made.nodes[P], "sync", ()), lambda made: setattr(made, "weakened", True)],
    ids=["synchronous_standby_names", "synchronous_commit"],
)
def test_a_loss_of_nothing_that_was_proved_is_proved_no_more_once_the_primary_waits_for_nobody(
    by_hand: Callable[[Fleet], None],
):
    made, promote = begun(), acts.Promote(S, P, clean=False, at_most=0)
    assert "loss-as-stated" not in dict(guards.objections(promote, made.world(), Aim(RUN, EPOCH)))
    by_hand(made)
    made.clients()
    made.die(P)
    objected = dict(guards.objections(promote, made.world(), Aim(RUN, EPOCH)))

    assert "as it was seen 0.0 s ago" in objected["loss-as-stated"]
    assert "as it was seen 0.0 s ago" in standing(goals.MostAdvanced(S, P), made.world(), Aim(RUN, EPOCH)).told
