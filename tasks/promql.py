"""Ask PromQL questions over Prometheus's HTTP API: VictoriaMetrics, Prometheus, Mimir and Thanos all speak it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from flotilla.dashboards.answers import Answer, Question, Reply, Series, Unanswered, series
from flotilla.errors import FlotillaError, InvalidInput, Problem, Transient
from flotilla.metrics.selectors import Selector
from tasks import answers
from tasks.doors import AtUrl, Door

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
SHOWN = 200  # characters of a query in an error
AT_ONCE = 50  # metrics that one question counts


@dataclass(frozen=True)
class Engine:
    """What answers PromQL behind a door; ``api`` is where its HTTP API begins, ``patience`` the seconds for one answer.

    All but ``ask`` raise Transient or Permanent where there is no answer.
    """

    name: str
    door: Door
    api: str = "/api/v1"
    patience: float = 60.0

    def query(self, promql: str, at: str = "") -> list[dict[str, Any]]:
        """Return ``data.result`` of an instant query, at a time as the API takes it, or now."""
        return self._result("query", {"query": promql} | ({"time": at} if at else {}))

    def query_range(self, promql: str, begin: float, end: float, step: float) -> list[dict[str, Any]]:
        """Return ``data.result`` of a range query; times in seconds."""
        return self._result("query_range", {"query": promql, **_range(begin, end), "step": f"{step:g}"})

    def ask(self, question: Question) -> Reply:
        """Return the answer to a question, or why there is none."""
        fields = {"query": question.expr}
        if question.step:
            what, fields = "query_range", fields | _range(question.start, question.end) | {"step": f"{question.step:g}"}
        else:
            what, fields = "query", fields | {"time": f"{question.end:.3f}"}
        try:
            body = self._asked(what, fields)
            return Answer(tuple(_series(body["data"])), _warnings(body))
        except FlotillaError as error:
            return Unanswered(str(error))
        except (KeyError, TypeError, ValueError, AttributeError):
            return Unanswered(f"{self.name}: {what} {question.expr[:SHOWN]}: answered JSON that is not Prometheus's")

    def values(self, label: str, selector: Selector | str, begin: float, end: float | None = None) -> list[str]:
        """Return the values that a label has in some series; times in seconds.

        With an end Prometheus does not find what only came out of order before it (prometheus/prometheus#19739).
        """
        times = {"start": f"{begin:.3f}"} if end is None else _range(begin, end)
        return self._names(f"label/{label}/values", {"match[]": str(selector), **times})

    def labels(self, metric: str) -> frozenset[str]:
        """Return the labels that the series of a metric have; empty where it has no series."""
        return frozenset(self._names("labels", {"match[]": metric})) - {"__name__"}

    def cardinality(self, metrics: Iterable[str], now: float) -> dict[str, int]:
        """Return how many series each metric has at a time in seconds; those that have none are left out."""
        named = sorted(set(metrics))
        found: dict[str, int] = {}
        for first in range(0, len(named), AT_ONCE):
            wanted = f'{{__name__=~"{"|".join(named[first : first + AT_ONCE])}"}}'
            # A label of our own: the name of a metric does not outlive an aggregation everywhere.
            counting = f'count by (metric) (label_replace({wanted}, "metric", "$1", "__name__", "(.+)"))'
            found |= {one["metric"]["metric"]: round(float(one["value"][1])) for one in self.query(counting, f"{now:.3f}")}
        return found

    def _result(self, what: str, fields: Mapping[str, str]) -> list[dict[str, Any]]:
        try:
            found = self._asked(what, fields)["data"]["result"]
        except (KeyError, TypeError):
            found = None
        if not isinstance(found, list):
            raise self._odd(f"{what} {fields['query'][:SHOWN]}")
        return found

    def _asked(self, what: str, fields: Mapping[str, str]) -> Any:
        # nocache: VictoriaMetrics then shows late samples, and does not round times.
        body = urlencode({**fields, "nocache": "1"}).encode()
        reply = self.door.exchange("POST", f"{self.api}/{what}", content=body, headers=FORM, timeout=self.patience)
        return self._body(reply, f"{what} {fields['query'][:SHOWN]}")

    def _names(self, what: str, fields: Mapping[str, str]) -> list[str]:
        path = f"{self.api}/{what}?{urlencode(fields)}"
        body = self._body(self.door.exchange("GET", path, headers={}, timeout=self.patience), f"{what} of {fields['match[]']}")
        found = body.get("data")
        if not isinstance(found, list):
            raise self._odd(what)
        return [str(one) for one in found]

    def _body(self, reply: answers.Reply, what: str) -> dict[str, Any]:
        answers.check(self.name, reply, what)
        try:
            body = json.loads(reply.content)
        except ValueError:
            body = None
        if not isinstance(body, dict) or body.get("status") != "success":
            raise Transient(f"{self.name}: expected Prometheus' JSON for {what}, got {reply.text[:100]!r}")
        return body

    def _odd(self, what: str) -> Transient:
        return Transient(f"{self.name}: {what}: answered JSON that is not Prometheus's")


def engine_at(url: str, token_env: str = "", patience: float = 30.0) -> Engine:
    """Return what answers PromQL at an address, up to but without ``/api/v1``; ``patience`` in seconds.

    ``token_env`` names the variable that holds a bearer token; raises InvalidInput where that is not set.
    """
    token = os.environ.get(token_env)
    if token_env and not token:
        raise InvalidInput([Problem("environment", "token-env", token_env, "the name of a variable that holds a token")])
    headers = {"Authorization": f"Bearer {token}"} if token_env else {}
    return Engine("store", AtUrl("store", url.rstrip("/"), headers), patience=patience)


def _range(begin: float, end: float) -> dict[str, str]:
    return {"start": f"{begin:.3f}", "end": f"{end:.3f}"}


def _warnings(body: Mapping[str, Any]) -> tuple[str, ...]:
    partial = ["parts of the store did not answer"] if body.get("isPartial") else []
    return (*partial, *(str(one) for one in body.get("warnings") or ()))


def _series(data: Mapping[str, Any]) -> Iterable[Series]:
    result = data["result"]
    if data["resultType"] in ("scalar", "string"):
        return [series({}, _points([result]))]
    return [series(one["metric"], _points(one["values"] if "values" in one else [one["value"]])) for one in result]


def _points(found: Iterable[Any]) -> list[tuple[float, float]]:
    """Return the points that are numbers: a line has a gap where there is none."""
    return [(float(at), number) for at, value in found if math.isfinite(number := float(value))]
