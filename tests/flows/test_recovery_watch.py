"""What a watcher does by itself, and what it only tells: its eyes are the modelled fleet's, nothing is walked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest

from flotilla.fleet import parse_fleet
from flotilla.recovery.facts import World
from flotilla.recovery.refusals import Asked
from flotilla.recovery.steps import Kind
from flotilla.recovery.witnesses import State, Verdict
from flows import watch as module
from flows.watch import Watch
from tests.flotilla.recovery.modelled import P, S, fleet
from tests.flotilla.recovery.test_deciding import with_database
from tests.flotilla.recovery.test_files import FLEET
from tests.flotilla.recovery.walked import LAYOUT

HOUR = 3600.0


class Stage:
    """A watch that leads, of a world that the test sets; what it would walk and whom it would tell is noted."""

    def __init__(self, patch: pytest.MonkeyPatch, when: str = "ask") -> None:
        self.world, self.asked, self.told = fleet().world(), list[Asked](), list[str]()
        self.now, self.earlier = 100.0, float("-inf")
        made = parse_fleet(FLEET.replace("whenSyncIsLost: ask", f"whenSyncIsLost: {when}"), "fleet.yaml")
        people = made.approvals.model_copy(update={"webhook_env": "HOOK"})
        ground = SimpleNamespace(
            fleet=made.model_copy(update={"approvals": people}),
            recovery=made.recovery,
            layout=LAYOUT,
            eyes=SimpleNamespace(world=lambda: self.world),
            connections={},
        )
        patch.setattr(module, "last_automatic", lambda _: self.earlier)
        patch.setattr(module, "planned", lambda ground, asked, automatic: self.asked.append(asked))
        patch.setattr(module, "walked", lambda *_: None)
        for name in ("begun", "ended_text", "SignedAnswers", "_noted", "_put_samples"):
            patch.setattr(module, name, lambda *_: "")
        patch.setattr(Watch, "_inform", lambda _, text: self.told.append(text))
        patch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now))
        self.watch = Watch(ground, SimpleNamespace(leads=True))  # type: ignore[arg-type]

    def down(self, patch: pytest.MonkeyPatch) -> None:
        """Have witnesses find the primary down."""
        patch.setattr(self.watch._hearing, "verdict", lambda *_: Verdict(State.DOWN, ("nobody reaches it",)))


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Stage]:
    return lambda **given: Stage(monkeypatch, **given)


def hanging(world: World) -> World:
    return with_database(world, P, followers=())


def test_a_failover_by_another_watcher_since_this_one_began_is_known(
    stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stage()
    made.earlier = made.world.at - HOUR / 2
    made.down(monkeypatch)
    made.watch.look()

    assert not made.asked
    assert "the last automatic failover was 1800 s ago" in made.told[0]


def test_with_none_in_the_last_hour_it_fails_over(stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch) -> None:
    made = stage()
    made.earlier = made.world.at - 2 * HOUR
    made.down(monkeypatch)
    made.watch.look()

    assert [(Kind.FAILOVER, S)] == [(one.kind, one.target) for one in made.asked]


@pytest.mark.parametrize(("when", "told", "asked"), [("wait", 0, 0), ("ask", 1, 0), ("degrade", 0, 1)])
def test_commits_that_hang_for_long_are_dealt_with_as_the_fleet_file_says(
    stage: Callable[..., Stage], when: str, told: int, asked: int
) -> None:
    made = stage(when=when)
    made.world = hanging(made.world)
    for made.now in (100.0, 105.0, 109.0):
        made.watch.look()
    assert (made.told, made.asked) == ([], [])
    for made.now in (111.0, 112.0):
        made.watch.look()

    waits = [one for one in made.told if one.endswith("flotilla recover degrade --to production")]
    assert (len(waits), [(one.kind, one.target) for one in made.asked]) == (told, [(Kind.DEGRADE, P)] * asked)


def test_people_are_told_once_of_what_waits_for_them_however_its_figures_change(
    stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = stage()
    made.earlier = made.world.at - HOUR / 2
    made.down(monkeypatch)
    for seconds in range(60):
        made.world = replace(made.world, at=made.world.at + seconds)
        made.watch.look()

    assert 1 == len(made.told), made.told


def test_a_standby_that_is_back_soon_is_no_matter(stage: Callable[..., Stage]) -> None:
    made = stage(when="degrade")
    well = made.world
    for made.now, made.world in ((100.0, hanging(well)), (109.0, well), (110.0, hanging(well)), (119.0, hanging(well))):
        made.watch.look()

    assert not made.asked
