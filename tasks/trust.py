"""Whom TLS trusts where nothing else is said: read once in a process, for to read the authorities takes longer than to ask."""

from __future__ import annotations

import ssl
from functools import cache

import httpx


@cache
def trusted() -> ssl.SSLContext:
    """Return the context of the authorities that httpx trusts; ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` name others."""
    return httpx.create_ssl_context()
