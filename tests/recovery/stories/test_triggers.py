"""What starts a recovery besides a person at a terminal: Prefect's API, alerts, schedules. Once, and with the policy."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest

import lab
from flotilla.recovery.journal import Wrote
from flows.recovering import journal_of
from tasks import orchestrator, prefect_api
from tests.bench.dying import wait_until_allowed
from tests.flows.conftest import prefect  # noqa: F401
from tests.recovery.field import Field, until
from tests.recovery.users import users

pytestmark = [pytest.mark.lab, pytest.mark.prefect, pytest.mark.timeout(600)]
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")


@pytest.fixture
def served(field: Field, request: pytest.FixtureRequest) -> Field:
    """Yield the field with a Prefect whose worker has the field's environment: it is started after the field is open."""
    request.getfixturevalue("prefect")
    return field


@pytest.fixture
def at_gate(served: Field) -> Iterator[str]:
    """Yield a switchover that holds the leases and waits for somebody to agree; taken back afterwards."""
    going = served.begin("switchover", "--to", "same-city", "--as", "zoe", "--reason", "test")
    going.wait_entry(lambda entry: entry.kind is Wrote.ASKED, "it asks")
    yield going.run
    no = ("approve", going.run, *served.by("alice"), "--reject", "--yes")
    until(lambda: served.recover(*no).code == 0, lambda: going.text)  # between two questions it waits for nobody
    going.ended()


def state_of(run: str, *wanted: str) -> dict[str, Any]:
    """Return a run's state once it is one of those."""
    until(lambda: prefect_api.run_of(run)["state"]["type"] in wanted, lambda: prefect_api.run_of(run)["state"], 240)
    found: dict[str, Any] = prefect_api.run_of(run)["state"]
    return found


def logs_of(run: str) -> str:
    return "\n".join(str(record["message"]) for record in prefect_api.logs_of(run, 0))


def of_schedule(deployment: str, parameters: dict[str, Any]) -> str:
    """Start a run as a schedule does."""
    found = prefect_api.call("GET", f"/deployments/name/{deployment}").json()
    body = {"parameters": parameters, "state": {"type": "SCHEDULED"}, "tags": ["auto-scheduled"]}
    return str(prefect_api.call("POST", f"/deployments/{found['id']}/create_flow_run", body).json()["id"])


def test_a_repeat_with_the_same_key_is_answered_with_the_same_run_and_says_so(served: Field) -> None:
    key = secrets.token_hex(8)
    words = ("start", "switchover", "--as", "zoe", "--reason", "test", "--dry-run", "--idempotency-key", key)
    before = served.snapshot()
    first, again = (served.recover(*words, "--to", "same-city") for _ in range(2))
    other = served.recover(*words, "--to", "remote")
    runs = prefect_api.call("POST", "/flow_runs/filter", {"flow_runs": {"idempotency_key": {"any_": [key]}}}).json()

    assert 1 == len(runs)
    assert (0, 0, 3) == (first.code, again.code, other.code), other.text
    assert "is started" in first.text
    assert f"was started with key '{key}' before" in again.text
    assert all(runs[0]["id"] in one.text for one in (first, again, other))
    assert "with to='same-city': nothing was started" in " ".join(other.text.split())
    assert "DryRun" == state_of(runs[0]["id"], *ENDED)["name"]
    assert before == served.snapshot()


def test_a_second_run_and_what_a_schedule_starts_end_at_once_and_touch_nothing(served: Field, at_gate: str) -> None:
    before = served.snapshot()
    second = prefect_api.submit("recovery/switchover", {"to": "same-city", "initiator": "zoe"})["id"]
    drill = of_schedule("recovery/drill", {"to": "same-city"})
    check = of_schedule("recovery/check", {})
    states = {name: state_of(run, *ENDED) for name, run in (("second", second), ("drill", drill), ("check", check))}

    assert {"second": "Failed", "drill": "Busy", "check": "Busy"} == {name: one["name"] for name, one in states.items()}
    assert all(f"run {at_gate} is under way" in one["message"] for one in states.values()), states
    assert "nothing was touched" in states["second"]["message"]
    assert before == served.snapshot()


def test_a_storm_of_one_alert_starts_one_run_which_asks_people_as_the_primary_is_well(served: Field) -> None:
    before, key = served.snapshot(), secrets.token_hex(8)
    asked = {"to": "same-city", "trigger": "alert", "reason": "FleetApplicationDown"}
    with ThreadPoolExecutor(8) as pool:
        runs = {one["id"] for one in pool.map(lambda _: prefect_api.submit("recovery/failover", asked, key=key), range(40))}
    (run,) = runs
    state_of(run, "PAUSED", *ENDED)

    assert "PAUSED" == prefect_api.run_of(run)["state"]["type"], logs_of(run)
    told = "started by an alert: people are asked: witnesses say that production is up"
    until(lambda: told in logs_of(run), lambda: logs_of(run))  # what it says comes later than its state
    prefect_api.call("POST", f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLED"}, "force": True})
    assert before == served.snapshot()


def asked_again(run: str) -> bool:
    """Tell whether a run has shown why an answer that it was given does not count."""
    wanted = {"flow_run_id": {"any_": [run]}, "key": {"any_": ["waiting-for-you-recovery"]}}
    shown = prefect_api.call("POST", "/artifacts/filter", {"artifacts": wanted}).json()
    return any("an answer does not count" in str(one["data"]) for one in shown)


def test_the_form_takes_what_somebody_signed_says_why_else_it_does_not_and_approve_wakes_a_run(served: Field) -> None:
    there = prefect_api.submit("recovery/switchover", {"to": "same-city", "initiator": "zoe", "reason": "test"})["id"]
    assert "PAUSED" == state_of(there, "PAUSED", *ENDED)["type"], logs_of(there)
    assert "" == prefect_api.resume(there, {"code": "nobody has ever signed this"})
    until(lambda: asked_again(there), lambda: logs_of(there), 240)
    assert "PAUSED" == state_of(there, "PAUSED", *ENDED)["type"], logs_of(there)
    signed = re.search(r"eyJ[\w.-]+", served.recover("sign", there, *served.by("alice")).well().text)
    assert signed
    assert "" == prefect_api.resume(there, {"code": signed[0]})
    assert "COMPLETED" == state_of(there, *ENDED)["type"], logs_of(there)
    assert "same-city" == served.primary

    back = prefect_api.submit("recovery/switchover", {"to": "production", "initiator": "zoe", "reason": "test"})["id"]
    assert "PAUSED" == state_of(back, "PAUSED", *ENDED)["type"], logs_of(back)
    approved = served.recover("approve", back, *served.by("alice"), "--yes").well()

    assert "the run in Prefect goes on" in approved.text
    assert "COMPLETED" == state_of(back, *ENDED)["type"], logs_of(back)
    assert "production" == served.primary


@pytest.fixture
def watching(served: Field) -> Iterator[str]:
    """Yield a run of recovery/watch that leads; whatever became of Prefect is mended afterwards."""
    wait_until_allowed(served)
    run = str(prefect_api.submit("recovery/watch", {})["id"])
    until(lambda: "this watcher leads; production is primary" in logs_of(run), lambda: logs_of(run))
    yield run
    for one in psutil.process_iter(["environ"]):
        if (one.info["environ"] or {}).get(orchestrator.RUN_VARIABLE, "").replace("-", "") == run.replace("-", ""):
            one.kill()
    orchestrator.start_all()


def test_a_watcher_that_prefect_started_fails_over_though_prefect_died_first(served: Field, watching: str) -> None:
    known = prefect_api.recorded()
    for part in orchestrator.PARTS:
        psutil.Process(known[part]["pid"]).kill()
    with users(served) as load:
        load.wait(100)
        lab.kill("production")
        load.wait(within=120)
        verdict = load.stop()

    assert not any(orchestrator.parts().values())
    assert "same-city" == served.primary
    assert ((), ()) == (verdict.lost, verdict.duplicated), verdict


@pytest.mark.last
def test_a_drill_asks_before_each_way_approve_wakes_it_and_its_report_lies_there(served: Field) -> None:
    run = prefect_api.submit("recovery/drill", {"to": "same-city", "initiator": "zoe", "reason": "test"})["id"]
    for way in ("there", "back"):
        until(lambda way=way: is_asked(served, f"{run}-{way}"), lambda: logs_of(run), 240)  # type: ignore[misc]
        approved = served.recover("approve", f"{run}-{way}", *served.by("alice"), "--yes").well()
        assert "the run in Prefect" in approved.text

    end = state_of(run, *ENDED)
    shown = prefect_api.call("POST", "/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}}}).json()

    assert "COMPLETED" == end["type"], logs_of(run)
    assert "production -> same-city verified" in end["message"]
    assert "same-city -> production verified" in end["message"]
    assert {"recovery-drill", "recovery-drill-to-same-city", "recovery-drill-to-production"} <= {one["key"] for one in shown}
    until(lambda: "same-city is the primary" in logs_of(run), lambda: logs_of(run))
    assert "production" == served.primary


def is_asked(field: Field, run: str) -> bool:
    """Tell whether a run's journal ends with its question."""
    entries = journal_of(field.ground, run).entries
    return bool(entries) and entries[-1].kind is Wrote.ASKED
