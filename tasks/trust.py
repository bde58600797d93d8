"""Whom TLS trusts where nothing else is said: read once in a process, for to read the authorities takes longer than to ask."""

from __future__ import annotations

import os
import ssl
from functools import cache

import httpx

from flotilla.errors import InvalidInput, Problem

_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")  # of OpenSSL; httpx takes the first of them that is set


@cache
def trusted() -> ssl.SSLContext:
    """Return the context of the authorities that httpx trusts; ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` name others.

    Raises InvalidInput where what they name can't be read as authorities.
    """
    try:
        return httpx.create_ssl_context()
    except OSError as error:  # of which ssl.SSLError is one
        name = next((name for name in _VARIABLES if os.environ.get(name)), _VARIABLES[0])
        told = f"authorities in PEM, or nothing: those that come with certifi ({error.strerror or error})"
        raise InvalidInput([Problem("the environment", name, os.environ.get(name), told)]) from None
