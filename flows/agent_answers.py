"""How an agent's errors are told over HTTP: by who can mend them."""

from __future__ import annotations

from http import HTTPStatus

from flotilla.errors import FlotillaError, InvalidInput, Refused, Transient
from flotilla.node.memory import NotBegun, Stale
from tasks.agents import Busy

_STATUS: tuple[tuple[type[FlotillaError], HTTPStatus], ...] = (
    (Stale, HTTPStatus.CONFLICT),
    (NotBegun, HTTPStatus.PRECONDITION_REQUIRED),
    (Busy, HTTPStatus.LOCKED),
    (Transient, HTTPStatus.SERVICE_UNAVAILABLE),
    (Refused, HTTPStatus.FORBIDDEN),
    (InvalidInput, HTTPStatus.UNPROCESSABLE_ENTITY),
)


def status_of(error: FlotillaError) -> HTTPStatus:
    """Return the status of an error's answer: 500 for what stays wrong until somebody changes something."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)
