"""What API servers answer, and the errors that are made of it: by who can mend them, in an operator's words."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import urllib3

from flotilla.errors import Permanent, Transient
from flotilla.metrics.answers import Said, advice, read_said

_WRAPPED = re.compile(r"""\(<.*?>, ['"](?P<text>.*)['"]\)""")
"""How urllib3 prints its errors: the pool as an object, then the text."""
RETRIABLE = {408, 429, 500, 502, 503, 504}  # statuses that may pass by themselves


@dataclass(frozen=True)
class Answer:
    """What an API server answered: status, body as JSON (or {} where there is none) and headers."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def message(self) -> str:
        """The server's own sentence about a failure."""
        if isinstance(self.body, dict):
            return str(self.body.get("message") or self.body.get("reason") or f"HTTP {self.status}")
        return f"HTTP {self.status}: {str(self.body)[:200]}"


@dataclass(frozen=True)
class Reply:
    """What was answered to bytes: status, body as it came, headers; ``sent`` and ``received`` in ms since 1970, our clock."""

    status: int
    content: bytes
    headers: Mapping[str, str]
    sent: int
    received: int

    @property
    def text(self) -> str:
        """The beginning of the body, for an error."""
        return self.content[:300].decode(errors="replace").strip()


class Cut(Transient):
    """An answer began and did not end."""


class TooMuch(Transient):
    """An answer would hold more than is allowed: a shorter span is to be asked for."""


def check(name: str, reply: Reply, what: str) -> None:
    """Raise the error that the answer of a Prometheus stands for, unless it is one to go on with."""
    said = read_said(reply.status, reply.text)
    if said is Said.DONE:
        return
    text = f"{name}: {what}: {_words(reply)} (HTTP {reply.status})"
    if said is Said.TOO_LARGE:
        raise TooMuch(text)
    raise Transient(text) if said is Said.LATER else Permanent(f"{text}; {advice(reply.status, reply.text)}")


def _words(reply: Reply) -> str:
    """Return what a Prometheus says went wrong, or the beginning of what something else says."""
    try:
        return str(json.loads(reply.content)["error"])[:300]
    except (ValueError, KeyError, TypeError):
        return " ".join(reply.text.split()) or "no words"


def refused(cluster: str, what: str, answer: Answer) -> Transient | Permanent:
    """Return the error for an answer that is not a success: by its kind, as an operator's sentence.

    ``what`` finishes "could not": "apply Deployment examples/podinfo".
    """
    hint = {
        401: "; the credentials are not valid (any more): renew them in the kubeconfig",
        403: "; give the account this right, see `flotilla check`" if " cannot " in answer.message else "",
    }.get(answer.status, "")  # admission refuses with 403 too, and no right would help there
    text = f"{cluster}: could not {what}: {answer.message} (HTTP {answer.status}){hint}"
    return Transient(text) if is_retriable(answer) else Permanent(text)


def is_retriable(answer: Answer) -> bool:
    """Tell whether an answer may be another one in a while.

    An unknown field or a value of a wrong type under server-side apply is answered with 500, "failed to create typed patch
    object": that one stays.
    """
    return answer.status in RETRIABLE and "failed to create typed patch object" not in answer.message


def unreachable(cluster: str, host: str, error: Exception) -> Transient | Permanent:
    """Return the error for a request that got no answer at all."""
    cause = getattr(error, "reason", None) or error
    if isinstance(cause, urllib3.exceptions.SSLError) or "CERTIFICATE" in str(cause).upper():
        return Permanent(
            f"{cluster}: TLS with {host} failed: {cause}; check certificate-authority and expiry in the kubeconfig"
        )
    if isinstance(cause, urllib3.exceptions.LocationValueError):
        return Permanent(f"{cluster}: {host} is no address of an API server: {cause}")
    if "IncompleteRead" in str(cause):
        return Cut(f"{cluster}: the answer of {host} is cut off: {short(cause)}")
    return Transient(f"{cluster}: {host} does not answer: {short(cause)}")


def short(error: object) -> str:
    """Return an error's text without object addresses and the library's own wrapping."""
    text = str(error).rpartition(">: ")[2] or str(error)
    if wrapped := _WRAPPED.fullmatch(text):
        text = wrapped["text"]
    return text if len(text) <= 200 else text[:197] + "..."
