"""Whether users are served at a site: asked as DNS servers ask, where they ask."""

from __future__ import annotations

from http import HTTPStatus

import httpx

from flotilla.errors import Transient
from flotilla.recovery.facts import ServingSeen
from tasks.trust import trusted

PATIENCE = 1.0  # seconds: as long as a DNS server waits (flotilla.traffic.service)
_SHOWN = 200  # characters of what it says instead


def seen(site: str, url: str) -> ServingSeen:
    """Return whether a site serves, by what it answers at ``url``; raises Transient where nothing answers."""
    try:
        answer = httpx.get(url, timeout=PATIENCE, trust_env=False, follow_redirects=False, verify=trusted())
    except httpx.HTTPError as error:
        raise Transient(f"{site}: no answer at {url}: {error or type(error).__name__}") from None
    if answer.status_code == HTTPStatus.OK:
        return ServingSeen(site)
    return ServingSeen(site, f"{url} answers {answer.status_code}: {' '.join(answer.text.split())[:_SHOWN]}")
