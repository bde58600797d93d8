"""The fleet file: which clusters there are, what they are for and how they are reached. Parsed once, frozen afterwards."""

from __future__ import annotations

import re
from collections import Counter
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from flotilla.errors import InvalidInput, Problem, phrase
from flotilla.metrics.config import MemberMetrics, Metrics
from flotilla.recovery.config import Recovery, contradictions, layout_of
from flotilla.recovery.layout import Layout
from flotilla.services.facts import ImportModel, WiredBy
from flotilla.services.policy import Damping, Policy
from flotilla.validation import Strict, checked, read_documents

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")  # RFC 1123; Kubernetes: validation.IsDNS1123Label
LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


def _dns_label(value: str) -> str:
    if not DNS_LABEL.fullmatch(value):
        raise ValueError(
            "a DNS label: lower-case letters, digits and '-', at most 63, beginning and ending with a letter or digit"
        )
    return value


def _labels(value: dict[str, str]) -> dict[str, str]:
    for key, text in value.items():
        if not LABEL_KEY.fullmatch(key) or not LABEL_VALUE.fullmatch(text):
            raise ValueError(f"Kubernetes label keys and values (offending: {key}={text})")
    return value


DnsLabel = Annotated[str, AfterValidator(_dns_label)]
Labels = Annotated[dict[str, str], AfterValidator(_labels)]


class Role(StrEnum):
    """What a centre is for: production and same-city both serve, remote stands by."""

    PRODUCTION = "production"
    SAME_CITY = "same-city"
    REMOTE = "remote"


class Site(Strict):
    """A centre and the city it stands in; centres of one city are lost together in a regional disaster."""

    name: DnsLabel
    city: DnsLabel


class SecretRef(Strict):
    """A kubeconfig kept in a Secret of the cluster that Flotilla itself runs in."""

    namespace: DnsLabel
    name: str = Field(min_length=1)
    key: str = "kubeconfig"


class Kubeconfig(Strict):
    """How a cluster is reached: a context of a kubeconfig file, or a Secret that holds one.

    Without ``file`` and ``secret`` the usual rules of kubectl hold: the KUBECONFIG variable, else ``~/.kube/config``.
    Without ``context`` a context of the cluster's own name is meant; in a Secret, the current one.
    """

    context: str | None = None
    file: str | None = None
    secret: SecretRef | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Kubeconfig:
        if self.file and self.secret:
            raise ValueError("file or secret, not both")
        return self


class Cluster(Strict):
    """One Kubernetes cluster of the fleet."""

    name: DnsLabel
    role: Role
    site: Site
    labels: Labels = Field(default_factory=dict)
    kubeconfig: Kubeconfig = Kubeconfig()
    metrics: MemberMetrics = MemberMetrics()


class Approvals(Strict):
    """Who must agree to what.

    ``allowAuto`` false makes every run ask, whatever it was started with. A rollout that would delete more than
    ``pruneGuard`` objects asks first. ``timeout`` in seconds: a gate that nobody answers by then ends as ``onSilence``
    says. ``webhookEnv`` names the environment variable that holds the URL told of gates that wait.
    """

    allow_auto: bool = True
    prune_guard: int = Field(default=5, ge=0)
    timeout: float = Field(default=86_400, gt=0)
    on_silence: Annotated[str, Field(pattern="^(reject|approve)$")] = "reject"
    webhook_env: str | None = None


class Drift(StrEnum):
    """What the scheduled look does about differences from what was rolled out."""

    REPORT = "report"
    CORRECT = "correct"


class Probes(Strict):
    """How the data path between clusters is probed: from a pod of ``image`` in each consumer, ``perSecond`` at rest.

    The image must hold the program /agnhost of Kubernetes' test images; a cluster without access to their registry takes it
    from another.
    """

    enabled: bool = True
    image: str = Field(default="registry.k8s.io/e2e-test-images/agnhost:2.53", min_length=1)
    per_second: float = Field(default=2.0, gt=0, le=100)


class Patience(Strict):
    """How long a data path must be dead, or answer again, before that counts: see ``Damping``. Times in seconds."""

    witnesses: int = Field(default=Damping.witnesses, ge=1)
    failures: int = Field(default=Damping.failures, ge=1)
    not_ready_after: float = Field(default=Damping.not_ready_after, ge=0)
    withdraw_after: float = Field(default=Damping.withdraw_after, ge=0)
    withdraw_when_away_after: float = Field(default=Damping.withdraw_when_away_after, ge=0)
    answers: int = Field(default=Damping.answers, ge=1)
    recover_after: float = Field(default=Damping.recover_after, ge=0)
    flap_window: float = Field(default=Damping.flap_window, ge=0)
    recover_at_most: float = Field(default=Damping.recover_at_most, ge=0)


class Services(Strict):
    """How services are wired across clusters; see ``Policy`` for what each field means.

    ``wiredBy: others``: Submariner, Cilium or GKE implement the API; the keeper writes nothing, the flows report.
    """

    wired_by: WiredBy = WiredBy.FLOTILLA
    imports: ImportModel = ImportModel.AUTOMATIC
    refused_namespaces: frozenset[DnsLabel] = Policy().refused_namespaces
    withdrawal_cap: int = Field(default=Policy.withdrawal_cap, ge=0)
    ready_needs_answer: bool = Policy.ready_needs_answer
    probes: Probes = Probes()
    damping: Patience = Patience()

    @model_validator(mode="after")
    def _answers_come(self) -> Services:
        if self.ready_needs_answer and not self.probes.enabled:
            raise ValueError("readyNeedsAnswer with probes.enabled: without probes no import would ever be ready")
        return self

    @property
    def is_delegated(self) -> bool:
        """Whether somebody else wires them."""
        return self.wired_by is WiredBy.OTHERS

    def policy(self) -> Policy:
        """Return them as the deciding functions take them."""
        return Policy(
            imports=self.imports,
            refused_namespaces=self.refused_namespaces,
            withdrawal_cap=self.withdrawal_cap,
            ready_needs_answer=self.ready_needs_answer,
            damping=Damping(**self.damping.model_dump()),
        )


class Fleet(Strict):
    """Every cluster that Flotilla runs as one. There is exactly one production cluster."""

    name: DnsLabel = "fleet"
    clusters: tuple[Cluster, ...] = Field(min_length=1)
    approvals: Approvals = Approvals()
    drift: Drift = Drift.REPORT
    services: Services = Services()
    metrics: Metrics = Metrics()
    recovery: Recovery | None = None

    def cluster(self, name: str) -> Cluster:
        """Return the cluster of that name; raises KeyError naming those there are."""
        for cluster in self.clusters:
            if cluster.name == name:
                return cluster
        raise KeyError(f"no cluster {name!r} in the fleet; there are {', '.join(c.name for c in self.clusters)}")

    @property
    def names(self) -> tuple[str, ...]:
        """The clusters' names in the order of the file."""
        return tuple(cluster.name for cluster in self.clusters)

    @property
    def production(self) -> Cluster:
        """The production cluster."""
        return next(cluster for cluster in self.clusters if cluster.role is Role.PRODUCTION)

    @property
    def cities(self) -> dict[str, str]:
        """The clusters' cities by their names, in the order of their roles: production first."""
        order = list(Role)
        ranked = sorted(self.clusters, key=lambda cluster: order.index(cluster.role))
        return {cluster.name: cluster.site.city for cluster in ranked}

    @property
    def layout(self) -> Layout | None:
        """The sites as recovery plans with them; None without a recovery section."""
        return layout_of(self.recovery, self.cities) if self.recovery else None


def parse_fleet(text: str, file: str, recovery: tuple[str, str] | None = None) -> Fleet:
    """Return the fleet that a fleet file describes; raises InvalidInput with everything that is wrong with it.

    ``recovery`` is another file with its text: the section of that name, where the fleet file has none.
    """
    documents = read_documents(text, file)
    if len(documents) != 1 or not isinstance(documents[0], dict):
        found = phrase(f"holds {len(documents)} documents" if len(documents) != 1 else "is not a mapping")
        raise InvalidInput([Problem(file, "", found, "one YAML document with name, clusters, approvals")])
    fleet = checked(Fleet, documents[0], file)
    if fleet.recovery is None and recovery is not None:
        fleet = fleet.model_copy(update={"recovery": _recovery(*recovery)})
    if problems := _contradictions(fleet, file):
        raise InvalidInput(problems)
    return fleet


def _recovery(file: str, text: str) -> Recovery:
    documents = read_documents(text, file)
    if len(documents) != 1:
        raise InvalidInput([Problem(file, "", phrase(f"holds {len(documents)} documents"), "one, with the fields of recovery")])
    return checked(Recovery, documents[0], file)


def _contradictions(fleet: Fleet, file: str) -> list[Problem]:
    """Return what no single field shows: names used twice, no or several productions, two clusters in one place."""
    problems = []
    names = Counter(fleet.names)
    for index, cluster in enumerate(fleet.clusters):
        if names[cluster.name] > 1:
            problems.append(Problem(file, f"clusters[{index}].name", cluster.name, "a name that no other cluster has"))
    productions = [i for i, cluster in enumerate(fleet.clusters) if cluster.role is Role.PRODUCTION]
    if not productions:
        problems.append(
            Problem(file, "clusters", phrase("has no cluster of role production"), "exactly one of role production")
        )
    for index in productions[1:]:
        first = fleet.clusters[productions[0]].name
        allowed = f"same-city or remote: {first!r} already is the one production"
        problems.append(Problem(file, f"clusters[{index}].role", "production", allowed))
    if fleet.recovery and not problems:
        problems += [*contradictions(fleet.recovery, fleet.cities, file), *_near_remotes(fleet, file)]
    return problems + _shared_contexts(fleet, file)


def _near_remotes(fleet: Fleet, file: str) -> list[Problem]:
    """Return the remote clusters in production's city: traffic and automatic failovers go by the city, not by the role."""
    home = fleet.cities[fleet.production.name]
    return [
        Problem(file, f"clusters[{index}].site.city", home, "another city than production's: the cluster is of role remote")
        for index, cluster in enumerate(fleet.clusters)
        if cluster.role is Role.REMOTE and fleet.cities[cluster.name] == home
    ]


def _shared_contexts(fleet: Fleet, file: str) -> list[Problem]:
    """Return the clusters that are reached through one and the same context: one cluster under two names."""
    problems, seen = [], dict[tuple[object, ...], str]()
    for index, cluster in enumerate(fleet.clusters):
        access = cluster.kubeconfig
        key = (access.file, access.secret, access.context or cluster.name)
        if access.secret is None and (other := seen.setdefault(key, cluster.name)) != cluster.name:
            field = f"clusters[{index}].kubeconfig.context"
            problems.append(Problem(file, field, key[2], f"a context of its own: {other!r} is reached through this one"))
    return problems
