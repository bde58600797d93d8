"""The local Prefect: a server on loopback and one worker, started and ended by their own ids; and its API, spoken plainly.

Nothing here imports Prefect: that costs more than a second, and the command line is to answer at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from flotilla.errors import Permanent, Transient
from tasks.prefect_api import api_url, call, credentials, home, recorded
from tasks.trust import trusted

POOL = "flotilla"
POLL = "1"  # seconds between the worker's questions for work: half as often costs nothing less that can be measured
AT_ONCE = 20
"""Runs under way at once. The pool's limit, not the worker's own: with that one, a worker dies of a run that is resumed before
the process that suspended it has ended (PrefectHQ/prefect#16806, still so in 3.8)."""

FREED_WITHIN = 5.0  # seconds; a server that was killed keeps its port for a moment
START_WITHIN = 240.0  # seconds; the first start writes the database's tables, and a machine may have much to do
PARTS = ("server", "worker")
RUN_VARIABLE = "PREFECT__FLOW_RUN_ID"  # in the environment of a run's process
QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_LOGGING_INTERNAL_LEVEL": "ERROR",
}
SERVING = {
    # SQLite has one writer; whoever comes second waits for it so many seconds
    "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
    # old runs go after 30 days, with their logs and artifacts
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs,orphans",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": "30d",
}


@dataclass(frozen=True)
class Part:
    """A process of ours: its id and the time at which it started, so that no other one is taken for it."""

    pid: int
    started: float

    def process(self) -> psutil.Process | None:
        """Return the process if it still is this one and alive."""
        try:
            found = psutil.Process(self.pid)
            same = abs(found.create_time() - self.started) < 0.01
            return found if same and found.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


def environment() -> dict[str, str]:
    """Return the variables with which Prefect's own commands act on the local server."""
    told = {"PREFECT_API_URL": api_url(), "PREFECT_HOME": str(home() / "prefect"), **QUIET}
    if auth := credentials():
        told["PREFECT_API_AUTH_STRING"] = auth
    return told


def start_all() -> dict[str, str]:
    """Start what does not run: server, then worker; return what was done with each part. Quick where both run."""
    home().mkdir(parents=True, exist_ok=True)
    done = {"server": _ensure_server()}
    restarted = done["server"] != "runs"
    done["worker"] = _ensure("worker", [*_prefect(), "worker", "start", "--pool", POOL, "--type", "process"])
    if restarted or done["worker"] != "runs":
        _wait_for("its work pool", lambda: call("GET", f"/work_pools/{POOL}").status_code == 200, PARTS)
        _settle_pool()
        _close_lost_runs()
    return done


def _settle_pool() -> None:
    """Limit the pool, and have its runs start as the engine itself.

    Where no command is named, Prefect 3.8 starts each run by way of a second interpreter that prepares a workspace, and imports
    all of Prefect for it: seconds before a run's first line, for a folder that stands here already.
    """
    template = call("GET", f"/work_pools/{POOL}").json()["base_job_template"]
    template["variables"]["properties"]["command"]["default"] = shlex.join([sys.executable, "-m", "prefect.engine"])
    call("PATCH", f"/work_pools/{POOL}", {"concurrency_limit": AT_ONCE, "base_job_template": template})


def handed_otherwise() -> tuple[str, ...]:
    """Return what the worker that runs was told otherwise than whoever asks: what it keeps, its runs keep, until it ends."""
    part = _part("worker")
    process = part.process() if part else None
    if process is None:
        return ()
    told = process.environ()
    ours = {name for name in (*told, *os.environ) if name == "KUBECONFIG" or name.startswith("FLOTILLA_")}
    return tuple(sorted(name for name in ours if told.get(name, "") != os.environ.get(name, "")))


def _close_lost_runs() -> None:
    """Have runs crashed whose process went with the worker or the machine: they would be under way for ever."""
    body = {"flow_runs": {"state": {"type": {"any_": ["RUNNING", "CANCELLING"]}}}, "work_pools": {"name": {"any_": [POOL]}}}
    alive = {one.info["environ"].get(RUN_VARIABLE) for one in psutil.process_iter(["environ"]) if one.info["environ"]}
    for run in call("POST", "/flow_runs/filter", body).json():
        if run["id"] not in alive and run["id"].replace("-", "") not in alive:
            state = {"type": "CRASHED", "name": "Crashed", "message": "its process ended with its worker"}
            call("POST", f"/flow_runs/{run['id']}/set_state", {"state": state, "force": True})


def deploy_all() -> None:
    """Register every deployment of prefect.yaml; raises Permanent with Prefect's words where it refuses one."""
    command = [*_prefect(), "--no-prompt", "deploy", "--all"]
    done = subprocess.run(command, env=_variables(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Permanent(f"prefect deploy --all failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def stop_all() -> dict[str, str]:
    """End the worker, then the server, each with all that it started; return what was done with each part."""
    return {name: _stop(name) for name in reversed(PARTS)}


def parts() -> dict[str, bool]:
    """Return which parts run."""
    return {name: (part := _part(name)) is not None and part.process() is not None for name in PARTS}


def _prefect() -> list[str]:
    return [sys.executable, "-m", "prefect"]


def _variables() -> dict[str, str]:
    """Return the environment of our Prefect processes: the caller's, so that clusters are reached as here."""
    ours = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    }  # runs start quicker with it
    return {**ours, **environment(), **SERVING, "PREFECT_WORKER_QUERY_SECONDS": POLL, "PWD": str(Path.cwd())}


def _record(**changes: Any) -> None:
    file = home() / "state.json"
    draft = file.with_suffix(".new")
    draft.write_text(json.dumps({**recorded(), **changes}, indent=1))
    draft.replace(file)


def _part(name: str) -> Part | None:
    found = recorded().get(name)
    return Part(**found) if found else None


def _ensure_server() -> str:
    part = _part("server")
    if part is not None and _serves(part):
        return "runs"
    before = recorded().get("port")
    port = _free_port(before)
    if before not in (None, port):
        _stop("worker")  # it would go on to ask at the port of before
    _record(port=port, api=f"http://127.0.0.1:{port}/api")
    allowed = {"PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": f"http://127.0.0.1:{port}"}
    command = [*_prefect(), "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    done = _ensure("server", command, allowed)
    _wait_for("its API", _is_healthy, ["server"])
    return done


def _serves(part: Part) -> bool:
    """Tell whether a server that was started before answers; False once it is gone: one that was killed takes a moment.

    Raises Permanent where it lives and does not answer.
    """
    deadline = time.monotonic() + START_WITHIN
    while part.process() is not None:
        if _is_healthy():
            return True
        if time.monotonic() > deadline:
            told = f"the Prefect server (process {part.pid}) lives and did not answer within {START_WITHIN:.0f} s"
            raise Permanent(f"{told}: see {home()}/server.log, then end it: flotilla server down")
        time.sleep(0.2)
    return False


def _is_healthy() -> bool:
    try:
        return httpx.get(f"{api_url()}/health", timeout=5, verify=trusted()).status_code == 200
    except httpx.HTTPError:
        return False


def _ensure(name: str, command: list[str], more: Mapping[str, str] | None = None) -> str:
    """Start a part unless it runs; it survives the shell that started it, and its output goes to a log."""
    part = _part(name)
    if part is not None and part.process() is not None:
        return "runs"
    with (home() / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            env={**_variables(), **(more or {})},
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    _record(**{name: asdict(Part(process.pid, psutil.Process(process.pid).create_time()))})
    return "started" if part is None else "started again"


def _stop(name: str) -> str:
    part = _part(name)
    process = part.process() if part else None
    if process is None:
        _record(**{name: None}) if part else None
        return "did not run"
    family = [process, *process.children(recursive=True)]
    process.terminate()
    _, alive = psutil.wait_procs(family, timeout=15)
    for one in alive:
        one.kill()
    psutil.wait_procs(alive, timeout=5)
    _record(**{name: None})
    return "ended"


def _wait_for(what: str, there: Callable[[], bool], needed: Iterable[str]) -> None:
    """Wait for what some parts are to show; raises Permanent with the last words of one that ended meanwhile."""
    deadline = time.monotonic() + START_WITHIN
    while True:
        try:
            if there():
                return
        except Transient:
            pass
        for name in needed:
            part = _part(name)
            if part is not None and part.process() is None:
                raise Permanent(f"the Prefect {name} ended while {what} was waited for; its last words:\n{_last_words(name)}")
        if time.monotonic() > deadline:
            raise Permanent(f"Prefect did not show {what} within {START_WITHIN:.0f} s; see {home()}/*.log")
        time.sleep(0.2)


def _last_words(name: str) -> str:
    try:
        return (home() / f"{name}.log").read_text(errors="replace")[-1500:]
    except OSError:
        return "(none)"


def _free_port(before: int | None) -> int:
    """Return the port used before if it is free (soon), else one that follows from the folder, else any."""
    derived = 14200 + int(hashlib.sha256(str(home()).encode()).hexdigest(), 16) % 5000
    deadline = time.monotonic() + (FREED_WITHIN if before else 0)
    while before and time.monotonic() < deadline:
        if found := _bound(before):
            return found
        time.sleep(0.1)
    return _bound(derived) or _bound(0)


def _bound(port: int) -> int:
    """Return a port of loopback that could be listened at: the given one or 0 if it is taken; any for 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
        return int(probe.getsockname()[1])
