"""What the fleet file says of recovery: the database, the traffic, the application, who approves, and what goes by itself.

Times in the file are seconds. Secrets are names of environment variables, never values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from flotilla.errors import InvalidInput, Problem, phrase
from flotilla.metrics.config import Address, DnsName, Variable
from flotilla.recovery.layout import Layout, Place
from flotilla.recovery.policy import Automatic, Policy, WhenSyncIsLost
from flotilla.recovery.witnesses import Patience
from flotilla.validation import Strict


def _zone(value: str) -> str:
    if not value.endswith(".") or len(value) > 254 or value == ".":
        raise ValueError("a zone's absolute name, with a dot at its end, such as fleet.test.")
    return value


Zone = Annotated[str, AfterValidator(_zone)]


class Agent(Strict):
    """Where a site's agent listens: the address in the variable that ``urlEnv`` names, if set, else ``url``."""

    url: Address | None = None
    url_env: Variable | None = None

    @model_validator(mode="after")
    def _somewhere(self) -> Agent:
        if self.url is None and self.url_env is None:
            raise ValueError("url, or urlEnv, or both")
        return self

    def address(self, environment: Mapping[str, str]) -> str:
        """Return where it listens; raises InvalidInput where only an unset variable would say."""
        found = environment.get(self.url_env or "") or self.url
        if not found:
            raise InvalidInput(
                [Problem("environment", self.url_env or "", phrase("is not set"), "an agent's address, https://...")]
            )
        return found


class Database(Strict):
    """The database that the business lives in, and how each site's PostgreSQL is reached.

    ``hosts`` by site; the port is the same everywhere. ``synchronous`` are the sites that commits wait for, in order, while
    the production site is primary: the first that is connected. ``whenSyncIsLost``: ``wait`` keeps commits waiting, ``ask``
    has the watcher tell people, ``degrade`` has it go on without. The variable ``observerEnv`` names holds the password of
    the role ``observer``, that ``tokenEnv`` names the agents' bearer token; ``caFile`` is the authority of their certificates.
    """

    name: str = Field(default="orders", min_length=1, max_length=63)
    port: int = Field(default=5432, gt=0, lt=65536)
    hosts: dict[DnsName, str]
    agents: dict[DnsName, Agent]
    synchronous: tuple[DnsName, ...] = Field(min_length=1)
    when_sync_is_lost: WhenSyncIsLost = WhenSyncIsLost.WAIT
    observer: str = "observer"
    observer_env: Variable = "FLOTILLA_OBSERVER_PASSWORD"
    token_env: Variable = "FLOTILLA_AGENT_TOKEN"  # noqa: S105 - a name
    ca_file: str | None = None
    lag: int = Field(default=16 << 20, ge=0)
    drain: float = Field(default=2.0, ge=0, le=60)
    stable: float = Field(default=600.0, ge=0)


class Names(Strict):
    """How traffic finds the business: ``name`` in ``zone``, answered by each site's own DNS server, ``servers`` by site.

    ``addresses`` are what is answered for each site; ``port`` is where ``/dr/serving`` is asked for, as long as ``health`` is
    true: DNS that cannot check health (external-dns) answers all authorised sites.
    """

    zone: Zone = "fleet.test."
    name: DnsName = "orders"
    ttl: int = Field(default=5, ge=1, le=300)
    port: int = Field(default=8080, gt=0, lt=65536)
    health: bool = True
    addresses: dict[DnsName, str]
    servers: dict[DnsName, str] = Field(default_factory=dict)


class Application(Strict):
    """What serves the business: Deployments of a namespace, wanted at each authorised site with ``replicas``."""

    namespace: DnsName = "orders"
    deployments: tuple[DnsName, ...] = Field(default=("orders",), min_length=1)
    replicas: int = Field(default=2, ge=1)


class Objectives(Strict):
    """What a recovery is measured against: seconds without writes, seconds of writes lost."""

    rto: float = Field(default=60.0, gt=0)
    rpo: float = Field(default=0.0, ge=0)


class Approver(Strict):
    """Somebody who may approve: ``key`` is the public key of their signature, base64 of Ed25519's 32 bytes."""

    name: str = Field(min_length=2, max_length=100)
    key: str = Field(pattern=r"^[A-Za-z0-9+/]{43}=$")

    @property
    def public_key(self) -> str:
        """The key as signatures are checked by it."""
        return self.key


class Witnesses(Strict):
    """How much has to fail before a site is held to be down: see ``witnesses.Patience``."""

    failures: int = Field(default=Patience.failures, ge=1)
    of: int = Field(default=Patience.of, ge=1)
    silent: float = Field(default=Patience.silent, ge=0)
    fresh: float = Field(default=Patience.fresh, gt=0)
    witnesses: int = Field(default=Patience.witnesses, ge=1)

    @model_validator(mode="after")
    def _reachable(self) -> Witnesses:
        if self.failures > self.of:
            raise ValueError(f"failures at most of, {self.of}: else no site is ever down")
        return self


class Rules(Strict):
    """What goes by itself: failovers, and only to the same city, at most one in ``minBetweenAutomatic`` seconds."""

    automatic: Automatic = Automatic.SAME_CITY
    min_between_automatic: float = Field(default=3600.0, ge=0)


class Recovery(Strict):
    """Disaster recovery of one business. Without it in the fleet file nothing is recovered.

    The agent of a primary that reached no other agent for ``isolation`` seconds stops it. ``approvals`` is how many people
    agree to a planned move; what breaks the glass always takes two.
    """

    database: Database
    traffic: Names
    application: Application = Application()
    objectives: Objectives = Objectives()
    approvers: tuple[Approver, ...] = ()
    approvals: int = Field(default=1, ge=0, le=2)
    policy: Rules = Rules()
    witnesses: Witnesses = Witnesses()
    isolation: float = Field(default=10.0, ge=3, le=300)

    def rules(self) -> Policy:
        """Return the policy as the deciding functions take it."""
        return Policy(self.policy.automatic, self.policy.min_between_automatic, self.database.when_sync_is_lost)

    def patience(self) -> Patience:
        """Return how much has to fail, as the deciding functions take it."""
        return Patience(**self.witnesses.model_dump())


def layout_of(recovery: Recovery, cities: Mapping[str, str]) -> Layout:
    """Return the sites and rules as planning takes them; ``cities`` by site, the production site first."""
    database, names = recovery.database, recovery.traffic
    return Layout(
        tuple(Place(site, city, names.addresses.get(site, "")) for site, city in cities.items()),
        synchronous=database.synchronous,
        isolation=recovery.isolation,
        drain=database.drain,
        lag=database.lag,
        zone=names.zone,
        name=names.name,
        ttl=names.ttl,
        port=names.port,
        health=names.health,
        approvals=recovery.approvals,
    )


def contradictions(recovery: Recovery, sites: Mapping[str, str], file: str) -> list[Problem]:
    """Return what no single field shows; ``sites`` are the fleet's clusters and their cities, production first."""
    return [*_sites(recovery, sites, file), *_synchronous(recovery, sites, file), *_people(recovery, file)]


def _sites(recovery: Recovery, sites: Mapping[str, str], file: str) -> list[Problem]:
    problems = []
    if len(sites) < 3:
        problems.append(
            Problem(file, "recovery", phrase(f"is of {len(sites)} clusters"), "three or more: a majority survives one")
        )
    by_site: dict[str, Mapping[str, object]] = {
        "recovery.database.hosts": recovery.database.hosts,
        "recovery.database.agents": recovery.database.agents,
        "recovery.traffic.addresses": recovery.traffic.addresses,
    }
    for field, given in by_site.items():
        if missing := [site for site in sites if site not in given]:
            problems.append(Problem(file, field, phrase(f"lacks {', '.join(missing)}"), "one for each cluster of the fleet"))
        for site in given:
            if site not in sites:
                problems.append(Problem(file, f"{field}.{site}", site, f"a cluster of the fleet: {', '.join(sites)}"))
    taken: dict[object, str] = {}
    for site, address in recovery.traffic.addresses.items():
        if (other := taken.setdefault(address, site)) != site:
            problems.append(Problem(file, f"recovery.traffic.addresses.{site}", address, f"an address that {other} has not"))
    return problems


def _synchronous(recovery: Recovery, sites: Mapping[str, str], file: str) -> list[Problem]:
    problems, names = [], recovery.database.synchronous
    production = next(iter(sites), "")
    for index, name in enumerate(names):
        field = f"recovery.database.synchronous[{index}]"
        if name not in sites:
            problems.append(Problem(file, field, name, f"a cluster of the fleet: {', '.join(sites)}"))
        elif name == production:
            problems.append(Problem(file, field, name, "another site: commits that wait for their own server never end"))
        elif name in names[:index]:
            problems.append(Problem(file, field, name, "each site once"))
    near = [name for name in names if sites.get(name) == sites.get(production)]
    if recovery.policy.automatic is Automatic.SAME_CITY and not near:
        allowed = "never, as no synchronous site is in the city of production"
        problems.append(Problem(file, "recovery.policy.automatic", "same-city", allowed))
    return problems


def _people(recovery: Recovery, file: str) -> list[Problem]:
    problems, keys = [], dict[str, str]()
    for index, one in enumerate(recovery.approvers):
        if one.name in [other.name for other in recovery.approvers[:index]]:
            problems.append(Problem(file, f"recovery.approvers[{index}].name", one.name, "a name that no other approver has"))
        if (owner := keys.setdefault(one.key, one.name)) != one.name:
            allowed = f"a key of their own: this is {owner}'s, and two people are two keys"
            problems.append(Problem(file, f"recovery.approvers[{index}].key", phrase("stands twice"), allowed))
    if len({one.name for one in recovery.approvers}) < max(1, recovery.approvals) and recovery.approvals:
        found = phrase(f"has {len(recovery.approvers)} people")
        problems.append(
            Problem(file, "recovery.approvers", found, f"at least {recovery.approvals}, who agree to a planned move")
        )
    return problems
