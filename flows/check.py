"""`flotilla check`: the fleet file is right, every cluster is there, and we may do there what we will have to."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from flotilla.errors import InvalidInput, Problem, phrase
from flotilla.fleet import Fleet, parse_fleet
from flotilla.ground import Finding, judge
from tasks.ground import look_at_ground

RECOVERY = "FLOTILLA_RECOVERY"


def read_fleet(path: str) -> Fleet:
    """Return the fleet of a fleet file; raises InvalidInput where there is no such file or something in it is wrong.

    Where it says nothing of recovery, the file that FLOTILLA_RECOVERY names does: addresses differ by installation.
    """
    apart = os.environ.get(RECOVERY, "")
    return parse_fleet(_text(path, "a fleet file"), path, (apart, _text(apart, f"what {RECOVERY} names")) if apart else None)


def _text(path: str, what: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput([Problem(path, "", phrase(f"cannot be read: {error}"), what)]) from None


def check_fleet(fleet: Fleet) -> tuple[Finding, ...]:
    """Return a finding for every cluster, in the order of the file; all are looked at side by side."""
    with ThreadPoolExecutor(len(fleet.clusters)) as pool:
        return tuple(judge(seen) for seen in pool.map(look_at_ground, fleet.clusters))
