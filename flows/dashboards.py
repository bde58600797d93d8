"""`flotilla dashboards serve`: the page of our own, and what it is told."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from flotilla.dashboards import telling
from flotilla.dashboards.answers import Question, Unanswered
from flotilla.dashboards.coverage import (
    WATERMARKS,
    ClusterState,
    Coverage,
    Freshness,
    cluster_states,
    complete_until,
    coverage,
    presence_texts,
    together,
    watermarks_of,
)
from flotilla.dashboards.drawing import believable, view
from flotilla.dashboards.frames import Frame, questions
from flotilla.dashboards.model import CLUSTER, Dashboard
from flotilla.dashboards.parsing import parse_dashboards
from flotilla.dashboards.picks import Picks
from flotilla.dashboards.promql import NotPromql
from flotilla.dashboards.vmui import vmui_dashboard
from flotilla.errors import InvalidInput, Problem, phrase
from flotilla.fleet import Fleet
from tasks.asking import Asker
from tasks.dashboard_files import write_texts
from tasks.manifests import read_texts
from tasks.pages import Asked, Site, files_of_page, open_server
from tasks.promql import Engine

FILES = "deployments/dashboards"
BEAT = 5.0  # seconds; how fresh the strip of clusters is
LONGEST = 400 * 86_400.0  # seconds of a range


def read_dashboards(paths: list[str]) -> dict[str, Dashboard]:
    """Return the dashboards of some files and directories by file; raises InvalidInput with every problem."""
    return parse_dashboards(read_texts(paths or [FILES]))


@dataclass(frozen=True)
class Desk:
    """What the page's answers are made from."""

    dashboards: Mapping[str, Dashboard]
    fleet: Fleet | None
    store: Engine
    asker: Asker
    now: Callable[[], float] = time.time

    def told_dashboards(self, asked: Asked) -> Any:  # noqa: ARG002 - a route
        """Return every dashboard's layout, and the fleet's clusters."""
        clusters = [] if self.fleet is None else [telling.plain(one.model_dump(mode="json")) for one in self.fleet.clusters]
        wanted = [{"name": one["name"], "role": one["role"], "site": one["site"]["name"]} for one in clusters]
        return {"dashboards": [telling.told_dashboard(one) for one in self.dashboards.values()], "clusters": wanted}

    def told_clusters(self, asked: Asked) -> Any:
        """Return how recent what the store has of each cluster is, and up to when it has all of those that are not silent."""
        reply, picks = self._watermarks(), _picks(asked)
        states = self._states(picks.end)
        complete = complete_until((one for one in states if _is_picked(one.cluster, picks)), picks.end)
        error = reply.reason if isinstance(reply, Unanswered) else ""
        return {"clusters": [telling.told_state(one) for one in states], "complete": complete, "error": error}

    def told_values(self, asked: Asked) -> Any:
        """Return the values that a variable can have within the range."""
        dashboard, picks = self._dashboard(asked), _picks(asked)
        name = _one(asked, "variable")
        found = [variable for variable in dashboard.variables if variable.name == name]
        if not found:
            raise _wrong("variable", name, "one of " + ", ".join(one.name for one in dashboard.variables))
        values = self.store.values(found[0].of_label, found[0].metric, picks.start, picks.end)
        known = self.fleet.names if self.fleet and name == CLUSTER else ()
        return {"values": [*known, *(value for value in values if value and value not in known)]}

    def told_panel(self, asked: Asked) -> Any:
        """Return what is to be drawn of a panel, which clusters it covers, and the questions behind it."""
        dashboard, picks = self._dashboard(asked), _picks(asked)
        number, began = _one(asked, "panel"), self.now()
        if not number.isdigit() or int(number) >= len(dashboard.panels):
            raise _wrong("panel", number, f"a number below {len(dashboard.panels)}")
        every = self._states(picks.end)
        states = [one for one in every if _is_picked(one.cluster, picks)]
        lacking = frozenset(one.cluster for one in states if one.freshness in (Freshness.SILENT, Freshness.NEVER))
        frame = Frame(dashboard, dashboard.panels[int(number)], picks, tuple(one.cluster for one in every), lacking)
        try:
            replies = self.asker.replies(questions(frame))
            covered = self._coverage(frame, states)
        except NotPromql as error:
            raise InvalidInput([Problem(dashboard.name, frame.panel.title, phrase(str(error)), "PromQL")]) from None
        warnings = {warning for reply in replies.values() if not isinstance(reply, Unanswered) for warning in reply.warnings}
        return {
            "view": telling.told_view(believable(view(frame, replies), covered)),
            "coverage": telling.told_coverage(covered),
            "warnings": sorted(warnings),
            "queries": [question.expr for question in replies],
            "step": picks.step,
            "seconds": round(self.now() - began, 3),
        }

    def _coverage(self, frame: Frame, states: list[ClusterState]) -> Coverage:
        parts = []
        for text in frame.texts:
            asked = {one: Question(one, frame.picks.end) for one in presence_texts(text)}
            replies = self.asker.replies(asked.values())
            parts.append(coverage(states, text, {one: replies[question] for one, question in asked.items()}))
        return together(parts)

    def _watermarks(self) -> Any:
        question = Question(WATERMARKS, self.now() // BEAT * BEAT)
        return self.asker.replies([question])[question]

    def _states(self, end: float) -> tuple[ClusterState, ...]:
        return cluster_states(self.fleet.names if self.fleet else (), watermarks_of(self._watermarks()), end)

    def _dashboard(self, asked: Asked) -> Dashboard:
        name = _one(asked, "dashboard")
        if name not in self.dashboards:
            raise _wrong("dashboard", name, "one of " + ", ".join(self.dashboards))
        return self.dashboards[name]


def serve_page(desk: Desk, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve the page until told to end (ctrl-C); ``ready`` is told its address."""
    routes = {
        "/api/dashboards": desk.told_dashboards,
        "/api/clusters": desk.told_clusters,
        "/api/values": desk.told_values,
        "/api/panel": desk.told_panel,
    }
    with closing(desk.asker), open_server(Site(routes, files_of_page(), frozenset({host})), host, port) as server:
        ready(f"http://{host}:{server.server_address[1]}/")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


def open_desk(dashboards: Mapping[str, Dashboard], fleet: Fleet | None, store: Engine) -> Desk:
    """Return a desk that asks a store; ``dashboards`` are by file."""
    by_name = {dashboard.name: dashboard for dashboard in dashboards.values()}
    return Desk(by_name, fleet, store, Asker(store.ask))


def export_dashboards(dashboards: Mapping[str, Dashboard], form: str, folder: str, fleet: Fleet) -> tuple[str, ...]:
    """Write dashboards for ``grafana`` or ``vmui`` into a folder; returns the files' paths."""
    if form == "grafana":
        from flotilla.dashboards.grafana import grafana_json  # only here: the library brings hundreds of classes

        return write_texts(folder, {f"{one.name}.json": grafana_json(one, fleet.names) for one in dashboards.values()})
    told = {f"{one.name}.json": json.dumps(vmui_dashboard(one), indent=2) + "\n" for one in dashboards.values()}
    return write_texts(folder, told)


def _picks(asked: Asked) -> Picks:
    start, end = _number(asked, "start"), _number(asked, "end")
    if not 1 <= end - start <= LONGEST:
        raise _wrong("start", start, f"a time from 1 s to {LONGEST / 86_400:.0f} days before end")
    values = {name.removeprefix("var-"): tuple(filter(None, given)) for name, given in asked.items() if name.startswith("var-")}
    return Picks(start, end, values)


def _is_picked(cluster: str, picks: Picks) -> bool:
    return not picks.values.get(CLUSTER) or cluster in picks.values[CLUSTER]


def _one(asked: Asked, name: str) -> str:
    return next(iter(asked.get(name, ())), "")


def _number(asked: Asked, name: str) -> float:
    try:
        return float(_one(asked, name))
    except ValueError:
        raise _wrong(name, _one(asked, name), "Unix seconds") from None


def _wrong(name: str, value: object, allowed: str) -> InvalidInput:
    return InvalidInput([Problem("request", name, value, allowed)])
