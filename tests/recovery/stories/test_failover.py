"""Sites are lost under load: a person agrees, the other site goes on, and what comes back is no second primary."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterable

import psutil
import pytest

import lab
from flotilla.recovery.facts import AgentSeen, DatabaseSeen, Process
from flotilla.recovery.journal import Wrote
from flotilla.recovery.steps import from_dict
from flows.witnessing import last_automatic
from tests.bench.dying import wait_until_allowed
from tests.recovery.field import CITY, REMOTE, Done, Field, Going, until
from tests.recovery.users import primaries, users

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]


def asked(going: Going) -> None:
    """Wait until a run asks for people."""
    going.wait_entry(lambda entry: entry.kind is Wrote.ASKED, "it asks")


def agrees(field: Field, going: Going, name: str) -> None:
    """Have somebody agree, and wait until the run has taken that."""
    field.approve(going.run, name).well()
    going.wait_entry(lambda entry: entry.kind is Wrote.APPROVED and entry.who == name, f"{name}'s approval")


def taken_over(field: Field) -> Done:
    """Have production lost, and same-city take over as one person agrees; return what the run told."""
    lab.kill("production")
    going = field.begin("failover", "--to", "same-city", "--as", "zoe", "--reason", "production is gone")
    asked(going)
    agrees(field, going, "alice")
    return going.ended().well()


def comes_back(field: Field, *sites: str) -> None:
    """Have lost sites back, and wait until production's agent has decided what becomes of its database."""
    before = len(field.agent_log("production"))
    for site in sites:
        lab.start(site)
    until(
        lambda: "PostgreSQL is not started" in field.agent_log("production")[before:], "production's agent refuses to start it"
    )
    agent = field.world().agent("production")
    assert isinstance(agent, AgentSeen)
    assert (False, Process.STOPPED) == (agent.standby_signal, agent.process)
    assert not isinstance(field.world().database("production"), DatabaseSeen)


def test_production_is_lost_one_person_agrees_and_the_way_home_leads_back(field: Field) -> None:
    with primaries(field, os.environ) as seen, users(field) as load:
        load.wait()
        field.sampled()
        done = taken_over(field)
        load.wait()
        verdict = load.judged()

        assert "0 acknowledged transactions" in done.text
        assert "owed: re-protect by production when it is back" in done.text
        assert ((), ()) == (verdict.lost, verdict.duplicated), verdict

        comes_back(field, "production")
        assert "same-city" == field.primary

        back = field.move("failback", "production").well()
        load.wait()
        verdict = load.stop()

    assert "-> production: verified (verified)" in back.text
    assert "production" == field.primary
    assert ((), ()) == (verdict.lost, verdict.duplicated), verdict
    assert [] == seen.overlaps()
    assert "" == field.wrong()


@pytest.mark.last
def test_a_site_that_serves_nobody_is_found_and_made_to_serve_before_a_failover_to_it_is_verified(field: Field) -> None:
    path, nobody = "/apis/apps/v1/namespaces/orders/deployments/orders/scale", {"spec": {"replicas": 0}}
    scaled = field.ground.connections["same-city"].request(
        "PATCH", path, body=nobody, content_type="application/merge-patch+json"
    )
    assert 200 == scaled.status, scaled
    until(lambda: "red: same-city: 0 of 0 replicas are ready" in field.wrong(), field.wrong)
    assert "nobody could ask whether users are served" in field.recover("check").text
    with users(field) as load:
        done = taken_over(field)
        load.wait()
        verdict = load.stop()

    assert "users are served nowhere" in done.text
    assert "wanted with 1 replicas" in done.text
    assert ((), ()) == (verdict.lost, verdict.duplicated), verdict


def test_of_two_watchers_one_fails_over_by_itself_and_nothing_is_lost(field: Field) -> None:
    wait_until_allowed(field)
    watchers = [field.begin("watch") for _ in range(2)]
    with primaries(field, os.environ) as seen, users(field) as load:
        until(lambda: any(one.text.count(" taken holder=") >= 2 for one in watchers), lambda: f"one leads: {told(watchers)}")
        load.wait(100)  # meanwhile witnesses are heard
        lab.kill("production")
        load.wait(within=120)
        until(lambda: any("(verified)" in one.text for one in watchers), lambda: f"it has ended: {told(watchers)}")
        verdict = load.stop()
    walked = [one for one in watchers if "same-city is the primary" in one.text]

    assert 1 == len(walked), told(watchers)
    assert not any(one.is_over for one in watchers)
    assert "same-city" == field.primary
    assert ((), ()) == (verdict.lost, verdict.duplicated), verdict
    assert [] == seen.overlaps()
    assert last_automatic(field.fleet) is not None


def test_a_failover_whose_watcher_dies_half_way_is_taken_up_by_the_other_one(field: Field) -> None:
    wait_until_allowed(field)
    runner = (sys.executable, "-m", "tests.recovery.chaos.runner", "publish", "before")
    with primaries(field, os.environ) as seen, users(field) as load:
        first = field.begin("watch", program=runner)
        until(lambda: first.text.count(" taken holder=") >= 2, lambda: f"it leads: {first.text}")
        second = field.begin("watch")
        load.wait(100)
        lab.kill("production")
        until(lambda: "same-city is the primary" in first.text, lambda: f"it fails over: {told([first, second])}")
        until(lambda: psutil.Process(first.process.pid).status() == psutil.STATUS_STOPPED, "it stands before it publishes")
        first.kill()
        until(lambda: "(verified)" in second.text, lambda: f"the other one has ended it: {told([first, second])}", 240)
        verdict = load.stop()

    assert "is taken up" in second.text
    assert "same-city" == field.primary
    assert ((), ()) == (verdict.lost, verdict.duplicated), verdict
    assert [] == seen.overlaps()


def told(watchers: Iterable[Going]) -> str:
    """Return what all of them said."""
    return "\n--\n".join(one.text for one in watchers)


def stated(going: Going) -> int:
    """Return how many transactions people were told would be lost, at most."""
    assert going.journal.plan is not None
    loss = from_dict(going.journal.plan["plan"]).loss
    found = re.search(r"about ([\d,]+) transactions", loss)
    assert found, loss
    return int(found[1].replace(",", ""))


def test_the_city_is_lost_and_two_different_people_break_the_glass(field: Field) -> None:
    with users(field) as load:
        load.wait()
        field.sampled()
        for site in CITY:
            lab.kill(site)
        refused = field.recover("failover", "--to", REMOTE, "--as", "carol", "--reason", "the city is gone")
        assert 1 == refused.code
        assert "1 of 3 agents answer, 2 have to: break the glass, or mend that" in refused.text

        going = field.begin("failover", "--to", REMOTE, "--break-glass", "--as", "carol", "--reason", "the city is gone")
        asked(going)
        agrees(field, going, "alice")
        field.approve(going.run, "alice").well()  # the same person once more
        agrees(field, going, "bob")
        done = going.ended().well()
        glass = [entry.who for entry in going.journal.entries if entry.kind is Wrote.APPROVED]
        load.wait()
        promoted, lived = time.monotonic(), field.ground.recovery.isolation
        until(lambda: time.monotonic() > promoted + lived + 5, "longer than the isolation rule lets others live")
        load.wait()
        verdict = load.stop()

        assert REMOTE == field.primary
        assert {"alice", "bob"} == set(glass), done.text
        assert () == verdict.duplicated
        assert len(verdict.lost) <= stated(going)

    comes_back(field, *CITY)
    assert REMOTE == field.primary
