"""Where the business is wanted is recovery's to say; how often it is wanted there stays its application's."""

from __future__ import annotations

from flotilla.objects import Manifest

EPOCH = "flotilla.dev/epoch"
"""The annotation of a Deployment that a recovery scaled: the epoch at which it did."""


def as_recovery_left_it(manifest: Manifest, live: Manifest | None) -> Manifest:
    """Return a Deployment with the live number of replicas where a recovery decided whether it runs there at all.

    After a move the file still says none for the site that serves, and some for one that is lost: rolled out as it stands it
    would undo the move. Both none or both some: the file's number, as it always was.
    """
    if manifest["kind"] != "Deployment" or live is None or not (live["metadata"].get("annotations") or {}).get(EPOCH):
        return manifest
    now, wanted = live["spec"].get("replicas", 1), manifest["spec"].get("replicas", 1)
    if (now == 0) == (wanted == 0):
        return manifest
    return {**manifest, "spec": {**manifest["spec"], "replicas": now}}
