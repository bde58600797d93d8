"""The sites' agents: started, asked, and told to make the databases what a fleet begins with.

Only a lab that nobody has recovered anything in is told anything: from the first recovery on its epoch rules.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import ssl
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab import databases, processes
from lab.commands import complaint_of, wait_until
from lab.databases import Database
from lab.errors import LabError, TookTooLong
from lab.layout import AGENT, ClusterLayout, Layout
from lab.processes import Life

_PATIENCE = 30  # seconds; 3 are usual
_ACT_PATIENCE = 120  # seconds
_LOOK_PATIENCE = 5  # seconds: who looks at a lab is not to wait for a site that hears and is not heard
_EPOCH, _RUN = 1, "lab"

Say = Callable[[str], None]


def ensure(layout: Layout, say: Say) -> None:
    """Have every site's database as it should be; says why where there can be none."""
    if reason := databases.why_none(layout):
        say(f"without databases: {reason}")
        return
    databases.write(layout)
    for cluster in layout.clusters:
        start(cluster)
    for cluster in layout.clusters:
        wait_answer(cluster)
    built = layout.clusters[0].databases / "built"
    if not built.exists() and _is_ours(layout):
        say("making the databases")
        _build(layout)
        built.touch()
    with contextlib.suppress(TookTooLong):  # an agent may have good reasons: what is told here says so
        wait_until("all databases run", lambda: _not_running(layout), within=_PATIENCE)
    say("databases: " + "; ".join(f"{cluster.name} {told(cluster)}" for cluster in layout.clusters))


def start(cluster: ClusterLayout) -> None:
    """Have a site's agent running; it starts its PostgreSQL where its rules allow it."""
    if processes.life(cluster, AGENT) is Life.DEAD and databases.of(cluster).config.exists():
        program = Path(sys.executable).with_name("flotilla")
        processes.start(cluster, AGENT, [str(program), "agent", "--config", str(databases.of(cluster).config)])


def wait_answer(cluster: ClusterLayout) -> None:
    """Wait until a site's agent answers."""
    wait_until(f"{cluster.name}: an answer of its agent", lambda: silent(cluster), within=_PATIENCE)


def silent(cluster: ClusterLayout) -> str:
    """Say why a site's agent gives no answer, or nothing."""
    if processes.life(cluster, AGENT) is Life.DEAD:
        return f"it is not running; see {cluster.log(AGENT)}"
    return complaint_of(lambda: seen(databases.of(cluster)))


def seen(database: Database) -> dict[str, Any]:
    """Return what a site's agent sees."""
    return _asked(database, "GET", "/v1/seen", within=_LOOK_PATIENCE)


def told(cluster: ClusterLayout) -> str:
    """Say what a site's database is."""
    try:
        found = seen(databases.of(cluster))["database"]
    except (LabError, OSError) as error:
        return f"unseen: {error}"
    role = "standby" if found["standby_signal"] else "primary"
    return f"{role}, {found['process']}" if found["process"] != "absent" else "none"


def stop_postgres(cluster: ClusterLayout, *, kill: bool) -> None:
    """Have a site's PostgreSQL stopped by its agent; or killed, so that the agent starts it again if its rules allow it."""
    database = databases.of(cluster)
    if not kill:
        _act_now(database, {"kind": "stop", "mode": "fast"})
        return
    os.kill(_server(database), signal.SIGKILL)


def _server(database: Database) -> int:
    """Return the process of a site's PostgreSQL; raises LabError where none runs, whatever its lock file still says."""
    try:
        pid = int((database.data / "postmaster.pid").read_text().split()[0])
        if Path(f"/proc/{pid}/cwd").readlink() == database.data:
            return pid
    except (OSError, ValueError, IndexError):
        pass
    raise LabError(f"PostgreSQL of {database.site} does not run: there is nothing to kill")


def start_postgres(cluster: ClusterLayout) -> None:
    """Have a site's PostgreSQL started by its agent as what it is."""
    database = databases.of(cluster)
    role = "standby" if seen(database)["database"]["standby_signal"] else "primary"
    _act_now(database, {"kind": "start", "as": role})


def _act_now(database: Database, act: dict[str, Any]) -> None:
    """Have an act done at the epoch and for the run that the agent knows: the lab's hands are nobody's recovery."""
    found = seen(database)
    _act(database, act, found["epoch"], found["run"])


def _not_running(layout: Layout) -> str:
    """Say which databases do not run that should, or nothing."""
    return "; ".join(filter(None, (_complaint(databases.of(cluster)) for cluster in layout.clusters)))


def _complaint(database: Database) -> str:
    try:
        found = seen(database)["database"]
    except LabError as error:
        return str(error)
    should = found["autostart"] and found["process"] != "absent"
    return f"{database.site} is {found['process']}" if should and found["process"] != "running" else ""


def _is_ours(layout: Layout) -> bool:
    """Tell whether nothing but the lab itself has begun an epoch here."""
    found = [seen(databases.of(cluster)) for cluster in layout.clusters]
    return all((one["epoch"], one["run"]) in ((0, ""), (_EPOCH, _RUN)) for one in found)


def _build(layout: Layout) -> None:
    """Have a primary in production, a synchronous standby in the same city, and an asynchronous one far away.

    Each act may be repeated, so a bring-up that was broken off goes on; once it was done, it is never done again.
    """
    production, *standbys = (databases.of(cluster) for cluster in layout.clusters)
    for one in (production, *standbys):
        _act(one, {"kind": "begin"})
    _act(production, {"kind": "initialise"})
    _act(production, {"kind": "create_slots", "names": [one.site for one in standbys]})
    for one in standbys:
        if seen(one)["database"]["process"] == "absent":
            _act(one, {"kind": "reseed", "upstream": production.site})
        _act(one, {"kind": "start", "as": "standby"})
    _act(production, {"kind": "set_sync", "names": f'FIRST 1 ("{standbys[0].site}")'})


def _act(database: Database, act: dict[str, Any], epoch: int = _EPOCH, run: str = _RUN) -> None:
    found = _asked(database, "POST", "/v1/act", {"epoch": epoch, "run": run, "act": act})
    deadline = time.monotonic() + _ACT_PATIENCE
    while "job" in found and found.get("state", "running") == "running":
        if time.monotonic() > deadline:
            raise LabError(f"{database.site}: {act['kind']} did not end within {_ACT_PATIENCE} s: {found}")
        time.sleep(0.1)
        found = _asked(database, "GET", f"/v1/jobs/{found['job']}")
    if found.get("state") == "failed":
        raise LabError(f"{database.site}: {act['kind']} failed: {found['told']}")


def _asked(database: Database, method: str, path: str, body: object = None, *, within: float = _ACT_PATIENCE) -> dict[str, Any]:
    context = ssl.create_default_context(cafile=str(database.ca))
    connection = http.client.HTTPSConnection(database.host, database.agent_port, timeout=within, context=context)
    headers = {"Authorization": f"Bearer {database.token.read_text().strip()}"}
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        found: dict[str, Any] = json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise LabError(f"the agent of {database.site} at {database.agent} does not answer: {error}") from None
    finally:
        connection.close()
    if answer.status >= 300:
        raise LabError(f"the agent of {database.site} says no: {found.get('error', found)}")
    return found
