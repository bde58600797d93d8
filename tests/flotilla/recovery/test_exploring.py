"""The model searched at random: several orchestrators, several faults, people who choose anything; and that it can fail.

``make check`` takes a short look, what is marked ``long`` a far one.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from flotilla.recovery.memory import Choice
from flotilla.recovery.planning import plan_for
from flotilla.recovery.refusals import Asked, NotPlanned
from flotilla.recovery.steps import Kind, Mode
from flotilla.recovery.walking import Do, Ended, Stuck
from tests.flotilla.recovery.modelled import SITES, fleet
from tests.flotilla.recovery.test_interruptions import FAULTS
from tests.flotilla.recovery.walked import LAYOUT, Walk

site = st.sampled_from(SITES)
LOOKS = int(os.environ.get("FLOTILLA_MODEL_EXAMPLES", "25"))


class Fleets(RuleBasedStateMachine):
    """Up to two runs at once over one fleet, each move of each of them with anything in between."""

    def __init__(self) -> None:
        super().__init__()
        self.walks: list[Walk] = []
        self.late: list[tuple[Walk, Do]] = []
        self.faults = 0

    @initialize()
    def made(self) -> None:
        self.fleet = fleet()

    @precondition(lambda self: len(self.walks) < 2)
    @rule(kind=st.sampled_from([Kind.SWITCHOVER, Kind.FAILOVER, Kind.REPROTECT, Kind.FAILBACK, Kind.DEGRADE]), to=site)
    def begin(self, kind: Kind, to: str) -> None:
        mode = Mode.UNGRACEFUL if kind is Kind.FAILOVER else Mode.GRACEFUL
        asked = Asked(kind, to, mode=mode, run=f"run-{self.fleet.now:.2f}-{len(self.walks)}")
        if not isinstance(plan_for(asked, self.fleet.world(), LAYOUT), NotPlanned):
            self.walks.append(Walk.begin(self.fleet, asked))

    @precondition(lambda self: self.walks)
    @rule(data=st.data())
    def go_far(self, data: st.DataObject) -> None:
        self.go_on(data, data.draw(st.integers(8, 60)))

    @precondition(lambda self: self.walks)
    @rule(data=st.data(), moves=st.integers(1, 8))
    def some_moves(self, data: st.DataObject, moves: int) -> None:
        self.go_on(data, moves)

    def go_on(self, data: st.DataObject, moves: int) -> None:
        walk = self.walks[data.draw(st.integers(0, len(self.walks) - 1))]
        for _ in range(moves):
            move = walk.think()
            if isinstance(move, Ended):
                walk.to_the_end()
                self.walks.remove(walk)
                return
            if isinstance(move, Stuck):
                known = tuple(choice for choice in move.choices if not (choice is Choice.GO_ON and move.step.waives))
                choice = data.draw(st.sampled_from(known))
                walk.choose = lambda stuck, choice=choice: choice
            walk.make(move)

    @precondition(lambda self: self.walks and len(self.late) < 3)
    @rule(data=st.data())
    def process_dies(self, data: st.DataObject) -> None:
        """What it was about to do is done later, by a process that everybody forgot."""
        walk = self.walks[data.draw(st.integers(0, len(self.walks) - 1))]
        move = walk.think()
        if isinstance(move, Ended):
            walk.to_the_end()
            self.walks.remove(walk)
            return
        if isinstance(move, Do):
            self.late.append((walk.copy(), move))
        self.walks[self.walks.index(walk)] = walk.restarted()

    @precondition(lambda self: self.late)
    @rule(data=st.data())
    def stale_actor_wakes(self, data: st.DataObject) -> None:
        walk, move = self.late[data.draw(st.integers(0, len(self.late) - 1))]
        for act in move.acts:
            _, told = self.fleet.act(act, move.epoch, walk.journal.run)
            self.note(f"stale actor: {act}: {told}")
        self.late.remove((walk, move))

    @precondition(lambda self: self.faults < 2)
    @rule(fault=st.sampled_from(FAULTS))
    def fault(self, fault: object) -> None:
        self.faults += 1
        fault.strike(self.fleet)  # type: ignore[attr-defined]
        self.note(f"--- {fault.name}")  # type: ignore[attr-defined]

    @precondition(lambda self: self.faults)
    @rule()
    def all_is_mended(self) -> None:
        self.fleet.cut = self.fleet.dark = self.fleet.apis_away = self.fleet.lagging = frozenset()
        for one in SITES:
            if not self.fleet.nodes[one].alive:
                self.fleet.boot(one)
        self.fleet.tick()
        self.faults = 0
        self.note("--- mended")

    @precondition(lambda self: self.faults)
    @rule()
    def time_passes(self) -> None:
        self.fleet.now += 15
        self.fleet.tick()

    @invariant()
    def nothing_is_broken(self) -> None:
        for walk in self.walks:
            walk.check()

    def note(self, text: str) -> None:
        for walk in self.walks:
            walk.note(text)


def explored(examples: int, steps: int) -> None:
    settled = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
    )
    run_state_machine_as_test(Fleets, settings=settled)


def test_runs_side_by_side_with_faults_between_any_two_moves_break_nothing():
    explored(LOOKS, 30)


@pytest.mark.long
@pytest.mark.timeout(1200)  # it takes minutes where it has the machine to itself
def test_a_far_look_finds_nothing_either():
    explored(max(LOOKS, 250), 60)
