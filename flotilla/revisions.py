"""What was rolled out, kept in the clusters themselves: a revision is the whole intent, with who agreed to it and how it ended.

Every cluster holds every cluster's share, so that any one of them can bring along another that was away. Pure.
"""

from __future__ import annotations

import base64
import json
import lzma
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter

from flotilla.errors import Permanent
from flotilla.intent import Intent
from flotilla.objects import Manifest, digest

LABEL = "flotilla.dev/application"
STATE = "flotilla.dev/state"
RUN = "flotilla.dev/run"
INTENT = "flotilla.dev/intent-digest"
STARTED = "flotilla.dev/started"
STEPS = "flotilla.dev/steps-done"
APPROVALS = "flotilla.dev/approvals"
NOTE = "flotilla.dev/note"

LIMIT = 1024 * 1024
"""Bytes of an encoded intent; etcd takes requests of up to 1.5 MiB."""

_INTENT: TypeAdapter[Intent] = TypeAdapter(Intent)


class RevisionState(StrEnum):
    """How far one cluster is with a revision."""

    ROLLING_OUT = "rolling-out"
    GOOD = "good"
    FAILED = "failed"


@dataclass(frozen=True)
class Approval:
    """Who agreed or refused at a gate, when (ISO 8601), why, and to which plan (its hash)."""

    gate: str
    decision: str
    name: str
    reason: str
    plan: str
    at: str


@dataclass(frozen=True)
class Revision:
    """One revision of an application as one cluster records it.

    ``number`` is the fleet's: the same in every cluster. ``steps`` are the names of the deploy steps that are done here.
    """

    cluster: str
    number: int
    state: RevisionState
    intent: Intent
    digest: str
    run: str = ""
    started: str = ""
    steps: tuple[str, ...] = ()
    approvals: tuple[Approval, ...] = ()
    note: str = ""

    @property
    def name(self) -> str:
        """The name of the ControllerRevision that holds it."""
        return f"flotilla.{self.intent.name}.{self.number}"


def intent_digest(intent: Intent) -> str:
    """Return the digest of what an intent asks for; where its file stands and what it warns of do not count."""
    return digest(_INTENT.dump_python(replace(intent, source="", warnings=()), mode="json"))


def encoded(revision: Revision) -> dict[str, Any]:
    """Return a revision as a ControllerRevision; raises Permanent where it would not fit into one."""
    text = json.dumps(_INTENT.dump_python(revision.intent, mode="json"), separators=(",", ":"))
    packed = base64.b64encode(lzma.compress(text.encode(), preset=6)).decode()
    if len(packed) > LIMIT:
        raise Permanent(
            f"{revision.intent.name}: its {len(text) / 1e6:.1f} MB of manifests take {len(packed) / 1e6:.2f} MB compressed; "
            f"a revision holds {LIMIT / 1e6:.2f} MB: split the application"
        )
    annotations = {
        STATE: str(revision.state),
        RUN: revision.run,
        INTENT: revision.digest,
        STARTED: revision.started,
        STEPS: json.dumps(list(revision.steps)),
        APPROVALS: json.dumps([asdict(approval) for approval in revision.approvals], ensure_ascii=False),
        NOTE: revision.note,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": revision.name,
            "namespace": revision.intent.namespace,
            "labels": {LABEL: revision.intent.name, "app.kubernetes.io/managed-by": "flotilla"},
            "annotations": annotations,
        },
        "revision": revision.number,
        "data": {"encoding": "json+xz+base64", "intent": packed},
    }


def decoded(cluster: str, live: Manifest) -> Revision:
    """Return the revision that a ControllerRevision holds; raises Permanent where it was not written by Flotilla."""
    notes: Mapping[str, str] = live["metadata"].get("annotations") or {}
    name = f"{cluster}: ControllerRevision {live['metadata']['namespace']}/{live['metadata']['name']}"
    try:
        text = lzma.decompress(base64.b64decode(live["data"]["intent"]))
        return Revision(
            cluster=cluster,
            number=int(live["revision"]),
            state=RevisionState(notes[STATE]),
            intent=_INTENT.validate_json(text),
            digest=notes[INTENT],
            run=notes.get(RUN, ""),
            started=notes.get(STARTED, ""),
            steps=tuple(json.loads(notes.get(STEPS, "[]"))),
            approvals=tuple(Approval(**one) for one in json.loads(notes.get(APPROVALS, "[]"))),
            note=notes.get(NOTE, ""),
        )
    except (KeyError, TypeError, ValueError, lzma.LZMAError) as error:
        raise Permanent(f"{name} cannot be read as a revision: {error}") from None


def last_good(revisions: Iterable[Revision], before: int | None = None) -> Revision | None:
    """Return the newest good revision, older than number ``before`` if given."""
    good = [one for one in revisions if one.state is RevisionState.GOOD and (before is None or one.number < before)]
    return max(good, key=lambda one: one.number, default=None)


def next_number(revisions: Iterable[Revision], wanted: str) -> int:
    """Return the number for an intent of digest ``wanted``: the fleet's newest revision's if it is the same.

    So a run that was interrupted, and one that brings along a cluster that was away, go on with the number they had.
    """
    newest = max(revisions, key=lambda one: one.number, default=None)
    if newest is None:
        return 1
    return newest.number if newest.digest == wanted else newest.number + 1


def superfluous(revisions: Sequence[Revision], keep: int) -> tuple[Revision, ...]:
    """Return the revisions of one cluster beyond the ``keep`` newest ones; never the last good one."""
    held = last_good(revisions)
    oldest_first = sorted(revisions, key=lambda one: one.number)
    beyond = oldest_first[: max(0, len(oldest_first) - max(1, keep))]
    return tuple(one for one in beyond if held is None or one.number != held.number)
