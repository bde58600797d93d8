"""Sites that die under load: the watcher's own failover in the city, and the one to remote that two people agree to."""

from __future__ import annotations

import time
from dataclasses import dataclass

import lab
from flotilla.ledger import Verdict, outages, parse_ledger
from flotilla.recovery.journal import Wrote
from flows.witnessing import last_automatic
from tests.recovery.field import CITY, REMOTE, Field, Going, until
from tests.recovery.users import Users, users

WARM = 100  # orders acknowledged while the watcher hears its witnesses, before a site dies


@dataclass(frozen=True)
class Died:
    """A loss: seconds until the first acknowledged write after it, and what became of all that had been promised."""

    seconds: float
    verdict: Verdict


def failover(field: Field, rate: float) -> Died:
    """Kill the primary's site with a watcher watching; nobody else does anything."""
    field.settle()
    primary = field.primary
    wait_until_allowed(field)
    watcher = field.begin("watch")
    with users(field, rate) as load:
        until(lambda: watcher.text.count(" taken holder=") >= 2, lambda: f"the watcher leads: {watcher.text}")
        load.wait(WARM)
        killed = time.time()
        lab.kill(primary)
        load.wait(WARM, within=120)
        seconds = _first_after(load, killed)
        until(lambda: "(verified)" in watcher.text, lambda: f"the failover has ended: {watcher.text}")
        verdict = load.stop()
    watcher.kill()
    field.settle()
    return Died(seconds, verdict)


def to_remote(field: Field, rate: float) -> Died:
    """Kill both sites of the city; two people agree; counted from the signature of the second."""
    field.home()
    with users(field, rate) as load:
        load.wait(WARM)
        field.sampled()
        for site in CITY:
            lab.kill(site)
        going = field.begin("failover", "--to", REMOTE, "--break-glass", "--as", "carol", "--reason", "benchmark")
        going.wait_entry(lambda entry: entry.kind is Wrote.ASKED, "it asks")
        for name in ("alice", "bob"):
            field.approve(going.run, name).well()
            going.wait_entry(lambda entry, name=name: entry.kind is Wrote.APPROVED and entry.who == name, f"{name} agreed")  # type: ignore[misc]
        load.wait(WARM, within=180)
        agreed = _last_signature(going)
        seconds = _first_after(load, agreed)
        going.ended().well()
        verdict = load.stop()
    field.home()
    return Died(seconds, verdict)


def _last_signature(going: Going) -> float:
    """Return when the last of those who agreed signed (whole seconds, rounded down: to our disadvantage)."""
    return max(float(entry.said["iat"]) for entry in going.journal.entries if entry.kind is Wrote.APPROVED)


def _first_after(load: Users, since: float) -> float:
    """Return the seconds from a time to the end of the longest outage that was under way, or began, after it."""
    gaps = [one for one in outages(parse_ledger(load.file.read_text())) if one.ended is not None and one.ended > since]
    ended = max(gaps, key=lambda one: one.seconds).ended
    assert ended is not None
    return ended - since


def wait_until_allowed(field: Field) -> None:
    """Wait until the policy lets another failover go by itself."""
    last = last_automatic(field.fleet)
    between = field.ground.recovery.policy.min_between_automatic
    until(lambda: last is None or time.time() > last + between + 1, "a failover may go by itself again", between + 60)
