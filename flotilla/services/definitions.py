"""The CustomResourceDefinitions that the wiring of services stands on: what is installed, and what may be done about it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from flotilla.objects import Manifest

EXPORTS = "serviceexports.multicluster.x-k8s.io"
IMPORTS = "serviceimports.multicluster.x-k8s.io"
PROPERTIES = "clusterproperties.about.k8s.io"
NAMES = (EXPORTS, IMPORTS, PROPERTIES)

RELEASE_LABEL = "multicluster.x-k8s.io/release-version"  # mcs-api config/crd/embed.go
REVISION_LABEL = "multicluster.x-k8s.io/crd-schema-revision"  # the same; counts changes since a release


@dataclass(frozen=True)
class Definition:
    """What counts of a CustomResourceDefinition.

    ``served`` and ``versions`` in its own order; ``stored`` are the versions in which objects may lie in etcd
    (status.storedVersions). ``release`` is (0, 5, 2, revision) where it carries mcs-api's labels, else None. ``fields``
    are the paths that its schemas declare ("v1beta1 spec.ports[].name"), ``contents`` is all that they say.
    """

    name: str
    served: tuple[str, ...]
    storage: str
    versions: tuple[str, ...] = ()
    stored: tuple[str, ...] = ()
    release: tuple[int, ...] | None = None
    fields: frozenset[str] = frozenset()
    contents: str = ""
    webhook: bool = False

    def __str__(self) -> str:
        served = "+".join(self.served) or "nothing"
        return f"{served}, {release_text(self.release)}" if self.release else served


class Decision(StrEnum):
    """What to do about one definition in one cluster."""

    FINE = "fine"
    INSTALL = "install"
    UPGRADE = "upgrade"
    MISSING = "missing"
    OLDER = "older"
    NEWER = "newer, left"
    OTHER = "left"

    @property
    def writes(self) -> bool:
        """Whether it changes the cluster."""
        return self in (Decision.INSTALL, Decision.UPGRADE)


@dataclass(frozen=True)
class Choice:
    """A decision, and the reason where there is more to say than the decision does."""

    decision: Decision
    reason: str = ""


def parse_definition(body: Manifest) -> Definition:
    """Return what counts of an apiextensions.k8s.io/v1 CustomResourceDefinition; raises KeyError for what is none."""
    spec = body["spec"]
    versions = spec["versions"]
    schemas = {entry["name"]: (entry.get("schema") or {}).get("openAPIV3Schema") or {} for entry in versions}
    return Definition(
        name=body["metadata"]["name"],
        served=tuple(entry["name"] for entry in versions if entry.get("served")),
        storage=next((entry["name"] for entry in versions if entry.get("storage")), ""),
        versions=tuple(schemas),
        stored=tuple((body.get("status") or {}).get("storedVersions") or ()),
        release=_release(body["metadata"].get("labels") or {}),
        fields=frozenset(f"{version} {path}" for version, schema in schemas.items() for path in _paths(schema)),
        contents=repr(sorted((entry["name"], _sorted(schemas[entry["name"]])) for entry in versions)),
        webhook=(spec.get("conversion") or {}).get("strategy") == "Webhook",
    )


def decide(ours: Definition, seen: Definition | None, *, asked: bool) -> Choice:
    """Return what to do about one definition; without being ``asked`` nothing is written.

    Never downgrades, and never takes a served version, a version with stored objects or a field away.
    """
    if seen is None:
        return Choice(Decision.INSTALL if asked else Decision.MISSING)
    if seen.contents == ours.contents and seen.served == ours.served and seen.storage == ours.storage:
        return Choice(Decision.FINE)
    if ours.release and seen.release and seen.release >= ours.release:
        if seen.release > ours.release:
            return Choice(Decision.NEWER, f"{release_text(seen.release)}; ours is {release_text(ours.release)}")
        return Choice(Decision.OTHER, f"says that it is {release_text(seen.release)}, as ours is, and has other contents")
    if loss := would_lose(ours, seen):
        unknown = seen.release is None and set(seen.served) - set(ours.served)
        return Choice(Decision.NEWER if unknown else Decision.OTHER, loss)
    return Choice(Decision.UPGRADE if asked else Decision.OLDER, f"{seen} -> {ours}")


def would_lose(ours: Definition, seen: Definition) -> str:
    """Return what a cluster would lose by getting our definition in place of its own, or nothing."""
    if gone := [version for version in seen.served if version not in ours.served]:
        return f"serves {', '.join(gone)}, which ours does not"
    if gone := [version for version in seen.stored if version not in ours.versions]:
        return f"has objects stored as {', '.join(gone)}, which ours does not know"
    if seen.webhook:
        return "converts between versions by somebody's webhook, which ours does not"
    shared = {path for path in seen.fields if path.partition(" ")[0] in ours.versions}
    if lost := sorted(shared - ours.fields):
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        return f"has the field {lost[0]}{more}, which ours does not"
    return ""


def upgraded(ours: Manifest, seen: Manifest) -> Manifest:
    """Return an installed definition with our spec, labels and annotations in it, and everything else as it was.

    It carries the resourceVersion that was looked at, so that a write of it fails where somebody was quicker.
    """
    metadata = dict(seen["metadata"])
    for kind in ("labels", "annotations"):
        metadata[kind] = {**(metadata.get(kind) or {}), **(ours["metadata"].get(kind) or {})}
    return {**seen, "metadata": metadata, "spec": ours["spec"]}


def is_established(body: Manifest) -> bool:
    """Tell whether the API server serves an installed definition (its condition Established)."""
    conditions = (body.get("status") or {}).get("conditions") or ()
    return any(entry["type"] == "Established" and entry["status"] == "True" for entry in conditions)


def release_text(release: tuple[int, ...] | None) -> str:
    """Return a release as people write it: "v0.5.2", with "revision 1" behind it where there is one."""
    if not release:
        return "of no named release"
    *numbers, revision = release
    return "v" + ".".join(map(str, numbers)) + (f" revision {revision}" if revision else "")


def _release(labels: Mapping[str, str]) -> tuple[int, ...] | None:
    match = re.fullmatch(r"v(\d+)\.(\d+)\.(\d+).*", labels.get(RELEASE_LABEL, ""))
    revision = labels.get(REVISION_LABEL, "0")
    return (*map(int, match.groups()), int(revision) if revision.isdigit() else 0) if match else None


def _paths(schema: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Yield the paths of all properties that a structural schema declares."""
    for name, below in (schema.get("properties") or {}).items():
        path = f"{above}.{name}" if above else name
        yield path
        yield from _paths(below, path)
    if isinstance(items := schema.get("items"), dict):
        yield from _paths(items, f"{above}[]")


def _sorted(value: Any) -> Any:
    """Return a JSON value with its keys in order, prose left out: a description says nothing about what is allowed."""
    if isinstance(value, dict):
        return [
            (key, _sorted(value[key])) for key in sorted(value) if not (key == "description" and isinstance(value[key], str))
        ]
    return [_sorted(item) for item in value] if isinstance(value, list) else value
