"""Witnesses, readiness, the runbook for people, and what a drill's report says."""

from __future__ import annotations

import json
import random
import re
import subprocess
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flotilla.facts import Unknown
from flotilla.fleet import parse_fleet
from flotilla.recovery import bodies, commands, guards, recording, witnesses
from flotilla.recovery.document import runbook
from flotilla.recovery.facts import AgentSeen, DatabaseSeen, Slot, World
from flotilla.recovery.picture import picture
from flotilla.recovery.planning import plan_for
from flotilla.recovery.preamble import preamble
from flotilla.recovery.readiness import Severity, Surroundings, findings, runbooks
from flotilla.recovery.refusals import NotPlanned
from flotilla.recovery.reporting import ledger_of, report_of, to_json, to_markdown, took_last
from flotilla.recovery.steps import Plan
from flotilla.recovery.witnesses import OURSELVES, Patience, State, verdict
from tests.flotilla.recovery.modelled import SITES, P, R, S, fleet
from tests.flotilla.recovery.test_deciding import with_database, with_leases
from tests.flotilla.recovery.test_files import FLEET
from tests.flotilla.recovery.test_interruptions import RUNBOOKS
from tests.flotilla.recovery.walked import LAYOUT, Walk, failover, switchover

NOW = 100.0
PATIENCE = Patience()


def looks(witness: str, site: str, results: str, ending: float = NOW) -> list[witnesses.Testimony]:
    """Return looks a second apart, the last at ``ending``: ``+`` for an answer."""
    count = len(results)
    return [
        witnesses.Testimony(witness, site, ending - (count - 1 - at), one == "+", "timed out") for at, one in enumerate(results)
    ]


def judged(*testimonies: list[witnesses.Testimony]) -> State:
    return verdict(P, [one for some in testimonies for one in some], NOW, PATIENCE).state


WE_ARE_WELL = [*looks(OURSELVES, S, "+++++"), *looks(OURSELVES, R, "+++++")]


# -- witnesses ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("same_city", "remote", "ours", "state"),
    [
        ("+++++", "+++++", "+++++", State.UP),
        ("-----", "-----", "-----", State.DOWN),
        ("-----", "+++++", "-----", State.UNSURE),  # one path is cut
        ("+++++", "+++++", "-----", State.UNSURE),  # only we do not reach it
        ("+++++", "-----", "+++++", State.UNSURE),
        ("+-+-+", "-+-+-", "+-+-+", State.UP),  # flapping
        ("++++-", "++++-", "++++-", State.UNSURE),  # one failure each is none
        ("+++--", "+++--", "+++--", State.UNSURE),
        ("-+---", "-+---", "-+---", State.DOWN),
    ],
)
def test_a_site_is_down_only_if_several_witnesses_find_it_so_over_time(same_city: str, remote: str, ours: str, state: State):
    found = judged(looks(S, P, same_city), looks(R, P, remote), looks(OURSELVES, P, ours), WE_ARE_WELL)

    assert found is state


def test_one_witness_is_no_decision():
    assert judged(looks(OURSELVES, P, "-----"), WE_ARE_WELL) is State.UNSURE


def test_nobody_has_looked_is_not_down():
    assert judged(WE_ARE_WELL) is State.UNSURE


def test_who_is_cut_off_judges_nobody():
    alone = [*looks(OURSELVES, S, "-----"), *looks(OURSELVES, R, "-----"), *looks(OURSELVES, P, "-----")]
    half = [*looks(OURSELVES, S, "-----"), *looks(OURSELVES, R, "+++++"), *looks(OURSELVES, P, "-----")]

    assert judged(alone) is State.CUT_OFF_OURSELVES
    assert judged(half, looks(R, P, "-----")) is State.CUT_OFF_OURSELVES


def test_what_was_seen_long_ago_is_no_testimony():
    old = [*looks(S, P, "-----", NOW - 60), *looks(R, P, "-----", NOW - 60), *looks(OURSELVES, P, "-----", NOW - 60)]

    assert judged(old, WE_ARE_WELL) is State.UNSURE


def test_a_clock_that_jumped_is_no_testimony():
    ahead = [*looks(S, P, "-----", NOW + 3600), *looks(R, P, "-----", NOW + 3600)]

    assert judged(ahead, looks(OURSELVES, P, "+++++"), WE_ARE_WELL) is not State.DOWN


def test_an_hour_of_grey_failures_is_no_death():
    """Each witness loses up to two looks in a row, at random: nobody is ever down."""
    chance = random.Random(6)
    testimonies: list[witnesses.Testimony] = []
    lost_in_a_row = dict.fromkeys((S, R, OURSELVES), 0)
    for second in range(3600):
        for witness in lost_in_a_row:
            fails = chance.random() < 0.4 and lost_in_a_row[witness] < 2
            lost_in_a_row[witness] = lost_in_a_row[witness] + 1 if fails else 0
            testimonies.append(witnesses.Testimony(witness, P, float(second), not fails))
        recent = [one for one in testimonies[-60:] if second - one.at <= 10]
        well = [replace_at(one, float(second)) for one in WE_ARE_WELL[-1:] + WE_ARE_WELL[:1]]

        assert verdict(P, [*recent, *well], float(second), PATIENCE).state is not State.DOWN


def replace_at(one: witnesses.Testimony, at: float) -> witnesses.Testimony:
    return one._replace(at=at, reached=True)


@given(st.lists(st.tuples(st.sampled_from([S, R, OURSELVES]), st.floats(90, 100), st.booleans()), max_size=30))
def test_who_was_reached_just_now_is_never_down(seen: list[tuple[str, float, bool]]):
    testimonies = [witnesses.Testimony(witness, P, at, reached) for witness, at, reached in seen]
    just_now = witnesses.Testimony(S, P, NOW, reached=True)

    assert judged([*testimonies, just_now], WE_ARE_WELL) is not State.DOWN


# -- readiness ----------------------------------------------------------------------------------------------------------------

PEOPLE = Surroundings(approvers=2)


def test_a_fleet_in_which_all_is_well_has_no_findings():
    assert findings(fleet().world(), LAYOUT, PEOPLE) == ()
    assert not [one for one in runbooks(fleet().world(), LAYOUT).values() if isinstance(one, NotPlanned)]


def agents_with(world: World, site: str, **changes: object) -> World:
    agent = world.agent(site)
    assert isinstance(agent, AgentSeen)
    return replace(world, agents={**world.agents, site: replace(agent, **changes)})  # type: ignore[arg-type]


def skewed(world: World, site: str, count: int) -> World:
    """Return the world with production at 10 of what a standby must have as much of, and a site at another number."""
    made = with_database(world, P, settings=(("max_wal_senders", "10"), ("server_version", "15.8")))
    return with_database(made, site, settings=(("max_wal_senders", str(count)), ("server_version", "15.8")))


def test_a_server_of_another_version_is_told_but_nothing_refuses_it():
    made = with_database(fleet().world(), P, settings=(("server_version", "15.8"),))
    (found,) = findings(with_database(made, S, settings=(("server_version", "15.7"),)), LAYOUT, PEOPLE)

    assert str(found).startswith("yellow: same-city: server_version is 15.7, production has 15.8; would break: promote")


def test_what_refuses_a_runbook_is_told_once_and_not_while_a_recovery_is_under_way():
    lost = replace(fleet().world(), databases={**fleet().world().databases, S: Unknown(S, "timed out")})
    assert not [one for one in findings(lost, LAYOUT, PEOPLE) if "is not seen (" in one.what]
    (prepared,) = findings(with_database(fleet().world(), P, prepared=2), LAYOUT, PEOPLE)
    assert prepared.what == "2 prepared transactions are open at production: commit or roll them back"

    busy = with_leases(with_database(fleet().world(), P, prepared=2), holder="run-9")
    assert not [one for one in findings(busy, LAYOUT, PEOPLE) if one.severity is Severity.RED]


def test_a_site_that_follows_nobody_is_asked_for_its_way_back_too():
    away = with_database(fleet().world(), R, upstream="", receives=False)

    assert {"reprotect to remote", "failback to remote"} <= set(runbooks(away, LAYOUT))


@pytest.mark.parametrize(
    ("change", "site", "step"),
    [
        (lambda world: with_database(world, S, paused=True), S, "promote"),
        (lambda world: with_database(world, S, read_only=True), S, "writable"),
        (lambda world: with_database(world, S, synchronous=(S,)), S, "open; promote"),
        (lambda world: with_database(world, P, weakened=("role app",)), P, "chosen"),
        (lambda world: agents_with(world, S, isolation=60.0), S, "fenced: a site may be taken for stopped"),
        (lambda world: with_database(world, P, slots=(Slot(R, False, "lost"),)), P, "rejoin-remote"),
        (lambda world: with_database(world, S, system="other"), S, "promote"),
        (lambda world: with_database(world, P, followers=()), S, "drain"),
        (lambda world: with_database(world, P, synchronous=()), P, "fenced"),
        (lambda world: with_database(world, P, prepared=1), "fleet", "switchover to same-city, switchover to remote: refused"),
        (lambda world: skewed(world, S, 5), S, "rejoin-same-city"),
        (lambda world: skewed(world, S, 20), P, "rejoin-production"),
        (lambda world: with_leases(world, promotable=()), "fleet", "chosen"),
        (lambda world: with_leases(world, primary=R), "fleet", "verify"),
        (lambda world: agents_with(world, R, disk_free=10, data_bytes=100), R, "rejoin-remote"),
        (lambda world: agents_with(world, S, fenced=True), S, "writable"),
        (lambda world: agents_with(world, S, control=Unknown(S, "no")), S, "stop-proved"),
        (lambda world: replace(world, agents={**world.agents, R: Unknown(R, "timed out")}), R, "begin"),
        (lambda world: replace(world, answers={**world.answers, R: Unknown(R, "timed out")}), R, "traffic"),
        (lambda world: replace(world, leases={**world.leases, R: Unknown(R, "timed out")}), R, "leases"),
        (lambda world: replace(world, databases={**world.databases, S: Unknown(S, "timed out")}), S, "promote"),
    ],
)
def test_what_would_break_a_step_is_found_and_names_it(change: object, site: str, step: str):
    found = findings(change(fleet().world()), LAYOUT, PEOPLE)  # type: ignore[operator]

    assert any(one.severity is Severity.RED and one.site == site and step in one.step for one in found), found


def test_certificates_and_people_are_looked_at_too():
    at = fleet().world().at
    around = Surroundings((("remote", at - 1), ("same-city", at + 86_400), ("production", at + 90 * 86_400)), approvers=1)
    found = findings(fleet().world(), LAYOUT, around)

    assert [(one.severity, one.site) for one in found] == [
        (Severity.RED, "fleet"), (Severity.RED, "remote"), (Severity.YELLOW, "same-city"),
    ]  # fmt: skip


def test_a_site_without_room_for_the_application_is_red():
    cramped = Surroundings(approvers=2, cramped=((R, "2 of 2 more pods of orders would find no node"),))

    assert [(Severity.RED, R, "scale; ready")] == [
        (one.severity, one.site, one.step) for one in findings(fleet().world(), LAYOUT, cramped)
    ]


def test_a_run_that_is_over_is_not_taken_up_again():
    walk = Walk.begin(fleet(), switchover(S))
    walk.to_the_end()

    assert walk.journal == recording.resumed(walk.journal, walk.plan, 1.0, "somebody")


# -- the runbook for people --------------------------------------------------------------------------------------------------


def head(world: World) -> tuple[str, ...]:
    recovery = parse_fleet(FLEET, "fleet.yaml").recovery
    assert recovery is not None
    return preamble(recovery, world, LAYOUT)


def test_a_runbook_says_where_things_lie_as_far_as_that_is_seen_and_asks_for_the_rest():
    shown = {"data_directory": "/srv/pg data", "config_file": "/var/lib/flotilla/postgresql.conf", "server_version": "15.8 (x)"}
    lines = head(with_database(fleet().world(), S, settings=tuple(shown.items())))
    known, unknown = (next(line for line in lines if line.startswith(f"  {site})")) for site in (S, P))

    assert "NODE=10.0.0.2 " in known
    assert " STATE=/var/lib/flotilla PGDATA='/srv/pg data' " in known
    assert " PGBIN=/usr/lib/postgresql/15/bin;;" in known
    assert " PGDATA='?' " in unknown


@pytest.mark.parametrize("name", RUNBOOKS)
def test_what_a_runbook_says_is_bash(name: str):
    made, asked = RUNBOOKS[name]
    plan = plan_for(asked, made().world(), LAYOUT)
    assert isinstance(plan, Plan)
    blocks = re.findall(r"(?ms)^```\n(.*?)^```$", runbook(plan, head(made().world())))
    said = subprocess.run(["bash", "-n"], input="\n".join(blocks), capture_output=True, text=True, check=False)

    assert (said.returncode, said.stderr) == (0, "")


def test_every_act_has_commands_for_people():
    assert set(commands._COMMANDS) == set(bodies.KINDS)


@pytest.mark.parametrize("name", RUNBOOKS)
def test_every_runbook_prints_whole(name: str):
    made, asked = RUNBOOKS[name]
    plan = plan_for(asked, made().world(), LAYOUT)
    assert isinstance(plan, Plan)
    text = runbook(plan, head(made().world()))

    for number, step in enumerate(plan.steps, 1):
        assert f"## {number}. {step.title}\n" in text
    assert text.count("Expect: ") == sum(len(step.acts) for step in plan.steps)
    assert text.count("**Point of no return.**") == (1 if plan.no_return is not None else 0)
    assert plan.loss in text


def test_what_is_sent_to_dns_by_hand_is_json_and_names_the_epoch():
    plan = plan_for(switchover(), fleet().world(), LAYOUT)
    assert isinstance(plan, Plan)
    lines, expected = commands.told(plan.step("traffic").acts[0], plan)
    sent = json.loads(lines[1])

    assert [one["name"] for one in sent["rrsets"]] == ["orders.fleet.test.", "_epoch.orders.fleet.test."]
    assert expected == f'`"epoch={plan.epoch} primary=same-city sites=production,same-city"`'


# -- reports -----------------------------------------------------------------------------------------------------------------


def drilled() -> Walk:
    walk = Walk.begin(fleet(), switchover())
    walk.to_the_end()
    return walk


def test_a_ledger_says_what_was_lost_and_what_is_there_that_nobody_was_told_of():
    ledger = ledger_of(["a", "b", "c"], ["a", "b", "c", "d", "e"], ["a", "b", "b", "d"])

    assert (ledger.acknowledged, ledger.lost, ledger.unacknowledged_present, ledger.duplicated) == (3, ("c",), 1, ("b",))


def test_a_report_adds_up_its_phases_and_says_what_was_not_as_promised():
    walk = drilled()
    good = replace(ledger_of(["a"], ["a"], ["a"]), last_before=1000.0, first_after=1000.7)
    report = report_of(walk.journal, good)

    assert report.verdict == ()
    assert sum(report.phases.values()) == pytest.approx(report.seconds)
    assert report.plan == walk.plan.hash
    bad = replace(report, ledger=ledger_of(["a"], ["a"], []), rto=0.5)
    assert bad.verdict == ("1 acknowledged were lost, and none had been stated",)
    assert replace(report, rto=0.5).verdict == ("0.70 s without writes, 0.5 s is the objective",)
    assert replace(report, ledger=None).verdict == ("no ledger was kept: what was lost is not known",)


def test_a_report_compares_itself_with_the_last_drill():
    walk = drilled()
    report = report_of(walk.journal)
    last = replace(report, steps=tuple(replace(step, end=step.begin + step.seconds / 4) for step in report.steps))

    assert "(as rehearsed last)" in to_markdown(report, last)
    assert "4.0 times as long" in to_markdown(report, last)
    assert "(not as rehearsed last" in to_markdown(report, replace(last, plan="x" * 64))
    assert "(never rehearsed before)" in to_markdown(report)
    assert set(took_last([report], walk.plan)) <= {step.key for step in walk.plan.steps}
    assert took_last([replace(report, plan="x")], walk.plan) == {}


def test_a_report_is_json_and_a_picture_too():
    report = report_of(drilled().journal, replace(ledger_of(["a"], ["a"], ["a"]), last_before=1000.2, first_after=1000.9))
    data = json.loads(to_json(report))
    drawn = ElementTree.fromstring(picture(report))

    assert data["outage"] == pytest.approx(0.7)
    assert len([one for one in drawn.iter() if one.tag.endswith("rect")]) > len(report.steps)


def test_a_run_that_did_not_end_is_told_as_such():
    walk = Walk.begin(fleet(), failover())
    walk.think()

    assert report_of(walk.journal).outcome == "not ended"


def test_guards_say_what_they_prevent():
    assert all(guard.prevents and guard.before for guard in guards.GUARDS.values())
    assert isinstance(fleet().world().database(P), DatabaseSeen)
    assert set(fleet().world().agents) == set(SITES)
