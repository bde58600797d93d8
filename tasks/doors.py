"""Ways to a Prometheus or a store: behind an API server's service proxy, with the cluster's kubeconfig, or at a URL."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

import httpx

from flotilla.errors import InvalidInput, Permanent, Problem, Transient
from flotilla.fleet import Cluster
from flotilla.metrics.config import PrometheusService
from tasks.answers import Reply
from tasks.clusters import Connection, connect
from tasks.trust import trusted

_ERRNO = re.compile(r"^\[Errno [^]]*\] ")


class Door(Protocol):
    """Raises Transient or Permanent where no answer came."""

    def exchange(
        self, method: str, path: str, *, content: bytes | None = None, headers: Mapping[str, str], timeout: float
    ) -> Reply:
        """Return what is answered to bytes, whatever the status; ``timeout`` in seconds."""


@dataclass(frozen=True)
class ThroughApiServer:
    """A Service of a cluster, or one pod behind it, by the proxy of its API server."""

    connection: Connection
    prefix: str

    def exchange(
        self, method: str, path: str, *, content: bytes | None = None, headers: Mapping[str, str], timeout: float
    ) -> Reply:
        """Return what is answered to bytes, whatever the status."""
        return self.connection.exchange(method, self.prefix + path, content=content, headers=headers, timeout=timeout)


@dataclass(frozen=True)
class AtUrl:
    """An address of its own; ``name`` is what errors begin with."""

    name: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    client: httpx.Client = field(
        default_factory=lambda: httpx.Client(trust_env=False, follow_redirects=False, verify=trusted())
    )

    @property
    def shown(self) -> str:
        """The address without the credentials that it may hold."""
        parts = urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

    def exchange(
        self, method: str, path: str, *, content: bytes | None = None, headers: Mapping[str, str], timeout: float
    ) -> Reply:
        """Return what is answered to bytes, whatever the status."""
        sent, all_headers, until = now(), {**self.headers, **headers}, time.monotonic() + timeout
        body = bytearray()
        try:
            stream = self.client.stream(method, self.url + path, content=content, headers=all_headers, timeout=timeout)
            with stream as answer:
                for part in answer.iter_bytes():
                    body += part
                    if time.monotonic() > until:  # httpx's own timeout begins anew with every byte
                        raise httpx.ReadTimeout(f"the answer is not whole after {timeout:g} s")
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise Permanent(f"{self.name}: {self.shown} is no address: {error}") from None
        except httpx.HTTPError as error:
            told = _ERRNO.sub("", str(error)) or type(error).__name__
            raise Transient(f"{self.name}: {self.shown} does not answer: {told}") from None
        return Reply(answer.status_code, bytes(body), answer.headers, sent, now())


def door_of(cluster: Cluster, pod: str = "") -> Door:
    """Return the way to a cluster's Prometheus, or to one pod of its replicas.

    Raises InvalidInput where a variable that holds a credential is not set.
    """
    settings = cluster.metrics
    reached = settings.reached
    if isinstance(reached, str):
        return AtUrl(cluster.name, reached, headers_of(settings.headers_env, f"metrics.headersEnv of {cluster.name}"))
    return ThroughApiServer(connect(cluster), proxied(reached, pod))


def proxied(service: PrometheusService, pod: str = "") -> str:
    """Return the path of the API server that leads to a Service, or to one pod behind it."""
    scheme = "" if service.scheme == "http" else "https:"
    kind, name = ("pods", pod) if pod else ("services", service.name)
    return f"/api/v1/namespaces/{service.namespace}/{kind}/{scheme}{name}:{service.port}/proxy"


def headers_of(variables: Mapping[str, str], where: str) -> dict[str, str]:
    """Return headers with the values that environment variables hold; raises InvalidInput naming those that are not set."""
    if unset := sorted({name for name in variables.values() if name not in os.environ}):
        allowed = "the names of environment variables that are set"
        raise InvalidInput([Problem("environment", where, name, allowed) for name in unset])
    return {header: os.environ[name] for header, name in variables.items()}


def now() -> int:
    """Return the time in ms since 1970, by our clock."""
    return time.time_ns() // 1_000_000
