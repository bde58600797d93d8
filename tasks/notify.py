"""Tell people outside: a webhook with a JSON body. Tried a few times, never a reason to stop."""

from __future__ import annotations

import base64
import logging
import os
import time
from collections.abc import Callable
from typing import Any

import httpx

from flotilla.errors import Permanent
from tasks.clusters import Connection
from tasks.objects import Kind, read
from tasks.trust import trusted

ATTEMPTS = 3
TIMEOUT = 10.0  # seconds for one attempt

log = logging.getLogger(__name__)


def tell_webhook(reference: str, body: Any, hub: Callable[[], Connection] | None = None) -> bool:
    """Send a JSON body to a webhook; False where it could not be told, which is logged and nothing more.

    ``reference`` is a URL, ``env:NAME`` (a variable that holds one) or ``secret:NAMESPACE/NAME/KEY`` (read through ``hub``).
    """
    try:
        url = _url(reference, hub)
    except Permanent as error:
        log.warning("nobody was told: %s", error)
        return False
    for attempt in range(1, ATTEMPTS + 1):
        try:
            answer = httpx.post(url, **_content(body), timeout=TIMEOUT, verify=trusted())
            if answer.is_success:
                return True
            told = f"HTTP {answer.status_code}"
        except httpx.HTTPError as error:
            told = str(error) or type(error).__name__
        log.warning("webhook %s, attempt %d of %d: %s", _shown(reference), attempt, ATTEMPTS, told)
        time.sleep(attempt if attempt < ATTEMPTS else 0)
    return False


def _content(body: Any) -> dict[str, Any]:
    if isinstance(body, str):
        return {"content": body, "headers": {"Content-Type": "application/json"}}
    return {"json": body}


def _url(reference: str, hub: Callable[[], Connection] | None) -> str:
    scheme, _, rest = reference.partition(":")
    if scheme == "env":
        if not os.environ.get(rest):
            raise Permanent(f"the environment variable {rest} holds no webhook's URL")
        return os.environ[rest]
    if scheme != "secret":
        return reference
    namespace, name, key = rest.split("/", 2)
    found = read(hub(), Kind("v1", "Secret", "secrets", namespaced=True), namespace, name) if hub else None
    held = (found or {}).get("data") or {}
    if key not in held:
        raise Permanent(f"secret {namespace}/{name} holds no webhook's URL under {key!r}")
    return base64.b64decode(held[key]).decode().strip()


def _shown(reference: str) -> str:
    """Return a reference without what may be a secret: webhooks' URLs carry tokens in their paths."""
    return reference if reference.startswith(("env:", "secret:")) else reference.split("/", 3)[2] if "//" in reference else "?"
