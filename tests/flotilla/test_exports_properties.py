"""What holds of every fleet: hypothesis makes the fleets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from flotilla.services.facts import Port, ProbeFact
from flotilla.services.health import Health, Link, observe
from flotilla.services.merge import union
from flotilla.services.names import SOURCE_LABEL
from flotilla.services.policy import Damping
from tests.flotilla.clusterset import KEY, T0, Clusterset

NAMES = ("c1", "c2", "c3")
names = st.sampled_from(["", "web", "http", "admin", "tcp-80"])
numbers = st.sampled_from([80, 81, 443])
protocols = st.sampled_from(["TCP", "UDP"])


def _valid(ports: list[dict[str, Any]]) -> bool:
    """Whether a Service could have these ports."""
    labels = [port.get("name", "") for port in ports]
    pairs = [(port["protocol"], port["port"]) for port in ports]
    return len({*labels}) == len(labels) and len({*pairs}) == len(pairs) and (len(ports) == 1 or all(labels))


port = st.builds(lambda name, number, protocol: {"name": name, "port": number, "protocol": protocol}, names, numbers, protocols)
ports = st.lists(port, min_size=1, max_size=3).filter(_valid)


@dataclass(frozen=True)
class Exporter:
    """How one cluster has the service, and when it exported it (None: not at all)."""

    ports: tuple[dict[str, Any], ...]
    pods: int
    headless: bool
    policy: str
    at: int | None


exporters = st.builds(
    Exporter,
    ports=ports.map(tuple),
    pods=st.integers(0, 3),
    headless=st.sampled_from([False, False, False, True]),
    policy=st.sampled_from(["Cluster", "Local"]),
    at=st.sampled_from([None, 0, 1, 1, 2]),
)
fleets = st.tuples(exporters, exporters, exporters)


def become(fleet: Clusterset, name: str, how: Exporter) -> None:
    cluster = fleet.clusters[name]
    address = {"clusterIP": "None"} if how.headless else {}
    cluster.service(ports=how.ports, pods=how.pods, internalTrafficPolicy=how.policy, **address)
    if how.at is None:
        cluster.unexport()
    else:
        cluster.export(how.at)


def made(exporters: tuple[Exporter, ...]) -> Clusterset:
    fleet = Clusterset(now=0)
    for name, how in zip(NAMES, exporters, strict=True):
        become(fleet, name, how)
    return fleet


def shown(fleet: Clusterset) -> dict[str, Any]:
    """All that the keeper wrote, without uids, times and generations."""
    return {
        name: [_bare(body) for body in cluster.objects.values() if _written(body)] for name, cluster in fleet.clusters.items()
    }


def _written(body: dict[str, Any]) -> bool:
    return body["kind"] in ("ServiceImport", "ServiceExport") or "ownerReferences" in body["metadata"]


def _bare(body: dict[str, Any]) -> Any:
    if body["kind"] == "ServiceExport":
        return body["kind"], [(c["type"], c["status"], c["reason"], c["message"]) for c in body["status"]["conditions"]]
    status = body.get("status", {})
    told = [(c["status"], c["reason"], c["message"]) for c in status.get("conditions", ())]
    rest = {of: body.get(of) for of in ("spec", "addressType", "ports", "endpoints")}
    meta = {of: body["metadata"].get(of) for of in ("name", "labels", "annotations")}
    return body["kind"], meta, rest, told, status.get("clusters")


def sorted_by_text(state: dict[str, Any]) -> dict[str, list[str]]:
    return {name: sorted(map(repr, of)) for name, of in state.items()}


@settings(max_examples=min(40, settings().max_examples), deadline=None)
@given(start=fleets, end=fleets, order=st.permutations(NAMES), looks=st.lists(st.booleans(), min_size=6, max_size=6))
def test_the_order_of_events_does_not_matter(start, end, order, looks):
    went = Clusterset(now=0)
    looks = iter(looks)
    for state in (start, end):
        for name in order:
            become(went, name, state[NAMES.index(name)])
            if next(looks):
                went.step()

    assert sorted_by_text(shown(made(end).settle())) == sorted_by_text(shown(went.settle()))


@settings(max_examples=min(40, settings().max_examples), deadline=None)
@given(exporters=fleets, later=st.integers(0, 10_000))
def test_applying_twice_changes_nothing_and_time_alone_changes_nothing(exporters, later):
    fleet = made(exporters).settle()
    fleet.now += later

    assert [] == fleet.step()
    assert () == fleet.decide().withdrawals


@settings(max_examples=min(40, settings().max_examples), deadline=None)
@given(
    exporters=fleets,
    lost=st.sets(st.sampled_from(NAMES), min_size=1, max_size=2),
    remembered=st.booleans(),
    changed=st.sampled_from(NAMES),
    to=exporters,
)
def test_an_unknown_cluster_never_removes_anything(exporters, lost, remembered, changed, to):
    fleet = made(exporters).settle()
    before = {name: brought(fleet, name, lost) for name in NAMES if name not in lost}
    fleet.remember() if remembered else None
    for name in lost:
        fleet.lose(name)
    fleet.log.clear()
    fleet.settle()

    assert [] == [line for line in fleet.log if " delete " in line]
    assert before == {name: brought(fleet, name, lost) for name in before}
    if changed not in lost and exporters_agree_with(fleet, to, exporters):
        become(fleet, changed, to)
        fleet.settle()
        assert before == {name: brought(fleet, name, lost) for name in before}


def exporters_agree_with(fleet: Clusterset, to: Exporter, exporters: tuple[Exporter, ...]) -> bool:
    """Whether a change leaves the merged ports and type alone: else the lost ones' slices rightly follow the winner."""
    every = [how for how in (*exporters, to) if how.at is not None]
    return len({(repr(how.ports), how.headless) for how in every}) == 1


def brought(fleet: Clusterset, consumer: str, sources: set[str]) -> set[tuple[str, str]]:
    """The endpoints that a consumer holds of some sources."""
    bodies = fleet.clusters[consumer].slices()
    mine = [body for body in bodies if body["metadata"]["labels"][SOURCE_LABEL] in sources]
    return {(body["metadata"]["name"], address) for body in mine for end in body["endpoints"] for address in end["addresses"]}


probes = st.lists(
    st.builds(
        lambda source, pod, at, answered: ProbeFact(
            "c2", f"c{source}", f"10.{source}.0.{pod}", T0 + timedelta(seconds=at), answered
        ),
        st.integers(1, 3),
        st.integers(1, 3),
        st.integers(0, 60),
        st.booleans(),
    ),
    max_size=60,
)


@settings(max_examples=min(40, settings().max_examples), deadline=None)
@given(exporters=fleets, seen=probes, later=st.integers(60, 200), lost=st.sets(st.sampled_from(["c1", "c3"])))
def test_no_port_is_ever_left_without_an_exporter(exporters, seen, later, lost):
    fleet = made(exporters).settle().remember()
    had = served(fleet)
    for name in lost:
        fleet.lose(name)
    fleet.health, fleet.now = observe(Health(), seen, Damping()), later
    fleet.settle()

    assert had == served(fleet)


def served(fleet: Clusterset) -> set[str]:
    """The ports of c2's import behind which there is somebody."""
    bodies = [body for body in fleet.c2.slices() if any(end["conditions"]["ready"] for end in body["endpoints"])]
    return {port["name"] for body in bodies for port in body["ports"]}


@settings(max_examples=min(40, settings().max_examples), deadline=None)
@given(exporters=fleets, alive=st.sampled_from(NAMES))
def test_the_last_exporter_that_answers_keeps_all_its_endpoints(exporters, alive):
    fleet = made(exporters).settle()
    mine = [address for address in fleet.c2.addresses() if address.startswith(f"10.{alive[1]}.")]
    seen = [
        ProbeFact("c2", f"c{n}", f"10.{n}.0.{pod}", T0 + timedelta(seconds=at), f"c{n}" == alive)
        for n in (1, 2, 3)
        for pod in (1, 2, 3)
        for at in range(60)
    ]
    fleet.health, fleet.now = observe(Health(), seen, Damping()), 60
    fleet.settle()

    assert set(mine) <= set(fleet.c2.addresses())
    if mine and 1 == len({repr(how.ports) for how in exporters}):
        assert mine == fleet.c2.addresses()


@given(seen=probes, data=st.data())
def test_the_order_of_probes_does_not_matter(seen, data):
    shuffled = data.draw(st.permutations(seen))

    assert observe(Health(), seen, Damping()) == observe(Health(), shuffled, Damping())
    assert observe(Health(), [*seen, *seen], Damping()) == observe(Health(), seen, Damping())


@given(lists=st.lists(ports, max_size=4))
def test_united_ports_have_unique_names_and_unique_numbers(lists):
    united = union([[Port(p["name"], p["protocol"], p["port"]) for p in ports] for ports in lists])

    assert len(united) == len({port.name for port in united}) == len({port.number for port in united})
    assert len(united) < 2 or all(port.name for port in united)


@settings(max_examples=min(40, settings().max_examples), deadline=None)
@given(exporters=fleets)
def test_traffic_to_a_port_goes_only_to_clusters_that_expose_it(exporters):
    fleet = made(exporters).settle()
    exposed = {name: {(p["protocol"], p["port"]) for p in how.ports} for name, how in zip(NAMES, exporters, strict=True)}

    for cluster in fleet.clusters.values():
        imported = cluster.get("ServiceImport")
        number = {p.get("name", ""): (p["protocol"], p["port"]) for p in imported["spec"]["ports"]} if imported else {}
        for body in cluster.slices():
            source = body["metadata"]["labels"][SOURCE_LABEL]
            assert {number[p["name"]] for p in body["ports"]} <= exposed[source]
            assert {p["port"] - 8000 for p in body["ports"]} <= {port for _, port in exposed[source]}


@settings(max_examples=min(40, settings().max_examples), deadline=None)
@given(exporters=fleets)
def test_conflicts_are_told_to_every_valid_export_alike(exporters):
    fleet = made(exporters).settle()
    told = {fleet.condition(name, "Conflict") for name, how in zip(NAMES, exporters, strict=True) if how.at is not None}

    assert len(told) <= 1


def test_a_link_prints_as_its_clusters():
    assert ("c2", "c1") == tuple(Link("c2", "c1"))
    assert "shop/hello" == str(KEY)
