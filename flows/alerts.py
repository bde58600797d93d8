"""Alerts on the aggregate: which there are and what they say, what they start, and that each outbreak starts it once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from threading import Lock
from typing import Any

from flotilla.dashboards.rules import parse_rules
from flotilla.errors import FlotillaError, InvalidInput, Transient
from flotilla.fleet import Fleet
from flotilla.metrics.alerts import Freshness, Leave, Situation, Start, decided
from flotilla.metrics.firing import ALERTS, SINCE, firing
from flotilla.metrics.webhook import Alert, parse_webhook
from tasks.doors import now
from tasks.intake import Intake
from tasks.manifests import read_texts
from tasks.prefect_api import submit
from tasks.store import store_of

PATH = "/alerts"
WATERMARKS = "max by (cluster) (last_over_time(flotilla_watermark_timestamp_seconds[1d]))"
REMEMBERED = 10_000  # keys of what was started; Prefect knows all of them
log = logging.getLogger("flotilla.alerts")

Decision = Start | Leave
Tell = Callable[[Sequence[Decision]], None]


class Watch:
    """What is known of a fleet when alerts come. Raises Transient or Permanent where the store can't be asked."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet, self._engine = fleet, store_of(fleet.metrics.store).engine
        self._started: dict[str, None] = {}
        self._turns: dict[str, Lock] = {}

    def situation(self) -> Situation:
        """Return how fresh each cluster is now, what was started, and the rules."""
        found = {one["metric"].get("cluster"): 1000 * float(one["value"][1]) for one in self._engine.query(WATERMARKS)}
        here = now()
        ages = {name: round(here - found[name]) if name in found else None for name in self._fleet.names}
        limit = round(1000 * self._fleet.metrics.stale_after)
        return Situation(Freshness(ages, limit), tuple(self._started), rules_of(self._fleet.metrics.rules))

    def firing(self) -> list[Alert]:
        """Return the alerts that fire by the store's own record of what its rules found."""
        return firing(self._engine.query(ALERTS), self._engine.query(SINCE))

    def decisions(self, alerts: Iterable[Alert]) -> list[Decision]:
        """Return what alerts would start now; nothing is started."""
        situation = self.situation()
        return [decided(alert, self._fleet.metrics.alerts, situation) for alert in alerts]

    def take(self, alerts: Sequence[Alert]) -> list[Decision]:
        """Start what alerts are to start. Raises Transient where some of it was not, after all the rest was."""
        decisions, failed = self.decisions(alerts), list[str]()
        for decision in decisions:
            if isinstance(decision, Start):
                try:
                    self._start(decision)
                except FlotillaError as error:
                    failed.append(f"{decision.alert}: {error}")
            else:
                log.info("%s", decision)
        if failed:
            raise Transient("; ".join(failed))
        return decisions

    def _start(self, start: Start) -> None:
        with self._turns.setdefault(start.key, Lock()):  # of a storm one asks Prefect, the others wait for what comes of it
            if start.key in self._started:
                return
            run = submit(start.deployment, start.parameters, key=start.key)
            self._started[start.key] = None
        self._turns.pop(start.key, None)
        for old in list(self._started)[:-REMEMBERED]:
            self._started.pop(old, None)
        log.info("%s: %s is started as run %s (%s)", start.alert, start.deployment, run.get("name"), run.get("id"))


def rules_of(paths: Sequence[str]) -> dict[str, str]:
    """Return the expressions of alerts by their names, read anew; those of one name as one."""
    found: dict[str, str] = {}
    for file, text in read_texts(paths).items():
        for rule in parse_rules(text, file).rules:
            if rule.alert:
                found[rule.alert] = f"{found[rule.alert]} or ({rule.expr})" if rule.alert in found else f"({rule.expr})"
    return found


def intake(watch: Watch, token: str, tell: Tell) -> Intake:
    """Return where Alertmanager posts, and what becomes of it."""

    def take(_: str, body: bytes) -> Any:
        notification = parse_webhook(body)
        if notification.left_out:
            log.error("Alertmanager left out %d alerts of a group: its max_alerts is to be 0", notification.left_out)
        try:
            decisions = watch.take(notification.alerts)
        except InvalidInput as error:
            raise Transient(f"not the alert's fault: {error}") from None  # to be told again once a person has mended it
        tell(decisions)
        return {"decisions": [said(decision) for decision in decisions]}

    return Intake(PATH, {token: "Alertmanager"}, take)


def said(decision: Decision) -> str:
    """Return a decision as a line."""
    if isinstance(decision, Leave):
        return str(decision)
    given = ", ".join(f"{name}={value}" for name, value in decision.parameters.items())
    return f"{decision.alert}: {decision.deployment} ({given or 'no parameters'})"
