"""Prefect's API, spoken plainly: runs are started, looked at and answered.

Nothing here imports Prefect: that costs more than a second, and the command line is to answer at once.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import time
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from flotilla.errors import Permanent, Transient
from tasks.trust import trusted

ATTEMPTS = 5
PATIENCE = 20.0  # seconds for one answer
BUSY_WITHIN = 150.0  # seconds that a server may be busy: it waits for its database for 60, and who comes then waits anew


def home() -> Path:
    """Return the folder of the local Prefect: FLOTILLA_HOME, else `.flotilla` where we are."""
    return Path(os.environ.get("FLOTILLA_HOME") or ".flotilla").absolute()


def api_url() -> str:
    """Return where Prefect's API is: PREFECT_API_URL, else the local server's; raises Permanent where there is none."""
    if given := os.environ.get("PREFECT_API_URL"):
        return given.rstrip("/")
    found = recorded().get("api")
    if not found:
        raise Permanent(
            "no Prefect server is known here: start one with `make up` or `flotilla server up`, or set PREFECT_API_URL"
        )
    return str(found)


def ui_link(run: str = "") -> str:
    """Return the address of the UI, or of one run in it."""
    base = api_url().removesuffix("/api")
    return f"{base}/runs/flow-run/{run}" if run else base


def call(method: str, path: str, body: object = None) -> httpx.Response:
    """Return Prefect's answer; raises Transient where the server does not answer, or cannot, for a while.

    It answers 503, or not in time, where SQLite has another writer: under load that may be so several times. After a 503
    nothing was done; after a silence it may have been, and is asked for once more.
    """
    began = time.monotonic()
    for attempt in count(1):
        answer, told = _asked(method, path, body)
        if isinstance(answer, httpx.Response) and answer.status_code < 500:
            return answer
        is_busy = answer.status_code == 503 if isinstance(answer, httpx.Response) else isinstance(answer, httpx.ReadTimeout)
        if attempt >= ATTEMPTS and not (is_busy and time.monotonic() - began < BUSY_WITHIN):
            break
        time.sleep(min(3.0, 0.2 * 2**attempt) * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret
    raise Transient(f"Prefect at {api_url()} does not answer: {told}; is it up? `flotilla server status`")


def _asked(method: str, path: str, body: object) -> tuple[httpx.Response | httpx.HTTPError, str]:
    """Return Prefect's answer, or why there was none, and what is to be told of a failure."""
    auth = httpx.BasicAuth(*credentials().split(":", 1)) if credentials() else None
    try:
        answer = httpx.request(method, api_url() + path, json=body, auth=auth, timeout=PATIENCE, verify=trusted())
    except httpx.HTTPError as error:
        return error, str(error) or type(error).__name__
    if answer.status_code == 401:
        raise Permanent(f"Prefect at {api_url()} wants a name and password: set PREFECT_API_AUTH_STRING")
    return answer, f"HTTP {answer.status_code}"


def submit(deployment: str, parameters: Mapping[str, Any], *, key: str = "") -> dict[str, Any]:
    """Start a run of a deployment ("rollout/rollout") and return it; a repeated ``key`` returns the run it started before."""
    return submitted(deployment, parameters, key)[0]


def submitted(deployment: str, parameters: Mapping[str, Any], key: str = "") -> tuple[dict[str, Any], bool]:
    """Return a run that was started, and whether it is new: Prefect answers 200 instead of 201 for a key that it knows."""
    found = call("GET", f"/deployments/name/{deployment}")
    if found.status_code == 404:
        raise Permanent(f"Prefect at {api_url()} has no deployment {deployment}: `flotilla server up` registers it")
    state = {"type": "SCHEDULED"}
    body = {"parameters": dict(parameters), "state": state, "idempotency_key": key or secrets.token_hex(16)}
    answer = call("POST", f"/deployments/{found.json()['id']}/create_flow_run", body)
    if answer.status_code not in (200, 201):
        raise Permanent(f"{deployment} was not started: {answer.text[:500]}")
    run: dict[str, Any] = answer.json()
    return run, answer.status_code == 201


def ensure_running(deployment: str) -> str:
    """Start a deployment that is to run for good, unless a run of it is under way; return what was done."""
    found = call("GET", f"/deployments/name/{deployment}")
    if found.status_code == 404:
        raise Permanent(f"Prefect at {api_url()} has no deployment {deployment}: `flotilla server up` registers it")
    under_way = {"type": {"any_": ["RUNNING", "PENDING"]}}
    body = {"deployments": {"id": {"any_": [found.json()["id"]]}}, "flow_runs": {"state": under_way}, "limit": 1}
    if call("POST", "/flow_runs/filter", body).json():
        return "runs"
    submit(deployment, {})
    return "started"


def note_run(deployment: str, name: str, parameters: Mapping[str, Any], outcome: tuple[str, str]) -> dict[str, Any]:
    """Have a run of a deployment that was done without Prefect among its runs; ``outcome`` is its state's type and message.

    Raises Transient or Permanent where there is no Prefect, or no such deployment.
    """
    found = call("GET", f"/deployments/name/{deployment}")
    if found.status_code == 404:
        raise Permanent(f"Prefect at {api_url()} has no deployment {deployment}")
    state = {"type": outcome[0], "message": outcome[1]}
    body = {"name": name, "flow_id": found.json()["flow_id"], "deployment_id": found.json()["id"], "state": state}
    answer = call("POST", "/flow_runs/", {**body, "parameters": dict(parameters), "idempotency_key": name})
    if answer.status_code not in (200, 201):
        raise Permanent(f"{name} is not among the runs of {deployment}: {answer.text[:500]}")
    run: dict[str, Any] = answer.json()
    return run


def run_of(run: str) -> dict[str, Any]:
    """Return a run; raises Permanent where there is none of that id."""
    answer = call("GET", f"/flow_runs/{run}")
    if answer.status_code != 200:
        raise Permanent(f"Prefect at {api_url()} has no run {run}")
    found: dict[str, Any] = answer.json()
    return found


def logs_of(run: str, offset: int) -> list[dict[str, Any]]:
    """Return a run's log records in their order, from an offset on."""
    body = {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC", "offset": offset, "limit": 200}
    answer = call("POST", "/logs/filter", body)
    found: list[dict[str, Any]] = answer.json() if answer.status_code == 200 else []
    return found


def waiting() -> list[dict[str, Any]]:
    """Return the runs that wait for a person, oldest first."""
    body = {"flow_runs": {"state": {"type": {"any_": ["PAUSED"]}}}, "sort": "START_TIME_ASC", "limit": 200}
    found: list[dict[str, Any]] = call("POST", "/flow_runs/filter", body).json()
    return found


def answer_gate(run: str, decision: str, name: str, reason: str) -> str:
    """Answer a gate; return "" where the answer was taken, else Prefect's reason (which it tells with HTTP 200)."""
    return resume(run, {"decision": decision, "name": name, "reason": reason})


def resume(run: str, given: Mapping[str, Any]) -> str:
    """Fill in the form that a run waits with; return "" where it was taken, else Prefect's reason."""
    answer = call("POST", f"/flow_runs/{run}/resume", {"run_input": dict(given)})
    if answer.status_code >= 400:
        return answer.text[:500]
    told = answer.json()
    if told.get("status") == "ACCEPT":
        return ""
    return str((told.get("details") or {}).get("reason") or told)


def credentials() -> str:
    """Return NAME:PASSWORD for the server, "" where it wants none."""
    return os.environ.get("PREFECT_API_AUTH_STRING") or os.environ.get("PREFECT_SERVER_API_AUTH_STRING") or ""


def recorded() -> dict[str, Any]:
    """Return what is known of the local Prefect: port, address, processes; {} where there is none."""
    try:
        found: dict[str, Any] = json.loads((home() / "state.json").read_text())
    except (OSError, ValueError):
        return {}
    return found
