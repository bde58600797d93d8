"""Ask a store PromQL questions over Prometheus's HTTP API: VictoriaMetrics, Prometheus, Mimir and Thanos all speak it."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import httpx

from flotilla.dashboards.answers import Answer, Question, Reply, Series, Unanswered, series
from flotilla.errors import Permanent

PATIENCE = 30.0  # seconds for one question


@dataclass(frozen=True)
class Store:
    """A store's address, up to but without ``/api/v1``; ``token_env`` names the variable that holds a bearer token."""

    url: str
    token_env: str = ""

    def __str__(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}".rstrip("/")


class _NoAnswer(Exception):
    """Why there is none, as a sentence."""


def ask(store: Store, question: Question) -> Reply:
    """Return the answer to a question, or why there is none."""
    form = {"query": question.expr, "nocache": "1"}  # VictoriaMetrics: late samples show, and times are not rounded
    if question.step:
        path, form = "query_range", form | {"start": f"{question.start}", "end": f"{question.end}", "step": f"{question.step}"}
    else:
        path, form = "query", form | {"time": f"{question.end}"}
    try:
        body = _json(store, path, form)
        return Answer(tuple(_series(body["data"])), _warnings(body))
    except _NoAnswer as error:
        return Unanswered(str(error))
    except (KeyError, TypeError, ValueError, AttributeError):
        return Unanswered(f"the store {store} answered JSON that is not Prometheus's")


def label_values(store: Store, label: str, metric: str, start: float, end: float) -> tuple[str, ...]:
    """Return the values that a label has among the series of a metric, in order; raises Permanent."""
    return _names(store, f"label/{label}/values", {"match[]": metric, "start": f"{start}", "end": f"{end}"})


def label_names(store: Store, metric: str) -> frozenset[str]:
    """Return the labels that the series of a metric have; empty where it has no series. Raises Permanent."""
    return frozenset(_names(store, "labels", {"match[]": metric})) - {"__name__"}


def cardinality(store: Store, metrics: Iterable[str], now: float) -> dict[str, int]:
    """Return how many series each metric has now; those that have none are left out. Raises Permanent."""
    named = sorted(set(metrics))
    found: dict[str, int] = {}
    for first in range(0, len(named), 50):
        wanted = f'{{__name__=~"{"|".join(named[first : first + 50])}"}}'
        # A label of our own: the name of a metric does not outlive an aggregation everywhere.
        reply = ask(store, Question(f'count by (metric) (label_replace({wanted}, "metric", "$1", "__name__", "(.+)"))', now))
        if isinstance(reply, Unanswered):
            raise Permanent(reply.reason)
        found |= {one.get("metric"): round(one.last or 0) for one in reply.series}
    return found


def _names(store: Store, path: str, form: Mapping[str, str]) -> tuple[str, ...]:
    try:
        found = _json(store, path, form, get=True).get("data")
    except _NoAnswer as error:
        raise Permanent(str(error)) from None
    if not isinstance(found, list):
        raise Permanent(f"the store {store} answered JSON that is not Prometheus's")
    return tuple(map(str, found))


@cache
def _client() -> httpx.Client:
    return httpx.Client(timeout=PATIENCE, follow_redirects=False)


def _json(store: Store, path: str, form: Mapping[str, str], *, get: bool = False) -> Any:
    """Return the body of a good answer; raises _NoAnswer with the reason in words."""
    url = f"{store.url.rstrip('/')}/api/v1/{path}"
    headers = {"Authorization": f"Bearer {_token(store)}"} if store.token_env else {}
    try:
        if get:
            answer = _client().get(url, params=dict(form), headers=headers)
        else:
            answer = _client().post(url, data=dict(form), headers=headers)
    except httpx.TimeoutException:
        raise _NoAnswer(f"the store {store} did not answer within {PATIENCE:.0f} s") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        told = re.sub(r"^\[Errno [^]]*\] ", "", str(error)) or type(error).__name__
        raise _NoAnswer(f"the store {store} cannot be reached: {told}") from None
    return _good(store, answer)


def _good(store: Store, answer: httpx.Response) -> Any:
    try:
        body = answer.json()
    except ValueError:
        begin = " ".join(answer.text.split())[:80]
        raise _NoAnswer(f"the store {store} answered HTTP {answer.status_code} and no JSON: {begin!r}") from None
    if not isinstance(body, dict) or body.get("status") != "success":
        told = body.get("error") if isinstance(body, dict) else None
        raise _NoAnswer(f"the store {store} refused with HTTP {answer.status_code}: {told or 'without a reason'}")
    return body


def _token(store: Store) -> str:
    token = os.environ.get(store.token_env)
    if not token:
        raise _NoAnswer(f"the environment variable {store.token_env} holds no token for the store {store}")
    return token


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
