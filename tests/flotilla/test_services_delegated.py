"""Services that others wire: what their conditions, imports and slices tell."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flotilla.errors import InvalidInput
from flotilla.fleet import parse_fleet
from flotilla.services.delegated import explain, wiring_of
from flotilla.services.explain import Blame
from flotilla.services.facts import ClusterView, Condition, DnsFact, ImportModel, World
from flotilla.services.policy import Policy
from tests.flotilla.clusterset import Clusterset

SYNCED = (Condition("Valid", "True", "", "", 1), Condition("Synced", "True", "", "", 1))


@pytest.fixture
def wired() -> World:
    """Two exporters, wired; the slices are those of another implementation."""
    clusters = Clusterset()
    clusters.c1.service().export()
    clusters.c3.service().export(at=1)
    clusters.settle()
    world = clusters.world()
    views = {name: _by_others(view) for name, view in world.seen.items()}
    return replace(world, clusters=views)


def _by_others(view: ClusterView) -> ClusterView:
    export = replace(view.export, conditions=SYNCED) if view.export else None
    slices = tuple(replace(one, managed_by="lighthouse-agent.submariner.io") if one.ours else one for one in view.slices)
    return replace(view, export=export, slices=slices)


def changed(world: World, name: str, **changes) -> World:
    return replace(world, clusters={**world.clusters, name: replace(world.seen[name], **changes)})


def test_what_others_wired_differs_in_nothing(wired):
    found = wiring_of(wired, Policy())

    assert ((), ("c1", "c3"), ("c1", "c2", "c3")) == (found.differences, found.exported_by, found.imported_by)
    assert {"c1": 4, "c2": 4, "c3": 4} == found.endpoints


@pytest.mark.parametrize(
    ("conditions", "told"),
    [
        ((), "c1: no condition on the ServiceExport"),
        ((Condition("Valid", "False", "NoService", "no such Service", 1),), "c1: Valid is False (NoService): no such Service"),
        ((SYNCED[0], Condition("Exported", "False", "", "", 1)), "c1: Exported is False: no message"),
    ],
)
def test_an_export_that_its_implementation_does_not_vouch_for_is_told(wired, conditions, told):
    world = changed(wired, "c1", export=replace(wired.seen["c1"].export, conditions=conditions))

    (one,) = wiring_of(world, Policy()).differences
    broken = explain(world, "c2").broken

    assert one.text.startswith(told)
    assert broken is None  # the other exporter's holds
    assert Blame.CONTROLLER in [step.blame for step in explain(world, "c2").steps]


def test_a_conflict_is_told_and_differs_in_nothing(wired):
    conflict = Condition("Conflict", "True", "PortConflict", "c3 has another port", 1)
    world = changed(wired, "c3", export=replace(wired.seen["c3"].export, conditions=(*SYNCED, conflict)))

    found = wiring_of(world, Policy())

    assert (("Conflict is True (PortConflict): c3 has another port",), ()) == (found.conflicts, found.differences)


def test_an_import_is_missed_where_the_namespace_is_unless_imports_are_declared(wired):
    world = changed(wired, "c2", imported=None)

    (one,) = wiring_of(world, Policy()).differences

    assert "c2: has the namespace and no ServiceImport" == one.text
    assert () == wiring_of(world, Policy(imports=ImportModel.DECLARED)).differences
    assert "import" == explain(world, "c2").broken.link


def test_an_import_of_nobody_is_told_unless_an_exporter_may_be_away(wired):
    world = changed(changed(wired, "c1", export=None), "c3", export=None)

    assert ["c1", "c2", "c3"] == [one.cluster for one in wiring_of(world, Policy()).differences]
    assert Blame.USER is explain(world, "c2").broken.blame


def test_the_chain_ends_with_the_name(wired):
    (ip,) = wired.seen["c2"].imported.ips

    assert explain(wired, "c2", DnsFact((ip,))).broken is None
    assert "dns" == explain(wired, "c2", DnsFact(("10.9.9.9",))).broken.link


def test_a_fleet_says_who_wires():
    text = "clusters: [{name: a, site: {name: x, city: y}, role: production}]\nservices: {wiredBy: %s}\n"

    assert parse_fleet(text % "others", "f").services.is_delegated
    with pytest.raises(InvalidInput, match=r"services.wiredBy.*'submariner'.*flotilla.*others"):
        parse_fleet(text % "submariner", "f")
