"""What the fleet file says of metrics: where the store is, what is collected, how often, and how each cluster is read.

Times in the file are seconds. Credentials are names of environment variables, never values.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from flotilla.metrics.batches import BATCH
from flotilla.metrics.completeness import Keeps
from flotilla.metrics.selectors import Selector, parse_selector
from flotilla.metrics.stamping import REPLICA_LABELS
from flotilla.metrics.windows import Pace
from flotilla.validation import Strict

STAMPED = ("cluster", "role", "site")  # labels that Flotilla puts on every series
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, token
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# What the dashboards and rules need, and no more: reference/monitoring.md, section 3. Each is asked for by itself, which keeps
# answers small; a series that two of them pick would be read twice.
APPLICATIONS = (
    '{__name__=~"kube_deployment_.+|kube_replicaset_owner|kube_pod_(info|owner|status_phase|container_info'
    "|container_resource_(requests|limits)|container_status_(ready|restarts_total|waiting_reason|terminated_reason"
    '|last_terminated_reason))"}'
)
NODES = (
    '{__name__=~"kube_node_(info|role|spec_unschedulable|spec_taint|status_(allocatable|capacity|condition))'
    "|node_(cpu_seconds_total|load1|uname_info|memory_(MemAvailable|MemTotal|MemFree|Cached|Buffers|Slab)_bytes"
    "|filesystem_(avail|size)_bytes|disk_io_time_seconds_total|disk_(read|written)_bytes_total"
    '|network_(receive|transmit)_bytes_total)|node_cpu_usage_seconds_total|node_memory_working_set_bytes"}'
)
CONTAINERS = (
    '{__name__=~"container_(cpu_usage_seconds_total|cpu_cfs_(throttled_)?periods_total'
    '|memory_(working_set_bytes|rss|cache|swap)|oom_events_total)",container!=""}'
)
PODS = '{__name__=~"container_network_(receive|transmit)_bytes_total|pod_(cpu_usage_seconds_total|memory_working_set_bytes)"}'
SCRAPES = '{__name__=~"up|scrape_(samples_scraped|duration_seconds)|prometheus_(build_info|tsdb_lowest_timestamp_seconds)"}'
COLLECTED = (APPLICATIONS, NODES, CONTAINERS, PODS, SCRAPES)


def _address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("an address such as https://store.example:8428, without query")
    if parts.username or parts.password:
        raise ValueError("an address without credentials; headersEnv refers to those")
    return value.rstrip("/")


def listen_address(value: str) -> str:
    """Return HOST:PORT as it is; raises ValueError where it is none."""
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError("HOST:PORT, such as 127.0.0.1:9095")
    return value


def _path(value: str) -> str:
    if not value.startswith("/") or not re.fullmatch(r"[\w./~%-]+", value):
        raise ValueError("a path that begins with /")
    return value


def _headers(value: dict[str, str]) -> dict[str, str]:
    for header, variable in value.items():
        if not _HEADER.fullmatch(header) or not _VARIABLE.fullmatch(variable):
            raise ValueError(f"header names to names of environment variables (offending: {header}: {variable})")
    return value


def _selector(value: str) -> str:
    selector = parse_selector(value)
    if named := sorted({one.name for one in selector.matchers} & {*STAMPED, *REPLICA_LABELS}):
        raise ValueError(f"a selector that does not ask for {', '.join(named)}, which the cluster's own series do not carry")
    return value


def _match(value: str) -> str:
    for one in parse_selector(value).matchers:
        re.compile(one.value)
    return value


def _port(value: int | str) -> int | str:
    is_name = isinstance(value, str) and re.fullmatch(r"(?=.*[a-z])[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?", value)  # RFC 6335
    if not is_name and not (isinstance(value, int) and 0 < value < 65536):
        raise ValueError("a port's number or its name in the Service")
    return value


Address = Annotated[str, AfterValidator(_address)]
Path = Annotated[str, AfterValidator(_path)]
HeadersEnv = Annotated[dict[str, str], AfterValidator(_headers)]
Collected = Annotated[str, AfterValidator(_selector)]
Match = Annotated[str, AfterValidator(_match)]
Port = Annotated[int | str, AfterValidator(_port)]
DnsName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
Variable = Annotated[str, Field(pattern=f"^{_VARIABLE.pattern}$")]
Listen = Annotated[str, AfterValidator(listen_address)]
LabelName = Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]


class StoreKind(StrEnum):
    """What the store is, as far as that makes a difference."""

    VICTORIA_METRICS = "victoria-metrics"
    PROMETHEUS = "prometheus"
    OTHER = "other"  # Mimir, Thanos: what they do not keep, if anything, is told by the counts


class Store(Strict):
    """Where samples are written by remote_write 1.0 and asked for by PromQL.

    ``urlEnv`` names the environment variable that holds the address, if it is set; else it is ``url``. ``writePath`` and
    ``apiPath`` follow the address: of Mimir /api/v1/push and /prometheus/api/v1. ``headersEnv`` gives for names of headers the
    environment variables that hold their values. ``batchBytes`` bounds a request, before compression.
    """

    kind: StoreKind = StoreKind.VICTORIA_METRICS
    url: Address = "http://127.0.0.1:8428"
    url_env: Variable | None = None
    write_path: Path = "/api/v1/write"
    api_path: Path = "/api/v1"
    headers_env: HeadersEnv = Field(default_factory=dict)
    batch_bytes: int = Field(default=BATCH, ge=64 << 10, le=32 << 20)

    @property
    def keeps(self) -> Keeps:
        """What it keeps besides floats."""
        keeps_all = self.kind is not StoreKind.VICTORIA_METRICS
        return Keeps(nans=keeps_all, histograms=keeps_all)


class AlertRoute(Strict):
    """Which deployment an alert starts: the first route of the list whose ``match`` picks the alert's labels.

    ``parameters`` are given as they are, ``fromLabels`` are parameters that take the value of a label. A deployment that
    ``looksOnly`` is started even where the alert is unknown, as samples that it is made of are old.
    """

    match: Match
    deployment: str = Field(pattern=r"^[^/\s][^/]*/[^/]*[^/\s]$")
    parameters: dict[str, str | int | float | bool] = Field(default_factory=dict)
    from_labels: dict[str, LabelName] = Field(default_factory=dict)
    looks_only: bool = False

    @property
    def selector(self) -> Selector:
        """Which alerts are meant."""
        return parse_selector(self.match)


class Listener(Strict):
    """Where something listens: HOST:PORT of the environment variable that ``listenEnv`` names, if set, else ``listen``."""

    listen: Listen = "127.0.0.1:9095"
    listen_env: Variable | None = None


class Receiver(Listener):
    """Where Alertmanager's webhook tells of alerts: at /alerts.

    ``tokenEnv`` names the variable with the bearer token that it has to show; where that is not set nobody is listened to.
    """

    token_env: Variable = "FLOTILLA_RECEIVER_TOKEN"  # noqa: S105 - a name


class Gateway(Listener):
    """Where clusters that push their samples write them, by remote_write 1.0: at /api/v1/write."""

    listen: Listen = "127.0.0.1:9096"


class Metrics(Strict):
    """How the fleet's metrics are collected.

    Every ``beat`` seconds each cluster is read from where it was read to, less ``overlap``, to now less ``settle``. ``settle``
    covers a scrape and a rule evaluation; what comes later than that and ``overlap`` is found by counting, and read again.
    A cluster that comes back is caught up with at most ``samplesPerSecond``, in slices of at most ``slice`` seconds such that
    an answer has at most ``answerBytes``, unless it is mostly labels; of one that is new, the last ``backfill`` seconds.
    Samples later than now plus ``ahead`` are left out; clocks that differ by more than ``clockTolerance`` are reported. After
    ``staleAfter`` seconds without samples a cluster is stale: alerts that read it are unknown. ``rules`` are the files, or
    folders of them, that the store's evaluator reads too: Prometheus's format.
    """

    store: Store = Store()
    collect: tuple[Collected, ...] = Field(default=COLLECTED, min_length=1)
    beat: float = Field(default=30, ge=5, le=3600)
    settle: float = Field(default=30, ge=0, le=600)
    overlap: float = Field(default=30, ge=0, le=3600)
    slice: float = Field(default=300, ge=15, le=300)
    samples_per_second: int = Field(default=100_000, ge=100)
    answer_bytes: int = Field(default=30_000_000, ge=100_000)
    backfill: float = Field(default=3600, ge=0)
    ahead: float = Field(default=60, ge=0)
    clock_tolerance: float = Field(default=10, gt=0)
    stale_after: float = Field(default=120, gt=0)
    alerts: tuple[AlertRoute, ...] = ()
    receiver: Receiver = Receiver()
    gateway: Gateway = Gateway()
    rules: tuple[str, ...] = ("deployments/rules",)

    @model_validator(mode="after")
    def _not_always_stale(self) -> Metrics:
        if self.stale_after <= self.beat + self.settle:
            raise ValueError(f"staleAfter longer than beat and settle, {self.beat + self.settle:g} s: else all is always stale")
        return self

    @property
    def selectors(self) -> tuple[Selector, ...]:
        """What is collected."""
        return tuple(map(parse_selector, self.collect))

    def pace(self) -> Pace:
        """Return how a cluster is read, as the planning functions take it."""
        return Pace(
            settle=_ms(self.settle),
            overlap=_ms(self.overlap),
            budget=round(self.samples_per_second * self.beat),
            longest=_ms(self.slice),
            answer=self.answer_bytes,
        )


class PrometheusService(Strict):
    """A Service in the cluster, reached through its API server's proxy with the cluster's kubeconfig."""

    namespace: DnsName = "monitoring"
    name: DnsName = "prometheus"
    port: Port = 9090
    scheme: Annotated[str, Field(pattern="^(http|https)$")] = "http"


class MemberMetrics(Strict):
    """How one cluster's Prometheus is read: through the proxy of its API server, or at an address of its own.

    ``path`` is its ``--web.route-prefix``. Of an HA pair ``replicas`` names the pods, of which one is read at a time, and
    ``replicaLabel`` the label that tells them apart. ``externalLabels`` are its external labels; where they are not given it is
    asked. A cluster that ``pushes`` cannot be read, being an agent or no Prometheus, and writes to the gateway by itself; the
    variable that ``pushTokenEnv`` names holds the bearer token that it shows.
    """

    service: PrometheusService | None = None
    url: Address | None = None
    path: Path = "/"
    replicas: tuple[DnsName, ...] = ()
    replica_label: LabelName = "prometheus_replica"
    external_labels: dict[LabelName, str] | None = None
    headers_env: HeadersEnv = Field(default_factory=dict)
    pushes: bool = False
    push_token_env: Variable | None = None

    @model_validator(mode="after")
    def _one_way(self) -> MemberMetrics:
        if self.url and (self.service or self.replicas):
            raise ValueError("url, or service and replicas, not both")
        if self.pushes != (self.push_token_env is not None):
            raise ValueError("pushTokenEnv where the cluster pushes, and only there: its samples are known by that token")
        return self

    @property
    def reached(self) -> PrometheusService | str:
        """Its address, or the Service that stands for it; the default one where nothing is said."""
        return self.url or self.service or PrometheusService()

    @property
    def strip(self) -> frozenset[str]:
        """Names of labels that go, whatever their value."""
        return REPLICA_LABELS | {self.replica_label}


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
