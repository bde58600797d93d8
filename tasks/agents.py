"""A site's agent, asked from elsewhere: over HTTPS, by connections that stay open."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx

from flotilla.errors import FlotillaError, Permanent, Refused, Transient
from flotilla.node.memory import NotBegun, Stale

SEE = 2.0  # seconds for a look
CONNECT = 2.0  # seconds
EVERY = 0.1  # seconds between looks at a job


class Busy(Transient):
    """The agent works at another act."""


_ERRORS: Mapping[int, type[FlotillaError]] = {
    HTTPStatus.CONFLICT: Stale,
    HTTPStatus.PRECONDITION_REQUIRED: NotBegun,
    HTTPStatus.LOCKED: Busy,
    HTTPStatus.SERVICE_UNAVAILABLE: Transient,
    HTTPStatus.FORBIDDEN: Refused,
}


class Agent:
    """One site's agent. ``ca`` is the file of the authority that its certificate has to be of; safe to use from threads."""

    def __init__(self, site: str, url: str, token: str, ca: str | Path) -> None:
        self.site, self.url = site, url.rstrip("/")
        try:
            context = ssl.create_default_context(cafile=str(ca))
        except (OSError, ssl.SSLError) as error:
            raise Permanent(f"agent of {site}: the authority {ca} cannot be read: {error}") from None
        if not token.strip():
            raise Permanent(f"agent of {site}: there is no token to show it")
        limits = httpx.Limits(max_keepalive_connections=4, keepalive_expiry=60)
        self._client = httpx.Client(
            base_url=self.url,
            verify=context,
            limits=limits,
            trust_env=False,
            headers={"Authorization": f"Bearer {token.strip()}"},
        )

    def seen(self, within: float = SEE) -> dict[str, Any]:
        """Return what the agent sees of its site; raises Transient where it does not answer."""
        return self._asked("GET", "/v1/seen", None, within)

    def act(self, epoch: int, run: str, body: Mapping[str, Any], within: float = 90.0) -> dict[str, Any]:
        """Have an act done; ``body`` is the act with its kind. A long one is answered with ``{"job": ID}``.

        Raises Stale where the epoch has passed: stop. NotBegun, Busy or Transient: look, and perhaps ask again. Refused:
        approvals do not do. Permanent: it stays so. An act without an answer may have been done: every act may be repeated.
        """
        return self._asked("POST", "/v1/act", {"epoch": epoch, "run": run, "act": dict(body)}, within)

    def job(self, job: str) -> dict[str, Any]:
        """Return how a long act stands; Permanent where the agent does not know it: it began anew since, so look."""
        return self._asked("GET", f"/v1/jobs/{job}", None, SEE)

    def finished(self, job: str, within: float) -> dict[str, Any]:
        """Wait for a long act to end well; raises what it failed with, Transient where it is still under way."""
        deadline = time.monotonic() + within
        while (found := self.job(job))["state"] == "running":
            if time.monotonic() > deadline:
                raise Transient(f"{self.site}: {found['kind']} is under way after {within:.0f} s: {found['progress']}")
            time.sleep(EVERY)
        if found["state"] == "failed":
            raise _ERRORS.get(found["status"], Permanent)(f"{self.site}: {found['told']}")
        return found

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _asked(self, method: str, path: str, body: Mapping[str, Any] | None, within: float) -> dict[str, Any]:
        timeout = httpx.Timeout(within, connect=min(within, CONNECT))
        try:
            answer = self._sent(method, path, body, timeout)
            told = answer.json()
        except httpx.HTTPError as error:
            raise Transient(f"agent of {self.site} at {self.url} does not answer: {_reason(error)}") from None
        except ValueError:
            raise Permanent(f"agent of {self.site}: what answers at {self.url} is none: {answer.text[:100]!r}") from None
        if answer.is_success and isinstance(told, dict):
            return told
        said = told.get("error", told) if isinstance(told, dict) else told
        raise _ERRORS.get(answer.status_code, Permanent)(f"agent of {self.site}: {said}")

    def _sent(self, method: str, path: str, body: Mapping[str, Any] | None, timeout: httpx.Timeout) -> httpx.Response:
        """Send it, once more where a connection that had been kept open turns out to be closed: acts may be repeated."""
        try:
            return self._client.request(method, path, json=body, timeout=timeout)
        except httpx.RemoteProtocolError:
            return self._client.request(method, path, json=body, timeout=timeout)


def _reason(error: httpx.HTTPError) -> str:
    return str(error) or type(error).__name__
