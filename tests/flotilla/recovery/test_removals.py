"""The model can fail: with what protects the fleet taken away, the same search finds what it protects from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from flotilla.recovery import acts, degrade, goal_proofs, goals, guards, loss, proofs, refusals, rejoining, standing
from flotilla.recovery.facts import DatabaseSeen, World
from flotilla.recovery.layout import Layout
from flotilla.recovery.memory import Choice
from flotilla.recovery.refusals import Asked, Forced
from flotilla.recovery.steps import Kind, Mode, Step
from flotilla.recovery.walking import Do, Stuck
from tests.flotilla.recovery.modelled import Fleet, P, R, S, fleet
from tests.flotilla.recovery.test_interruptions import NOTHING, WHEN, degraded, interrupted, moved_to, points
from tests.flotilla.recovery.walked import Violated, Walk, ended, failover, switchover


def rash(stuck: Stuck) -> Choice:
    """Somebody who goes on whatever is missing, but for what they would have to answer for by name."""
    return Choice.GO_ON if Choice.GO_ON in stuck.choices and not stuck.step.waives else Choice.RETRY


def alone() -> Fleet:
    """A primary that waits for nobody: its two standbys lag or not, and nothing holds it back but a fence."""
    made = degraded()
    made.lagging = frozenset({S})
    made.clients()
    return made


def failed_over_from_one_that_lives() -> None:
    made = alone()
    asked = replace(failover(), forced=Forced("ann", "not re-protected"))
    walk = Walk.begin(made, asked)
    walk.plan = replace(walk.plan, loss_bytes=None)  # what is lost is not the question
    walk.choose = rash
    made.dark |= {P}
    walk.to_the_end(150)


def rebooted_after_failover() -> None:
    made = alone()
    made.lagging = frozenset()
    made.clients()
    made.die(P)
    made.tick()
    walk = Walk.begin(made, replace(failover(), forced=Forced("ann", "not re-protected")))
    walk.choose = lambda stuck: None
    walk.to_the_end(150)
    made.boot(P)
    walk.check()


def stale_actor() -> None:
    made = fleet()
    walk = Walk.begin(made, switchover())
    while not (isinstance(move := walk.think(), Do) and move.step.key == "traffic"):
        walk.make(move)
    walk.restarted().to_the_end()
    home = Walk.begin(made, Asked(Kind.SWITCHOVER, P, run="run-2"))
    home.to_the_end()
    for act in move.acts:
        made.act(act, move.epoch, "run-1")
        home.check()


def remote_was_ahead() -> None:
    made = fleet()
    made.nodes[R].wal = (*made.nodes[R].wal, "x1")
    made.die(P)
    made.tick()
    walk = Walk.begin(made, failover())
    walk.to_the_end()


def switched_over_without_hurry() -> None:
    made = fleet()
    walk = Walk.begin(made, switchover())
    while not (isinstance(move := walk.think(), Do) and move.step.key == "fence"):
        walk.make(move)
    made.nodes[P].sync = ()  # somebody meddles: what is written now waits for nobody
    made.lagging |= {S}
    made.clients()
    made.write(P)
    made.pump()
    walk.make(move)
    walk.to_the_end(150)


def degraded_half_way() -> None:
    for point in points("degrade"):
        for when in WHEN:
            walk = point.walk.copy()
            if when != "before":
                walk.make(point.move, tell=False)
            made = walk.fleet
            made.clients()
            made.boot(S)
            made.lagging = frozenset({S})
            made.write(P)
            made.pump()
            made.die(P)
            for lease in made.leases.values():
                lease.holder = ""
            after = Walk.begin(made, replace(failover(), run="run-9", forced=Forced("ann", "not re-protected")))
            after.to_the_end(150)


def changed_by_hand() -> None:
    made = fleet()
    made.nodes[P].sync = ()  # and the leases still call same-city promotable
    made.lagging = frozenset({S})
    for _ in range(3):
        made.write(P)
        made.clients()
        made.now += 1
    made.die(P)
    made.tick()
    made.now += 20
    walk = Walk.begin(made, replace(failover(), forced=Forced("ann", "not re-protected")))
    walk.choose = rash
    walk.to_the_end(150)


def cut_off_once_it_had_accepted() -> None:
    """Remote, which waits for nobody, accepts the epoch; then only the link between it and whoever decides breaks."""
    made = moved_to(R)
    walk = Walk.begin(made, Asked(Kind.FAILOVER, P, mode=Mode.UNGRACEFUL, run="run-2"))
    walk.choose = rash
    while not (isinstance(move := walk.think(), Do) and move.step.key == "stop"):
        walk.make(move)
    made.dark |= {R}
    walk.make(move)
    walk.to_the_end(150)


def copied_with_its_settings() -> None:
    made = fleet()
    made.nodes[S].sync = (S,)  # pg_basebackup copies what its primary waits for
    walk = Walk.begin(made, switchover())
    if not ended(walk.to_the_end()):
        raise Violated(walk.told("a switchover that nothing disturbs does not end"))


def rejoined() -> None:
    for name in ("reprotect", "failback"):
        for point in points(name)[::3]:
            interrupted(point, "after", NOTHING)


Search = Callable[[], None]
REMOVALS: dict[str, tuple[Search, Callable[[pytest.MonkeyPatch], None]]] = {}


Remove = Callable[[pytest.MonkeyPatch], None]


def removal(name: str, search: Search) -> Callable[[Remove], Remove]:
    def kept(remove: Remove) -> Remove:
        REMOVALS[name] = (search, remove)
        return remove

    return kept


@removal("the proof that the origin acknowledges nothing any more", failed_over_from_one_that_lives)
def _(patch: pytest.MonkeyPatch) -> None:
    patch.delitem(guards.GUARDS, "origin-fenced")
    patch.setitem(proofs.PROOFS, "fenced", lambda act, world, aim: "")


@removal("what the primary itself was seen to wait for, whatever the leases say", changed_by_hand)
def unseen(patch: pytest.MonkeyPatch) -> None:
    for module in (loss, goal_proofs, guards):
        for name in ("not_waiting", "not_seen_to_wait"):
            patch.setattr(module, name, lambda *_: "", raising=False)
    patch.setattr(refusals, "newest_sample", lambda *_: None)


@removal("that time ends nobody who has accepted the epoch", cut_off_once_it_had_accepted)
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(goal_proofs, "_outlives", lambda *_: "")


@removal("the boot rule", rebooted_after_failover)
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Fleet, "boots_by_rule", False)


@removal("the epoch's check at the resource", stale_actor)
def _(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Fleet, "checks_epochs", False)


@removal("the proof of a follower by its progress: a state is enough", remote_was_ahead)
def _(patch: pytest.MonkeyPatch) -> None:
    def by_state(act: goals.Rejoin, world: World, aim: object) -> str:
        seen = world.database(act.site)
        streaming = isinstance(seen, DatabaseSeen) and seen.receives and seen.upstream == act.upstream
        return "" if streaming else "it does not stream"

    patch.setitem(proofs.PROOFS, "rejoin", by_state)
    patch.delitem(guards.GUARDS, "not-ahead")
    patch.setattr(standing, "due", lambda goal, world: acts.Follow(goal.site, goal.upstream))


@removal("the proofs that the target has everything", switched_over_without_hurry)
def _(patch: pytest.MonkeyPatch) -> None:
    for kind in ("caught_up", "stop_proved"):
        patch.setitem(proofs.PROOFS, kind, lambda act, world, aim: "")
    patch.delitem(guards.GUARDS, "receiver-connected")


@removal("the order in which a list is shrunk before a setting is relaxed", degraded_half_way)
def _(patch: pytest.MonkeyPatch) -> None:
    in_order = degrade.steps

    def turned(primary: str, layout: Layout, *, automatic: bool) -> tuple[Step, ...]:
        steps = {step.key: step for step in in_order(primary, layout, automatic=automatic)}
        steps["publish"], steps["sync"] = steps["sync"], steps["publish"]
        return tuple(steps.values())

    patch.setattr(degrade, "steps", turned)
    patch.delitem(guards.GUARDS, "shrunk-first")
    unseen(patch)  # a sample would tell, too


@removal("the checkpoint before a rewind", rejoined)
def _(patch: pytest.MonkeyPatch) -> None:
    patch.delitem(guards.GUARDS, "rewind-from-checkpoint")
    patch.setitem(proofs.PROOFS, "checkpoint", lambda act, world, aim: "")
    due = rejoining.due

    def hurried(goal: acts.Act, world: World) -> acts.Act | str:
        found = due(goal, world)
        return acts.Rewind(goal.site, found.site) if isinstance(found, acts.Checkpoint) else found

    patch.setattr(standing, "due", hurried)


@removal("commits that wait for nobody while there is nobody", copied_with_its_settings)
def _(patch: pytest.MonkeyPatch) -> None:
    for name in ("not-itself", "waits-for-nobody-absent"):
        patch.delitem(guards.GUARDS, name)
    proof = proofs.PROOFS["set_sync"]
    patch.setitem(proofs.PROOFS, "set_sync", lambda act, world, aim: proof(act, world, aim) if act.names else "")


@pytest.mark.parametrize("name", REMOVALS)
def test_without_its_protection_the_fleet_comes_to_harm_and_the_search_sees_it(name: str, monkeypatch: pytest.MonkeyPatch):
    search, remove = REMOVALS[name]
    points.cache_clear()

    search()

    remove(monkeypatch)
    points.cache_clear()
    with pytest.raises(Violated) as found:
        search()
    points.cache_clear()

    assert len(str(found.value).splitlines()) > 2, "a counter-example is a timeline"
