"""What an HTTP answer means: whose business a refusal is, and whether time, smaller requests or a person mend it.

The remote_write specification has 5xx and 429 tried again and no other 4xx (https://prometheus.io/docs/specs/prw). Two things
differ from what the numbers say: Prometheus before 2.50 answers 500 for good where a sample is too old (#13335), and an agent
answers 500 for good where it is read, as it keeps nothing that could be.
"""

from __future__ import annotations

import re
from enum import StrEnum

_TOO_OLD = re.compile(r"too old sample", re.IGNORECASE)
_TOO_LARGE = re.compile(r"too (big|large)|exceed(ed|s|ing)? |must not exceed|mustn't exceed|would load too many", re.IGNORECASE)
_BAD_QUERY = re.compile(r'"errorType":\s*"(bad_data|execution|422)"')
_NOT_READABLE = re.compile(r"unsupported operation with WAL-only storage|unavailable with Prometheus Agent", re.IGNORECASE)


class Said(StrEnum):
    """What to do after an answer."""

    DONE = "done"
    REFUSED = "refused"  # something in these samples: they are looked at closer
    TOO_LARGE = "too large"  # less at once
    LATER = "later"  # the same again, after a pause
    NEVER = "never"  # nothing of this kind, until a person changed an address, a credential or a setting


def write_said(status: int, text: str = "") -> Said:
    """Return what a store's answer to remote_write says; ``text`` is the beginning of its body."""
    if 200 <= status < 300:
        return Said.DONE
    if status == 413 or (status in (400, 422) and _TOO_LARGE.search(text)):
        return Said.TOO_LARGE
    if status in (400, 409, 422) or (status == 500 and _TOO_OLD.search(text)):
        return Said.REFUSED  # 409: Thanos Receive
    return _otherwise(status)


def read_said(status: int, text: str = "") -> Said:
    """Return what a cluster's answer to remote_read or a query says; ``text`` is the beginning of its body."""
    if status == 200:
        return Said.DONE
    if _NOT_READABLE.search(text):
        return Said.NEVER
    if status in (400, 413, 422) and (status == 413 or _TOO_LARGE.search(text)):
        return Said.TOO_LARGE
    return _otherwise(status)


def advice(status: int, text: str = "") -> str:
    """Return what a person may do about an answer that time does not mend."""
    if _NOT_READABLE.search(text):
        return "an agent keeps no samples: let it remote_write to the gateway, and say pushes: true in the fleet file"
    if _BAD_QUERY.search(text):
        return "check the query"
    return {
        401: "check the credentials that the fleet file refers to",
        403: "allow what the fleet file's credentials lack; through the API server that is get on services/proxy",
        404: "check the service and the path; a store must be told to receive remote_write",
        405: "check the path: what answers takes no POST there",
        501: "what answers does not receive remote_write: see its flags",
    }.get(status, "check the address")


def wait_of(retry_after: str | None) -> float | None:
    """Return for how many seconds an answer asks to wait; None where it does not say, or says it as a date."""
    return float(retry_after) if retry_after and re.fullmatch(r"\s*\d{1,6}\s*", retry_after) else None


def _otherwise(status: int) -> Said:
    is_passing = status in (408, 425, 429) or (status >= 500 and status != 501)
    return Said.LATER if is_passing else Said.NEVER
