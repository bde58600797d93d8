"""An agent is killed in the middle of each act, and the act repeated: what it left half-way is brought to its end."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from flotilla.errors import FlotillaError, Permanent, Transient
from tests.recovery.databases.trio import PATIENCE, SITES, SYNC, Ledger, Site, Trio, until

pytestmark = pytest.mark.programs

Begun = Callable[[Site], bool]
"""Whether an act has taken its first step for good."""


def remembered(site: Site) -> Mapping[str, Any]:
    file = site.database.folder / "state" / "memory.json"
    return dict(json.loads(file.read_text())) if file.exists() else {}


def remembers(name: str, value: object) -> Begun:
    return lambda site: remembered(site).get(name) == value


def new_folder(site: Site) -> bool:
    return site.database.data.with_name("data.new").exists()


def after(seconds: float) -> Begun:
    """For acts that leave no trace of their own: a moment after they were asked for."""
    asked = dict[str, float]()
    return lambda site: time.monotonic() - asked.setdefault(site.name, time.monotonic()) > seconds


def killed_in(trio: Trio, name: str, begun: Begun, body: dict[str, Any]) -> None:
    """Ask for an act, kill the agent once the act has begun or is over, have another agent, and ask again until it is done."""
    site = trio[name]
    asking = threading.Thread(target=lambda: _ask(trio, site, body))
    asking.start()
    deadline = time.monotonic() + PATIENCE
    while asking.is_alive() and not begun(site):
        assert time.monotonic() < deadline, f"{body} has not begun"
        time.sleep(0.0005)
    site.end(signal.SIGKILL)
    asking.join(PATIENCE)
    site.start()
    until(lambda: _ask(trio, site, body), f"{body} is done at {name}")


def _ask(trio: Trio, site: Site, body: dict[str, Any]) -> bool:
    try:
        done = site.agent.act(trio.epoch, trio.run, body)
        if "job" in done:
            site.agent.finished(done["job"], PATIENCE)
    except Transient:
        return False
    return True


def test_a_fleet_is_built_by_agents_that_die_in_every_act(bare: Trio) -> None:
    bare.begin()

    def act(name: str, kind: str, begun: Begun, **given: Any) -> None:
        killed_in(bare, name, begun, {"kind": kind, **given})

    act("production", "begin", after(0.001))
    act("production", "initialise", new_folder)
    act("production", "create_slots", after(0.005), names=["same-city", "remote"])
    for name in ("same-city", "remote"):
        act(name, "reseed", new_folder, upstream="production")
        act(name, "start", lambda site: site.server is not None, **{"as": "standby"})
        bare.follows(name, "production")
    act("production", "set_sync", after(0.005), names=SYNC)
    until(lambda: bare.sync_state("production", "same-city") == "sync", "same-city is synchronous")

    assert bare["production"].ask("select epoch || primary_site from flotilla.epoch") == "1production"
    assert [bare[name].shown["unfinished"] for name in SITES] == [""] * 3


def test_a_switchover_by_agents_that_die_in_every_act_loses_nothing(own: Trio) -> None:
    def act(name: str, kind: str, begun: Begun, **given: Any) -> None:
        killed_in(own, name, begun, {"kind": kind, **given})

    with Ledger([own[name] for name in SITES]) as ledger:
        ledger.wait()
        own.begin()
        act("same-city", "create_slots", after(0.005), names=["production", "remote"])
        act("same-city", "set_sync", after(0.003), names="")
        act("same-city", "resume_replay", after(0.003))
        act("remote", "follow", after(0.005), upstream="same-city")
        act("production", "checkpoint", after(0.01))
        act("production", "drain", after(0.01), seconds=1)
        act("production", "fence", remembers("fenced", True))
        own.follows("same-city", "production")
        act("production", "stop", remembers("autostart", False), mode="fast")
        act("same-city", "promote", remembers("primary_epoch", own.epoch), timeout=30)
        act("production", "follow", lambda site: site.database.data.joinpath("standby.signal").exists(), upstream="same-city")
        act("production", "start", remembers("autostart", True), **{"as": "standby"})
        act("production", "unfence", remembers("fenced", False))
        act("production", "undrain", after(0.005))
        for name in ("production", "remote"):
            own.follows(name, "same-city")
        ledger.wait()

    assert own["same-city"].ask("select epoch || primary_site from flotilla.epoch") == f"{own.epoch}same-city"
    assert ledger.lost(own["same-city"]) == set()
    assert ledger.duplicated(own["same-city"]) == 0


def test_a_first_database_whose_agent_died_as_it_was_put_in_its_place_is_whole(bare: Trio) -> None:
    production = bare["production"]
    bare.begin()
    bare.act("production", "initialise")

    def left_behind(what: str) -> None:
        production.end(signal.SIGKILL)
        file = production.database.folder / "state" / "memory.json"
        file.write_text(json.dumps({**remembered(production), "unfinished": what}))
        production.start()

    left_behind("a first database")
    bare.act("production", "initialise")
    assert production.shown["unfinished"] == ""
    production.crash()
    until(lambda: production.shown["process"] == "running", "it comes back")

    left_behind("a rewind to same-city")
    with pytest.raises(Permanent, match="a rewind to same-city was begun at production and not ended: reseed it"):
        bare.act("production", "initialise")


def test_a_rewind_whose_agent_died_is_never_started_from_and_ends_in_a_new_copy(own: Trio) -> None:
    own["production"].end(signal.SIGKILL)
    own["production"].crash()
    own.begin("same-city", "remote")
    own.act("same-city", "detach")
    own.act("same-city", "set_sync", names="")
    own.act("same-city", "create_slots", names=["production", "remote"])
    own.act("same-city", "promote", timeout=30)
    own.act("same-city", "checkpoint")
    production = own["production"]
    production.start()
    own.act("production", "begin")
    body = {"kind": "rewind", "upstream": "same-city", "keep_evidence": True}
    job = production.agent.act(own.epoch, own.run, body)["job"]
    until(lambda: remembered(production).get("unfinished") or _has_ended(production, job), "it has begun")
    production.end(signal.SIGKILL)
    production.start()

    if remembered(production)["unfinished"]:  # else it was quicker than the kill
        with pytest.raises(Permanent, match="reseed"):
            own.act("production", "rewind", upstream="same-city", keep_evidence=True)
        with pytest.raises(Permanent, match="reseed"):
            own.act("production", "start", as_="standby")
        assert production.server is None
        killed_in(own, "production", new_folder, {"kind": "reseed", "upstream": "same-city"})
    own.act("production", "start", as_="standby")
    own.follows("production", "same-city")


def _has_ended(site: Site, job: str) -> bool:
    try:
        return bool(site.agent.job(job)["state"] != "running")
    except FlotillaError:
        return True
