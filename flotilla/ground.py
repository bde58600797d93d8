"""The ground a fleet stands on: which API server versions and which rights Flotilla needs, and what was found."""

from __future__ import annotations

import re
from dataclasses import dataclass

from flotilla.facts import Unknown

OLDEST = (1, 22)  # the first Kubernetes with server-side apply as a stable feature
NEWEST = (1, 37)  # the newest that Flotilla was run against


@dataclass(frozen=True)
class Right:
    """A verb on a resource, in every namespace, as SelfSubjectAccessReview asks for it."""

    verb: str
    resource: str
    group: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}.{self.group}" if self.group else f"{self.verb} {self.resource}"


def rights(verbs: str, resource: str, group: str = "") -> tuple[Right, ...]:
    """Return a right per verb ("get list") on a resource; one with a slash is a subresource ("pods/exec")."""
    return tuple(Right(verb, resource, group) for verb in verbs.split())


NEEDED: tuple[Right, ...] = (
    *rights("get list create patch", "namespaces"),
    *rights("get list watch", "pods"),
    *rights("get list watch create patch delete", "services"),
    *rights("get list create patch delete", "configmaps"),
    *rights("get list watch create patch delete", "deployments", "apps"),
    *rights("list", "replicasets", "apps"),
    *rights("get list create patch delete", "controllerrevisions", "apps"),
    *rights("get create update delete", "leases", "coordination.k8s.io"),
)
"""What a rollout of Deployments and Services needs; other kinds in an Application need the same verbs on theirs."""


@dataclass(frozen=True)
class Version:
    """A Kubernetes version as an API server tells it."""

    major: int
    minor: int
    text: str


@dataclass(frozen=True)
class ClusterGround:
    """What a look at one cluster found: its version and the needed rights that the account lacks."""

    cluster: str
    server: str
    version: Version
    missing: tuple[Right, ...] = ()


@dataclass(frozen=True)
class Finding:
    """One line of `flotilla check`. ``ok`` is False where a rollout cannot work."""

    cluster: str
    ok: bool
    server: str
    version: str
    rights: str
    advice: str = ""


def version_of(git_version: str) -> Version:
    """Return a version from ``gitVersion`` ("v1.37.2", "v1.30.4-eks-036c24b"); raises ValueError for other text."""
    match = re.match(r"v?(\d+)\.(\d+)", git_version)
    if not match:
        raise ValueError(f"not a Kubernetes version: {git_version!r}")
    return Version(int(match[1]), int(match[2]), git_version)


def judge(seen: ClusterGround | Unknown) -> Finding:
    """Return what to tell an operator about one cluster."""
    if isinstance(seen, Unknown):
        return Finding(seen.cluster, ok=False, server="", version="", rights="", advice=seen.reason)
    advice = []
    if (seen.version.major, seen.version.minor) < OLDEST:
        advice.append(f"Kubernetes {OLDEST[0]}.{OLDEST[1]} or newer is needed (server-side apply)")
    elif (seen.version.major, seen.version.minor) > NEWEST:
        advice.append(f"newer than {NEWEST[0]}.{NEWEST[1]}, the newest that was tried")
    if seen.missing:
        advice.append("the account may not: " + ", ".join(str(right) for right in seen.missing))
    total = len(NEEDED)
    too_old = (seen.version.major, seen.version.minor) < OLDEST
    return Finding(
        cluster=seen.cluster,
        ok=not too_old and not seen.missing,
        server=seen.server,
        version=seen.version.text,
        rights=f"{total - len(seen.missing)} of {total}",
        advice="; ".join(advice),
    )
