"""The demo: the main job on the lab, through the same API as everybody's: out, up through a gate, a bad version and back."""

from __future__ import annotations

import json
import os
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from flotilla.errors import FlotillaError, Permanent
from flotilla.fleet import Fleet
from flows.check import read_fleet
from flows.following import Answer, follow_run
from tasks import prefect_api
from tasks.clusters import connect, refused
from tasks.fanout import side_by_side

FLEET = "deployments/fleet.yaml"
APPLICATION = "deployments/apps/podinfo.yaml"
NEWER = "localhost/podinfo:6.9.2"
BAD = "localhost/podinfo:0.0.0-absent"


def play() -> None:
    """Play the three acts and show what answers where; raises Permanent where an act does not end as it should."""
    fleet = read_fleet(FLEET)
    beforehand: Answer | None = ("approve", "demo", "YES=1 was given") if os.environ.get("YES") == "1" else None
    runs = [
        _act("1. podinfo goes out to three clusters, a little different in each", {"approve": "auto"}, 0),
        _act("2. it is upgraded; production waits for a person", {"images": {"podinfo": NEWER}}, 0, beforehand),
        _act(
            "3. a version whose image is not there is rolled back on its own",
            {"images": {"podinfo": BAD}, "approve": "auto"},
            1,
        ),
    ]
    answers = side_by_side(fleet.names, lambda name: what_answers(fleet, name))
    _table(answers)
    _check(answers)
    _farewell(runs)


def what_answers(fleet: Fleet, cluster: str) -> dict[str, Any]:
    """Return what podinfo says over HTTP in a cluster, through the API server's service proxy."""
    path = "/api/v1/namespaces/podinfo/services/http:podinfo:9898/proxy/"
    answer = connect(fleet.cluster(cluster)).request("GET", path)
    if answer.status != 200:
        raise refused(cluster, "ask podinfo", answer)
    found: dict[str, Any] = answer.body
    return found


def _act(title: str, parameters: dict[str, Any], expected: int, beforehand: Answer | None = None) -> dict[str, Any]:
    typer.secho(f"\n{title}", bold=True)
    run = prefect_api.submit("rollout/rollout", {"application": APPLICATION, "fleet": FLEET, **parameters})
    typer.echo(prefect_api.ui_link(run["id"]))
    code = follow_run(run["id"], typer.echo, beforehand)
    if code != expected:
        raise Permanent(f"{title}: ended with {code}, not {expected}: {prefect_api.ui_link(run['id'])}")
    return {**run, "title": title}


def _table(answers: dict[str, Any]) -> None:
    table = Table("cluster", "version", "message", "pod", title="what answers where")
    for cluster, answer in answers.items():
        if isinstance(answer, FlotillaError):
            table.add_row(cluster, "", str(answer), "")
        else:
            table.add_row(cluster, answer["version"], answer["message"], answer["hostname"])
    Console(width=120).print(table)


def _check(answers: dict[str, Any]) -> None:
    wanted = NEWER.rpartition(":")[2]
    wrong = [name for name, answer in answers.items() if isinstance(answer, FlotillaError) or answer["version"] != wanted]
    if wrong:
        raise Permanent(f"podinfo {wanted} does not answer in {', '.join(wrong)}")


def _farewell(runs: list[dict[str, Any]]) -> None:
    typer.secho(f"\nPrefect UI: {prefect_api.ui_link()}", bold=True)
    for run in runs:
        typer.echo(f"  {run['title']}: {prefect_api.ui_link(run['id'])}")
    deployment = prefect_api.call("GET", "/deployments/name/rollout/rollout").json()["id"]
    body = json.dumps({"parameters": {"application": APPLICATION, "images": {"podinfo": NEWER}}})
    typer.echo("\nThe same flow, from anywhere:")
    typer.echo(f'  eval "$(flotilla env)"; prefect deployment run rollout/rollout -p application={APPLICATION}')
    url = f"{prefect_api.api_url()}/deployments/{deployment}/create_flow_run"
    typer.echo(f"  curl -sX POST {url} -H 'Content-Type: application/json' -d '{body}'")
    typer.echo("\nEverything stays up until: make down")
