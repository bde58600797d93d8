"""Look at all clusters of an application side by side: for a plan, or for what is kept of it."""

from __future__ import annotations

from flotilla.errors import FlotillaError
from flotilla.facts import Unknown
from flotilla.fleet import Fleet
from flotilla.intent import Intent
from flotilla.revisions import Revision
from flotilla.rollout import Plan, plan
from tasks.clusters import connect
from tasks.fanout import side_by_side
from tasks.looks import look_at
from tasks.revisions import revisions_of


def plan_rollout(fleet: Fleet, intent: Intent, *, force: bool = False) -> Plan:
    """Return what rolling an intent out would do now; nothing is changed. With ``force`` others' fields are taken over."""
    looks = side_by_side(intent.clusters, lambda name: look_at(connect(fleet.cluster(name)), intent, force=force))
    seen = {name: Unknown(name, str(look)) if isinstance(look, FlotillaError) else look for name, look in looks.items()}
    return plan(intent.name, seen)


def known_revisions(fleet: Fleet, application: str, namespace: str) -> tuple[tuple[Revision, ...], tuple[str, ...]]:
    """Return the revisions of an application that the clusters keep, and what kept others from being asked."""
    found = side_by_side(fleet.names, lambda name: revisions_of(connect(fleet.cluster(name)), application, namespace))
    errors = tuple(str(one) for one in found.values() if isinstance(one, FlotillaError))
    return tuple(one for each in found.values() if not isinstance(each, FlotillaError) for one in each), errors
